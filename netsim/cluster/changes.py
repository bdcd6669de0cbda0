"""The changes of a Topology: what is done to the running cluster when its time has come.

``run`` schedules them when the cluster has converged. They happen on the virtual clock, whatever else goes
on at that time: a check that sends requests for twenty seconds sees the update that begins in its fifth. A
change that cannot be made ends nothing: it is kept in ``Cluster.failed_changes``, and the report of the
checks tells it as a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.errors import NetsimError, UsageError
from netsim.objects.topology import Change

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster


class FailedChange(NamedTuple):
    """A change that could not be made, and why."""

    change: Change
    reason: str


def schedule(cluster: Cluster, changes: Iterable[Change]) -> None:
    """Let each change happen at its time, counted from ``converged_at``."""
    for change in changes:
        cluster.plane.call_at(cluster.converged_at + change.at, partial(_attempt, cluster, change))


def _attempt(cluster: Cluster, change: Change) -> None:
    try:
        perform(cluster, change)
    except NetsimError as error:
        cluster.failed_changes.append(FailedChange(change, str(error)))


def perform(cluster: Cluster, change: Change) -> None:
    """Make a change; it begins now, and goes on as time passes. Raises NetsimError when it cannot be made."""
    said = change.arguments
    match change.action:
        case "apply":
            cluster.apply_objects(change.objects, settle=False)
        case "delete":
            kind, _, name = said["delete"].partition("/")
            grace_seconds = said.get("gracePeriodSeconds")
            deletion = cluster.delete(kind, name, grace_seconds=grace_seconds, settle=False)
            with suppress(StopIteration):  # it begins without waiting for anything
                deletion.send(None)
        case "scale":
            cluster.scale(said["scale"], said["replicas"], settle=False)
        case "setImage":
            cluster.set_image(said["setImage"], said["image"], said.get("container"), settle=False)
        case "rollback":
            cluster.rollback(said["rollback"], said.get("toRevision"), settle=False)
        case "failNode":
            cluster.fail_node(said["failNode"])
        case "restoreNode":
            cluster.restore_node(said["restoreNode"], settle=False)
        case other:
            raise UsageError(f"there is no change {other}")


def title(change: Change) -> str:
    """``at 5 s: scale deploy/prod/web``."""
    value = change.arguments[change.action]
    named = [f"{obj.kind} {obj.metadata.name}" for obj in change.objects]
    return f"at {change.at:g} s: {change.action} {', '.join(named) if named else value}"
