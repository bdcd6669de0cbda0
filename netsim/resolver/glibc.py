"""glibc's getaddrinfo and its relatives as resumable machines: names in, addresses or an EAI_ code out.

The steps are those of glibc 2.41 with ``hosts: files dns``: numeric names, /etc/hosts, then the search list
(resolv/res_query.c, nss/getaddrinfo.c, resolv/nss_dns/dns-host.c), each candidate asked by ``glibc_send.py``,
and at last the order of addresses. The machine never waits: it yields commands (``commands.py``).
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.errors import WireError
from netsim.base.rng import Rng
from netsim.resolver import hosts
from netsim.resolver.commands import Family, GaiError, Lookup
from netsim.resolver.glibc_send import Errno, Exchange, NeverReturns, Process, Sender
from netsim.resolver.hosts import HostsLine
from netsim.resolver.order import Client, ordered
from netsim.resolver.queries import Steps, literal
from netsim.resolver.resolvconf import ResolvConf
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode

FIRST_BUFFER = 1024  # bytes: the scratch buffer into which an NSS service writes its result
TUPLE_SIZE = 40  # sizeof (struct gaih_addrtuple), 64 bits
POINTER_SIZE = 8
MAX_NAME = 255  # octets on the wire

Machine = Steps[Lookup]


class Setup(NamedTuple):
    """What a process finds on its host when it looks a name up, and what it remembers itself."""

    conf: ResolvConf
    hosts: tuple[HostsLine, ...]
    client: Client
    process: Process
    rng: Rng


class HErrno(Enum):
    """h_errno: why the search ended without an answer. ``value`` is the constant's name in netdb.h."""

    HOST_NOT_FOUND = "HOST_NOT_FOUND"
    TRY_AGAIN = "TRY_AGAIN"
    NO_RECOVERY = "NO_RECOVERY"
    NO_DATA = "NO_DATA"


class Failure(NamedTuple):
    """The end of one candidate, or of the whole search. ``rcode`` is Exchange.rcode; ``dangling`` says that
    there was an answer, a CNAME without an address."""

    reason: HErrno
    errno: Errno = Errno.NONE
    rcode: int = Rcode.NOERROR
    dangling: bool = False


class Found(NamedTuple):
    """A host: its name, the other names it was found by, its addresses in the order of the answers."""

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[IpAddress, ...]


def getaddrinfo(
    name: str, setup: Setup, now: float, *, family: Family = Family.UNSPEC, addrconfig: bool = False
) -> Machine:
    """getaddrinfo(3), for one name without a service. ``addrconfig`` is AI_ADDRCONFIG."""
    sender = Sender(setup.conf, setup.process, setup.rng, now)
    result: Found | GaiError
    try:
        result = yield from _getaddrinfo(sender, name, setup, family, addrconfig)
    except NeverReturns:
        result = GaiError.HANG
    return _lookup(name, sender, now, result, setup.client)


def getent_hosts(name: str, setup: Setup, now: float) -> Machine:
    """``getent hosts NAME`` (nss/getent.c: hosts_keys): all of AAAA first, A only when that found nothing."""
    sender = Sender(setup.conf, setup.process, setup.rng, now)
    result: Found | GaiError = GaiError.HANG
    try:
        for family in (Family.INET6, Family.INET):
            got = yield from _host_by_name(sender, name, setup, family)
            result = got if isinstance(got, Found) else _code(got)
            if isinstance(got, Found):
                break
    except NeverReturns:
        result = GaiError.HANG
    return _lookup(name, sender, now, result)


def gethostbyaddr(address: IpAddress, setup: Setup, now: float) -> Machine:
    """The name of an address (nss_dns: gethostbyaddr2_r, as getnameinfo and ``getent hosts ADDRESS`` use it):
    /etc/hosts, then one PTR query without a search list."""
    sender = Sender(setup.conf, setup.process, setup.rng, now)
    result: Found | GaiError
    line = hosts.by_address(setup.hosts, address)
    if line is not None:
        result = Found(line.name, line.aliases, (address,))
    else:
        why = f"reverse lookup of {address}"
        try:
            got = yield from _query(sender, address.reverse_pointer, (dns.PTR,), why)
            result = _code(got) if isinstance(got, Failure) else _pointed_at(got.answers[0], address)
        except NeverReturns:
            result = GaiError.HANG
    return _lookup(str(address), sender, now, result)


