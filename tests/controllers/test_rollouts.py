"""Deployments on their way from one template to the next: how many Pods there are at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.controllers.deployment import PAST_REVISIONS, REVISION
from netsim.controllers.rollout import DESIRED, MOST, max_surge, max_unavailable
from netsim.objects.apps import Deployment
from netsim.objects.core import Pod
from netsim.objects.meta import Object
from netsim.store.store import EventType, StoreEvent
from tests.controllers.world import World, deployment


def web(
    replicas: int = 4,
    version: int = 1,
    *,
    surge: int | str = "25%",
    unavailable: int | str = "25%",
    ready_seconds: int = 0,
    **rest: Any,
) -> Deployment:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return deployment(
        "web",
        replicas,
        image=f"shop:v{version}",
        min_ready_seconds=ready_seconds,
        rest={"strategy": strategy, **rest},
    )


def recreating(version: int = 1, replicas: int = 2) -> Deployment:
    rest = {"strategy": {"type": "Recreate"}}
    return deployment("web", replicas, image=f"shop:v{version}", rest=rest)


def version_of(made: Pod) -> int:
    return int(made.spec.containers[0].image.rpartition(":v")[2])


def counts(world: World) -> dict[str, int]:
    """``{"v1": 3, "v2 unready": 1, "v1 going": 1}``"""
    found: dict[str, int] = {}
    for made in world.pods():
        what = "" if made.condition("Ready") else " unready"
        what = " going" if made.metadata.deletion_timestamp is not None else what
        found[f"v{version_of(made)}{what}"] = found.get(f"v{version_of(made)}{what}", 0) + 1
    return found


def start(obj: Object, *, graceful: bool = True) -> World:
    """A world whose first Pods are ready; from then on they become so when the test says so."""
    world = World(obj, graceful=graceful, nodes=3)
    world.runs_kubelet = False
    return world


def all_ready(world: World) -> None:
    fresh = [p for p in world.pods() if p.metadata.deletion_timestamp is None and not p.condition("Ready")]
    world.ready(*(made.metadata.name for made in fresh))


def all_gone(world: World) -> None:
    world.gone(*(p.metadata.name for p in world.pods() if p.metadata.deletion_timestamp is not None))


def sizes(world: World) -> list[int]:
    return [held.spec.replicas for held in world.replica_sets("web")]


def condition(world: World, kind: str) -> tuple[str, str, str]:
    held = next(c for c in world.deployment("web").status.conditions if c.type == kind)
    return held.status, held.reason, held.message


# --- rolling updates


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "steps"),
    [
        # each step is what stands when the new Pods of the last one have become ready
        (4, "25%", "25%", [{"v1": 3, "v2 unready": 2}, {"v1": 1, "v2": 2, "v2 unready": 2}, {"v2": 4}]),
        (3, "25%", "25%", [{"v1": 3, "v2 unready": 1}, {"v1": 2, "v2": 1, "v2 unready": 1}]),
        (2, 1, 0, [{"v1": 2, "v2 unready": 1}, {"v1": 1, "v2": 1, "v2 unready": 1}, {"v2": 2}]),
        (3, 0, 1, [{"v1": 2, "v2 unready": 1}, {"v1": 1, "v2": 1, "v2 unready": 1}]),
        (4, "100%", 0, [{"v1": 4, "v2 unready": 4}, {"v2": 4}]),
        (4, 0, "100%", [{"v2 unready": 4}, {"v2": 4}]),
    ],
)
def test_an_update_goes_as_fast_as_max_surge_and_max_unavailable_allow(
    replicas: int, surge: int | str, unavailable: int | str, steps: list[dict[str, int]]
) -> None:
    world = start(web(replicas, surge=surge, unavailable=unavailable), graceful=False)
    world.runs_kubelet = False
    world.apply(web(replicas, 2, surge=surge, unavailable=unavailable))
    for step in steps:
        all_gone(world)
        assert counts(world) == step
        all_ready(world)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, "34%", "34%", (2, 1)),
        (3, "1%", "1%", (1, 0)),
        (10, 0, "5%", (0, 1)),
        (5, 2, 9, (2, 5)),
    ],
)
def test_shares_round_up_for_surge_and_down_for_unavailable(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    found = web(replicas, surge=surge, unavailable=unavailable)
    assert (max_surge(found), max_unavailable(found)) == expected


def test_nothing_more_happens_while_the_new_pods_do_not_become_ready() -> None:
    world = start(web(4))
    world.apply(web(4, 2))
    all_gone(world)
    before = counts(world)
    world.settle(at=100.0)
    assert counts(world) == before == {"v1": 3, "v2 unready": 2}


def test_new_pods_count_only_after_min_ready_seconds() -> None:
    world = start(web(2, surge=1, unavailable=0, ready_seconds=10))
    world.settle(at=10.0)
    world.apply(web(2, 2, surge=1, unavailable=0, ready_seconds=10))
    all_ready(world)
    assert counts(world) == {"v1": 2, "v2": 1}
    world.settle(at=19.0)
    assert counts(world) == {"v1": 2, "v2": 1}
    world.settle(at=20.0)
    assert counts(world) == {"v1": 1, "v1 going": 1, "v2": 1, "v2 unready": 1}


def test_old_pods_that_are_not_ready_go_first() -> None:
    world = start(web(4, surge=0, unavailable=1))
    broken = world.pods()[0]
    world.report(broken.ref, ready=False)
    world.apply(web(4, 2, surge=0, unavailable=1))
    going = [made.metadata.name for made in world.pods() if made.metadata.deletion_timestamp is not None]
    assert going == [broken.metadata.name]


def test_another_template_in_the_middle_starts_a_third_replica_set_and_drops_the_second() -> None:
    world = start(web(4))
    world.apply(web(4, 2))
    world.apply(web(4, 3))
    all_gone(world)
    assert counts(world) == {"v1": 3, "v3 unready": 2}
    for _ in range(6):
        all_ready(world)
        all_gone(world)
    assert counts(world) == {"v3": 4}


def test_going_back_in_the_middle_takes_the_old_replica_set_up_again() -> None:
    world = start(web(4))
    world.apply(web(4, 2))
    world.apply(web(4, 1))
    for _ in range(6):
        all_ready(world)
        all_gone(world)
    assert counts(world) == {"v1": 4}
    first, second = world.replica_sets("web")
    assert first.metadata.annotations[REVISION] == "3"
    assert first.metadata.annotations[PAST_REVISIONS] == "1"
    assert second.metadata.annotations[REVISION] == "2"


def test_annotations_go_to_the_new_replica_set_but_for_the_controllers_own() -> None:
    obj = web(2)
    causes = {"kubernetes.io/change-cause": "first", REVISION: "9"}
    world = start(replace(obj, metadata=replace(obj.metadata, annotations=causes)))
    (held,) = world.replica_sets("web")
    assert held.metadata.annotations == {
        "kubernetes.io/change-cause": "first",
        REVISION: "1",
        DESIRED: "2",
        MOST: "3",
    }


# --- another size in the middle


@pytest.mark.parametrize(("replicas", "expected"), [(10, [8, 5]), (2, [2, 1]), (0, [0, 0]), (4, [3, 2])])
def test_another_size_in_the_middle_is_shared_out_in_proportion(replicas: int, expected: list[int]) -> None:
    world = start(web(4))
    world.apply(web(4, 2))
    assert sizes(world) == [3, 2]
    found = world.deployment("web")
    world.store.update(replace(found, spec=replace(found.spec, replicas=replicas)))
    world.settle()
    assert sizes(world) == expected


def test_a_deployment_of_one_replica_set_is_simply_resized() -> None:
    world = start(web(4))
    for replicas in (7, 2):
        world.apply(web(replicas))
        assert sizes(world) == [replicas]


# --- recreate


def test_recreate_makes_the_first_new_pod_when_the_last_old_one_is_gone() -> None:
    world = start(recreating(1))
    world.apply(recreating(2))
    assert counts(world) == {"v1 going": 2}
    assert len(world.replica_sets("web")) == 1
    first, second = world.pods()
    world.gone(first.metadata.name)
    assert counts(world) == {"v1 going": 1}
    world.gone(second.metadata.name)
    assert counts(world) == {"v2 unready": 2}


def test_recreate_waits_also_when_it_goes_back_to_an_old_replica_set() -> None:
    world = start(recreating(1))
    world.apply(recreating(2))
    all_gone(world)
    all_ready(world)
    world.apply(recreating(1))
    assert counts(world) == {"v2 going": 2}
    all_gone(world)
    assert counts(world) == {"v1 unready": 2}


def test_ended_pods_are_not_waited_for() -> None:
    world = start(recreating(1))
    first, _ = world.pods()
    world.end(first.metadata.name, "Failed")
    world.apply(recreating(2))
    all_gone(world)
    assert counts(world)["v2 unready"] == 2


# --- paused


def test_a_paused_deployment_is_resized_but_takes_no_new_template() -> None:
    world = start(web(2))
    world.apply(web(4, 2, paused=True))
    assert counts(world) == {"v1": 2, "v1 unready": 2}
    assert condition(world, "Progressing")[:2] == ("Unknown", "DeploymentPaused")
    world.apply(web(4, 2))
    assert len(world.replica_sets("web")) == 2
    assert condition(world, "Progressing")[1] in ("NewReplicaSetCreated", "ReplicaSetUpdated")


def test_pausing_in_the_middle_stops_the_update_where_it_is() -> None:
    world = start(web(4))
    world.apply(web(4, 2))
    world.apply(web(4, 2, paused=True))
    all_ready(world)
    all_gone(world)
    assert counts(world) == {"v1": 3, "v2": 2}
    assert world.deployment("web").metadata.annotations[REVISION] == "2"


def test_a_deployment_that_starts_paused_has_no_pods() -> None:
    world = start(web(2, paused=True))
    assert (world.pods(), world.replica_sets("web")) == ([], [])
    world.apply(web(2))
    assert counts(world) == {"v1 unready": 2}


# --- progress


def test_the_progressing_condition_tells_the_story_of_an_update() -> None:
    world = World(web(2), kubelet=False)
    name = world.replica_sets("web")[0].metadata.name
    assert condition(world, "Progressing") == (
        "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.',
    )  # fmt: skip
    all_ready(world)
    assert condition(world, "Progressing") == (
        "True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.',
    )  # fmt: skip


def test_an_update_that_makes_no_progress_for_its_deadline_is_stuck() -> None:
    world = start(web(2, surge=1, unavailable=0, progressDeadlineSeconds=60))
    world.now = 100.0
    world.apply(web(2, 2, surge=1, unavailable=0, progressDeadlineSeconds=60))
    assert world.manager.deadline() == 161.0
    world.settle(at=160.0)
    assert condition(world, "Progressing")[1] == "ReplicaSetUpdated"
    world.settle(at=161.0)
    name = world.replica_sets("web")[1].metadata.name
    text = f'ReplicaSet "{name}" has timed out progressing.'
    assert condition(world, "Progressing") == ("False", "ProgressDeadlineExceeded", text)
    assert world.manager.deadline() is None
    for _ in range(4):
        all_ready(world)
        all_gone(world)
    assert condition(world, "Progressing")[:2] == ("True", "NewReplicaSetAvailable")


def test_each_step_forward_gives_the_update_its_whole_deadline_again() -> None:
    world = start(web(4, surge=1, unavailable=0, progressDeadlineSeconds=60))
    world.now = 10.0
    world.apply(web(4, 2, surge=1, unavailable=0, progressDeadlineSeconds=60))
    world.now = 50.0
    all_ready(world)
    assert world.manager.deadline() == 111.0


def test_a_deadline_of_the_largest_number_is_none() -> None:
    world = start(web(2, progressDeadlineSeconds=2**31 - 1))
    kinds = [held.type for held in world.deployment("web").status.conditions]
    assert kinds == ["Available"]


# --- whatever happens


class Watcher:
    """Judges every deletion that the controllers make by what is available at that moment."""

    def __init__(self, world: World, ready_seconds: int) -> None:
        self._world = world
        self._ready_seconds = ready_seconds
        self._watch = world.store.watch(Pod)
        self._pods: dict[str, Pod] = {}
        self.excused: set[str] = set()  # Pods that the test itself deletes

    def look(self) -> None:
        for event in self._watch.drain():
            self._judge(event)

    def _available(self) -> int:
        return sum(self._is_available(made) for made in self._pods.values())

    def _is_available(self, made: Pod) -> bool:
        since = [c.last_transition_time for c in made.status.conditions if c.type == "Ready"]
        ready = made.condition("Ready") and made.metadata.deletion_timestamp is None
        return ready and (since[0] or 0.0) + self._ready_seconds <= self._world.now

    def _judge(self, event: StoreEvent) -> None:
        made = event.object
        assert isinstance(made, Pod)
        before = self._available()
        if event.type is EventType.DELETED:
            self._pods.pop(made.metadata.name, None)
        else:
            self._pods[made.metadata.name] = made
        found = self._world.deployment("web")
        if self._available() < before and made.metadata.name not in self.excused:
            least = found.spec.replicas - max_unavailable(found)
            assert self._available() >= least, f"{made.metadata.name} was deleted: too few are left"
        if event.type is EventType.ADDED:
            held = [p for p in self._pods.values() if p.metadata.deletion_timestamp is None]
            most = found.spec.replicas + max_surge(found)
            assert len(held) <= most, f"{made.metadata.name} is one too many: {len(held)} > {most}"


AMOUNTS = st.sampled_from([0, 1, 2, "25%", "50%", "100%"])
SETTINGS = st.fixed_dictionaries({"surge": AMOUNTS, "unavailable": AMOUNTS}).filter(
    lambda held: held["surge"] != 0 or held["unavailable"] != 0
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("template"), st.integers(1, 3)),
        st.tuples(st.just("scale"), st.integers(0, 6)),
        st.tuples(st.just("pause"), st.integers(0, 1)),
        st.tuples(
            st.sampled_from(["ready", "ready", "unready", "delete", "gone", "gone"]), st.integers(0, 9)
        ),
        st.tuples(st.just("wait"), st.integers(1, 12)),
    ),
    max_size=25,
)


def step(world: World, watcher: Watcher, what: str, number: int) -> None:
    """One thing that a user or a kubelet does; the controllers have not run yet."""
    pods = world.pods()
    going = [made for made in pods if made.metadata.deletion_timestamp is not None]
    staying = [made for made in pods if made.metadata.deletion_timestamp is None]
    if what == "gone" and going:
        world.store.remove(going[number % len(going)].ref)
    elif what == "wait":
        world.now += number
    elif staying and what in ("ready", "unready", "delete"):
        chosen = staying[number % len(staying)]
        watcher.excused.add(chosen.metadata.name)
        if what == "delete":
            world.store.delete(chosen.ref, world.now)
        elif chosen.spec.node_name and chosen.condition("Ready") != (what == "ready"):
            world.report(chosen.ref, ready=what == "ready", addresses=("10.244.9.9",))
        watcher.look()
        watcher.excused.discard(chosen.metadata.name)


@settings(max_examples=150)
@given(SETTINGS, st.sampled_from([0, 5]), CHANGES)
def test_whatever_happens_no_step_takes_too_many_or_makes_too_many(
    amounts: Mapping[str, Any], ready_seconds: int, changes: list[tuple[str, int]]
) -> None:
    replicas, version, paused = 3, 1, False
    world = start(web(replicas, version, ready_seconds=ready_seconds, **amounts))
    watcher = Watcher(world, ready_seconds)
    watcher.look()
    world.settle(at=5.0)
    for what, number in changes:
        replicas = number if what == "scale" else replicas
        version = number if what == "template" else version
        paused = bool(number) if what == "pause" else paused
        if what in ("scale", "template", "pause"):
            world.apply(web(replicas, version, ready_seconds=ready_seconds, paused=paused, **amounts))
        else:
            step(world, watcher, what, number)
            world.settle()
        watcher.look()
    world.apply(web(replicas, version, ready_seconds=ready_seconds, **amounts))
    for _ in range(40):
        all_ready(world)
        watcher.look()
        all_gone(world)
        watcher.look()
        world.settle(at=world.now + ready_seconds)
        watcher.look()
    assert counts(world) == ({f"v{version}": replicas} if replicas else {})
    assert condition(world, "Progressing")[1] == "NewReplicaSetAvailable"
