"""The drawing in graphviz's DOT language, for ``dot -Tsvg``.

A node with its Pods is one table, so that an arrow can end at the row of its Pod. Grammar and labels:
https://graphviz.org/doc/info/lang.html and https://graphviz.org/doc/info/shapes.html#html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from netsim.cluster.graph.model import Drawing, DrawnNode, DrawnPod, DrawnService, Rack, View, Workload

FONT = "Helvetica"
DEFAULTS = (
    f'graph [rankdir=LR, ranksep=1.2, nodesep=0.3, labelloc=t, fontname="{FONT}"];',
    f'node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#57606a", fontname="{FONT}"];',
    f'edge [color="#57606a", fontname="{FONT}", fontsize=10];',
)
ROUTER, SWITCH, SERVICE, NODE, TROUBLE = "#fff1c2", "#ddf4ff", "#dafbe1", "#f6f8fa", "#cf222e"
WIRE = "dir=none, penwidth=2"


def render(drawing: Drawing) -> str:
    """One ``digraph``."""
    return "".join(f"{line}\n" for line in _lines(drawing))


def _lines(drawing: Drawing) -> Iterator[str]:
    yield f"digraph {quoted(drawing.name)} {{"
    yield from (f"  {line}" for line in DEFAULTS)
    yield f"  label={quoted(' · '.join((drawing.name, *drawing.facts)))};"
    alone: Iterable[Workload] = drawing.workloads
    if drawing.view is not View.SERVICES:
        yield from _routers(drawing)
        for number, rack in enumerate(drawing.racks):
            yield from _rack(rack, number)
        alone = drawing.homeless
    for workload in alone:
        yield _table(workload.title, [(workload.title, "")], _rows(workload, titled=False))
    homes = _homes(drawing)
    for service in drawing.services:
        yield from _service(service, homes, after=drawing.view is View.CLUSTER)
    yield "}"


def quoted(text: str) -> str:
    """A DOT string, in which only the quote and the backslash mean something."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _box(name: str, lines: Iterable[str], colour: str) -> str:
    return f"  {quoted(name)} [label={quoted(chr(10).join(lines))}, fillcolor={quoted(colour)}];"


def _wire(a: str, b: str) -> str:
    return f"  {quoted(a)} -> {quoted(b)} [{WIRE}];"


def _routers(drawing: Drawing) -> Iterator[str]:
    racks = {rack.name for rack in drawing.racks}
    for host in drawing.outside:
        yield _box(f"external/{host.name}", (host.name, host.address), "#ffffff")
    for router in drawing.routers:
        name = f"router/{router.name}"
        yield _box(name, (router.name, *(f"{address} in {wire}" for wire, address in router.legs)), ROUTER)
        for wire, _ in router.legs:
            if wire in racks:
                yield _wire(name, f"switch/{wire}")
            else:
                yield from (_wire(f"external/{host.name}", name) for host in drawing.outside)


def _rack(rack: Rack, number: int) -> Iterator[str]:
    switch = f"switch/{rack.name}"
    yield f"  subgraph cluster_{number} {{"
    yield f'  label={quoted(f"subnet {rack.name}")}; style=rounded; color="#8c959f";'
    yield _box(switch, (f"switch {rack.name}", rack.cidr, f"MTU {rack.mtu}"), SWITCH)
    for host in rack.hosts:
        yield _box(f"external/{host.name}", (host.name, host.address), "#ffffff")
    for node in rack.nodes:
        yield _node(node)
    yield "  }"
    for host in rack.hosts:
        yield _wire(switch, f"external/{host.name}")
    for node in rack.nodes:
        yield _wire(switch, f"node/{node.name}")


def _node(node: DrawnNode) -> str:
    head = [(f"{node.name}  {node.address}", "" if node.ready else TROUBLE)]
    words = (f"Pods {node.pod_cidr}" if node.pod_cidr else "", *node.facts)
    head += [(", ".join(filter(None, words)), "")] if any(words) else []
    head += [(f"answers for {address}", "") for address in node.announces]
    return _table(
        f"node/{node.name}",
        head,
        [row for workload in node.workloads for row in _rows(workload, titled=True)],
    )


