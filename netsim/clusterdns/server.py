"""The DNS server: a query's bytes in, a reply's bytes out.

``Server`` is a machine in the shape of DESIGN.md: ``feed(event, now)`` gives commands, ``deadline()`` and
``expire(now)`` are its timers. One Server is one CoreDNS process with its own caches; the zone behind it is
shared. Sockets, and waiting for upstreams, are the caller's (``programs.dns``). Sources: coredns
``core/dnsserver/server.go`` and ``register.go``, ``request/request.go`` (SizeAndDo, Scrub); miekg/dns
``server.go`` and ``acceptfunc.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from struct import Struct
from typing import Any, NamedTuple, TypeAlias, assert_never

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import CorefileError, WireError
from netsim.base.rng import Rng
from netsim.clusterdns import corefile
from netsim.clusterdns.chain import (
    TCP_SIZE,
    Ask,
    Clock,
    Failure,
    Follow,
    Handler,
    Outcome,
    Page,
    Pause,
    Request,
    Setup,
    Steps,
    Transport,
    Upstream,
    compile_chain,
)
from netsim.clusterdns.corefile import Controller, ServerBlock
from netsim.clusterdns.names import is_name, suffixes
from netsim.clusterdns.plugins import DIRECTIVES, PLUGINS
from netsim.clusterdns.zone import KubernetesZone
from netsim.wire import dns
from netsim.wire.dns import DS, IN, QUERY, Edns, Message, Rcode

PLAIN_UDP_SIZE = 1480
"""A UDP reply over IPv4 that is longer is compressed even if the client takes it (request.go Scrub)."""

ECHOED_OPTIONS = frozenset({3, 9, 10, 11, 12})
"""NSID, EXPIRE, COOKIE, TCP-KEEPALIVE and PADDING come back to the client (request/edns0.go)."""

MAXIMUM_LOOKUPS = 16
"""External names that may lead to each other through the whole server. CoreDNS has no limit, and dies."""

_NOTIFY = 4
_HEADER = Struct("!HHHHHH")
_HEADER_LENGTH = 12
_CHAOS_PLUGINS = frozenset({"chaos", "forward"})  # server.go EnableChaos


class QueryArrived(NamedTuple):
    """A client's query. ``port`` is the one it came to; ``tag`` is the caller's, for finding the way back."""

    data: bytes
    client: IpAddress
    transport: Transport = Transport.UDP
    port: int = corefile.DEFAULT_PORT
    tag: Any = None


class UpstreamReplied(NamedTuple):
    """Bytes came from the upstream of an AskUpstream."""

    token: int
    data: bytes


class UpstreamTimedOut(NamedTuple):
    """An AskUpstream brought nothing within its timeout, or an error at once, which ``error`` then names."""

    token: int
    error: str = "i/o timeout"


class SendReply(NamedTuple):
    """Answer a query. ``cause`` says why this is the answer."""

    query: QueryArrived
    data: bytes
    cause: Cause


class AskUpstream(NamedTuple):
    """Ask a server, and feed what comes of it within ``timeout`` seconds, under ``token``."""

    token: int
    upstream: Upstream
    data: bytes
    transport: Transport
    timeout: float
    cause: Cause


Event: TypeAlias = QueryArrived | UpstreamReplied | UpstreamTimedOut
Command: TypeAlias = SendReply | AskUpstream


class _Job:
    """Steps on their way: a query's, or, without one, steps beside the queries."""

    __slots__ = ("query", "request", "steps")

    def __init__(
        self, steps: Steps[Any], query: QueryArrived | None = None, request: Request | None = None
    ) -> None:
        self.steps = steps
        self.query = query
        self.request = request


class _Waiting(NamedTuple):
    job: _Job
    ask: Ask


class _Zones:
    """What one port serves: zone → chain (None: a block without plugins)."""

    def __init__(self) -> None:
        self.chains: dict[str, Follow | None] = {}
        self.any_class = False

    def chain_for(self, request: Request) -> tuple[bool, Follow | None]:
        """Whether a zone holds the name, and the chain of the longest; DS is asked of the parent zone."""
        child: Follow | None = None
        for suffix in suffixes(request.lower):
            if suffix in self.chains:
                chain = self.chains[suffix]
                if request.qtype != DS or chain is None:
                    return True, chain
                child = chain
        if child is not None:
            return True, child
        return "." in self.chains, self.chains.get(".")


