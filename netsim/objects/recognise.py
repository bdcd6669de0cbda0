"""Which kind is a document of? The question that ``kubectl`` asks before anything else.

``manifest`` calls ``flatten`` to take Lists apart and ``recognise`` for each document.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from netsim.base.errors import Problem
from netsim.objects import known_fields
from netsim.objects.codec import class_of_kind
from netsim.objects.spelling import did_you_mean, nearest
from netsim.objects.yaml_tree import YamlDocument

TOPOLOGY_API = "netsim.dev/v1alpha1"
TOPOLOGY_KIND = "Topology"
_TOPOLOGY_GROUP = "netsim.dev"
_FORMER_GROUPS = ("extensions",)  # served by Kubernetes once; so its kinds are not those of strangers


class Recognised(Enum):
    """What is to be done with a document."""

    TOPOLOGY = "the Topology"
    MODELLED = "a kind that netsim models"
    BUILT_IN = "a kind of Kubernetes that netsim does not model"
    FOREIGN = "a kind of another group"


def flatten(document: YamlDocument) -> Iterator[YamlDocument]:
    """The objects in a ``List`` (or ``ServiceList`` …), or the document itself when it is none."""
    value = document.value
    kind = value.get("kind") if isinstance(value, dict) else None
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield document
        return
    inherited = {} if kind == "List" else {"apiVersion": value.get("apiVersion"), "kind": kind[:-4]}
    for index, item in enumerate(items):
        if item is None:
            continue
        filled = {**inherited, **item} if isinstance(item, dict) else item
        yield from flatten(document.part(("items", index), filled))


def recognise(document: YamlDocument) -> Recognised | Problem:
    """What a document is, or what is wrong with its ``apiVersion`` and ``kind``."""
    value = document.value
    if not isinstance(value, dict):
        got = {list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        message = f"json: cannot unmarshal {got} into Go value of type map[string]interface {{}}"
        hint = "a document is one object, with apiVersion, kind and metadata; `---` stands between two"
        return Problem(document.source(), message, hint=hint)
    missing = [field for field in ("apiVersion", "kind") if not value.get(field)]
    if missing:
        return _not_set(document, missing)
    for field in ("apiVersion", "kind"):
        if not isinstance(value[field], str):
            return Problem(document.source((field,)), f"{field}: must be text", field, "write it in quotes")
    return _known(document, value["apiVersion"], value["kind"])


def _not_set(document: YamlDocument, missing: list[str]) -> Problem:
    message = ", ".join(f"{field} not set" for field in missing)
    kind = document.value.get("kind")
    hint = ""
    if missing == ["apiVersion"] and isinstance(kind, str):
        hint = _right_version(kind)
    elif len(missing) == 2:
        hint = "each document starts with apiVersion and kind"
    return Problem(document.source(), message, missing[0], hint)


def _known(document: YamlDocument, api_version: str, kind: str) -> Recognised | Problem:
    if (api_version, kind) == (TOPOLOGY_API, TOPOLOGY_KIND):
        return Recognised.TOPOLOGY
    if class_of_kind(api_version, kind) is not None:
        return Recognised.MODELLED
    if known_fields.is_built_in(api_version, kind):
        return Recognised.BUILT_IN
    group, slash, version = api_version.rpartition("/")
    if "/" in group or (slash and not (group and version)):
        message = f"unexpected GroupVersion string: {api_version}"
        return Problem(document.source(("apiVersion",)), message, "apiVersion", _right_version(kind))
    if (
        group == _TOPOLOGY_GROUP
        or group in known_fields.groups()
        or group in _FORMER_GROUPS
        or "." not in group
    ):
        return _no_match(document, api_version, kind, group)
    return Recognised.FOREIGN


def _no_match(document: YamlDocument, api_version: str, kind: str, group: str) -> Problem:
    message = f'no matches for kind "{kind}" in version "{api_version}"'
    if group == _TOPOLOGY_GROUP or kind == TOPOLOGY_KIND:
        hint = f"write `apiVersion: {TOPOLOGY_API}` and `kind: {TOPOLOGY_KIND}`"
        return Problem(document.source(("apiVersion",)), message, "apiVersion", hint)
    if known_fields.versions_of(kind):
        return Problem(document.source(("apiVersion",)), message, "apiVersion", _right_version(kind))
    meant = nearest(kind, known_fields.built_in_kinds())
    hint = did_you_mean(kind, [meant]) if meant else ""
    if meant and not known_fields.is_built_in(api_version, meant):
        hint = f"{hint} {_right_version(meant)}"
    return Problem(document.source(("kind",)), message, "kind", hint)


def _right_version(kind: str) -> str:
    versions: list[Any] = [TOPOLOGY_API] if kind == TOPOLOGY_KIND else known_fields.versions_of(kind)
    return f"{kind} is in {versions[0]}: write `apiVersion: {versions[0]}`" if versions else ""
