"""Elasticsearch on one host: settings, the REST API's answers, and how it waits for a master."""

from __future__ import annotations

import json

import pytest

from netsim.capture.record import Recorder
from netsim.programs.elasticsearch import DEFAULT_VERSION, MASTER_WAIT, Config, elasticsearch
from netsim.programs.host import Identity, Invocation
from netsim.programs.peer_messages import Node
from netsim.programs.peers import Settings

from .playground import Playground

NODE = Node("id", "es-0", "10.244.2.9:9300")
SINGLE = {"discovery.type": "single-node"}


def started(image: str = "elasticsearch:7.17.6", env: dict[str, str] | None = None) -> Playground:
    site = Playground()
    identity = Identity(pod_ip="10.244.2.9")
    site.serve(elasticsearch, Invocation(image, env=SINGLE if env is None else env, identity=identity))
    return site


def asks(site: Playground, path: str, options: str = "") -> str:
    return site.shell(f"curl -s {options} '10.244.2.9:9200{path}'").stdout


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("elasticsearch:7.17.6", "7.17.6"),
        ("docker.elastic.co/elasticsearch/elasticsearch-oss:6.4.3", "6.4.3"),
        ("elasticsearch:8.1.0-amd64", "8.1.0"),
        ("elasticsearch", DEFAULT_VERSION),
        ("registry:5000/elasticsearch:latest", DEFAULT_VERSION),
    ],
)
def test_the_tag_is_the_version(image: str, version: str) -> None:
    assert Config(Invocation(image)).version == version


@pytest.mark.parametrize(
    ("tag", "env", "settings"),
    [
        ("7.2.0", {"cluster.initial_master_nodes": "a, b"}, {"voters": ("a", "b")}),
        ("7.2.0", {"cluster.initial_master_nodes": '["a", "b"]'}, {"voters": ("a", "b")}),
        ("7.2.0", {"discovery.seed_hosts": "x"}, {}),
        ("7.2.0", {}, {"quorum": 1, "patience": 3.0}),
        ("7.2.0", {"discovery.seed_hosts": "x", **SINGLE}, {"quorum": 1}),
        ("6.4.3", {"discovery.zen.minimum_master_nodes": "2"}, {"quorum": 2, "patience": 3.0}),
        ("6.4.3", {}, {"quorum": 1, "patience": 3.0}),
    ],
)
def test_the_settings_say_who_founds_a_cluster(
    tag: str, env: dict[str, str], settings: dict[str, object]
) -> None:
    config = Config(Invocation(f"elasticsearch:{tag}", env=env))
    assert config.peer_settings(NODE) == Settings("docker-cluster", NODE)._replace(**settings)


def test_settings_may_be_arguments() -> None:
    config = Config(
        Invocation("elasticsearch:7.2.0", args=("-Ecluster.name=logs", "-Ediscovery.seed_hosts=a,b"))
    )
    assert config.peer_settings(NODE).cluster == "logs"
    assert config.seeds() == ("a", "b")


def test_the_banner_names_node_cluster_and_version() -> None:
    site = started(env={**SINGLE, "node.name": "one", "cluster.name": "logs"})
    site.wait(1)
    banner = json.loads(asks(site, "/"))
    assert (banner["name"], banner["cluster_name"], banner["version"]["number"]) == ("one", "logs", "7.17.6")
    assert len(banner["cluster_uuid"]) == 22
    assert banner["tagline"] == "You Know, for Search"


def test_pretty_answers_are_in_lines_and_others_compact() -> None:
    site = started()
    assert asks(site, "/_cluster/health?pretty").splitlines()[:3] == [
        "{", '  "cluster_name" : "docker-cluster",', '  "status" : "green",',
    ]  # fmt: skip
    assert asks(site, "/_cluster/health").startswith('{"cluster_name":"docker-cluster","status":"green",')
    assert '  "blocks" : { },' in asks(site, "/_cluster/state?pretty").splitlines()


