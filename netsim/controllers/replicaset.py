"""ReplicaSet and ReplicationController: as many Pods of one template as wanted.

The two differ in the form of their selector alone, and one control loop serves both. Source:
kube-controller-manager ``pkg/controller/replicaset/replica_set.go``, ``pkg/controller/replication`` and, for
whom to delete first, ActivePodsWithRanks in ``pkg/controller/controller_utils.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from netsim.controllers.controller import Create, Delete, Outcome, Update, Wait, Write
from netsim.controllers.ownership import claim, owners_concerned, takers
from netsim.controllers.pods import pod_of
from netsim.controllers.podstate import is_active, is_ready, ready_since
from netsim.objects.apps import ReplicaSet, ReplicaSetStatus
from netsim.objects.core import Pod
from netsim.objects.meta import LabelSelector, ObjectRef
from netsim.objects.workloads import ReplicationController
from netsim.store.reader import Reader
from netsim.store.selectors import Selector, selector_from_label_selector, selector_from_labels
from netsim.store.store import StoreEvent

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}

Replicated: TypeAlias = ReplicaSet | ReplicationController


class ReplicaSetController:
    """Subjects are the ReplicaSets, or the ReplicationControllers."""

    def __init__(self, kind: type[ReplicaSet] | type[ReplicationController] = ReplicaSet) -> None:
        self._kind = kind
        self.name = f"{kind.kind.lower()}-controller"
        self.kinds = (kind.kind, Pod.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The owner itself, the one that manages the Pod, or those that may take it."""
        yield from owners_concerned(event, self._kind)
        yield from takers(event, self._kind, reader)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Create what lacks, delete the surplus, and say in the status what there is."""
        found: Replicated | None = reader.find(self._kind, subject.name, subject.namespace)
        if found is None:
            return Outcome()
        claimed = claim(found, _selector(found), reader)
        pods = [pod for pod in claimed.pods if is_active(pod)]
        writes: list[Write] = [*claimed.writes]
        if found.metadata.deletion_timestamp is None:
            lacking = found.spec.replicas - len(pods)
            writes += [Create(pod_of(found, found.spec.template)) for _ in range(lacking)]
            if lacking < 0:
                writes += [Delete(pod.ref) for pod in _first_to_go(found, pods, reader)[:-lacking]]
        ready = [since for pod in pods if (since := ready_since(pod)) is not None]
        due = [since + found.spec.min_ready_seconds for since in ready]
        status = replace(
            found.status,
            replicas=len(pods),
            ready_replicas=len(ready),
            available_replicas=sum(at <= now for at in due),
            observed_generation=found.metadata.generation,
        )
        if status != found.status:
            writes.append(Update(replace(found, status=status)))
        return Outcome(writes, min((at for at in due if at > now), default=None), _waits(found, status))


def _selector(owner: Replicated) -> Selector:
    selector = owner.spec.selector
    if isinstance(selector, LabelSelector):
        return selector_from_label_selector(selector)
    return selector_from_labels(selector)


def _waits(owner: Replicated, status: ReplicaSetStatus) -> Sequence[Wait]:
    """Ready Pods that have to stay so for a while. What is not ready has its own reasons, told elsewhere."""
    if status.available_replicas == status.ready_replicas:
        return ()
    count = f"{status.available_replicas} of {status.ready_replicas} ready Pods have been so"
    text = f"{count} for minReadySeconds ({owner.spec.min_ready_seconds} s)"
    return [Wait(owner.ref, text, blocked=False)]


def _first_to_go(owner: Replicated, pods: Sequence[Pod], reader: Reader) -> list[Pod]:
    """The Pods, those whose deletion hurts least first.

    Not bound before bound; pending before running; not ready before ready; lower deletion cost; more
    replicas of the same Deployment on its node; ready for a shorter time; more restarts; created later.
    """
    crowd: dict[str, int] = {}
    for pod in _related(owner, pods, reader):
        crowd[pod.spec.node_name] = crowd.get(pod.spec.node_name, 0) + 1

    def rank(created: int) -> tuple[float, ...]:
        pod = pods[created]
        restarts = max((status.restart_count for status in pod.status.container_statuses), default=0)
        return (
            bool(pod.spec.node_name),
            _PHASE_RANK.get(pod.status.phase, 1),
            is_ready(pod),
            _deletion_cost(pod),
            -crowd.get(pod.spec.node_name, 0),
            -(ready_since(pod) or 0.0),
            -restarts,
            -created,
        )

    return [pods[created] for created in sorted(range(len(pods)), key=rank)]


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _related(owner: Replicated, pods: Sequence[Pod], reader: Reader) -> Iterable[Pod]:
    """The active Pods of all ReplicaSets of the same Deployment."""
    deployment = owner.metadata.controller()
    if deployment is None:
        return pods
    siblings = reader.owned(ReplicaSet, deployment.uid)
    return [p for sibling in siblings for p in reader.owned(Pod, sibling.metadata.uid) if is_active(p)]
