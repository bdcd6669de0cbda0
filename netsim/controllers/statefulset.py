"""StatefulSet: Pods with names, ordinals and an order.

A Pod of ordinal n is called NAME-n for ever: whatever becomes of it, its successor has its name, hostname
and labels, on whatever node. With OrderedReady one Pod at a time comes, from the lowest ordinal up, or goes,
from the highest down, and only while all others are ready; with Parallel they do not wait for each other.
Updates go from the highest ordinal down, whatever the policy. Source: kube-controller-manager
``pkg/controller/statefulset/stateful_set_control.go`` (updateStatefulSet) and ``stateful_set_utils.go``.
Volumes are not modelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netsim.controllers.amounts import scaled
from netsim.controllers.controller import Create, Delete, Outcome, Update, Wait, Write
from netsim.controllers.ownership import claim, owners_concerned, takers
from netsim.controllers.pods import pod_of
from netsim.controllers.podstate import available_at, is_available, is_ready, is_terminal
from netsim.controllers.revisions import (
    REVISION_LABEL,
    History,
    forgotten,
    history_of,
    template_from_revision,
)
from netsim.objects.core import Pod
from netsim.objects.meta import ObjectRef
from netsim.objects.workloads import ControllerRevision, StatefulSet, StatefulSetStatus
from netsim.store.reader import Reader
from netsim.store.selectors import selector_from_label_selector
from netsim.store.store import StoreEvent

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
DEFAULT_MAX_UNAVAILABLE = 1  # apis/apps/v1/defaults.go
_NAME = re.compile(r"(.*)-([0-9]+)")


class StatefulSetController:
    """Subjects are the StatefulSets."""

    name = "statefulset-controller"
    kinds = (StatefulSet.kind, Pod.kind, ControllerRevision.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The StatefulSet itself, the one that manages the Pod or revision, or those that may take a Pod."""
        yield from owners_concerned(event, StatefulSet)
        yield from takers(event, StatefulSet, reader)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Create, delete and replace Pods as far as the order allows, and say in the status what there is."""
        found = reader.find(StatefulSet, subject.name, subject.namespace)
        if found is None or found.metadata.deletion_timestamp is not None:
            return Outcome()
        selector = selector_from_label_selector(found.spec.selector)
        claimed = claim(found, selector, reader, lambda pod: ordinal(pod, found) is not None)
        round_ = _Round(found, history_of(found, reader), claimed.pods, now)
        round_.work()
        status = round_.status()
        live = {status.current_revision, status.update_revision, *map(_revision, claimed.pods)}
        writes: list[Write] = [*round_.history.writes, *claimed.writes, *round_.writes]
        writes += forgotten(found, round_.history.revisions, live)
        if status != found.status:
            writes.append(Update(replace(found, status=status)))
        due = (available_at(pod, found.spec.min_ready_seconds) for pod in claimed.pods)
        deadline = min((at for at in due if at is not None and at > now), default=None)
        waits = [Wait(subject, round_.waits_for, blocked=deadline is None)] if round_.waits_for else []
        return Outcome(writes, deadline, waits)


def ordinal(pod: Pod, owner: StatefulSet) -> int | None:
    """The number in the Pod's name, or None when the name is not one of this StatefulSet."""
    match = _NAME.fullmatch(pod.metadata.name)
    return int(match[2]) if match is not None and match[1] == owner.metadata.name else None


