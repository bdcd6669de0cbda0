"""Strict decoding: are a document's fields known to its kind, and of the right type?

``manifest`` calls ``conform`` for every document before defaults and validation, as the API server decodes
(``fieldValidation=Strict``) before it does anything else. What the fields are comes from
``known_fields.json``, which ``tests/tools/generate_known_fields.py`` writes:

* ``kinds``: ``apps/v1/Deployment`` → the kind's type; ``cluster``: the kinds without a namespace;
* ``types``: a type's fields, ``name=code`` each; a code is the name of a type, ``[]`` or ``{}`` before
  another code for a list or a map of it, or s (string), i (int32), l (int64), n (float64), b (bool), I
  (IntOrString), q (Quantity), t (Time), B (bytes), a (anything).

The file is read at the first use, and a type's fields are parsed at theirs. Messages are those of the API
server (sigs.k8s.io/json), which prints Go types. This module does not judge values: ``validate`` does.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from netsim.objects.field_errors import render_path
from netsim.objects.spelling import did_you_mean
from netsim.objects.yaml_tree import Path

_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_MISPLACED_IN = frozenset(
    [
        "spec",
        "metadata",
        "template",
        "containers",
        "ports",
        "selector",
        "strategy",
        "rollingUpdate",
        "dnsConfig",
        "resources",
    ]
)
"""The fields under which a misplaced field is looked for: where a user may well have meant to write."""
_OFTEN_MEANT = {
    ("core.v1.ContainerPort", "port"): "containerPort",
    ("core.v1.ContainerPort", "targetPort"): "containerPort",
    ("core.v1.ServicePort", "containerPort"): "targetPort",
    ("core.v1.ServiceSpec", "matchLabels"): "selector",
    ("core.v1.PodSpec", "container"): "containers",
    ("core.v1.ServiceSpec", "port"): "ports",
}
"""Words that stand for another one of their neighbours though they are not spelled like it."""

_GO_TYPES = {
    "s": "string",
    "i": "int32",
    "l": "int64",
    "n": "float64",
    "b": "bool",
    "I": "int32",  # what is not text is read as a number
    "q": "resource.Quantity",
    "t": "v1.Time",
    "B": "[]uint8",
}
_GO_NAMED_STRINGS = {
    ("core.v1.ServiceSpec", "type"): "v1.ServiceType",
    ("core.v1.ServiceSpec", "sessionAffinity"): "v1.ServiceAffinity",
    ("core.v1.ServiceSpec", "externalTrafficPolicy"): "v1.ServiceExternalTrafficPolicy",
    ("core.v1.ServiceSpec", "internalTrafficPolicy"): "v1.ServiceInternalTrafficPolicy",
    ("core.v1.ServiceSpec", "ipFamilyPolicy"): "v1.IPFamilyPolicy",
    ("core.v1.ServicePort", "protocol"): "v1.Protocol",
    ("core.v1.ContainerPort", "protocol"): "v1.Protocol",
    ("core.v1.EndpointPort", "protocol"): "v1.Protocol",
    ("discovery.v1.EndpointPort", "protocol"): "v1.Protocol",
    ("discovery.v1.EndpointSlice", "addressType"): "v1.AddressType",
    ("core.v1.PodSpec", "restartPolicy"): "v1.RestartPolicy",
    ("core.v1.PodSpec", "dnsPolicy"): "v1.DNSPolicy",
    ("core.v1.Container", "imagePullPolicy"): "v1.PullPolicy",
    ("core.v1.Toleration", "operator"): "v1.TolerationOperator",
    ("core.v1.Toleration", "effect"): "v1.TaintEffect",
    ("apps.v1.DeploymentStrategy", "type"): "v1.DeploymentStrategyType",
}
"""String fields whose Go type has a name; the schemas say only "string"."""

_HINTS = {
    ("number", "string"): "write it in quotes",
    ("bool", "string"): "write it in quotes: YAML reads yes, no, on, off, y, n, true and false as booleans",
    ("string", "bool"): "write true or false, without quotes",
}


class Mistake(NamedTuple):
    """What is wrong with one field; ``of_type`` if its value could not be read at all."""

    where: Path
    message: str
    hint: str
    of_type: bool


class _GoField(NamedTuple):
    """The field of a Go struct that is being read: what encoding/json names in its errors."""

    struct: str
    name: str
    path: str  # from the root, without indices and map keys


class _Known(NamedTuple):
    kinds: Mapping[str, str]
    cluster_scoped: frozenset[str]
    types: Mapping[str, str]


def is_built_in(api_version: str, kind: str) -> bool:
    """Whether Kubernetes itself serves the kind at that version."""
    return f"{api_version}/{kind}" in _known().kinds


def is_namespaced(kind: str) -> bool:
    """Whether a built-in kind has a namespace."""
    return kind not in _known().cluster_scoped


def versions_of(kind: str) -> list[str]:
    """The API versions in which Kubernetes serves a kind, the one to use first."""
    found = [name.removesuffix(f"/{kind}") for name in _known().kinds if name.endswith(f"/{kind}")]
    return sorted(found, reverse=True)


def groups() -> frozenset[str]:
    """The API groups that Kubernetes itself serves, the core as the empty string."""
    return frozenset(name.rpartition("/")[0].rpartition("/")[0] for name in _known().kinds)


def built_in_kinds() -> list[str]:
    """The names of all built-in kinds."""
    return sorted({name.rpartition("/")[2] for name in _known().kinds})


def conform(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """A copy of a document of a built-in kind with the fields that could be read, and what is wrong with
    the rest.

    As in Go, a field that is null is absent and a null item of a list is an empty one.
    """
    mistakes: list[Mistake] = []
    kind_type = _known().kinds[f"{document['apiVersion']}/{document['kind']}"]
    return _Check(kind_type, mistakes).struct(document, kind_type, (), ""), mistakes


def conform_metadata(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """The same for the ``metadata`` of a document whose other fields are not known."""
    mistakes: list[Mistake] = []
    metadata_type = "meta.v1.ObjectMeta"
    field = _GoField(str(document["kind"]), "metadata", "metadata")
    metadata = document.get("metadata")
    if metadata is not None:
        metadata = _Check(metadata_type, mistakes).value(metadata, metadata_type, ("metadata",), field)
    return metadata or {}, mistakes


class _Check:
    """One walk through one document."""

    def __init__(self, kind_type: str, mistakes: list[Mistake]) -> None:
        self._kind_type = kind_type
        self._mistakes = mistakes

    def struct(self, value: Mapping[str, Any], type_name: str, where: Path, go_path: str) -> dict[str, Any]:
        known = _fields(type_name)
        result = {}
        for key, item in value.items():
            code = known.get(key)
            if code is None:
                self._unknown(key, type_name, where)
            elif code == "s" and type(item) is str:  # most fields
                result[key] = item
            elif item is not None:
                field = _GoField(type_name, key, f"{go_path}.{key}" if go_path else key)
                read = self.value(item, code, (*where, key), field)
                if read is not None:
                    result[key] = read
        return result

    def value(self, value: Any, code: str, where: Path, field: _GoField) -> Any:
        """The value if it has the type, else None and a mistake."""
        if code[0] == "[" or code[0] == "{":
            return self._items(value, code, where, field)
        if "." in code:
            if type(value) is dict:
                return self.struct(value, code, where, field.path)
        elif _is_simple(value, code):
            return value
        self._mistyped(value, code, where, field)
        return None

    def _items(self, value: Any, code: str, where: Path, field: _GoField) -> Any:
        inner = code[2:]
        if code[0] == "[" and type(value) is list:
            read = [self._item(item, inner, (*where, index), field) for index, item in enumerate(value)]
            return [item for item in read if item is not None]
        if code[0] == "{" and type(value) is dict:
            pairs = {key: self._item(item, inner, (*where, key), field) for key, item in value.items()}
            return {key: item for key, item in pairs.items() if item is not None}
        self._mistyped(value, code, where, field)
        return None

    def _item(self, value: Any, code: str, where: Path, field: _GoField) -> Any:
        if value is None:
            return {} if "." in code else "" if code == "s" else None
        return self.value(value, code, where, field)

    def _unknown(self, key: str, type_name: str, where: Path) -> None:
        known = _fields(type_name)
        meant = _OFTEN_MEANT.get((type_name, key))
        hint = f'did you mean "{meant}"?' if meant else did_you_mean(key, known)
        if not hint:
            place = _place_of(key, type_name, render_path(where)) or _place_of(key, self._kind_type, "")
            hint = f'"{key}" belongs in {place}' if place else ""
        message = f'unknown field "{render_path((*where, key))}"'
        self._mistakes.append(Mistake((*where, key), message, hint, of_type=False))

    def _mistyped(self, value: Any, code: str, where: Path, field: _GoField) -> None:
        got = _json_kind(value)
        hint = _type_hint(value, got, code)
        go_type = (_GO_NAMED_STRINGS.get((field.struct, field.name)) if code == "s" else "") or _go_type(code)
        if code in ("i", "l") and got == "number":
            got = f"number {json.dumps(value)}"
        struct = field.struct.rpartition(".")[2]
        message = f"json: cannot unmarshal {got} into Go struct field {struct}.{field.path} of type {go_type}"
        self._mistakes.append(Mistake(where, message, hint, of_type=True))


def _is_simple(value: Any, code: str) -> bool:
    kind = type(value)
    if code == "a":
        return True
    if code == "i":
        return kind is int and value in _INT32
    if code == "b":
        return kind is bool
    if code == "I":
        return kind is str or (kind is int and value in _INT32)
    if code in ("s", "t", "B"):
        return kind is str
    if code == "l":
        return kind is int and value in _INT64
    if code == "q":
        return kind in (str, int, float)
    return kind in (int, float)


def _json_kind(value: Any) -> str:
    kinds = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return kinds[type(value)]


def _go_type(code: str) -> str:
    if code.startswith("[]"):
        return "[]" + _go_type(code[2:])
    if code.startswith("{}"):
        return "map[string]" + _go_type(code[2:])
    if "." in code:
        return code.partition(".")[2]
    return _GO_TYPES[code]


def _type_hint(value: Any, got: str, code: str) -> str:
    if code.startswith("[]") and got == "object":
        return "this is a list: start each item with `- `"
    if code == "[]s" and got == "string":
        return f"this is a list: write {json.dumps(value.split(), ensure_ascii=False)}"
    if "." in code and got == "array":
        return "this is one object, not a list: remove the `- `"
    if code in ("i", "l"):
        quoted = got == "string" and value.lstrip("-").isdigit()
        return "write the number without quotes" if quoted else "write a whole number"
    return _HINTS.get((got, _GO_TYPES.get(code, "string" if code == "{}s" else "")), "")


def _place_of(key: str, type_name: str, start: str) -> str:
    """Where under a type a field of that name is, the shortest way: ``spec.template.spec.containers[]``."""
    queue = deque([(start, type_name)])
    seen = {type_name}
    while queue:
        place, name = queue.popleft()
        known = _fields(name)
        if key in known and place != start:
            return place
        for field, code in known.items():
            inner = code.lstrip("[]{}")
            if "." in inner and field in _MISPLACED_IN and inner not in seen:
                seen.add(inner)
                step = f"{field}[]" if code.startswith("[]") else field
                queue.append((f"{place}.{step}" if place else step, inner))
    return ""


@cache
def _fields(type_name: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in _known().types[type_name].split())


@cache
def _known() -> _Known:
    text = FilePath(__file__).with_suffix(".json").read_text(encoding="utf-8")
    data = json.loads(text)
    return _Known(data["kinds"], frozenset(data["cluster"]), data["types"])
