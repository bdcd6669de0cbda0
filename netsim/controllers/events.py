"""What controllers tell about the objects that they work on: one function of a write for each of them.

``Manager`` calls ``TELLS`` after each write that changed something, so that a controller need not speak of
what it does. Reasons and texts are those of Kubernetes 1.35, ``pkg/controller/controller_utils.go``
(RealPodControl), ``pkg/controller/deployment/sync.go``, ``statefulset/stateful_pod_control.go``,
``job/job_controller.go``, ``util/node/controller_utils.go``, ``tainteviction/taint_eviction.go``,
``pkg/scheduler/schedule_one.go``, and of MetalLB, ``controller/service.go``. Retries that
netsim does not make are not told of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from netsim.controllers.loadbalancer import REPORTER as LOAD_BALANCER
from netsim.controllers.loadbalancer import ingress_addresses
from netsim.controllers.nodelifecycle import is_node_ready
from netsim.objects.apps import ReplicaSet
from netsim.objects.core import Node, Pod, Service
from netsim.objects.meta import Condition, Object
from netsim.objects.workloads import Job
from netsim.store.events import EventLog, Reporter


class Change(NamedTuple):
    """One write: ``before`` None for a new object, ``after`` None for one that was deleted. ``owner`` is what
    the controller worked on."""

    owner: Object | None
    before: Object | None
    after: Object | None
    now: float


Tell = Callable[[Change, EventLog], None]


def _deployment(change: Change, log: EventLog) -> None:
    """A Deployment has given a ReplicaSet another size."""
    sized = change.after
    if change.owner is None or not isinstance(sized, ReplicaSet):
        return
    old = change.before.spec.replicas if isinstance(change.before, ReplicaSet) else 0
    new = sized.spec.replicas
    if new != old:
        way = "up" if new > old else "down"
        text = f"Scaled {way} replica set {sized.metadata.name} from {old} to {new}"
        log.record(
            change.owner, "ScalingReplicaSet", text, by=Reporter("deployment-controller"), now=change.now
        )


def _pods(component: str, change: Change, log: EventLog) -> None:
    """A Pod was created or deleted for its owner."""
    pod = change.before or change.after
    if change.owner is None or not isinstance(pod, Pod):
        return
    by, name = Reporter(component), pod.metadata.name
    if change.before is None:
        log.record(change.owner, "SuccessfulCreate", f"Created pod: {name}", by=by, now=change.now)
    elif change.after is None:
        log.record(change.owner, "SuccessfulDelete", f"Deleted pod: {name}", by=by, now=change.now)


def _stateful_set(change: Change, log: EventLog) -> None:
    pod, owner = change.before or change.after, change.owner
    if owner is None or not isinstance(pod, Pod) or None not in (change.before, change.after):
        return
    verb = "create" if change.before is None else "delete"
    text = f"{verb} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name} successful"
    by = Reporter("statefulset-controller")
    log.record(owner, f"Successful{verb.capitalize()}", text, by=by, now=change.now)


def _job(change: Change, log: EventLog) -> None:
    _pods("job-controller", change, log)
    if not isinstance(change.after, Job) or not isinstance(change.before, Job):
        return
    by = Reporter("job-controller")
    had = {held.type for held in change.before.status.conditions if held.status == "True"}
    for held in change.after.status.conditions:
        if held.status != "True" or held.type in had:
            continue
        if held.type == "Complete":
            log.record(change.after, "Completed", "Job completed", by=by, now=change.now)
        elif held.type == "Failed":
            log.record(change.after, held.reason, held.message, by=by, now=change.now, warning=True)


def _scheduler(change: Change, log: EventLog) -> None:
    pod, by = change.after, Reporter("default-scheduler")
    if not isinstance(pod, Pod):
        return
    meta = pod.metadata
    if pod.spec.node_name:
        text = f"Successfully assigned {meta.namespace}/{meta.name} to {pod.spec.node_name}"
        log.record(pod, "Scheduled", text, by=by, now=change.now)
        return
    held = _condition(pod, "PodScheduled")
    if held is not None:
        log.record(pod, "FailedScheduling", held.message, by=by, now=change.now, warning=True)


def _condition(pod: Pod, kind: str) -> Condition | None:
    return next((held for held in pod.status.conditions if held.type == kind), None)


def _node_lifecycle(change: Change, log: EventLog) -> None:
    """A node is not heard of any more (RecordNodeStatusChange); its Pods are not ready (MarkPodsNotReady)."""
    by = Reporter("node-controller")
    match change.before, change.after:
        case Node() as before, Node() as after if is_node_ready(before) and not is_node_ready(after):
            text = f"Node {after.metadata.name} status is now: NodeNotReady"
            log.record(after, "NodeNotReady", text, by=by, now=change.now)
        case _, Pod() as pod:
            log.record(pod, "NodeNotReady", "Node is not ready", by=by, now=change.now, warning=True)


def _taint_eviction(change: Change, log: EventLog) -> None:
    pod = change.before
    if pod is not None and change.after is None:
        text = f"Marking for deletion Pod {pod.metadata.namespace}/{pod.metadata.name}"
        by = Reporter("taint-eviction-controller")
        log.record(pod, "TaintManagerEviction", text, by=by, now=change.now)


def _load_balancer(change: Change, log: EventLog) -> None:
    service = change.after
    if isinstance(service, Service) and (given := ingress_addresses(service)):
        shown = " ".join(f'"{address}"' for address in given)
        log.record(service, "IPAllocated", f"Assigned IP [{shown}]", by=LOAD_BALANCER, now=change.now)


TELLS: Mapping[str, Tell] = {
    "deployment-controller": _deployment,
    "replicaset-controller": partial(_pods, "replicaset-controller"),
    "replicationcontroller-controller": partial(_pods, "replication-controller"),
    "statefulset-controller": _stateful_set,
    "daemonset-controller": partial(_pods, "daemonset-controller"),
    "job-controller": _job,
    "default-scheduler": _scheduler,
    "node-lifecycle-controller": _node_lifecycle,
    "taint-eviction-controller": _taint_eviction,
    "load-balancer": _load_balancer,
}
"""By the controller's name; the others tell nothing."""
