"""Boxes of the SVG: how large a card is, and where its lines, groups and rows stand in it.

``layout`` puts the boxes beside each other and draws the lines between them. Lengths are pixels. Text is
set in a monospaced font, so its width is known without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from netsim.cluster.graph.cards import Card, Group, Line, Piece, Row

FONT_SIZE = 12
ADVANCE = 0.62  # of the font size, per character: the widest of the usual monospaced fonts (SF Mono)
LINE_HEIGHT, ROW_HEIGHT = 18, 22
BASELINE = 13  # from the top of a line
PAD, GAP = 10, 14
BETWEEN = 2 * FONT_SIZE  # a line's left and right text
LANE = 8
ARROW = 12  # from the last lane to the row
BAR_HEIGHT, DROP = 6, 18  # the switch of a subnet, and the wires from it to the cards

Point = tuple[float, float]
Size = tuple[float, float]
Arrows = Sequence[Mapping[str, bool]]
"""By Service: the targets of its arrows, and whether each is dashed."""


class Text(NamedTuple):
    """``x`` and ``y`` are where its baseline begins, or ends if it is ``at_end``."""

    x: float
    y: float
    text: str
    style: str = ""
    at_end: bool = False
    size: int = FONT_SIZE

    @property
    def width(self) -> float:
        return width_of(self.text, self.size)

    @property
    def left(self) -> float:
        return self.x - self.width if self.at_end else self.x


class Box(NamedTuple):
    """A rectangle with its texts and what stands in it. ``colour`` counts Services; -1 is none."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    texts: tuple[Text, ...] = ()
    children: tuple[Box, ...] = ()
    colour: int = -1

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


class Stub(NamedTuple):
    """Where an arrow enters a row, coming across from its lane."""

    x: float
    y: float
    dashed: bool


class Descent(NamedTuple):
    """A Service's lane in the gutter of a card: at ``x``, with its stubs from the top. Without stubs it ends
    at ``bottom``, the lower edge of the card, which is then meant itself."""

    service: int
    x: float
    bottom: float
    stubs: tuple[Stub, ...]
    dashed: bool


class Measured(NamedTuple):
    """A piece with the lanes and the size of each of its cards."""

    piece: Piece
    lanes: tuple[tuple[int, ...], ...]
    sizes: tuple[Size, ...]
    arrows: Arrows

    @property
    def width(self) -> float:
        cards = sum(width + GAP for width, _ in self.sizes) - GAP
        title = _line_width(self.piece.line) + 4 * LANE  # beside it, the routers' wires come in
        return max(cards, title) + 2 * PAD


def width_of(text: str, size: int = FONT_SIZE) -> float:
    """An upper bound."""
    return len(text) * size * ADVANCE


def _line_width(line: Line) -> float:
    return width_of(line.left) + (BETWEEN + width_of(line.right) if line.right else 0)


# --- sizes


def card_size(card: Card, lanes: int = 0) -> Size:
    """Width and height with that many lanes in the gutter."""
    inner = max((_line_width(row.line) for row in _rows(card)), default=0.0) + 2 * PAD
    inner = max(inner, *(width_of(group.title) for group in card.groups), 0.0)
    lines = max(map(_line_width, card.lines), default=0.0)
    groups = sum(_group_height(group) + PAD for group in card.groups)
    width = max(lines, inner + _gutter(lanes) if card.groups else 0.0)
    return width + 2 * PAD, 2 * PAD + LINE_HEIGHT * len(card.lines) + groups


def _gutter(lanes: int) -> float:
    return LANE * lanes + ARROW if lanes else 0


def _group_height(group: Group) -> float:
    return (LINE_HEIGHT if group.title else 0) + ROW_HEIGHT * len(group.rows)


def _rows(card: Card) -> Iterator[Row]:
    for group in card.groups:
        yield from group.rows


def lanes_into(card: Card, arrows: Arrows) -> tuple[int, ...]:
    """The Services that have arrows into a card, the one that reaches highest first: then none crosses a stub
    of those before it."""
    order = {target: place for place, row in enumerate(_rows(card)) for target in row.targets}
    if card.target:
        order[card.target] = len(order)
    tops = []
    for number, targets in enumerate(arrows):
        places = [order[target] for target in targets if target in order]
        if places:
            tops.append((min(places), number))
    return tuple(number for _, number in sorted(tops))


def measured(piece: Piece, arrows: Arrows, widest: float) -> Iterator[Measured]:
    """The piece, or several of its kind where its cards would be too wide beside each other."""
    begun: list[tuple[Card, tuple[int, ...], Size]] = []
    parts = [begun]
    width = 0.0
    for card in piece.cards:
        lanes = lanes_into(card, arrows)
        size = card_size(card, len(lanes))
        if begun and width + size[0] > widest:
            begun, width = [], 0.0
            parts.append(begun)
        begun.append((card, lanes, size))
        width += size[0] + GAP
    for number, part in enumerate(parts, 1):
        line = piece.line
        if len(parts) > 1:
            line = line._replace(left=f"{line.left}, part {number} of {len(parts)}")
        cards = tuple(card for card, _, _ in part)
        lanes_of_each, sizes = tuple(lanes for _, lanes, _ in part), tuple(size for _, _, size in part)
        yield Measured(Piece(line, cards, piece.wire), lanes_of_each, sizes, arrows)


