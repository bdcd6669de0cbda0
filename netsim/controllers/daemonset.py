"""DaemonSet: one Pod on every node that may run it.

Its Pods are bound by the scheduler, which finds the one node in their affinity, and they tolerate what keeps
other Pods off a node in trouble. Source: kube-controller-manager ``pkg/controller/daemon``:
``daemon_controller.go`` (podsShouldBeOnNode, NodeShouldRunDaemonPod, storeDaemonSetStatus), ``update.go``
(rollingUpdate) and ``util/daemonset_util.go`` (AddOrUpdateDaemonPodTolerations,
ReplaceDaemonSetPodNodeNameNodeAffinity).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netsim.controllers.amounts import scaled
from netsim.controllers.controller import Create, Delete, Outcome, Update, Write
from netsim.controllers.ownership import claim, owners_concerned, takers
from netsim.controllers.placement import fits_affinity, untolerated
from netsim.controllers.pods import pod_of
from netsim.controllers.podstate import available_at, is_available, is_ready, is_terminal
from netsim.controllers.revisions import REVISION_LABEL, History, forgotten, history_of
from netsim.objects.core import Node, Pod, PodSpec, Toleration
from netsim.objects.meta import ObjectRef
from netsim.objects.workloads import ControllerRevision, DaemonSet, DaemonSetStatus
from netsim.store.reader import Reader
from netsim.store.selectors import selector_from_label_selector
from netsim.store.store import StoreEvent

GENERATION_LABEL = "pod-template-generation"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_ALL_TAINTS = ("NoSchedule", "NoExecute")
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_TOLERATED_ON_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class DaemonSetController:
    """Subjects are the DaemonSets."""

    name = "daemonset-controller"
    kinds = (DaemonSet.kind, Pod.kind, Node.kind, ControllerRevision.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The DaemonSet itself, the one that manages the Pod, or all of them when a node changed."""
        if isinstance(event.object, Node):
            if not isinstance(event.old, Node) or _eligibility(event.object) != _eligibility(event.old):
                yield from (found.ref for found in reader.list(DaemonSet))
            return
        yield from owners_concerned(event, DaemonSet)
        yield from takers(event, DaemonSet, reader)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Create and delete Pods, replace outdated ones, and say in the status what there is."""
        found = reader.find(DaemonSet, subject.name, subject.namespace)
        if found is None or found.metadata.deletion_timestamp is not None:
            return Outcome()
        claimed = claim(found, selector_from_label_selector(found.spec.selector), reader)
        history = history_of(found, reader)
        round_ = _Round(found, history, claimed.pods, reader.list(Node), now)
        round_.work()
        writes: list[Write] = [*history.writes, *claimed.writes, *round_.writes]
        live = {held.metadata.name for held in history.revisions if _hash(held) in round_.hashes()}
        writes += forgotten(found, history.revisions, {*live, history.update.metadata.name})
        status = round_.status()
        if status != found.status:
            writes.append(Update(replace(found, status=status)))
        due = (available_at(pod, found.spec.min_ready_seconds) for pod in claimed.pods)
        return Outcome(writes, min((at for at in due if at is not None and at > now), default=None))


def daemon_pod_spec(spec: PodSpec, node: str) -> PodSpec:
    """The spec of the Pod that belongs on a node."""
    wanted = [*_TOLERATED, *([_TOLERATED_ON_HOST_NETWORK] if spec.host_network else [])]
    added = tuple(Toleration(key, operator="Exists", effect=effect) for key, effect in wanted)
    own = tuple(held for held in spec.tolerations if (held.key, held.effect) not in wanted)
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
    affinity = spec.rest.get("affinity") or {}
    on_nodes = {**(affinity.get("nodeAffinity") or {}), _REQUIRED: {"nodeSelectorTerms": terms}}
    rest = {**spec.rest, "affinity": {**affinity, "nodeAffinity": on_nodes}}
    return replace(spec, tolerations=(*own, *added), rest=rest)


def _target(pod: Pod) -> str:
    """The node of a Pod, also while the scheduler has not bound it (GetTargetNodeName)."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = (pod.spec.rest.get("affinity") or {}).get("nodeAffinity") or {}
    for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for item in term.get("matchFields") or ():
            return str(item["values"][0])
    return ""


def _hash(revision: ControllerRevision) -> str:
    return revision.metadata.labels[REVISION_LABEL]


def _eligibility(node: Node) -> tuple[object, ...]:
    return node.metadata.labels, node.spec.taints, node.spec.unschedulable