def _lookup(
    name: str, sender: Sender, start: float, result: Found | GaiError, client: Client | None = None
) -> Lookup:
    elapsed = sender.now - start
    if isinstance(result, GaiError):
        return Lookup(name, (), "", result, sender.sent(), elapsed)
    addresses = result.addresses
    if client is not None and len(addresses) > 1:
        addresses = ordered(addresses, client)
    return Lookup(name, addresses, result.name, None, sender.sent(), elapsed, result.aliases)


def _code(failure: Failure) -> GaiError:
    """The EAI_ code for an h_errno (get_nss_addresses)."""
    match failure.reason:
        case HErrno.TRY_AGAIN:
            return GaiError.EAI_AGAIN
        case HErrno.NO_DATA:
            return GaiError.EAI_NODATA
        case _:
            return GaiError.EAI_NONAME


# getaddrinfo: nss/getaddrinfo.c


def _getaddrinfo(
    sender: Sender, name: str, setup: Setup, family: Family, addrconfig: bool
) -> Steps[Found | GaiError]:
    if addrconfig:
        configured = _configured(family, setup.client)
        if configured is None:
            return GaiError.EAI_NONAME
        family = configured
    address = literal(name)
    if address is not None:
        return _of_literal(name, address, family)
    if family is not Family.UNSPEC:
        got = yield from _host_by_name(sender, name, setup, family)
        if isinstance(got, Found):
            return got
        return _code_of_inet(got) if family is Family.INET else _code(got)
    lines = hosts.by_name(setup.hosts, name, family)
    if lines:
        return Found(lines[0].name, _aliases(lines), tuple(line.address for line in lines))
    either = yield from _both_families(sender, name)
    return either if isinstance(either, Found) else _code(either)


def _configured(family: Family, client: Client) -> Family | None:
    """AI_ADDRCONFIG: the families to ask for, given the client's addresses other than loopback."""
    ipv4, ipv6 = bool(client.addresses), client.ipv6
    if family is Family.UNSPEC:
        return family if ipv4 == ipv6 else Family.INET if ipv4 else Family.INET6
    return family if (ipv4 if family is Family.INET else ipv6) else None


def _of_literal(name: str, address: IpAddress, family: Family) -> Found | GaiError:
    if isinstance(address, IPv6Address) and family is Family.INET and address.ipv4_mapped:
        address = address.ipv4_mapped
    wanted = {Family.INET: 4, Family.INET6: 6}.get(family, address.version)
    return Found(name, (), (address,)) if address.version == wanted else GaiError.EAI_ADDRFAMILY


def _code_of_inet(failure: Failure) -> GaiError:
    """AF_INET alone goes through gethostbyname2_r (try_simple_gethostbyname), which reports otherwise: a
    SERVFAIL that was followed by an answer is EAI_NONAME, a CNAME that leads to no address EAI_NODATA."""
    if failure.reason is HErrno.NO_DATA or failure.dangling:
        return GaiError.EAI_NODATA
    unavailable = failure.errno in (Errno.CONNREFUSED, Errno.TIMEDOUT)
    again = failure.reason is HErrno.TRY_AGAIN and unavailable
    return GaiError.EAI_AGAIN if again else GaiError.EAI_NONAME


def _aliases(lines: tuple[HostsLine, ...]) -> tuple[str, ...]:
    """The aliases of all lines, and their names where they differ from the first."""
    first, *rest = lines
    others = [alias for line in rest for alias in (*line.aliases, line.name)]
    return (*first.aliases, *(alias for alias in others if alias != first.name))


# The dns service: resolv/nss_dns/dns-host.c


def _both_families(sender: Sender, name: str) -> Steps[Found | Failure]:
    """A and AAAA together (_nss_dns_gethostbyname4_r). A result that does not fit the caller's buffer is
    thrown away, and the whole search done again with a buffer of twice the size."""
    types: tuple[int, ...] = (dns.A,) if "no-aaaa" in sender.conf.flags else (dns.A, dns.AAAA)
    buffer = FIRST_BUFFER
    again = ""
    while True:
        got = yield from _search(sender, name, types, again)
        if isinstance(got, Failure):
            return got
        followed = [host for host in map(_follow, got.answers) if host.addresses]
        if not followed:
            return Failure(HErrno.HOST_NOT_FOUND, dangling=True)
        addresses = tuple(address for host in followed for address in host.addresses)
        found = Found(followed[0].name, followed[0].aliases, addresses)
        if _size_as_tuples(found) <= buffer:
            return found
        again = _asked_again(len(addresses), buffer)
        buffer *= 2


