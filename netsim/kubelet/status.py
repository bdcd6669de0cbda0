"""Pod status from the state of its containers (Kubernetes pkg/kubelet/status/generate.go).

``agent`` calls ``pod_status`` whenever something about a Pod's containers changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from netsim.objects.core import Container, ContainerStatus, Pod, PodStatus
from netsim.objects.meta import Condition


class ContainerState(Protocol):
    """What a container's run tells about itself."""

    spec: Container
    state: str
    reason: str
    exit_code: int
    restarts: int
    started_at: float
    ended_at: float | None


def pod_status(pod: Pod, containers: Sequence[ContainerState], base: PodStatus, now: float) -> PodStatus:
    """The Pod's phase, conditions and container statuses; ``base`` holds its addresses and start time."""
    phase = _phase(pod, containers)
    ready = phase == "Running" and all(container.state == "running" for container in containers)
    reason = "" if ready else ("PodCompleted" if phase == "Succeeded" else "ContainersNotReady")
    wanted = (
        ("PodReadyToStartContainers", bool(base.pod_ip), ""),
        ("Initialized", phase != "Pending", ""),
        ("Ready", ready, reason),
        ("ContainersReady", ready, reason),
        ("PodScheduled", True, ""),
    )
    known = {condition.type: condition for condition in pod.status.conditions}
    return replace(
        base,
        phase=phase,
        conditions=tuple(_condition(known.get(kind), kind, true, why, now) for kind, true, why in wanted),
        container_statuses=tuple(_container_status(container) for container in containers),
    )


def _phase(pod: Pod, containers: Sequence[ContainerState]) -> str:
    """getPhase: Pending until all have started once, then Running until none will run again."""
    if any(container.reason == "ContainerCreating" for container in containers):
        return "Pending"
    policy = pod.spec.restart_policy
    ended = [container for container in containers if container.state == "terminated"]
    if len(ended) < len(containers) or policy == "Always":
        return "Running"
    if all(container.exit_code == 0 for container in ended):
        return "Succeeded"
    return "Running" if policy == "OnFailure" else "Failed"


def _condition(old: Condition | None, kind: str, true: bool, reason: str, now: float) -> Condition:
    word = "True" if true else "False"
    since = old.last_transition_time if old is not None and old.status == word else now
    return Condition(kind, word, reason, "", since)


def _container_status(container: ContainerState) -> ContainerStatus:
    running = container.state == "running"
    return ContainerStatus(
        container.spec.name,
        container.spec.image,
        ready=running,
        restart_count=container.restarts,
        started=running,
        rest={"state": {container.state: _state_details(container)}, **_last_state(container)},
    )


def _last_state(container: ContainerState) -> Mapping[str, Any]:
    """How the run before this one ended, once there was one."""
    if container.ended_at is None or container.state == "terminated":
        return {}
    ended = {"exitCode": container.exit_code, "finishedAt": container.ended_at}
    return {"lastState": {"terminated": ended}}


def _state_details(container: ContainerState) -> Mapping[str, Any]:
    if container.state == "running":
        return {"startedAt": container.started_at}
    if container.state == "terminated":
        return {
            "reason": container.reason,
            "exitCode": container.exit_code,
            "startedAt": container.started_at,
            "finishedAt": container.ended_at,
        }
    return {"reason": container.reason}
