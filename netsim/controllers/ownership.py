"""Controllers that own what they make: the reference that says so, and the way back from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from netsim.objects.meta import Object, ObjectRef, OwnerReference
from netsim.store.store import EventType, StoreEvent


def controller_reference(owner: Object) -> OwnerReference:
    """The ownerReference that makes ``owner`` the managing controller (metav1.NewControllerRef)."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def owners_concerned(event: StoreEvent, kind: type[Object]) -> Iterable[ObjectRef]:
    """The owner of that class, unless only its status changed, or that of the dependent that changed."""
    obj = event.object
    if isinstance(obj, kind):
        if event.type is not EventType.MODIFIED or _declaration_changed(event):
            yield obj.ref
    elif (owner := obj.metadata.controller()) is not None and owner.kind == kind.kind:
        yield ObjectRef(owner.kind, obj.metadata.namespace, owner.name)


def _declaration_changed(event: StoreEvent) -> bool:
    """Whether more than the status and the versions of the object changed."""
    assert event.old is not None
    old, new = event.old.metadata, event.object.metadata
    if old.generation != new.generation:
        return True
    return replace(old, resource_version=new.resource_version) != new