def _host_by_name(sender: Sender, name: str, setup: Setup, family: Family) -> Steps[Found | Failure]:
    """One family, with /etc/hosts before it (gethostbyname2_r)."""
    lines = hosts.by_name(setup.hosts, name, family)
    if lines:
        return Found(lines[0].name, _aliases(lines), tuple(line.address for line in lines))
    buffer = FIRST_BUFFER
    again = ""
    while True:
        qtype = dns.A if family is Family.INET else dns.AAAA
        got = yield from _search(sender, name, (qtype,), again)
        if isinstance(got, Failure):
            return got
        found = _follow(got.answers[0])
        if not found.addresses:
            return Failure(HErrno.NO_RECOVERY, dangling=True)
        if _size_as_hostent(found) <= buffer:
            return found
        again = _asked_again(len(found.addresses), buffer)
        buffer *= 2


def _asked_again(count: int, buffer: int) -> str:
    return f"; the whole search again, because {count} addresses overflow a buffer of {buffer} bytes"


def _size_as_tuples(found: Found) -> int:
    """Bytes of a list of gaih_addrtuple; the name stands behind the first."""
    rest = len(found.addresses) - 1
    size = TUPLE_SIZE + len(found.name) + 1
    return _aligned(size, POINTER_SIZE) + rest * TUPLE_SIZE if rest else size


def _size_as_hostent(found: Found) -> int:
    """Bytes of a hostent's names, addresses and the two pointer arrays, the first of which ends in NULL."""
    names = (*found.aliases, found.name)
    size = _aligned(sum(len(name) + 1 for name in names), 4)
    size += sum(len(address.packed) for address in found.addresses)
    return _aligned(size, POINTER_SIZE) + POINTER_SIZE * (len(found.addresses) + 1 + len(names))


