"""Deployments and ReplicaSets: names, replicas, templates, status, and who goes first."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from netsim.controllers.deployment import HASH_LABEL, REVISION
from netsim.controllers.hashes import fnv_1a, safe_encode, template_hash
from netsim.controllers.rollout import max_unavailable
from netsim.objects.apps import Deployment, PodTemplateSpec, ReplicaSet, ReplicaSetSpec
from netsim.objects.core import Container, PodSpec
from netsim.objects.meta import LabelSelector, ObjectMeta
from tests.controllers.world import World, deployment, node, pod


def condition(found: Deployment, kind: str) -> tuple[str, str, float | None]:
    held = next(c for c in found.status.conditions if c.type == kind)
    return held.status, held.reason, held.last_transition_time


def with_image(world: World, name: str, image: str) -> None:
    found = world.deployment(name)
    template = replace(found.spec.template, spec=PodSpec(containers=(Container("c", image),)))
    world.store.update(replace(found, spec=replace(found.spec, template=template)))
    world.settle()


# --- names


def test_names_have_the_shape_of_kubernetes_names() -> None:
    world = World(deployment("enterprise", 2))
    (owned,) = world.replica_sets("enterprise")
    assert re.fullmatch(r"enterprise-[456789bcdf]{8,10}", owned.metadata.name)
    for made in world.pods():
        assert re.fullmatch(
            re.escape(owned.metadata.name) + r"-[bcdfghjklmnpqrstvwxz2456789]{5}", made.metadata.name
        )


def test_the_hash_is_a_label_of_the_replica_set_its_selector_and_its_pods() -> None:
    world = World(deployment("web", 1))
    (owned,) = world.replica_sets("web")
    label = owned.metadata.name.removeprefix("web-")
    assert owned.metadata.labels[HASH_LABEL] == label
    assert owned.spec.selector.match_labels == {"app": "web", HASH_LABEL: label}
    assert [made.metadata.labels for made in world.pods()] == [{"app": "web", HASH_LABEL: label}]


def test_the_safe_alphabet_is_kubernetes_own() -> None:
    assert safe_encode("0123456789") == "456789bcdf"


def test_the_hash_is_fnv_1a() -> None:
    assert (fnv_1a(b""), fnv_1a(b"a"), fnv_1a(b"foobar")) == (0x811C9DC5, 0xE40C292C, 0xBF9CF968)


def test_equal_templates_have_equal_hashes_in_every_process() -> None:
    template = PodTemplateSpec(ObjectMeta(labels={"a": "1", "b": "2"}), PodSpec(node_selector={"x": "y"}))
    turned = PodTemplateSpec(ObjectMeta(labels={"b": "2", "a": "1"}), PodSpec(node_selector={"x": "y"}))
    assert template_hash(template) == template_hash(turned) == "5b69d94699"
    assert template_hash(template, collisions=1) != template_hash(template)


def test_a_name_that_something_else_has_is_avoided() -> None:
    wanted = deployment("web", 1)
    taken = f"web-{template_hash(wanted.spec.template)}"
    world = World(
        ReplicaSet(metadata=ObjectMeta(name=taken, namespace="dev"), spec=ReplicaSetSpec(replicas=0))
    )
    world.add(wanted)
    (owned,) = world.replica_sets("web")
    assert owned.metadata.name != taken
    assert len(world.pods()) == 1


def test_another_object_changes_no_generated_name() -> None:
    alone, together = World(), World(deployment("other", 3))
    for world in (alone, together):
        world.add(deployment("web", 3))
    mine = [made.metadata.name for made in alone.pods()]
    assert [m.metadata.name for m in together.pods() if m.metadata.name.startswith("web-")] == mine


# --- replicas


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_there_are_as_many_pods_as_wanted(replicas: int) -> None:
    assert len(World(deployment("web", replicas)).pods()) == replicas


def test_a_lost_pod_is_replaced_by_one_with_another_name_and_address() -> None:
    world = World(deployment("web", 2))
    before = {made.metadata.name: made.status.pod_ip for made in world.pods()}
    lost = next(iter(before))
    world.delete("Pod", lost)
    after = {made.metadata.name: made.status.pod_ip for made in world.pods()}
    (new,) = after.keys() - before.keys()
    assert lost not in after
    assert after[new] not in before.values()


def test_pods_that_it_does_not_own_are_left_alone() -> None:
    world = World(pod("stray", labels={"app": "web"}), deployment("web", 2))
    assert len(world.pods()) == 3
    world.scale("web", 0)
    assert [made.metadata.name for made in world.pods()] == ["stray"]


def test_an_ended_pod_does_not_count_as_a_replica() -> None:
    world = World(deployment("web", 1))
    (first,) = world.pods()
    world.report(first.ref, ready=False, phase="Failed")
    world.settle()
    assert [made.status.phase for made in world.pods()] == ["Failed", "Running"]


def test_a_replica_set_works_on_its_own() -> None:
    template = PodTemplateSpec(ObjectMeta(labels={"app": "x"}), PodSpec(containers=(Container("c"),)))
    spec = ReplicaSetSpec(2, LabelSelector({"app": "x"}), template)
    world = World(ReplicaSet(metadata=ObjectMeta(name="x", namespace="dev"), spec=spec))
    assert len(world.pods()) == 2
    status = world.store.get(ReplicaSet, "x", "dev").status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (2, 2, 2)
    assert status.observed_generation == 1


# --- who goes first


def surviving(world: World, name: str = "web") -> set[str]:
    world.scale(name, 1)
    return {made.metadata.name for made in world.pods()}


def test_the_unready_pod_goes_before_the_ready_one() -> None:
    world = World(deployment("web", 2))
    first, second = world.pods()
    world.report(first.ref, ready=False)
    assert surviving(world) == {second.metadata.name}


def test_the_pod_that_was_ready_later_goes_first() -> None:
    world = World(deployment("web", 2))
    first, second = world.pods()
    world.now = 60.0
    world.report(first.ref, ready=False)
    world.report(first.ref, ready=True)
    assert surviving(world) == {second.metadata.name}


def test_the_pod_with_the_lower_deletion_cost_goes_first() -> None:
    world = World(deployment("web", 2))
    first, second = world.pods()
    costs = {"controller.kubernetes.io/pod-deletion-cost": "-1"}
    world.store.update(replace(first, metadata=replace(first.metadata, annotations=costs)))
    assert surviving(world) == {second.metadata.name}


def test_a_pod_on_the_more_crowded_node_goes_before_a_newer_one_elsewhere() -> None:
    world = World(node("other"), nodes=0)
    world.add(deployment("web", 2))
    world.add(node("node1"))
    first, second = world.pods()
    world.scale("web", 3)
    third = world.pods()[-1]
    assert [made.spec.node_name for made in (first, second, third)] == ["other", "other", "node1"]
    world.scale("web", 2)
    assert {made.metadata.name for made in world.pods()} == {first.metadata.name, third.metadata.name}


def test_a_pod_without_a_node_goes_before_all_others() -> None:
    world = World(deployment("web", 2))
    bound = world.pods()
    for name in ("node1", "node2"):
        world.cordon(name)
    world.scale("web", 3)
    assert [bool(made.spec.node_name) for made in world.pods()] == [True, True, False]
    world.scale("web", 2)
    assert world.pods() == bound


# --- templates


def test_a_new_template_takes_over_at_once() -> None:
    world = World(deployment("web", 3))
    with_image(world, "web", "acme/shop:v2")
    old, new = world.replica_sets("web")
    assert (old.spec.replicas, new.spec.replicas) == (0, 3)
    assert [made.spec.containers[0].image for made in world.pods()] == ["acme/shop:v2"] * 3
    assert [rs.metadata.annotations[REVISION] for rs in (old, new)] == ["1", "2"]
    assert world.deployment("web").metadata.annotations[REVISION] == "2"


def test_an_old_template_takes_its_replica_set_up_again_as_the_newest_revision() -> None:
    world = World(deployment("web", 1, image="acme/shop:v1"))
    template = world.deployment("web").spec.template
    with_image(world, "web", "acme/shop:v2")
    found = world.deployment("web")
    world.store.update(replace(found, spec=replace(found.spec, template=template)))
    world.settle()
    first, second = world.replica_sets("web")
    assert (first.spec.replicas, second.spec.replicas) == (1, 0)
    assert (first.metadata.annotations[REVISION], second.metadata.annotations[REVISION]) == ("3", "2")


def test_only_as_many_old_replica_sets_are_kept_as_the_history_limit_says() -> None:
    world = World(deployment("web", 1, rest={"revisionHistoryLimit": 2}))
    for version in range(2, 7):
        with_image(world, "web", f"acme/shop:v{version}")
    assert [rs.metadata.annotations[REVISION] for rs in world.replica_sets("web")] == ["4", "5", "6"]


# --- status


def test_status_counts_what_there_is() -> None:
    world = World(deployment("web", 3))
    world.report(world.pods()[0].ref, ready=False)
    world.settle()
    status = world.deployment("web").status
    assert (status.replicas, status.updated_replicas) == (3, 3)
    assert (status.ready_replicas, status.available_replicas) == (2, 2)
    assert status.rest == {"unavailableReplicas": 1}


def test_the_available_condition_follows_max_unavailable() -> None:
    world = World(deployment("web", 4))
    first, second, *_ = world.pods()
    world.now = 5.0
    world.report(first.ref, ready=False)
    world.settle()
    assert condition(world.deployment("web"), "Available") == ("True", "MinimumReplicasAvailable", 0.0)
    world.report(second.ref, ready=False)
    world.settle()
    assert condition(world.deployment("web"), "Available") == ("False", "MinimumReplicasUnavailable", 5.0)


def test_the_progressing_condition_says_when_the_new_replica_set_is_complete() -> None:
    world = World(deployment("web", 1), kubelet=False)
    assert condition(world.deployment("web"), "Progressing")[:2] == ("True", "ReplicaSetUpdated")
    world = World(deployment("web", 1))
    assert condition(world.deployment("web"), "Progressing")[:2] == ("True", "NewReplicaSetAvailable")


def test_a_pod_is_available_only_after_min_ready_seconds() -> None:
    world = World(deployment("web", 2, min_ready_seconds=10))
    status = world.deployment("web").status
    assert (status.ready_replicas, status.available_replicas) == (2, 0)
    assert world.manager.deadline() == 10.0
    (owned,) = world.replica_sets("web")
    assert world.manager.waiting() == [
        f"ReplicaSet dev/{owned.metadata.name}: 0 of 2 ready Pods have been so for minReadySeconds (10 s)"
    ]
    world.settle(at=10.0)
    assert world.deployment("web").status.available_replicas == 2
    assert (world.manager.deadline(), world.manager.waiting()) == (None, [])


def test_observed_generation_follows_the_declaration() -> None:
    world = World(deployment("web", 1))
    world.scale("web", 2)
    found = world.deployment("web")
    assert found.status.observed_generation == found.metadata.generation == 2


@pytest.mark.parametrize(
    ("replicas", "strategy", "allowed"),
    [
        (4, None, 1),
        (3, None, 0),
        (4, {"rollingUpdate": {"maxUnavailable": "50%"}}, 2),
        (4, {"rollingUpdate": {"maxUnavailable": 3}}, 3),
        (2, {"rollingUpdate": {"maxUnavailable": 5}}, 2),
        (0, {"rollingUpdate": {"maxUnavailable": 5}}, 0),
        (4, {"type": "Recreate"}, 0),
    ],
)
def test_max_unavailable_is_a_number_or_a_percentage(
    replicas: int, strategy: dict[str, object] | None, allowed: int
) -> None:
    rest = {"strategy": strategy} if strategy is not None else {}
    assert max_unavailable(deployment("web", replicas, rest=rest)) == allowed


def test_a_pod_belongs_to_its_replica_set_and_that_to_its_deployment() -> None:
    world = World(deployment("web", 1))
    (made,) = world.pods()
    owner = made.metadata.controller()
    assert owner is not None
    (owned,) = world.replica_sets("web")
    assert (owner.kind, owner.uid, owner.block_owner_deletion) == ("ReplicaSet", owned.metadata.uid, True)
