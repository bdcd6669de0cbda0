"""The drawing as a JSON document, for pictures that others draw."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from netsim.cluster.graph.model import Drawing


def render(drawing: Drawing) -> str:
    """Field names are those of ``model``; the order of keys and lists is that of the drawing."""
    return json.dumps(_plain(drawing), indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Named tuples as mappings, other tuples as lists."""
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        if fields is None:
            return [_plain(item) for item in value]
        return {name: _plain(getattr(value, name)) for name in fields}
    return value.value if isinstance(value, Enum) else value
