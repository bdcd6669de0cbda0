"""Pod status from the state of its containers (Kubernetes pkg/kubelet/status/generate.go).

A Pod's worker calls ``pod_status`` whenever something about its containers changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from netsim.objects.codec import render_time
from netsim.objects.core import Container, ContainerStatus, Pod, PodStatus
from netsim.objects.meta import Condition


class ContainerState(Protocol):
    """What a container's run tells about itself. ``state`` is running, waiting or terminated; ``refused``
    says why it cannot be created."""

    spec: Container
    state: str
    reason: str
    exit_code: int
    restarts: int
    started_at: float
    ended_at: float | None
    started: bool
    ready: bool
    last: Mapping[str, Any] | None
    refused: str

    @property
    def is_sidecar(self) -> bool: ...


class Containers(NamedTuple):
    """All of a Pod's containers in the order of its declaration."""

    init: Sequence[ContainerState]
    main: Sequence[ContainerState]

    @property
    def initialised(self) -> bool:
        """Whether the main containers may run: init containers have succeeded, sidecars have started."""
        return all(
            container.started if container.is_sidecar else _succeeded(container) for container in self.init
        )


def pod_status(pod: Pod, containers: Containers, base: PodStatus, now: float) -> PodStatus:
    """The Pod's phase, conditions and container statuses; ``base`` holds its addresses and start time.

    Conditions that others have written, as readiness gates are, stay as they are.
    """
    phase = pod_phase(pod, containers)
    conditions = tuple(_conditions(pod, containers, base, phase))
    known = {condition.type: condition for condition in pod.status.conditions}
    own = {condition.type for condition in conditions}
    others = (condition for condition in pod.status.conditions if condition.type not in own)
    return replace(
        base,
        phase=phase,
        conditions=(*(_since(known.get(c.type), c, now) for c in conditions), *others),
        container_statuses=tuple(_container_status(c, c.ready) for c in containers.main),
        init_container_statuses=tuple(
            _container_status(c, c.ready if c.is_sidecar else _succeeded(c)) for c in containers.init
        ),
    )


def pod_phase(pod: Pod, containers: Containers) -> str:
    """getPhase: Pending until all have started once, then Running until none will run again."""
    policy = pod.spec.restart_policy
    failed = [c for c in containers.init if c.state == "terminated" and c.exit_code and not c.is_sidecar]
    if failed and policy == "Never":
        return "Failed"
    ended = [container for container in containers.main if container.state == "terminated"]
    going = pod.metadata.deletion_timestamp is not None  # its end is told when the object goes
    if len(ended) == len(containers.main) and policy != "Always" and not going:
        if all(container.exit_code == 0 for container in ended):
            return "Succeeded"
        return "Failed" if policy == "Never" else "Running"
    fresh = (container.state == "waiting" and container.last is None for container in containers.main)
    return "Pending" if any(fresh) or not containers.initialised else "Running"


def _conditions(pod: Pod, containers: Containers, base: PodStatus, phase: str) -> Iterator[Condition]:
    yield _condition("PodReadyToStartContainers", bool(base.pod_ip))
    incomplete = [c for c in containers.init if not (c.started if c.is_sidecar else _succeeded(c))]
    if phase == "Succeeded":
        yield _condition("Initialized", True, "PodCompleted")
    elif not incomplete:
        yield _condition("Initialized", True)
    else:
        text = f"containers with incomplete status: {_names(incomplete)}"
        yield _condition("Initialized", False, "ContainersNotInitialized", text)
    not_ready = _not_ready(containers, phase)
    yield _gated(pod, not_ready)
    yield not_ready or _condition("ContainersReady", True)
    yield _condition("PodScheduled", True)


def _not_ready(containers: Containers, phase: str) -> Condition | None:
    """Why the containers are not ready, as their condition says it; None when they are."""
    if phase in ("Succeeded", "Failed"):
        return _condition("ContainersReady", False, "PodCompleted" if phase == "Succeeded" else "PodFailed")
    sidecars = [container for container in containers.init if container.is_sidecar]
    unready = [container for container in (*sidecars, *containers.main) if not container.ready]
    if not unready and phase == "Running":
        return None
    text = f"containers with unready status: {_names(unready)}"
    return _condition("ContainersReady", False, "ContainersNotReady", text)


def _gated(pod: Pod, not_ready: Condition | None) -> Condition:
    """Ready: the containers are, and every readiness gate's condition is True (GeneratePodReadyCondition)."""
    if not_ready is not None:
        return replace(not_ready, type="Ready")
    closed = closed_gates(pod)
    if closed:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(closed))
    return _condition("Ready", True)


def closed_gates(pod: Pod) -> list[str]:
    """What is said of the readiness gates whose condition is not True."""
    held = {condition.type: condition.status for condition in pod.status.conditions}
    texts: list[str] = []
    for gate in pod.spec.rest.get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in held:
            texts.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif held[kind] != "True":
            text = f'the status of pod readiness gate "{kind}" is not "True", but {held[kind]}'
            texts.append(text)
    return texts


def _condition(kind: str, true: bool, reason: str = "", message: str = "") -> Condition:
    return Condition(kind, "True" if true else "False", reason, message)


def _since(old: Condition | None, new: Condition, now: float) -> Condition:
    """The condition with the time since when it is so."""
    if old is None or old.status != new.status:
        return replace(new, last_transition_time=now)
    same = (old.reason, old.message) == (new.reason, new.message)
    return old if same else replace(new, last_transition_time=old.last_transition_time)


def _succeeded(container: ContainerState) -> bool:
    return container.state == "terminated" and container.exit_code == 0


def _names(containers: Iterable[ContainerState]) -> str:
    return f"[{' '.join(container.spec.name for container in containers)}]"


def _container_status(container: ContainerState, ready: bool) -> ContainerStatus:
    last = {"lastState": {"terminated": container.last}} if container.last is not None else {}
    return ContainerStatus(
        container.spec.name,
        container.spec.image,
        ready=ready,
        restart_count=container.restarts,
        started=container.started,
        rest={"state": {container.state: state_details(container)}, **last},
    )


def state_details(container: ContainerState) -> Mapping[str, Any]:
    """What the API says of the state that a container is in."""
    if container.state == "running":
        return {"startedAt": render_time(container.started_at)}
    if container.state == "terminated":
        assert container.ended_at is not None
        return {
            "reason": container.reason,
            "exitCode": container.exit_code,
            "startedAt": render_time(container.started_at),
            "finishedAt": render_time(container.ended_at),
        }
    return {"reason": container.reason, **({"message": container.refused} if container.refused else {})}
