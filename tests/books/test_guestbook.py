"""The guestbook from the manifests that books print: from the browser to the follower and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from netsim.cluster import Cluster, run
from netsim.objects.core import Pod
from tests.conftest import Combination

HERE = Path(__file__).parent
BOOKS = {
    "guestbook-deployments.yaml": ("redis-master", "redis-slave", "messages"),
    "guestbook-leader.yaml": ("redis-leader", "redis-follower", "guestbook"),
    "guestbook-controllers.yaml": ("redis-master", "redis-slave", "messages"),
}
"""File → the Services of leader and followers, and the key under which the messages end up."""
ATTEMPTS = 6.0
"""Seconds in which a follower has found its leader. It tries each second, but a lost lookup takes 5 s:
under BGP the first one is, for it is made before there are routes."""
NODES = {"control": "192.168.10.10", "node1": "192.168.10.11", "node2": "192.168.10.12"}


Book: TypeAlias = tuple[Cluster, str, str, str]


@pytest.fixture(params=BOOKS)
def book(request: pytest.FixtureRequest) -> Iterator[Book]:
    with run(HERE / request.param) as cluster:
        cluster.advance(ATTEMPTS)
        yield cluster, *BOOKS[request.param]


@pytest.fixture(params=BOOKS)
def book_anywhere(request: pytest.FixtureRequest, combination: Combination) -> Iterator[Book]:
    """The same under each Pod network and each mode of kube-proxy."""
    path = HERE / request.param
    with run(path, network=combination.network, proxy_mode=combination.proxy_mode) as cluster:
        cluster.advance(ATTEMPTS)
        yield cluster, *BOOKS[request.param]


def pods_of(cluster: Cluster, name: str) -> list[str]:
    return [pod.metadata.name for pod in cluster.store.list(Pod) if pod.metadata.name.startswith(f"{name}-")]


async def guestbook(cluster: Cluster, node: str, query: str) -> str:
    client = cluster.external("www.example.com")
    reply = await client.get(f"http://{NODES[node]}:30001/guestbook.php?{query}")
    assert reply.status == 200
    return reply.text


async def redis_cli(cluster: Cluster, pod: str, *words: str) -> str:
    outcome = await cluster.pod(pod).exec(["redis-cli", *words])
    return outcome.stdout


async def test_a_message_left_at_one_node_is_read_at_the_others(book_anywhere: Book) -> None:
    cluster, leader, follower, key = book_anywhere
    assert await guestbook(cluster, "node1", "cmd=get&key=messages") == '{"data": ""}'
    assert await guestbook(cluster, "control", "cmd=set&key=messages&value=,hi") == '{"message": "Updated"}'
    for node in NODES:
        assert await guestbook(cluster, node, "cmd=get&key=messages") == '{"data": ",hi"}'
    for pod in pods_of(cluster, leader) + pods_of(cluster, follower):
        assert await redis_cli(cluster, pod, "GET", key) == ",hi\n"


async def test_leader_and_followers_know_each_other(book_anywhere: Book) -> None:
    cluster, leader, follower, _ = book_anywhere
    (boss,) = pods_of(cluster, leader)
    followers = pods_of(cluster, follower)
    assert len(followers) == 2
    told = await redis_cli(cluster, boss, "INFO", "replication")
    assert "connected_slaves:2" in told
    for pod in followers:
        told = await redis_cli(cluster, pod, "INFO", "replication")
        assert "master_link_status:up" in told
        assert (await redis_cli(cluster, pod, "SET", "k", "v")).startswith("READONLY")


async def test_the_index_page_is_served(book: Book) -> None:
    cluster = book[0]
    reply = await cluster.external("www.example.com").get(f"http://{NODES['node2']}:30001/")
    assert reply.status == 200
    assert "<title>Guestbook</title>" in reply.text


async def test_followers_take_up_with_a_new_leader(book: Book) -> None:
    cluster, leader, follower, key = book
    await guestbook(cluster, "node1", "cmd=set&key=messages&value=,old")
    (boss,) = pods_of(cluster, leader)
    await cluster.delete("pod", f"default/{boss}")
    cluster.advance(5)
    (successor,) = pods_of(cluster, leader)
    assert successor != boss
    assert await guestbook(cluster, "node1", "cmd=get&key=messages") == '{"data": ""}', "it began empty"
    await guestbook(cluster, "node2", "cmd=set&key=messages&value=,new")
    assert await guestbook(cluster, "node1", "cmd=get&key=messages") == '{"data": ",new"}'
    for pod in pods_of(cluster, follower):
        assert await redis_cli(cluster, pod, "GET", key) == ",new\n"


async def test_without_followers_reading_fails_and_says_why(book: Book) -> None:
    cluster, _, follower, _ = book
    await cluster.delete("service", follower)
    reply = await cluster.external("www.example.com").get(
        f"http://{NODES['node1']}:30001/guestbook.php?cmd=get&key=messages"
    )
    assert reply.status == 500
    assert "Predis" in reply.text


async def test_redis_cli_serves_as_a_probe() -> None:
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: cache, labels: {app: cache}}
spec:
  containers:
  - name: redis
    image: redis:7-alpine
    args: [--requirepass, secret]
    readinessProbe: {exec: {command: [sh, -c, "redis-cli -h localhost -a secret ping | grep PONG"]}}
    livenessProbe: {tcpSocket: {port: 6379}}
---
apiVersion: v1
kind: Pod
metadata: {name: shut}
spec:
  containers:
  - name: redis
    image: redis:7-alpine
    args: [--requirepass, secret]
    readinessProbe: {exec: {command: [sh, -c, "redis-cli ping | grep PONG"]}}
"""
    with run(manifest) as cluster:
        cluster.advance(30)
        ready = {
            name: [
                c.status
                for c in cluster.store.get(Pod, name, "default").status.conditions
                if c.type == "Ready"
            ]
            for name in ("cache", "shut")
        }
    assert ready == {"cache": ["True"], "shut": ["False"]}


async def test_the_capture_says_why_each_packet_was_sent() -> None:
    with run(HERE / "guestbook-deployments.yaml") as cluster:
        with cluster.capture() as packets:
            await guestbook(cluster, "control", "cmd=set&key=messages&value=x")
        causes = {str(note.cause) for record in packets.records for note in record.notes}
    assert "program: guestbook sends SET to redis-master" in causes
    assert any(cause.startswith("resolver: ") and "redis-master" in cause for cause in causes)
    assert any(cause.startswith("program: redis sends SET to its replica 10.244.") for cause in causes)


async def test_the_go_guestbook_keeps_its_list() -> None:
    with run(HERE / "guestbook-go.yaml") as cluster:
        pod = cluster.pod(pods_of(cluster, "guestbook")[0])
        for text in ("one", "two"):
            await pod.get(f"http://guestbook:3000/rpush/guestbook/{text}")
        reply = await pod.get("http://guestbook:3000/lrange/guestbook")
        assert json.loads(reply.text) == ["one", "two"]
        info = await pod.get("http://guestbook:3000/info")
        assert "connected_slaves:2" in info.text
