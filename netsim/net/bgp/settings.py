"""How a speaker and its peers are set up.

Not modelled: confederations, several routes to one prefix at once (multipath, ADD-PATH), graceful restart,
aggregation, damping, MinRouteAdvertisementInterval (BIRD has none either), TCP MD5, the TTL of eBGP packets.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

from netsim.base.address import IpAddress

HOLD_TIME = 90  # RFC 4271 section 10
CONNECT_DELAY = 2.0  # this and the next three: Calico's confd/templates/bird.cfg.template
CONNECT_RETRY = 5.0
ERROR_WAIT = 5.0
LONGEST_ERROR_WAIT = 30.0


class Timers(NamedTuple):
    """Seconds. All but the hold time are shortened by up to a quarter, by chance (RFC 4271 section 10).

    ``hold_time`` is what OPEN proposes: 0 (no keepalives at all), or 3 and more; the session's is the
    smaller of both sides', and keepalives come three times as often. ``connect_delay`` passes before a first
    attempt to connect, and before the first after a session; ``connect_retry`` passes between attempts. After
    an error nothing happens for ``error_wait``, which doubles with each further one up to
    ``longest_error_wait``.
    """

    hold_time: int = HOLD_TIME
    connect_delay: float = CONNECT_DELAY
    connect_retry: float = CONNECT_RETRY
    error_wait: float = ERROR_WAIT
    longest_error_wait: float = LONGEST_ERROR_WAIT


class PeerSettings(NamedTuple):
    """One neighbour. It is internal when its AS is our own.

    ``passive``: it connects to us, never we to it. ``client``: we reflect routes to and from it (RFC 4456).
    ``next_hop_self``: it gets our own address as next hop of all routes, as external peers always do.
    ``own_as_allowed``: how often our own AS may stand in the path of a route from it ("allowas-in").
    """

    address: IpAddress
    asn: int
    name: str = ""
    passive: bool = False
    client: bool = False
    next_hop_self: bool = False
    own_as_allowed: int = 0

    @property
    def title(self) -> str:
        """How readers know it."""
        return self.name or f"bgp_{self.address}".replace(".", "_").replace(":", "_")


class SpeakerSettings(NamedTuple):
    """One speaker. ``identifier`` must differ from every peer's; ``cluster_id`` defaults to it. It speaks of
    routes of one ``family`` with peers of that family, and waits for these at the addresses that it
    ``listens`` at; none: at any IPv4 address."""

    asn: int
    identifier: IPv4Address
    peers: tuple[PeerSettings, ...] = ()
    timers: Timers = Timers()
    cluster_id: IPv4Address | None = None
    family: int = 4
    listens: tuple[IpAddress, ...] = ()

    @property
    def cluster(self) -> bytes:
        """The packed cluster ID of a route reflector (RFC 4456 section 7)."""
        return (self.cluster_id or self.identifier).packed
