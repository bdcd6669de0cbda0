"""Address helpers: MAC addresses as values, and stable MACs and UIDs from names.

IP addresses are ``ipaddress`` objects between rooms. Inside ``net`` and ``wire``, where packets are
handled, both kinds are the packed ``bytes`` that stand in the header.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NewType

Mac = NewType("Mac", bytes)
IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

BROADCAST = Mac(b"\xff" * 6)
ZERO_MAC = Mac(bytes(6))


def mac_from_name(name: str) -> Mac:
    """A stable, locally administered unicast MAC for an interface's full name."""
    digest = hashlib.sha256(name.encode()).digest()
    return Mac(bytes([digest[0] & 0xFC | 0x02]) + digest[1:6])


def render_mac(mac: bytes) -> str:
    """``02:00:00:00:00:01``, as iproute2 prints it."""
    return ":".join(f"{octet:02x}" for octet in mac)


def render_ip(packed: bytes) -> str:
    """Text of a packed IPv4 (4 bytes) or IPv6 (16 bytes) address."""
    if len(packed) == 4:
        return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}"
    return str(IPv6Address(packed))


def render_endpoint(packed: bytes, port: int) -> str:
    """``10.0.0.1:80``, ``[fd00::1]:80``."""
    text = render_ip(packed)
    return f"[{text}]:{port}" if len(packed) == 16 else f"{text}:{port}"


def ip_from_packed(packed: bytes) -> IpAddress:
    """The address object of 4 or 16 packed bytes."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def uid_from_name(name: str) -> str:
    """A stable UID in the shape of a UUID, as ``metadata.uid`` has it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
