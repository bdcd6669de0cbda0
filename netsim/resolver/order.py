"""The order in which a lookup returns addresses (RFC 6724).

``ordered`` is glibc's (nss/getaddrinfo.c: rfc3484_sort), ``ordered_by_musl`` musl's (lookup_name.c) and
``ordered_by_go`` Go's (net/addrselect.go): they differ in what a matching prefix means for IPv4.

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
    return tuple(sorted(addresses, key=lambda address: (*_rank(address, client), -_prefix(address, client))))


def ordered_by_musl(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """As the server gave them when all are IPv4; otherwise by the same rules, where all the leading bits that
    an address shares with its source count, and labels cannot tell apart what scopes do not."""
    given = tuple(addresses)
    if all(isinstance(address, IPv4Address) for address in given):
        return given
    return tuple(sorted(given, key=lambda address: (*_rank(address, client), -_shared_bits(address, client))))


def ordered_by_go(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """Rule 9, the matching prefix, is for IPv6 only."""
    return tuple(sorted(addresses, key=lambda address: _rank(address, client)))


def _rank(address: IpAddress, client: Client) -> tuple[bool, bool, int, int]:
    """Smaller is better: unusable, scopes differ, precedence, scope."""
    if isinstance(address, IPv4Address):
        source = _source(address, client)
        scope = _scope(address)
        mismatch = source is not None and _scope(source.ip) != scope
        return source is None, mismatch, -PRECEDENCE_IPV4, scope
    if address.is_loopback:
        return False, False, -PRECEDENCE_LOOPBACK, LINK_LOCAL_SCOPE
    scope = LINK_LOCAL_SCOPE if address.is_link_local else GLOBAL_SCOPE
    return True, False, -PRECEDENCE_IPV6, scope


def _source(address: IPv4Address, client: Client) -> IPv4Interface | None:
    """The address the host would send from: the one in the destination's subnet, else its first."""
    if address.is_loopback:
        return LOOPBACK
    local = (interface for interface in client.addresses if address in interface.network)
    return next(local, next(iter(client.addresses), None))


def _scope(address: IPv4Address) -> int:
    return LINK_LOCAL_SCOPE if address.is_link_local or address.is_loopback else GLOBAL_SCOPE


def _prefix(address: IpAddress, client: Client) -> int:
    """Leading bits of an IPv4 address in common with its source, and 0 outside of the source's subnet."""
    if not isinstance(address, IPv4Address):
        return 0
    source = _source(address, client)
    return _shared_bits(address, client) if source is not None and address in source.network else 0


def _shared_bits(address: IpAddress, client: Client) -> int:
    source = _source(address, client) if isinstance(address, IPv4Address) else None
    return 0 if source is None else 32 - (int(address) ^ int(source.ip)).bit_length()
