"""Which node a Pod gets, and what is said when there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netsim.controllers.placement import failure_message, objection, tolerates
from netsim.objects.core import Container, Node, PodSpec, Taint, Toleration
from tests.controllers.world import CONTROL_PLANE, World, deployment, node, pod

GPU = Taint("gpu", "NoSchedule", "a100")


def placed(world: World) -> dict[str, str]:
    return {made.metadata.name: made.spec.node_name for made in world.pods()}


def spec(**more: Any) -> PodSpec:
    return PodSpec(containers=(Container("c"),), **more)


def change(world: World, name: str, **more: Any) -> None:
    held = world.store.get(Node, name)
    world.store.update(replace(held, spec=replace(held.spec, **more)))
    world.settle()


# --- where to


def test_replicas_are_spread_over_the_nodes() -> None:
    world = World(deployment("web", 6), nodes=3)
    counts = {n: sum(made.spec.node_name == n for made in world.pods()) for n in ("node1", "node2", "node3")}
    assert counts == {"node1": 2, "node2": 2, "node3": 2}


def test_replicas_of_one_owner_avoid_each_other_before_they_avoid_others() -> None:
    world = World(pod("a", spec=spec(node_name="node2")), pod("b", spec=spec(node_name="node2")))
    world.add(deployment("web", 2))
    assert sorted(made.spec.node_name for made in world.pods() if made.metadata.owner_references) == [
        "node1",
        "node2",
    ]


def test_a_single_pod_goes_where_the_fewest_pods_are_then_by_name() -> None:
    world = World(nodes=3)
    for name in ("a", "b", "c", "d"):
        world.add(pod(name))
    assert placed(world) == {"a": "node1", "b": "node2", "c": "node3", "d": "node1"}


def test_many_pods_at_once_are_placed_as_one_by_one() -> None:
    at_once, one_by_one = World(nodes=3), World(nodes=3)
    names = [f"p{number}" for number in range(7)]
    at_once.add(*(pod(name) for name in names))
    for name in names:
        one_by_one.add(pod(name))
    assert placed(at_once) == placed(one_by_one)


def test_ended_and_leaving_pods_do_not_count_for_spreading() -> None:
    world = World(pod("ended"), pod("other"))
    world.report(world.pod("ended").ref, ready=False, phase="Succeeded")
    world.add(pod("new"))
    assert placed(world)["new"] == "node1"


def test_a_pod_that_names_its_node_is_not_scheduled() -> None:
    world = World(node("cordoned", cordoned=True), pod("a", spec=spec(node_name="cordoned")))
    assert placed(world) == {"a": "cordoned"}


def test_a_preferred_node_is_one_without_soft_taints() -> None:
    soft = Taint("busy", "PreferNoSchedule")
    world = World(node("aaa", taints=(soft,)), pod("a"), pod("b"), nodes=1)
    assert placed(world) == {"a": "node1", "b": "node1"}
    change(world, "node1", unschedulable=True)
    world.add(pod("c"))
    assert placed(world)["c"] == "aaa"


def test_binding_is_told_in_the_pod_scheduled_condition() -> None:
    assert World(pod("a"), kubelet=False).pod("a").condition("PodScheduled")


# --- what a node objects to


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        (Toleration("gpu", "Equal", "a100", "NoSchedule"), True),
        (Toleration("gpu", "Equal", "a100"), True),
        (Toleration("gpu", "Equal", "h100"), False),
        (Toleration("gpu", "Exists"), True),
        (Toleration("", "Exists"), True),
        (Toleration("", "Equal", "a100"), False),
        (Toleration("gpu", "Exists", effect="NoExecute"), False),
        (Toleration("cpu", "Exists"), False),
    ],
)
def test_tolerations_cover_taints(toleration: Toleration, covers: bool) -> None:
    assert tolerates(toleration, GPU) is covers


UNSCHEDULABLE = Toleration("node.kubernetes.io/unschedulable", "Exists")


@pytest.mark.parametrize(
    ("wanted", "offered", "reason"),
    [
        (spec(), node("n"), ""),
        (spec(), node("n", taints=(GPU,)), "node(s) had untolerated taint {gpu: a100}"),
        (spec(tolerations=(Toleration("gpu", "Exists"),)), node("n", taints=(GPU,)), ""),
        (spec(), node("n", taints=(Taint("x", "NoExecute"),)), "node(s) had untolerated taint {x: }"),
        (spec(), node("n", taints=(Taint("x", "PreferNoSchedule"),)), ""),
        (spec(), node("n", cordoned=True), "node(s) were unschedulable"),
        (spec(tolerations=(UNSCHEDULABLE,)), node("n", cordoned=True), ""),
        (spec(), node("n", cordoned=True, taints=(GPU,)), "node(s) were unschedulable"),
        (spec(node_selector={"disk": "ssd"}), node("n", labels={"disk": "ssd"}), ""),
        (
            spec(node_selector={"disk": "ssd"}),
            node("n", labels={"disk": "hdd"}),
            "node(s) didn't match Pod's node affinity/selector",
        ),
    ],
)
def test_the_first_filter_that_objects_names_the_reason(wanted: PodSpec, offered: Node, reason: str) -> None:
    assert objection(wanted, offered) == reason


def affinity(*terms: dict[str, Any]) -> PodSpec:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return spec(rest={"affinity": {"nodeAffinity": required}})


@pytest.mark.parametrize(
    ("term", "fits"),
    [
        ({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]}, True),
        ({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}, False),
        ({"matchExpressions": [{"key": "disk", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}, False),
        ({}, False),
    ],
)
def test_required_node_affinity_is_a_filter(term: dict[str, Any], fits: bool) -> None:
    offered = node("n", labels={"disk": "ssd", "cores": "8"})
    assert (objection(affinity(term), offered) == "") is fits
    never = {"matchExpressions": [{"key": "absent", "operator": "Exists"}]}
    assert (objection(affinity(never, term), offered) == "") is fits


# --- what is said


def test_the_message_counts_reasons_as_the_scheduler_does() -> None:
    reasons = ["node(s) had untolerated taint {a: }", "node(s) didn't match Pod's node affinity/selector"]
    assert failure_message([reasons[1], reasons[0], reasons[1]]) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {a: }, "
        "2 node(s) didn't match Pod's node affinity/selector."
    )


WITHOUT_SSD = (
    "Pod dev/x: no node matches its nodeSelector {disk: ssd} (0/3 nodes are available: "
    "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
    "2 node(s) didn't match Pod's node affinity/selector.)"
)


def test_a_pod_that_fits_nowhere_waits_with_the_reason() -> None:
    world = World(
        node("control", taints=(CONTROL_PLANE,)), pod("x", spec=spec(node_selector={"disk": "ssd"}))
    )
    assert world.manager.waiting() == [WITHOUT_SSD]
    assert all(wait.blocked for wait in world.manager.waits())
    (scheduled,) = world.pod("x").status.conditions
    assert (scheduled.type, scheduled.status, scheduled.reason) == ("PodScheduled", "False", "Unschedulable")
    assert scheduled.message in WITHOUT_SSD


@pytest.mark.parametrize(
    ("nodes", "wanted", "line"),
    [
        (
            [node("n", cordoned=True)],
            spec(),
            "every node is cordoned or has a taint that it does not tolerate "
            "(0/1 nodes are available: 1 node(s) were unschedulable.)",
        ),
        ([], spec(), "there are no nodes (no nodes available to schedule pods)"),
        (
            [node("n")],
            affinity({"matchExpressions": [{"key": "absent", "operator": "Exists"}]}),
            "no node matches its nodeAffinity "
            "(0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.)",
        ),
        ([node("n")], spec(rest={"schedulerName": "mine"}), "there is no scheduler named 'mine'"),
    ],
)
def test_every_reason_to_wait_is_named(nodes: list[Node], wanted: PodSpec, line: str) -> None:
    world = World(*nodes, pod("x", spec=wanted), nodes=0)
    assert world.manager.waiting() == [f"Pod dev/x: {line}"]


def test_a_waiting_pod_is_placed_when_a_node_becomes_fit() -> None:
    world = World(pod("x", spec=spec(node_selector={"disk": "ssd"})))
    held = world.store.get(Node, "node2")
    world.store.update(replace(held, metadata=replace(held.metadata, labels={"disk": "ssd"})))
    world.settle()
    assert placed(world) == {"x": "node2"}
    assert world.manager.waiting() == []


def test_a_waiting_pod_is_placed_when_a_node_is_uncordoned_or_comes() -> None:
    world = World(node("n", cordoned=True), pod("x"), nodes=0)
    change(world, "n", unschedulable=False)
    assert placed(world) == {"x": "n"}
    world = World(pod("x"), nodes=0)
    world.add(node("n"))
    assert placed(world) == {"x": "n"}


def test_a_deleted_pod_waits_no_longer() -> None:
    world = World(pod("x"), nodes=0)
    assert world.manager.waiting() != []
    world.delete("Pod", "x")
    assert world.manager.waiting() == []
