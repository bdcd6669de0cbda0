"""Writing the store: versioned objects in memory, and a watch of their changes.

What the API server and etcd do for the components of a real cluster. ``resourceVersion`` is one counter
for all objects, ``metadata.generation`` rises with the spec, an update that changes nothing is no event.
The store checks no field's meaning: ``admission`` and ``objects`` do that before.
"""

from __future__ import annotations

from dataclasses import fields, replace
from enum import Enum
from typing import NamedTuple, TypeVar, cast

from netsim.base.address import uid_from_name
from netsim.base.errors import AlreadyExists, Conflict, UsageError
from netsim.base.rng import Rng
from netsim.objects.core import Namespace, Pod
from netsim.objects.meta import Object, ObjectMeta, ObjectRef
from netsim.store.events import EventLog
from netsim.store.indexes import TERMINAL_PHASES, IndexKey, index_keys
from netsim.store.reader import Reader
from netsim.store.resources import resource_of

# apimachinery util/rand: no vowels and no look-alike digits, so that no name is a word.
ALPHANUMS = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5  # apiserver names/generate.go randomLength

T = TypeVar("T", bound=Object)


class EventType(Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class StoreEvent(NamedTuple):
    """One change. ``object`` is the new value (for DELETED the last one), ``old`` the one before."""

    type: EventType
    object: Object
    old: Object | None = None


class Watch:
    """A cursor over the changes of some kinds. It begins with what exists, as ADDED events."""

    __slots__ = ("_events", "_store", "kinds", "revision")

    def __init__(self, store: Store, kinds: tuple[str, ...]) -> None:
        self._store = store
        self.kinds = kinds
        self.revision = store.revision
        self._events = [
            StoreEvent(EventType.ADDED, obj) for obj in store.everything() if not kinds or obj.kind in kinds
        ]

    def drain(self) -> list[StoreEvent]:
        """The events since the last call, in the order of the changes."""
        events, self._events = self._events, []
        self.revision = self._store.revision
        return events

    def close(self) -> None:
        """Receive nothing more."""
        self._store.forget(self)

    def append(self, event: StoreEvent) -> None:
        """For the store: note one change."""
        self._events.append(event)

    def __bool__(self) -> bool:
        """Whether ``drain`` would return anything."""
        return bool(self._events)


class Store(Reader):
    """All objects of one cluster. ``rng`` gives generated names and UIDs; ``now`` is virtual seconds.

    What is told about them stands beside them, in ``events``: no watch sees it and no revision counts it.
    """

    __slots__ = ("_generators", "_incarnations", "_keys", "_rng", "_watches", "events", "revision")

    def __init__(self, rng: Rng | None = None) -> None:
        super().__init__()
        self.revision = 0
        self.events = EventLog()
        self._rng = rng if rng is not None else Rng(1)
        self._watches: list[Watch] = []
        self._keys: dict[ObjectRef, tuple[IndexKey, ...]] = {}
        self._generators: dict[ObjectRef, Rng] = {}
        self._incarnations: dict[ObjectRef, int] = {}

    def watch(self, *kinds: str | type[Object]) -> Watch:
        """A cursor over the changes of those kinds (all, when none is given)."""
        names = tuple(kind if isinstance(kind, str) else kind.kind for kind in kinds)
        watch = Watch(self, names)
        self._watches.append(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """Stop feeding a watch."""
        self._watches = [other for other in self._watches if other is not watch]

    def create(self, obj: T, now: float) -> T:
        """Store a new object and return it as stored; raises AlreadyExists.

        An empty name is made of ``generateName`` and five seeded letters.
        """
        meta = obj.metadata
        if not meta.name:
            meta = replace(meta, name=self._generate_name(obj))
        ref = ObjectRef(obj.kind, meta.namespace, meta.name)
        if self.find_ref(ref) is not None:
            raise AlreadyExists(resource_of(ref.kind), ref.name)
        incarnation = self._incarnations[ref] = self._incarnations.get(ref, 0) + 1
        self.revision += 1
        meta = replace(
            meta,
            uid=uid_from_name(f"{self._rng.seed}{self._rng.path}/{ref}/{incarnation}"),
            resource_version=self.revision,
            generation=1,
            creation_timestamp=now,
            deletion_timestamp=None,
            deletion_grace_period_seconds=None,
        )
        stored = replace(obj, metadata=meta)
        self._sequence[ref] = self.revision
        self._uids[meta.uid] = ref
        self._put(ref, stored)
        self._emit(StoreEvent(EventType.ADDED, stored))
        return stored

    def update(self, obj: T) -> T:
        """Store a new value of an object and return it as stored.

        What the server keeps for itself (uid, creation, generation, deletion) stays as it was. Raises
        NotFound, and Conflict when the value carries another resourceVersion than the stored one (0, as in
        a manifest, is unconditional). An object that is being deleted goes with its last finalizer.
        """
        ref = obj.ref
        old = self.get_ref(ref)
        if obj.metadata.resource_version not in (0, old.metadata.resource_version):
            raise Conflict(resource_of(ref.kind), ref.name)
        if obj.metadata is not old.metadata:
            obj = replace(obj, metadata=_keep_server_fields(obj.metadata, old.metadata))
        if obj == old:
            return obj
        stored = self._modify(cast("T", old), obj)
        if _was_last_finalizer(old, stored):
            self.remove(ref)
        return stored

    def delete(self, ref: ObjectRef, now: float, grace_seconds: int | None = None) -> None:
        """Ask for an object's deletion; raises NotFound.

        A Pod that runs on a node gets a deletionTimestamp (the end of its grace period, as in Kubernetes)
        and stays until its kubelet says that it has ended; so does a Namespace, until it is empty, and any
        object with finalizers. Everything else is gone at once; its dependents are the garbage
        collector's work. ``grace_seconds`` 0 for a Pod says that nothing of it runs any more.
        """
        old = self.get_ref(ref)
        grace = _grace_seconds(old, grace_seconds)
        if grace is None and not old.metadata.finalizers:
            self.remove(ref)
            return
        end = now + (grace or 0)
        held = old.metadata.deletion_timestamp
        if held is not None and held <= end and not _has_ended(old, grace):
            return
        meta = replace(old.metadata, deletion_timestamp=end, deletion_grace_period_seconds=grace or 0)
        self._modify(old, replace(old, metadata=meta))

    def remove(self, ref: ObjectRef) -> None:
        """Take an object out at once, whatever its grace period; raises NotFound."""
        old = self.get_ref(ref)
        self.revision += 1
        last = replace(old, metadata=replace(old.metadata, resource_version=self.revision))
        del self._kinds[ref.kind][ref]
        self._drop_from_indexes(ref)
        del self._sequence[ref]
        del self._uids[old.metadata.uid]
        if ref.kind == Namespace.kind:
            self.events.forget(ref.name)
        self._emit(StoreEvent(EventType.DELETED, last, old))

    # --- how

    def _generate_name(self, obj: Object) -> str:
        prefix = obj.metadata.generate_name
        if not prefix:
            raise UsageError(f"{obj.kind}: name or generateName is required", hint="give metadata.name")
        key = ObjectRef(obj.kind, obj.metadata.namespace, prefix)
        rng = self._generators.get(key)
        if rng is None:
            rng = self._generators[key] = self._rng.derive(f"generateName/{key}")
        while True:
            name = prefix + rng.text(SUFFIX_LENGTH, ALPHANUMS)
            if self.find_ref(key._replace(name=name)) is None:
                return name

    def _modify(self, old: T, new: T) -> T:
        """Store ``new``, whose metadata is already what it shall be but for its versions."""
        self.revision += 1
        generation = old.metadata.generation + (1 if _spec_changed(old, new) else 0)
        meta = replace(new.metadata, resource_version=self.revision, generation=generation)
        stored = replace(new, metadata=meta)
        self._put(old.ref, stored)
        self._emit(StoreEvent(EventType.MODIFIED, stored, old))
        return stored

    def _put(self, ref: ObjectRef, obj: Object) -> None:
        self._kinds.setdefault(ref.kind, {})[ref] = obj
        keys = index_keys(obj)
        if keys != self._keys.get(ref, ()):
            self._drop_from_indexes(ref)
            self._keys[ref] = keys
        rank = self._sequence[ref]
        for key in keys:
            self._buckets.setdefault(key, {})[rank] = obj

    def _drop_from_indexes(self, ref: ObjectRef) -> None:
        rank = self._sequence[ref]
        for key in self._keys.pop(ref, ()):
            bucket = self._buckets[key]
            bucket.pop(rank, None)
            if not bucket:
                del self._buckets[key]

    def _emit(self, event: StoreEvent) -> None:
        for watch in self._watches:
            if not watch.kinds or event.object.kind in watch.kinds:
                watch.append(event)


def _keep_server_fields(new: ObjectMeta, old: ObjectMeta) -> ObjectMeta:
    return replace(
        new,
        uid=old.uid,
        resource_version=old.resource_version,
        generation=old.generation,
        creation_timestamp=old.creation_timestamp,
        deletion_timestamp=old.deletion_timestamp,
        deletion_grace_period_seconds=old.deletion_grace_period_seconds,
        generate_name=old.generate_name,
    )


def _was_last_finalizer(old: Object, new: Object) -> bool:
    finalized = bool(old.metadata.finalizers) and not new.metadata.finalizers
    runs = isinstance(new, Pod) and bool(new.metadata.deletion_grace_period_seconds)
    waits = isinstance(new, Namespace) or runs
    return finalized and new.metadata.deletion_timestamp is not None and not waits


def _has_ended(old: Object, grace: int | None) -> bool:
    """Whether this is the kubelet's word that a Pod, which is being deleted, has ended."""
    return isinstance(old, Pod) and grace is None and bool(old.metadata.deletion_grace_period_seconds)


def _spec_changed(old: Object, new: Object) -> bool:
    """Whether what is declared changed: the spec, or all but metadata and status for kinds without one."""
    names = [field.name for field in fields(new) if field.name not in ("metadata", "status", "source")]
    if "spec" in names:
        names = ["spec"]
    return any(getattr(old, name) != getattr(new, name) for name in names)


def _grace_seconds(obj: Object, wanted: int | None) -> int | None:
    """How long the object stays after a deletion; None when nothing holds it.

    A Pod that no node has taken, or that has ended, is not waited for (registry/core/pod/strategy.go,
    CheckGracefulDelete).
    """
    if isinstance(obj, Namespace):
        return 0
    if not isinstance(obj, Pod) or not obj.spec.node_name or obj.status.phase in TERMINAL_PHASES:
        return None
    grace = obj.spec.termination_grace_period_seconds if wanted is None else max(wanted, 0)
    return grace or None
