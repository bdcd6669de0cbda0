"""Deployment: one ReplicaSet per version of its Pod template.

It makes the ReplicaSet of the current template (or takes up again an old one with the same template), gives
each ReplicaSet the replicas that ``rollout`` plans, and sums up their status. Source:
kube-controller-manager ``pkg/controller/deployment``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from netsim.controllers import rollout
from netsim.controllers.controller import Create, Delete, Outcome, Update, Write
from netsim.controllers.hashes import template_hash
from netsim.controllers.ownership import controller_reference, owners_concerned
from netsim.objects.apps import Deployment, DeploymentStatus, PodTemplateSpec, ReplicaSet, ReplicaSetSpec
from netsim.objects.meta import Condition, ObjectMeta, ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DEFAULT_HISTORY_LIMIT = 10  # apis/apps/v1/defaults.go, revisionHistoryLimit


class DeploymentController:
    """Subjects are the Deployments."""

    name = "deployment-controller"
    kinds = (Deployment.kind, ReplicaSet.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Deployment itself, or the one that owns the ReplicaSet."""
        return owners_concerned(event, Deployment)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Make the new ReplicaSet, scale all of them, forget the oldest, and sum up the status."""
        found = reader.find(Deployment, subject.name, subject.namespace)
        if found is None or found.metadata.deletion_timestamp is not None:
            return Outcome()
        owned = reader.owned(ReplicaSet, found.metadata.uid)
        new = _with_template(owned, found.spec.template)
        old = [replica_set for replica_set in owned if replica_set is not new]
        revision = _next_revision(new, old)
        wanted = new if new is not None else _new_replica_set(found, reader)
        scale = rollout.plan(found, wanted, old)
        wanted = _in_step(_with_revision(_scaled(wanted, scale[wanted.ref]), revision), found)
        writes: list[Write] = []
        if new is None:
            writes.append(Create(wanted))
        elif wanted != new:
            writes.append(Update(wanted))
        for replica_set in old:
            if replica_set.spec.replicas != scale[replica_set.ref]:
                writes.append(Update(_scaled(replica_set, scale[replica_set.ref])))
        writes += [Delete(replica_set.ref) for replica_set in _beyond_history(found, old)]
        status = _status(found, new, owned, now)
        annotations = {**found.metadata.annotations, REVISION: str(revision)}
        updated = replace(found, metadata=replace(found.metadata, annotations=annotations), status=status)
        if updated != found:
            writes.append(Update(updated))
        return Outcome(writes)


def _with_template(owned: Iterable[ReplicaSet], template: PodTemplateSpec) -> ReplicaSet | None:
    """The (oldest) ReplicaSet that was made of this template."""
    return next((rs for rs in owned if _without_hash(rs.spec.template) == template), None)


def _without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    labels = {key: value for key, value in template.metadata.labels.items() if key != HASH_LABEL}
    return replace(template, metadata=replace(template.metadata, labels=labels))


def _new_replica_set(deployment: Deployment, reader: Reader) -> ReplicaSet:
    """The ReplicaSet of the current template, under the first name that nothing else has."""
    meta, spec = deployment.metadata, deployment.spec
    collisions = 0
    while True:
        label = template_hash(spec.template, collisions)
        name = f"{meta.name}-{label}"
        if reader.find(ReplicaSet, name, meta.namespace) is None:
            break
        collisions += 1
    labels = {**spec.template.metadata.labels, HASH_LABEL: label}
    matched = {**spec.selector.match_labels, HASH_LABEL: label}
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name,
            namespace=meta.namespace,
            labels=labels,
            owner_references=(controller_reference(deployment),),
        ),
        spec=ReplicaSetSpec(
            replicas=0,
            selector=replace(spec.selector, match_labels=matched),
            template=replace(spec.template, metadata=replace(spec.template.metadata, labels=labels)),
        ),
        source=deployment.source,
    )


def _next_revision(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> int:
    """The new ReplicaSet's revision: one more than every old one's; it keeps one that is high enough."""
    highest = max((_revision(replica_set) for replica_set in old), default=0)
    return max(_revision(new) if new is not None else 0, highest + 1)


def _revision(replica_set: ReplicaSet) -> int:
    return int(replica_set.metadata.annotations.get(REVISION, "0"))


def _with_revision(replica_set: ReplicaSet, revision: int) -> ReplicaSet:
    if _revision(replica_set) == revision:
        return replica_set
    annotations = {**replica_set.metadata.annotations, REVISION: str(revision)}
    return replace(replica_set, metadata=replace(replica_set.metadata, annotations=annotations))


def _scaled(replica_set: ReplicaSet, replicas: int) -> ReplicaSet:
    if replica_set.spec.replicas == replicas:
        return replica_set
    return replace(replica_set, spec=replace(replica_set.spec, replicas=replicas))


def _in_step(replica_set: ReplicaSet, deployment: Deployment) -> ReplicaSet:
    if replica_set.spec.min_ready_seconds == deployment.spec.min_ready_seconds:
        return replica_set
    spec = replace(replica_set.spec, min_ready_seconds=deployment.spec.min_ready_seconds)
    return replace(replica_set, spec=spec)


def _beyond_history(deployment: Deployment, old: Sequence[ReplicaSet]) -> Sequence[ReplicaSet]:
    """The oldest of the ReplicaSets that are scaled down for good, beyond revisionHistoryLimit."""
    limit = int(deployment.spec.rest.get("revisionHistoryLimit", DEFAULT_HISTORY_LIMIT))
    done = [rs for rs in old if rs.spec.replicas == 0 and rs.status.replicas == 0]
    return sorted(done, key=_revision)[: max(len(done) - limit, 0)]


def _status(
    deployment: Deployment, new: ReplicaSet | None, owned: Sequence[ReplicaSet], now: float
) -> DeploymentStatus:
    total = sum(replica_set.status.replicas for replica_set in owned)
    ready = sum(replica_set.status.ready_replicas for replica_set in owned)
    available = sum(replica_set.status.available_replicas for replica_set in owned)
    updated = new.status.replicas if new is not None else 0
    unavailable = max(total - available, 0)
    status = replace(
        deployment.status,
        replicas=total,
        updated_replicas=updated,
        ready_replicas=ready,
        available_replicas=available,
        observed_generation=deployment.metadata.generation,
        rest=_with_count(deployment.status.rest, "unavailableReplicas", unavailable),
    )
    conditions = (_available(deployment, status), _progressing(deployment, status, new))
    held = {condition.type: condition for condition in deployment.status.conditions}
    return replace(status, conditions=tuple(_since(held.get(c.type), c, now) for c in conditions))


def _with_count(rest: Mapping[str, object], key: str, count: int) -> Mapping[str, object]:
    """``rest`` with a count that the API leaves out when it is zero."""
    others = {name: value for name, value in rest.items() if name != key}
    return {**others, key: count} if count else others


def _available(deployment: Deployment, status: DeploymentStatus) -> Condition:
    if status.available_replicas >= deployment.spec.replicas - rollout.max_unavailable(deployment):
        text = "Deployment has minimum availability."
        return Condition("Available", "True", "MinimumReplicasAvailable", text)
    text = "Deployment does not have minimum availability."
    return Condition("Available", "False", "MinimumReplicasUnavailable", text)


def _progressing(deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None) -> Condition:
    subject = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    wanted = deployment.spec.replicas
    if status.updated_replicas == status.replicas == status.available_replicas == wanted:
        text = f"{subject} has successfully progressed."
        return Condition("Progressing", "True", "NewReplicaSetAvailable", text)
    return Condition("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.")


def _since(held: Condition | None, condition: Condition, now: float) -> Condition:
    """The condition with the time at which its status became what it is."""
    unchanged = held is not None and held.status == condition.status
    since = held.last_transition_time if unchanged and held is not None else now
    return replace(condition, last_transition_time=since)
