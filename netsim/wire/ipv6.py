"""IPv6 (RFC 8200): the fixed header, NAT rewrites and fragments.

Of extension headers only the fragment header is read, where it is the first; others are payload.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire import sctp
from netsim.wire.checksum import checksum_of_sum, incremental, word_sum
from netsim.wire.ipv4 import TCP, UDP

FRAGMENT = 44
ICMPV6 = 58
HEADER_LENGTH = 40
FRAGMENT_HEADER_LENGTH = 8
DEFAULT_HOP_LIMIT = 64  # net.ipv6.conf.all.hop_limit

_HEADER = struct.Struct("!IHBB16s16s")
_PSEUDO = struct.Struct("!16s16sI3xB")
_PORTS = struct.Struct("!HH")
_WORD = struct.Struct("!H")
_FRAGMENT = struct.Struct("!BxHI")
_MORE_FRAGMENTS = 1
_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMPV6: 2}  # offset in the transport header
_ICMP_HEADER_LENGTH = 8
_ECHOES = (128, 129)


class Ipv6(NamedTuple):
    """One packet."""

    source: bytes
    destination: bytes
    protocol: int
    hop_limit: int
    payload: bytes


class Fragment(NamedTuple):
    """A fragment header and what follows it; ``offset`` is in bytes."""

    protocol: int
    offset: int
    more: bool
    identification: int
    payload: bytes


def parse(packet: bytes) -> Ipv6:
    """Read a packet, dropping Ethernet padding behind its length."""
    packet = trim(packet)
    _, _, protocol, hop_limit, source, destination = _HEADER.unpack_from(packet)
    return Ipv6(source, destination, protocol, hop_limit, packet[HEADER_LENGTH:])


def trim(packet: bytes) -> bytes:
    """The packet without Ethernet padding; WireError if it is none."""
    if len(packet) < HEADER_LENGTH:
        raise WireError("ipv6", f"{len(packet)} bytes are too few for a 40-byte header")
    if packet[0] >> 4 != 6:
        raise WireError("ipv6", f"version {packet[0] >> 4}, not 6")
    length = HEADER_LENGTH + (packet[4] << 8) + packet[5]
    if length > len(packet):
        raise WireError("ipv6", f"length {length} in a packet of {len(packet)} bytes")
    return packet if length == len(packet) else packet[:length]


def build(
    source: bytes, destination: bytes, protocol: int, payload: bytes, *, hop_limit: int = DEFAULT_HOP_LIMIT
) -> bytes:
    """One packet, without flow label and traffic class."""
    return _HEADER.pack(6 << 28, len(payload), protocol, hop_limit, source, destination) + payload


def fragment(packet: bytes, mtu: int, identification: int) -> list[bytes]:
    """A packet without extension headers, cut into pieces of at most ``mtu`` bytes (section 4.5)."""
    payload = packet[HEADER_LENGTH:]
    room = (mtu - HEADER_LENGTH - FRAGMENT_HEADER_LENGTH) & ~7
    if room <= 0:
        raise WireError("ipv6", f"an MTU of {mtu} leaves no room for 8 bytes of a fragment")
    pieces = []
    for offset in range(0, len(payload), room):
        piece = payload[offset : offset + room]
        more = _MORE_FRAGMENTS if offset + room < len(payload) else 0
        header = _FRAGMENT.pack(packet[6], offset | more, identification)
        length = _WORD.pack(FRAGMENT_HEADER_LENGTH + len(piece))
        pieces.append(packet[:4] + length + bytes((FRAGMENT,)) + packet[7:40] + header + piece)
    return pieces


def parse_fragment(packet: Ipv6) -> Fragment:
    """Read the fragment header of a packet that has one."""
    if len(packet.payload) < FRAGMENT_HEADER_LENGTH:
        raise WireError("ipv6", "a fragment header that is cut")
    protocol, bits, identification = _FRAGMENT.unpack_from(packet.payload)
    more = bool(bits & _MORE_FRAGMENTS)
    return Fragment(protocol, bits & ~7, more, identification, packet.payload[FRAGMENT_HEADER_LENGTH:])


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What checksums cover besides the payload of ``length`` bytes (RFC 8200 section 8.1)."""
    return _PSEUDO.pack(source, destination, length, protocol)


def transport_checksum(source: bytes, destination: bytes, protocol: int, payload: bytes) -> int:
    """The checksum of a payload whose own checksum field is 0."""
    return checksum_of_sum(
        word_sum(pseudo_header(source, destination, protocol, len(payload))) + word_sum(payload)
    )


def decrement_hop_limit(packet: bytes) -> bytes:
    """The packet after one hop. Whoever forwards has seen to it that the limit is above 0."""
    return packet[:7] + bytes((packet[7] - 1,)) + packet[8:]


def rewrite(
    packet: bytes,
    *,
    source: bytes | None = None,
    destination: bytes | None = None,
    source_port: int | None = None,
    destination_port: int | None = None,
) -> bytes:
    """NAT: the packet with other addresses and ports, its checksum updated (RFC 1624).

    For an ICMPv6 echo a port is the identifier: ``source_port``, or else ``destination_port``.
    """
    before = packet[8:40]
    addresses = (source or packet[8:24]) + (destination or packet[24:40])
    payload = _with_ports(packet[6], packet[HEADER_LENGTH:], source_port, destination_port)
    at = _CHECKSUM_AT.get(packet[6])
    if at is not None and len(payload) >= at + 2:
        old = (payload[at] << 8) + payload[at + 1]
        checksum = incremental(incremental(old, before, addresses), packet[40:44], payload[:4])
        if packet[6] == ICMPV6:
            checksum = incremental(incremental(old, before, addresses), packet[44:46], payload[4:6])
        if packet[6] == UDP:
            checksum = checksum or 0xFFFF
        payload = payload[:at] + _WORD.pack(checksum) + payload[at + 2 :]
    return packet[:8] + addresses + payload


def _with_ports(protocol: int, payload: bytes, source: int | None, destination: int | None) -> bytes:
    if protocol == ICMPV6:
        identifier = source if source is not None else destination
        if identifier is None or len(payload) < _ICMP_HEADER_LENGTH or payload[0] not in _ECHOES:
            return payload
        return payload[:4] + _WORD.pack(identifier) + payload[6:]
    if protocol not in (TCP, UDP, sctp.SCTP) or len(payload) < 4:
        return payload
    old_source, old_destination = _PORTS.unpack_from(payload)
    ports = _PORTS.pack(
        old_source if source is None else source, old_destination if destination is None else destination
    )
    changed = ports + payload[4:]
    return sctp.with_checksum(changed) if protocol == sctp.SCTP and len(payload) >= 12 else changed


def rewrite_quoted(
    packet: bytes,
    *,
    source: bytes | None = None,
    destination: bytes | None = None,
    source_port: int | None = None,
    destination_port: int | None = None,
) -> bytes:
    """An ICMPv6 error with its quoted packet rewritten, as conntrack does when it takes NAT back."""
    start = HEADER_LENGTH + _ICMP_HEADER_LENGTH
    quoted = packet[start:]
    rewritten = rewrite(
        quoted,
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
    )
    field = HEADER_LENGTH + 2
    checksum = incremental(_WORD.unpack_from(packet, field)[0], quoted, rewritten)
    return packet[:field] + _WORD.pack(checksum) + packet[field + 2 : start] + rewritten
