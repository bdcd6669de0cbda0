"""What stands in each box of the SVG, before anything has a place: ``content_of`` makes it from the drawing.

A card is a box with lines and, in it, groups of rows (a node with the Pods of its workloads); a piece is a
frame around cards (a subnet). Arrows end at rows, or at cards, by the name of what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netsim.cluster.graph.model import (
    NO_ENDPOINTS,
    NOTHING,
    Drawing,
    DrawnNode,
    DrawnPod,
    DrawnService,
    OutsideHost,
    Rack,
    View,
    Workload,
)

MOST_ROWS = 8  # of one workload in one box; what is more is one row
LONGEST = 42  # characters of a name; what is longer is cut in its middle


class Line(NamedTuple):
    """Text at the left and at the right edge of its box. ``style`` is a class of the style sheet."""

    left: str
    right: str = ""
    style: str = ""


class Row(NamedTuple):
    """One Pod, or several that are folded. ``targets`` are their titles."""

    line: Line
    targets: tuple[str, ...]
    trouble: bool = False


class Group(NamedTuple):
    """Rows under the name of their owner; no name for a Pod that has none."""

    title: str
    rows: tuple[Row, ...]


class Card(NamedTuple):
    """``target`` is the name by which arrows find the card itself."""

    kind: str
    lines: tuple[Line, ...]
    groups: tuple[Group, ...] = ()
    target: str = ""


class Piece(NamedTuple):
    """A frame around cards. ``wire`` names the subnet that the cards are plugged into, if it is one."""

    line: Line
    cards: tuple[Card, ...]
    wire: str = ""


class ServiceCard(NamedTuple):
    """``arrows`` says where they end, and whether nothing is sent there at present."""

    namespace: str
    card: Card
    arrows: Mapping[str, bool]


class RouterCard(NamedTuple):
    """``wires`` are the subnets in which it has a leg; ``outside``: it also leads there."""

    card: Card
    wires: tuple[str, ...]
    outside: bool


class Content(NamedTuple):
    """All of it."""

    title: Line
    outside: Piece | None
    routers: tuple[RouterCard, ...]
    pieces: tuple[Piece, ...]
    services: tuple[ServiceCard, ...]


def content_of(drawing: Drawing) -> Content:
    """What the view of the drawing shows."""
    title = Line(drawing.name, " · ".join(drawing.facts), "title")
    if drawing.view is View.SERVICES:
        pieces = tuple(_namespaces(drawing.workloads))
        return Content(title, None, (), pieces, tuple(_services(drawing, pieces)))
    racks = {rack.name for rack in drawing.racks}
    routers = tuple(
        RouterCard(
            Card(
                "router",
                (Line(router.name, style="name"), *(Line(wire, address) for wire, address in router.legs)),
            ),
            tuple(wire for wire, _ in router.legs if wire in racks),
            any(wire not in racks for wire, _ in router.legs),
        )
        for router in drawing.routers
    )
    outside = Piece(Line("outside", style="name"), tuple(map(_host, drawing.outside)))
    pieces = tuple(_network(drawing))
    services = tuple(_services(drawing, pieces))
    return Content(title, outside if drawing.outside else None, routers, pieces, services)


def short(name: str) -> str:
    """A name that is not too long for a box: its beginning and its end."""
    if len(name) <= LONGEST:
        return name
    half = (LONGEST - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _host(host: OutsideHost) -> Card:
    ports = ", ".join(map(str, host.ports))
    lines = [Line(short(host.name), style="name"), Line(host.address)]
    if ports:
        lines.append(Line(f"serves {short(ports)}", style="faint"))
    return Card("host", tuple(lines), target=f"external/{host.name}")


def _network(drawing: Drawing) -> Iterator[Piece]:
    for rack in drawing.racks:
        yield _rack(rack)
    if drawing.homeless:
        yield Piece(Line("on no node", style="trouble"), tuple(map(_alone, drawing.homeless)))


def _rack(rack: Rack) -> Piece:
    line = Line(f"subnet {rack.name}", f"{rack.cidr}, MTU {rack.mtu}", "name")
    return Piece(line, (*map(_host, rack.hosts), *map(_node, rack.nodes)), rack.name)


def _node(node: DrawnNode) -> Card:
    lines = [Line(short(node.name), node.address, "name")]
    if node.pod_cidr:
        lines.append(Line("Pods", node.pod_cidr, "faint"))
    lines += [Line(fact, style="faint" if node.ready else "trouble") for fact in node.facts]
    lines += [Line("answers for", address, "faint") for address in node.announces]
    groups = tuple(_group(workload, with_node=False) for workload in node.workloads)
    return Card("node" if node.ready else "node lost", tuple(lines), groups, f"node/{node.name}")


def _namespaces(workloads: Iterable[Workload]) -> Iterator[Piece]:
    cards: dict[str, list[Card]] = {}
    for workload in workloads:
        cards.setdefault(workload.namespace, []).append(_alone(workload))
    for namespace, found in cards.items():
        yield Piece(Line(f"namespace {namespace}", style="name"), tuple(found))


def _alone(workload: Workload) -> Card:
    """A workload as a card of its own: not within a node, its Pods say which one they are on."""
    group = _group(workload, with_node=True)
    return Card("node", (Line(short(workload.title), style="name"),), (group._replace(title=""),))


def _group(workload: Workload, *, with_node: bool) -> Group:
    pods = workload.pods
    shown = pods if len(pods) <= MOST_ROWS else pods[: MOST_ROWS - 1]
    rows = [_row(pod, workload, with_node=with_node) for pod in shown]
    folded = pods[len(shown) :]
    if folded:
        bad = sum(bool(pod.trouble) for pod in folded)
        right = f"{bad} not ready" if bad else ""
        rows.append(Row(Line(f"+ {len(folded)} more", right), tuple(pod.title for pod in folded), bool(bad)))
    return Group(short(workload.title) if workload.kind else "", tuple(rows))


def _row(pod: DrawnPod, workload: Workload, *, with_node: bool) -> Row:
    name = pod.name if workload.kind or with_node else pod.title
    words = (pod.trouble, pod.address, f"on {pod.node}" if with_node and pod.node else "")
    return Row(Line(short(name), " ".join(filter(None, words))), (pod.title,), bool(pod.trouble))


def _services(drawing: Drawing, pieces: Iterable[Piece]) -> Iterator[ServiceCard]:
    drawn = {card.target for piece in pieces for card in piece.cards if card.target}
    drawn |= drawing.pods.keys()
    for service in drawing.services:
        arrows = {end.target: bool(service.trouble(end)) for end in service.endpoints if end.target in drawn}
        yield ServiceCard(service.namespace, _service_card(service, arrows), arrows)


def _service_card(service: DrawnService, arrows: Mapping[str, bool]) -> Card:
    lines = [Line(short(service.name), service.type, "name")]
    if service.type != "ExternalName":
        address = "headless" if service.address == "None" else service.address
        lines.append(Line(address, "" if service.ports == NOTHING else short(service.ports)))
    lines += [Line(short(way), style="trouble" if way == NO_ENDPOINTS else "") for way in service.ways_in]
    for end in service.endpoints:
        if end.target not in arrows:  # an address that no box has
            ports = ",".join(end.ports)
            at = f"[{end.address}]" if ports and ":" in end.address else end.address
            lines.append(Line(f"→ {at}{':' if ports else ''}{ports}", short(end.target)))
    troubles = dict.fromkeys(filter(None, (service.trouble(end) for end in service.endpoints)))
    for trouble in troubles:
        count = sum(service.trouble(end) == trouble for end in service.endpoints)
        lines.append(Line(f"{count} of {len(service.endpoints)} endpoints: {trouble}", style="trouble"))
    return Card("service", tuple(lines))
