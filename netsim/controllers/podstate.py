"""What controllers ask of a Pod's status (Kubernetes ``pkg/api/v1/pod/util.go``)."""

from __future__ import annotations

from netsim.objects.core import Pod
from netsim.store.indexes import TERMINAL_PHASES


def is_active(pod: Pod) -> bool:
    """Neither ended nor on its way out: it counts as a replica (controller_utils.go, IsPodActive)."""
    return pod.status.phase not in TERMINAL_PHASES and pod.metadata.deletion_timestamp is None


def is_terminal(pod: Pod) -> bool:
    """Whether all its containers have ended for good."""
    return pod.status.phase in TERMINAL_PHASES


def is_ready(pod: Pod) -> bool:
    """Whether its Ready condition is True."""
    return pod.condition("Ready")


def ready_since(pod: Pod) -> float | None:
    """The virtual second at which its Ready condition became True, or None while it is not."""
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            return condition.last_transition_time or 0.0
    return None


def available_at(pod: Pod, min_ready_seconds: int) -> float | None:
    """When it has been ready for ``min_ready_seconds``, if it stays so; None while it is not ready."""
    since = ready_since(pod)
    return None if since is None else since + min_ready_seconds


def is_available(pod: Pod, min_ready_seconds: int, now: float) -> bool:
    """Whether it has been ready for ``min_ready_seconds`` (IsPodAvailable)."""
    at = available_at(pod, min_ready_seconds)
    return at is not None and at <= now
