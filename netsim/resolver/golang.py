"""Go's own resolver as a resumable machine: names in, addresses or a DNSError out.

The steps are those of Go 1.26 with ``netdns=go``: numeric names, /etc/hosts, then each candidate of the
search list, for which A and AAAA are asked side by side (net/dnsclient_unix.go, goLookupIPCNAMEOrder), by
what net/dnsconfig_unix.go reads. The machine never waits: it yields commands (``commands.py``).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.base.rng import Rng
from netsim.resolver.commands import (
    Arrived,
    Close,
    Closed,
    Command,
    Done,
    Event,
    Family,
    GoError,
    Joined,
    Libc,
    Lookup,
    Open,
    Outcome,
    Receive,
    Refused,
    Send,
    TimedOut,
    Together,
    Transport,
)
from netsim.resolver.hosts import HostsLine
from netsim.resolver.order import Client, ordered_by_go
from netsim.resolver.queries import (
    Found,
    Query,
    Sent,
    Steps,
    is_lame,
    make_query,
    parsed,
    repeats,
    sent_queries,
)
from netsim.resolver.resolvconf import MAX_NAMESERVERS, MAX_NDOTS, ResolvConf
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode

EDNS_SIZE = 1232  # maxDNSPacketSize
MAX_NAME = 254  # characters, with the trailing dot
MAX_LABEL = 63
DEFAULT_NAMESERVERS: tuple[IpAddress, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

NO_SUCH_HOST = GoError("no such host", is_not_found=True)
MISBEHAVING = GoError("server misbehaving")
TEMPORARILY_MISBEHAVING = GoError("server misbehaving", is_temporary=True)
LAME = GoError("lame referral")
TIMEOUT = GoError("i/o timeout", is_temporary=True, is_timeout=True)
INVALID = GoError("invalid DNS response")
NO_SUITABLE_ADDRESS = GoError("no suitable address found")

Machine = Steps[Lookup]


class Process:
    """What a Go process remembers between lookups: how many queries have rotated through the servers."""

    __slots__ = ("rotation",)

    def __init__(self) -> None:
        self.rotation = 0


class Setup(NamedTuple):
    """What a process finds on its host, and what it remembers itself."""

    conf: ResolvConf
    hosts: tuple[HostsLine, ...]
    client: Client
    process: Process
    rng: Rng


# resolv.conf: net/dnsconfig_unix.go


def parse(text: str, *, hostname: str = "") -> ResolvConf:
    """Read a resolv.conf. Fields may be indented; a search list of the root alone is none.

    Without ``nameserver`` both loopback addresses are asked, without a search list the domain of ``hostname``
    is one.
    """
    conf = ResolvConf()
    nameservers: list[IpAddress] = []
    search: tuple[str, ...] = ()
    for line in text.split("\n"):
        fields = line.split()
        if line.startswith((";", "#")) or not fields:
            continue
        match fields[0]:
            case "nameserver" if len(fields) > 1:
                address = _address(fields[1])
                if address is not None:
                    nameservers.append(address)
            case "domain" if len(fields) > 1:
                search = (_rooted(fields[1]),)
            case "search":
                search = tuple(name for name in map(_rooted, fields[1:]) if name != ".")
            case "options":
                for option in fields[1:]:
                    conf = _with_option(conf, option)
    if not search:
        domain = hostname.partition(".")[2]
        search = (_rooted(domain),) if domain else ()
    servers = tuple(nameservers[:MAX_NAMESERVERS]) or DEFAULT_NAMESERVERS
    return conf._replace(nameservers=servers, search=search)


def _address(text: str) -> IpAddress | None:
    try:
        return _unmapped(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _unmapped(address: IpAddress) -> IpAddress:
    """An IPv4 address in IPv6 form is an IPv4 address to Go (net.IP.To4)."""
    return address if address.version == 4 else address.ipv4_mapped or address


def _rooted(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


_FLAGS = {
    "rotate": "rotate",
    "single-request": "single-request",
    "single-request-reopen": "single-request",
    "use-vc": "use-vc",
    "usevc": "use-vc",
    "tcp": "use-vc",
    "trust-ad": "trust-ad",
}


def _with_option(conf: ResolvConf, option: str) -> ResolvConf:
    name, colon, value = option.partition(":")
    digits = re.match(r"\d*", value)
    number = int(digits[0] or 0) if digits else 0
    match name if colon else "":
        case "ndots":
            return conf._replace(ndots=min(number, MAX_NDOTS))
        case "timeout":
            return conf._replace(timeout=max(number, 1))
        case "attempts":
            return conf._replace(attempts=max(number, 1))
    flag = _FLAGS.get(option)
    return conf._replace(flags=conf.flags | {flag}) if flag else conf


# The lookup: net/dnsclient_unix.go


def lookup_ip(name: str, setup: Setup, now: float, *, family: Family = Family.UNSPEC) -> Machine:
    """``net.Resolver.LookupIP`` with the network ``ip``, ``ip4`` or ``ip6``."""
    state = _State(setup)
    result, end = yield from _lookup(state, name, family, now)
    sent, elapsed = sent_queries(state.log), end - now
    if isinstance(result, GoError):
        return Lookup(name, (), "", result, sent, elapsed, libc=Libc.GO)
    addresses = ordered_by_go(result.addresses, setup.client)
    return Lookup(name, addresses, result.name.removesuffix("."), None, sent, elapsed, libc=Libc.GO)


class _State:
    """The settings and the log of one lookup, which its machines share."""

    def __init__(self, setup: Setup) -> None:
        self.conf = setup.conf
        self.process = setup.process
        self.rng = setup.rng
        self.hosts = setup.hosts
        self.log: list[Sent] = []
        self.opened = 0

    def first_server(self) -> int:
        """Where the servers begin (serverOffset): with rotate, one further for each query."""
        if "rotate" not in self.conf.flags:
            return 0
        self.process.rotation += 1
        return self.process.rotation - 1

    def allocate(self) -> int:
        self.opened += 1
        return self.opened


class _Answer(NamedTuple):
    """The end of one query: a message that has records of its type, or an error, and when."""

    at: float
    message: Message | None = None
    error: GoError | None = None


def _lookup(
    state: _State, name: str, family: Family, now: float
) -> Generator[Command, Event, tuple[Found | GoError, float]]:
    literal = _address(name)
    if literal is not None:
        return _suitable(Found(name, (literal,)), family), now
    wanted = _key(name)
    lines = [line for line in state.hosts if wanted in map(_key, (line.name, *line.aliases))]
    if lines:
        return _suitable(Found(lines[0].name, tuple(_unmapped(line.address) for line in lines)), family), now
    if not is_domain_name(name):
        return NO_SUCH_HOST, now
    types = {Family.INET: (dns.A,), Family.INET6: (dns.AAAA,)}.get(family, (dns.A, dns.AAAA))
    last: GoError | None = None
    for candidate, why in _candidates(name, state.conf):
        answers = yield from _ask(state, candidate, types, why, now)
        now = max(answer.at for answer in answers)
        found: list[IpAddress] = []
        canonical = ""
        for answer in sorted(answers, key=lambda answer: answer.at):
            if answer.error is not None and (last is None or candidate == f"{name}."):
                last = answer.error  # that of the name itself is preferred
            for record in answer.message.answers if answer.message is not None else ():
                if record.rtype in (dns.A, dns.AAAA):
                    found.append(ip_address(record.data))
                    canonical = canonical or record.name
                elif record.rtype == dns.CNAME:
                    canonical = canonical or record.data
        if found:
            return Found(canonical, tuple(found)), now
    return last or NO_SUITABLE_ADDRESS, now  # nothing could be asked for


def _key(name: str) -> str:
    """absDomainName: a name without any dot gets none, so that ``name.`` is another one than ``name``."""
    return (_rooted(name) if "." in name else name).lower()


def _suitable(found: Found, family: Family) -> Found | GoError:
    """Only the addresses of the family, for what needed no query (filterAddrList)."""
    version = {Family.INET: 4, Family.INET6: 6}.get(family)
    kept = tuple(address for address in found.addresses if version in (None, address.version))
    return found._replace(addresses=kept) if kept else NO_SUITABLE_ADDRESS


def is_domain_name(name: str) -> bool:
    """Whether a name may be asked for at all (net/dnsclient.go, isDomainName)."""
    if name == ".":
        return True
    if not name or len(name) > MAX_NAME or (len(name) == MAX_NAME and not name.endswith(".")):
        return False
    labels = name.removesuffix(".").split(".")
    shaped = all(
        re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?", label) and len(label) <= MAX_LABEL
        for label in labels
    )
    return shaped and re.search(r"[A-Za-z_-]", name) is not None


def _candidates(name: str, conf: ResolvConf) -> list[tuple[str, str]]:
    """The names to ask for, each with the reason (nameList). Names below onion are never sent bare."""
    if name.endswith("."):
        return [] if _avoided(name) else [(name, f"{name} ends in a dot: no search list")]
    dots, places, bare = name.count("."), len(conf.search), f"{name}."
    compared = f"{dots} dots, ndots:{conf.ndots}"
    listed = [
        (
            f"{name}.{domain}",
            f"search list {place} of {places}: {name} + {domain.removesuffix('.')} ({compared})",
        )
        for place, domain in enumerate(conf.search, 1)
    ]
    listed = [pair for pair in listed if not _avoided(pair[0]) and len(pair[0]) <= MAX_NAME]
    if _avoided(bare):
        return listed
    if dots >= conf.ndots:
        return [(bare, f"as-is, before the search list: {name} ({compared})"), *listed]
    return [
        *listed,
        (bare, f"as-is, {'after the search list' if places else 'there is no search list'}: {name}"),
    ]


def _avoided(name: str) -> bool:
    """RFC 7686, section 2."""
    return name.removesuffix(".").lower().endswith(".onion")


def _ask(
    state: _State, name: str, types: Sequence[int], why: str, now: float
) -> Generator[Command, Event, Sequence[_Answer]]:
    """One candidate: its types side by side, in either order, or one by one with single-request."""
    if "single-request" in state.conf.flags or len(types) == 1:
        answers: list[_Answer] = []
        for qtype in types:
            answer = yield from _try_one_name(state, name, qtype, why, answers[-1].at if answers else now)
            answers.append(answer)
        return answers
    # Go's scheduler runs the goroutine started last first, unless another thread has taken the other by then.
    order = types[::-1] if state.rng.below(4) else types
    machines = tuple(_try_one_name(state, name, qtype, why, now) for qtype in order)
    event = yield Together(machines)
    assert isinstance(event, Joined)
    return event.results


def _try_one_name(state: _State, name: str, qtype: int, why: str, now: float) -> Steps[_Answer]:
    """One query to all servers, ``attempts`` times over, until one answers it (tryOneName)."""
    conf, first = state.conf, state.first_server()
    trouble = ""
    last = NO_SUCH_HOST
    for _ in range(conf.attempts):
        for shift in range(len(conf.nameservers)):
            server = conf.nameservers[(first + shift) % len(conf.nameservers)]
            lane = _Exchange(state, server, f"{why}{trouble}", now)
            try:
                query = make_query(
                    name, qtype, state.rng, edns_size=EDNS_SIZE, authentic="trust-ad" in conf.flags
                )
            except WireError:
                return _Answer(now, error=GoError("cannot marshal DNS message"))
            got = yield from lane.run(query)
            now = lane.now
            if isinstance(got, Message):
                error = _judged(got, qtype)
                if error is None:
                    return _Answer(now, got)
                if error is NO_SUCH_HOST:
                    return _Answer(now, error=error)
                last = error
            else:
                last = got
            trouble = f"; again, because of {server}: {last.value}"
    return _Answer(now, error=last)


def _judged(message: Message, qtype: int) -> GoError | None:
    """What is wrong with an answer (checkHeader, skipToAnswer)."""
    if message.rcode == Rcode.NXDOMAIN:
        return NO_SUCH_HOST
    if is_lame(message):
        return LAME
    if message.rcode != Rcode.NOERROR:
        return TEMPORARILY_MISBEHAVING if message.rcode == Rcode.SERVFAIL else MISBEHAVING
    return None if any(record.rtype == qtype for record in message.answers) else NO_SUCH_HOST


class _Exchange:
    """One query to one server (exchange): over UDP, and over TCP when the answer is truncated."""

    def __init__(self, state: _State, server: IpAddress, why: str, now: float) -> None:
        self.now = now
        self._state = state
        self._server = server
        self._why = why

    def run(self, query: Query) -> Steps[Message | GoError]:
        """The server's answer, or what went wrong. ``timeout`` is for each of UDP and TCP."""
        if "use-vc" not in self._state.conf.flags:
            got = yield from self._over(Transport.UDP, query, self._why)
            if not isinstance(got, Message) or not got.truncated:
                return got
            self._why = f"{self._why}; over TCP, because the answer was truncated"
        return (yield from self._over(Transport.TCP, query, self._why))

    def _over(self, transport: Transport, query: Query, why: str) -> Steps[Message | GoError]:
        socket, cause = self._state.allocate(), Cause(Stage.RESOLVER, f"{why} [Go]")
        timeout = self._state.conf.timeout
        deadline = self.now + timeout
        sent: Sent | None = None
        event = yield from self._do(Open(socket, transport, self._server, cause, timeout))
        if isinstance(event, Done):
            sent = Sent(query, self._server, transport, self.now)
            self._state.log.append(sent)
            event = yield from self._do(Send(socket, (query.message,), cause))
        got: Message | GoError | None = None
        while got is None:
            if isinstance(event, Done):
                event = yield from self._do(Receive(socket, max(deadline - self.now, 0.0)))
            if isinstance(event, Arrived):
                got = self._read(transport, query, event.message)
                event = Done(event.at)
            else:
                got = _error(event)
        if sent is not None:
            if isinstance(got, Message):
                sent.answered(got)
            else:
                sent.outcome = _OUTCOMES.get(got, Outcome.CONNECTION_LOST)
        yield from self._do(Close(socket))
        return got

    def _read(self, transport: Transport, query: Query, data: bytes) -> Message | GoError | None:
        """The answer; None for what may be a forgery, which over UDP is passed over."""
        message = parsed(data)
        if message is not None and message.response and message.id == query.id and repeats(message, query):
            return message
        return None if transport is Transport.UDP else INVALID

    def _do(self, command: Command) -> Steps[Event]:
        event = yield command
        self.now = event.at
        return event


REFUSED = GoError("connection refused", is_temporary=True)
UNREACHABLE = GoError("network is unreachable", is_temporary=True)
RESET = GoError("connection reset by peer", is_temporary=True)
END_OF_FILE = GoError("EOF")

_OUTCOMES = {
    TIMEOUT: Outcome.TIMED_OUT,
    REFUSED: Outcome.PORT_UNREACHABLE,
    UNREACHABLE: Outcome.UNREACHABLE,
}


def _error(event: Any) -> GoError:
    """What Go's net package makes of a socket's error; all but the end of a file are temporary."""
    match event:
        case TimedOut():
            return TIMEOUT
        case Refused():
            return REFUSED
        case Closed(reset=reset):
            return RESET if reset else END_OF_FILE
        case _:
            return UNREACHABLE
