"""A picture of the cluster: one value that says what is drawn, and one renderer per format.

``netsim graph`` calls ``drawing_of`` and ``renderer``. The value knows nothing of formats, a renderer
nothing of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from netsim.cluster.graph.model import Drawing, View, drawing_of

__all__ = ["FORMATS", "Drawing", "View", "drawing_of", "renderer"]

FORMATS = ("text", "mermaid", "dot", "svg", "json")
"""Each is a module here with a function ``render(drawing) -> str``."""


def renderer(name: str) -> Callable[[Drawing], str]:
    """The renderer of one of ``FORMATS``; its module is imported only now."""
    found: Callable[[Drawing], str] = import_module(f"netsim.cluster.graph.{name}").render
    return found
