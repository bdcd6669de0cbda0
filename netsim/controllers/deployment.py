"""Deployment: one ReplicaSet per version of its Pod template.

It makes the ReplicaSet of the current template (or takes up again an old one with the same template), gives
each ReplicaSet the replicas that ``rollout`` plans, and says in the status how far it is (``progress``).
Source: kube-controller-manager ``pkg/controller/deployment/deployment_controller.go`` and ``sync.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from netsim.controllers import progress, rollout
from netsim.controllers.controller import Create, Delete, Outcome, Update, Write
from netsim.controllers.hashes import template_hash
from netsim.controllers.ownership import controller_reference, owners_concerned
from netsim.controllers.podstate import is_terminal
from netsim.objects.apps import Deployment, DeploymentStatus, PodTemplateSpec, ReplicaSet, ReplicaSetSpec
from netsim.objects.core import Pod
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
PAST_REVISIONS = "deployment.kubernetes.io/revision-history"
DEFAULT_HISTORY_LIMIT = 10  # apis/apps/v1/defaults.go, revisionHistoryLimit
NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    PAST_REVISIONS,
    rollout.DESIRED,
    rollout.MOST,
)
"""Annotations of a Deployment that its ReplicaSets do not get (annotationsToSkip)."""


class DeploymentController:
    """Subjects are the Deployments."""

    name = "deployment-controller"
    kinds = (Deployment.kind, ReplicaSet.kind, Pod.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Deployment itself, the one that owns the ReplicaSet, or one that waits for Pods to end."""
        if isinstance(event.object, Pod):
            if event.type is EventType.DELETED or is_terminal(event.object):
                yield from _recreating(event.object, reader)
        else:
            yield from owners_concerned(event, Deployment)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Make the new ReplicaSet, size all of them, forget the oldest, and say how far it is."""
        found = reader.find(Deployment, subject.name, subject.namespace)
        if found is None or found.metadata.deletion_timestamp is not None:
            return Outcome()
        owned = reader.owned(ReplicaSet, found.metadata.uid)
        new = _with_template(owned, found.spec.template)
        old = [replica_set for replica_set in owned if replica_set is not new]
        old_pods_run = rollout.recreates(found) and _any_runs(old, reader)
        made = None
        if new is None and _may_start(found, old, old_pods_run=old_pods_run):
            made = _new_replica_set(found, reader)
        present = new if made is None else made
        revision = _revision_of(found) if present is None else _next_revision(present, old)
        resized = rollout.is_resized(found, new, old)
        sizes = rollout.plan(found, present, old, old_pods_run=old_pods_run)
        writes: list[Write] = []
        for held in [*old, *([present] if present is not None else [])]:
            wanted = _sized(held, sizes[held.ref], found, resized=resized)
            if held is present:
                wanted = _in_step(wanted, found, revision)
            if held is made:
                writes.append(Create(wanted))
            elif wanted != held:
                writes.append(Update(wanted))
        outlook = progress.look(
            found, _counted(found, present, owned, sizes), present, now, made=made is not None
        )
        if progress.is_complete(found, outlook.status) or rollout.is_paused(found):
            writes += [Delete(replica_set.ref) for replica_set in _beyond_history(found, old)]
        meta = found.metadata
        if revision:
            meta = replace(meta, annotations={**meta.annotations, REVISION: str(revision)})
        updated = replace(found, metadata=meta, status=outlook.status)
        if updated != found:
            writes.append(Update(updated))
        return Outcome(writes, outlook.deadline)


def _recreating(pod: Pod, reader: Reader) -> Iterable[ObjectRef]:
    """The Deployment that recreates its Pods, when the Pod is one of them."""
    owner = pod.metadata.controller()
    found = reader.find_uid(owner.uid) if owner is not None else None
    owner = found.metadata.controller() if isinstance(found, ReplicaSet) else None
    deployment = reader.find_uid(owner.uid) if owner is not None else None
    if isinstance(deployment, Deployment) and rollout.recreates(deployment):
        yield deployment.ref


def _any_runs(old: Sequence[ReplicaSet], reader: Reader) -> bool:
    """Whether Pods of old ReplicaSets have not ended yet (oldPodsRunning)."""
    return any(not is_terminal(pod) for held in old for pod in reader.owned(Pod, held.metadata.uid))


def _may_start(deployment: Deployment, old: Sequence[ReplicaSet], *, old_pods_run: bool) -> bool:
    """Whether the ReplicaSet of the present template may be made: a paused Deployment makes none, one of
    another size is sized first, and one that recreates waits for the old Pods."""
    if rollout.is_paused(deployment) or rollout.is_resized(deployment, None, old):
        return False
    return not (rollout.recreates(deployment) and (old_pods_run or any(held.spec.replicas for held in old)))


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


def _next_revision(new: ReplicaSet, old: Sequence[ReplicaSet]) -> int:
    """The new ReplicaSet's revision: one more than every old one's; it keeps one that is high enough."""
    highest = max((_revision(replica_set) for replica_set in old), default=0)
    return max(_revision(new), highest + 1)


def _revision(held: ReplicaSet) -> int:
    return int(held.metadata.annotations.get(REVISION, "0"))


def _revision_of(deployment: Deployment) -> int:
    return int(deployment.metadata.annotations.get(REVISION, "0"))


def _sized(held: ReplicaSet, replicas: int, deployment: Deployment, *, resized: bool) -> ReplicaSet:
    """The ReplicaSet with that many replicas, and with a note of the Deployment's size at that moment."""
    if held.spec.replicas == replicas and not (resized and replicas) and held.metadata.uid:
        return held
    annotations = {**held.metadata.annotations, **rollout.size_annotations(deployment)}
    if held.spec.replicas == replicas and annotations == held.metadata.annotations:
        return held
    meta = replace(held.metadata, annotations=annotations)
    return replace(held, metadata=meta, spec=replace(held.spec, replicas=replicas))


