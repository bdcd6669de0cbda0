"""Reading the store: what controllers, tables and checks may ask.

``Reader`` has no method that changes anything, so a function that takes one is known not to write. Every
listing is in creation order, whatever index it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from netsim.base.errors import NotFound
from netsim.objects.core import Namespace, Pod, Service
from netsim.objects.discovery import SERVICE_NAME_LABEL, EndpointSlice
from netsim.objects.meta import Object, ObjectRef
from netsim.store.indexes import LABEL_INDEXED, Index, IndexKey
from netsim.store.resources import resource_of
from netsim.store.selectors import EQUALS, Selector, has_all

T = TypeVar("T", bound=Object)
_NOTHING: Mapping[int, Object] = {}


class Reader:
    """The objects of a cluster and the questions that may be asked about them."""

    __slots__ = ("_buckets", "_kinds", "_sequence", "_uids")

    def __init__(self) -> None:
        self._kinds: dict[str, dict[ObjectRef, Object]] = {}
        self._sequence: dict[ObjectRef, int] = {}  # rank in creation order
        self._uids: dict[str, ObjectRef] = {}
        self._buckets: dict[IndexKey, dict[int, Object]] = {}  # what each index holds, by that rank

    # --- one object

    def find_ref(self, ref: ObjectRef) -> Object | None:
        """The object, or None when there is none."""
        objects = self._kinds.get(ref.kind)
        return objects.get(ref) if objects else None

    def get_ref(self, ref: ObjectRef) -> Object:
        """The object; raises NotFound with the API server's wording."""
        found = self.find_ref(ref)
        if found is None:
            raise NotFound(resource_of(ref.kind), ref.name)
        return found

    def find(self, kind: type[T], name: str, namespace: str = "") -> T | None:
        """The object of that class, or None when there is none."""
        return cast("T | None", self.find_ref(ObjectRef(kind.kind, namespace, name)))

    def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        """The object of that class; raises NotFound with the API server's wording."""
        return cast("T", self.get_ref(ObjectRef(kind.kind, namespace, name)))

    def find_uid(self, uid: str) -> Object | None:
        """The object with that ``metadata.uid``, or None."""
        ref = self._uids.get(uid)
        return self.find_ref(ref) if ref is not None else None

    # --- many

    def list(
        self, kind: type[T], namespace: str | None = None, selector: Selector | None = None
    ) -> Sequence[T]:
        """The objects of that class, of one namespace or (None) all, that the selector matches."""
        found = self._candidates(kind.kind, namespace, selector)
        if selector is not None:
            found = [obj for obj in found if selector.matches(obj.metadata.labels)]
        return cast("Sequence[T]", found)

    def everything(self, namespace: str | None = None) -> Sequence[Object]:
        """All objects of all kinds, of one namespace or (None) all."""
        found = [obj for kind in self._kinds for obj in self._candidates(kind, namespace)]
        return sorted(found, key=lambda obj: self._sequence[obj.ref])

    def owned_by(self, uid: str) -> Sequence[Object]:
        """The objects that name this uid among their ownerReferences."""
        return self._held(IndexKey(Index.OWNER, (uid,)))

    def owned(self, kind: type[T], uid: str) -> Sequence[T]:
        """The objects of that class whose managing controller has this uid."""
        return cast("Sequence[T]", self._held(IndexKey(Index.CONTROLLER, (uid, kind.kind))))

    def pods_on(self, node: str) -> Sequence[Pod]:
        """The Pods that are bound to the node (the empty name: to none yet), in whatever phase."""
        return cast("Sequence[Pod]", self._held(IndexKey(Index.NODE, (node,))))

    def pods_selected(self, service: Service) -> Sequence[Pod]:
        """The Pods of the Service's namespace that carry every label of its selector; none without one."""
        wanted = service.spec.selector
        if not wanted:
            return []
        bucket = self._smallest(Pod.kind, service.metadata.namespace, wanted)
        pods = cast("Sequence[Pod]", _ordered(bucket))
        return pods if len(wanted) == 1 else [pod for pod in pods if has_all(pod.metadata.labels, wanted)]

    def services_selecting(self, pod: Pod) -> Sequence[Service]:
        """The Services of the Pod's namespace whose selector its labels satisfy."""
        labels, namespace = pod.metadata.labels, pod.metadata.namespace
        found: dict[int, Object] = {}
        for pair in labels.items():
            found.update(self._buckets.get(IndexKey(Index.SELECTOR, (namespace, *pair)), _NOTHING))
        services = cast("Sequence[Service]", _ordered(found))
        return [service for service in services if has_all(labels, service.spec.selector)]

    def slices_of(self, service: ObjectRef) -> Sequence[EndpointSlice]:
        """The EndpointSlices that carry the Service's name."""
        key = (EndpointSlice.kind, service.namespace, SERVICE_NAME_LABEL, service.name)
        return cast("Sequence[EndpointSlice]", self._held(IndexKey(Index.LABEL, key)))

    def holders(self, index: Index, *key: object) -> Sequence[Object]:
        """The objects found under one key of one index."""
        return self._held(IndexKey(index, key))

    def count(self, index: Index, *key: object) -> int:
        """How many objects are found under one key of one index."""
        return len(self._buckets.get(IndexKey(index, key), _NOTHING))

    def size(self, kind: type[Object]) -> int:
        """How many objects of that class there are."""
        return len(self._kinds.get(kind.kind, ()))

    def terminating(self, namespace: str) -> bool:
        """Whether the namespace is there and on its way out."""
        found = self.find(Namespace, namespace)
        return found is not None and found.metadata.deletion_timestamp is not None

    # --- how

    def _candidates(
        self, kind: str, namespace: str | None, selector: Selector | None = None
    ) -> Sequence[Object]:
        if namespace is None:
            return list(self._kinds.get(kind, {}).values())
        if not namespace:
            return [o for o in self._kinds.get(kind, {}).values() if not o.metadata.namespace]
        if selector is not None and kind in LABEL_INDEXED:
            exact = {r.key: r.values[0] for r in selector.requirements if r.operator == EQUALS}
            if exact:
                return _ordered(self._smallest(kind, namespace, exact))
        return self._held(IndexKey(Index.NAMESPACE, (namespace, kind)))

    def _smallest(self, kind: str, namespace: str, wanted: Mapping[str, str]) -> Mapping[int, Object]:
        keys = (IndexKey(Index.LABEL, (kind, namespace, *pair)) for pair in wanted.items())
        return min((self._buckets.get(key, _NOTHING) for key in keys), key=len)

    def _held(self, key: IndexKey) -> Sequence[Object]:
        return _ordered(self._buckets.get(key, _NOTHING))


def _ordered(bucket: Mapping[int, Object]) -> Sequence[Object]:
    return [bucket[rank] for rank in sorted(bucket)]