def shelves(pieces: Iterable[Measured], widest: float) -> Iterator[list[Measured]]:
    """As many pieces as fit beside each other, in their order."""
    shelf: list[Measured] = []
    width = 0.0
    for piece in pieces:
        if shelf and width + piece.width > widest:
            yield shelf
            shelf, width = [], 0.0
        shelf.append(piece)
        width += piece.width + GAP
    if shelf:
        yield shelf


# --- places


def card_box(card: Card, at: Point, size: Size, lanes: int = 0, *, colour: int = -1) -> Box:
    """The card at a place; its children are its groups, and theirs the rows."""
    x, y = at
    width, height = size
    inside = width - 2 * PAD
    texts: list[Text] = []
    top = y + PAD
    for line in card.lines:
        texts += _texts(line, x + PAD, top, inside)
        top += LINE_HEIGHT
    groups: list[Box] = []
    top += PAD if card.groups else 0
    left = x + PAD + _gutter(lanes)
    for group in card.groups:
        box = _group_box(group, (left, top), x + width - PAD - left)
        groups.append(box)
        top = box.bottom + PAD
    return Box(card.kind, x, y, width, height, tuple(texts), tuple(groups), colour)


def _group_box(group: Group, at: Point, width: float) -> Box:
    x, y = at
    title = (Text(x, y + BASELINE, group.title, "faint"),) if group.title else ()
    top = y + (LINE_HEIGHT if group.title else 0)
    rows = []
    for row in group.rows:
        texts = _texts(row.line, x + PAD, top + (ROW_HEIGHT - LINE_HEIGHT) / 2, width - 2 * PAD)
        kind = "pod trouble" if row.trouble else "pod"
        rows.append(Box(kind, x, top + 1, width, ROW_HEIGHT - 2, tuple(texts)))
        top += ROW_HEIGHT
    return Box("group", x, y, width, _group_height(group), title, tuple(rows))


def _texts(line: Line, x: float, top: float, width: float) -> Iterator[Text]:
    if line.left:
        yield Text(x, top + BASELINE, line.left, line.style)
    if line.right:
        style = "" if line.style == "name" else line.style
        yield Text(x + width, top + BASELINE, line.right, style, at_end=True)


def piece_box(part: Measured, at: Point) -> tuple[Box, list[Descent]]:
    """The frame at a place, and where arrows come to its cards; a subnet's first child is its switch."""
    x, y = at
    line = part.piece.line
    texts = [Text(x + PAD, y + PAD + BASELINE, line.left, line.style)]
    if line.right:
        after = x + PAD + width_of(line.left) + BETWEEN
        texts.append(Text(after, y + PAD + BASELINE, line.right, "faint"))
    top = y + 2 * PAD + LINE_HEIGHT
    children: list[Box] = []
    if part.piece.wire:
        children.append(Box("switch", x + PAD, top, part.width - 2 * PAD, BAR_HEIGHT))
        top += BAR_HEIGHT + DROP
    tallest = max((height for _, height in part.sizes), default=0.0)
    descents: list[Descent] = []
    left = x + PAD
    for card, lanes, (width, _) in zip(part.piece.cards, part.lanes, part.sizes, strict=True):
        box = card_box(card, (left, top), (width, tallest), len(lanes))
        children.append(box)
        descents += _descents(card, box, lanes, part.arrows)
        left = box.right + GAP
    height = top + tallest + PAD - y
    kind = "rack" if part.piece.wire else "frame"
    return Box(kind, x, y, part.width, height, tuple(texts), tuple(children)), descents


def _descents(card: Card, box: Box, lanes: Sequence[int], arrows: Arrows) -> Iterator[Descent]:
    places = (row for group in box.children for row in group.children)
    rows = [
        (row, place, [n for n in lanes if any(target in arrows[n] for target in row.targets)])
        for row, place in zip(_rows(card), places, strict=True)
    ]
    for number, service in enumerate(lanes):
        stubs = []
        for row, place, mine in rows:
            if service not in mine:
                continue
            y = place.y + place.height * (mine.index(service) + 1) / (len(mine) + 1)
            dashed = all(arrows[service].get(target, True) for target in row.targets)
            stubs.append(Stub(place.x, y, dashed))
        x = box.x + PAD + LANE * number + LANE / 2
        yield Descent(service, x, box.bottom, tuple(stubs), arrows[service].get(card.target, False))
