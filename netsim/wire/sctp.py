"""SCTP (RFC 9260): the common header with its CRC32c, as far as NAT needs it. Nothing here speaks SCTP."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from netsim.base.errors import WireError

SCTP = 132
HEADER_LENGTH = 12
INIT = 1  # the chunk that begins an association
CHECKSUM_AT = 8

_HEADER = struct.Struct("!HHI")
_CHECKSUM = struct.Struct("<I")  # RFC 9260 appendix A: its bytes are transposed
_CASTAGNOLI = 0x82F63B78  # the polynomial of CRC32c, bits reversed


class Sctp(NamedTuple):
    """One packet; ``payload`` are its chunks."""

    source_port: int
    destination_port: int
    tag: int
    payload: bytes


def parse(packet: bytes) -> Sctp:
    """Read a packet and verify its checksum."""
    if len(packet) < HEADER_LENGTH:
        raise WireError("sctp", f"{len(packet)} bytes are too few for a 12-byte header")
    if with_checksum(packet) != packet:
        raise WireError("sctp", "wrong checksum")
    source_port, destination_port, tag = _HEADER.unpack_from(packet)
    return Sctp(source_port, destination_port, tag, packet[HEADER_LENGTH:])


def build(source_port: int, destination_port: int, tag: int, payload: bytes) -> bytes:
    """One packet."""
    return with_checksum(_HEADER.pack(source_port, destination_port, tag) + bytes(4) + payload)


def with_checksum(packet: bytes) -> bytes:
    """The packet with the checksum that it should have."""
    head, tail = packet[:CHECKSUM_AT], packet[HEADER_LENGTH:]
    return head + _CHECKSUM.pack(crc32c(head + bytes(4) + tail)) + tail


def crc32c(data: bytes) -> int:
    """RFC 9260 appendix A."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _table() -> tuple[int, ...]:
    entries = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (_CASTAGNOLI if number & 1 else 0)
        entries.append(number)
    return tuple(entries)
