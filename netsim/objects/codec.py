"""Documents (plain dicts, in the form of the Kubernetes API) ↔ the objects of this room.

Driven by the dataclass fields: a class's converters are compiled at its first use and kept. ``manifest``
decodes what users write, after validation; ``api`` and the tables of the command line encode. Nothing is
validated here: a document that breaks the API's types raises whatever Python makes of it.

* A field that equals its default and is empty in Go's sense is left out, as ``omitempty`` does, so that a
  document comes out with the fields that ``kubectl get -o yaml`` prints.
* ``rest`` of a class holds the fields that the class does not name, and goes back to where it came from.
* Every float of the model is a virtual time; in documents it is RFC 3339 text in whole seconds (metav1.Time)
  counted from ``EPOCH``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from netsim.base.errors import Source
from netsim.objects import apps, core, discovery, meta, workloads
from netsim.objects.meta import Object

Document = dict[str, Any]
T = TypeVar("T")

KINDS: tuple[type[Object], ...] = (
    core.Namespace,
    core.Node,
    core.Pod,
    core.Service,
    core.Endpoints,
    core.ConfigMap,
    core.Secret,
    discovery.EndpointSlice,
    apps.ReplicaSet,
    apps.Deployment,
    workloads.ReplicationController,
    workloads.StatefulSet,
    workloads.DaemonSet,
    workloads.ControllerRevision,
    workloads.Job,
)
"""The kinds that netsim models, in no order of importance."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""What virtual second 0 is called in documents. A fixed day, so that output does not depend on today."""

_UPPER_CASE_WORDS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "fqdn": "FQDN",
    "ipv6": "IPv6",
}
"""Words that Kubernetes writes in capitals inside a field name (``podCIDRs``); a first word stays small."""

_ALWAYS_SHOWN = {
    (apps.ReplicaSetStatus, "replicas"),
    (workloads.ControllerRevision, "revision"),
    (workloads.DaemonSetStatus, "current_number_scheduled"),
    (workloads.DaemonSetStatus, "desired_number_scheduled"),
    (workloads.DaemonSetStatus, "number_misscheduled"),
    (workloads.DaemonSetStatus, "number_ready"),
    (workloads.StatefulSetStatus, "available_replicas"),
    (workloads.StatefulSetStatus, "replicas"),
    (core.ContainerStatus, "ready"),
    (core.ContainerStatus, "restart_count"),
    (core.ContainerStatus, "started"),
    (discovery.EndpointPort, "name"),
}
"""Fields that the API prints even when they are empty: no ``omitempty``, or a pointer that is always set."""

_BY_KIND = {(cls.api_version, cls.kind): cls for cls in KINDS}


class _FieldPlan(NamedTuple):
    key: str
    name: str
    decode: Callable[[Any], Any] | None  # None: the value is taken as it is
    encode: Callable[[Any], Any] | None
    default: Any
    omit_default: bool


class _ClassPlan(NamedTuple):
    by_key: dict[str, _FieldPlan]
    in_order: tuple[_FieldPlan, ...]
    keeps_rest: bool


_plans: dict[type[Any], _ClassPlan] = {}
_names: dict[str, Any] = {**vars(meta), **vars(core), **vars(discovery), **vars(apps), **vars(workloads)}


def class_of_kind(api_version: str, kind: str) -> type[Object] | None:
    """The class that models a kind at an API version, or None when netsim does not model it."""
    return _BY_KIND.get((api_version, kind))


def object_from_document(document: Mapping[str, Any], source: Source | None = None) -> Object:
    """The object that a document describes; raises KeyError when its kind is not one of ``KINDS``."""
    cls = _BY_KIND[document["apiVersion"], document["kind"]]
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    return _decode(cls, body, {"source": source})


def document_from_object(item: Object) -> Document:
    """The document of an object, as the API server would serve it. Shares ``rest`` with the object."""
    return {"apiVersion": item.api_version, "kind": item.kind, **document_from_value(item)}


def value_from_document(cls: type[T], document: Mapping[str, Any]) -> T:
    """A part of an object (``PodSpec``, ``ServicePort`` …) from its part of a document."""
    return _decode(cls, document, {})


