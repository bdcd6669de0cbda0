"""What goes when something goes: dependents, and the content of namespaces."""

from __future__ import annotations

from dataclasses import replace

from netsim.objects.apps import ReplicaSet
from netsim.objects.core import ConfigMap, Namespace
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import ObjectMeta, ObjectRef, OwnerReference
from tests.controllers.world import World, deployment, pod, service

DEV = ObjectRef(Namespace.kind, "", "dev")


def test_a_deployment_takes_its_replica_set_and_pods_with_it() -> None:
    world = World(deployment("web", 3), pod("stray", labels={"app": "web"}))
    world.delete("Deployment", "web")
    assert list(world.store.list(ReplicaSet)) == []
    assert [made.metadata.name for made in world.pods()] == ["stray"]


def test_pods_of_a_deleted_deployment_leave_gracefully() -> None:
    world = World(deployment("web", 2))
    world.store.delete(ObjectRef("Deployment", "dev", "web"), 10.0)
    world.manager.step(10.0)
    assert [made.metadata.deletion_timestamp for made in world.pods()] == [40.0, 40.0]
    world.settle()
    assert world.pods() == []


def test_a_dependent_stays_while_one_of_its_owners_does() -> None:
    world = World(service("a"), service("b"))
    owners = tuple(
        OwnerReference("v1", "Service", name, world.service(name).metadata.uid) for name in ("a", "b")
    )
    meta = ObjectMeta(name="shared", namespace="dev", owner_references=owners)
    world.add(ConfigMap(metadata=meta))
    world.delete("Service", "a")
    assert world.store.find(ConfigMap, "shared", "dev") is not None
    world.delete("Service", "b")
    assert world.store.find(ConfigMap, "shared", "dev") is None


def test_an_object_whose_owner_never_existed_goes() -> None:
    gone = OwnerReference("v1", "Service", "a", "00000000-0000-4000-a000-000000000000")
    world = World(ConfigMap(metadata=ObjectMeta(name="lost", namespace="dev", owner_references=(gone,))))
    assert world.store.find(ConfigMap, "lost", "dev") is None


def test_an_owner_of_the_same_name_is_not_the_same_owner() -> None:
    world = World(deployment("web", 1))
    (first,) = world.replica_sets("web")
    world.store.delete(ObjectRef("Deployment", "dev", "web"), 0.0)
    world.add(deployment("web", 1))
    assert world.store.find_uid(first.metadata.uid) is None
    (second,) = world.replica_sets("web")
    assert len(world.pods()) == 1
    assert second.metadata.uid != first.metadata.uid


def test_a_namespace_takes_all_its_content_and_goes_last() -> None:
    world = World(
        deployment("web", 2),
        service("web", {"app": "web"}),
        ConfigMap(metadata=ObjectMeta(name="c", namespace="dev")),
    )
    world.add(deployment("web", 2, namespace="prod"))
    world.store.delete(DEV, 0.0)
    world.manager.step(0.0)
    assert world.manager.waiting() == [
        "Namespace dev: Some resources are remaining: pods has 2 resource instances"
    ]
    assert not any(wait.blocked for wait in world.manager.waits())
    world.settle()
    assert world.store.find(Namespace, "dev") is None
    assert list(world.store.everything("dev")) == []
    assert len(world.pods("prod")) == 2
    assert world.manager.waiting() == []


def test_nothing_new_is_made_in_a_namespace_that_goes() -> None:
    world = World(deployment("web", 2), service("web", {"app": "web"}))
    world.store.delete(DEV, 0.0)
    watch = world.store.watch()
    watch.drain()
    world.manager.step(0.0)
    for made in world.pods():
        world.store.remove(made.ref)
        world.manager.step(0.0)
    assert not [e.object.ref for e in watch.drain() if e.old is None]
    assert list(world.store.list(EndpointSlice)) == []


def test_a_namespace_can_come_again() -> None:
    world = World(deployment("web", 1))
    world.delete("Namespace", "dev", "")
    world.add(Namespace(metadata=ObjectMeta(name="dev")), deployment("web", 1))
    assert len(world.pods("dev")) == 1


def test_finalizers_hold_a_namespace() -> None:
    meta = ObjectMeta(name="held", namespace="dev", finalizers=("netsim.dev/hold",))
    world = World(ConfigMap(metadata=meta))
    world.delete("Namespace", "dev", "")
    assert world.store.terminating("dev")
    world.store.update(ConfigMap(metadata=replace(meta, finalizers=())))
    world.settle()
    assert world.store.find(Namespace, "dev") is None
