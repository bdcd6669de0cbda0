"""The garbage collector: what names only owners that are gone is deleted (background propagation).

Source: kube-controller-manager ``pkg/controller/garbagecollector``.
"""

from __future__ import annotations

from collections.abc import Iterable

from netsim.controllers.controller import Delete, Outcome
from netsim.objects.meta import ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent


class GarbageCollector:
    """Subjects are the dependents."""

    name = "garbage-collector-controller"
    kinds: tuple[str, ...] = ()

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The dependents of what was deleted, and every dependent that is new."""
        if event.type is EventType.DELETED:
            return [dependent.ref for dependent in reader.owned_by(event.object.metadata.uid)]
        is_new = (
            event.old is None or event.old.metadata.owner_references != event.object.metadata.owner_references
        )
        return [event.object.ref] if is_new and event.object.metadata.owner_references else []

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Delete the subject when none of its owners exists any more."""
        dependent = reader.find_ref(subject)
        if dependent is None or dependent.metadata.deletion_timestamp is not None:
            return Outcome()
        owners = dependent.metadata.owner_references
        if not owners or any(reader.find_uid(owner.uid) is not None for owner in owners):
            return Outcome()
        return Outcome([Delete(subject)])
