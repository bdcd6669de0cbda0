"""Where a connection really went, read from its first packet and from nothing else.

The checks ``connect`` and ``get``, and ``diff``, use this: what a server says of itself is not asked. The
packet that opens a connection is the one that carries the program's reason; its serial stays with it
through NAT and tunnels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_interface
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.address import IpAddress, ip_from_packed
from netsim.base.cause import Cause
from netsim.capture.dissect import layers
from netsim.capture.journeys import Journey, journeys_of
from netsim.capture.record import PacketRecord, Recorder
from netsim.plan.entries import HostName
from netsim.wire import ipv4, ipv6, tcp, vxlan

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

Owns = Callable[[HostName, IpAddress], bool]
"""Whether an address is one of a host's own."""

VXLAN = "vxlan"
NO_TUNNEL = "none"


class Landing(NamedTuple):
    """Where an opening packet ended.

    ``address`` is where it arrived, ``source`` whom it then came from; both are None when it arrived nowhere.
    ``hosts`` are all that it crossed, in order, switches too; ``encapsulation`` is vxlan or none, and empty
    when there was no packet at all.
    """

    address: IpAddress | None = None
    source: IpAddress | None = None
    hosts: tuple[HostName, ...] = ()
    encapsulation: str = ""


NOWHERE = Landing()


class Openings(Recorder):
    """Keeps the packets of the causes that are followed, and no others: many may be under way at once."""

    __slots__ = ("_followed",)

    def __init__(self) -> None:
        super().__init__()
        self._followed: dict[Cause, list[PacketRecord]] = {}

    def record(self, record: PacketRecord) -> None:
        """Keep the record if the packet was sent for one of the causes."""
        if record.notes and (kept := self._followed.get(record.notes[0].cause)) is not None:
            kept.append(record)

    @contextmanager
    def following(self, cause: Cause) -> Iterator[Sequence[PacketRecord]]:
        """The packets of a cause, which come while the block runs."""
        kept = self._followed[cause] = []
        try:
            yield kept
        finally:
            del self._followed[cause]


def landing(records: Sequence[PacketRecord], cause: Cause, owns: Owns) -> Landing:
    """Follow the packet that opened a connection for ``cause``; of retransmissions, the last that arrived."""
    opening = [record for record in records if record.notes and record.notes[0].cause == cause]
    landings = [_landing(journey, owns) for journey in journeys_of(opening) if _opens(journey)]
    arrived = [landed for landed in landings if landed.address is not None]
    return (arrived or landings or [NOWHERE])[-1]


def _opens(journey: Journey) -> bool:
    """Whether it is a SYN, or a datagram."""
    for layer in layers(journey.first.data):
        if isinstance(layer, tcp.Tcp):
            return layer.flags & (tcp.SYN | tcp.ACK) == tcp.SYN
    return True


def _landing(journey: Journey, owns: Owns) -> Landing:
    last = journey.records[-1]
    seen = [layers(record.data) for record in journey.records]
    hosts = tuple(host for host, _ in groupby(record.port.host for record in journey.records))
    tunnelled = any(isinstance(layer, vxlan.Vxlan) for found in seen for layer in found)
    encapsulation = VXLAN if tunnelled else NO_TUNNEL
    innermost = [layer for layer in seen[-1] if isinstance(layer, ipv4.Ipv4 | ipv6.Ipv6)][-1]
    address = ip_from_packed(innermost.destination)
    if last.outbound or not owns(last.port.host, address):
        return Landing(None, None, hosts, encapsulation)
    return Landing(address, ip_from_packed(innermost.source), hosts, encapsulation)


def owner(cluster: Cluster) -> Owns:
    """Whether an address is a host's own, as its interfaces say."""

    def owns(host: HostName, address: IpAddress) -> bool:
        interfaces = cluster.plane.host(host).interfaces()
        own = (text for interface in interfaces for text in interface.addresses)
        return address in (ip_interface(text).ip for text in own)

    return owns
