"""IPv4 (RFC 791): headers, NAT rewrites and fragments.

``parse`` is for whoever needs the fields; ``decrement_ttl``, ``rewrite`` and ``rewrite_quoted`` patch a
packet that is already known to be sound, so that forwarding never builds a header anew. Options are
skipped on reading and never written. Putting fragments together again needs state and is ``net``'s.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire import sctp
from netsim.wire.checksum import incremental, internet_checksum, word_sum

ICMP = 1
TCP = 6
UDP = 17

HEADER_LENGTH = 20
DEFAULT_TTL = 64  # net.ipv4.ip_default_ttl

_HEADER = struct.Struct("!BBHHHBBH4s4s")
_PSEUDO = struct.Struct("!4s4sxBH")
_WORD = struct.Struct("!H")
_PORTS = struct.Struct("!HH")
_NAT_FIELDS = struct.Struct("!H4s4s")  # header checksum, source, destination
_DONT_FRAGMENT = 0x4000
_MORE_FRAGMENTS = 0x2000
_OFFSET_MASK = 0x1FFF
_CHECKSUM_AT = {TCP: 16, UDP: 6}  # offset in the transport header
_ICMP_ECHOES = (0, 8)
_ICMP_HEADER_LENGTH = 8
_OPTION_END, _OPTION_NOP, _OPTION_COPIED = 0, 1, 0x80


class Ipv4(NamedTuple):
    """One packet; ``fragment_offset`` is in bytes."""

    source: bytes
    destination: bytes
    protocol: int
    ttl: int
    identification: int
    dont_fragment: bool
    more_fragments: bool
    fragment_offset: int
    tos: int
    payload: bytes


def parse(packet: bytes, verify: bool = True) -> Ipv4:
    """Read a packet, dropping Ethernet padding behind its total length; ``verify`` its header checksum."""
    try:
        first, tos, length, identification, fragment, ttl, protocol, _, source, destination = (
            _HEADER.unpack_from(packet)
        )
    except struct.error:
        raise WireError("ipv4", f"{len(packet)} bytes are too few for a 20-byte header") from None
    header_length = HEADER_LENGTH if first == 0x45 else _header_length(packet)
    if not header_length <= length <= len(packet):
        raise WireError("ipv4", f"total length {length} in a packet of {len(packet)} bytes")
    if verify and int.from_bytes(packet[:header_length], "big") % 0xFFFF:
        raise WireError("ipv4", "wrong header checksum")
    return Ipv4(
        source,
        destination,
        protocol,
        ttl,
        identification,
        fragment & _DONT_FRAGMENT != 0,
        fragment & _MORE_FRAGMENTS != 0,
        (fragment & _OFFSET_MASK) * 8,
        tos,
        packet[header_length:length],
    )


def trim(packet: bytes) -> bytes:
    """The packet without Ethernet padding, its header verified as ``parse`` does, for whoever forwards it."""
    header_length = _header_length(packet)
    length = (packet[2] << 8) + packet[3]
    if not header_length <= length <= len(packet):
        raise WireError("ipv4", f"total length {length} in a packet of {len(packet)} bytes")
    if int.from_bytes(packet[:header_length], "big") % 0xFFFF:
        raise WireError("ipv4", "wrong header checksum")
    return packet if length == len(packet) else packet[:length]


def build(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = DEFAULT_TTL,
    identification: int = 0,
    dont_fragment: bool = True,
    tos: int = 0,
    more_fragments: bool = False,
    fragment_offset: int = 0,
) -> bytes:
    """One packet with a header of 20 bytes; ``fragment_offset`` is in bytes, a multiple of 8."""
    length = HEADER_LENGTH + len(payload)
    fragment = fragment_offset >> 3
    if dont_fragment:
        fragment |= _DONT_FRAGMENT
    if more_fragments:
        fragment |= _MORE_FRAGMENTS
    total = 0x4500 + tos + length + identification + fragment + (ttl << 8) + protocol
    total += int.from_bytes(source, "big") + int.from_bytes(destination, "big")
    checksum = (-total) % 0xFFFF
    return (
        _HEADER.pack(
            0x45, tos, length, identification, fragment, ttl, protocol, checksum, source, destination
        )
        + payload
    )


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What TCP and UDP checksums cover besides the segment; ``length`` is the segment's."""
    return _PSEUDO.pack(source, destination, protocol, length)