class Server:
    """CoreDNS with one Corefile. Raises CorefileError, as CoreDNS would not start.

    ``files`` are what the Corefile names (/etc/resolv.conf), ``addresses`` the Pod's own, ``name`` is the
    Corefile's in messages. ``pages`` are what its plugins serve over HTTP.
    """

    def __init__(
        self,
        text: str,
        zone: KubernetesZone,
        rng: Rng,
        *,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        addresses: Sequence[str] = (),
        name: str = corefile.DEFAULT_NAME,
    ) -> None:
        self._clock = Clock()
        self._waiting: dict[int, _Waiting] = {}
        self._tokens = 0
        self._pauses: list[tuple[float, int, _Job]] = []
        self._spawned: list[_Job] = []
        self._ports: dict[int, _Zones] = {}
        self.pages: list[Page] = []
        blocks = corefile.parse(text, DIRECTIVES, name=name, env=env, files=files)
        setup = partial(
            Setup,
            zone,
            files or {},
            addresses,
            self._clock,
            resolve=self._resolve,
            spawn=self._spawn_steps,
            pages=self.pages,
        )
        self._build(blocks, setup, rng, name)

    def _build(self, blocks: Sequence[ServerBlock], setup: Callable[..., Setup], rng: Rng, name: str) -> None:
        """Set up directive by directive over all blocks, as caddy's executeDirectives; then bind zones."""
        chains: list[list[tuple[str, Handler | None]]] = [[] for _ in blocks]
        for plugin in PLUGINS:
            for index, block in enumerate(blocks):
                tokens = block.directives.get(plugin.name)
                if tokens is None:
                    continue
                controller = Controller(tokens, name, [address.zone for address in block.zones])
                try:
                    if plugin.parse is None:
                        controller.next()
                        raise controller.error(f"netsim does not build the plugin '{plugin.name}' yet")
                    handlers = plugin.parse(controller, setup(rng.derive(f"{index}/{plugin.name}")))
                except CorefileError as error:
                    raise CorefileError(
                        f"plugin/{plugin.name}: {error.message}", file=error.file, line=error.line
                    ) from None
                if plugin.in_chain:
                    chains[index] += [(plugin.name, handler) for handler in (handlers or (None,))]
        for block, chain in zip(blocks, chains, strict=True):
            self._bind(block, compile_chain(chain))

    def _bind(self, block: ServerBlock, chain: Follow | None) -> None:
        for address in block.zones:
            zones = self._ports.setdefault(address.port, _Zones())
            if address.zone in zones.chains:
                raise CorefileError(f"cannot serve {address} - it is already defined")
            zones.chains[address.zone] = chain
            zones.any_class = zones.any_class or not _CHAOS_PLUGINS.isdisjoint(block.directives)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to serve, over UDP and TCP."""
        return tuple(sorted(self._ports))

    def waits_for(self, token: int) -> bool:
        """Whether the answer to an AskUpstream is still wanted: a reply with a wrong id is passed over."""
        return token in self._waiting

    def owes(self, query: QueryArrived) -> bool:
        """Whether the reply to a query is still to come."""
        return any(waiting.job.query is query for waiting in self._waiting.values())

    # --- the machine ---

    def feed(self, event: Event, now: float) -> list[Command]:
        """Take in one event; the commands it leads to, in order."""
        self._clock.now = now
        commands: list[Command] = []
        match event:
            case QueryArrived():
                self._arrive(event, commands)
            case UpstreamReplied(token, data):
                waiting = self._waiting.get(token)
                if waiting is not None and data[:2] == waiting.ask.data[:2]:
                    del self._waiting[token]
                    self._advance(waiting.job, data, commands)
            case UpstreamTimedOut(token, error):
                waiting = self._waiting.pop(token, None)
                if waiting is not None:
                    self._advance(waiting.job, Failure(error), commands)
            case _:
                assert_never(event)
        self._start_spawned(commands)
        return commands

    def deadline(self) -> float | None:
        """When ``expire`` wants to be called next."""
        return self._pauses[0][0] if self._pauses else None

    def expire(self, now: float) -> list[Command]:
        """Go on with what was to wait until ``now``."""
        self._clock.now = now
        commands: list[Command] = []
        while self._pauses and self._pauses[0][0] <= now:
            self._advance(heappop(self._pauses)[2], None, commands)
        self._start_spawned(commands)
        return commands

    def _arrive(self, event: QueryArrived, commands: list[Command]) -> None:
        refused = _accept(event.data)
        if refused is not None:
            if refused:
                commands.append(SendReply(event, refused, Cause(Stage.DNS, "malformed query")))
            return
        try:
            message = dns.parse(event.data)
        except WireError as error:
            data = _error_header(event.data, Rcode.FORMERR)
            commands.append(SendReply(event, data, Cause(Stage.DNS, f"malformed query ({error}): FORMERR")))
            return
        request = Request(message, event.client, event.transport)
        self._advance(_Job(self._serve(request, event.port), event, request), None, commands)

    def _advance(self, job: _Job, value: Any, commands: list[Command]) -> None:
        try:
            want = job.steps.send(value)
        except StopIteration as done:
            if job.query is not None and job.request is not None:
                outcome: Outcome = done.value
                reply = _reply_bytes(job.request, outcome)
                commands.append(SendReply(job.query, reply, Cause(Stage.DNS, outcome.cause)))
            return
        self._tokens += 1
        match want:
            case Ask(upstream, data, transport, timeout, why):
                self._waiting[self._tokens] = _Waiting(job, want)
                cause = Cause(Stage.DNS, why)
                commands.append(AskUpstream(self._tokens, upstream, data, transport, timeout, cause))
            case Pause(seconds):
                heappush(self._pauses, (self._clock.now + seconds, self._tokens, job))
            case _:
                assert_never(want)

    def _spawn_steps(self, steps: Steps[Any]) -> None:
        self._spawned.append(_Job(steps))

    def _start_spawned(self, commands: list[Command]) -> None:
        while self._spawned:
            self._advance(self._spawned.pop(0), None, commands)

    # --- one query ---

    def _serve(self, request: Request, port: int) -> Steps[Outcome]:
        """server.go ServeDNS."""
        zones = self._ports.get(port)
        if zones is None or (request.qclass != IN and not zones.any_class):
            return Outcome(
                f"class {dns.class_name(request.qclass)} is not served: REFUSED", rcode=Rcode.REFUSED
            )
        edns = request.message.edns
        if edns is not None and edns.version != 0:
            bad = request.reply(Rcode.BADVERS)._replace(edns=Edns(size=0))
            return Outcome(f"EDNS version {edns.version} is unknown: BADVERS", bad)
        served, chain = zones.chain_for(request)
        if chain is None:
            why = "its server block has no plugins" if served else "no server block holds the name"
            return Outcome(f"{why}: REFUSED", rcode=Rcode.REFUSED)
        return (yield from chain(request))

    def _resolve(self, request: Request, name: str, qtype: int) -> Steps[Message | None]:
        """An external name's target through the whole server (plugin/pkg/upstream Lookup)."""
        if request.depth >= MAXIMUM_LOOKUPS or not is_name(name):
            return None
        onward = request.asking(name, qtype)
        outcome = yield from self._serve(onward, corefile.DEFAULT_PORT)
        message = _message(onward, outcome)
        data = dns.build(message, limit=onward.size, uncompressed=onward.size)
        return dns.parse(data) if len(data) > dns.MINIMUM_UDP_SIZE or message.truncated else message


