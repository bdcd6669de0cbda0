"""The order in which a lookup returns addresses (RFC 6724).

``ordered`` is glibc's (nss/getaddrinfo.c: rfc3484_sort), ``ordered_by_musl`` musl's (lookup_name.c),
``ordered_by_go`` Go's (net/addrselect.go) and ``ordered_by_cares`` c-ares' (ares_sortaddrinfo.c). They differ
in what a matching prefix means, and in the policy: glibc's is still that of RFC 3484, in which a unique local
address (fc00::/7) comes before IPv4 as any other IPv6 address does; in RFC 6724 it comes after.

The source of a destination is the host's address in its subnet, or else the host's first one of the family;
a destination of a family that the host has no such address of comes last. Link-local addresses are no
sources here. The sort is stable, so equals keep the server's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple

from netsim.base.address import IpAddress

LINK_LOCAL_SCOPE = 2
SITE_LOCAL_SCOPE = 5
GLOBAL_SCOPE = 14
LOOPBACK, LOOPBACK6 = IPv4Interface("127.0.0.1/8"), IPv6Interface("::1/128")
GO_PREFIX_BITS = 64  # addrselect.go, commonPrefixLen: "the network part"


class Client(NamedTuple):
    """The host that asks: its IPv4 addresses in interface order, whether it has any IPv6 address but ::1, and
    those that are not link-local."""

    addresses: tuple[IPv4Interface, ...] = ()
    ipv6: bool = False
    addresses6: tuple[IPv6Interface, ...] = ()


class _Row(NamedTuple):
    """One row of a policy table: what matches has this precedence, and this label."""

    prefix: IPv6Network
    precedence: int
    label: int


class _Policy(NamedTuple):
    """A policy table, the longest prefixes first. IPv4 addresses are those of ::ffff:0:0/96 in it."""

    rows: tuple[_Row, ...]
    ipv4: _Row


def _policy(*rows: tuple[str, int, int]) -> _Policy:
    made = sorted(
        (_Row(IPv6Network(prefix), *values) for prefix, *values in rows),
        key=lambda row: -row.prefix.prefixlen,
    )
    return _Policy(tuple(made), next(row for row in made if row.prefix == IPv6Network("::ffff:0:0/96")))


_GLIBC = _policy(  # default_precedence, default_labels
    ("::1/128", 50, 0), ("::/0", 40, 1), ("2002::/16", 30, 2), ("::/96", 20, 3), ("::ffff:0:0/96", 10, 4),
    ("fec0::/10", 40, 5), ("fc00::/7", 40, 6), ("2001::/32", 40, 7),
)  # fmt: skip
_RFC6724 = _policy(  # section 2.1; what is deprecated in it musl leaves out
    ("::1/128", 50, 0), ("::/0", 40, 1), ("::ffff:0:0/96", 35, 4), ("2002::/16", 30, 2), ("2001::/32", 5, 5),
    ("fc00::/7", 3, 13), ("::/96", 1, 3), ("fec0::/10", 1, 11), ("3ffe::/16", 1, 12),
)  # fmt: skip


def ordered(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """Sort destinations by the rules 1, 2, 5, 6, 8 and 9; the others cannot tell addresses apart here."""
    return _sorted(addresses, client, _GLIBC, _prefix)


def ordered_by_musl(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """As the server gave them when all are IPv4; otherwise by the same rules, where all the leading bits that
    an address shares with its source count."""
    given = tuple(addresses)
    if all(isinstance(address, IPv4Address) for address in given):
        return given
    return _sorted(given, client, _RFC6724, _shared_bits)


def ordered_by_go(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """Rule 9, the matching prefix, is for IPv6 only, and for its first 64 bits."""
    return _sorted(addresses, client, _RFC6724, lambda a, c: min(_shared_bits6(a, c), GO_PREFIX_BITS))


def ordered_by_cares(addresses: Iterable[IpAddress], client: Client) -> tuple[IpAddress, ...]:
    """Rule 9 is for IPv6 only."""
    return _sorted(addresses, client, _RFC6724, _shared_bits6)


def _sorted(
    addresses: Iterable[IpAddress],
    client: Client,
    policy: _Policy,
    prefix: Callable[[IpAddress, Client], int],
) -> tuple[IpAddress, ...]:
    def key(address: IpAddress) -> tuple[bool, bool, bool, int, int, int]:
        return (*_rank(address, client, policy), -prefix(address, client))

    return tuple(sorted(addresses, key=key))


def _rank(address: IpAddress, client: Client, policy: _Policy) -> tuple[bool, bool, bool, int, int]:
    """Smaller is better: unusable, scopes differ, labels differ, precedence, scope."""
    source, row, scope = _source(address, client), _row(address, policy), _scope(address)
    if source is None:
        return True, False, False, -row.precedence, scope
    labels_differ = _row(source, policy).label != row.label
    return False, _scope(source) != scope, labels_differ, -row.precedence, scope


def _row(address: IpAddress, policy: _Policy) -> _Row:
    if isinstance(address, IPv4Address):
        return policy.ipv4
    return next(row for row in policy.rows if address in row.prefix)


def _source(address: IpAddress, client: Client) -> IpAddress | None:
    """The address the host would send from: the one in the destination's subnet, else its first."""
    own: Sequence[IPv4Interface] | Sequence[IPv6Interface]
    if isinstance(address, IPv4Address):
        own = (LOOPBACK,) if address.is_loopback else client.addresses
    else:
        own = (LOOPBACK6,) if address.is_loopback else client.addresses6
    local = (interface.ip for interface in own if address in interface.network)
    return next(local, own[0].ip if own else None)


def _scope(address: IpAddress) -> int:
    if address.is_link_local or address.is_loopback:
        return LINK_LOCAL_SCOPE
    return SITE_LOCAL_SCOPE if isinstance(address, IPv6Address) and address.is_site_local else GLOBAL_SCOPE


def _prefix(address: IpAddress, client: Client) -> int:
    """glibc: of an IPv4 address, nothing counts outside of the source's subnet."""
    if isinstance(address, IPv4Address):
        near = (LOOPBACK, *client.addresses)
        return _shared_bits(address, client) if any(address in own.network for own in near) else 0
    return _shared_bits(address, client)


def _shared_bits6(address: IpAddress, client: Client) -> int:
    return _shared_bits(address, client) if isinstance(address, IPv6Address) else 0


def _shared_bits(address: IpAddress, client: Client) -> int:
    """The leading bits that an address has in common with its source."""
    source = _source(address, client)
    return 0 if source is None else address.max_prefixlen - (int(address) ^ int(source)).bit_length()
