"""StatefulSets: names and identity, the order of starting, stopping and updating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.controllers.revisions import REVISION_LABEL
from netsim.controllers.statefulset import POD_INDEX_LABEL, POD_NAME_LABEL
from netsim.objects.apps import PodTemplateSpec
from netsim.objects.core import Container, Pod, PodSpec
from netsim.objects.meta import LabelSelector, ObjectMeta
from netsim.objects.workloads import ControllerRevision, StatefulSet, StatefulSetSpec
from tests.controllers.world import World, service

LABELS = {"app": "db"}


def stateful_set(
    replicas: int = 3,
    *,
    image: str = "redis:1",
    policy: str = "OrderedReady",
    min_ready_seconds: int = 0,
    start: int = 0,
    history: int = 10,
    strategy: Mapping[str, Any] | None = None,
) -> StatefulSet:
    template = PodTemplateSpec(ObjectMeta(labels=LABELS), PodSpec(containers=(Container("db", image),)))
    rest = {"updateStrategy": strategy or {}, "ordinals": {"start": start}, "revisionHistoryLimit": history}
    spec = StatefulSetSpec(
        replicas,
        LabelSelector(LABELS),
        template,
        "db",
        policy,
        min_ready_seconds=min_ready_seconds,
        rest=rest,
    )
    return StatefulSet(metadata=ObjectMeta(name="db", namespace="dev"), spec=spec)


def rolling(**settings: Any) -> Mapping[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": settings}


def found(world: World) -> StatefulSet:
    return world.store.get(StatefulSet, "db", "dev")


def images(world: World) -> dict[str, str]:
    return {p.metadata.name: p.spec.containers[0].image for p in sorted(world.pods(), key=lambda p: p.ref)}


def manual(*objects: StatefulSet) -> World:
    """A world in which Pods become ready and go away only when the test says so."""
    return World(*objects, kubelet=False)


# --- identity


def test_pods_have_their_ordinal_in_name_hostname_and_labels() -> None:
    world = World(stateful_set(2))
    assert world.names() == ["db-0", "db-1"]
    for number, made in enumerate(world.pods()):
        name = f"db-{number}"
        assert (made.spec.hostname, made.spec.subdomain) == (name, "db")
        assert made.metadata.labels[POD_NAME_LABEL] == name
        assert made.metadata.labels[POD_INDEX_LABEL] == str(number)
        assert made.metadata.labels[REVISION_LABEL] == found(world).status.update_revision


def test_endpoints_of_its_headless_service_have_the_pods_names() -> None:
    world = World(stateful_set(2), service("db", LABELS, cluster_ip="None"))
    (piece,) = world.slices("db")
    assert [endpoint.hostname for endpoint in piece.endpoints] == ["db-0", "db-1"]


def test_a_lost_pod_comes_back_with_its_name_and_another_address() -> None:
    world = World(stateful_set(3))
    before = world.pod("db-1")
    world.delete("Pod", "db-1")
    after = world.pod("db-1")
    assert after.metadata.uid != before.metadata.uid
    assert (after.spec.hostname, after.metadata.labels) == (before.spec.hostname, before.metadata.labels)
    assert after.status.pod_ip != before.status.pod_ip


def test_a_lost_pod_comes_back_on_another_node_when_its_own_is_cordoned() -> None:
    world = World(stateful_set(2))
    node = world.pod("db-1").spec.node_name
    world.cordon(node)
    world.delete("Pod", "db-1")
    assert world.pod("db-1").spec.node_name not in ("", node)


def test_an_ended_pod_is_deleted_and_made_again() -> None:
    world = World(stateful_set(1))
    world.end("db-0", "Failed")
    assert [made.status.phase for made in world.pods()] == ["Running"]


def test_a_pod_that_lost_its_name_label_gets_it_back() -> None:
    world = World(stateful_set(1))
    made = world.pod("db-0")
    labels = {key: value for key, value in made.metadata.labels.items() if key != POD_NAME_LABEL}
    world.store.update(replace(made, metadata=replace(made.metadata, labels=labels)))
    world.settle()
    assert world.pod("db-0").metadata.labels[POD_NAME_LABEL] == "db-0"


def test_ordinals_may_start_above_zero() -> None:
    world = World(stateful_set(2, start=5))
    assert world.names() == ["db-5", "db-6"]
    world.apply(stateful_set(2, start=6))
    assert world.names() == ["db-6", "db-7"]


def test_a_pod_of_another_name_is_not_taken() -> None:
    world = World(stateful_set(1))
    stray = Pod(metadata=ObjectMeta(name="stray", namespace="dev", labels=LABELS))
    world.add(stray)
    assert world.pod("stray").metadata.controller() is None


# --- the order of starting and stopping


def test_ordered_pods_start_one_after_the_other() -> None:
    world = manual(stateful_set(3))
    for number in range(3):
        assert world.names() == [f"db-{n}" for n in range(number + 1)]
        world.ready(f"db-{number}")
    assert world.names() == ["db-0", "db-1", "db-2"]
    assert world.manager.waiting() == []


def test_it_says_for_which_pod_the_next_one_waits() -> None:
    world = manual(stateful_set(2))
    world.settle()
    assert "StatefulSet dev/db: waits for Pod db-0 to be ready" in world.manager.waiting()


def test_ordered_pods_wait_until_the_one_before_has_been_ready_long_enough() -> None:
    world = manual(stateful_set(2, min_ready_seconds=10))
    world.ready("db-0")
    assert world.names() == ["db-0"]
    assert world.manager.deadline() == 10.0
    world.settle(at=10.0)
    assert world.names() == ["db-0", "db-1"]


def test_parallel_pods_start_at_once() -> None:
    assert manual(stateful_set(3, policy="Parallel")).names() == ["db-0", "db-1", "db-2"]


def test_ordered_pods_stop_from_the_highest_down_each_waiting_for_the_one_before() -> None:
    world = World(stateful_set(3), graceful=True)
    world.apply(stateful_set(0))
    assert world.names() == ["db-0", "db-1", "db-2!"]
    world.gone("db-2")
    assert world.names() == ["db-0", "db-1!"]
    world.gone("db-1")
    assert world.names() == ["db-0!"]


def test_parallel_pods_stop_at_once() -> None:
    world = World(stateful_set(3, policy="Parallel"), graceful=True)
    world.apply(stateful_set(1, policy="Parallel"))
    assert world.names() == ["db-0", "db-1!", "db-2!"]


def test_no_pod_stops_while_another_is_not_ready() -> None:
    world = World(stateful_set(3), graceful=True)
    world.report(world.pod("db-0").ref, ready=False)
    world.apply(stateful_set(1))
    assert world.names() == ["db-0", "db-1", "db-2"]
    world.ready("db-0")
    assert world.names() == ["db-0", "db-1", "db-2!"]


def test_the_pod_that_is_not_ready_may_itself_stop() -> None:
    world = World(stateful_set(2), graceful=True)
    world.report(world.pod("db-1").ref, ready=False)
    world.apply(stateful_set(1))
    assert world.names() == ["db-0", "db-1!"]


def test_a_pod_is_made_again_only_when_the_old_one_is_gone() -> None:
    world = World(stateful_set(2), graceful=True)
    world.delete("Pod", "db-0")
    assert world.names() == ["db-0!", "db-1"]
    world.gone("db-0")
    assert world.names() == ["db-1", "db-0"]


# --- updates


def test_an_update_goes_from_the_highest_ordinal_down() -> None:
    world = World(stateful_set(3, strategy=rolling()), graceful=True)
    world.apply(stateful_set(3, image="redis:2", strategy=rolling()))
    for number in (2, 1, 0):
        assert f"db-{number}!" in world.names()
        assert sum("!" in name for name in world.names()) == 1
        world.gone(f"db-{number}")
    assert images(world) == {f"db-{n}": "redis:2" for n in range(3)}
    status = found(world).status
    assert status.current_revision == status.update_revision
    assert (status.current_replicas, status.updated_replicas) == (3, 3)


def test_an_update_waits_until_the_new_pod_is_ready() -> None:
    world = World(stateful_set(2, strategy=rolling()), graceful=True)
    world.apply(stateful_set(2, image="redis:2", strategy=rolling()))
    world.runs_kubelet = False
    world.gone("db-1")
    assert world.names() == ["db-0", "db-1"]
    world.ready("db-1")
    assert world.names() == ["db-0!", "db-1"]


def test_pods_below_the_partition_keep_their_revision_also_when_they_are_made_again() -> None:
    world = World(stateful_set(3))
    old = found(world).status.current_revision
    world.apply(stateful_set(3, image="redis:2", strategy=rolling(partition=2)))
    assert images(world) == {"db-0": "redis:1", "db-1": "redis:1", "db-2": "redis:2"}
    world.delete("Pod", "db-0")
    assert images(world)["db-0"] == "redis:1"
    status = found(world).status
    assert (status.current_revision, status.current_replicas, status.updated_replicas) == (old, 2, 1)
    world.apply(stateful_set(3, image="redis:2", strategy=rolling(partition=0)))
    assert set(images(world).values()) == {"redis:2"}
    assert found(world).status.current_revision != old


def test_on_delete_leaves_the_update_to_whoever_deletes_pods() -> None:
    strategy = {"type": "OnDelete"}
    world = World(stateful_set(2, strategy=strategy))
    world.apply(stateful_set(2, image="redis:2", strategy=strategy))
    assert set(images(world).values()) == {"redis:1"}
    world.delete("Pod", "db-0")
    assert images(world) == {"db-0": "redis:2", "db-1": "redis:1"}


@pytest.mark.parametrize(("amount", "at_once"), [(1, 1), (2, 2), ("50%", 2), ("10%", 1)])
def test_max_unavailable_says_how_many_are_replaced_at_once(amount: int | str, at_once: int) -> None:
    strategy = rolling(maxUnavailable=amount)
    world = World(stateful_set(4, strategy=strategy), graceful=True)
    world.apply(stateful_set(4, image="redis:2", strategy=strategy))
    assert [name for name in world.names() if "!" in name] == [f"db-{n}!" for n in range(4 - at_once, 4)]


def test_an_old_template_takes_its_revision_up_again_as_the_newest() -> None:
    world = World(stateful_set(1))
    for image in ("redis:2", "redis:1"):
        world.apply(stateful_set(1, image=image))
    kept = sorted((r.revision, r.metadata.name) for r in world.store.list(ControllerRevision))
    assert [number for number, _ in kept] == [2, 3]
    assert found(world).status.current_revision == kept[-1][1]
    assert images(world) == {"db-0": "redis:1"}


def test_only_as_many_old_revisions_are_kept_as_the_history_limit_says() -> None:
    world = World(stateful_set(1, history=2))
    for version in range(2, 7):
        world.apply(stateful_set(1, image=f"redis:{version}", history=2))
    assert [held.revision for held in world.store.list(ControllerRevision)] == [4, 5, 6]


def test_its_pods_and_revisions_go_with_it() -> None:
    world = World(stateful_set(2))
    world.delete("StatefulSet", "db")
    assert world.pods() == []
    assert world.store.list(ControllerRevision) == []


# --- whatever happens


def place(made: Pod) -> int:
    return int(made.metadata.labels[POD_INDEX_LABEL])


CHANGES = st.one_of(
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("image"), st.integers(1, 3)),
    st.tuples(st.just("delete"), st.integers(0, 3)),
    st.tuples(st.just("unready"), st.integers(0, 3)),
    st.tuples(st.just("ready"), st.integers(0, 3)),
    st.tuples(st.just("gone"), st.integers(0, 3)),
)


@settings(max_examples=60)
@given(st.lists(CHANGES, max_size=12))
def test_whatever_happens_ordered_pods_have_names_in_order_and_settle(changes: list[tuple[str, int]]) -> None:
    world = manual(stateful_set(2))
    wanted, image = 2, 1
    for what, number in changes:
        name = f"db-{number}"
        before = {made.metadata.uid for made in world.pods()}
        exists = world.store.find(Pod, name, "dev") is not None
        if what in ("scale", "image"):
            wanted, image = (number, image) if what == "scale" else (wanted, number)
            world.apply(stateful_set(wanted, image=f"redis:{image}"))
        elif exists:
            going = world.pod(name).metadata.deletion_timestamp is not None
            if what == "delete":
                world.delete("Pod", name)
            elif what == "gone" and going:
                world.gone(name)
            elif what in ("ready", "unready") and not going and world.pod(name).spec.node_name:
                world.report(world.pod(name).ref, ready=what == "ready", addresses=("10.244.9.9",))
                world.settle()
        for new in (made for made in world.pods() if made.metadata.uid not in before):
            below = [made for made in world.pods() if place(made) < place(new)]
            assert [place(made) for made in below if made.condition("Ready")] == list(range(place(new)))
    for _ in range(60):
        for made in world.pods():
            if made.metadata.deletion_timestamp is not None:
                world.gone(made.metadata.name)
            elif not made.condition("Ready"):
                world.ready(made.metadata.name)
    assert sorted(world.names()) == [f"db-{n}" for n in range(wanted)]
    assert set(images(world).values()) <= {f"redis:{image}"}