def _aligned(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _follow(message: Message) -> Found:
    """The host that an answer describes: each CNAME renames it, addresses must bear its latest name."""
    if len(message.questions) != 1:
        return Found("", (), ())
    expected, qtype, _ = message.questions[0]
    names = [expected]
    addresses: list[IpAddress] = []
    for record in message.answers:
        if record.rtype == dns.CNAME:
            expected = record.data
            names.append(expected)
        elif record.rtype == qtype and record.name.lower() == expected.lower():
            addresses.append(ip_address(record.data))
    texts = [name.removesuffix(".") for name in names]
    return Found(texts[-1], tuple(texts[:-1]), tuple(addresses))


def _pointed_at(message: Message, address: IpAddress) -> Found | GaiError:
    """The first PTR target (getanswer_ptr)."""
    expected = message.questions[0].name if message.questions else ""
    for record in message.answers:
        if record.rtype == dns.CNAME:
            expected = record.data
        elif record.rtype == dns.PTR and record.name.lower() == expected.lower():
            return Found(record.data.removesuffix("."), (), (address,))
    return GaiError.EAI_NONAME


# The search list: resolv/res_query.c


class _Walk(NamedTuple):
    """A search list without success: its last failure, the reasons of those that count, and whether the root
    stood on the list, so that the name was tried as it is."""

    last: Failure
    reasons: tuple[HErrno, ...]
    root_listed: bool


def _search(sender: Sender, name: str, types: tuple[int, ...], again: str) -> Steps[Exchange | Failure]:
    """Ask for the candidates in turn until one has data (__res_context_search).

    Names with ``ndots`` dots or more are tried as they are first, all others last. ``again`` ends the causes.
    """
    if not is_host_name(name):
        return Failure(HErrno.HOST_NOT_FOUND)
    conf = sender.conf
    dots = name.count(".")
    if name.endswith("."):
        return (yield from _query(sender, name, types, f"{name} ends in a dot: no search list{again}"))
    first: Failure | None = None
    if dots >= conf.ndots:
        why = f"as-is, before the search list: {name} ({_compared(dots, conf.ndots)}){again}"
        got = yield from _query(sender, name, types, why)
        if isinstance(got, Exchange):
            return got
        first = got
    walk = yield from _walk_list(sender, name, types, again)
    if isinstance(walk, Exchange):
        return walk
    last = walk.last if conf.search else first or walk.last
    if walk.last.errno is Errno.CONNREFUSED:
        return walk.last
    only_listed = "no-tld-query" in conf.flags and not dots and bool(conf.search)
    if first is None and not walk.root_listed and not only_listed:
        why = "as-is, after the search list" if conf.search else "as-is, there is no search list"
        got = yield from _query(sender, name, types, f"{why}: {name}{again}")
        if isinstance(got, Exchange):
            return got
        last = got
    if first is not None:
        return last._replace(reason=first.reason)
    for reason in (HErrno.NO_DATA, HErrno.TRY_AGAIN):
        if reason in walk.reasons:
            return last._replace(reason=reason)
    return last


def _walk_list(sender: Sender, name: str, types: tuple[int, ...], again: str) -> Steps[Exchange | _Walk]:
    """Append each domain of the search list. A candidate that does not exist, has no data of the types or
    answers SERVFAIL leads to the next; every other failure ends the walk."""
    domains = [domain.removeprefix(".") for domain in sender.conf.search]
    compared = _compared(name.count("."), sender.conf.ndots)
    last = Failure(HErrno.HOST_NOT_FOUND)
    reasons: list[HErrno] = []
    root_listed = False
    for place, domain in enumerate(domains, 1):
        root_listed = root_listed or not domain
        why = f"search list {place} of {len(domains)}: {name} + {domain or '.'} ({compared}){again}"
        got = yield from _query(sender, f"{name}.{domain}", types, why)
        if isinstance(got, Exchange):
            return got
        last = got
        if last.reason is HErrno.NO_RECOVERY:
            break
        if last.reason is HErrno.TRY_AGAIN and last.rcode != Rcode.SERVFAIL:
            break
        reasons.append(last.reason)
    return _Walk(last, tuple(reasons), root_listed)


def _compared(dots: int, ndots: int) -> str:
    return f"{dots} dot{'' if dots == 1 else 's'} {'<' if dots < ndots else '>='} ndots {ndots}"


def _query(sender: Sender, name: str, types: tuple[int, ...], why: str) -> Steps[Exchange | Failure]:
    """Ask for one candidate and judge the answers (__res_context_query)."""
    blank = types == (dns.AAAA,) and "no-aaaa" in sender.conf.flags
    try:
        queries = [sender.query(name, dns.A, plain=True)] if blank else []
        queries = queries or [sender.query(name, qtype) for qtype in types]
    except WireError:
        return Failure(HErrno.NO_RECOVERY)
    got = yield from sender.exchange(queries, why)
    if not got.answers:
        return Failure(HErrno.TRY_AGAIN, got.errno, got.rcode)
    if blank:  # only whether the name exists is wanted: __res_handle_no_aaaa
        got = got._replace(answers=(got.answers[0]._replace(answers=()),))
    if any(message.rcode == Rcode.NOERROR and message.answers for message in got.answers):
        return got
    codes = [message.rcode for message in got.answers if message.rcode != Rcode.NOERROR]
    return Failure(_REASONS.get(codes[0] if codes else Rcode.NOERROR, HErrno.NO_RECOVERY), rcode=got.rcode)


_REASONS: dict[int, HErrno] = {
    Rcode.NOERROR: HErrno.NO_DATA,
    Rcode.NXDOMAIN: HErrno.HOST_NOT_FOUND,
    Rcode.SERVFAIL: HErrno.TRY_AGAIN,
}

_HOST_NAME = re.compile(r"(?!-)(?:[0-9A-Za-z_-]{1,63}\.)*[0-9A-Za-z_-]{1,63}\.?|\.")


def is_host_name(name: str) -> bool:
    """Whether a name is worth asking for (res_hnok): the root, or labels of letters, digits, ``-``, ``_``."""
    return len(name.removesuffix(".")) + 2 <= MAX_NAME and _HOST_NAME.fullmatch(name) is not None
