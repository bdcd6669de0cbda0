"""A Pod's phase, conditions and container statuses follow from how its containers are."""

from __future__ import annotations

from typing import Any

import pytest

from netsim.kubelet.status import Containers, closed_gates, pod_status
from netsim.kubelet.worker import ContainerRun
from netsim.objects.core import Container, Pod, PodSpec, PodStatus
from netsim.objects.meta import Condition, ObjectMeta

SIDECAR = {"restartPolicy": "Always"}


def run(name: str = "c", state: str = "running", *, init: bool = False, **more: Any) -> ContainerRun:
    rest = SIDECAR if more.pop("sidecar", False) else {}
    reason = {"running": "", "terminated": "Error" if more.get("exit_code") else "Completed"}.get(state)
    held = {"reason": "ContainerCreating" if reason is None else reason, "ended_at": None, **more}
    if state == "terminated":
        held["ended_at"] = 9.0
    return ContainerRun(Container(name, "image", rest=rest), init=init, state=state, **held)


def ready(name: str = "c", **more: Any) -> ContainerRun:
    return run(name, started=True, ready=True, **more)


def done(code: int = 0, **more: Any) -> ContainerRun:
    return run(state="terminated", exit_code=code, **more)


def fresh(**more: Any) -> ContainerRun:
    return run(state="waiting", **more)


def status(
    *main: ContainerRun, init: tuple[ContainerRun, ...] = (), policy: str = "Always", **pod: Any
) -> PodStatus:
    meta = ObjectMeta(name="x", namespace="dev", deletion_timestamp=pod.pop("deleted", None))
    conditions = pod.pop("conditions", ())
    made = Pod(
        metadata=meta,
        spec=PodSpec(restart_policy=policy, rest=pod),
        status=PodStatus(pod_ip="10.244.1.2", conditions=conditions),
    )
    return pod_status(made, Containers(init, main), made.status, 10.0)


def condition(found: PodStatus, kind: str) -> tuple[str, str, str]:
    held = next(c for c in found.conditions if c.type == kind)
    return held.status, held.reason, held.message


@pytest.mark.parametrize(
    ("main", "init", "policy", "phase"),
    [
        ([fresh()], [], "Always", "Pending"),
        ([ready(), fresh()], [], "Always", "Pending"),
        ([ready()], [], "Always", "Running"),
        ([run()], [], "Always", "Running"),
        ([done()], [], "Always", "Running"),
        ([done(), ready()], [], "Never", "Running"),
        ([done()], [], "Never", "Succeeded"),
        ([done()], [], "OnFailure", "Succeeded"),
        ([done(1)], [], "OnFailure", "Running"),
        ([done(), done(1)], [], "Never", "Failed"),
        ([run(state="waiting", reason="CrashLoopBackOff", last={"exitCode": 1})], [], "Always", "Running"),
        ([run(state="waiting", reason="CreateContainerConfigError")], [], "Always", "Pending"),
        ([fresh()], [run("i", init=True)], "Always", "Pending"),
        ([fresh()], [done(1, init=True)], "Always", "Pending"),
        ([fresh()], [done(1, init=True)], "Never", "Failed"),
        ([ready()], [done(init=True)], "Always", "Running"),
        ([fresh()], [run("s", init=True, sidecar=True)], "Always", "Pending"),
        ([done()], [done(init=True), ready("s", init=True, sidecar=True)], "Never", "Succeeded"),
    ],
)
def test_the_phase(main: list[ContainerRun], init: list[ContainerRun], policy: str, phase: str) -> None:
    assert status(*main, init=tuple(init), policy=policy).phase == phase


def test_the_end_of_a_pod_that_is_being_deleted_is_not_told() -> None:
    assert status(done(), policy="Never", deleted=40.0).phase == "Running"


@pytest.mark.parametrize(
    ("main", "init", "expected"),
    [
        ([ready("a"), ready("b")], [], ("True", "", "")),
        (
            [ready("a"), run("b", started=True)],
            [],
            ("False", "ContainersNotReady", "containers with unready status: [b]"),
        ),
        (
            [ready("a")],
            [run("s", init=True, sidecar=True, started=True)],
            ("False", "ContainersNotReady", "containers with unready status: [s]"),
        ),
    ],
)
def test_a_pod_is_ready_when_all_its_containers_are(
    main: list[ContainerRun], init: list[ContainerRun], expected: tuple[str, str, str]
) -> None:
    found = status(*main, init=tuple(init))
    assert condition(found, "Ready") == condition(found, "ContainersReady") == expected


def test_an_ended_pod_is_not_ready() -> None:
    assert condition(status(done(), policy="Never"), "Ready") == ("False", "PodCompleted", "")
    assert condition(status(done(1), policy="Never"), "Ready") == ("False", "PodFailed", "")


def test_a_pod_is_initialized_when_its_init_containers_have_succeeded() -> None:
    assert condition(status(fresh()), "Initialized") == ("True", "", "")
    waiting = status(fresh(), init=(done(init=True), run("later", init=True)))
    text = "containers with incomplete status: [later]"
    assert condition(waiting, "Initialized") == ("False", "ContainersNotInitialized", text)
    assert condition(status(ready(), init=(done(init=True),)), "Initialized") == ("True", "", "")


GATES = [{"conditionType": "example.com/a"}, {"conditionType": "example.com/b"}]


def test_readiness_gates_keep_a_pod_from_being_ready_but_not_its_containers() -> None:
    found = status(ready(), readinessGates=GATES, conditions=(Condition("example.com/a", "False"),))
    assert condition(found, "ContainersReady") == ("True", "", "")
    assert condition(found, "Ready") == (
        "False",
        "ReadinessGatesNotReady",
        'the status of pod readiness gate "example.com/a" is not "True", but False, '
        'corresponding condition of pod readiness gate "example.com/b" does not exist.',
    )


def test_open_readiness_gates_let_it_be_ready_and_stay() -> None:
    gates = (Condition("example.com/a", "True"), Condition("example.com/b", "True"))
    found = status(ready(), readinessGates=GATES, conditions=gates)
    assert condition(found, "Ready") == ("True", "", "")
    assert [held for held in found.conditions if held.type.startswith("example.com")] == list(gates)
    assert closed_gates(Pod()) == []


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    before = (Condition("Ready", "True", last_transition_time=3.0),)
    found = status(ready(), conditions=before)
    times = {held.type: held.last_transition_time for held in found.conditions}
    assert (times["Ready"], times["PodScheduled"]) == (3.0, 10.0)


def test_a_container_status_tells_the_present_and_the_last_run() -> None:
    last = {"exitCode": 1, "finishedAt": "2026-01-01T00:00:04Z"}
    (found,) = status(ready(restarts=2, started_at=5.0, last=last)).container_statuses
    assert (found.ready, found.started, found.restart_count) == (True, True, 2)
    assert found.rest == {
        "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}},
        "lastState": {"terminated": last},
    }


def test_a_succeeded_init_container_is_ready_and_a_main_one_is_not() -> None:
    found = status(done(), init=(done(init=True),), policy="Never")
    assert [held.ready for held in (*found.init_container_statuses, *found.container_statuses)] == [
        True,
        False,
    ]
    state = found.container_statuses[0].rest["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("Completed", 0)
