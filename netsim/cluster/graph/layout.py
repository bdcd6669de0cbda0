"""Places for everything in the SVG: ``lay_out`` turns ``cards`` into boxes and lines with coordinates.

::

    title
                                outside
                                 router
    Services │ trunk │  ┌ subnet ───────┐ ┌ subnet ───────┐
    Services │ lanes │  │ node    node  │ │ node    node  │   a shelf: as many as fit side by side
    Services │       │  └───────────────┘ └───────────────┘
             └───────── bus lanes ──────────────────────      and on to the next shelf

Each Service has a lane of its own in the trunk, in the bus under a shelf, and in the gutter at the left of
the rows of a card; so no two lines ever lie on each other, and none runs through a row. Lengths are pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netsim.cluster.graph.boxes import (
    BASELINE,
    GAP,
    LANE,
    LINE_HEIGHT,
    PAD,
    Box,
    Descent,
    Measured,
    Point,
    Text,
    card_box,
    card_size,
    measured,
    piece_box,
    shelves,
    width_of,
)
from netsim.cluster.graph.cards import Card, Content

TITLE_SIZE, TITLE_HEIGHT = 18, 30
MARGIN = 24
WIDEST = 1500  # of a shelf, unless one card alone is wider
RISE = 20  # of the wires between outside, routers and subnets


class Route(NamedTuple):
    """A line of horizontal and vertical parts; ``colour`` counts Services, -1 is a wire."""

    points: tuple[Point, ...]
    colour: int = -1
    arrow: bool = False
    dashed: bool = False


class Picture(NamedTuple):
    """``joints`` are the points at which a line of that colour forks."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    joints: tuple[tuple[float, float, int], ...]


def lay_out(content: Content) -> Picture:
    """The picture of that content."""
    return _Sheet(content).picture()


