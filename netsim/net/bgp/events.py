"""What a speaker is told, and what it asks for.

An adapter carries these between ``speaker.Speaker`` and the world: it opens TCP connections, carries their
bytes, and puts routes into the host's table.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from netsim.base.address import IpAddress, IpNetwork
from netsim.base.cause import Cause
from netsim.net.bgp.settings import PeerSettings


class Connection(NamedTuple):
    """One TCP connection, or an attempt at one. The side that opens it numbers it.

    The adapter numbers the connections that it accepts, so that no two of a peer are equal.
    """

    peer: IpAddress
    incoming: bool
    number: int

    def __str__(self) -> str:
        return f"{'from' if self.incoming else 'to'} {self.peer} #{self.number}"


class Started(NamedTuple):
    """The program runs: sessions may begin."""


class Stopped(NamedTuple):
    """The program is to end: sessions end with Cease, and learnt routes go."""


class PeerAdded(NamedTuple):
    """A neighbour is set up, or set up anew."""

    settings: PeerSettings


class PeerRemoved(NamedTuple):
    """A neighbour is no longer one."""

    peer: IpAddress


class ConnectionOpened(NamedTuple):
    """A TCP connection stands: one asked for, or one accepted. ``local`` is our end's address."""

    connection: Connection
    local: IpAddress


class ConnectionFailed(NamedTuple):
    """A connection that was asked for could not be had."""

    connection: Connection
    reason: str


class ConnectionClosed(NamedTuple):
    """The peer closed a connection, or it broke; ``reason`` is empty for the former."""

    connection: Connection
    reason: str = ""


class BytesArrived(NamedTuple):
    """Bytes came in on a connection."""

    connection: Connection
    data: bytes


class Originated(NamedTuple):
    """A prefix of this host's own is to be announced."""

    prefix: IpNetwork


class Withdrawn(NamedTuple):
    """A prefix of this host's own is no longer to be announced."""

    prefix: IpNetwork


class NextHopResolved(NamedTuple):
    """What the host's other routes say of a next hop: its distance, or None when there is no way to it.

    A next hop of which nothing was said counts as reachable at distance 0.
    """

    next_hop: IpAddress
    metric: int | None


Event: TypeAlias = (
    Started
    | Stopped
    | PeerAdded
    | PeerRemoved
    | ConnectionOpened
    | ConnectionFailed
    | ConnectionClosed
    | BytesArrived
    | Originated
    | Withdrawn
    | NextHopResolved
)


class OpenConnection(NamedTuple):
    """Connect to the peer's port 179; answer with ConnectionOpened or ConnectionFailed."""

    connection: Connection


class SendBytes(NamedTuple):
    """Send these bytes; ``cause`` says what they are."""

    connection: Connection
    data: bytes
    cause: Cause


class CloseConnection(NamedTuple):
    """Send what is queued and close, or give the attempt up. Nothing more is heard of the connection."""

    connection: Connection


class InstallRoute(NamedTuple):
    """Route the prefix to the BGP next hop, in place of an earlier route to the prefix."""

    prefix: IpNetwork
    next_hop: IpAddress
    cause: Cause


class RemoveRoute(NamedTuple):
    """Take back the route to the prefix that was installed last."""

    prefix: IpNetwork


Command: TypeAlias = OpenConnection | SendBytes | CloseConnection | InstallRoute | RemoveRoute