def document_from_value(value: Any) -> Document:
    """The document of a part of an object."""
    document: Document = {}
    for plan in _plan(type(value)).in_order:
        item = getattr(value, plan.name)
        if item is None or (plan.omit_default and item == plan.default):
            continue
        document[plan.key] = plan.encode(item) if plan.encode is not None else item
    rest = getattr(value, "rest", None)
    if rest:
        document.update(rest)
    return document


def key_from_name(name: str) -> str:
    """``set_hostname_as_fqdn`` → ``setHostnameAsFQDN``: a field's name in documents."""
    first, *others = name.split("_")
    return first + "".join(_UPPER_CASE_WORDS.get(word) or word.capitalize() for word in others)


def render_time(seconds: float) -> str:
    """A virtual time as the API prints it: ``2026-01-01T00:00:05Z``, cut to whole seconds."""
    return (EPOCH + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_from_text(text: str) -> float:
    """The virtual time of RFC 3339 text; raises ValueError when it is not RFC 3339."""
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH).total_seconds()


def _decode(cls: type[T], document: Mapping[str, Any], values: dict[str, Any]) -> T:
    plan = _plan(cls)
    by_key = plan.by_key
    rest: Document = {}
    for key, value in document.items():
        if value is None:
            continue
        known = by_key.get(key)
        if known is None:
            rest[key] = value
        else:
            values[known.name] = value if known.decode is None else known.decode(value)
    if rest:
        if not plan.keeps_rest:
            raise ValueError(f"{cls.__name__} has no field {next(iter(rest))!r}")
        values["rest"] = rest
    return cls(**values)


def _plan(cls: type[Any]) -> _ClassPlan:
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _compile(cls)
    return plan


def _compile(cls: type[Any]) -> _ClassPlan:
    listed = fields(cls)
    plans = tuple(_field_plan(cls, item) for item in listed if item.name not in ("rest", "source"))
    keeps_rest = any(item.name == "rest" for item in listed)
    return _ClassPlan({plan.key: plan for plan in plans}, plans, keeps_rest)


def _field_plan(cls: type[Any], item: Field[Any]) -> _FieldPlan:
    decode, encode = _converters(cls, item)
    default = None if item.default is MISSING else item.default
    empty = item.default is not MISSING and default is not None and _is_empty(default)
    omit = empty and (cls, item.name) not in _ALWAYS_SHOWN
    return _FieldPlan(key_from_name(item.name), item.name, decode, encode, default, omit)


def _is_empty(default: Any) -> bool:
    """Whether Go's ``omitempty`` would drop a default: a zero value, or a struct of nothing but such."""
    if hasattr(default, "__dataclass_fields__"):
        return not document_from_value(default)
    return not default


_Converters = tuple[Callable[[Any], Any] | None, Callable[[Any], Any] | None]

_BY_ANNOTATION: dict[str, _Converters] = {
    "str": (None, None),
    "int": (None, None),
    "bool": (None, None),
    "str | None": (None, None),
    "int | None": (None, None),
    "bool | None": (None, None),
    "int | str | None": (None, None),
    "Mapping[str, str]": (None, dict),
    "Mapping[str, Any]": (None, dict),
    "tuple[str, ...]": (tuple, list),
    "float | None": (time_from_text, render_time),
}
"""Converters of the annotations that name no class of the model, by their text (evaluating one is slow)."""


def _converters(cls: type[Any], item: Field[Any]) -> _Converters:
    if cls is meta.ObjectMeta and item.name == "resource_version":
        return int, str
    annotation = str(item.type)
    simple = _BY_ANNOTATION.get(annotation)
    if simple is not None:
        return simple
    kind = eval(annotation, _names)  # the text of an annotation in our own modules
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return (
            lambda items: tuple(_decode(element, item, {}) for item in items),
            lambda items: [document_from_value(item) for item in items],
        )
    part = next((choice for choice in get_args(kind) if choice is not type(None)), kind)
    return lambda document: _decode(part, document, {}), document_from_value
