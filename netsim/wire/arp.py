"""ARP for IPv4 over Ethernet (RFC 826)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.wire.ethernet import ETHERTYPE_IPV4

REQUEST = 1
REPLY = 2

_MESSAGE = struct.Struct("!HHBBH6s4s6s4s")
_HARDWARE_ETHERNET = 1
_KIND = (_HARDWARE_ETHERNET, ETHERTYPE_IPV4, 6, 4)


class Arp(NamedTuple):
    """One message; ``target_mac`` of a request is zero."""

    operation: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes


def parse(data: bytes) -> Arp:
    """Read a message; Ethernet padding after it is ignored."""
    if len(data) < _MESSAGE.size:
        raise WireError("arp", f"{len(data)} bytes are too few for a message of {_MESSAGE.size}")
    hardware, protocol, hardware_length, protocol_length, *fields = _MESSAGE.unpack_from(data)
    if (hardware, protocol, hardware_length, protocol_length) != _KIND:
        raise WireError("arp", f"hardware type {hardware}, protocol {protocol:#06x} is not IPv4 on Ethernet")
    return Arp(*fields)


def build(arp: Arp) -> bytes:
    """The 28 bytes of a message."""
    return _MESSAGE.pack(*_KIND, *arp)
