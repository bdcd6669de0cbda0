"""The drawing as an SVG that needs nothing beside itself: no fonts, no scripts, light and dark as the
reader has it.

``cards`` says what is drawn, ``layout`` where; here it becomes elements (https://www.w3.org/TR/SVG2/).
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from netsim.cluster.graph.boxes import FONT_SIZE, Box, Text
from netsim.cluster.graph.cards import content_of
from netsim.cluster.graph.layout import Picture, Route, lay_out
from netsim.cluster.graph.model import Drawing

LIGHT = ("#0969da", "#bc4c00", "#8250df", "#1a7f37", "#bf3989", "#0e7490", "#9a6700", "#cf222e")
DARK = ("#58a6ff", "#f0883e", "#bc8cff", "#3fb950", "#f778ba", "#39c5cf", "#d29922", "#ff7b72")
"""The colours of Services, in turn. Each is legible on the background of its theme."""

FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
HEAD = 6  # the length of an arrow's head
BASE = """\
text{font-family:%s;font-size:%dpx}
.title,.name{font-weight:bold}
.wire,.line{fill:none}
.wire{stroke-width:2}
.line{stroke-width:1.5;stroke-linejoin:round}
.dashed{stroke-dasharray:4 3}
.group,.label{fill:none;stroke:none}
.lost,.outside,.frame{stroke-dasharray:5 4}
"""
THEMES = {
    "light": """\
.page{fill:#ffffff}
text{fill:#1f2328}
.faint{fill:#59636e}
.trouble{fill:#cf222e}
.wire{stroke:#818b98}
.outside,.frame,.rack{fill:#f6f8fa;stroke:#818b98}
.host,.node,.service{fill:#ffffff;stroke:#818b98}
.router{fill:#fff8c5;stroke:#9a6700}
.switch{fill:#818b98;stroke:none}
rect.pod{fill:#ddf4ff;stroke:#b6e3ff}
rect.trouble{fill:#ffebe9;stroke:#cf222e}
""",
    "dark": """\
.page{fill:#0d1117}
text{fill:#e6edf3}
.faint{fill:#9198a1}
.trouble{fill:#ff7b72}
.wire{stroke:#767f8a}
.outside,.frame,.rack{fill:#151b23;stroke:#767f8a}
.host,.node,.service{fill:#0d1117;stroke:#767f8a}
.router{fill:#3a2d0d;stroke:#d29922}
.switch{fill:#767f8a;stroke:none}
rect.pod{fill:#0c2d4d;stroke:#1f4f80}
rect.trouble{fill:#4c1416;stroke:#ff7b72}
""",
}


def render(drawing: Drawing) -> str:
    """One ``<svg>`` document."""
    picture = lay_out(content_of(drawing))
    return "".join(f"{line}\n" for line in _lines(picture, drawing))


def _lines(picture: Picture, drawing: Drawing) -> Iterator[str]:
    width, height = _number(picture.width), _number(picture.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
    )
    yield f"<title>{escape(drawing.name)}: {escape(', '.join(drawing.facts))}</title>"
    yield f"<style>\n{_style()}</style>"
    yield f'<rect class="page" width="{width}" height="{height}"/>'
    for box in picture.boxes:
        yield from _shapes(box)
    for route in picture.routes:
        yield from _route(route)
    for x, y, colour in picture.joints:
        yield f'<circle class="{_colour("f", colour)}" cx="{_number(x)}" cy="{_number(y)}" r="2.5"/>'
    for box in picture.boxes:
        yield from _texts(box)
    yield "</svg>"


def _style() -> str:
    dark = "".join(f"  {line}\n" for line in (THEMES["dark"] + _palette(DARK)).splitlines())
    base = BASE % (FONT, FONT_SIZE)
    return f"{base}{THEMES['light']}{_palette(LIGHT)}@media (prefers-color-scheme: dark) {{\n{dark}}}\n"


def _palette(colours: tuple[str, ...]) -> str:
    """``s0`` strokes and ``f0`` fills with the first colour."""
    return "".join(f".s{n}{{stroke:{colour}}}.f{n}{{fill:{colour}}}\n" for n, colour in enumerate(colours))


def _colour(prefix: str, service: int) -> str:
    return f"{prefix}{service % len(LIGHT)}"


def _number(value: float) -> str:
    """At most two places, and none that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _shapes(box: Box) -> Iterator[str]:
    """Rectangles, the outer ones first."""
    if box.kind not in ("group", "label"):
        place = f'x="{_number(box.x)}" y="{_number(box.y)}"'
        size = f'width="{_number(box.width)}" height="{_number(box.height)}"'
        yield f'<rect class="{box.kind}" {place} {size} rx="{4 if box.kind.startswith("pod") else 6}"/>'
        if box.colour >= 0:
            bar = f'width="5" height="{_number(box.height)}" rx="2"'
            yield f'<rect class="{_colour("f", box.colour)}" {place} {bar}/>'
    for child in box.children:
        yield from _shapes(child)


def _texts(box: Box) -> Iterator[str]:
    for text in box.texts:
        yield _text(text)
    for child in box.children:
        yield from _texts(child)


def _text(text: Text) -> str:
    attributes = f'x="{_number(text.x)}" y="{_number(text.y)}"'
    if text.style:
        attributes += f' class="{text.style}"'
    if text.at_end:
        attributes += ' text-anchor="end"'
    if text.size != FONT_SIZE:
        attributes += f' style="font-size:{text.size}px"'
    return f"<text {attributes}>{escape(text.text, quote=False)}</text>"


def _route(route: Route) -> Iterator[str]:
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in route.points)
    kind = "wire" if route.colour < 0 else f"line {_colour('s', route.colour)}"
    yield f'<polyline class="{kind}{" dashed" if route.dashed else ""}" points="{points}"/>'
    if route.arrow:
        (before, _), (x, y) = route.points[-2:]
        back = (x - HEAD, y - HEAD / 2, x - HEAD, y + HEAD / 2)
        if before == x:  # upwards
            back = (x - HEAD / 2, y + HEAD, x + HEAD / 2, y + HEAD)
        corners = " ".join(f"{_number(a)},{_number(b)}" for a, b in ((x, y), back[:2], back[2:]))
        yield f'<polygon class="{_colour("f", route.colour)}" points="{corners}"/>'
