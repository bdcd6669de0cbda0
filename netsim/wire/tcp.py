"""TCP segments over IPv4 (RFC 9293): the header, and of the options the maximum segment size."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire.checksum import word_sum
from netsim.wire.ipv4 import TCP

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20

HEADER_LENGTH = 20

_HEADER = struct.Struct("!HHIIHHHH")
_FLAGS_MASK = 0x1FF
_FLAG_NAMES = (
    (FIN, "FIN"),
    (SYN, "SYN"),
    (RST, "RST"),
    (PSH, "PSH"),
    (ACK, "ACK"),
    (URG, "URG"),
    (0x40, "ECE"),
    (0x80, "CWR"),
    (0x100, "NS"),
)
_OPTION_END, _OPTION_NOP, _OPTION_MSS = 0, 1, 2
_MSS_HEAD = 0x02040000  # kind 2, length 4, and two bytes of value


class Tcp(NamedTuple):
    """One segment; ``mss`` None means that the option is absent. Options other than it are not kept."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    mss: int | None = None
    payload: bytes = b""


def parse(segment: bytes, pseudo: bytes = b"") -> Tcp:
    """Read a segment and verify its checksum against ``ipv4.pseudo_header(…, len(segment))``.

    Without ``pseudo`` the checksum is not looked at. Options that make no sense end the options, as in
    Linux ``tcp_parse_options``.
    """
    try:
        source_port, destination_port, sequence, acknowledgement, bits, window, _, _ = _HEADER.unpack_from(
            segment
        )
    except struct.error:
        raise WireError("tcp", f"{len(segment)} bytes are too few for a 20-byte header") from None
    header_length = bits >> 12 << 2
    if not HEADER_LENGTH <= header_length <= len(segment):
        raise WireError("tcp", f"header length {header_length} in a segment of {len(segment)} bytes")
    if pseudo and (int.from_bytes(pseudo, "big") + word_sum(segment)) % 0xFFFF:
        raise WireError("tcp", "wrong checksum")
    mss = _mss(segment[HEADER_LENGTH:header_length]) if header_length > HEADER_LENGTH else None
    return Tcp(
        source_port,
        destination_port,
        sequence,
        acknowledgement,
        bits & _FLAGS_MASK,
        window,
        mss,
        segment[header_length:],
    )


def build(source: bytes, destination: bytes, tcp: Tcp) -> bytes:
    """One segment, its checksum set; the addresses are the pseudo-header's."""
    source_port, destination_port, sequence, acknowledgement, flags, window, mss, payload = tcp
    if mss is None:
        header_length = HEADER_LENGTH
        bits = 0x5000 | flags
        options = b""
        total = 0
    else:
        header_length = HEADER_LENGTH + 4
        bits = 0x6000 | flags
        options = (_MSS_HEAD | mss).to_bytes(4, "big")
        total = _MSS_HEAD + mss
    total += int.from_bytes(source, "big") + int.from_bytes(destination, "big") + TCP
    total += header_length + len(payload) + source_port + destination_port
    total += sequence + acknowledgement + bits + window + word_sum(payload)
    checksum = (-total) % 0xFFFF
    return (
        _HEADER.pack(source_port, destination_port, sequence, acknowledgement, bits, window, checksum, 0)
        + options
        + payload
    )


def render_flags(flags: int) -> str:
    """``SYN,ACK``, in the order of the bits, as Wireshark lists them."""
    return ",".join(name for bit, name in _FLAG_NAMES if flags & bit)


def _mss(options: bytes) -> int | None:
    at = 0
    while at < len(options) and options[at] != _OPTION_END:
        if options[at] == _OPTION_NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return None
        if options[at] == _OPTION_MSS and length == 4:
            return (options[at + 2] << 8) + options[at + 3]
        at += length
    return None