def _in_step(held: ReplicaSet, deployment: Deployment, revision: int) -> ReplicaSet:
    """The new ReplicaSet with what it has of the Deployment (SetNewReplicaSetAnnotations)."""
    old = held.metadata.annotations
    copied = {k: v for k, v in deployment.metadata.annotations.items() if k not in NOT_COPIED}
    annotations = {**old, **copied}
    before = _revision(held)
    if revision > before:
        annotations[REVISION] = str(revision)
        if before:
            past = old.get(PAST_REVISIONS)
            annotations[PAST_REVISIONS] = f"{past},{before}" if past else str(before)
    if annotations != old:
        held = replace(held, metadata=replace(held.metadata, annotations=annotations))
    if held.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
        spec = replace(held.spec, min_ready_seconds=deployment.spec.min_ready_seconds)
        held = replace(held, spec=spec)
    return held


def _beyond_history(deployment: Deployment, old: Sequence[ReplicaSet]) -> Sequence[ReplicaSet]:
    """The oldest of the ReplicaSets that are scaled down for good, beyond revisionHistoryLimit."""
    limit = int(deployment.spec.rest.get("revisionHistoryLimit", DEFAULT_HISTORY_LIMIT))
    done = [rs for rs in old if rs.spec.replicas == 0 and rs.status.replicas == 0]
    return sorted(done, key=_revision)[: max(len(done) - limit, 0)]


def _counted(
    deployment: Deployment, new: ReplicaSet | None, owned: Sequence[ReplicaSet], sizes: rollout.Sizes
) -> DeploymentStatus:
    """The status with its counts as the ReplicaSets have them (calculateStatus)."""
    available = sum(replica_set.status.available_replicas for replica_set in owned)
    unavailable = max(sum(sizes.values()) - available, 0)
    return replace(
        deployment.status,
        replicas=sum(replica_set.status.replicas for replica_set in owned),
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(replica_set.status.ready_replicas for replica_set in owned),
        available_replicas=available,
        observed_generation=deployment.metadata.generation,
        rest=_with_count(deployment.status.rest, "unavailableReplicas", unavailable),
    )


def _with_count(rest: Mapping[str, object], key: str, count: int) -> Mapping[str, object]:
    """``rest`` with a count that the API leaves out when it is zero."""
    others = {name: value for name, value in rest.items() if name != key}
    return {**others, key: count} if count else others
