"""What ``netsim capture show`` prints: a list of packets, with their reasons or without, or one in detail.

The list's ``Line`` values are also what its JSON output holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from netsim.capture.dissect import Names, Summary, summarize
from netsim.capture.filter import Filter
from netsim.capture.record import CapturedPacket

_SCAPY_LOGS = 40  # logging.ERROR: loading BGP warns of the setting that is changed here
_DIRECTIONS = {True: "out", False: "in", None: "-"}


class Line(NamedTuple):
    """One packet of a list.

    ``number`` counts from 1 through the whole capture, filtered or not; ``packet`` is the same for one
    packet at all of its hops, 0 when unknown: what the filter ``packet NUMBER`` asks for.
    """

    number: int
    time: float
    interface: str
    direction: str
    summary: Summary
    reasons: tuple[str, ...]
    packet: int


def lines(
    packets: Iterable[CapturedPacket], *, names: Names | None = None, where: Filter | None = None
) -> Iterator[Line]:
    """The packets that pass the filter, summed up."""
    for number, packet in enumerate(packets, 1):
        if where is None or where.matches(packet):
            yield Line(
                number,
                packet.time,
                packet.interface,
                _DIRECTIONS[packet.outbound],
                summarize(packet.data, names),
                packet.reasons,
                packet.serial,
            )


def render_list(listed: Sequence[Line], *, reasons: bool = False) -> str:
    """The lines in columns: number, time in seconds, interface, direction, packet, summary.

    The packet's column (``#7``) is there when the capture knows which lines are one packet. With
    ``reasons``, those of each packet stand indented below it.
    """
    if not listed:
        return ""
    times = [f"{line.time:.6f}" for line in listed]
    number_width = len(str(listed[-1].number))
    time_width = max(map(len, times))
    interface_width = max(len(line.interface) for line in listed)
    packet_width = max(len(_packet(line)) for line in listed)
    out = []
    for line, time in zip(listed, times, strict=True):
        out.append(
            f"{line.number:>{number_width}}  {time:>{time_width}}  {line.interface:<{interface_width}}  "
            f"{line.direction:<3}  {_packet(line):<{packet_width}}{line.summary}\n"
        )
        if reasons:
            out += [f"{'':{number_width}}    {reason}\n" for reason in line.reasons]
    return "".join(out)


def _packet(line: Line) -> str:
    return f"#{line.packet}  " if line.packet else ""


def detail(data: bytes) -> str:
    """Every field of one packet, as scapy dissects it, through VXLAN and into DNS and BGP."""
    # A third of a second, and only this function needs it.
    from scapy.config import conf

    conf.logLevel = _SCAPY_LOGS
    from scapy.contrib import bgp
    from scapy.layers import dns, vxlan  # noqa: F401  # importing them teaches scapy ports 53, 4789 and 8472
    from scapy.layers.l2 import Ether

    bgp.bgp_module_conf.use_2_bytes_asn = False
    text: str = Ether(data).show(dump=True)
    return text
