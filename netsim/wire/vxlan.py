"""VXLAN (RFC 7348): an Ethernet frame inside a UDP datagram."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError

HEADER_LENGTH = 8
IANA_PORT = 4789
LINUX_PORT = 8472  # the kernel's default, which flannel and Cilium keep

_HEADER = struct.Struct("!II")
_VNI_VALID = 0x08000000


class Vxlan(NamedTuple):
    """A tunnelled frame and the network that it belongs to."""

    vni: int
    frame: bytes


def parse(data: bytes) -> Vxlan:
    """Read a UDP payload; reserved bits are ignored, as section 5 asks."""
    if len(data) < HEADER_LENGTH:
        raise WireError("vxlan", f"{len(data)} bytes are too few for an 8-byte header")
    flags, vni = _HEADER.unpack_from(data)
    if not flags & _VNI_VALID:
        raise WireError("vxlan", "the flag that says that the VNI is valid is not set")
    return Vxlan(vni >> 8, data[HEADER_LENGTH:])


def build(vni: int, frame: bytes) -> bytes:
    """A UDP payload; ``vni`` has 24 bits."""
    return _HEADER.pack(_VNI_VALID, vni << 8) + frame
