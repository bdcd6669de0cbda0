"""Jobs: how many Pods run, in all and at once, and what becomes of failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netsim.controllers.job import INDEX, TRACKING
from netsim.kubelet.environment import container_environment
from netsim.objects.apps import PodTemplateSpec
from netsim.objects.core import Container, ContainerStatus, PodSpec
from netsim.objects.meta import ObjectMeta
from netsim.objects.workloads import Job, JobSpec
from tests.controllers.world import World


def job(*, restart: str = "Never", **spec: Any) -> Job:
    template = PodTemplateSpec(spec=PodSpec(containers=(Container("c", "perl"),), restart_policy=restart))
    return Job(metadata=ObjectMeta(name="pi", namespace="dev"), spec=JobSpec(template=template, **spec))


def one(**spec: Any) -> Job:
    return job(**{"parallelism": 1, "completions": 1, "backoff_limit": 6, **spec})


def found(world: World) -> Job:
    return world.store.get(Job, "pi", "dev")


def running(world: World) -> list[str]:
    return [p.metadata.name for p in world.pods() if p.status.phase not in ("Succeeded", "Failed")]


def conditions(world: World) -> list[tuple[str, str, str]]:
    return [(c.type, c.status, c.reason) for c in found(world).status.conditions]


def fail_next(world: World) -> None:
    """The Pod that runs fails, and time goes on to the next one."""
    (name,) = running(world)
    world.end(name, "Failed")
    deadline = world.manager.deadline()
    if deadline is not None:
        world.settle(at=deadline)


# --- to the end


def test_one_pod_that_succeeds_completes_it() -> None:
    world = World(one())
    (made,) = world.pods()
    assert made.metadata.name.startswith("pi-")
    assert made.spec.restart_policy == "Never"
    assert (found(world).status.active, found(world).status.ready) == (1, 1)
    world.settle(at=12.0)
    world.end(made.metadata.name)
    status = found(world).status
    assert (status.succeeded, status.active, status.start_time, status.completion_time) == (1, 0, 0.0, 12.0)
    assert conditions(world) == [
        ("SuccessCriteriaMet", "True", "CompletionsReached"),
        ("Complete", "True", "CompletionsReached"),
    ]
    assert len(world.pods()) == 1


def test_its_pods_carry_the_labels_that_its_selector_wants() -> None:
    world = World(one())
    uid = found(world).metadata.uid
    assert world.pods()[0].metadata.labels == {
        "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
        "batch.kubernetes.io/job-name": "pi",
        "job-name": "pi",
    }
    selector = found(world).spec.selector
    assert selector is not None
    assert selector.match_labels == {"batch.kubernetes.io/controller-uid": uid}


def test_applying_it_again_changes_nothing() -> None:
    world = World(one())
    revision = world.store.revision
    world.apply(one())
    assert world.store.revision == revision


def test_as_many_run_at_a_time_as_parallelism_says() -> None:
    world = World(job(parallelism=2, completions=5))
    done = 0
    while names := running(world):
        assert len(names) == min(2, 5 - done)
        world.end(names[0])
        done += 1
    assert done == 5
    assert found(world).status.succeeded == 5
    assert found(world).condition("Complete")


def test_more_or_fewer_run_when_parallelism_changes() -> None:
    world = World(job(parallelism=1, completions=5))
    for wanted in (3, 2):
        held = found(world)
        world.store.update(replace(held, spec=replace(held.spec, parallelism=wanted)))
        world.settle()
        assert len(running(world)) == wanted


def test_without_completions_the_first_success_ends_it_when_all_have_ended() -> None:
    world = World(job(parallelism=3))
    first, second, third = running(world)
    world.end(first)
    assert not found(world).condition("Complete")
    assert running(world) == [second, third]
    world.end(second, "Failed")
    world.end(third)
    assert found(world).condition("Complete")
    assert (found(world).status.succeeded, found(world).status.failed) == (2, 1)


def test_a_counted_pod_holds_no_finalizer_and_stays_counted_when_it_is_deleted() -> None:
    world = World(job(parallelism=1, completions=2))
    (first,) = running(world)
    assert world.pod(first).metadata.finalizers == (TRACKING,)
    world.end(first)
    assert world.pod(first).metadata.finalizers == ()
    world.delete("Pod", first)
    assert found(world).status.succeeded == 1


# --- failures


def test_a_failed_pod_is_followed_by_another_after_a_growing_time() -> None:
    world = World(one())
    times = []
    for _ in range(5):
        fail_next(world)
        times.append(world.now)
    assert times == [10.0, 30.0, 70.0, 150.0, 310.0]  # 10, 20, 40, 80 and 160 s apart


def test_a_success_forgets_the_failures_before_it() -> None:
    world = World(job(parallelism=1, completions=3, backoff_limit=6))
    fail_next(world)
    fail_next(world)
    world.end(running(world)[0])
    fail_next(world)
    assert world.now == 40.0


@pytest.mark.parametrize("limit", [0, 2])
def test_more_failures_than_the_backoff_limit_fail_it(limit: int) -> None:
    world = World(one(backoff_limit=limit))
    for _ in range(limit + 1):
        fail_next(world)
    assert running(world) == []
    assert conditions(world)[-1] == ("Failed", "True", "BackoffLimitExceeded")
    assert found(world).status.failed == limit + 1
    assert world.manager.deadline() is None


def test_restarts_count_when_the_pod_restarts_its_containers_itself() -> None:
    world = World(one(restart="OnFailure", backoff_limit=2))
    made = world.pods()[0]
    statuses = (ContainerStatus("c", restart_count=2),)
    world.store.update(replace(made, status=replace(made.status, container_statuses=statuses)))
    world.settle()
    assert conditions(world)[-1] == ("Failed", "True", "BackoffLimitExceeded")
    assert world.pods() == []


def test_the_others_are_deleted_when_it_fails_and_then_it_has_failed() -> None:
    world = World(job(parallelism=2, completions=2, backoff_limit=0), graceful=True)
    first, second = running(world)
    world.end(first, "Failed")
    assert [kind for kind, *_ in conditions(world)] == ["FailureTarget"]
    assert f"{second}!" in world.names()
    world.gone(second)
    assert [kind for kind, *_ in conditions(world)] == ["FailureTarget", "Failed"]


def test_it_fails_at_its_active_deadline() -> None:
    world = World(one(active_deadline_seconds=30))
    assert world.manager.deadline() == 30.0
    world.settle(at=30.0)
    assert conditions(world)[-1] == ("Failed", "True", "DeadlineExceeded")
    assert world.pods() == []


def test_a_deleted_pod_counts_as_failed_and_is_replaced_at_once() -> None:
    world = World(one(), graceful=True)
    (first,) = running(world)
    world.delete("Pod", first)
    assert found(world).status.failed == 1
    assert len(world.pods()) == 2


def test_failures_are_told_and_after_three_not_waited_for() -> None:
    world = World(one())
    for blocked in (False, False, True):
        world.end(running(world)[0], "Failed")
        (wait,) = [wait for wait in world.manager.waits() if wait.subject.kind == "Job"]
        assert wait.blocked is blocked
        assert "of its Pods failed" in wait.text
        deadline = world.manager.deadline()
        assert deadline is not None
        world.settle(at=deadline)


# --- indexed, suspended, cleaned up


def test_an_indexed_job_runs_one_pod_for_each_index() -> None:
    world = World(job(parallelism=2, completions=4, completion_mode="Indexed"))
    assert [made.metadata.annotations[INDEX] for made in world.pods()] == ["0", "1"]
    first = world.pods()[0]
    assert first.metadata.name.startswith("pi-0-")
    assert first.spec.hostname == "pi-0"
    assert container_environment(first, first.spec.containers[0], [])["JOB_COMPLETION_INDEX"] == "0"
    world.end(world.pods()[1].metadata.name)
    assert found(world).status.completed_indexes == "1"
    while names := running(world):
        world.end(names[0])
    assert found(world).status.completed_indexes == "0-3"
    assert found(world).condition("Complete")


def test_a_failed_index_is_tried_again() -> None:
    world = World(job(parallelism=1, completions=2, completion_mode="Indexed", backoff_limit=3))
    fail_next(world)
    assert [made.metadata.annotations[INDEX] for made in world.pods()] == ["0", "0"]


def test_a_suspended_job_runs_nothing_and_goes_on_when_resumed() -> None:
    world = World(one(suspend=True))
    assert world.pods() == []
    assert conditions(world) == [("Suspended", "True", "JobSuspended")]
    assert found(world).status.start_time is None
    held = found(world)
    world.now = 7.0
    world.store.update(replace(held, spec=replace(held.spec, suspend=False)))
    world.settle()
    assert len(world.pods()) == 1
    assert conditions(world) == [("Suspended", "False", "JobResumed")]
    assert found(world).status.start_time == 7.0


def test_suspending_deletes_what_runs() -> None:
    world = World(one())
    held = found(world)
    world.store.update(replace(held, spec=replace(held.spec, suspend=True)))
    world.settle()
    assert world.pods() == []


def test_a_finished_job_is_deleted_after_its_ttl_with_its_pods() -> None:
    world = World(one(ttl_seconds_after_finished=100))
    world.now = 5.0
    world.end(running(world)[0])
    assert world.manager.deadline() == 105.0
    world.settle(at=105.0)
    assert world.store.list(Job) == []
    assert world.pods() == []
