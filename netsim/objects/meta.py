"""What all objects share: metadata, selectors, conditions, and the base class.

Field names are those of the Kubernetes API in snake case. A dataclass holds the fields that netsim gives
a meaning to; ``rest`` keeps, in JSON form, the known fields that it does not model, so that nothing a
user wrote is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, NoReturn

from netsim.base.errors import Source


class _EmptyMapping(dict[str, Any]):
    """A dict that stays empty. It is hashable, so that it may be the default of a dataclass field."""

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this mapping is shared and must stay empty")

    __setitem__ = update = setdefault = __ior__ = _refuse

    def __hash__(self) -> int:  # type: ignore[override]  # dict declares __hash__ = None
        return 0


EMPTY: Mapping[str, Any] = _EmptyMapping()


class ObjectRef(NamedTuple):
    """An object's identity; ``namespace`` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class OwnerReference:
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """``creation_timestamp`` and ``deletion_timestamp`` are virtual seconds since the cluster's start."""

    name: str = ""
    namespace: str = ""
    generate_name: str = ""
    uid: str = ""
    resource_version: int = 0
    generation: int = 0
    creation_timestamp: float | None = None
    deletion_timestamp: float | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    rest: Mapping[str, Any] = EMPTY

    def controller(self) -> OwnerReference | None:
        """The owner that manages this object, or None."""
        return next((owner for owner in self.owner_references if owner.controller), None)


@dataclass(frozen=True, slots=True)
class LabelSelectorRequirement:
    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    match_labels: Mapping[str, str] = EMPTY
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str  # True, False, Unknown
    reason: str = ""
    message: str = ""
    last_transition_time: float | None = None
    rest: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """Base of every Kubernetes object. ``source`` is where it was written, None if netsim made it."""

    api_version: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    namespaced: ClassVar[bool] = True

    metadata: ObjectMeta = ObjectMeta()
    source: Source | None = field(default=None, compare=False)
    rest: Mapping[str, Any] = EMPTY

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.kind, self.metadata.namespace, self.metadata.name)
