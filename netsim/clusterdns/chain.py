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
from netsim.clusterdns.clock import Clock
from netsim.clusterdns.grounds import Grounds
from netsim.clusterdns.logbook import Logbook
from netsim.clusterdns.metrics import Metrics, finished, server_name
from netsim.clusterdns.names import absolute
from netsim.clusterdns.zone import KubernetesZone
from netsim.wire.dns import IN, MINIMUM_UDP_SIZE, QUERY, Edns, Message, Question, Rcode, Record

T = TypeVar("T")

PORT = 53

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


class Signal:
    """What one job tells another, once."""

    __slots__ = ("fired", "value")

    def __init__(self) -> None:
        self.fired = False
        self.value: Any = None

    def fire(self, value: Any) -> None:
        self.fired, self.value = True, value


class WaitFor(NamedTuple):
    """Wait until a signal is fired, at most for some seconds; resumed with whether it was."""

    signal: Signal
    seconds: float


class Failure(NamedTuple):
    """No answer came: ``error`` is the reason in the words of Go's net package (``i/o timeout``)."""

    error: str


Want: TypeAlias = Ask | Pause | WaitFor
Steps: TypeAlias = Generator[Want, Any, T]


class Outcome(NamedTuple):
    """What a plugin made of a query: a message, or, with none written, the rcode for the server to answer.

    ``cause`` is the reason, in one line for captures. The difference between a SERVFAIL message and a
    SERVFAIL rcode is CoreDNS's: ``cache`` and ``loadbalance`` see only what was written. ``error`` is the Go
    error that comes with it, for the plugin ``errors``; ``dropped`` leaves the client without any reply.
    ``asked`` is the query's OPT record where a plugin has changed it, as it decides the reply's size and OPT.
    ``more`` are the further messages of a zone transfer.
    """

    cause: str
    message: Message | None = None
    rcode: int = Rcode.SERVFAIL
    error: str = ""
    dropped: bool = False
    asked: Edns | None = None
    more: Sequence[Message] = ()

    @property
    def status(self) -> int:
        """The rcode that the client gets."""
        return self.rcode if self.message is None else self.message.rcode


class Fatal(Exception):
    """A plugin ends the process (log.Fatal); the text is its last log line, without the level."""


Follow: TypeAlias = Callable[["Request"], Steps[Outcome]]


class Request:
    """One query on its way through the chain (coredns request.Request).

    ``name`` is spelled as in the query, ``lower`` is what is compared. ``size`` is what the client can take.
    ``ports`` are the client's and the server's, ``length`` the bytes of the client's query. ``depth`` counts
    the lookups of external names that led here.
    """

    __slots__ = (
        "client", "depth", "length", "lower", "message", "name", "ports", "qclass", "qtype", "size",
        "transport",
    )  # fmt: skip

    def __init__(
        self,
        message: Message,
        client: IpAddress,
        transport: Transport,
        depth: int = 0,
        ports: tuple[int, int] = (0, PORT),
        length: int = 0,
    ) -> None:
        self.message = message
        self.client = client
        self.transport = transport
        self.depth = depth
        self.ports = ports
        self.length = length
        self.name, self.qtype, self.qclass = message.questions[0]
        self.lower = self.name.lower()
        self.size = _size(message.edns, transport)

    @property
    def server(self) -> str:
        """The server's address, as metrics name it."""
        return server_name(self.ports[1])

    @property
    def do(self) -> bool:
        """Whether the client wants DNSSEC records."""
        return self.message.edns is not None and self.message.edns.do

    def with_message(self, message: Message) -> Request:
        """The same client's query, changed."""
        return Request(message, self.client, self.transport, self.depth, self.ports, self.length)

    def asking(self, name: str, qtype: int) -> Request:
        """The same client's query with another question (request.NewWithQuestion)."""
        message = self.message._replace(questions=(Question(absolute(name), qtype, IN),))
        return Request(message, self.client, self.transport, self.depth + 1, self.ports, self.length)

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


def _size(edns: Edns | None, transport: Transport) -> int:
    if transport is Transport.TCP:
        return TCP_SIZE
    return MINIMUM_UDP_SIZE if edns is None else max(edns.size, MINIMUM_UDP_SIZE)


def report(
    metrics: Metrics, request: Request, zone: str, size: int, rcode: int, plugin: str, seconds: float
) -> None:
    """Count a finished query, as ``coredns_dns_…`` do (vars/report.go). ``size`` is the reply's in bytes,
    ``seconds`` the time it took."""
    sheet = finished(
        request.ports[1], zone, request.transport is Transport.TCP, request.client.version, request.qtype,
        request.do, request.length, size, rcode, plugin, seconds,
    )  # fmt: skip
    metrics.take(sheet)


class Handler(Protocol):
    """A plugin that takes part in answering."""

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]: ...


class PageText(NamedTuple):
    """What an HTTP request for a page gives."""

    text: str
    status: int = 200


class Page(NamedTuple):
    """A page that the process serves over HTTP, for whoever looks after it."""

    port: int
    path: str
    show: Callable[[], PageText]


class Block(NamedTuple):
    """A server block. ``handlers`` has its plugins in the chain's order, all once ``startup`` runs."""

    zones: tuple[str, ...]
    ports: tuple[int, ...]
    handlers: dict[str, list[Handler]]

    def handler(self, name: str) -> Handler | None:
        """The first handler of a plugin (dnsserver Config.Handler)."""
        found = self.handlers.get(name)
        return found[0] if found else None


class Process(NamedTuple):
    """What all blocks of a running server share, over reloads.

    ``corefile`` reads the Corefile as it is now, ``fingerprint`` is the hash of one; ``restart`` takes
    another text and gives the error that keeps the old configuration, or the empty string. ``resolve``
    answers a question through the whole server again, as a client's would be; None when nothing came of it.
    ``spawn`` runs steps beside the queries until the next reload; what they return is dropped. ``grounds``
    takes what the answer in the making rests on.
    """

    zone: KubernetesZone
    files: Mapping[str, str]
    addresses: Sequence[str]
    clock: Clock
    metrics: Metrics
    log: Logbook
    grounds: Grounds
    corefile: Callable[[], str]
    fingerprint: Callable[[str], str]
    restart: Callable[[str], str]
    resolve: Callable[[Request, str, int], Steps[Message | None]]
    spawn: Callable[[Steps[Any]], None]


class Setup(NamedTuple):
    """What a plugin may use while it is set up: the process, its block, chance; and what it may add to.

    ``startup`` takes what is to be done when all blocks are set up, ``pages`` what is served over HTTP,
    ``readiness`` who has to be ready for ``/ready``, ``echoed`` the EDNS options that the client gets back.
    """

    process: Process
    block: Block
    rng: Rng
    startup: list[Callable[[], None]]
    pages: list[Page]
    readiness: dict[str, Callable[[], bool]]
    lameduck: list[float]
    echoed: set[int]


class Varying:
    """A handler of a plugin that does not say of itself what its part in an answer rests on."""

    def __init__(self, handler: Handler, grounds: Grounds) -> None:
        self._handler = handler
        self._grounds = grounds

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        self._grounds.varies()
        return self._handler.handle(request, following)


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
    error = f"plugin/{last}: no next plugin found"
    return Outcome(f"{error}: SERVFAIL", error=error)
