"""Going back to an earlier template: what ``kubectl rollout undo`` does.

``Cluster.rollback`` calls ``roll_back``. Source: kubectl ``pkg/polymorphichelpers/rollback.go`` and
``pkg/cmd/rollout/rollout_undo.go``; what it says is in their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from netsim.base.errors import UsageError
from netsim.controllers import rollout
from netsim.controllers.deployment import HASH_LABEL, NOT_COPIED, REVISION
from netsim.controllers.revisions import Versioned, sorted_revisions, template_from_revision
from netsim.objects.apps import Deployment, PodTemplateSpec, ReplicaSet
from netsim.objects.meta import Object
from netsim.objects.workloads import DaemonSet, StatefulSet
from netsim.store.resources import resource_of
from netsim.store.store import Store


def roll_back(store: Store, found: Object, to_revision: int | None = None) -> str:
    """Give a Deployment, StatefulSet or DaemonSet an earlier template, None: the one before the present.

    Says what was done as kubectl does; raises UsageError when there is nothing to go back to.
    """
    match found:
        case Deployment():
            done = _roll_back_deployment(store, found, to_revision)
        case StatefulSet() | DaemonSet():
            done = _roll_back_versioned(store, found, to_revision)
        case _:
            raise UsageError(f"no rollbacker has been implemented for {resource_of(found.kind)}")
    group = resource_of(found.kind).partition(".")[2]
    return f"{found.kind.lower()}.{group}/{found.metadata.name} {done}"


def _roll_back_deployment(store: Store, found: Deployment, to_revision: int | None) -> str:
    if rollout.is_paused(found):
        resume = "resume it first with 'kubectl rollout resume' and try again"
        raise UsageError(f"you cannot rollback a paused deployment; {resume}")
    owned = {
        int(held.metadata.annotations.get(REVISION, "0")): held
        for held in store.owned(ReplicaSet, found.metadata.uid)
    }
    nothing = f'no rollout history found for deployment "{found.metadata.name}"'
    revision = _chosen(owned, to_revision, nothing)
    template = _without_hash(owned[revision].spec.template)
    if template == found.spec.template:
        return _skipped(revision)
    annotations = owned[revision].metadata.annotations
    kept = {key: value for key, value in found.metadata.annotations.items() if key in NOT_COPIED}
    taken = {key: value for key, value in annotations.items() if key not in NOT_COPIED}
    meta = replace(found.metadata, annotations={**taken, **kept})
    store.update(replace(found, metadata=meta, spec=replace(found.spec, template=template)))
    return "rolled back"


def _roll_back_versioned(store: Store, found: Versioned, to_revision: int | None) -> str:
    revisions = {held.revision: held for held in sorted_revisions(found, store)}
    revision = _chosen(revisions, to_revision, "no last revision to roll back to")
    template = template_from_revision(revisions[revision])
    if template == found.spec.template:
        return _skipped(revision)
    if isinstance(found, StatefulSet):
        store.update(replace(found, spec=replace(found.spec, template=template)))
    else:
        store.update(replace(found, spec=replace(found.spec, template=template)))
    return "rolled back"


def _chosen(known: Mapping[int, Object], wanted: int | None, nothing: str) -> int:
    """The revision to go back to; UsageError with ``nothing`` when there is only one."""
    if wanted is not None:
        if wanted not in known:
            listed = ", ".join(str(number) for number in sorted(known))
            message = f"unable to find specified revision {wanted} in history"
            raise UsageError(message, hint=f"the revisions are {listed}" if listed else "")
        return wanted
    if len(known) < 2:
        raise UsageError(nothing)
    return sorted(known)[-2]


def _skipped(revision: int) -> str:
    return f"skipped rollback (current template already matches revision {revision})"


def _without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    labels = {key: value for key, value in template.metadata.labels.items() if key != HASH_LABEL}
    return replace(template, metadata=replace(template.metadata, labels=labels))
