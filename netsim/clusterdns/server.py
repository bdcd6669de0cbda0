"""The DNS server: a query's bytes in, a reply's bytes out.

``Server`` is a machine in the shape of DESIGN.md: ``feed(event, now)`` gives commands, ``deadline()`` and
``expire(now)`` are its timers. One Server is one CoreDNS process with its own caches; the zone behind it is
shared. Sockets, and waiting for upstreams, are the caller's (``programs.dns``). Sources: coredns
``core/dnsserver/server.go`` and ``register.go``, ``request/request.go`` (SizeAndDo, Scrub); miekg/dns
``server.go`` and ``acceptfunc.go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
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
    Failure,
    Fatal,
    Outcome,
    PageText,
    Pause,
    Process,
    Request,
    Signal,
    Steps,
    Transport,
    Upstream,
    WaitFor,
    report,
)
from netsim.clusterdns.clock import Clock
from netsim.clusterdns.grounds import Grounds
from netsim.clusterdns.instance import Instance, start_up_lines
from netsim.clusterdns.logbook import Logbook
from netsim.clusterdns.memory import CAPACITY, ID, Lane, Memory
from netsim.clusterdns.metrics import DROPPED, VERSION, Metrics
from netsim.clusterdns.names import is_name
from netsim.clusterdns.zone import KubernetesZone
from netsim.wire import dns
from netsim.wire.dns import IN, QUERY, Edns, Message, Rcode

PLAIN_UDP_SIZE = 1480
"""A UDP reply over IPv4 that is longer is compressed even if the client takes it (request.go Scrub)."""

MAXIMUM_LOOKUPS = 16
"""External names that may lead to each other through the whole server. CoreDNS has no limit, and dies."""

_NOTIFY = 4
_HEADER = Struct("!HHHHHH")
_HEADER_LENGTH = 12


class QueryArrived(NamedTuple):
    """A client's query. ``port`` is the one it came to; ``tag`` is the caller's, for finding the way back."""

    data: bytes
    client: IpAddress
    transport: Transport = Transport.UDP
    port: int = corefile.DEFAULT_PORT
    tag: Any = None
    client_port: int = 0


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


class Rebind(NamedTuple):
    """The Corefile is another one now: ``ports`` and ``page_ports`` may have changed."""


class Exit(NamedTuple):
    """The process ends itself, with exit code 1. ``message`` is the last line of its log."""

    message: str


Event: TypeAlias = QueryArrived | UpstreamReplied | UpstreamTimedOut
Command: TypeAlias = SendReply | AskUpstream | Rebind | Exit


class _Job:
    """Steps on their way: a query's, or, without one, steps beside the queries of one configuration."""

    __slots__ = ("generation", "query", "request", "signal", "steps")

    def __init__(
        self,
        steps: Steps[Any],
        query: QueryArrived | None = None,
        request: Request | None = None,
        generation: int = 0,
    ) -> None:
        self.steps = steps
        self.query = query
        self.request = request
        self.generation = generation
        self.signal: Signal | None = None


class _Waiting(NamedTuple):
    job: _Job
    ask: Ask


