"""The drawing as a tree of lines, for terminals and pipes.

Lines are drawn with Unicode's box drawing characters; ``ascii_text`` gives those that every terminal has.
``render`` takes a function that sets headings and troubles apart, as colours of a terminal do.
Columns stand under each other within the children of one parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from netsim.cluster.graph.model import (
    NO_ENDPOINTS,
    Drawing,
    DrawnNode,
    DrawnPod,
    DrawnService,
    OutsideHost,
    Rack,
    View,
    Workload,
)

ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "→": ">", "·": "-", "…": "~"})
GAP = "  "


Mark = Callable[[str, str], str]
"""The text in a style: ``bold`` or ``red``."""


class Branch(NamedTuple):
    """A line of cells and what is wrong with it, and what hangs below it."""

    cells: Sequence[str]
    below: Sequence[Branch] = ()
    trouble: str = ""


def _plain(text: str, style: str) -> str:
    return text


def render(drawing: Drawing, mark: Mark = _plain) -> str:
    """The whole tree, with Unicode lines."""
    lines = [f"{mark(drawing.name, 'bold')} · {' · '.join(drawing.facts)}"]
    if drawing.view is not View.SERVICES:
        lines += ["", *_network(drawing, mark)]
    if drawing.view is View.SERVICES or drawing.services:
        branches = [_service(drawing, service) for service in drawing.services]
        lines += ["", mark("services", "bold"), *_tree(branches, mark)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def ascii_text(text: str) -> str:
    """The same lines with ``|``, ``-`` and `````."""
    return text.translate(ASCII)


def _network(drawing: Drawing, mark: Mark) -> Iterator[str]:
    if drawing.outside:
        yield mark("outside", "bold")
        yield from _tree([_host(host) for host in drawing.outside], mark)
    for router in drawing.routers:
        yield f"{mark(router.name, 'bold')}{GAP}{', '.join(f'{ip} in {wire}' for wire, ip in router.legs)}"
    yield from _tree([_rack(rack) for rack in drawing.racks], mark)
    if drawing.homeless:
        yield mark("on no node", "bold")
        yield from _tree([_workload(workload) for workload in drawing.homeless], mark)


def _host(host: OutsideHost) -> Branch:
    ports = ", ".join(f"{port}/TCP" for port in host.ports)
    return Branch((host.name, host.address, f"serves {ports}" if ports else ""))


def _rack(rack: Rack) -> Branch:
    below = [*map(_host, rack.hosts), *map(_node, rack.nodes)]
    return Branch((f"subnet {rack.name}", rack.cidr, f"MTU {rack.mtu}"), below)


def _node(node: DrawnNode) -> Branch:
    words = [f"Pods {node.pod_cidr}" if node.pod_cidr else "", *node.facts]
    words += [f"answers for {address}" for address in node.announces]
    below = [_workload(workload) for workload in node.workloads]
    return Branch((f"node {node.name}", node.address, ", ".join(filter(None, words))), below)


def _workload(workload: Workload) -> Branch:
    """A Pod that nothing owns stands by itself, without a line for an owner."""
    if not workload.kind:
        return _pod(workload.pods[0], workload.title)
    return Branch((workload.title,), [_pod(pod, pod.name) for pod in workload.pods])


def _pod(pod: DrawnPod, name: str) -> Branch:
    return Branch((name, pod.address or "no address"), trouble=pod.trouble)


def _service(drawing: Drawing, service: DrawnService) -> Branch:
    pods = drawing.pods
    ends = []
    for end in service.endpoints:
        at = f"[{end.address}]" if ":" in end.address else end.address
        to = ",".join(f"{at}:{port}" for port in end.ports) or end.address
        trouble = service.trouble(end)
        if trouble and end.target in pods:
            trouble = pods[end.target].trouble or trouble
        where = f"on {end.node}" if end.node else ""
        ends.append(Branch((f"→ {to}", end.target or "nobody known", where), trouble=trouble))
    head = (service.title, service.type, service.address, service.ports)
    ways = [Branch((), trouble=way) if way == NO_ENDPOINTS else Branch((way,)) for way in service.ways_in]
    return Branch(head, [*ways, *ends])


def _tree(branches: Sequence[Branch], mark: Mark, indent: str = "") -> Iterator[str]:
    """Lines for siblings and all below them; cells of siblings stand under each other."""
    rows = [branch.cells for branch in branches if len(branch.cells) > 1]
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(row[n]) for row in rows if n < len(row)), default=0) for n in range(columns)]
    for number, branch in enumerate(branches):
        last = number == len(branches) - 1
        cells = branch.cells
        if len(cells) > 1:
            cells = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        shown = [*cells, mark(branch.trouble, "red")] if branch.trouble else cells
        yield f"{indent}{'└─' if last else '├─'} {GAP.join(shown)}"
        yield from _tree(branch.below, mark, indent + ("   " if last else "│  "))