class _Sheet:
    """The picture in the making."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._boxes: list[Box] = []
        self._routes: list[Route] = []
        self._joints: list[tuple[float, float, int]] = []
        self._exits: list[Point] = []  # of each Service, to the right
        self._colours: dict[int, int] = {}  # of each Service that has arrows
        self._trunk: dict[int, float] = {}  # x of its lane
        self._reached: dict[int, Point] = {}  # how far down each has come in the trunk
        self._backbone: dict[int, Point] = {}  # and each router on the right side
        self._descended: set[int] = set()  # the routers that have come to a shelf
        self._frame: Box | None = None
        self._right = 0.0

    def picture(self) -> Picture:
        title = self._content.title
        top = MARGIN + TITLE_HEIGHT + LINE_HEIGHT + GAP
        left, bottom = self._services(top)
        arrows = [service.arrows for service in self._content.services]
        pieces = (part for piece in self._content.pieces for part in measured(piece, arrows, WIDEST))
        rows = list(shelves(pieces, WIDEST))
        area = max((sum(piece.width + GAP for piece in row) - GAP for row in rows), default=0.0)
        self._right = left + area
        below = self._routers(left, area, self._outside(left, area, top))
        for row in rows:
            below = self._shelf(row, left, below)
        width = max(width_of(title.left, TITLE_SIZE), width_of(title.right), self._right - MARGIN)
        texts = (
            Text(MARGIN, MARGIN + TITLE_SIZE, title.left, "title", size=TITLE_SIZE),
            Text(MARGIN, MARGIN + TITLE_HEIGHT + BASELINE, title.right, "faint"),
        )
        heading = Box("label", MARGIN, MARGIN, width, TITLE_HEIGHT + LINE_HEIGHT, texts)
        routers = LANE * (len(self._content.routers) + 1)
        return Picture(
            max(heading.right, self._right + routers) + MARGIN,
            max(below, bottom) + MARGIN,
            (heading, *self._boxes),
            tuple(self._routes),
            tuple(self._joints),
        )

    # --- Services

    def _services(self, top: float) -> Point:
        """The column of Services, then the trunk; returns where the rest begins, and the column ends."""
        services = self._content.services
        if not services:
            return MARGIN, top
        width = max(card_size(service.card)[0] for service in services)
        width = max(width, *(width_of(f"namespace {service.namespace}") for service in services))
        lanes = [number for number, service in enumerate(services) if service.arrows]
        self._colours = {number: colour for colour, number in enumerate(lanes)}
        y, namespace = top, ""
        for number, service in enumerate(services):
            if service.namespace != namespace:
                namespace = service.namespace
                label = Text(MARGIN, y + BASELINE, f"namespace {namespace}", "faint")
                self._boxes.append(Box("label", MARGIN, y, width, LINE_HEIGHT, (label,)))
                y += LINE_HEIGHT
            height = card_size(service.card)[1]
            colour = self._colours.get(number, -1)
            self._boxes.append(card_box(service.card, (MARGIN, y), (width, height), colour=colour))
            self._exits.append((MARGIN + width, y + height / 2))
            y += height + GAP
        for place, number in enumerate(reversed(lanes)):  # the first's is outermost: so they do not cross
            self._trunk[number] = MARGIN + width + GAP + LANE * place
        return MARGIN + width + 2 * GAP + LANE * len(lanes), y - GAP

    # --- above the subnets

    def _outside(self, left: float, area: float, top: float) -> float:
        """The hosts outside, in as many columns as the rest is wide; returns where they end."""
        outside = self._content.outside
        if outside is None:
            return top
        width, height = _largest(outside.cards)
        columns = max(1, min(len(outside.cards), int((area - 2 * PAD + GAP) // (width + GAP))))
        lines = -(-len(outside.cards) // columns)
        across = columns * (width + GAP) - GAP + 2 * PAD
        down = lines * (height + GAP) - GAP + 2 * PAD + LINE_HEIGHT
        x, y = left + max(0.0, (area - across) / 2), top + PAD + LINE_HEIGHT
        cards = tuple(
            card_box(
                card,
                (x + PAD + number % columns * (width + GAP), y + number // columns * (height + GAP)),
                (width, height),
            )
            for number, card in enumerate(outside.cards)
        )
        title = Text(x + PAD, top + LINE_HEIGHT, outside.line.left, outside.line.style)
        frame = Box("outside", x, top, across, down, (title,), cards)
        self._boxes.append(frame)
        self._right = max(self._right, frame.right)
        self._frame = frame
        return frame.bottom

    def _routers(self, left: float, area: float, top: float) -> float:
        """The routers beside each other, under the outside; returns where they end."""
        routers = self._content.routers
        if not routers:
            return top
        width, height = _largest([router.card for router in routers])
        x = left + max(0.0, (area - len(routers) * (width + GAP) + GAP) / 2)
        y = top + RISE if self._frame is not None else top
        for number, router in enumerate(routers):
            box = card_box(router.card, (x, y), (width, height))
            self._boxes.append(box)
            self._right = max(self._right, box.right)
            middle = x + width / 2
            if router.outside and self._frame is not None:
                self._routes.append(Route(((middle, self._frame.bottom), (middle, y))))
            self._backbone[number] = (middle, box.bottom)
            x += width + GAP
        return y + height

    # --- subnets

    def _shelf(self, shelf: Sequence[Measured], left: float, top: float) -> float:
        """One shelf and the bus under it; returns where that ends."""
        lanes = top + RISE
        x, y = left, lanes + LANE * len(self._content.routers)
        bottom = y
        descents: list[Descent] = []
        racks: list[tuple[str, Box]] = []
        for part in shelf:
            box, found = piece_box(part, (x, y))
            self._boxes.append(box)
            descents += found
            if part.piece.wire:
                bar, *cards = box.children
                self._wire(bar, cards)
                racks.append((part.piece.wire, box))
            x, bottom = box.right + GAP, max(bottom, box.bottom)
        self._uplinks(racks, lanes)
        used = sorted({descent.service for descent in descents})
        for place, number in enumerate(used):
            mine = sorted((d for d in descents if d.service == number), key=lambda d: d.x)
            self._bus(number, mine, bottom + GAP + LANE * place)
        return bottom + (GAP + LANE * len(used) if used else 0)

    def _wire(self, bar: Box, cards: Iterable[Box]) -> None:
        for card in cards:
            middle = card.x + card.width / 2
            self._routes.append(Route(((middle, bar.bottom), (middle, card.y))))

    def _uplinks(self, racks: Sequence[tuple[str, Box]], top: float) -> None:
        """From each router across and down to its switches; to a lower shelf beside those above it."""
        for number, router in enumerate(self._content.routers):
            lane = LANE * (number + 1)
            reached = [rack for wire, rack in racks if wire in router.wires]
            if not reached:
                continue
            across = top + lane - LANE
            x, y = self._backbone[number]
            if number in self._descended:
                beside = self._right + lane
                self._routes.append(Route(((x, y), (beside, y), (beside, across))))
                x = beside
            else:
                self._routes.append(Route(((x, y), (x, across))))
                self._descended.add(number)
            mine = [(_way_in(rack, x, lane), rack.children[0].y) for rack in reached]
            ends = [x, *(end for end, _ in mine)]
            self._routes.append(Route(((min(ends), across), (max(ends), across))))
            self._routes += [Route(((end, across), (end, bar))) for end, bar in mine]
            self._backbone[number] = (max(ends), across)

    # --- the lines of a Service

    def _bus(self, number: int, descents: Sequence[Descent], y: float) -> None:
        """From where the Service's line has come to, along the bus of this shelf, and up into the cards."""
        trunk, colour = self._trunk[number], self._colours[number]
        last = descents[-1].x
        begun = self._reached.get(number)
        start = ((trunk, begun[1]),) if begun else (self._exits[number], (trunk, self._exits[number][1]))
        if begun:
            self._joints.append((*begun, colour))
        self._routes.append(Route((*start, (trunk, y), (last, y)), colour))
        self._reached[number] = (trunk, y)
        for descent in descents:
            if descent.x != last:
                self._joints.append((descent.x, y, colour))
            if not descent.stubs:
                ends = ((descent.x, y), (descent.x, descent.bottom))
                self._routes.append(Route(ends, colour, arrow=True, dashed=descent.dashed))
                continue
            for place, stub in enumerate(descent.stubs):
                begin = ((descent.x, y),) if place == 0 else ()
                points = (*begin, (descent.x, stub.y), (stub.x, stub.y))
                self._routes.append(Route(points, colour, arrow=True, dashed=stub.dashed))
                if place:
                    self._joints.append((descent.x, stub.y, colour))


def _way_in(rack: Box, x: float, lane: float) -> float:
    """Where a router's wire comes down to the switch: at ``x`` if that is beside the rack's title."""
    bar, title = rack.children[0], rack.texts[-1]
    inside = title.left + title.width + LANE <= x <= bar.right - lane
    return x if inside else bar.right - lane


def _largest(cards: Sequence[Card]) -> tuple[float, float]:
    sizes = [card_size(card) for card in cards]
    return max(width for width, _ in sizes), max(height for _, height in sizes)
