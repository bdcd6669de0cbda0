"""The ControllerRevisions of a StatefulSet or DaemonSet: which versions its template had, and which is next.

Each keeps one template. Source: kube-controller-manager ``pkg/controller/history/controller_history.go`` and
``pkg/controller/statefulset/stateful_set_control.go``, getStatefulSetRevisions and truncateHistory; the
DaemonSet controller does the same in ``pkg/controller/daemon/update.go``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from netsim.controllers.controller import Create, Delete, Update, Write
from netsim.controllers.hashes import document_hash
from netsim.controllers.ownership import controller_reference
from netsim.objects.apps import PodTemplateSpec
from netsim.objects.codec import document_from_value, value_from_document
from netsim.objects.meta import ObjectMeta
from netsim.objects.workloads import ControllerRevision, DaemonSet, StatefulSet
from netsim.store.reader import Reader

REVISION_LABEL = "controller-revision-hash"
DEFAULT_HISTORY_LIMIT = 10  # apis/apps/v1/defaults.go, revisionHistoryLimit

Versioned: TypeAlias = StatefulSet | DaemonSet


class History(NamedTuple):
    """All revisions, oldest first; ``update`` is the one of the present template. ``writes`` store it."""

    revisions: Sequence[ControllerRevision]
    update: ControllerRevision
    writes: Sequence[Write]

    def named(self, name: str) -> ControllerRevision | None:
        """The revision of that name, or None."""
        return next((held for held in self.revisions if held.metadata.name == name), None)


def history_of(owner: Versioned, reader: Reader) -> History:
    """The revisions with the one of the present template: an old one taken up again, or a new one."""
    revisions = sorted_revisions(owner, reader)
    data = _data(owner.spec.template)
    number = revisions[-1].revision + 1 if revisions else 1
    equal = next((held for held in reversed(revisions) if held.data == data), None)
    if equal is None:
        made = _new(owner, data, number, reader)
        return History([*revisions, made], made, [Create(made)])
    if equal is revisions[-1]:
        return History(revisions, equal, ())
    again = replace(equal, revision=number)
    others = [held for held in revisions if held is not equal]
    return History([*others, again], again, [Update(again)])


def sorted_revisions(owner: Versioned, reader: Reader) -> list[ControllerRevision]:
    """The owner's revisions, oldest first."""
    owned = reader.owned(ControllerRevision, owner.metadata.uid)
    return sorted(owned, key=lambda held: held.revision)


def template_from_revision(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision keeps."""
    document = {key: value for key, value in revision.data["spec"]["template"].items() if key != "$patch"}
    return value_from_document(PodTemplateSpec, document)


def forgotten(owner: Versioned, revisions: Sequence[ControllerRevision], live: Container[str]) -> list[Write]:
    """The oldest revisions beyond revisionHistoryLimit; ``live`` are the names that are still needed."""
    limit = int(owner.spec.rest.get("revisionHistoryLimit", DEFAULT_HISTORY_LIMIT))
    past = [held for held in revisions if held.metadata.name not in live]
    return [Delete(held.ref) for held in past[: max(len(past) - limit, 0)]]


def _data(template: PodTemplateSpec) -> Mapping[str, Any]:
    return {"spec": {"template": {**document_from_value(template), "$patch": "replace"}}}


def _new(owner: Versioned, data: Mapping[str, Any], number: int, reader: Reader) -> ControllerRevision:
    """A revision under the first name that nothing else has."""
    meta = owner.metadata
    collisions = 0
    while True:
        label = document_hash(data, collisions)
        name = f"{meta.name}-{label}"
        if reader.find(ControllerRevision, name, meta.namespace) is None:
            break
        collisions += 1
    return ControllerRevision(
        metadata=ObjectMeta(
            name=name,
            namespace=meta.namespace,
            labels={**owner.spec.template.metadata.labels, REVISION_LABEL: label},
            owner_references=(controller_reference(owner),),
        ),
        data=data,
        revision=number,
        source=owner.source,
    )
