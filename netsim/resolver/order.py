"""The order in which getaddrinfo returns addresses (RFC 6724; glibc, nss/getaddrinfo.c: rfc3484_sort).

netsim's hosts have IPv4 addresses, and of IPv6 at most link-local ones: an IPv6 destination other than the
loopback address has no usable source and comes last. The sort is stable, so equals keep the server's order.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface
from typing import NamedTuple

from netsim.base.address import IpAddress

LINK_LOCAL_SCOPE = 2
GLOBAL_SCOPE = 14
PRECEDENCE_LOOPBACK = 50  # ::1
PRECEDENCE_IPV6 = 40
PRECEDENCE_IPV4 = 10
LOOPBACK = IPv4Interface("127.0.0.1/8")


class Client(NamedTuple):
    """The host that asks: its IPv4 addresses in interface order, and whether it has any IPv6 but ::1."""

    addresses: tuple[IPv4Interface, ...] = ()
    ipv6: bool = False


def ordered(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """Sort destinations by the rules 1, 2, 6, 8 and 9; the others cannot tell addresses apart here."""
    return tuple(sorted(addresses, key=lambda address: _rank(address, client)))


def _rank(address: IpAddress, client: Client) -> tuple[bool, bool, int, int, int]:
    """Smaller is better: unusable, scopes differ, precedence, scope, matching prefix."""
    if isinstance(address, IPv4Address):
        source = _source(address, client)
        scope = _scope(address)
        mismatch = source is not None and _scope(source.ip) != scope
        return source is None, mismatch, -PRECEDENCE_IPV4, scope, -_common_prefix(address, source)
    if address.is_loopback:
        return False, False, -PRECEDENCE_LOOPBACK, LINK_LOCAL_SCOPE, 0
    scope = LINK_LOCAL_SCOPE if address.is_link_local else GLOBAL_SCOPE
    return True, False, -PRECEDENCE_IPV6, scope, 0


def _source(address: IPv4Address, client: Client) -> IPv4Interface | None:
    """The address the host would send from: the one in the destination's subnet, else its first."""
    if address.is_loopback:
        return LOOPBACK
    local = (interface for interface in client.addresses if address in interface.network)
    return next(local, next(iter(client.addresses), None))


def _scope(address: IPv4Address) -> int:
    return LINK_LOCAL_SCOPE if address.is_link_local or address.is_loopback else GLOBAL_SCOPE


def _common_prefix(address: IPv4Address, source: IPv4Interface | None) -> int:
    """Leading bits in common with the source, and 0 outside of its subnet."""
    if source is None or address not in source.network:
        return 0
    return 32 - (int(address) ^ int(source.ip)).bit_length()