def decrement_ttl(packet: bytes) -> bytes:
    """The packet after one hop. Whoever forwards has seen to it that the TTL is above 0."""
    if len(packet) < HEADER_LENGTH or packet[8] == 0:
        raise WireError("ipv4", "a time to live of 0 cannot go down")
    checksum = ((packet[10] << 8) + packet[11] + 0x100) % 0xFFFF
    return packet[:8] + bytes((packet[8] - 1, packet[9], checksum >> 8, checksum & 0xFF)) + packet[12:]


def rewrite(
    packet: bytes,
    *,
    source: bytes | None = None,
    destination: bytes | None = None,
    source_port: int | None = None,
    destination_port: int | None = None,
) -> bytes:
    """NAT: the packet with other addresses and ports, its IP, TCP, UDP and SCTP checksums updated (RFC 1624).

    A UDP checksum of 0 ("none") stays 0. Ports that lie outside the packet stay what they are: those of
    a later fragment, those of an ICMP error (see ``rewrite_quoted``). For an ICMP echo a port is the
    identifier: ``source_port``, or else ``destination_port``.
    """
    start = _header_length(packet)
    checksum, old_source, old_destination = _NAT_FIELDS.unpack_from(packet, 10)
    if source is None:
        source = old_source
    if destination is None:
        destination = old_destination
    change = int.from_bytes(old_source, "big") - int.from_bytes(source, "big")
    change += int.from_bytes(old_destination, "big") - int.from_bytes(destination, "big")
    head = packet[:10] + _NAT_FIELDS.pack((checksum + change) % 0xFFFF, source, destination)
    if start != HEADER_LENGTH:
        head += packet[HEADER_LENGTH:start]
    if packet[7] or packet[6] & 0x1F:  # a later fragment
        return head + packet[start:]
    protocol = packet[9]
    if protocol in _CHECKSUM_AT and len(packet) >= start + 4:
        old_source_port, old_destination_port = _PORTS.unpack_from(packet, start)
        if source_port is None:
            source_port = old_source_port
        if destination_port is None:
            destination_port = old_destination_port
        change += old_source_port - source_port + old_destination_port - destination_port
        head += _PORTS.pack(source_port, destination_port)
        return head + _checksummed(packet, start, protocol, change)
    if protocol == sctp.SCTP and len(packet) >= start + 4:
        return head + _sctp_with_ports(packet[start:], source_port, destination_port)
    if protocol == ICMP:
        identifier = source_port if source_port is not None else destination_port
        if identifier is not None:
            return head + _echo_with_identifier(packet[start:], identifier)
    return head + packet[start:]


def rewrite_quoted(
    packet: bytes,
    *,
    source: bytes | None = None,
    destination: bytes | None = None,
    source_port: int | None = None,
    destination_port: int | None = None,
) -> bytes:
    """An ICMP error with its quoted packet rewritten, as conntrack does when it takes NAT back.

    The arguments are the quoted packet's. Its transport checksum is updated when the quote reaches that
    far, the ICMP checksum always; the outer header is ``rewrite``'s business.
    """
    start = _header_length(packet) + _ICMP_HEADER_LENGTH
    quoted = packet[start:]
    rewritten = rewrite(
        quoted,
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
    )
    out = bytearray(packet[:start])
    field = start - _ICMP_HEADER_LENGTH + 2
    _WORD.pack_into(out, field, incremental(_WORD.unpack_from(packet, field)[0], quoted, rewritten))
    return bytes(out) + rewritten


