"""Records from what was found: A and AAAA with CNAME chains, SRV, PTR, NS, SOA.

Shared by the plugins that serve names of the cluster. Source: coredns ``plugin/backend_lookup.go`` and
``plugin/etcd/msg/service.go``. Chasing a name outside the zone waits, so these are generators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor
from typing import NamedTuple

from netsim.clusterdns.chain import Request, Steps
from netsim.clusterdns.lookup import SCHEMA_TTL, Hit, Hits, NameServer
from netsim.clusterdns.names import absolute, is_subdomain, packed_address
from netsim.clusterdns.zone import NO_PORT
from netsim.wire.dns import AAAA, CNAME, IN, NS, PTR, SOA, SRV, TXT, A, Message, Record, Soa, Srv

MAXIMUM_CHAIN = 10
"""CNAME records that are followed inside a zone (maxCnameChainLength)."""

SOA_TTL = 300
"""The TTL of a SOA record is at most this."""

_SOA_TIMES = (7200, 1800, 86400)  # refresh, retry, expire


class Source(NamedTuple):
    """Where records come from: the lookup of one zone, and the whole server for names outside it."""

    find: Callable[[str, str, int], Hits]
    resolve: Callable[[Request, str, int], Steps[Message | None]]
    zone: str
    ttl: int


class Answer(NamedTuple):
    """Records for the answer and additional sections, whether the name exists at all, and why.

    ``truncated`` says that an answer from outside the zone was.
    """

    records: Sequence[Record]
    known: bool
    why: str
    truncated: bool = False
    additional: Sequence[Record] = ()


def addresses(source: Source, request: Request, previous: tuple[Record, ...] = ()) -> Steps[Answer]:
    """A or AAAA records of the request's name, behind the CNAME of an external name."""
    name, qtype = request.name, request.qtype
    size = 4 if qtype == A else 16
    found = source.find(request.lower, source.zone, qtype)
    records: list[Record] = []
    seen = set()
    truncated = False
    for hit in found.hits:
        if hit.packed is None:
            chased = yield from _chase(source, request, hit, previous)
            records += chased.records
            truncated = truncated or chased.truncated
        elif len(hit.packed) == size and hit.host not in seen:
            seen.add(hit.host)
            records.append(Record(name, qtype, IN, source.ttl, hit.packed))
    return Answer(records, found.known, found.why, truncated)


def _chase(source: Source, request: Request, hit: Hit, previous: tuple[Record, ...]) -> Steps[Answer]:
    """The CNAME of an external name and what is behind it; nothing when it leads nowhere inside the zone."""
    nothing = Answer((), True, "")
    target = absolute(hit.host)
    if is_subdomain(request.lower, target.lower()):
        return nothing
    cname = Record(request.name, CNAME, IN, source.ttl, target)
    if len(previous) > MAXIMUM_CHAIN or any(record.data == target for record in previous):
        return nothing
    if is_subdomain(source.zone.lower(), target.lower()):
        onward = request.asking(target, request.qtype)
        behind = yield from addresses(source, onward, (*previous, cname))
        records = [cname, *behind.records] if behind.records else []
        return Answer(records, True, "", behind.truncated)
    message = yield from source.resolve(request, target, request.qtype)
    if message is None:
        return nothing
    return Answer([cname, *message.answers], True, "", message.truncated)


def services(found: Hits, request: Request, ttl: int) -> Answer:
    """SRV records, and the addresses of their targets. All matches share a weight of 100, duplicates too."""
    weight = max(1, floor(100.0 / (100 * len(found.hits)) * 100)) if found.hits else 0
    records: dict[tuple[str, int], Record] = {}
    extra: dict[tuple[str, str], Record] = {}
    for hit in found.hits:
        if hit.port == NO_PORT or hit.packed is None:
            continue
        srv = Srv(0, weight, hit.port, hit.owner)
        records.setdefault((hit.owner, hit.port), Record(request.name, SRV, IN, ttl, srv))
        extra.setdefault((hit.owner, hit.host), _address_record(hit.owner, ttl, hit.packed))
    return Answer([*records.values()], found.known, found.why, additional=[*extra.values()])


def pointers(found: Hits, request: Request, ttl: int) -> Answer:
    """PTR records, one per name."""
    names = dict.fromkeys(absolute(hit.host) for hit in found.hits)
    records = [Record(request.name, PTR, IN, ttl, name) for name in names]
    return Answer(records, found.known, found.why)


def alias(found: Hits, request: Request, ttl: int) -> Answer:
    """The CNAME record of an external name, not followed."""
    names = [absolute(hit.host) for hit in found.hits[:1] if hit.packed is None]
    return Answer([Record(request.name, CNAME, IN, ttl, name) for name in names], found.known, found.why)


def text(found: Hits, request: Request) -> Answer:
    """The TXT record of the schema version."""
    data = [(found.text.encode(),)] if found.text else []
    return Answer([Record(request.name, TXT, IN, SCHEMA_TTL, item) for item in data], found.known, found.why)


def name_servers(servers: Sequence[NameServer], request: Request, ttl: int) -> Answer:
    """NS records, and the addresses of the name servers."""
    records = [Record(request.name, NS, IN, ttl, name) for name in dict.fromkeys(s.name for s in servers)]
    packed = ((server.name, packed_address(server.address)) for server in servers)
    extra = [_address_record(name, ttl, raw) for name, raw in packed if raw is not None]
    return Answer(records, True, "the Services of this DNS server", additional=extra)


def _address_record(name: str, ttl: int, packed: bytes) -> Record:
    return Record(name, A if len(packed) == 4 else AAAA, IN, ttl, packed)


def authority(zone: str, ttl: int, serial: int) -> Record:
    """The SOA record of a zone, spelled as in the query (RFC 2308: its minimum is the negative TTL)."""
    below = "" if zone == "." else zone
    soa = Soa(f"ns.dns.{below}", f"hostmaster.{below}", serial, *_SOA_TIMES, ttl)
    return Record(zone, SOA, IN, min(ttl, SOA_TTL), soa)
