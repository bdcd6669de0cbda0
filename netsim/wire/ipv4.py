"""IPv4 (RFC 791): headers, NAT rewrites and fragments.

``parse`` is for whoever needs the fields; ``decrement_ttl``, ``rewrite`` and ``rewrite_quoted`` patch a
packet that is already known to be sound, so that forwarding never builds a header anew. Options are
skipped on reading and never written. Putting fragments together again needs state and is ``net``'s.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire.checksum import checksum_of_sum, incremental, internet_checksum, word_sum

ICMP = 1
TCP = 6
UDP = 17

HEADER_LENGTH = 20
DEFAULT_TTL = 64  # net.ipv4.ip_default_ttl

_HEADER = struct.Struct("!BBHHHBBH4s4s")
_PSEUDO = struct.Struct("!4s4sxBH")
_WORD = struct.Struct("!H")
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
    """NAT: the packet with other addresses and ports, its IP and TCP or UDP checksums updated (RFC 1624).

    A UDP checksum of 0 ("none") stays 0. Ports that lie outside the packet stay what they are: those of
    a later fragment, those of an ICMP error (see ``rewrite_quoted``). For an ICMP echo a port is the
    identifier: ``source_port``, or else ``destination_port``.
    """
    header_length = _header_length(packet)
    out = bytearray(packet)
    if source is not None:
        out[12:16] = source
    if destination is not None:
        out[16:20] = destination
    old_addresses, new_addresses = packet[12:20], bytes(out[12:20])
    _WORD.pack_into(out, 10, incremental(_WORD.unpack_from(packet, 10)[0], old_addresses, new_addresses))
    if not (packet[6] & 0x1F or packet[7]):
        protocol = packet[9]
        if protocol == ICMP:
            identifier = source_port if source_port is not None else destination_port
            if identifier is not None:
                _rewrite_echo(out, header_length, identifier)
        elif protocol in _CHECKSUM_AT and len(packet) >= header_length + 4:
            if source_port is not None:
                _WORD.pack_into(out, header_length, source_port)
            if destination_port is not None:
                _WORD.pack_into(out, header_length + 2, destination_port)
            _update_transport_checksum(
                out,
                protocol,
                header_length + _CHECKSUM_AT[protocol],
                old_addresses + packet[header_length : header_length + 4],
                new_addresses + bytes(out[header_length : header_length + 4]),
            )
    return bytes(out)


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


def _update_transport_checksum(out: bytearray, protocol: int, field: int, old: bytes, new: bytes) -> None:
    """Patch the TCP or UDP checksum, if the packet reaches that far: a quoted one may not."""
    if len(out) < field + 2:
        return
    checksum = _WORD.unpack_from(out, field)[0]
    if protocol == UDP:
        if checksum:
            _WORD.pack_into(out, field, incremental(checksum, old, new) or 0xFFFF)
    else:
        _WORD.pack_into(out, field, incremental(checksum, old, new))


def _rewrite_echo(out: bytearray, start: int, identifier: int) -> None:
    """Patch the identifier of an ICMP echo and its checksum; leave every other ICMP message alone."""
    if len(out) < start + _ICMP_HEADER_LENGTH or out[start] not in _ICMP_ECHOES:
        return
    old = bytes(out[start + 4 : start + 6])
    checksum = _WORD.unpack_from(out, start + 2)[0]
    _WORD.pack_into(out, start + 4, identifier)
    checksum = incremental(checksum, old, bytes(out[start + 4 : start + 6]))
    if checksum == 0:  # the one message that may be all zeros: an echo reply
        checksum = checksum_of_sum(word_sum(bytes(out[start : start + 2] + out[start + 4 :])))
    _WORD.pack_into(out, start + 2, checksum)


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
