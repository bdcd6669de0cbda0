"""The tuple of a flow, and how it is read from a packet (Linux nf_conntrack_tuple.h, nf_ct_get_tuple).

Connection tracking, IPVS and sockets know their flows by it.
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.wire import icmp, icmp6, ipv6
from netsim.wire.ipv4 import ICMP, TCP, UDP
from netsim.wire.sctp import SCTP


class Tuple(NamedTuple):
    """One direction of a flow. An ICMP echo has its identifier as the asking side's port, and 0."""

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int

    def inverse(self) -> Tuple:
        return Tuple(self.protocol, self.destination, self.destination_port, self.source, self.source_port)


def tuple_from_packet(data: bytes) -> Tuple | None:
    """The tuple of a packet; None for ICMP that is neither echo nor reply, and for cut packets."""
    if data[0] >> 4 == 6:
        return _tuple_from_ipv6(data)
    start = (data[0] & 0x0F) * 4
    protocol = data[9]
    source, destination = data[12:16], data[16:20]
    if len(data) < start + 8:
        return None
    if protocol in (TCP, UDP, SCTP):
        return Tuple(
            protocol,
            source,
            data[start] << 8 | data[start + 1],
            destination,
            data[start + 2] << 8 | data[start + 3],
        )
    if protocol == ICMP:
        identifier = data[start + 4] << 8 | data[start + 5]
        if data[start] == icmp.ECHO_REQUEST:
            return Tuple(protocol, source, identifier, destination, 0)
        if data[start] == icmp.ECHO_REPLY:
            return Tuple(protocol, source, 0, destination, identifier)
        return None
    return Tuple(protocol, source, 0, destination, 0)


def _tuple_from_ipv6(data: bytes) -> Tuple | None:
    protocol, source, destination = data[6], data[8:24], data[24:40]
    if len(data) < ipv6.HEADER_LENGTH + 8:
        return None
    if protocol in (TCP, UDP, SCTP):
        return Tuple(protocol, source, data[40] << 8 | data[41], destination, data[42] << 8 | data[43])
    if protocol == ipv6.ICMPV6:
        identifier = data[44] << 8 | data[45]
        if data[40] == icmp6.ECHO_REQUEST:
            return Tuple(protocol, source, identifier, destination, 0)
        if data[40] == icmp6.ECHO_REPLY:
            return Tuple(protocol, source, 0, destination, identifier)
        return None
    return Tuple(protocol, source, 0, destination, 0)
