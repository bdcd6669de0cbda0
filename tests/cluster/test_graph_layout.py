"""The SVG is legible whatever is drawn: nothing covers anything else, and texts fit where they stand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from netsim.cluster.graph.boxes import Box
from netsim.cluster.graph.cards import content_of
from netsim.cluster.graph.layout import Route, lay_out
from netsim.cluster.graph.model import (
    Drawing,
    DrawnEndpoint,
    DrawnNode,
    DrawnPod,
    DrawnService,
    OutsideHost,
    Rack,
    Router,
    View,
    Workload,
)
from netsim.cluster.graph.svg import render

Segment = tuple[tuple[float, float], tuple[float, float]]

names = st.text("abcdefgxyz0123456789-", min_size=1, max_size=63)


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Sites of up to three racks with up to five nodes each, and Services with endpoints anywhere on them."""
    pods: list[DrawnPod] = []

    def workload(node: str, number: int) -> Workload:
        kind = draw(st.sampled_from(["", "deploy", "sts"]))
        found = tuple(
            DrawnPod(
                "shop", f"{draw(names)}-{len(pods)}-{n}", "10.244.1.2", node, "Running", draw(st.booleans())
            )
            for n in range(draw(st.integers(1, 12)) if kind else 1)
        )
        pods.extend(found)
        return Workload("shop", kind, f"w{number}", found)

    def node(rack: int, number: int) -> DrawnNode:
        name = f"node-{rack}-{number}"
        facts = tuple(draw(st.lists(st.sampled_from(["control-plane", "zone a", "NotReady"]), max_size=3)))
        workloads = tuple(workload(name, n) for n in range(draw(st.integers(0, 3))))
        return DrawnNode(name, "192.168.10.10", "10.244.0.0/24", draw(st.booleans()), facts, (), workloads)

    outside = tuple(OutsideHost(name, "203.0.113.1", (80,)) for name in draw(st.lists(names, max_size=9)))
    racks = tuple(
        Rack(
            f"rack-{r}",
            "192.168.10.0/24",
            1500,
            tuple(node(r, n) for n in range(draw(st.integers(0, 5)))),
            (),
        )
        for r in range(draw(st.integers(1, 3)))
    )
    homeless = tuple(workload("", n) for n in range(draw(st.integers(0, 2))))
    legs = tuple((name, "192.0.2.1") for name in ("internet", *(rack.name for rack in racks)))
    routers = tuple(Router(f"router-{n}", legs) for n in range(draw(st.integers(0, 2))))
    targets = [pod.title for pod in pods] + [f"node/{node.name}" for rack in racks for node in rack.nodes]
    services = []
    for number in range(draw(st.integers(0, 9))):
        chosen = draw(st.lists(st.sampled_from(targets), unique=True, max_size=20)) if targets else []
        ends = tuple(DrawnEndpoint("10.0.0.1", ("80",), target, "", draw(st.booleans())) for target in chosen)
        space = f"ns{draw(st.integers(0, 2))}"
        kind = draw(st.sampled_from(["ClusterIP", "NodePort"]))
        services.append(DrawnService(space, f"s{number}", kind, "10.96.0.1", "80/TCP", (), (), (), ends))
    services.sort(key=lambda service: service.title)
    view = draw(st.sampled_from(View))
    return Drawing("site", view, ("Pods", "Services"), outside, routers, racks, homeless, tuple(services))


def everything(boxes: tuple[Box, ...]) -> Iterator[Box]:
    for box in boxes:
        yield box
        yield from everything(box.children)


def apart(a: Box, b: Box) -> bool:
    return a.right <= b.x or b.right <= a.x or a.bottom <= b.y or b.bottom <= a.y


def inside(a: Box, b: Box) -> bool:
    return b.x <= a.x and a.right <= b.right and b.y <= a.y and a.bottom <= b.bottom


def segments(route: Route) -> Iterator[Segment]:
    for (x1, y1), (x2, y2) in pairwise(route.points):
        yield (min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2))


@given(drawings())
def test_boxes_stand_apart_or_within_each_other(drawing: Drawing) -> None:
    picture = lay_out(content_of(drawing))
    page = Box("page", 0, 0, picture.width, picture.height, children=picture.boxes)
    for box in everything((page,)):
        assert all(inside(child, box) for child in box.children)
        assert all(apart(a, b) for a, b in combinations(box.children, 2))


@given(drawings())
def test_texts_fit_into_their_boxes_and_beside_each_other(drawing: Drawing) -> None:
    for box in everything(lay_out(content_of(drawing)).boxes):
        for text in box.texts:
            assert box.x <= text.left
            assert text.left + text.width <= box.right + 1e-6
            assert box.y <= text.y - text.size * 0.8
            assert text.y + text.size * 0.25 <= box.bottom
        for a, b in combinations(box.texts, 2):
            one_line = abs(a.y - b.y) < max(a.size, b.size)
            assert not one_line or a.left + a.width <= b.left or b.left + b.width <= a.left


@given(drawings())
def test_lines_run_straight_on_the_page_and_through_no_text(drawing: Drawing) -> None:
    picture = lay_out(content_of(drawing))
    texts = [text for box in everything(picture.boxes) for text in box.texts]
    for route in picture.routes:
        for (left, top), (right, bottom) in segments(route):
            assert left == right or top == bottom
            assert 0 <= left <= right <= picture.width
            assert 0 <= top <= bottom <= picture.height
            for text in texts:
                beside = right <= text.left or text.left + text.width <= left
                assert beside or bottom <= text.y - text.size * 0.75 or text.y <= top


@given(drawings())
def test_lines_of_two_services_never_lie_on_each_other(drawing: Drawing) -> None:
    picture = lay_out(content_of(drawing))
    lines = [(route.colour, segment) for route in picture.routes for segment in segments(route)]
    for (colour, a), (other, b) in combinations(lines, 2):
        if colour == other:
            continue
        across = min(a[1][0], b[1][0]) - max(a[0][0], b[0][0])
        down = min(a[1][1], b[1][1]) - max(a[0][1], b[0][1])
        assert across < 0 or down < 0 or (across == 0 and down == 0), (a, b)


@given(drawings())
def test_an_arrow_leads_to_each_row_or_else_to_the_card_that_is_meant(drawing: Drawing) -> None:
    content = content_of(drawing)
    wanted = 0
    for service in content.services:
        for card in (card for piece in content.pieces for card in piece.cards):
            rows = [row for group in card.groups for row in group.rows]
            hit = sum(any(target in service.arrows for target in row.targets) for row in rows)
            wanted += hit or card.target in service.arrows
    assert sum(route.arrow for route in lay_out(content).routes) == wanted


@given(drawings())
def test_the_document_is_xml(drawing: Drawing) -> None:
    root = ET.fromstring(render(drawing))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    shown = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert drawing.name in shown
