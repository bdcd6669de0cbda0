"""ReplicationControllers, and whose a Pod is: what a controller lets go of, and what it takes."""

from __future__ import annotations

from dataclasses import replace

from netsim.objects.apps import PodTemplateSpec, ReplicaSet, ReplicaSetSpec
from netsim.objects.core import Container, Pod, PodSpec
from netsim.objects.meta import LabelSelector, ObjectMeta
from netsim.objects.workloads import ReplicationController, ReplicationControllerSpec
from tests.controllers.world import World, deployment, pod

LABELS = {"app": "guestbook", "tier": "frontend"}
TEMPLATE = PodTemplateSpec(ObjectMeta(labels=LABELS), PodSpec(containers=(Container("php-redis"),)))


def controller(replicas: int = 3, **spec: int) -> ReplicationController:
    return ReplicationController(
        metadata=ObjectMeta(name="frontend", namespace="dev"),
        spec=ReplicationControllerSpec(replicas, LABELS, TEMPLATE, **spec),
    )


def owner_of(made: Pod) -> tuple[str, str] | None:
    owner = made.metadata.controller()
    return (owner.kind, owner.name) if owner is not None else None


def relabel(world: World, name: str, labels: dict[str, str]) -> None:
    found = world.pod(name)
    world.store.update(replace(found, metadata=replace(found.metadata, labels=labels)))
    world.settle()


def test_a_replication_controller_keeps_its_pods_and_counts_them() -> None:
    world = World(controller(3))
    assert [owner_of(made) for made in world.pods()] == [("ReplicationController", "frontend")] * 3
    assert all(made.metadata.name.startswith("frontend-") for made in world.pods())
    status = world.store.get(ReplicationController, "frontend", "dev").status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 3, 3)
    assert status.observed_generation == 1


def test_a_lost_pod_is_replaced() -> None:
    world = World(controller(2))
    lost = world.pods()[0].metadata.name
    world.delete("Pod", lost)
    assert len(world.pods()) == 2
    assert lost not in world.names()


def test_it_is_scaled_in_both_directions() -> None:
    world = World(controller(2))
    for wanted in (5, 1):
        world.apply(controller(wanted))
        assert len(world.pods()) == wanted


def test_its_pods_are_available_after_min_ready_seconds() -> None:
    world = World(controller(1, min_ready_seconds=5))
    assert world.store.get(ReplicationController, "frontend", "dev").status.available_replicas == 0
    world.settle(at=5.0)
    assert world.store.get(ReplicationController, "frontend", "dev").status.available_replicas == 1


def test_its_pods_go_with_it() -> None:
    world = World(controller(3))
    world.delete("ReplicationController", "frontend")
    assert world.pods() == []


# --- whose a Pod is


def test_a_pod_that_is_relabelled_is_let_go_and_replaced() -> None:
    world = World(controller(2))
    first = world.pods()[0].metadata.name
    relabel(world, first, {"app": "guestbook", "tier": "debug"})
    assert owner_of(world.pod(first)) is None
    assert len(world.pods()) == 3
    world.delete("ReplicationController", "frontend")
    assert world.names() == [first]


def test_a_pod_without_a_controller_that_matches_is_taken() -> None:
    world = World(pod("by-hand", labels=LABELS), controller(2))
    assert len(world.pods()) == 2
    assert owner_of(world.pod("by-hand")) == ("ReplicationController", "frontend")


def test_a_pod_that_comes_later_is_taken_and_is_one_too_many() -> None:
    world = World(controller(1))
    (held,) = world.names()
    world.now = 5.0
    world.add(pod("by-hand", labels=LABELS))
    assert world.names() == [held]


def test_a_pod_that_is_relabelled_back_is_taken_again() -> None:
    world = World(controller(1))
    first = world.pods()[0].metadata.name
    relabel(world, first, {"app": "other"})
    relabel(world, first, LABELS)
    assert len(world.pods()) == 1


def test_what_another_controller_manages_is_left_to_it() -> None:
    selector = LabelSelector({"app": "guestbook"})
    other = ReplicaSet(
        metadata=ObjectMeta(name="other", namespace="dev"), spec=ReplicaSetSpec(2, selector, TEMPLATE)
    )
    world = World(controller(2), other)
    owners = [owner_of(made) for made in world.pods()]
    assert owners == [("ReplicationController", "frontend")] * 2 + [("ReplicaSet", "other")] * 2


def test_a_pod_that_has_ended_or_is_going_is_not_taken() -> None:
    world = World(pod("ended", labels=LABELS), pod("going", labels=LABELS), graceful=True)
    world.end("ended")
    world.delete("Pod", "going")
    world.add(controller(1))
    assert owner_of(world.pod("ended")) is None
    assert owner_of(world.pod("going")) is None


def test_a_deployment_takes_no_pod_without_its_hash() -> None:
    world = World(pod("stray", labels={"app": "web"}), deployment("web", 1))
    assert owner_of(world.pod("stray")) is None
