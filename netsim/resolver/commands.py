"""What a resolver machine asks of its driver, what it hears back, and the value it ends with.

A machine is a generator that yields one ``Command`` at a time and is resumed with the ``Event`` that the
command led to; every event carries the time at which it happened, so a machine needs no clock. The driver
(``programs/resolve.py`` on a Host, a script in tests) owns the sockets; the machine names them with small
numbers of its own choice.

The set fits the three libraries that Pods use. glibc connects one UDP socket per server, so that an ICMP
error reaches it (``Refused``). musl opens one socket without a server and says with each ``Send`` where it
goes; ``Arrived.source`` tells it who answered. Go asks for A and for AAAA in two machines with a socket each.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause

DNS_PORT = 53


class Transport(Enum):
    """``value`` is the word that checks and captures print."""

    UDP = "udp"
    TCP = "tcp"


class Family(Enum):
    """``ai_family``: which addresses the caller wants."""

    UNSPEC = "unspec"
    INET = "inet"
    INET6 = "inet6"


class GaiError(Enum):
    """getaddrinfo's error codes; ``value`` is the text of glibc's gai_strerror.

    ``HANG`` is no code of glibc: the call does not return at all, and its caller lost patience.
    """

    EAI_NONAME = "Name or service not known"
    EAI_AGAIN = "Temporary failure in name resolution"
    EAI_NODATA = "No address associated with hostname"
    EAI_ADDRFAMILY = "Address family for hostname not supported"
    HANG = "the resolver waits for ever: a DNS server accepted the TCP connection and stays silent"


class Outcome(Enum):
    """What became of one query. ``value`` is the word that checks and tables print."""

    ANSWERED = "NOERROR"
    NO_DATA = "NODATA"
    NXDOMAIN = "NXDOMAIN"
    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    NOTIMP = "NOTIMP"
    FORMERR = "FORMERR"
    OTHER_RCODE = "other error code"
    LAME = "lame"  # NOERROR, nothing in it, neither authoritative nor recursive
    TRUNCATED = "truncated"
    TIMED_OUT = "timed out"
    PORT_UNREACHABLE = "port unreachable"
    UNREACHABLE = "unreachable"
    CONNECTION_LOST = "connection lost"
    NOT_AWAITED = "not awaited"  # the resolver had made up its mind before an answer came


class SentQuery(NamedTuple):
    """One query as it went out: ``name`` is absolute, ``qtype`` a number of ``wire.dns``, ``sent_at`` virtual
    seconds, ``answers`` the addresses (or names) that its answer held."""

    name: str
    qtype: int
    server: IpAddress
    transport: Transport
    sent_at: float
    outcome: Outcome
    answers: tuple[str, ...] = ()


class Lookup(NamedTuple):
    """The end of one lookup. ``error`` is None exactly when there is a result; names have no trailing dot.

    ``aliases`` are the other names of the host, as ``getent hosts`` prints them; ``elapsed`` is in seconds.
    """

    name: str
    addresses: tuple[IpAddress, ...] = ()
    canonical_name: str = ""
    error: GaiError | None = None
    queries: tuple[SentQuery, ...] = ()
    elapsed: float = 0.0
    aliases: tuple[str, ...] = ()


class Open(NamedTuple):
    """Create a socket; with a server, connect it. Answered by Done, Refused, Unreachable or TimedOut.

    ``cause`` is for the packets of a TCP handshake.
    """

    socket: int
    transport: Transport
    server: IpAddress | None
    cause: Cause


class Send(NamedTuple):
    """Send messages: one datagram each, or one TCP write with a length before each (RFC 1035, 4.2.2).

    ``to`` is for sockets opened without a server. Answered by Done, or by the error that was waiting.
    """

    socket: int
    messages: tuple[bytes, ...]
    cause: Cause
    to: IpAddress | None = None


class Receive(NamedTuple):
    """Wait for the next message on a socket, at most ``timeout`` seconds."""

    socket: int
    timeout: float


class Close(NamedTuple):
    """Forget a socket. Answered by Done."""

    socket: int


Command = Open | Send | Receive | Close


class Done(NamedTuple):
    """The command was carried out."""

    at: float


class Arrived(NamedTuple):
    """A whole message came in."""

    at: float
    message: bytes
    source: IpAddress


class TimedOut(NamedTuple):
    """Nothing came in time, or nobody answered a connection attempt."""

    at: float


class Refused(NamedTuple):
    """An ICMP port unreachable came back, or a RST answered the connection attempt."""

    at: float


class Unreachable(NamedTuple):
    """There is no route, or an ICMP host or network unreachable came back."""

    at: float


class Closed(NamedTuple):
    """The peer ended the TCP connection: with a RST when ``reset``, with a FIN otherwise."""

    at: float
    reset: bool


Event = Done | Arrived | TimedOut | Refused | Unreachable | Closed
