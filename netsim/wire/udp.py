"""UDP over IPv4 (RFC 768)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire.checksum import word_sum
from netsim.wire.ipv4 import UDP

HEADER_LENGTH = 8

_HEADER = struct.Struct("!HHHH")


class Udp(NamedTuple):
    """One datagram."""

    source_port: int
    destination_port: int
    payload: bytes


def parse(segment: bytes, pseudo: bytes = b"") -> Udp:
    """Read a datagram and verify its checksum against ``ipv4.pseudo_header(…, len(segment))``.

    Without ``pseudo`` the checksum is not looked at; nor when it is 0, which says "none". Bytes behind
    the length field's end are dropped, as Linux does.
    """
    try:
        source_port, destination_port, length, checksum = _HEADER.unpack_from(segment)
    except struct.error:
        raise WireError("udp", f"{len(segment)} bytes are too few for an 8-byte header") from None
    if not HEADER_LENGTH <= length <= len(segment):
        raise WireError("udp", f"length {length} in a segment of {len(segment)} bytes")
    if pseudo and checksum:
        # The pseudo-header's length is the datagram's, whatever the segment's is.
        total = int.from_bytes(pseudo, "big") + length - len(segment) + word_sum(segment[:length])
        if total % 0xFFFF:
            raise WireError("udp", "wrong checksum")
    return Udp(source_port, destination_port, segment[HEADER_LENGTH:length])


def build(
    source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes
) -> bytes:
    """One datagram, its checksum always set; the addresses are the pseudo-header's."""
    length = HEADER_LENGTH + len(payload)
    total = int.from_bytes(source, "big") + int.from_bytes(destination, "big") + UDP + length
    total += source_port + destination_port + length + word_sum(payload)
    checksum = (-total) % 0xFFFF or 0xFFFF
    return _HEADER.pack(source_port, destination_port, length, checksum) + payload
