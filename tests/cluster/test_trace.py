"""A traced connection as text: the summary first, then every hop, said once and in lines that fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import netsim
from netsim.cluster.summary import WIDTH
from netsim.objects.core import Service
from tests.conftest import Golden

TWO_NAMESPACES = Path(__file__).parents[2] / "topologies" / "cross-namespace.yaml"


def traced(target: str) -> str:
    with netsim.run(str(TWO_NAMESPACES)) as cluster:
        return str(cluster.pump(cluster.pod("dev/jump").trace(target)))


@pytest.mark.parametrize(
    ("name", "target"),
    [("crossing", "ent.prod:8080"), ("refused", "192.168.10.12:81")],
)
def test_the_walk_as_it_is_told(name: str, target: str, golden: Golden) -> None:
    golden(f"trace-{name}.txt", f"{traced(target)}\n")


def test_lines_fit_and_candidates_are_told_once() -> None:
    text = traced("ent.prod:8080")
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    assert text.replace("\n", " ").count("picked at random among 3:") == 1


@pytest.mark.parametrize(
    ("origin", "target", "hinted"),
    [
        ("node/node1", "ent.prod.svc.cluster.local:8080", True),
        ("external/www.example.com", "ent.prod:8080", True),
        ("node/node1", "nosuch.prod.svc.cluster.local:8080", False),
        ("dev/jump", "ent.pord:8080", False),
    ],
)
def test_who_does_not_ask_the_clusters_dns_is_told_so(origin: str, target: str, hinted: bool) -> None:
    with netsim.run(str(TWO_NAMESPACES)) as cluster:
        walk = cluster.pump(cluster.find(origin).trace(target))
        address = cluster.store.get(Service, "ent", "prod").spec.cluster_ip
    assert walk.connection.result == "unresolved"
    said = f"dial its ClusterIP {address}"
    assert walk.hint.endswith(said) is hinted
    for text in ("\n".join(walk.summary()), str(walk)):
        assert (said in " ".join(text.split())) is hinted
