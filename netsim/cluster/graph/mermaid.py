"""The drawing as a Mermaid flowchart, which GitHub and GitLab draw in a README.

Mermaid's words must not come in an id (``end`` breaks a flowchart), so ids are numbered; texts are quoted,
with entity codes for what means something in them (https://mermaid.js.org/syntax/flowchart.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netsim.cluster.graph.model import Drawing, DrawnNode, DrawnService, Rack, View, Workload

CLASSES = (
    "classDef router fill:#fff1c2,stroke:#9a6700,color:#1f2328",
    "classDef switch fill:#ddf4ff,stroke:#0969da,color:#1f2328",
    "classDef service fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
    "classDef trouble stroke:#cf222e,stroke-width:2px",
)
ESCAPES = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"}


def render(drawing: Drawing) -> str:
    """The text between the fences of a ``mermaid`` block."""
    return "".join(f"{line}\n" for line in _Chart(drawing).lines())


def quoted(lines: Iterable[str]) -> str:
    """A quoted text of several lines."""
    escaped = ("".join(ESCAPES.get(character, character) for character in line) for line in lines)
    return f'"{"<br/>".join(escaped)}"'


class _Chart:
    """Lines in the making, with the id of each thing that an arrow may end at."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._ids: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        drawing = self._drawing
        yield "---"
        yield f"title: {quoted([' · '.join((drawing.name, *drawing.facts))])}"
        yield "---"
        yield "flowchart LR"
        alone: Sequence[Workload] = drawing.workloads
        if drawing.view is not View.SERVICES:
            yield from self._routers()
            for rack in drawing.racks:
                yield from self._rack(rack)
            alone = drawing.homeless
        for workload in alone:
            yield from self._workload(workload, titled=True)
        for service in drawing.services:
            yield from self._service(service)
        yield from (f"  {line}" for line in CLASSES)

    def _id(self, *things: str) -> str:
        """A new id, which from now on is that of all these things."""
        made = f"n{len(set(self._ids.values()))}"
        self._ids.update(dict.fromkeys(things, made))
        return made

    def _routers(self) -> Iterator[str]:
        for host in self._drawing.outside:
            name = self._id(f"external/{host.name}")
            yield f"  {name}([{quoted((host.name, host.address))}])"
        for router in self._drawing.routers:
            name = self._id(f"router/{router.name}")
            legs = (f"{address} in {wire}" for wire, address in router.legs)
            yield f"  {name}{{{{{quoted((router.name, *legs))}}}}}:::router"
            if any(wire not in {rack.name for rack in self._drawing.racks} for wire, _ in router.legs):
                for host in self._drawing.outside:
                    yield f"  {self._ids[f'external/{host.name}']} --- {name}"

    def _rack(self, rack: Rack) -> Iterator[str]:
        yield f"  subgraph {self._id(f'rack/{rack.name}')}[{quoted([f'subnet {rack.name}'])}]"
        switch = self._id(f"switch/{rack.name}")
        yield f"  {switch}[{quoted((f'switch {rack.name}', rack.cidr, f'MTU {rack.mtu}'))}]:::switch"
        for host in rack.hosts:
            name = self._id(f"external/{host.name}")
            yield f"  {name}([{quoted((host.name, host.address))}])"
        for node in rack.nodes:
            yield from self._node(node)
        yield "  end"
        for router in self._drawing.routers:
            if any(wire == rack.name for wire, _ in router.legs):
                yield f"  {self._ids[f'router/{router.name}']} --- {switch}"
        for thing in (*(f"external/{h.name}" for h in rack.hosts), *(f"node/{n.name}" for n in rack.nodes)):
            yield f"  {switch} --- {self._ids[thing]}"

    def _node(self, node: DrawnNode) -> Iterator[str]:
        words = (f"Pods {node.pod_cidr}" if node.pod_cidr else "", *node.facts)
        title = (f"{node.name} {node.address}", ", ".join(filter(None, words)))
        announced = (f"answers for {address}" for address in node.announces)
        name, lines = self._id(f"node/{node.name}"), [*filter(None, title), *announced]
        if not node.workloads:
            yield f"  {name}[{quoted(lines)}]"
            return
        yield f"  subgraph {name}[{quoted(lines)}]"
        for workload in node.workloads:
            yield from self._workload(workload, titled=False)
        yield "  end"

    def _workload(self, workload: Workload, *, titled: bool) -> Iterator[str]:
        """One box, with a line per Pod; ``titled``: its Pods say on which node they are."""
        name = self._id(*(pod.title for pod in workload.pods))
        lines = [workload.title]
        for pod in workload.pods:
            where = f"on {pod.node}" if titled and pod.node else ""
            words = (pod.name if workload.kind else "", pod.address, where, pod.trouble)
            lines.append(" ".join(filter(None, words)))
        trouble = ":::trouble" if any(pod.trouble for pod in workload.pods) else ""
        yield f"  {name}[{quoted(lines)}]{trouble}"

    def _service(self, service: DrawnService) -> Iterator[str]:
        """One arrow to each box in which its endpoints are; it says how many when these are several."""
        name = self._id(f"svc/{service.title}")
        lines = (service.title, *service.words, *service.ways_in)
        yield f"  {name}({quoted(lines)}):::service"
        arrows: dict[tuple[str, str, str], int] = {}
        for end in service.endpoints:
            target = end.target if end.target in self._ids else f"address/{end.address}"
            if target not in self._ids:
                yield f"  {self._id(target)}([{quoted((end.target or 'nobody known', end.address))}])"
            arrow = (self._ids[target], service.trouble(end), ",".join(f":{port}" for port in end.ports))
            arrows[arrow] = arrows.get(arrow, 0) + 1
        for (target, trouble, ports), count in arrows.items():
            words = (f"{count} ×" if count > 1 else "", trouble or ports)
            label = " ".join(filter(None, words))
            yield f"  {name} {'-.->' if trouble else '-->'}{f'|{quoted([label])}|' if label else ''} {target}"
