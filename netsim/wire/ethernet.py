"""Ethernet II frames, as they cross a veth: no preamble, no padding, no frame check sequence."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError

HEADER_LENGTH = 14
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD

_HEADER = struct.Struct("!6s6sH")


class Ethernet(NamedTuple):
    """One frame; ``payload`` still holds the padding when the frame came padded."""

    destination: bytes
    source: bytes
    ethertype: int
    payload: bytes


def parse(frame: bytes) -> Ethernet:
    """Split a frame into its header and payload."""
    if len(frame) < HEADER_LENGTH:
        raise WireError("ethernet", f"{len(frame)} bytes are too few for a 14-byte header")
    destination, source, ethertype = _HEADER.unpack_from(frame)
    return Ethernet(destination, source, ethertype, frame[HEADER_LENGTH:])


def build(destination: bytes, source: bytes, ethertype: int, payload: bytes) -> bytes:
    """One frame, not padded to Ethernet's 60 bytes: neither does a veth."""
    return _HEADER.pack(destination, source, ethertype) + payload