def test_the_state_lists_the_nodes_and_the_master() -> None:
    state = json.loads(asks(started(), "/_cluster/state"))
    (key, node) = next(iter(state["nodes"].items()))
    assert key == state["master_node"]
    assert len(node.pop("ephemeral_id")) == len(key) == 22
    assert node == {"name": "server", "transport_address": "10.244.2.9:9300", "attributes": {}}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/_cat/nodes", "10.244.2.9 - - - - - - dim * server\n"),
        ("/_cat/nodes?h=name,ip", "server 10.244.2.9\n"),
        ("/_cat/nodes?v=true&h=name,master", "name   master\nserver *\n"),
        ("/_cat/nodes?v&h=name", "name\nserver\n"),
        ("/_cat/health", "docker-cluster green 1\n"),
        ("/_cat/master?h=ip,node", "10.244.2.9 server\n"),
    ],
)
def test_the_compact_tables(path: str, answer: str) -> None:
    assert asks(started(), path) == answer


@pytest.mark.parametrize(
    ("path", "options", "status", "kind"),
    [
        ("/logs/_search", "", 404, "index_not_found_exception"),
        ("/_bulk", "", 400, "illegal_argument_exception"),
        ("/logs/_doc/1", "-X PUT -d {}", 501, "status_exception"),
    ],
)
def test_what_it_does_not_have_is_an_error(path: str, options: str, status: int, kind: str) -> None:
    error = json.loads(asks(started(), path, options))
    assert (error["status"], error["error"]["type"]) == (status, kind)


def test_without_a_master_requests_wait_and_then_fail_but_local_ones_do_not() -> None:
    site = started(env={"discovery.seed_hosts": "nobody.example"})
    assert json.loads(asks(site, "/"))["cluster_uuid"] == "_na_"
    assert json.loads(asks(site, "/_cluster/health?local=true"))["status"] == "red"
    assert asks(site, "/_cat/nodes?local=true") == ""
    assert asks(site, "/_cat/master?local=true") == "- - - -\n"
    began = site.plane.now
    error = json.loads(asks(site, "/_cluster/health"))
    assert error["error"]["type"] == "master_not_discovered_exception"
    assert site.plane.now - began == pytest.approx(MASTER_WAIT, abs=1)


def test_names_are_looked_up_in_rounds_that_do_not_overlap_and_end_after_five_seconds() -> None:
    site = Playground()
    site.server.files["/etc/resolv.conf"] = "nameserver 10.97.0.1\n"  # which answers nothing
    env = {"discovery.seed_hosts": "10.244.2.9,quiet.example"}
    recorder = Recorder()
    with site.plane.recording(recorder):
        site.serve(elasticsearch, Invocation("elasticsearch:7.2.0", env=env))
        site.wait(14.5)
    asked = {
        round(record.time)
        for record in recorder.records
        if any("quiet.example" in str(note.cause) for note in record.notes)
    }
    assert asked == {0, 5, 6, 11, 12}, (
        "rounds begin at 0, 6 and 12; the resolver asks again after five seconds"
    )


def test_a_stranger_on_the_transport_port_is_hung_up_on() -> None:
    site = started()
    assert site.shell("printf 'GET / HTTP/1.1\\r\\n\\r\\n' | nc -w 1 10.244.2.9 9300").stdout == ""
    assert json.loads(asks(site, "/_cluster/health"))["status"] == "green"


def test_a_port_that_is_taken_ends_it() -> None:
    site = started()
    assert site.run(elasticsearch(site.server, Invocation("elasticsearch:7.2.0"))) == 1


def test_a_node_that_starts_again_has_its_id_and_another_mark_of_its_start() -> None:
    site = Playground()
    seen = []
    for _ in range(2):
        task = site.serve(elasticsearch, Invocation("elasticsearch:7.2.0", env=SINGLE))
        state = json.loads(asks(site, "/_cluster/state"))
        seen.append((state["master_node"], state["nodes"][state["master_node"]]["ephemeral_id"]))
        task.cancel()
    (first, then) = seen
    assert first[0] == then[0]
    assert first[1] != then[1]


def test_peers_that_are_cancelled_leave_no_port_and_no_connection() -> None:
    site = Playground()
    task = site.serve(elasticsearch, Invocation("elasticsearch:7.2.0", env=SINGLE))
    site.wait(1)
    task.cancel()
    assert {local.port for _, local in site.server.listening()} <= {53}
