"""c-ares' resolver as a resumable machine: names in, addresses or an ``AresError`` out.

Alpine's curl, Envoy and Node's ``dns.resolve`` bring it with them, whatever the C library. The steps are
those of c-ares 1.34: numeric names, /etc/hosts, then each candidate of the search list, A and AAAA from one
socket that is kept for all candidates (src/lib/ares_getaddrinfo.c, ares_search.c, ares_process.c,
ares_metrics.c).

Left out: DNS cookies, the second try without EDNS after FORMERR, and that a query which fails at once is sent
again before the other one has its answer. The machine never waits: it yields commands (``commands.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.base.rng import Rng
from netsim.resolver import hosts
from netsim.resolver.commands import (
    AresError,
    Arrived,
    Close,
    Command,
    Done,
    Event,
    Family,
    Libc,
    Lookup,
    Open,
    Outcome,
    Receive,
    Send,
    TimedOut,
    Transport,
)
from netsim.resolver.hosts import HostsLine
from netsim.resolver.order import Client, ordered_by_cares
from netsim.resolver.queries import (
    FAILURES,
    Found,
    Query,
    Sent,
    Steps,
    fits,
    make_query,
    parsed,
    repeats,
    sent_queries,
)
from netsim.resolver.resolvconf import ResolvConf, ipv4_from_numbers, nameserver_address
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode

EDNS_SIZE = 1232  # EDNSPACKETSZ
TIMEOUT, TRIES = 2, 3  # DEFAULT_TIMEOUT in seconds, DEFAULT_TRIES
# ares_metrics.c: after three answers the first timeout is five times their average, within these bounds
ENOUGH_ANSWERS, MULTIPLIER, SHORTEST, LONGEST = 3, 5, 0.25, 5.0
LARGEST_JITTER = 0.5

Machine = Steps[Lookup]


class Setup(NamedTuple):
    """What a process finds on its host."""

    conf: ResolvConf
    hosts: tuple[HostsLine, ...]
    client: Client
    rng: Rng


def parse(text: str, *, hostname: str = "") -> ResolvConf:
    """Read a resolv.conf (ares_sysconfig_files.c); neither servers nor search domains are limited in number.

    ``domain`` counts only before ``search``; an option of 0 is passed over. Without ``nameserver`` 127.0.0.1
    is asked, without a search list the domain of ``hostname`` is one.
    """
    conf = ResolvConf(timeout=TIMEOUT, attempts=TRIES)
    servers: dict[IpAddress, None] = {}
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        keyword, _, value = line.strip().partition(" ") if "\t" not in line else _tabbed(line)
        words = re.split(r"[, \t]+", value.strip())
        match keyword:
            case "nameserver" if (address := nameserver_address(value.strip())) is not None:
                servers[address] = None
            case "domain" if not search:
                search = tuple(filter(None, words[:1]))
            case "search" if words != [""]:
                search = tuple(words)
            case "options":
                for word in words:
                    conf = _with_option(conf, word)
    search = search or tuple(filter(None, [hostname.partition(".")[2]]))
    return conf._replace(nameservers=tuple(servers) or ResolvConf().nameservers, search=search)


def _tabbed(line: str) -> tuple[str, str, str]:
    return line.strip().replace("\t", " ").partition(" ")


def _with_option(conf: ResolvConf, word: str) -> ResolvConf:
    name, _, value = word.partition(":")
    number = int(value) if value.isdecimal() else None
    match name:
        case "ndots" if number is not None:
            return conf._replace(ndots=number)
        case "timeout" | "retrans" if number:
            return conf._replace(timeout=number)
        case "attempts" | "retry" if number:
            return conf._replace(attempts=number)
        case "rotate":
            return conf._replace(flags=conf.flags | {"rotate"})
        case "use-vc" | "usevc":
            return conf._replace(flags=conf.flags | {"use-vc"})
    return conf


def getaddrinfo(name: str, setup: Setup, now: float, *, family: Family = Family.UNSPEC) -> Machine:
    """ares_getaddrinfo, for one name without a service."""
    channel = _Channel(setup, now)
    result = yield from _lookup(channel, name, setup, family)
    yield from channel.close()
    sent, elapsed = sent_queries(channel.log), channel.now - now
    if isinstance(result, AresError):
        return Lookup(name, error=result, queries=sent, elapsed=elapsed, libc=Libc.CARES)
    addresses = ordered_by_cares(result.addresses, setup.client)
    canonical = result.name.removesuffix(".")
    return Lookup(name, addresses, canonical, queries=sent, elapsed=elapsed, libc=Libc.CARES)


def _lookup(channel: _Channel, name: str, setup: Setup, family: Family) -> Steps[Found | AresError]:
    if name.removesuffix(".").lower().endswith(".onion"):  # RFC 7686
        return AresError.ENOTFOUND
    literal = _literal(name)
    if literal is not None:
        return Found(name, (literal,)) if fits(literal, family) else AresError.ENOTFOUND
    lines = hosts.by_name(setup.hosts, name, family)
    if lines:
        return Found(lines[0].name, tuple(line.address for line in lines))
    types = {Family.INET: (dns.A,), Family.INET6: (dns.AAAA,)}.get(family, (dns.A, dns.AAAA))
    last, no_data = AresError.ECONNREFUSED, False
    for candidate, why in _candidates(name, setup.conf):
        try:
            got = yield from channel.ask(candidate, types, why)
        except WireError:
            return AresError.EBADNAME
        if isinstance(got, Found):
            return got
        no_data = no_data or got is AresError.ENODATA
        last = AresError.ENODATA if no_data else got
        single = got in (AresError.ESERVFAIL, AresError.EREFUSED) and "." not in candidate.removesuffix(".")
        if got not in (AresError.ENOTFOUND, AresError.ENODATA) and not single:
            return got
    return last


def _literal(name: str) -> IpAddress | None:
    try:
        return ip_address(name)
    except ValueError:
        return ipv4_from_numbers(name) if name.count(".") == 3 else None


def _candidates(name: str, conf: ResolvConf) -> Iterator[tuple[str, str]]:
    """The names to ask for, each with the reason (ares_search_name_list)."""
    if name.endswith("."):
        yield name, f"{name} ends in a dot: no search list"
        return
    dots, places = name.count("."), len(conf.search)
    compared = f"{dots} dots, ndots:{conf.ndots}"
    if dots >= conf.ndots:
        yield name, f"as-is, before the search list: {name} ({compared})"
    for place, domain in enumerate(conf.search, 1):
        why = f"search list {place} of {places}: {name} + {domain} ({compared})"
        yield f"{name}.{domain.removeprefix('.')}", why
    if dots < conf.ndots:
        yield name, f"as-is, {'after the search list' if places else 'there is no search list'}: {name}"


_ERRORS: dict[int, AresError] = {
    Rcode.FORMERR: AresError.EFORMERR,
    Rcode.SERVFAIL: AresError.ESERVFAIL,
    Rcode.NXDOMAIN: AresError.ENOTFOUND,
    Rcode.NOTIMP: AresError.ENOTIMP,
    Rcode.REFUSED: AresError.EREFUSED,
}
_OUTCOMES = {AresError.ETIMEOUT: Outcome.TIMED_OUT, AresError.ECONNREFUSED: Outcome.PORT_UNREACHABLE}


class _Server:
    """What a channel remembers of a server: its failures in a row, how fast it answered, its open socket."""

    def __init__(self, address: IpAddress) -> None:
        self.address = address
        self.failures = 0
        self.times: list[float] = []
        self.socket: int | None = None


class _Pending:
    """A query without its end. ``error`` is that of the last try."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.tries = 0
        self.error: AresError | None = None
        self.tcp = False


