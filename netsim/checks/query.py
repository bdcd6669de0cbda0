"""``query: {name, type, server}``: one question to one DNS server, asked as dig asks it.

There is no search list and no libc. The server is that of ``from``'s resolv.conf unless the check names one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import UsageError, WireError
from netsim.checks.targets import Addresses, Book, book_of
from netsim.checks.verb import Expect, Judgement, Verb
from netsim.objects.topology import Check
from netsim.programs.host import Endpoint, Host
from netsim.programs.tools import dnsquery
from netsim.resolver.commands import DNS_PORT
from netsim.wire import dns

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

UDP_SIZE = 1232  # dig's EDNS size
TIMEOUT = 5.0  # seconds; dig's +timeout
TRIES = 3  # dig's +tries


class Reply(NamedTuple):
    """The answer, or None and why there is none; ``outcome`` is then ``timeout``, ``refused`` …"""

    server: IpAddress
    message: dns.Message | None
    outcome: str
    detail: str


async def observe(cluster: Cluster, check: Check) -> Reply:
    """Ask; three times if need be, and over TCP when the answer is cut."""
    asked = check.arguments["query"]
    handle = cluster.find(check.origin)
    server = _server(book_of(cluster), handle.host, asked.get("server"))
    qtype = dns.TYPE_NUMBERS[asked.get("type", "A")]
    return cluster.pump(_ask(handle.host, server, dnsquery.absolute(asked["name"]), qtype))


def _server(book: Book, host: Host, named: str | None) -> IpAddress:
    if named:
        known: list[IpAddress] = sorted(
            book.addresses(named), key=lambda address: (address.version, int(address))
        )
    else:
        known = [address for address in dnsquery.read_conf(host).nameservers if address is not None]
    if known:
        return known[0]
    raise UsageError(f"{named or host.name} gives no DNS server with an address")


async def _ask(host: Host, server: IpAddress, name: str, qtype: int) -> Reply:
    remote = Endpoint(server, DNS_PORT)
    question = dns.Question(name, qtype)
    query = dns.Message(
        host.rng.below(1 << 16), recursion_desired=True, questions=(question,), edns=dns.Edns(UDP_SIZE)
    )
    cause = Cause(Stage.PROGRAM, f"query {name} {dns.type_name(qtype)} at {server}")
    outcome, detail = "timeout", f"no answer from {server} in {TRIES} tries of {TIMEOUT:g} s"
    for _ in range(TRIES):
        try:
            answer = await dnsquery.ask(host, remote, query, timeout=TIMEOUT, cause=cause)
            if answer.message.truncated:
                answer = await dnsquery.ask(host, remote, query, timeout=TIMEOUT, cause=cause, tcp=True)
        except TimeoutError:
            continue
        except ConnectionRefusedError:
            outcome, detail = "refused", f"nothing listens on port {DNS_PORT} of {server}"
        except OSError as error:
            return Reply(server, None, "unreachable", f"{server}: {error.strerror or error}")
        except WireError as error:
            return Reply(server, None, "malformed", str(error))
        else:
            return Reply(server, answer.message, dns.rcode_name(answer.message.rcode), "")
    return Reply(server, None, outcome, detail)


def judge_rcode(reply: Reply, expect: Expect, book: Book) -> Judgement:
    return Judgement(reply.message is not None and reply.outcome == expect["rcode"], reply.outcome)


def _section(
    key: str, records_of: Callable[[dns.Message], Sequence[dns.Record]]
) -> Callable[[Reply, Expect, Book], Judgement]:
    """A judge for one section: exactly these records, in whatever order."""

    def judge(reply: Reply, expect: Expect, book: Book) -> Judgement:
        if reply.message is None:
            return Judgement(False, reply.outcome)
        records = records_of(reply.message)
        fits = [[_fits(record, item, book) for record in records] for item in expect[key]]
        every_item = all(any(row) for row in fits)
        every_record = all(any(row[at] for row in fits) for at in range(len(records)))
        return Judgement(every_item and every_record, [_spaced(dns.render_record(r)) for r in records])

    return judge


def _fits(record: dns.Record, item: str, book: Book) -> bool:
    """Whether a record is what ``item`` says: an address or target, its data, or its line with or without
    name, TTL, class and type, as dig prints it."""
    if record.rtype in (dns.A, dns.AAAA) and (addresses := _addresses(item, book)):
        return ip_address(record.data) in addresses
    name, ttl, rclass, rtype, *data = dns.render_record(record).split()
    forms = (
        data,
        [rtype, *data],
        [rclass, rtype, *data],
        [name, rtype, *data],
        [name, rclass, rtype, *data],
        [name, ttl, rtype, *data],
        [name, ttl, rclass, rtype, *data],
    )
    return item.lower().split() in [[word.lower() for word in form] for form in forms]


def _addresses(item: str, book: Book) -> Addresses:
    """What a target stands for; nothing when the text is no target."""
    if "/" not in item or " " in item:
        return frozenset()
    return book.addresses(item)


def _spaced(line: str) -> str:
    return " ".join(line.split())


def detail(reply: Reply) -> str:
    return reply.detail


QUERY = Verb[Reply](
    "query",
    observe,
    {
        "rcode": judge_rcode,
        "answer": _section("answer", lambda message: message.answers),
        "authority": _section("authority", lambda message: message.authority),
        "additional": _section("additional", lambda message: message.additional),
    },
    at_least={"rcode": "NOERROR"},
    detail=detail,
)
