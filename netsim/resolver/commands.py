"""What a resolver machine asks of its driver, what it hears back, and the value it ends with.

A machine is a generator that yields one ``Command`` at a time and is resumed with the ``Event`` that the
command led to; every event carries the time at which it happened, so a machine needs no clock. The driver
(``programs/resolve.py`` on a Host, a script in tests) owns the sockets; the machine names them with small
numbers of its own choice.

The set fits the three libraries that Pods use. glibc connects one UDP socket per server, so that an ICMP
error reaches it (``Refused``). musl opens one socket without a server and says with each ``Send`` where it
goes; ``Arrived.source`` tells it who answered. Go asks for A and for AAAA in two machines with a socket each,
which run ``Together``.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

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


class Libc(Enum):
    """Whose resolver a program uses; ``value`` is the word of checks and commands.

    ``musl-1.2.3`` stands for musl before 1.2.4 (Alpine before 3.18): no TCP, and other error codes. c-ares is
    no C library: programs bring it with them, Alpine's curl and Envoy among them.
    """

    GLIBC = "glibc"
    MUSL = "musl"
    OLD_MUSL = "musl-1.2.3"
    GO = "go"
    CARES = "c-ares"


class GaiError(Enum):
    """getaddrinfo's error codes; ``value`` is the text of glibc's gai_strerror.

    ``HANG`` and ``SIGFPE`` are no codes: the call does not return at all, and its caller lost patience; the
    process dies.
    """

    EAI_NONAME = "Name or service not known"
    EAI_AGAIN = "Temporary failure in name resolution"
    EAI_FAIL = "Non-recoverable failure in name resolution"
    EAI_NODATA = "No address associated with hostname"
    EAI_ADDRFAMILY = "Address family for hostname not supported"
    HANG = "the resolver waits for ever: a DNS server accepted the TCP connection and stays silent"
    SIGFPE = "the process dies: musl divides by the number of attempts, which is 0"


# src/network/gai_strerror.c
_MUSL_TEXTS = {
    "EAI_NONAME": "Name does not resolve",
    "EAI_AGAIN": "Try again",
    "EAI_FAIL": "Non-recoverable error",
    "EAI_NODATA": "Name has no usable address",
}


class GoError(NamedTuple):
    """A ``net.DNSError`` of Go: its text and its properties (net/net.go, newDNSError)."""

    value: str
    is_not_found: bool = False
    is_temporary: bool = False
    is_timeout: bool = False

    @property
    def name(self) -> str:
        """What reports call it: Go's errors have no other name than their text."""
        return self.value


class AresError(Enum):
    """c-ares' status codes; ``value`` is the text of ares_strerror."""

    ENODATA = "DNS server returned answer with no data"
    EFORMERR = "DNS server claims query was misformatted"
    ESERVFAIL = "DNS server returned general failure"
    ENOTFOUND = "Domain name not found"
    ENOTIMP = "DNS server does not implement requested operation"
    EREFUSED = "DNS server refused query"
    EBADNAME = "Misformatted domain name"
    EBADRESP = "Misformatted DNS reply"
    ECONNREFUSED = "Could not contact DNS servers"
    ETIMEOUT = "Timeout while contacting DNS servers"


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

    ``aliases`` are the other names of the host, as ``getent hosts`` prints them; ``elapsed`` is in seconds;
    ``family`` is the one that was asked for.
    """

    name: str
    addresses: tuple[IpAddress, ...] = ()
    canonical_name: str = ""
    error: GaiError | GoError | AresError | None = None
    queries: tuple[SentQuery, ...] = ()
    elapsed: float = 0.0
    aliases: tuple[str, ...] = ()
    libc: Libc = Libc.GLIBC
    family: Family = Family.UNSPEC

    @property
    def reason(self) -> str:
        """The error in its library's words (gai_strerror); empty when there is none."""
        if self.error is None:
            return ""
        if self.libc in (Libc.MUSL, Libc.OLD_MUSL):
            return _MUSL_TEXTS.get(self.error.name, self.error.value)
        return self.error.value


class Open(NamedTuple):
    """Create a socket; with a server, connect it. Answered by Done, Refused, Unreachable or TimedOut.

    ``cause`` is for the packets of a TCP handshake, and ``timeout`` the most that it may take.
    """

    socket: int
    transport: Transport
    server: IpAddress | None
    cause: Cause
    timeout: float | None = None


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


class Together(NamedTuple):
    """Run machines side by side, each with sockets of its own numbers, until all have ended. Answered by
    Joined."""

    machines: tuple[Generator[Command, Event, Any], ...]


Command: TypeAlias = "Open | Send | Receive | Close | Together"


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


class Joined(NamedTuple):
    """All machines have ended; their results, in their order."""

    at: float
    results: tuple[Any, ...]


Event: TypeAlias = "Done | Arrived | TimedOut | Refused | Unreachable | Closed | Joined"