class _End(NamedTuple):
    """A query has its answer, or no try is left."""

    asked: _Pending
    message: Message | None


class _Channel:
    """The clock, the servers, the sockets and the log of one process' lookups."""

    def __init__(self, setup: Setup, now: float) -> None:
        self.now = now
        self.log: list[Sent] = []
        self._conf = setup.conf
        self._rng = setup.rng
        self._servers = [_Server(address) for address in setup.conf.nameservers]
        self._opened = 0

    def ask(self, name: str, types: Sequence[int], why: str) -> Steps[Found | AresError]:
        """One candidate. The type that ends last decides, unless there is an address (host_callback)."""
        pending = [_Pending(self._query(name, qtype)) for qtype in types]
        if "use-vc" in self._conf.flags:
            for asked in pending:
                asked.tcp = True
        answers: list[Message] = []
        last = AresError.ECONNREFUSED
        while pending:
            ended = yield from self._round(pending, why)
            for asked, message in ended:
                pending.remove(asked)
                last = asked.error or AresError.ENODATA
                if message is not None:
                    last = AresError.ENODATA if message.rcode == Rcode.NOERROR else _rcode_error(message)
                    answers.append(message)
            if any(found.version == 4 for message in answers for found in _addresses(message)):
                pending = [asked for asked in pending if not asked.tries]  # terminate_retries
        addresses = tuple(found for message in answers for found in _addresses(message))
        if not addresses:
            return last
        aliases = [r.data for message in answers for r in message.answers if r.rtype == dns.CNAME]
        return Found(aliases[-1] if aliases else name, addresses)

    def _query(self, name: str, qtype: int) -> Query:
        return make_query(name, qtype, self._rng, edns_size=EDNS_SIZE)

    def _round(self, pending: Sequence[_Pending], why: str) -> Steps[list[_End]]:
        """Send what is pending to the best server, and wait for its answers; says what has ended."""
        ended: list[_End] = []
        server = self._best()
        for tcp in (False, True):
            asked = [one for one in pending if one.tcp is tcp]
            if asked:
                ended += yield from self._exchange(server, asked, why, tcp=tcp)
        return ended

    def _best(self) -> _Server:
        """The server with the fewest failures in a row, the first of them or, with rotate, any."""
        fewest = min(server.failures for server in self._servers)
        best = [server for server in self._servers if server.failures == fewest]
        return best[self._rng.below(len(best))] if "rotate" in self._conf.flags else best[0]

    def _exchange(self, server: _Server, asked: list[_Pending], why: str, *, tcp: bool) -> Steps[list[_End]]:
        """One try of some queries over one socket; those that failed too often have ended, too."""
        transport = Transport.TCP if tcp else Transport.UDP
        note = f"; again, because of {server.address}: {asked[0].error.value}" if asked[0].error else ""
        note = note or ("; over TCP, because the answer was truncated" if tcp else "")
        cause = Cause(Stage.RESOLVER, f"{why}{note} [c-ares]")
        timeout = self._timeout(server, asked[0].tries)
        for one in asked:
            one.error = None
        socket, event = yield from self._socket(server, transport, cause, timeout)
        sent: dict[int, Sent] = {}
        for one in asked if isinstance(event, Done) else ():
            sent[one.query.id] = Sent(one.query, server.address, transport, self.now)
            self.log.append(sent[one.query.id])
            event = yield from self._do(Send(socket, (one.query.message,), cause))
        waiting = {one.query.id: one for one in asked}
        ended: list[_End] = []
        if isinstance(event, Done):
            ended, event = yield from self._receive(server, socket, waiting, sent, self.now + timeout)
        for number, one in waiting.items():
            one.error = AresError.ETIMEOUT if isinstance(event, TimedOut) else AresError.ECONNREFUSED
            if number in sent:
                sent[number].outcome = _OUTCOMES[one.error]
        failed = [one for one in asked if one.error is not None]
        server.failures = server.failures + len(failed) if failed else 0
        if tcp:
            yield from self._do(Close(socket))
        elif failed:
            yield from self._close(server)
        for one in failed:
            one.tries += 1
            if one.tries >= len(self._servers) * self._conf.attempts:
                ended.append(_End(one, None))
        return ended

    def _receive(
        self,
        server: _Server,
        socket: int,
        waiting: dict[int, _Pending],
        sent: dict[int, Sent],
        deadline: float,
    ) -> Steps[tuple[list[_End], Event]]:
        """Take answers until none is waited for or none comes; what ended, and what came last."""
        ended: list[_End] = []
        event: Event = Done(self.now)
        while waiting and isinstance(event, Done | Arrived):
            event = yield from self._do(Receive(socket, max(deadline - self.now, 0.0)))
            message = parsed(event.message) if isinstance(event, Arrived) else None
            one = waiting.get(message.id) if message is not None else None
            if message is None or one is None or not repeats(message, one.query):
                continue
            del waiting[message.id]
            sent[message.id].answered(message)
            if message.truncated and not one.tcp:
                one.tcp = True
            elif message.rcode in FAILURES:
                one.error = _rcode_error(message)
            else:
                server.times.append(self.now - sent[message.id].at)
                ended.append(_End(one, message))
        return ended, event

    def _socket(
        self, server: _Server, transport: Transport, cause: Cause, timeout: float
    ) -> Steps[tuple[int, Event]]:
        """The server's UDP socket, which is opened once and again after a failure; a new one for TCP."""
        if transport is Transport.UDP and server.socket is not None:
            return server.socket, Done(self.now)
        self._opened += 1
        socket = self._opened
        event = yield from self._do(Open(socket, transport, server.address, cause, timeout))
        if transport is Transport.UDP:
            server.socket = socket
        return socket, event

    def _timeout(self, server: _Server, tries: int) -> float:
        """How long to wait for a try (ares_calc_query_timeout): twice as long in each round of all servers,
        less up to a half by chance."""
        first = float(self._conf.timeout)
        if len(server.times) >= ENOUGH_ANSWERS:
            average = sum(max(int(taken * 1000), 1) for taken in server.times) // len(server.times)
            first = min(max(average * MULTIPLIER / 1000, SHORTEST), LONGEST)
        rounds = tries // len(self._servers)
        jitter = self._rng.below(1 << 16) / (1 << 16) * LARGEST_JITTER if rounds else 0.0
        return max(first * (1 << rounds) * (1 - jitter), first)

    def close(self) -> Steps[None]:
        """The process ends."""
        for server in self._servers:
            if server.socket is not None:
                yield from self._close(server)

    def _close(self, server: _Server) -> Steps[None]:
        assert server.socket is not None
        yield from self._do(Close(server.socket))
        server.socket = None

    def _do(self, command: Command) -> Steps[Event]:
        event = yield command
        self.now = event.at
        return event


def _rcode_error(message: Message) -> AresError:
    return _ERRORS.get(message.rcode, AresError.EBADRESP)


def _addresses(message: Message) -> list[IpAddress]:
    return [ip_address(record.data) for record in message.answers if record.rtype in (dns.A, dns.AAAA)]
