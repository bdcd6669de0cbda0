"""What becomes of a node that is not heard of any more, and of the Pods on it.

A kubelet renews its Lease every 10 s. netsim writes none while a node is well; of one that is cut off, the
Ready condition's ``lastHeartbeatTime`` says when it was heard last (``Cluster.fail_node`` writes it). Then,
by the defaults of Kubernetes 1.35:

* every 5 s the controller looks at all nodes (--node-monitor-period); a node that was not heard of for more
  than 50 s (--node-monitor-grace-period; 40 s before 1.32) has Ready Unknown, and gets the taints of that;
* at that moment its Pods are not ready any more, and leave the ready endpoints (MarkPodsNotReady);
* 300 s later the taint evicts them (tolerationSeconds that admission gives to every Pod), and their owners
  make others elsewhere. The objects of those evicted stay, Terminating, until their kubelet is heard again,
  or until somebody says that the node is out of service.

Evictions stop while all nodes are lost, or more than half of a zone of up to 50 nodes. That they go node by
node (one in 10 s, --node-eviction-rate) is left out. Source: kube-controller-manager
``pkg/controller/nodelifecycle/node_lifecycle_controller.go``, ``pkg/controller/tainteviction``,
``pkg/controller/podgc/gc_controller.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import floor, inf

from netsim.controllers.controller import Delete, Outcome, Remove, Update, Write
from netsim.controllers.placement import tolerates
from netsim.controllers.podstate import is_ready, is_terminal
from netsim.controllers.serving import ZONE_LABEL
from netsim.objects.codec import render_time, time_from_text
from netsim.objects.core import Node, Pod, Taint
from netsim.objects.meta import Condition, ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

HEARTBEAT_PERIOD = 10.0  # kubelet: nodeLeaseDurationSeconds 40, renewed after a quarter of it
MONITOR_PERIOD = 5.0  # kube-controller-manager --node-monitor-period
MONITOR_GRACE_PERIOD = 50.0  # kube-controller-manager --node-monitor-grace-period
GARBAGE_PERIOD = 20.0  # pkg/controller/podgc: gcCheckPeriod
UNHEALTHY_ZONE = 0.55  # --unhealthy-zone-threshold, of at least three nodes
LARGE_ZONE = 50  # --large-cluster-size-threshold: larger zones go on, more slowly

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
HEARTBEAT = "lastHeartbeatTime"
_OWN_TAINTS = (NOT_READY, UNREACHABLE)


def last_heartbeat(now: float) -> float:
    """When a kubelet that is well has been heard last; all of them began at the start of time."""
    return floor(now / HEARTBEAT_PERIOD) * HEARTBEAT_PERIOD


def ready_condition(node: Node) -> Condition | None:
    """The node's Ready condition; None when nobody has said anything."""
    return next((held for held in node.status.conditions if held.type == "Ready"), None)


def is_node_ready(node: Node) -> bool:
    """Whether its kubelet is heard of and well; a node of which nobody says anything is."""
    held = ready_condition(node)
    return held is None or held.status == "True"


