"""The scheduler: gives each Pod that has no node one that may run it.

Among the nodes that ``placement`` allows it takes the one with the fewest PreferNoSchedule taints that the
Pod does not tolerate, then the fewest Pods of the same owner, then the fewest Pods, then the first name.
kube-scheduler scores more finely; this keeps its intent (spread) and is the same on every run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from netsim.controllers.controller import Outcome, Update, Wait, Write
from netsim.controllers.placement import AFFINITY_REASON, failure_message, objection, untolerated
from netsim.objects.core import Node, Pod, PodSpec
from netsim.objects.meta import Condition, ObjectRef
from netsim.store.indexes import Index
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

DEFAULT_SCHEDULER = "default-scheduler"
QUEUE = ObjectRef("Scheduler", "", DEFAULT_SCHEDULER)
"""The one subject: all Pods that wait for a node, oldest first."""


class _Score(NamedTuple):
    """How little a node is wanted; the smallest is taken."""

    avoided: int  # PreferNoSchedule taints that the Pod does not tolerate
    siblings: int
    pods: int
    node: str


class Scheduler:
    """Its one subject is the queue of unbound Pods."""

    name = DEFAULT_SCHEDULER
    kinds = (Pod.kind, Node.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The queue, when a Pod without a node changed or a node became different to a Pod."""
        obj, old = event.object, event.old
        if isinstance(obj, Pod):
            was_waiting = isinstance(old, Pod) and not old.spec.node_name
            return [QUEUE] if not obj.spec.node_name or was_waiting else []
        if isinstance(obj, Node) and isinstance(old, Node) and _attraction(obj) == _attraction(old):
            return []
        return [QUEUE]

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Bind every waiting Pod that a node can take; say of the others why not."""
        waiting = reader.pods_on("")
        if not waiting:
            return Outcome()
        round_ = _Round(reader)
        writes: list[Write] = []
        waits: list[Wait] = []
        for pod in waiting:
            if (scheduler := pod.spec.rest.get("schedulerName", DEFAULT_SCHEDULER)) != DEFAULT_SCHEDULER:
                waits.append(Wait(pod.ref, f"there is no scheduler named {scheduler!r}"))
                continue
            node = round_.take(pod)
            if node:
                writes.append(Update(_bound(pod, node, now)))
                continue
            objections = round_.objections(pod.spec)
            message = failure_message(objections)
            waits.append(Wait(pod.ref, f"{_in_short(pod.spec, objections)} ({message})"))
            writes.append(Update(_with_scheduled(pod, "False", now, "Unschedulable", message)))
        return Outcome(writes, waits=waits)


class _Round:
    """One pass over the queue: the nodes as they are, with the Pods given out in this pass counted in.

    Within a pass loads only grow, so a heap of scores is kept per kind of Pod, and a score that turns out
    to be old when it comes to the top is put back with its present value.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._nodes = reader.list(Node)
        self._given: dict[tuple[str, str], int] = {}  # (owner uid, node) → Pods bound in this pass
        self._heaps: dict[tuple[object, ...], list[_Score]] = {}
        self._objections: dict[tuple[object, ...], list[str]] = {}

    def take(self, pod: Pod) -> str:
        """The node for the Pod, counted as taken; empty when none may run it."""
        owner = pod.metadata.controller()
        uid = owner.uid if owner is not None else ""
        key = (uid, *_demands(pod.spec))
        heap = self._heaps.get(key)
        if heap is None:
            heap = self._heaps[key] = self._scores(pod.spec, uid)
        if not heap:
            return ""
        while (score := self._rescored(heap[0], uid)) != heap[0]:
            heapq.heapreplace(heap, score)
        for counted in dict.fromkeys((uid, "")):
            self._given[counted, score.node] = self._given.get((counted, score.node), 0) + 1
        return score.node

    def objections(self, spec: PodSpec) -> list[str]:
        """What each node objects to the Pod; empty text where it could run."""
        key = _demands(spec)
        if key not in self._objections:
            self._objections[key] = [objection(spec, node) for node in self._nodes]
        return self._objections[key]

    def _scores(self, spec: PodSpec, uid: str) -> list[_Score]:
        scores = [
            self._rescored(_Score(len(untolerated(spec, n.spec.taints, _SOFT)), 0, 0, n.metadata.name), uid)
            for n, why_not in zip(self._nodes, self.objections(spec), strict=True)
            if not why_not
        ]
        heapq.heapify(scores)
        return scores

    def _rescored(self, score: _Score, uid: str) -> _Score:
        siblings = self._load(uid, score.node) if uid else 0
        return _Score(score.avoided, siblings, self._load("", score.node), score.node)

    def _load(self, uid: str, node: str) -> int:
        return self._reader.count(Index.LOAD, uid, node) + self._given.get((uid, node), 0)


_SOFT = ("PreferNoSchedule",)


def _demands(spec: PodSpec) -> tuple[object, ...]:
    """All that ``placement`` looks at: Pods with equal demands get equal answers."""
    affinity = spec.rest.get("affinity")
    return (tuple(sorted(spec.node_selector.items())), spec.tolerations, repr(affinity) if affinity else "")


def _attraction(node: Node) -> tuple[object, ...]:
    """All of a node that ``placement`` looks at."""
    return (node.metadata.labels, node.spec.taints, node.spec.unschedulable)


def _in_short(spec: PodSpec, objections: Sequence[str]) -> str:
    """One clause that names the demand to look at first."""
    if not objections:
        return "there are no nodes"
    if AFFINITY_REASON not in objections:
        return "every node is cordoned or has a taint that it does not tolerate"
    if not spec.node_selector:
        return "no node matches its nodeAffinity"
    pairs = ", ".join(f"{key}: {value}" for key, value in sorted(spec.node_selector.items()))
    return f"no node matches its nodeSelector {{{pairs}}}"


def _bound(pod: Pod, node: str, now: float) -> Pod:
    scheduled = _with_scheduled(pod, "True", now)
    return replace(scheduled, spec=replace(pod.spec, node_name=node))


def _with_scheduled(pod: Pod, status: str, now: float, reason: str = "", message: str = "") -> Pod:
    """The Pod with its PodScheduled condition."""
    held = next((c for c in pod.status.conditions if c.type == "PodScheduled"), None)
    since = held.last_transition_time if held is not None and held.status == status else now
    condition = Condition("PodScheduled", status, reason, message, last_transition_time=since)
    others = tuple(c for c in pod.status.conditions if c.type != "PodScheduled")
    return replace(pod, status=replace(pod.status, conditions=(*others, condition)))
