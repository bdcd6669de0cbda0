"""The plugin chain: what a plugin is given, what it may wait for, and what it returns.

A plugin that takes part in answering is a ``Handler``: ``handle`` is a generator that returns an ``Outcome``,
passes the query on with ``yield from following(request)``, and, when it must wait, yields an ``Ask`` or a
``Pause`` and is resumed with what came of it. ``server`` drives the generators. Nothing here reads a clock:
the server moves ``Clock.now`` before it resumes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from netsim.base.address import IpAddress
from netsim.base.rng import Rng
from netsim.clusterdns.names import absolute
from netsim.clusterdns.zone import KubernetesZone
from netsim.wire.dns import IN, MINIMUM_UDP_SIZE, QUERY, Message, Question, Rcode, Record

T = TypeVar("T")

TCP_SIZE = 65535
"""What fits behind TCP's length prefix (miekg/dns MaxMsgSize)."""


class Transport(Enum):
    """How a query or a question upstream travels."""

    UDP = "udp"
    TCP = "tcp"


class Upstream(NamedTuple):
    """A DNS server to forward to."""

    address: IpAddress
    port: int = 53

    def __str__(self) -> str:
        return str(self.address) if self.port == 53 else f"{self.address}:{self.port}"


class Ask(NamedTuple):
    """Wait for an answer; resumed with its bytes, or with a Failure. ``why`` is for captures."""

    upstream: Upstream
    data: bytes
    transport: Transport
    timeout: float
    why: str


class Pause(NamedTuple):
    """Wait; resumed with None."""

    seconds: float


class Failure(NamedTuple):
    """No answer came: ``error`` is the reason in the words of Go's net package (``i/o timeout``)."""

    error: str


Want: TypeAlias = Ask | Pause
Steps: TypeAlias = Generator[Want, Any, T]


class Outcome(NamedTuple):
    """What a plugin made of a query: a message, or, with none written, the rcode for the server to answer.

    ``cause`` is the reason, in one line for captures. The difference between a SERVFAIL message and a
    SERVFAIL rcode is CoreDNS's: ``cache`` and ``loadbalance`` see only what was written.
    """

    cause: str
    message: Message | None = None
    rcode: int = Rcode.SERVFAIL


Follow: TypeAlias = Callable[["Request"], Steps[Outcome]]


class Clock:
    """Virtual seconds, set by the server."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0


class Request:
    """One query on its way through the chain (coredns request.Request).

    ``name`` is spelled as in the query, ``lower`` is what is compared. ``size`` is what the client can take.
    ``depth`` counts the lookups of external names that led here.
    """

    __slots__ = ("client", "depth", "lower", "message", "name", "qclass", "qtype", "size", "transport")

    def __init__(self, message: Message, client: IpAddress, transport: Transport, depth: int = 0) -> None:
        self.message = message
        self.client = client
        self.transport = transport
        self.depth = depth
        self.name, self.qtype, self.qclass = message.questions[0]
        self.lower = self.name.lower()
        if transport is Transport.TCP:
            self.size = TCP_SIZE
        elif message.edns is None:
            self.size = MINIMUM_UDP_SIZE
        else:
            self.size = max(message.edns.size, MINIMUM_UDP_SIZE)

    def asking(self, name: str, qtype: int) -> Request:
        """The same client's query with another question (request.NewWithQuestion)."""
        message = self.message._replace(questions=(Question(absolute(name), qtype, IN),))
        return Request(message, self.client, self.transport, self.depth + 1)

    def matches(self, message: Message) -> bool:
        """Whether a message is a response to this question (request.Request.Match)."""
        if not message.response or len(message.questions) != 1:
            return False
        name, qtype, qclass = message.questions[0]
        return qtype == self.qtype and qclass == self.qclass and name.lower() == self.lower

    def reply(
        self,
        rcode: int = Rcode.NOERROR,
        *,
        answers: Sequence[Record] = (),
        authority: Sequence[Record] = (),
        additional: Sequence[Record] = (),
        authoritative: bool = False,
        truncated: bool = False,
        recursion_available: bool = False,
        authentic: bool = False,
    ) -> Message:
        """An answer to this query (miekg/dns Msg.SetReply)."""
        query = self.message
        asked = query.opcode == QUERY
        return Message(
            query.id, rcode, query.opcode, True, authoritative, truncated, asked and query.recursion_desired,
            recursion_available, authentic, asked and query.checking_disabled, query.questions[:1],
            tuple(answers), tuple(authority), tuple(additional),
        )  # fmt: skip


class Handler(Protocol):
    """A plugin that takes part in answering."""

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]: ...


class Page(NamedTuple):
    """A text that the process serves over HTTP, for whoever looks after it."""

    port: int
    path: str
    text: str


class Setup(NamedTuple):
    """What a plugin may use: the cluster's zone, its Pod's files and addresses, time, chance, and the server.

    ``resolve`` answers a question through the whole server again, as a client's would be; None when nothing
    came of it. ``spawn`` runs steps beside the queries; what they return is dropped. ``pages`` takes what a
    plugin serves over HTTP.
    """

    zone: KubernetesZone
    files: Mapping[str, str]
    addresses: Sequence[str]
    clock: Clock
    rng: Rng
    resolve: Callable[[Request, str, int], Steps[Message | None]]
    spawn: Callable[[Steps[Any]], None]
    pages: list[Page]


def compile_chain(plugins: Sequence[tuple[str, Handler | None]]) -> Follow | None:
    """The chain as one function; None without plugins. A plugin without handler lets every query pass."""
    if not plugins:
        return None
    follow: Follow = partial(_no_next, plugins[-1][0])
    for _, handler in reversed(plugins):
        if handler is not None:
            follow = partial(handler.handle, following=follow)
    return follow


def _no_next(last: str, request: Request) -> Steps[Outcome]:
    """plugin.NextOrFailure at the end of the chain."""
    yield from ()
    return Outcome(f"plugin/{last}: no next plugin found: SERVFAIL")