class Server:
    """CoreDNS with one Corefile. Raises CorefileError, as CoreDNS would not start.

    ``files`` are what the Corefile names (/etc/resolv.conf), ``addresses`` the Pod's own, ``name`` is the
    Corefile's in messages; a file of that name is what the plugin ``reload`` watches. ``log`` and ``metrics``
    are what the process tells about itself. ``remembers`` is how many finished answers it keeps.
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
        remembers: int = CAPACITY,
    ) -> None:
        self._clock = Clock()
        self._waiting: dict[int, _Waiting] = {}
        self._tokens = 0
        self._pauses: list[tuple[float, int, _Job]] = []
        self._spawned: list[_Job] = []
        self._generation = 0
        self._rebind = False
        self._rng = rng
        self._env = env or {}
        self._name = name
        self.metrics = Metrics()
        self._zone = zone
        self._grounds = Grounds()
        self._memory = Memory(zone, self.metrics, remembers)
        self._grounds.forget = self._memory.forget
        self.log = Logbook(self._clock)
        files = files or {}
        self._process = Process(
            zone, files, addresses, self._clock, self.metrics, self.log, self._grounds,
            corefile=lambda: files.get(name, self._instance.text),
            fingerprint=lambda text: corefile.fingerprint(text, name=name, env=self._env, files=files),
            restart=self._restart,
            resolve=self._resolve,
            spawn=self._spawn_steps,
        )  # fmt: skip
        self._instance = self._configure(text)

    def _configure(self, text: str) -> Instance:
        """Set a Corefile up. What the one before runs beside the queries ends at its next pause."""
        self._generation += 1
        try:
            rng = self._rng if self._generation == 1 else self._rng.derive(f"reload {self._generation}")
            return Instance(text, self._process, rng, env=self._env, name=self._name)
        except CorefileError:
            self._spawned = [job for job in self._spawned if job.generation != self._generation]
            self._generation -= 1
            raise

    def _restart(self, text: str) -> str:
        """caddy.go Instance.Restart."""
        self.log.info("Reloading")
        try:
            self._instance = self._configure(text)
        except CorefileError as error:
            problem = f"starting with listener file descriptors: {error}"
            self.log.error(f"Restart failed: {problem}")
            return problem
        self._memory.clear()
        self._rebind = True
        self.log.info("Reloading complete")
        return ""

    def start(self, now: float) -> list[Command]:
        """Begin what runs beside the queries, and tell the log so. To be called once the sockets are open."""
        self._clock.now = now
        for line in (*start_up_lines(self._instance.zones), f"CoreDNS-{VERSION}"):
            self.log.line(line)
        commands: list[Command] = []
        self._start_spawned(commands)
        return commands

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to serve, over UDP and TCP."""
        return tuple(sorted(self._instance.zones))

    @property
    def page_ports(self) -> tuple[int, ...]:
        """The ports of the pages that the plugins serve over HTTP."""
        return tuple(sorted({page.port for page in self._instance.pages}))

    @property
    def lameduck(self) -> float:
        """For how many seconds the process goes on when it is told to end."""
        return self._instance.lameduck

    def page(self, port: int, path: str) -> PageText:
        """What an HTTP request for a path gets on one of ``page_ports``."""
        for page in self._instance.pages:
            if (page.port, page.path) == (port, path):
                return page.show()
        return PageText("404 page not found\n", 404)

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
            job = heappop(self._pauses)[2]
            if job.query is None and job.generation != self._generation:
                job.steps.close()  # it belongs to a Corefile that was replaced
            else:
                job.signal = None
                self._advance(job, False, commands)
        self._start_spawned(commands)
        return commands

    def remembered(self, port: int, transport: Transport, version: int) -> Lane:
        """What answers queries that were asked before; what it does not, is to be fed."""
        return self._memory.lane(port, transport is Transport.TCP, version)

    def _arrive(self, event: QueryArrived, commands: list[Command]) -> None:
        lane = self.remembered(event.port, event.transport, event.client.version)
        kept = lane.find(event.data, event.client, self._clock.now)
        if kept is not None:
            commands.append(SendReply(event, event.data[:ID] + kept.tail, kept.cause))
            return
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
        request = Request(
            message, event.client, event.transport, 0, (event.client_port, event.port), len(event.data)
        )
        grounds = self._grounds
        grounds.begin()
        self._zone.grounds = self.metrics.grounds = grounds
        try:
            self._advance(_Job(self._serve(request, event.port), event, request), None, commands)
        finally:
            self._zone.grounds = self.metrics.grounds = None
        if grounds.end():
            reply = commands[-1]
            assert isinstance(reply, SendReply)
            self._memory.keep(
                lane, grounds, event.data, reply.data, event.client, reply.cause, self._clock.now
            )
        else:
            self._memory.pass_on(grounds)

    def _advance(self, job: _Job, value: Any, commands: list[Command]) -> None:
        try:
            want = job.steps.send(value)
        except StopIteration as done:
            if job.query is not None and job.request is not None:
                self._answer(job.query, job.request, done.value, commands)
            return
        except Fatal as fatal:
            self._grounds.varies()
            self.log.line(f"[FATAL] {fatal}")
            commands.append(Exit(f"[FATAL] {fatal}"))
            return
        self._grounds.varies()
        self._tokens += 1
        match want:
            case Ask(upstream, data, transport, timeout, why):
                self._waiting[self._tokens] = _Waiting(job, want)
                cause = Cause(Stage.DNS, why)
                commands.append(AskUpstream(self._tokens, upstream, data, transport, timeout, cause))
            case Pause(seconds):
                heappush(self._pauses, (self._clock.now + seconds, self._tokens, job))
            case WaitFor(signal, seconds):
                job.signal = signal
                heappush(self._pauses, (self._clock.now + seconds, self._tokens, job))
            case _:
                assert_never(want)

    def _answer(
        self, query: QueryArrived, request: Request, outcome: Outcome, commands: list[Command]
    ) -> None:
        if outcome.dropped or outcome.more:
            self._grounds.varies()
        if outcome.dropped:
            return
        cause = Cause(Stage.DNS, outcome.cause)
        commands.append(SendReply(query, self._reply_bytes(request, outcome), cause))
        for message in outcome.more:
            commands.append(SendReply(query, dns.build(message), cause))

    def _spawn_steps(self, steps: Steps[Any]) -> None:
        self._spawned.append(_Job(steps, generation=self._generation))

    def _start_spawned(self, commands: list[Command]) -> None:
        while self._spawned:
            self._advance(self._spawned.pop(0), None, commands)
        self._wake_signalled(commands)
        if self._rebind:
            self._rebind = False
            commands.append(Rebind())

    def _wake_signalled(self, commands: list[Command]) -> None:
        """Go on with the jobs that wait for a signal which has come."""
        ready = [pause for pause in self._pauses if pause[2].signal is not None and pause[2].signal.fired]
        for pause in ready:
            self._pauses.remove(pause)
            heapify(self._pauses)
            pause[2].signal = None
            self._advance(pause[2], True, commands)

    # --- one query ---

    def _serve(self, request: Request, port: int) -> Steps[Outcome]:
        """server.go ServeDNS."""
        zones = self._instance.zones.get(port)
        if zones is None or (request.qclass != IN and not zones.any_class):
            return self._refuse(request, f"class {dns.class_name(request.qclass)} is not served")
        edns = request.message.edns
        if edns is not None and edns.version != 0:
            bad = request.reply(Rcode.BADVERS)._replace(edns=Edns(size=0))
            return Outcome(f"EDNS version {edns.version} is unknown: BADVERS", bad)
        served, chain = zones.chain_for(request)
        if chain is None:
            why = "its server block has no plugins" if served else "no server block holds the name"
            return self._refuse(request, why)
        return (yield from chain(request))

    def _refuse(self, request: Request, why: str) -> Outcome:
        """No plugin sees the query, and the server counts it itself (errorAndMetricsFunc)."""
        outcome = Outcome(f"{why}: REFUSED", rcode=Rcode.REFUSED)
        size = dns.length(self._message(request, outcome))
        report(self.metrics, request, DROPPED, size, outcome.rcode, "", 0.0)
        return outcome

    def _resolve(self, request: Request, name: str, qtype: int) -> Steps[Message | None]:
        """An external name's target through the whole server (plugin/pkg/upstream Lookup)."""
        if request.depth >= MAXIMUM_LOOKUPS or not is_name(name):
            return None
        onward = request.asking(name, qtype)
        outcome = yield from self._serve(onward, onward.ports[1])
        message = self._message(onward, outcome)
        data = dns.build(message, limit=onward.size, uncompressed=onward.size)
        return dns.parse(data) if len(data) > dns.MINIMUM_UDP_SIZE or message.truncated else message

    def _message(self, request: Request, outcome: Outcome) -> Message:
        """The message to send, with the OPT record that the request calls for (request.go SizeAndDo)."""
        message = outcome.message
        if message is None:
            message = request.reply(outcome.rcode)
        asked = outcome.asked or request.message.edns
        if asked is None or message.rcode == Rcode.BADVERS:
            return message
        own = message.edns
        if own is None:
            echoed = self._instance.echoed
            options = tuple(option for option in asked.options if option[0] in echoed)
            edns = Edns(asked.size, 0, asked.do, options)
        else:
            edns = Edns(asked.size, 0, own.do or asked.do, own.options)
        return message._replace(edns=edns)

    def _reply_bytes(self, request: Request, outcome: Outcome) -> bytes:
        """The reply within what the client takes (request.go Scrub)."""
        size = request.size
        if outcome.asked is not None and request.transport is Transport.UDP:
            size = max(outcome.asked.size, dns.MINIMUM_UDP_SIZE)
        plain = size if size == TCP_SIZE else min(size, PLAIN_UDP_SIZE)
        message = self._message(request, outcome)
        try:
            return dns.build(message, limit=size, uncompressed=plain)
        except WireError:  # an object holds what cannot be a name
            return dns.build(request.reply(Rcode.SERVFAIL))


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
