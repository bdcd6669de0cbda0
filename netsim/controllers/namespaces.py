"""Deleting a Namespace deletes all that is in it, and then the Namespace.

Source: kube-controller-manager ``pkg/controller/namespace/deletion``.
"""

from __future__ import annotations

from collections.abc import Iterable

from netsim.controllers.controller import Delete, Outcome, Remove, Wait
from netsim.objects.core import Namespace
from netsim.objects.meta import ObjectRef
from netsim.store.reader import Reader
from netsim.store.resources import resource_of
from netsim.store.store import EventType, StoreEvent


class NamespaceController:
    """Subjects are the Namespaces that are being deleted."""

    name = "namespace-controller"
    kinds: tuple[str, ...] = ()

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Namespace itself, and that of anything that came or went while it is being deleted."""
        if isinstance(event.object, Namespace):
            yield event.object.ref
        elif event.type is not EventType.MODIFIED and reader.terminating(event.object.metadata.namespace):
            yield ObjectRef(Namespace.kind, "", event.object.metadata.namespace)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Ask for the deletion of the content; when there is none left, let the Namespace go."""
        if not reader.terminating(subject.name):
            return Outcome()
        content = reader.everything(subject.name)
        if not content:
            return Outcome([Remove(subject)])
        counts: dict[str, int] = {}
        for obj in content:
            resource = resource_of(obj.kind)
            counts[resource] = counts.get(resource, 0) + 1
        remaining = ", ".join(f"{resource} has {n} resource instances" for resource, n in counts.items())
        wait = Wait(subject, f"Some resources are remaining: {remaining}", blocked=False)
        return Outcome(
            [Delete(obj.ref) for obj in content if obj.metadata.deletion_timestamp is None], waits=[wait]
        )