def fragment(packet: bytes, mtu: int) -> list[bytes]:
    """The packet cut into fragments of at most ``mtu`` bytes, or itself alone when it fits.

    Whoever forwards has looked at ``dont_fragment``. A fragment may be cut again: offsets add up, and
    only the very last piece of the very last fragment has no "more fragments".
    """
    header_length = _header_length(packet)
    length = _WORD.unpack_from(packet, 2)[0]
    if length <= mtu:
        return [packet]
    room = (mtu - header_length) & ~7
    if room <= 0:
        raise WireError("ipv4", f"an MTU of {mtu} leaves no room for 8 bytes of a fragment")
    flags = _WORD.unpack_from(packet, 6)[0]
    offset = (flags & _OFFSET_MASK) * 8
    payload = packet[header_length:length]
    header = bytearray(packet[:header_length])
    pieces = []
    for start in range(0, len(payload), room):
        piece = payload[start : start + room]
        last = start + room >= len(payload)
        more = flags & _MORE_FRAGMENTS if last else _MORE_FRAGMENTS
        _WORD.pack_into(header, 2, header_length + len(piece))
        _WORD.pack_into(header, 6, flags & 0x8000 | more | (offset + start) >> 3)
        _WORD.pack_into(header, 10, 0)
        _WORD.pack_into(header, 10, internet_checksum(bytes(header)))
        pieces.append(bytes(header) + piece)
        if start == 0:
            _blank_uncopied_options(header)
    return pieces


def _header_length(packet: bytes) -> int:
    """The length of the header, which is there in full."""
    if len(packet) < HEADER_LENGTH:
        raise WireError("ipv4", f"{len(packet)} bytes are too few for a 20-byte header")
    first = packet[0]
    if first >> 4 != 4:
        raise WireError("ipv4", f"version {first >> 4}, not 4")
    length = (first & 15) * 4
    if not HEADER_LENGTH <= length <= len(packet):
        raise WireError("ipv4", f"header length {length} in a packet of {len(packet)} bytes")
    return length


def _checksummed(packet: bytes, start: int, protocol: int, change: int) -> bytes:
    """What follows the ports at ``start``, the checksum updated if it is there: a quote may end before it."""
    field = start + _CHECKSUM_AT[protocol]
    if len(packet) < field + 2:
        return packet[start + 4 :]
    checksum = (packet[field] << 8) + packet[field + 1]
    if protocol == TCP:
        checksum = (checksum + change) % 0xFFFF
    elif checksum:
        checksum = (checksum + change) % 0xFFFF or 0xFFFF
    return packet[start + 4 : field] + _WORD.pack(checksum) + packet[field + 2 :]


def _sctp_with_ports(segment: bytes, source_port: int | None, destination_port: int | None) -> bytes:
    """An SCTP packet with other ports; its checksum is made anew, if it is there (Linux sctp_manip_pkt)."""
    old_source_port, old_destination_port = _PORTS.unpack_from(segment)
    ports = _PORTS.pack(
        old_source_port if source_port is None else source_port,
        old_destination_port if destination_port is None else destination_port,
    )
    changed = ports + segment[4:]
    return sctp.with_checksum(changed) if len(segment) >= sctp.HEADER_LENGTH else changed


def _echo_with_identifier(message: bytes, identifier: int) -> bytes:
    """An ICMP echo with another identifier; every other ICMP message as it is."""
    if len(message) < _ICMP_HEADER_LENGTH or message[0] not in _ICMP_ECHOES:
        return message
    checksum, old_identifier = _PORTS.unpack_from(message, 2)
    checksum = (checksum + old_identifier - identifier) % 0xFFFF
    patched = message[:2] + _PORTS.pack(checksum, identifier) + message[6:]
    if checksum == 0 and word_sum(patched) == 0:  # the one message that may be all zeros: an echo reply
        return message[:2] + _PORTS.pack(0xFFFF, identifier) + message[6:]
    return patched


def _blank_uncopied_options(header: bytearray) -> None:
    """Turn options that only the first fragment carries into NOPs (Linux ``ip_options_fragment``)."""
    at = HEADER_LENGTH
    while at < len(header) and header[at] != _OPTION_END:
        if header[at] == _OPTION_NOP:
            at += 1
            continue
        length = header[at + 1] if at + 1 < len(header) else 0
        if length < 2 or at + length > len(header):
            return
        if not header[at] & _OPTION_COPIED:
            header[at : at + length] = bytes((_OPTION_NOP,)) * length
        at += length
