"""Controllers that own what they make: the reference that says so, the way back from it, and whose a Pod is.

A controller manages the Pods that name it. It lets go of one whose labels its selector does not match any
more, and takes one that no controller manages and whose labels match. Source: PodControllerRefManager in
kube-controller-manager ``pkg/controller/controller_ref_manager.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple, cast

from netsim.controllers.controller import Update
from netsim.controllers.podstate import is_active
from netsim.objects.core import Pod
from netsim.objects.meta import Object, ObjectRef, OwnerReference
from netsim.store.indexes import Index
from netsim.store.reader import Reader
from netsim.store.selectors import Selector
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


def takers(event: StoreEvent, kind: type[Object], reader: Reader) -> Iterable[ObjectRef]:
    """The owners of that class that may want to take a Pod which no controller manages."""
    pod = event.object
    if isinstance(pod, Pod) and event.type is not EventType.DELETED and pod.metadata.controller() is None:
        yield from (owner.ref for owner in reader.list(kind, pod.metadata.namespace))


class Claim(NamedTuple):
    """The Pods that an owner manages from now on, and the writes that make it so."""

    pods: list[Pod]
    writes: list[Update]


def claim(
    owner: Object, selector: Selector, reader: Reader, named: Callable[[Pod], bool] = lambda _: True
) -> Claim:
    """Whose Pods there are. ``named`` says whether a Pod has a name that the owner could have given it."""
    pods: list[Pod] = []
    writes: list[Update] = []
    uid = owner.metadata.uid
    for pod in reader.owned(Pod, uid):
        if selector.matches(pod.metadata.labels) and named(pod):
            pods.append(pod)
        elif pod.metadata.deletion_timestamp is None:
            others = tuple(held for held in pod.metadata.owner_references if held.uid != uid)
            writes.append(Update(replace(pod, metadata=replace(pod.metadata, owner_references=others))))
    if owner.metadata.deletion_timestamp is None:
        for orphan in reader.holders(Index.ORPHAN, owner.metadata.namespace):
            loose = cast(Pod, orphan)
            if is_active(loose) and selector.matches(loose.metadata.labels) and named(loose):
                owners = (*loose.metadata.owner_references, controller_reference(owner))
                taken = replace(loose, metadata=replace(loose.metadata, owner_references=owners))
                pods.append(taken)
                writes.append(Update(taken))
    return Claim(pods, writes)


def _declaration_changed(event: StoreEvent) -> bool:
    """Whether more than the status and the versions of the object changed."""
    assert event.old is not None
    old, new = event.old.metadata, event.object.metadata
    if old.generation != new.generation:
        return True
    return replace(old, resource_version=new.resource_version) != new
