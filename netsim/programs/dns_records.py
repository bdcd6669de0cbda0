"""A small public DNS: fixed addresses by name, as a machine without sockets.

What ``upstream`` in ``programs.dns`` serves. It answers as a recursive resolver would: RA set, AA clear,
NODATA and NXDOMAIN with a SOA record. It follows nothing and asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, ip_address

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.names import absolute, suffixes
from netsim.clusterdns.server import Command, Event, QueryArrived, SendReply
from netsim.wire import dns
from netsim.wire.dns import AAAA, ANY, IN, PTR, SOA, A, Edns, Message, Rcode, Record, Soa

TTL = 300
DENIAL_TTL = 900  # seconds; the minimum of the SOA records
ROOT_TTL = 86400
EDNS_SIZE = 1232  # DNS flag day 2020
PORT = 53

_ROOT = Record(
    ".", SOA, IN, ROOT_TTL,
    Soa("a.root-servers.net.", "nstld.verisign-grs.com.", 2026010100, 1800, 900, 604800, ROOT_TTL),
)  # fmt: skip


class StaticResolver:
    """Answers for ``records``: name → addresses, with PTR for the addresses. The shape of ``Server``."""

    ports = (PORT,)

    def __init__(self, records: Mapping[str, Sequence[IpAddress | str]]) -> None:
        self._records: dict[str, list[Record]] = {}
        self._tree = {"."}
        for title, addresses in records.items():
            name = absolute(title).lower()
            for address in map(ip_address, addresses):
                rtype = A if isinstance(address, IPv4Address) else AAAA
                self._add(Record(name, rtype, IN, TTL, address.packed))
                self._add(Record(absolute(address.reverse_pointer), PTR, IN, TTL, name))

    def _add(self, record: Record) -> None:
        self._records.setdefault(record.name, []).append(record)
        self._tree.update(suffixes(record.name))

    def feed(self, event: Event, now: float) -> Sequence[Command]:
        """The reply to a query. It asks nobody, so that no other event concerns it."""
        if not isinstance(event, QueryArrived):
            return ()
        try:
            query = dns.parse(event.data)
        except WireError:
            return ()
        if query.response or not query.questions:
            return ()
        message, why = self._answer(query)
        limit = dns.MAXIMUM_SIZE
        if event.transport is Transport.UDP:
            limit = dns.MINIMUM_UDP_SIZE if query.edns is None else max(query.edns.size, dns.MINIMUM_UDP_SIZE)
        return (SendReply(event, dns.build(message, limit=limit), Cause(Stage.DNS, f"public DNS: {why}")),)

    def deadline(self) -> None:
        return None

    def expire(self, now: float) -> Sequence[Command]:
        return ()

    def waits_for(self, token: int) -> bool:
        return False

    def owes(self, query: QueryArrived) -> bool:
        return False

    def _answer(self, query: Message) -> tuple[Message, str]:
        edns = None if query.edns is None else Edns(EDNS_SIZE)
        reply = dns.reply(query, recursion_available=True, edns=edns)
        name, qtype, qclass = query.questions[0]
        if edns is not None and query.edns is not None and query.edns.version != 0:
            return reply._replace(rcode=Rcode.BADVERS), f"EDNS version {query.edns.version}: BADVERS"
        if query.opcode != dns.QUERY:
            return reply._replace(rcode=Rcode.NOTIMP), f"opcode {query.opcode}: NOTIMP"
        if qclass != IN:
            return reply._replace(rcode=Rcode.REFUSED), f"class {dns.class_name(qclass)}: REFUSED"
        lower = name.lower()
        answers = tuple(
            record._replace(name=name)
            for record in self._records.get(lower, ())
            if qtype in (record.rtype, ANY)
        )
        if answers:
            return reply._replace(answers=answers), f"{name} is {', '.join(map(dns.render_rdata, answers))}"
        reply = reply._replace(authority=(self._authority(lower),))
        if lower in self._tree:
            return reply, f"{name} has no {dns.type_name(qtype)} record: NODATA"
        return reply._replace(rcode=Rcode.NXDOMAIN), f"no name {name}: NXDOMAIN"

    def _authority(self, name: str) -> Record:
        """The SOA of the registered domain (two labels) if it is known, or else of the root."""
        zones = [suffix for suffix in suffixes(name) if suffix.count(".") == 2]
        if not zones or zones[0] not in self._tree:
            return _ROOT
        zone = zones[0]
        soa = Soa(f"ns.{zone}", f"hostmaster.{zone}", 2026010100, 7200, 3600, 1209600, DENIAL_TTL)
        return Record(zone, SOA, IN, DENIAL_TTL, soa)