class NodeLifecycle:
    """Subjects are the Nodes."""

    name = "node-lifecycle-controller"
    kinds = (Node.kind, Pod.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """All nodes when one changed, for its zone may have; of a Pod its node, if that is not well."""
        if isinstance(event.object, Node):
            lost = any(
                not is_node_ready(node) for node in (event.object, event.old) if isinstance(node, Node)
            )
            yield from (node.ref for node in reader.list(Node)) if lost else [event.object.ref]
        elif isinstance(event.object, Pod) and event.type is not EventType.DELETED:
            node = reader.find(Node, event.object.spec.node_name)
            if node is not None and not is_node_ready(node):
                yield node.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Judge the node by its last heartbeat, taint it, and say that its Pods are not ready."""
        found = reader.find(Node, subject.name)
        if found is None:
            return Outcome()
        silent_at = _silent_at(found)
        judged = found if now < silent_at else _silent(found, now)
        judged = replace(judged, spec=replace(judged.spec, taints=tuple(_taints(judged, reader, now))))
        writes: list[Write] = [Update(judged)] if judged != found else []
        if not is_node_ready(judged):
            pods = (pod for pod in reader.pods_on(subject.name) if is_ready(pod) and not is_terminal(pod))
            writes += [Update(_not_ready(pod, now)) for pod in pods]
        return Outcome(writes, silent_at if now < silent_at < inf else None)


def _silent_at(node: Node) -> float:
    """When the node counts as lost, if nothing is heard of it: at the first look after the grace period."""
    held = ready_condition(node)
    if held is None or held.status == "Unknown" or HEARTBEAT not in held.rest:
        return inf
    end = time_from_text(held.rest[HEARTBEAT]) + MONITOR_GRACE_PERIOD
    return (floor(end / MONITOR_PERIOD) + 1) * MONITOR_PERIOD


def _silent(node: Node, now: float) -> Node:
    conditions = tuple(
        replace(
            held,
            status="Unknown",
            reason="NodeStatusUnknown",
            message="Kubelet stopped posting node status.",
            last_transition_time=now,
        )
        if held.type == "Ready" and held.status != "Unknown"
        else held
        for held in node.status.conditions
    )
    return replace(node, status=replace(node.status, conditions=conditions))


def _taints(node: Node, reader: Reader, now: float) -> Iterator[Taint]:
    """The node's taints: those of others, and those that its condition brings."""
    held = ready_condition(node)
    key = {"Unknown": UNREACHABLE, "False": NOT_READY}.get(held.status if held is not None else "True", "")
    present = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    for taint in node.spec.taints:
        if taint.key not in _OWN_TAINTS:
            yield _dated(taint, now)
    if not key:
        return
    for effect in ("NoSchedule", "NoExecute"):
        standing = present.get((key, effect))
        if standing is not None:
            yield standing
        elif effect == "NoSchedule" or _evicts(node, reader):
            yield _dated(Taint(key, effect), now)


def _dated(taint: Taint, now: float) -> Taint:
    """A NoExecute taint says since when it stands."""
    if taint.effect != "NoExecute" or "timeAdded" in taint.rest:
        return taint
    return replace(taint, rest={**taint.rest, "timeAdded": render_time(now)})


def _evicts(node: Node, reader: Reader) -> bool:
    """Whether a lost node of this zone is tainted NoExecute (ComputeZoneState, handleDisruption)."""
    nodes = reader.list(Node)
    others = [held for held in nodes if held.ref != node.ref]
    if not any(is_node_ready(held) for held in others):
        return False
    zone = [held for held in others if _zone(held) == _zone(node)]
    lost, size = 1 + sum(not is_node_ready(held) for held in zone), 1 + len(zone)
    return not (2 < lost < size and lost / size >= UNHEALTHY_ZONE and size <= LARGE_ZONE)


def _zone(node: Node) -> str:
    return node.metadata.labels.get(ZONE_LABEL, "")


def _not_ready(pod: Pod, now: float) -> Pod:
    conditions = tuple(
        replace(held, status="False", last_transition_time=now) if held.type == "Ready" else held
        for held in pod.status.conditions
    )
    return replace(pod, status=replace(pod.status, conditions=conditions))


class TaintEviction:
    """Deletes Pods that do not tolerate a NoExecute taint of their node, or not any longer. Subjects are the
    Pods."""

    name = "taint-eviction-controller"
    kinds = (Node.kind, Pod.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Pods of a node whose taints changed; a Pod that came to a tainted node."""
        match event.object, event.old:
            case Node() as node, old:
                if not isinstance(old, Node) or old.spec.taints != node.spec.taints:
                    yield from (pod.ref for pod in reader.pods_on(node.metadata.name))
            case Pod() as pod, _:
                found = reader.find(Node, pod.spec.node_name) if pod.spec.node_name else None
                if found is not None and _no_execute(found):
                    yield pod.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Delete the Pod when its time on the node is over."""
        pod = reader.find(Pod, subject.name, subject.namespace)
        if pod is None or pod.metadata.deletion_timestamp is not None or is_terminal(pod):
            return Outcome()
        node = reader.find(Node, pod.spec.node_name)
        end = min((_tolerated_until(pod, taint) for taint in _no_execute(node)), default=inf) if node else inf
        if end > now:
            return Outcome(deadline=end if end < inf else None)
        text = "Taint manager: deleting due to NoExecute taint"
        why = Condition("DisruptionTarget", "True", "DeletionByTaintManager", text, now)
        others = tuple(held for held in pod.status.conditions if held.type != why.type)
        marked = replace(pod, status=replace(pod.status, conditions=(*others, why)))
        return Outcome([Update(marked), Delete(subject)])


def _no_execute(node: Node) -> Sequence[Taint]:
    return [taint for taint in node.spec.taints if taint.effect == "NoExecute"]


def _tolerated_until(pod: Pod, taint: Taint) -> float:
    """How long the Pod may stay: by the shortest toleration that covers the taint (getMinTolerationTime)."""
    since = time_from_text(taint.rest["timeAdded"]) if "timeAdded" in taint.rest else 0.0
    matching = [held for held in pod.spec.tolerations if tolerates(held, taint)]
    if not matching:
        return since
    times = [max(held.toleration_seconds, 0) for held in matching if held.toleration_seconds is not None]
    return since + min(times) if times else inf


class PodGarbage:
    """Takes out the Pods that are being deleted on a node which is out of service. Subjects are the Nodes."""

    name = "pod-garbage-collector-controller"
    kinds = (Node.kind, Pod.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The node, or that of the Pod, if it is lost."""
        name = event.object.spec.node_name if isinstance(event.object, Pod) else event.object.metadata.name
        node = reader.find(Node, name) if name else None
        if node is not None and _is_out_of_service(node):
            yield node.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """At the controller's next round, remove what will never be heard of again (gcTerminating)."""
        node = reader.find(Node, subject.name)
        if node is None or not _is_out_of_service(node):
            return Outcome()
        going = [pod for pod in reader.pods_on(subject.name) if pod.metadata.deletion_timestamp is not None]
        if not going:
            return Outcome()
        if now % GARBAGE_PERIOD:
            return Outcome(deadline=(floor(now / GARBAGE_PERIOD) + 1) * GARBAGE_PERIOD)
        return Outcome([Remove(pod.ref) for pod in going])


def _is_out_of_service(node: Node) -> bool:
    return not is_node_ready(node) and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
