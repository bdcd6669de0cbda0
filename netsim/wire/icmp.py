"""ICMP for IPv4 (RFC 792, 1191, 1812): echoes, and the errors that quote the packet they are about."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire.checksum import checksum_of_sum, word_sum

ECHO_REPLY = 0
UNREACHABLE = 3
ECHO_REQUEST = 8
TIME_EXCEEDED = 11

# Codes of UNREACHABLE.
NET = 0
HOST = 1
PROTOCOL = 2
PORT = 3
FRAGMENTATION_NEEDED = 4
ADMIN_PROHIBITED = 13

HEADER_LENGTH = 8
QUOTE_LIMIT = 576 - 20 - HEADER_LENGTH  # RFC 1812 4.3.2.3, Linux icmp_send: the error fits in 576 bytes

_HEADER = struct.Struct("!BBH4s")
_ECHO = struct.Struct("!HH")
_MTU = struct.Struct("!HH")


class Icmp(NamedTuple):
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
        """Of "fragmentation needed": the next hop's MTU (RFC 1191)."""
        return (self.rest[2] << 8) + self.rest[3]


def parse(data: bytes, verify: bool = True) -> Icmp:
    """Read a message; ``verify`` its checksum."""
    if len(data) < HEADER_LENGTH:
        raise WireError("icmp", f"{len(data)} bytes are too few for an 8-byte header")
    total = word_sum(data)
    if verify and (total == 0 or total % 0xFFFF):
        raise WireError("icmp", "wrong checksum")
    type_, code, _, rest = _HEADER.unpack_from(data)
    return Icmp(type_, code, rest, data[HEADER_LENGTH:])


def build_echo(type: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An ECHO_REQUEST or ECHO_REPLY."""
    return _build(type, 0, _ECHO.pack(identifier, sequence), payload)


def build_error(type: int, code: int, original_packet: bytes, mtu: int = 0) -> bytes:
    """An error about ``original_packet`` (IPv4), quoting as much of it as Linux does."""
    length = (original_packet[2] << 8) + original_packet[3]
    return _build(type, code, _MTU.pack(0, mtu), original_packet[: min(length, QUOTE_LIMIT)])


def _build(type_: int, code: int, rest: bytes, payload: bytes) -> bytes:
    total = (type_ << 8) + code + word_sum(rest) + word_sum(payload)
    return _HEADER.pack(type_, code, checksum_of_sum(total), rest) + payload