def _revision(pod: Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


def _rolling(owner: StatefulSet) -> Mapping[str, Any] | None:
    """The settings of a rolling update; None when Pods are updated as somebody deletes them."""
    strategy = owner.spec.rest.get("updateStrategy") or {}
    return None if strategy.get("type") == "OnDelete" else strategy.get("rollingUpdate") or {}


@dataclass(slots=True)
class _Round:
    """One look at a StatefulSet: which Pods it has at which ordinals, and what to do about it.

    ``replicas`` has None where a Pod lacks; ``condemned`` are those outside of the range of ordinals, the
    highest first; ``waits_for`` says what holds up the rest of the work.
    """

    owner: StatefulSet
    history: History
    pods: Sequence[Pod]
    now: float
    current: ControllerRevision = field(init=False)
    start: int = field(init=False)
    replicas: list[Pod | None] = field(init=False)
    condemned: list[Pod] = field(init=False)
    writes: list[Write] = field(default_factory=list)
    waits_for: str = ""

    def __post_init__(self) -> None:
        owner = self.owner
        held = self.history.named(owner.status.current_revision)
        self.current = self.history.update if held is None else held
        self.start = int((owner.spec.rest.get("ordinals") or {}).get("start", 0))
        by_ordinal = {ordinal(pod, owner) or 0: pod for pod in self.pods}
        wanted = range(self.start, self.start + owner.spec.replicas)
        self.replicas = [by_ordinal.get(number) for number in wanted]
        self.condemned = [
            by_ordinal[number] for number in sorted(by_ordinal, reverse=True) if number not in wanted
        ]

    @property
    def _parallel(self) -> bool:
        return self.owner.spec.pod_management_policy == "Parallel"

    # --- what is to be done

    def work(self) -> None:
        """All that may be done now."""
        for place in range(len(self.replicas)):
            if self._see_to(place) and not self._parallel:
                return
        unhealthy = [*self.replicas, *reversed(self.condemned)]
        first_unhealthy = next((pod for pod in unhealthy if not self._is_healthy(pod)), None)
        for pod in self.condemned:
            if self._let_go(pod, first_unhealthy) and not self._parallel:
                return
        rolling = _rolling(self.owner)
        if rolling is not None:
            self._replace_outdated(rolling)

    def _see_to(self, place: int) -> bool:
        """Bring one ordinal forward; says whether those after it have to wait (processReplica)."""
        pod, name = self.replicas[place], f"{self.owner.metadata.name}-{self.start + place}"
        if pod is None:
            self.writes.append(Create(self._new_pod(self.start + place)))
            return True
        if is_terminal(pod):
            if pod.metadata.deletion_timestamp is None:
                self.writes.append(Delete(pod.ref))
            return True
        if pod.metadata.deletion_timestamp is not None:
            return self._wait(f"Pod {name} to be gone")
        if not _is_running_and_ready(pod):
            return self._wait(f"Pod {name} to be ready")
        if not is_available(pod, self.owner.spec.min_ready_seconds, self.now):
            return self._wait(f"Pod {name} to be ready for {self.owner.spec.min_ready_seconds} s")
        labels = {**pod.metadata.labels, **self._identity(self.start + place)}
        if labels != pod.metadata.labels:
            self.writes.append(Update(replace(pod, metadata=replace(pod.metadata, labels=labels))))
        return False

    def _wait(self, what: str) -> bool:
        if not self._parallel:
            self.waits_for = f"waits for {what}"
        return True

    def _let_go(self, pod: Pod, first_unhealthy: Pod | None) -> bool:
        """Delete a Pod that is one too many; says whether the others have to wait (processCondemned)."""
        if pod.metadata.deletion_timestamp is not None:
            return self._wait(f"Pod {pod.metadata.name} to be gone")
        if not self._parallel and pod is not first_unhealthy and not self._is_healthy(pod):
            assert first_unhealthy is not None
            return self._wait(f"Pod {first_unhealthy.metadata.name} to be ready")
        self.writes.append(Delete(pod.ref))
        return True

    def _replace_outdated(self, rolling: Mapping[str, Any]) -> None:
        """Delete outdated Pods down to the partition, the highest ordinal first, while no more than
        maxUnavailable are missing (updateStatefulSetAfterInvariantEstablished)."""
        amount = rolling.get("maxUnavailable", DEFAULT_MAX_UNAVAILABLE)
        most = max(scaled(amount, self.owner.spec.replicas, round_up=False), 1)
        room = most - sum(not self._is_healthy(pod) for pod in self.replicas)
        for place in range(len(self.replicas) - 1, int(rolling.get("partition", 0)) - 1, -1):
            pod = self.replicas[place]
            if room <= 0:
                return
            if pod is None or pod.metadata.deletion_timestamp is not None:
                continue
            if _revision(pod) != self.history.update.metadata.name:
                self.writes.append(Delete(pod.ref))
                room -= 1

    def _is_healthy(self, pod: Pod | None) -> bool:
        return (
            pod is not None
            and pod.metadata.deletion_timestamp is None
            and _is_running_and_ready(pod)
            and is_available(pod, self.owner.spec.min_ready_seconds, self.now)
        )

    # --- what is made

    def _new_pod(self, number: int) -> Pod:
        """The Pod of an ordinal: below the partition of the current revision, else of the update."""
        rolling = _rolling(self.owner)
        keeps = rolling is not None and number < self.start + int(rolling.get("partition", 0))
        revision = self.current if keeps else self.history.update
        template = template_from_revision(revision)
        identity = self._identity(number)
        name = identity[POD_NAME_LABEL]
        spec = replace(template.spec, hostname=name, subdomain=self.owner.spec.service_name)
        labels = {**identity, REVISION_LABEL: revision.metadata.name}
        return pod_of(self.owner, template, name=name, labels=labels, spec=spec)

    def _identity(self, number: int) -> Mapping[str, str]:
        return {POD_NAME_LABEL: f"{self.owner.metadata.name}-{number}", POD_INDEX_LABEL: str(number)}

    def status(self) -> StatefulSetStatus:
        """What there is; with the last updated Pod ready, the update becomes the current revision."""
        owner, update = self.owner, self.history.update.metadata.name
        staying = [pod for pod in self.pods if pod.metadata.deletion_timestamp is None]
        ready = [pod for pod in self.pods if _is_running_and_ready(pod)]
        current = self.current.metadata.name
        status = replace(
            owner.status,
            replicas=len(self.pods),
            ready_replicas=len(ready),
            available_replicas=sum(is_available(p, owner.spec.min_ready_seconds, self.now) for p in ready),
            current_replicas=sum(_revision(pod) == current for pod in staying),
            updated_replicas=sum(_revision(pod) == update for pod in staying),
            current_revision=current,
            update_revision=update,
            observed_generation=owner.metadata.generation,
            rest={"collisionCount": 0},
        )
        done = status.updated_replicas == status.ready_replicas == status.replicas == owner.spec.replicas
        if _rolling(owner) is not None and done:
            return replace(status, current_replicas=status.updated_replicas, current_revision=update)
        return status


def _is_running_and_ready(pod: Pod) -> bool:
    return pod.status.phase == "Running" and is_ready(pod)