Row = tuple[str, str, str, str]
"""Port, text, second text, colour of the text (empty: as usual)."""


def _rows(workload: Workload, *, titled: bool) -> Iterator[Row]:
    """A row per Pod, under the name of its owner where it has one."""
    if titled and workload.kind:
        yield "", workload.title, "", ""
    for pod in workload.pods:
        name = pod.name if workload.kind else pod.title
        yield pod.title, name, _where(pod, titled=titled), TROUBLE if pod.trouble else ""


def _where(pod: DrawnPod, *, titled: bool) -> str:
    words = (pod.address, "" if titled or not pod.node else f"on {pod.node}", pod.trouble)
    return " ".join(filter(None, words))


def _table(name: str, head: Iterable[tuple[str, str]], rows: Iterable[Row]) -> str:
    cells = [
        f'<TR><TD COLSPAN="2" BGCOLOR="{NODE}">{_text(text, colour, bold=number == 0)}</TD></TR>'
        for number, (text, colour) in enumerate(head)
    ]
    for port, first, second, colour in rows:
        if port:
            left = f'<TD ALIGN="LEFT" PORT="{escape(port)}">{_text(first, colour)}</TD>'
            cells.append(f'<TR>{left}<TD ALIGN="LEFT">{_text(second, colour)}</TD></TR>')
        else:
            cells.append(f'<TR><TD COLSPAN="2" ALIGN="LEFT">{_text(first, colour, bold=True)}</TD></TR>')
    table = f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="2" STYLE="ROUNDED">{"".join(cells)}</TABLE>'
    return f"  {quoted(name)} [shape=plain, label=<{table}>];"


def _text(text: str, colour: str, *, bold: bool = False) -> str:
    inner = escape(text) or " "
    if colour:
        inner = f'<FONT COLOR="{colour}">{inner}</FONT>'
    return f"<B>{inner}</B>" if bold else inner


def _homes(drawing: Drawing) -> Mapping[str, str]:
    """Where an arrow to each Pod, node or outside host ends, in DOT: ``"node/node1":"prod/web-0"``."""
    homes: dict[str, str] = {}
    if drawing.view is View.SERVICES:
        for workload in drawing.workloads:
            homes |= {pod.title: _port(workload.title, pod) for pod in workload.pods}
        return homes
    for host in drawing.outside:
        homes[f"external/{host.name}"] = quoted(f"external/{host.name}")
    for rack in drawing.racks:
        homes |= {f"external/{host.name}": quoted(f"external/{host.name}") for host in rack.hosts}
        for node in rack.nodes:
            homes[f"node/{node.name}"] = quoted(f"node/{node.name}")
            for workload in node.workloads:
                homes |= {pod.title: _port(f"node/{node.name}", pod) for pod in workload.pods}
    return homes


def _port(table: str, pod: DrawnPod) -> str:
    return f"{quoted(table)}:{quoted(pod.title)}"


def _service(service: DrawnService, homes: Mapping[str, str], *, after: bool) -> Iterator[str]:
    """``after``: Services stand behind what they lead to, so that no arrow runs through the wires."""
    name = f"svc/{service.title}"
    lines = (service.title, *service.words, *service.ways_in)
    yield _box(name, lines, SERVICE)
    for end in service.endpoints:
        home = homes.get(end.target)
        if home is None:
            home = quoted(f"address/{end.address}")
            yield _box(f"address/{end.address}", (end.target or "nobody known", end.address), "#ffffff")
        trouble = service.trouble(end)
        label = trouble or ",".join(f":{port}" for port in end.ports)
        style = f', style=dashed, color="{TROUBLE}"' if trouble else ""
        ends = f"{home} -> {quoted(name)}" if after else f"{quoted(name)} -> {home}"
        yield f"  {ends} [{'dir=back, ' if after else ''}label={quoted(label)}{style}];"
