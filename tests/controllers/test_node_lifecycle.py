"""A node that is not heard of: when it is lost, which taints it gets, and when its Pods are evicted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netsim.controllers.nodelifecycle import HEARTBEAT, OUT_OF_SERVICE, last_heartbeat
from netsim.objects.codec import render_time
from netsim.objects.core import Node, Pod, PodSpec, Taint, Toleration
from netsim.objects.meta import Condition, ObjectRef
from tests.controllers.world import World, deployment, node, pod, service

READY = Condition("Ready", "True", "KubeletReady")
ZONES = "topology.kubernetes.io/zone"


def well(name: str, zone: str = "") -> Node:
    made = node(name, labels={ZONES: zone} if zone else {})
    return replace(made, status=replace(made.status, conditions=(READY,)))


def world(*objects: object, nodes: int = 2) -> World:
    made = World(nodes=0, graceful=True)
    made.add(*(well(f"node{number}") for number in range(1, nodes + 1)), *objects)  # type: ignore[arg-type]
    return made


def silence(w: World, name: str, at: float) -> None:
    """Nothing is heard of the node from that time on."""
    w.settle(at=at)
    found = w.store.get(Node, name)
    (held,) = found.status.conditions
    silent = replace(held, rest={HEARTBEAT: render_time(last_heartbeat(at))})
    w.store.update(replace(found, status=replace(found.status, conditions=(silent,))))
    w.settle()


def ready(w: World, name: str) -> tuple[str, str]:
    (held,) = w.store.get(Node, name).status.conditions
    return held.status, held.reason


def taints(w: World, name: str) -> list[tuple[str, str]]:
    listed = w.store.get(Node, name).spec.taints
    return [(taint.key.removeprefix("node.kubernetes.io/"), taint.effect) for taint in listed]


def pass_time(w: World, until: float) -> None:
    """Go from deadline to deadline, as the cluster does."""
    while (deadline := w.manager.deadline()) is not None and deadline <= until:
        w.settle(at=deadline)
    w.settle(at=until)


@pytest.mark.parametrize(
    ("silent", "lost"),
    [(100.0, 155.0), (104.0, 155.0), (109.9, 155.0), (110.0, 165.0), (0.0, 55.0)],
)
def test_a_node_is_lost_at_the_first_look_after_its_grace_period(silent: float, lost: float) -> None:
    """Heard every 10 s, looked at every 5 s, and lost when it was not heard of for more than 50 s."""
    w = world()
    silence(w, "node1", silent)
    assert w.manager.deadline() == lost
    w.settle(at=lost - 0.1)
    assert ready(w, "node1") == ("True", "KubeletReady")
    assert taints(w, "node1") == []
    w.settle(at=lost)
    assert ready(w, "node1") == ("Unknown", "NodeStatusUnknown")
    assert taints(w, "node1") == [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]
    assert w.manager.deadline() is None


def test_the_endpoints_of_a_lost_node_are_not_ready_at_that_moment() -> None:
    w = world(deployment("web", 4), service("web", {"app": "web"}))
    silence(w, "node1", 100.0)
    assert len(w.ready_addresses("web")) == 4
    w.settle(at=155.0)
    staying = {made.status.pod_ip for made in w.pods() if made.spec.node_name == "node2"}
    assert set(w.ready_addresses("web")) == staying
    assert len(staying) == 2


def test_its_pods_are_evicted_after_five_minutes_and_made_again_elsewhere() -> None:
    w = world(deployment("web", 2))
    lost = next(made for made in w.pods() if made.spec.node_name == "node1")
    silence(w, "node1", 100.0)
    pass_time(w, 454.9)
    assert len(w.pods()) == 2
    pass_time(w, 455.0)
    evicted = w.pod(lost.metadata.name)
    assert evicted.metadata.deletion_timestamp is not None
    why = next(held for held in evicted.status.conditions if held.type == "DisruptionTarget")
    assert (why.reason, why.message) == (
        "DeletionByTaintManager",
        "Taint manager: deleting due to NoExecute taint",
    )
    assert [made.spec.node_name for made in w.pods() if made is not evicted] == ["node2", "node2"]


def tolerating(*tolerations: Toleration) -> Pod:
    return pod("x", spec=PodSpec(node_name="node1", tolerations=tolerations))


@pytest.mark.parametrize(
    ("tolerations", "evicted_after"),
    [
        ((), 0.0),
        ((Toleration("node.kubernetes.io/unreachable", "Exists", toleration_seconds=30),), 30.0),
        ((Toleration("node.kubernetes.io/unreachable", "Exists", toleration_seconds=-1),), 0.0),
        (
            (
                Toleration("node.kubernetes.io/unreachable", "Exists", toleration_seconds=60),
                Toleration("", "Exists", "", "NoExecute", 20),
            ),
            20.0,
        ),
        ((Toleration("node.kubernetes.io/unreachable", "Exists"),), None),
        ((Toleration("", "Exists"),), None),
        ((Toleration("node.kubernetes.io/not-ready", "Exists"),), 0.0),
    ],
)
def test_tolerations_say_how_long_a_pod_stays(
    tolerations: tuple[Toleration, ...], evicted_after: float | None
) -> None:
    w = world(tolerating(*tolerations))  # stored as it is: admission has added nothing
    silence(w, "node1", 100.0)
    pass_time(w, 155.0 + (evicted_after or 0.0) - 0.1)
    assert w.names() == ["x"]
    pass_time(w, 2000.0 if evicted_after is None else 155.0 + evicted_after)
    assert w.names() == (["x"] if evicted_after is None else ["x!"])


def test_every_pod_that_is_admitted_tolerates_a_lost_node_for_five_minutes() -> None:
    w = world(deployment("web", 1))
    (made,) = w.pods()
    assert [(held.key, held.toleration_seconds) for held in made.spec.tolerations] == [
        ("node.kubernetes.io/not-ready", 300),
        ("node.kubernetes.io/unreachable", 300),
    ]


def test_a_pod_that_says_itself_keeps_what_it_says() -> None:
    w = world()
    own = Toleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute", 10)
    w.apply(pod("x", spec=PodSpec(tolerations=(own,))))
    assert w.pod("x").spec.tolerations[0] == own
    assert [held.key for held in w.pod("x").spec.tolerations[1:]] == ["node.kubernetes.io/not-ready"]
    w.apply(pod("all", spec=PodSpec(tolerations=(Toleration(operator="Exists"),))))
    assert len(w.pod("all").spec.tolerations) == 1


def test_a_node_that_is_heard_again_loses_the_taints_and_keeps_those_of_others() -> None:
    w = world()
    found = w.store.get(Node, "node1")
    w.store.update(replace(found, spec=replace(found.spec, taints=(Taint("dedicated", "NoSchedule"),))))
    silence(w, "node1", 100.0)
    w.settle(at=155.0)
    assert taints(w, "node1")[0] == ("dedicated", "NoSchedule")
    found = w.store.get(Node, "node1")
    w.store.update(replace(found, status=replace(found.status, conditions=(READY,))))
    w.settle()
    assert taints(w, "node1") == [("dedicated", "NoSchedule")]


def test_a_node_that_says_that_it_is_not_ready_has_the_other_taint() -> None:
    w = world()
    found = w.store.get(Node, "node1")
    bad = Condition("Ready", "False", "KubeletNotReady")
    w.store.update(replace(found, status=replace(found.status, conditions=(bad,))))
    w.settle()
    assert taints(w, "node1") == [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]


@pytest.mark.parametrize(
    ("zones", "lost", "evicts"),
    [
        (["a", "a"], ["node1"], True),
        (["a", "a"], ["node1", "node2"], False),  # nobody is left
        (["a", "a", "b"], ["node1", "node2"], True),  # a zone that is lost as a whole
        (["a"] * 5, ["node1", "node2"], True),
        (["a"] * 5, ["node1", "node2", "node3"], False),  # three of five, 60 %
        (["a"] * 6, ["node1", "node2", "node3"], True),  # three of six, 50 %
    ],
)
def test_evictions_stop_when_too_many_nodes_are_lost(zones: list[str], lost: list[str], evicts: bool) -> None:
    w = World(nodes=0)
    w.add(*(well(f"node{number}", zone) for number, zone in enumerate(zones, 1)))
    for name in lost:
        silence(w, name, 100.0)
    w.settle(at=155.0)
    w.settle()
    last = [effect for _, effect in taints(w, lost[-1])]
    assert last == (["NoSchedule", "NoExecute"] if evicts else ["NoSchedule"])


def test_a_taint_that_a_user_sets_evicts_at_once_what_does_not_tolerate_it() -> None:
    w = world(tolerating(), deployment("web", 2))
    found = w.store.get(Node, "node1")
    w.settle(at=50.0)
    w.store.update(replace(found, spec=replace(found.spec, taints=(Taint("maintenance", "NoExecute"),))))
    w.settle()
    going = [p.spec.node_name for p in w.pods() if p.metadata.deletion_timestamp is not None]
    assert going == ["node1", "node1"]
    (taint,) = w.store.get(Node, "node1").spec.taints
    assert taint.rest == {"timeAdded": render_time(50.0)}


def test_pods_of_a_node_that_is_out_of_service_go_at_the_next_round() -> None:
    w = world(tolerating())
    silence(w, "node1", 100.0)
    w.settle(at=155.0)
    assert w.names() == ["x!"]
    found = w.store.get(Node, "node1")
    gone = Taint(OUT_OF_SERVICE, "NoExecute", "nodeshutdown")
    w.store.update(replace(found, spec=replace(found.spec, taints=(*found.spec.taints, gone))))
    w.settle()
    assert w.manager.deadline() == 160.0
    w.settle(at=160.0)
    assert w.names() == []


def test_pods_of_a_node_that_is_well_are_left_to_its_kubelet() -> None:
    w = world(tolerating())
    found = w.store.get(Node, "node1")
    w.store.update(replace(found, spec=replace(found.spec, taints=(Taint(OUT_OF_SERVICE, "NoExecute"),))))
    w.settle()
    w.settle(at=100.0)
    assert w.names() == ["x!"]
    assert w.store.find_ref(ObjectRef("Pod", "dev", "x")) is not None
