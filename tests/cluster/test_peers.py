"""Peers of a StatefulSet on the cluster: replaced, cut off and back, they are one cluster by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netsim.cluster import Cluster, run
from netsim.objects.core import Pod
from netsim.programs.peers import CHECK_INTERVAL, CHECK_RETRIES, CHECK_TIMEOUT, FIND_INTERVAL

MANIFEST = Path(__file__).parents[1] / "books" / "elasticsearch.yaml"
NAMES = ["es-cluster-0", "es-cluster-1", "es-cluster-2"]
GIVEN_UP = CHECK_RETRIES * (CHECK_TIMEOUT + CHECK_INTERVAL)
"""Seconds after which a peer that says nothing is off the list."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with run(MANIFEST) as running:
        running.advance(5)
        yield running


def pod(cluster: Cluster, name: str) -> Pod:
    return cluster.store.get(Pod, name, "kube-logging")


def state(cluster: Cluster, name: str) -> dict[str, Any]:
    """What a peer says of the cluster."""
    handle = cluster.pod(f"kube-logging/{name}")
    text = cluster.pump(handle.exec(["curl", "-s", "localhost:9200/_cluster/state?local=true"])).stdout
    answer: dict[str, Any] = json.loads(text)
    return answer


def members(cluster: Cluster, name: str) -> list[str]:
    return sorted(node["name"] for node in state(cluster, name)["nodes"].values())


def master(cluster: Cluster, asked: str) -> str:
    told = state(cluster, asked)
    return str(told["nodes"][told["master_node"]]["name"])


def test_a_peer_that_is_replaced_keeps_its_name_and_joins_again(cluster: Cluster) -> None:
    before, uuid = pod(cluster, "es-cluster-1"), state(cluster, "es-cluster-0")["cluster_uuid"]
    cluster.pump(cluster.delete("pod", "kube-logging/es-cluster-1"))
    cluster.advance(2 * FIND_INTERVAL)
    after = pod(cluster, "es-cluster-1")
    assert after.metadata.uid != before.metadata.uid
    assert after.status.pod_ip != before.status.pod_ip
    for name in NAMES:
        assert members(cluster, name) == NAMES
        told = state(cluster, name)
        assert told["cluster_uuid"] == uuid
        addresses = {node["name"]: node["transport_address"] for node in told["nodes"].values()}
        assert addresses["es-cluster-1"] == f"{after.status.pod_ip}:9300"


def test_its_name_leads_to_its_new_address(cluster: Cluster) -> None:
    cluster.pump(cluster.delete("pod", "kube-logging/es-cluster-1"))
    asked = cluster.pod("kube-logging/es-cluster-0")
    lookup = cluster.pump(asked.resolve("es-cluster-1.elasticsearch"))
    assert [str(address) for address in lookup.addresses] == [pod(cluster, "es-cluster-1").status.pod_ip]


def test_a_master_that_is_deleted_is_followed_by_another(cluster: Cluster) -> None:
    old = master(cluster, "es-cluster-0")
    uuid = state(cluster, old)["cluster_uuid"]
    (other, third) = [name for name in NAMES if name != old]
    cluster.pump(cluster.delete("pod", f"kube-logging/{old}", settle=False))
    cluster.advance(1.5)
    assert members(cluster, other) == sorted([other, third])
    assert master(cluster, other) in (other, third)
    cluster.advance(10)
    for name in NAMES:
        assert members(cluster, name) == NAMES
        assert state(cluster, name)["cluster_uuid"] == uuid


def test_a_peer_on_a_node_that_is_cut_off_is_given_up_and_joins_when_it_is_back(cluster: Cluster) -> None:
    boss = master(cluster, "es-cluster-0")
    nodes = {name: pod(cluster, name).spec.node_name for name in NAMES}
    alone = next(node for node in nodes.values() if list(nodes.values()).count(node) == 1)
    (lost,) = [name for name in NAMES if nodes[name] == alone]
    watched = next(name for name in NAMES if name != lost)
    cluster.fail_node(alone)
    if lost != boss:
        cluster.advance(CHECK_RETRIES * CHECK_TIMEOUT - CHECK_INTERVAL - 1)
        assert members(cluster, watched) == NAMES, "nobody is told; three checks must fail first"
    cluster.advance(GIVEN_UP + 5)
    assert members(cluster, watched) == sorted(set(NAMES) - {lost})
    cluster.restore_node(alone)
    cluster.advance(GIVEN_UP)
    for name in NAMES:
        assert members(cluster, name) == NAMES
