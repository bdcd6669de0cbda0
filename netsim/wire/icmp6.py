"""ICMPv6 (RFC 4443): echoes, and the errors that quote the packet they are about."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire import icmp
from netsim.wire.checksum import word_sum
from netsim.wire.ipv6 import ICMPV6, transport_checksum

UNREACHABLE = 1
PACKET_TOO_BIG = 2
TIME_EXCEEDED = 3
PARAMETER_PROBLEM = 4
ECHO_REQUEST = 128
ECHO_REPLY = 129
ERRORS = (UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM)

NO_ROUTE, ADMIN_PROHIBITED, ADDRESS, PORT = 0, 1, 3, 4  # codes of UNREACHABLE
UNKNOWN_NEXT_HEADER = 1  # of PARAMETER_PROBLEM
NEXT_HEADER_AT = 6  # what that points at, where there are no extension headers
HEADER_LENGTH = 8
QUOTE_LIMIT = 1280 - 40 - HEADER_LENGTH  # RFC 4443 2.4: the error fits in the smallest MTU

_HEADER = struct.Struct("!BBHI")
_READ = struct.Struct("!BBH4s")
_SAME = {  # Linux ip6_tables and icmpv6_send: what is an error of IPv4 is this one
    (icmp.UNREACHABLE, icmp.NET): (UNREACHABLE, NO_ROUTE),
    (icmp.UNREACHABLE, icmp.HOST): (UNREACHABLE, ADDRESS),
    (icmp.UNREACHABLE, icmp.PROTOCOL): (PARAMETER_PROBLEM, UNKNOWN_NEXT_HEADER),
    (icmp.UNREACHABLE, icmp.PORT): (UNREACHABLE, PORT),
    (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED): (PACKET_TOO_BIG, 0),
    (icmp.TIME_EXCEEDED, 0): (TIME_EXCEEDED, 0),
}


class Icmp6(NamedTuple):
    """One message. The type says what ``rest`` (4 bytes) means; an error's ``payload`` is its quote."""

    type: int
    code: int
    rest: bytes
    payload: bytes

    @property
    def identifier(self) -> int:
        """Of an echo."""
        return (self.rest[0] << 8) + self.rest[1]

    @property
    def sequence(self) -> int:
        """Of an echo."""
        return (self.rest[2] << 8) + self.rest[3]

    @property
    def mtu(self) -> int:
        """Of "packet too big": the next hop's MTU."""
        return int.from_bytes(self.rest, "big")


def parse(data: bytes, pseudo: bytes = b"") -> Icmp6:
    """Read a message and verify its checksum against ``ipv6.pseudo_header(…, len(data))``, if given."""
    if len(data) < HEADER_LENGTH:
        raise WireError("icmp6", f"{len(data)} bytes are too few for an 8-byte header")
    if pseudo and (int.from_bytes(pseudo, "big") + word_sum(data)) % 0xFFFF:
        raise WireError("icmp6", "wrong checksum")
    kind, code, _, rest = _READ.unpack_from(data)
    return Icmp6(kind, code, rest, data[HEADER_LENGTH:])


def build_error(
    source: bytes, destination: bytes, kind: int, code: int, original_packet: bytes, mtu: int = 0
) -> bytes:
    """The message that says what an ICMP error of this kind and code does, about an IPv6 packet."""
    kind, code = _SAME[kind, code]
    rest = NEXT_HEADER_AT if kind == PARAMETER_PROBLEM else mtu
    return build(source, destination, kind, code, rest, original_packet[:QUOTE_LIMIT])


def build_echo(
    source: bytes, destination: bytes, kind: int, identifier: int, sequence: int, payload: bytes
) -> bytes:
    """An ECHO_REQUEST or ECHO_REPLY."""
    return build(source, destination, kind, 0, identifier << 16 | sequence, payload)


def build(source: bytes, destination: bytes, kind: int, code: int, rest: int, payload: bytes) -> bytes:
    """A message of any type; ``rest`` are the four bytes behind the checksum."""
    blank = _HEADER.pack(kind, code, 0, rest) + payload
    checksum = transport_checksum(source, destination, ICMPV6, blank)
    return _HEADER.pack(kind, code, checksum, rest) + payload