def _accept(data: bytes) -> bytes | None:
    """None for a query to be read; otherwise the reply to send at once, empty for none (acceptfunc.go)."""
    if len(data) < _HEADER_LENGTH:
        return b""
    _, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & 0x8000:
        return b""  # a response
    if flags >> 11 & 0xF not in (QUERY, _NOTIFY):
        return _error_header(data, Rcode.NOTIMP)
    if questions != 1 or answers > 1 or authority > 1 or additional > 2:
        return _error_header(data, Rcode.FORMERR)
    if len(data) == _HEADER_LENGTH:
        return _error_header(data, Rcode.SERVFAIL)  # miekg/dns reads no question, CoreDNS finds none
    return None


def _error_header(data: bytes, rcode: Rcode) -> bytes:
    """A reply without sections: the query's id and flags, but QR set, AA and Z cleared."""
    identifier, flags, *_ = _HEADER.unpack_from(data)
    opcode = flags & 0x7800 if rcode is Rcode.NOTIMP else 0  # Msg.SetRcodeFormatError
    return _HEADER.pack(identifier, 0x8000 | opcode | flags & 0x03B0 | rcode, 0, 0, 0, 0)


def _message(request: Request, outcome: Outcome) -> Message:
    """The message to send, with the OPT record that the request calls for (request.go SizeAndDo)."""
    message = outcome.message
    if message is None:
        message = request.reply(outcome.rcode)
    asked = request.message.edns
    if asked is None or message.rcode == Rcode.BADVERS:
        return message
    own = message.edns
    if own is None:
        options = tuple(option for option in asked.options if option[0] in ECHOED_OPTIONS)
        edns = Edns(asked.size, 0, asked.do, options)
    else:
        edns = Edns(asked.size, 0, own.do or asked.do, own.options)
    return message._replace(edns=edns)


def _reply_bytes(request: Request, outcome: Outcome) -> bytes:
    """The reply within what the client takes (request.go Scrub)."""
    size = request.size
    plain = size if size == TCP_SIZE else min(size, PLAIN_UDP_SIZE)
    message = _message(request, outcome)
    try:
        return dns.build(message, limit=size, uncompressed=plain)
    except WireError:  # an object holds what cannot be a name
        return dns.build(request.reply(Rcode.SERVFAIL))
