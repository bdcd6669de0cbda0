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
from typing import TYPE_CHECKING, Any

from netsim.base.errors import NetsimError, UsageError
from netsim.cluster.faults import FailedChange
from netsim.objects.core import Service
from netsim.objects.meta import Object
from netsim.objects.topology import Change, Fault
from netsim.store.indexes import Index

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster


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
            _refuse_what_is_taken(cluster, change.objects)
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


def _refuse_what_is_taken(cluster: Cluster, objects: Iterable[Object]) -> None:
    """UsageError for an address or node port that a Service of the running cluster has by now: when the file
    was read, nobody knew what the others would be given."""
    for obj in objects:
        if not isinstance(obj, Service):
            continue
        wanted: list[tuple[Index, tuple[Any, ...]]] = [
            (Index.NODE_PORT, (port.protocol, port.node_port)) for port in obj.spec.ports if port.node_port
        ]
        if obj.spec.cluster_ip not in ("", "None"):
            wanted.append((Index.CLUSTER_IP, (obj.spec.cluster_ip,)))
        for index, key in wanted:
            others = [held for held in cluster.store.holders(index, *key) if held.ref != obj.ref]
            if others:
                what = "IP" if index is Index.CLUSTER_IP else "port"
                message = f"{obj.ref}: {key[-1]}: provided {what} is already allocated"
                raise UsageError(message, hint=f"{others[0].ref} has it")


def title(change: Change | Fault) -> str:
    """``at 5 s: scale deploy/prod/web``, ``at 5 s: fault link node1``."""
    if isinstance(change, Fault):
        value = change.arguments[change.kind]
        ends = value if isinstance(value, str) else " - ".join(value)
        return f"at {change.at:g} s: fault {change.kind} {ends}"
    value = change.arguments[change.action]
    named = [f"{obj.kind} {obj.metadata.name}" for obj in change.objects]
    return f"at {change.at:g} s: {change.action} {', '.join(named) if named else value}"
