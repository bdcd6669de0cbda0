"""musl's getaddrinfo as a resumable machine: names in, addresses or an EAI_ code out.

The steps are those of musl 1.2.5: numeric names, /etc/hosts, then the search list (network/lookup_name.c),
each candidate asked of all servers at once (res_msend.c), by what resolvconf.c reads. Versions before 1.2.4
know neither TCP nor EAI_NODATA. The machine never waits: it yields commands (``commands.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.base.rng import Rng
from netsim.resolver.commands import (
    Arrived,
    Close,
    Command,
    Done,
    Event,
    Family,
    GaiError,
    Libc,
    Lookup,
    Open,
    Outcome,
    Receive,
    Send,
    Transport,
)
from netsim.resolver.hosts import HostsLine
from netsim.resolver.order import Client, ordered_by_musl
from netsim.resolver.queries import (
    Found,
    Query,
    Sent,
    Steps,
    fits,
    literal,
    make_query,
    parsed,
    sent_queries,
)
from netsim.resolver.resolvconf import (
    MAX_NAMESERVERS,
    MAX_NDOTS,
    ResolvConf,
    nameserver_address,
)
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode

MAX_ATTEMPTS = 10
MAX_TIMEOUT = 60  # seconds
MAX_LINE = 254  # characters: a longer line does not fit the buffer, and is left out
MAX_ADDRESSES = 48  # MAXADDRS
MAX_NAME = 254
SERVFAIL_RETRIES = 2  # for each query, between two rounds
BLANKS = " \t\n\v\f\r"

Machine = Steps[Lookup]


class Setup(NamedTuple):
    """What a process finds on its host. ``old`` stands for the versions before 1.2.4."""

    conf: ResolvConf
    hosts: tuple[HostsLine, ...]
    client: Client
    rng: Rng
    old: bool = False


# resolv.conf: src/network/resolvconf.c


def parse(text: str) -> ResolvConf:
    """Read a resolv.conf; without ``nameserver`` 127.0.0.1 is asked.

    Keywords stand in column 0; ``search`` and ``domain`` are the same, and the last line wins. Of the options
    only ndots, timeout and attempts are known, and of several on one line the first counts.
    """
    conf = ResolvConf()
    nameservers: list[IpAddress] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines(keepends=True):
        if len(line.removesuffix("\n")) > MAX_LINE:
            continue
        keyword = re.match(f"(options|nameserver|domain|search)[{BLANKS}]", line)
        rest = line[keyword.end() :] if keyword else ""
        match keyword and keyword[1]:
            case "options":
                conf = _with_options(conf, rest)
            case "nameserver":
                address = nameserver_address(" ".join(rest.split()))
                if address is not None:
                    nameservers.append(address)
            case "domain" | "search":
                search = tuple(rest.split())
    servers = tuple(nameservers[:MAX_NAMESERVERS]) or ResolvConf().nameservers
    return conf._replace(nameservers=servers, search=search)


def _with_options(conf: ResolvConf, text: str) -> ResolvConf:
    ndots, timeout, attempts = (_number(text, name) for name in ("ndots", "timeout", "attempts"))
    return conf._replace(
        ndots=conf.ndots if ndots is None else min(ndots, MAX_NDOTS),
        timeout=conf.timeout if timeout is None else min(timeout, MAX_TIMEOUT),
        attempts=conf.attempts if attempts is None else min(attempts, MAX_ATTEMPTS),
    )


def _number(text: str, name: str) -> int | None:
    """The digits behind the first ``name:``, wherever it stands; None when there are none."""
    _, found, value = text.partition(f"{name}:")
    digits = re.match(r"\d+", value)
    return int(digits[0]) if found and digits else None


# getaddrinfo: src/network/getaddrinfo.c, lookup_name.c


def getaddrinfo(name: str, setup: Setup, now: float, *, family: Family = Family.UNSPEC) -> Machine:
    """getaddrinfo(3), for one name without a service.

    AI_ADDRCONFIG has no effect here: it asks whether the loopback address of a family can be reached, and a
    Pod has both.
    """
    exchange = _Exchange(setup, now)
    result = yield from _lookup_name(exchange, name, setup, family)
    elapsed, sent = exchange.now - now, sent_queries(exchange.log)
    libc = Libc.OLD_MUSL if setup.old else Libc.MUSL
    if isinstance(result, GaiError):
        if setup.old and result is GaiError.EAI_NODATA:
            result = GaiError.EAI_NONAME
        return Lookup(name, (), "", result, sent, elapsed, libc=libc)
    addresses = result.addresses
    if family is not Family.INET:
        addresses = ordered_by_musl(addresses, setup.client)
    return Lookup(name, addresses, result.name.removesuffix("."), None, sent, elapsed, libc=libc)


def _lookup_name(exchange: _Exchange, name: str, setup: Setup, family: Family) -> Steps[Found | GaiError]:
    if not 0 < len(name) <= MAX_NAME:
        return GaiError.EAI_NONAME
    address = literal(name)
    if address is not None:
        return Found(name, (address,)) if fits(address, family) else GaiError.EAI_NODATA
    lines = [line for line in setup.hosts if name in (line.name, *line.aliases)]
    if lines:
        listed = tuple(line.address for line in lines if fits(line.address, family))
        return Found(lines[0].name, listed[:MAX_ADDRESSES]) if listed else GaiError.EAI_NODATA
    if setup.conf.attempts == 0:
        return GaiError.SIGFPE
    return (yield from _search(exchange, name, family))


def _search(exchange: _Exchange, name: str, family: Family) -> Steps[Found | GaiError]:
    """Ask for the candidates in turn (name_from_dns_search). A name with ``ndots`` dots or more is never
    searched for, and any answer but NXDOMAIN ends the search."""
    conf = exchange.conf
    dots, bare = name.count("."), name.removesuffix(".")
    if not bare or bare.endswith("."):
        return GaiError.EAI_NONAME
    candidates: list[tuple[str, str]] = []
    if name.endswith("."):
        last = f"{name} ends in a dot: no search list"
    elif dots >= conf.ndots:
        last = f"as-is, never searched for: {name} ({dots} dots, ndots:{conf.ndots})"
    else:
        places = len(conf.search)
        for place, domain in enumerate(conf.search, 1):
            why = f"search list {place} of {places}: {name} + {domain} ({dots} dots, ndots:{conf.ndots})"
            candidates.append((f"{name}.{domain}", why))
        last = f"as-is, {'after the search list' if places else 'there is no search list'}: {name}"
    for candidate, why in (*candidates, (name, last)):
        if candidate != name and len(candidate) > MAX_NAME + 1:
            continue
        found = yield from _name_from_dns(exchange, candidate, family, why)
        if found is not None:
            return found
    return GaiError.EAI_NONAME


def _name_from_dns(
    exchange: _Exchange, name: str, family: Family, why: str
) -> Steps[Found | GaiError | None]:
    """One candidate; None when the next one is to be tried. An error of one type spoils the other."""
    types = {Family.INET: (dns.A,), Family.INET6: (dns.AAAA,)}.get(family, (dns.A, dns.AAAA))
    if name.removesuffix(".").endswith(".") and not exchange.old:
        return None  # the root on the search list makes no name that can be asked for
    try:
        queries = exchange.queries(name, types)
    except WireError:
        return GaiError.EAI_NONAME if exchange.old else None
    answers = yield from exchange.run(queries, why)
    for message in answers:
        if message is None or message.rcode == Rcode.SERVFAIL:
            return GaiError.EAI_AGAIN
        if message.rcode == Rcode.NXDOMAIN:
            return None
        if message.rcode != Rcode.NOERROR:
            return GaiError.EAI_FAIL
    canonical = name
    addresses: list[IpAddress] = []
    for qtype, message in reversed([*zip(types, answers, strict=True)]):
        for record in message.answers if message is not None else ():
            if record.rtype == dns.CNAME:
                canonical = record.data
            elif record.rtype == qtype:
                addresses.append(ip_address(record.data))
    return Found(canonical, tuple(addresses[:MAX_ADDRESSES])) if addresses else GaiError.EAI_NODATA


def _malformed(query: Query) -> Query:
    """What __res_mkquery before 1.2.4 makes of ``name..``: a dot where the name ends, and all behind it one
    byte late, so that no server can read it."""
    name, end = query.message[:-5], query.message[-4:]
    return query._replace(message=name + b".\0" + bytes([end[1], 0, end[3], 0]))


# Asking: src/network/res_msend.c


class _Exchange:
    """The clock, the sockets and the log of one lookup."""

    def __init__(self, setup: Setup, now: float) -> None:
        self.conf = setup.conf
        self.now = now
        self.log: list[Sent] = []
        self._rng = setup.rng
        self.old = setup.old
        self._tcp = not setup.old
        self._opened = 0

    def queries(self, name: str, types: Sequence[int]) -> list[Query]:
        """The queries for one candidate, with ids that differ; WireError when it is no name."""
        if name.endswith(".."):
            return [_malformed(make_query(name[:-1], qtype, self._rng)) for qtype in types]
        made = [make_query(name, qtype, self._rng) for qtype in types]
        while len({query.id for query in made}) < len(made):
            made[-1] = make_query(name, types[-1], self._rng)
        return made

    def run(self, queries: Sequence[Query], why: str) -> Steps[list[Message | None]]:
        """All queries to all servers, from one socket, until each has an answer or the time is over.

        ``timeout`` is for the whole; a round is sent every ``timeout / attempts``. The first NOERROR or
        NXDOMAIN for a query counts, whoever sent it; SERVFAIL has the query sent again at once to that
        server, and all other codes are passed over.
        """
        round_, logged = _Round(queries, self._allocate()), len(self.log)
        yield from self._do(Open(round_.socket, Transport.UDP, None, self._cause(why)))
        start, last = self.now, None
        interval, total = self.conf.timeout * 1000 // self.conf.attempts, self.conf.timeout * 1000
        while (elapsed := self._milliseconds(start)) < total and round_.pending:
            if last is None or elapsed - last >= interval:
                yield from self._send(round_, round_.unsent_over_tcp(), why)
                last = elapsed
                round_.servfail_retries = SERVFAIL_RETRIES * len(queries)
            if not round_.unsent_over_tcp():
                if not (yield from self._read_stream(round_, start + total / 1000)):
                    break
                continue
            event = yield from self._do(Receive(round_.socket, (last + interval - elapsed) / 1000))
            if isinstance(event, Arrived) and not (yield from self._take(round_, event, start, why)):
                break
        for sent in self.log[logged:]:
            if sent.outcome is Outcome.NOT_AWAITED:
                sent.outcome = Outcome.TIMED_OUT
        for socket in (round_.socket, *round_.streams.values()):
            yield from self._do(Close(socket))
        return [round_.answers.get(query.id) for query in queries]

    def _milliseconds(self, start: float) -> int:
        """musl counts in whole milliseconds."""
        return int((self.now - start) * 1000 + 1e-6)

    def _send(self, round_: _Round, queries: Sequence[Query], why: str) -> Steps[None]:
        for query in queries:
            for server in self.conf.nameservers:
                yield from self._send_one(round_, query, server, why)

    def _send_one(self, round_: _Round, query: Query, server: IpAddress, why: str) -> Steps[None]:
        sent = round_.sent[query.id, server] = Sent(query, server, Transport.UDP, self.now)
        self.log.append(sent)
        yield from self._do(Send(round_.socket, (query.message,), self._cause(why), to=server))

    def _take(self, round_: _Round, event: Arrived, start: float, why: str) -> Steps[bool]:
        """One datagram; False ends the exchange, for a TCP connection failed."""
        message = parsed(event.message)
        query = message and round_.pending.get(message.id)
        if message is None or query is None or query.id in round_.streams:
            return True
        sent = round_.sent.get((query.id, event.source))
        if sent is None:  # nobody whom it was sent to
            return True
        sent.answered(message)
        if message.rcode == Rcode.SERVFAIL and round_.servfail_retries:
            round_.servfail_retries -= 1
            yield from self._send_one(round_, query, event.source, f"{why}; again at once after SERVFAIL")
        if message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return True
        if not message.truncated or not self._tcp:
            round_.answer(query, message)
            return True
        left = start + self.conf.timeout - self.now
        return (yield from self._connect(round_, query, event.source, left, f"{why}; over TCP"))

    def _connect(self, round_: _Round, query: Query, server: IpAddress, left: float, why: str) -> Steps[bool]:
        """Ask again over TCP what was truncated."""
        socket = self._allocate()
        round_.streams[query.id] = socket
        event = yield from self._do(Open(socket, Transport.TCP, server, self._cause(why), left))
        if not isinstance(event, Done):
            return False
        sent = round_.sent[query.id, server] = Sent(query, server, Transport.TCP, self.now)
        self.log.append(sent)
        event = yield from self._do(Send(socket, (query.message,), self._cause(why)))
        return isinstance(event, Done)

    def _read_stream(self, round_: _Round, deadline: float) -> Steps[bool]:
        """The next answer over TCP; False ends the exchange."""
        query = next(iter(round_.pending.values()))
        event = yield from self._do(Receive(round_.streams[query.id], max(deadline - self.now, 0.0)))
        if not isinstance(event, Arrived):
            return False
        message = parsed(event.message)
        if message is None or message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return False
        round_.sent[query.id, event.source].answered(message)
        round_.answer(query, message)
        return True

    def _allocate(self) -> int:
        self._opened += 1
        return self._opened

    def _do(self, command: Command) -> Steps[Event]:
        event = yield command
        self.now = event.at
        return event

    def _cause(self, why: str) -> Cause:
        return Cause(Stage.RESOLVER, f"{why} [musl]")


class _Round:
    """What is known of the queries of one candidate."""

    def __init__(self, queries: Sequence[Query], socket: int) -> None:
        self.socket = socket
        self.pending = {query.id: query for query in queries}
        self.streams: dict[int, int] = {}  # TCP connections, by the query's id
        self.answers: dict[int, Message] = {}
        self.sent: dict[tuple[int, IpAddress], Sent] = {}
        self.servfail_retries = 0

    def unsent_over_tcp(self) -> list[Query]:
        """What still waits for an answer over UDP."""
        return [query for query in self.pending.values() if query.id not in self.streams]

    def answer(self, query: Query, message: Message) -> None:
        """Accept an answer."""
        self.answers[query.id] = message
        del self.pending[query.id]