@dataclass(slots=True)
class _Round:
    """One look at a DaemonSet. ``allowed`` are the nodes that shall have a Pod, ``kept`` those that may keep
    the one they have; ``on`` has the Pods of each node, oldest first."""

    owner: DaemonSet
    history: History
    pods: Sequence[Pod]
    nodes: Sequence[Node]
    now: float
    allowed: list[str] = field(init=False)
    kept: set[str] = field(init=False)
    on: dict[str, list[Pod]] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        template = self.owner.spec.template.spec
        spec = daemon_pod_spec(template, "")
        fitting = [
            node
            for node in self.nodes
            if template.node_name in ("", node.metadata.name) and fits_affinity(template, node)
        ]
        self.allowed = [n.metadata.name for n in fitting if not untolerated(spec, n.spec.taints, _ALL_TAINTS)]
        self.kept = {n.metadata.name for n in fitting if not untolerated(spec, n.spec.taints, ("NoExecute",))}
        for pod in self.pods:
            self.on.setdefault(_target(pod), []).append(pod)

    # --- what is to be done

    def work(self) -> None:
        """One Pod on each node that shall have one, none elsewhere, and the update."""
        surging = self._surge() > 0
        for node in self.allowed:
            self._see_to(node, surging=surging)
        for node, pods in self.on.items():
            if node not in self.kept:
                self._delete(pods)
        strategy = self.owner.spec.rest.get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        if surging:
            self._surge_update()
        else:
            self._replace_outdated()

    def _see_to(self, node: str, *, surging: bool) -> None:
        """Create the Pod that lacks; delete ended ones and those that are one too many."""
        pods = self.on.get(node, ())
        if not pods:
            self.writes.append(Create(self._new_pod(node)))
        self._delete(pod for pod in pods if is_terminal(pod))
        running = [p for p in pods if not is_terminal(p) and p.metadata.deletion_timestamp is None]
        groups = [running]
        if surging:
            groups = [[p for p in running if self._is_new(p) is new] for new in (True, False)]
        for group in groups:
            self._delete(group[1:])

    def _delete(self, pods: Iterable[Pod]) -> None:
        self.writes += [Delete(pod.ref) for pod in pods if pod.metadata.deletion_timestamp is None]

    def _replace_outdated(self) -> None:
        """Delete outdated Pods: those that are not available, and others while maxUnavailable allows it."""
        missing = 0
        useless: list[Pod] = []
        candidates: list[Pod] = []
        for node in self.allowed:
            new, old = self._versions(node)
            if (new is None) == (old is None):
                missing += 1  # nothing, or both: seen to already
            elif old is None:
                missing += new is not None and not self._is_available(new)
            elif self._is_available(old):
                candidates.append(old)
            else:
                useless.append(old)
                missing += 1
        room = max(self._amount("maxUnavailable", 1) - missing, 0)
        self._delete([*useless, *candidates[:room]])

    def _surge_update(self) -> None:
        """Create new Pods beside old ones while maxSurge allows it; delete an old one when the new one is
        available."""
        surged = 0
        at_once: list[str] = []
        candidates: list[str] = []
        for node in self.allowed:
            new, old = self._versions(node)
            if old is None:
                continue
            if new is None:
                (candidates if self._is_available(old) else at_once).append(node)
            elif self._is_available(new):
                self._delete([old])
            else:
                surged += 1
        room = max(self._surge() - surged, 0)
        self.writes += [Create(self._new_pod(node)) for node in (*at_once, *candidates[:room])]

    def _versions(self, node: str) -> tuple[Pod | None, Pod | None]:
        """The present and the outdated Pod of a node (findUpdatedPodsOnNode)."""
        staying = [pod for pod in self.on.get(node, ()) if pod.metadata.deletion_timestamp is None]
        new = next((pod for pod in staying if self._is_new(pod)), None)
        return new, next((pod for pod in staying if not self._is_new(pod)), None)

    def _is_new(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(REVISION_LABEL) == _hash(self.history.update)

    def _is_available(self, pod: Pod) -> bool:
        return is_available(pod, self.owner.spec.min_ready_seconds, self.now)

    def _surge(self) -> int:
        return self._amount("maxSurge", 0)

    def _amount(self, name: str, default: int) -> int:
        """maxUnavailable or maxSurge; both shares of the nodes round up."""
        strategy: Mapping[str, Any] = self.owner.spec.rest.get("updateStrategy") or {}
        amount = (strategy.get("rollingUpdate") or {}).get(name, default)
        return scaled(amount, len(self.allowed), round_up=True)

    # --- what is made

    def _new_pod(self, node: str) -> Pod:
        template = self.owner.spec.template
        labels = {
            REVISION_LABEL: _hash(self.history.update),
            GENERATION_LABEL: str(self.owner.metadata.generation),
        }
        return pod_of(self.owner, template, labels=labels, spec=daemon_pod_spec(template.spec, node))

    def hashes(self) -> set[str]:
        """The revisions of which there are Pods."""
        return {pod.metadata.labels.get(REVISION_LABEL, "") for pod in self.pods}

    def status(self) -> DaemonSetStatus:
        """Counts of nodes, each judged by the oldest of its Pods (storeDaemonSetStatus)."""
        allowed = set(self.allowed)
        scheduled = [node for node in self.allowed if self.on.get(node)]
        oldest = [self.on[node][0] for node in scheduled]
        available = sum(self._is_available(pod) for pod in oldest)
        return replace(
            self.owner.status,
            current_number_scheduled=len(scheduled),
            desired_number_scheduled=len(self.allowed),
            number_misscheduled=sum(bool(node) and node not in allowed for node in self.on),
            number_ready=sum(is_ready(pod) for pod in oldest),
            updated_number_scheduled=sum(self._is_new(pod) for pod in oldest),
            number_available=available,
            number_unavailable=len(self.allowed) - available,
            observed_generation=self.owner.metadata.generation,
        )
