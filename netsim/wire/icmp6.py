"""ICMPv6 (RFC 4443): echoes, and the errors that quote the packet they are about."""

from __future__ import annotations

import struct

from netsim.wire import icmp
from netsim.wire.ipv6 import ICMPV6, transport_checksum

UNREACHABLE = 1
PACKET_TOO_BIG = 2
TIME_EXCEEDED = 3
ECHO_REQUEST = 128
ECHO_REPLY = 129
ERRORS = (UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED)

NO_ROUTE, ADDRESS, PORT = 0, 3, 4  # codes of UNREACHABLE
HEADER_LENGTH = 8
QUOTE_LIMIT = 1280 - 40 - HEADER_LENGTH  # RFC 4443 2.4: the error fits in the smallest MTU

_HEADER = struct.Struct("!BBHI")
_SAME = {  # Linux ip6_tables and icmpv6_send: what is an error of IPv4 is this one
    (icmp.UNREACHABLE, icmp.NET): (UNREACHABLE, NO_ROUTE),
    (icmp.UNREACHABLE, icmp.HOST): (UNREACHABLE, ADDRESS),
    (icmp.UNREACHABLE, icmp.PROTOCOL): (UNREACHABLE, NO_ROUTE),
    (icmp.UNREACHABLE, icmp.PORT): (UNREACHABLE, PORT),
    (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED): (PACKET_TOO_BIG, 0),
    (icmp.TIME_EXCEEDED, 0): (TIME_EXCEEDED, 0),
}


def build_error(
    source: bytes, destination: bytes, kind: int, code: int, original_packet: bytes, mtu: int = 0
) -> bytes:
    """The message that says what an ICMP error of this kind and code does, about an IPv6 packet."""
    kind, code = _SAME[kind, code]
    return _checked(source, destination, kind, code, mtu, original_packet[:QUOTE_LIMIT])


def build_reply(source: bytes, destination: bytes, request: bytes) -> bytes:
    """The answer to an echo request."""
    _, _, _, rest = _HEADER.unpack_from(request)
    return _checked(source, destination, ECHO_REPLY, 0, rest, request[HEADER_LENGTH:])


def _checked(source: bytes, destination: bytes, kind: int, code: int, rest: int, payload: bytes) -> bytes:
    blank = _HEADER.pack(kind, code, 0, rest) + payload
    checksum = transport_checksum(source, destination, ICMPV6, blank)
    return _HEADER.pack(kind, code, checksum, rest) + payload
