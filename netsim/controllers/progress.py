"""How far a Deployment is: its conditions Available and Progressing, and when it counts as stuck.

Progressing holds when something moved last, and turns False when nothing has for progressDeadlineSeconds;
that changes nothing but the condition. Source: kube-controller-manager
``pkg/controller/deployment/progress.go``, ``sync.go`` (checkPausedConditions) and
``util/deployment_util.go``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from netsim.controllers import rollout
from netsim.objects.apps import Deployment, DeploymentStatus, ReplicaSet
from netsim.objects.codec import render_time, time_from_text
from netsim.objects.meta import Condition

DEFAULT_DEADLINE = 600  # apis/apps/v1/defaults.go, progressDeadlineSeconds
NO_DEADLINE = 2**31 - 1  # HasProgressDeadline: math.MaxInt32 turns it off
RECHECK_AFTER = 1.0  # requeueStuckDeployment looks one second after the deadline

CREATED, FOUND = "NewReplicaSetCreated", "FoundNewReplicaSet"
UPDATED, AVAILABLE = "ReplicaSetUpdated", "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


class Outlook(NamedTuple):
    """The status with its conditions, and when to look again although nothing moves."""

    status: DeploymentStatus
    deadline: float | None


def look(
    deployment: Deployment, counted: DeploymentStatus, new: ReplicaSet | None, now: float, *, made: bool
) -> Outlook:
    """Judge the present counts by those of the last status; ``made``: the new ReplicaSet is made now."""
    held = {condition.type: condition for condition in deployment.status.conditions}
    progressing = held.get("Progressing")
    seconds = int(deployment.spec.rest.get("progressDeadlineSeconds", DEFAULT_DEADLINE))
    if seconds == NO_DEADLINE:
        progressing = None
    else:
        progressing = _paused(deployment, progressing, now)
        if not rollout.is_paused(deployment):
            progressing = _noticed(progressing, new, now, made=made)
            progressing = _moved(deployment, counted, progressing, new, now, seconds)
    available = _set(held.get("Available"), _availability(deployment, counted), now)
    conditions = (available, progressing) if progressing is not None else (available,)
    return Outlook(replace(counted, conditions=conditions), _deadline(deployment, progressing, seconds))


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all replicas are of the present template, and available (DeploymentComplete)."""
    wanted = deployment.spec.replicas
    return status.updated_replicas == status.replicas == status.available_replicas == wanted


def _availability(deployment: Deployment, status: DeploymentStatus) -> Condition:
    if status.available_replicas >= deployment.spec.replicas - rollout.max_unavailable(deployment):
        text = "Deployment has minimum availability."
        return Condition("Available", "True", "MinimumReplicasAvailable", text)
    text = "Deployment does not have minimum availability."
    return Condition("Available", "False", "MinimumReplicasUnavailable", text)


def _paused(deployment: Deployment, held: Condition | None, now: float) -> Condition | None:
    """Say that it is paused, or that it is not any more."""
    if held is not None and held.reason == TIMED_OUT:
        return held
    was = held is not None and held.reason == PAUSED
    if rollout.is_paused(deployment) and not was:
        return _set(held, Condition("Progressing", "Unknown", PAUSED, "Deployment is paused"), now)
    if was and not rollout.is_paused(deployment):
        return _set(held, Condition("Progressing", "Unknown", RESUMED, "Deployment is resumed"), now)
    return held


def _noticed(held: Condition | None, new: ReplicaSet | None, now: float, *, made: bool) -> Condition | None:
    if new is None:
        return held
    name = new.metadata.name
    if made:
        text = f'Created new replica set "{name}"'
        return _set(held, Condition("Progressing", "True", CREATED, text), now)
    if held is None:
        return _set(held, Condition("Progressing", "True", FOUND, f'Found new replica set "{name}"'), now)
    return held


def _moved(
    deployment: Deployment,
    status: DeploymentStatus,
    held: Condition | None,
    new: ReplicaSet | None,
    now: float,
    seconds: int,
) -> Condition | None:
    """Complete, or on its way, or stuck (syncRolloutStatus)."""
    if held is not None and held.reason == AVAILABLE and status.replicas == status.updated_replicas:
        return held
    subject = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return _set(held, Condition("Progressing", "True", AVAILABLE, text), now)
    if _has_progressed(deployment.status, status):
        condition = Condition("Progressing", "True", UPDATED, f"{subject} is progressing.")
        return _set(held, condition, now, anew=True)
    if held is not None and held.reason not in (AVAILABLE, TIMED_OUT) and _updated(held) + seconds < now:
        text = f"{subject} has timed out progressing."
        return _set(held, Condition("Progressing", "False", TIMED_OUT, text), now)
    return held


def _has_progressed(old: DeploymentStatus, new: DeploymentStatus) -> bool:
    """DeploymentProgressing"""
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def _deadline(deployment: Deployment, held: Condition | None, seconds: int) -> float | None:
    if held is None or held.reason in (AVAILABLE, TIMED_OUT) or rollout.is_paused(deployment):
        return None
    return _updated(held) + seconds + RECHECK_AFTER


def _updated(condition: Condition) -> float:
    return time_from_text(condition.rest["lastUpdateTime"])


def _set(held: Condition | None, condition: Condition, now: float, *, anew: bool = False) -> Condition:
    """The condition with its times: unchanged when status and reason are, unless it is to be said ``anew``
    (SetDeploymentCondition)."""
    same_status = held is not None and held.status == condition.status
    if held is not None and same_status and held.reason == condition.reason and not anew:
        return held
    since = held.last_transition_time if held is not None and same_status else now
    return replace(condition, last_transition_time=since, rest={"lastUpdateTime": render_time(now)})
