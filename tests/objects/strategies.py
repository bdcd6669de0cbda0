"""Hypothesis strategies for objects of every modelled kind, made from the fields of their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from netsim.objects.codec import KINDS
from netsim.objects.meta import Object

TEXT = st.text("abcXYZ09-. é", max_size=8)
NUMBERS = st.integers(0, 2**31 - 1)
SECONDS = st.integers(0, 10**9).map(float)
JSON = st.recursive(
    TEXT | NUMBERS | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {str: TEXT, int: NUMBERS, bool: st.booleans(), float: SECONDS}


def objects(*, with_rest: bool) -> st.SearchStrategy[Object]:
    """Any object; ``with_rest``: with fields that its classes do not name, too."""
    return st.one_of([_instances(kind, with_rest) for kind in KINDS])


def _instances(cls: type[Any], with_rest: bool) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    parts = {}
    for field in fields(cls):
        if field.name == "rest":
            # Names that no field has: what a class names goes to its field, and comes back as that.
            unknown = st.dictionaries(TEXT.map(lambda text: f"x-{text}"), JSON, max_size=2)
            parts["rest"] = unknown if with_rest else st.just({})
        elif field.name != "source":
            parts[field.name] = _values(hints[field.name], with_rest)
    return st.builds(cls, **parts)


def _values(hint: Any, with_rest: bool) -> st.SearchStrategy[Any]:
    if hint in SIMPLE:
        return SIMPLE[hint]
    if is_dataclass(hint):
        return _instances(hint, with_rest)  # type: ignore[arg-type]  # a class, not an instance
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        return st.lists(_values(arguments[0], with_rest), max_size=2).map(tuple)
    if get_origin(hint) is Mapping:
        return st.dictionaries(TEXT, TEXT, max_size=2)
    assert get_origin(hint) is UnionType, hint
    choices = [st.none() if part is type(None) else _values(part, with_rest) for part in arguments]
    return st.one_of(choices)
