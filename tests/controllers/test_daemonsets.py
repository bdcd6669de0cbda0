"""DaemonSets: one Pod on each node that may run it, and how they are updated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from netsim.controllers.daemonset import daemon_pod_spec
from netsim.controllers.revisions import REVISION_LABEL
from netsim.objects.apps import PodTemplateSpec
from netsim.objects.core import Container, Node, Pod, PodSpec, Taint, Toleration
from netsim.objects.meta import LabelSelector, ObjectMeta, ObjectRef
from netsim.objects.workloads import ControllerRevision, DaemonSet, DaemonSetSpec
from tests.controllers.world import CONTROL_PLANE, World, node

LABELS = {"app": "agent"}


def daemon_set(
    *,
    image: str = "agent:1",
    strategy: Mapping[str, Any] | None = None,
    min_ready_seconds: int = 0,
    **pod: Any,
) -> DaemonSet:
    spec = PodSpec(containers=(Container("agent", image),), **pod)
    return DaemonSet(
        metadata=ObjectMeta(name="agent", namespace="dev"),
        spec=DaemonSetSpec(
            LabelSelector(LABELS),
            PodTemplateSpec(ObjectMeta(labels=LABELS), spec),
            min_ready_seconds,
            {"updateStrategy": strategy or {"type": "RollingUpdate"}},
        ),
    )


def rolling(**settings: Any) -> Mapping[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": settings}


def nodes_of(world: World) -> list[str]:
    return sorted(made.spec.node_name for made in world.pods())


def images(world: World) -> dict[str, str]:
    return {made.spec.node_name: made.spec.containers[0].image for made in world.pods()}


def found(world: World) -> DaemonSet:
    return world.store.get(DaemonSet, "agent", "dev")


def change_node(world: World, name: str, **spec: Any) -> None:
    held = world.store.get(Node, name)
    world.store.update(replace(held, spec=replace(held.spec, **spec)))
    world.settle()


# --- on which nodes


def test_there_is_one_pod_on_every_node_bound_by_the_scheduler() -> None:
    world = World(daemon_set(), nodes=3)
    assert nodes_of(world) == ["node1", "node2", "node3"]
    assert all(made.condition("PodScheduled") for made in world.pods())
    status = found(world).status
    assert (status.desired_number_scheduled, status.current_number_scheduled) == (3, 3)
    assert (status.number_ready, status.number_available, status.number_unavailable) == (3, 3, 0)
    assert (status.updated_number_scheduled, status.number_misscheduled) == (3, 0)


def test_a_node_that_comes_gets_one() -> None:
    world = World(daemon_set())
    world.add(node("node3"))
    assert nodes_of(world) == ["node1", "node2", "node3"]


@pytest.mark.parametrize(
    ("pod", "nodes"),
    [
        ({}, ["plain"]),
        ({"node_selector": {"disk": "ssd"}}, []),
        ({"tolerations": (Toleration(operator="Exists"),)}, ["cp", "dying", "plain", "ssd"]),
        ({"tolerations": (Toleration(CONTROL_PLANE.key, operator="Exists"),)}, ["cp", "plain"]),
        (
            {
                "node_selector": {"disk": "ssd"},
                "tolerations": (Toleration("dedicated", operator="Exists", effect="NoSchedule"),),
            },
            ["ssd"],
        ),
        ({"node_name": "plain"}, ["plain"]),
    ],
)
def test_node_selectors_and_taints_say_which_nodes_get_one(pod: dict[str, Any], nodes: list[str]) -> None:
    world = World(nodes=0)
    world.add(
        node("cp", taints=(CONTROL_PLANE,)),
        node("ssd", labels={"disk": "ssd"}, taints=(Taint("dedicated", "NoSchedule"),)),
        node("plain"),
        node("dying", taints=(Taint("maintenance", "NoExecute"),)),
        daemon_set(**pod),
    )
    assert nodes_of(world) == nodes


def test_a_cordoned_node_gets_one_too() -> None:
    world = World(node("cordoned", cordoned=True), daemon_set(), nodes=0)
    assert nodes_of(world) == ["cordoned"]


def test_a_no_schedule_taint_leaves_the_pod_and_a_no_execute_taint_takes_it() -> None:
    world = World(daemon_set())
    change_node(world, "node1", taints=(Taint("dedicated", "NoSchedule"),))
    assert nodes_of(world) == ["node1", "node2"]
    assert found(world).status.number_misscheduled == 1
    change_node(world, "node1", taints=(Taint("dedicated", "NoExecute"),))
    assert nodes_of(world) == ["node2"]


def test_a_relabelled_node_loses_its_pod() -> None:
    world = World(node("a", labels={"disk": "ssd"}), daemon_set(node_selector={"disk": "ssd"}), nodes=1)
    assert nodes_of(world) == ["a"]
    held = world.store.get(Node, "a")
    world.store.update(replace(held, metadata=replace(held.metadata, labels={})))
    world.settle()
    assert nodes_of(world) == []


def test_its_pods_tolerate_what_keeps_other_pods_off_a_node_in_trouble() -> None:
    spec = daemon_pod_spec(PodSpec(), "node1")
    keys = [held.key.removeprefix("node.kubernetes.io/") for held in spec.tolerations]
    trouble = ["not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure"]
    assert keys == [*trouble, "unschedulable"]
    on_host = daemon_pod_spec(PodSpec(host_network=True), "node1")
    assert on_host.tolerations[-1].key == "node.kubernetes.io/network-unavailable"


def test_a_pod_that_is_one_too_many_on_a_node_goes() -> None:
    world = World(daemon_set(), nodes=1)
    (held,) = world.names()
    extra = world.pod(held)
    again = Pod(metadata=replace(extra.metadata, name="extra"), spec=extra.spec)
    world.add(again)
    assert world.names() == [held]


def test_an_ended_pod_is_made_again() -> None:
    world = World(daemon_set(), nodes=1)
    world.end(world.names()[0], "Failed")
    assert [made.status.phase for made in world.pods()] == ["Running"]


# --- updates


def test_an_update_replaces_one_pod_at_a_time_by_default() -> None:
    world = World(daemon_set(), nodes=3, graceful=True)
    world.apply(daemon_set(image="agent:2"))
    for _ in range(3):
        going = [name.removesuffix("!") for name in world.names() if "!" in name]
        assert len(going) == 1
        world.gone(*going)
    assert images(world) == {f"node{n}": "agent:2" for n in (1, 2, 3)}
    assert found(world).status.updated_number_scheduled == 3


@pytest.mark.parametrize(("amount", "at_once"), [(2, 2), ("50%", 2), ("10%", 1), ("100%", 4)])
def test_max_unavailable_says_how_many_at_once(amount: int | str, at_once: int) -> None:
    strategy = rolling(maxUnavailable=amount)
    world = World(daemon_set(strategy=strategy), nodes=4, graceful=True)
    world.apply(daemon_set(image="agent:2", strategy=strategy))
    assert sum("!" in name for name in world.names()) == at_once


def test_an_outdated_pod_that_is_not_ready_is_replaced_at_once() -> None:
    world = World(daemon_set(), nodes=3, graceful=True)
    first, second, _ = (made.ref for made in world.pods())
    for ref in (first, second):
        world.report(ref, ready=False)
    world.apply(daemon_set(image="agent:2"))
    assert [name for name in world.names() if "!" in name] == [f"{first.name}!", f"{second.name}!"]


def test_an_update_waits_for_new_pods_to_be_available() -> None:
    world = World(daemon_set(min_ready_seconds=10), nodes=2)
    world.settle(at=10.0)
    world.apply(daemon_set(image="agent:2", min_ready_seconds=10))
    assert sorted(images(world).values()) == ["agent:1", "agent:2"]
    world.settle(at=20.0)
    assert sorted(images(world).values()) == ["agent:2", "agent:2"]


def test_max_surge_makes_the_new_pod_before_the_old_one_goes() -> None:
    strategy = rolling(maxSurge=1, maxUnavailable=0)
    world = World(daemon_set(strategy=strategy), nodes=2, graceful=True)
    world.apply(daemon_set(image="agent:2", strategy=strategy))
    while going := [name.removesuffix("!") for name in world.names() if "!" in name]:
        serving = {p.spec.node_name for p in world.pods() if p.metadata.deletion_timestamp is None}
        assert serving == {"node1", "node2"}
        world.gone(*going)
    assert images(world) == {"node1": "agent:2", "node2": "agent:2"}
    assert len(world.pods()) == 2


def test_on_delete_leaves_the_update_to_whoever_deletes_pods() -> None:
    strategy = {"type": "OnDelete"}
    world = World(daemon_set(strategy=strategy))
    world.apply(daemon_set(image="agent:2", strategy=strategy))
    assert set(images(world).values()) == {"agent:1"}
    lost = world.pods()[0]
    world.store.delete(ObjectRef("Pod", "dev", lost.metadata.name), world.now)
    world.settle()
    assert images(world)[lost.spec.node_name] == "agent:2"


def test_pods_have_the_hash_of_their_revision() -> None:
    world = World(daemon_set(), nodes=1)
    world.apply(daemon_set(image="agent:2"))
    old, new = world.store.list(ControllerRevision)
    assert (old.revision, new.revision) == (1, 2)
    assert world.pods()[0].metadata.labels[REVISION_LABEL] == new.metadata.labels[REVISION_LABEL]
    assert new.metadata.name == f"agent-{new.metadata.labels[REVISION_LABEL]}"


def test_its_pods_go_with_it() -> None:
    world = World(daemon_set())
    world.delete("DaemonSet", "agent")
    assert world.pods() == []
