"""A zone of records, and what a question finds in it: wildcards, delegations, aliases, empty nodes.

The plugin ``file`` asks here. Source: coredns ``plugin/file/lookup.go``, ``zone.go`` (RFC 1034 section 4.3.2,
RFC 4592, RFC 6672).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from netsim.clusterdns.chain import Request, Steps
from netsim.clusterdns.names import is_subdomain, suffixes
from netsim.wire.dns import AAAA, CNAME, DNAME, DS, MX, NS, SOA, SRV, A, Message, Mx, Rcode, Record, Soa, Srv
from netsim.wire.dnsname import name_to_wire, parse_name, split_name

MAXIMUM_ALIASES = 8


class Result(Enum):
    """file.Result."""

    SUCCESS = "found"
    NAME_ERROR = "NXDOMAIN"
    DELEGATION = "delegated"
    NO_DATA = "NODATA"
    SERVER_FAILURE = "SERVFAIL"


class Found(NamedTuple):
    """The sections of an answer."""

    answers: Sequence[Record]
    authority: Sequence[Record]
    additional: Sequence[Record]
    result: Result


Resolve = Callable[[str, int], Steps[Message | None]]
Node = dict[int, list[Record]]


class FileZone:
    """The records below ``origin`` (lower case). Owners, and targets of all but SRV, are lower case."""

    def __init__(self, origin: str, records: Sequence[Record]) -> None:
        self.origin = origin
        self.name_servers: list[Record] = []
        self._nodes: dict[str, Node] = {}
        self._parents: set[str] = set()
        for record in records:
            self._insert(_lowered(record))

    def _insert(self, record: Record) -> None:
        if record.rtype == SOA:
            self.soa = record
            return
        if record.rtype == NS and record.name == self.origin:
            self.name_servers.append(record)
            return
        self._nodes.setdefault(record.name, {}).setdefault(record.rtype, []).append(record)
        above = suffixes(record.name)
        next(above, None)
        self._parents.update(above)

    @property
    def serial(self) -> int:
        serial: int = self.soa.data.serial
        return serial

    def records(self) -> Iterator[Record]:
        """All but the SOA, name servers first."""
        yield from self.name_servers
        for name in sorted(self._nodes, key=lambda name: split_name(name)[::-1]):
            for rtype in sorted(self._nodes[name]):
                yield from self._nodes[name][rtype]

    # --- lookups ---

    def lookup(self, request: Request, resolve: Resolve) -> Steps[Found]:
        """What the request's name and type find. ``resolve`` asks the whole server."""
        name, qtype = request.lower, request.qtype
        if name == self.origin and qtype == SOA:
            return Found([self.soa], self.name_servers, (), Result.SUCCESS)
        if name == self.origin and qtype == NS:
            return Found(self.name_servers, (), self._glue(self.name_servers), Result.SUCCESS)
        wildcard = ""
        for place in self._path(name):
            node = self._nodes.get(place)
            if node is None and place != self.origin:
                above = (
                    place.partition(".")[2] if "\\" not in place else ".".join([*split_name(place)[1:], ""])
                )
                candidate = f"*.{above}"
                if candidate in self._nodes or candidate in self._parents:
                    wildcard = candidate
                continue
            if node is None:
                continue
            substituted = self._substitute(node, name, place)
            if substituted is not None:
                return (yield from self._through_dname(node, substituted, request, resolve))
            delegated = self._delegation(place, name, qtype)
            if delegated is not None:
                return delegated
        node = self._nodes.get(name)
        if node is not None or name == self.origin:
            return (yield from self._at(node or {}, request, resolve))
        if wildcard and not self._closer_node(name, wildcard):
            if wildcard not in self._nodes:
                return Found((), [self.soa], (), Result.NO_DATA)
            copied = {
                rtype: [record._replace(name=name) for record in records]
                for rtype, records in self._nodes[wildcard].items()
            }
            return (yield from self._at(copied, request, resolve))
        exists = name in self._parents
        return Found((), [self.soa], (), Result.SUCCESS if exists else Result.NAME_ERROR)

    def _path(self, name: str) -> Iterator[str]:
        """The names from the origin down to the name."""
        return reversed([suffix for suffix in suffixes(name) if is_subdomain(self.origin, suffix)])

    def _at(self, node: Node, request: Request, resolve: Resolve) -> Steps[Found]:
        qtype = request.qtype
        aliases = node.get(CNAME)
        if aliases and qtype != CNAME:
            return (yield from self._chase(list(aliases), request, resolve))
        records = node.get(qtype)
        if not records:
            return Found((), [self.soa], (), Result.NO_DATA)
        return Found(records, self.name_servers, self._additional(records), Result.SUCCESS)

    def _chase(self, aliases: list[Record], request: Request, resolve: Resolve) -> Steps[Found]:
        """An alias, and what is behind it: in this zone, below a delegation, or elsewhere."""
        records = list(aliases)
        qtype = request.qtype
        for _ in range(MAXIMUM_ALIASES + 1):
            target = records[-1].data if records[-1].rtype == CNAME else ""
            delegated = self._delegation_above(target, qtype)
            if delegated is not None:
                return delegated._replace(answers=records)
            node = self._nodes.get(target)
            if node is None or qtype == NS or (qtype == SOA and target == self.origin):
                return (yield from self._elsewhere(records, target, request, resolve))
            onward = node.get(CNAME)
            if not onward:
                records += node.get(qtype, ())
                break
            records += onward
        return Found(records, self.name_servers, self._additional(records), Result.SUCCESS)

    def _elsewhere(
        self, records: list[Record], target: str, request: Request, resolve: Resolve
    ) -> Steps[Found]:
        message = yield from resolve(target, request.qtype)
        result = Result.SUCCESS
        if message is not None:
            records += message.answers
            if message.rcode == Rcode.NXDOMAIN:
                result = Result.NAME_ERROR
            elif message.rcode == Rcode.SERVFAIL:
                result = Result.SERVER_FAILURE
            elif message.rcode == Rcode.NOERROR and not message.answers:
                result = Result.NO_DATA
        denied = result in (Result.NAME_ERROR, Result.NO_DATA)
        authority = [self.soa] if denied else self.name_servers
        return Found(records, authority, self._additional(records), result)

    def _substitute(self, node: Node, name: str, owner: str) -> Record | None:
        """The CNAME record that a DNAME record above the name stands for (RFC 6672 section 3.1)."""
        rules = node.get(DNAME)
        if not rules or name == owner:
            return None
        target = parse_name(rules[0].data, 0)[0]
        prefix = name[: len(name) - len(owner)]
        new = f"{prefix}{'' if target == '.' else target}"
        return Record(name, CNAME, rules[0].rclass, rules[0].ttl, new)

    def _through_dname(self, node: Node, alias: Record, request: Request, resolve: Resolve) -> Steps[Found]:
        if alias.name == alias.data.lower():
            return Found((), (), (), Result.SERVER_FAILURE)
        if request.qtype == CNAME:
            return Found([*node[DNAME], alias], self.name_servers, (), Result.SUCCESS)
        found = yield from self._chase([alias], request, resolve)
        return found._replace(answers=[*node[DNAME], *found.answers])

    # --- delegations ---

    def _delegation(self, place: str, name: str, qtype: int) -> Found | None:
        servers = self._nodes.get(place, {}).get(NS)
        if not servers or (qtype == DS and place == name):
            return None
        return Found((), servers, self._glue(servers), Result.DELEGATION)

    def _delegation_above(self, name: str, qtype: int) -> Found | None:
        for place in self._path(name):
            found = self._delegation(place, name, qtype)
            if found is not None:
                return found
        return None

    def _closer_node(self, name: str, wildcard: str) -> bool:
        """Whether an empty node between the wildcard and the name hides it (RFC 4592 section 4.7)."""
        parent = wildcard.removeprefix("*.")
        between = [place for place in suffixes(name) if place not in (name, parent)]
        return any(place in self._parents for place in between if is_subdomain(parent, place))

    # --- further records ---

    def _addresses(self, name: str) -> list[Record]:
        node = self._nodes.get(name.lower(), {})
        return [*node.get(A, ()), *node.get(AAAA, ())]

    def _glue(self, servers: Sequence[Record]) -> list[Record]:
        inside = [server for server in servers if is_subdomain(server.name, server.data)]
        return [record for server in inside for record in self._addresses(server.data)]

    def _additional(self, records: Sequence[Record]) -> list[Record]:
        """The addresses of targets in this zone, each target once."""
        targets = [
            record.data.target for record in records if record.rtype == SRV and isinstance(record.data, Srv)
        ]
        targets += [record.data.exchange for record in records if record.rtype == MX]
        names = dict.fromkeys(target.lower() for target in targets)
        return [found for name in names if is_subdomain(self.origin, name) for found in self._addresses(name)]


def _lowered(record: Record) -> Record:
    """As Zone.Insert stores it."""
    data = record.data
    match data:
        case str(name):
            data = name.lower()
        case Soa():
            data = data._replace(mname=data.mname.lower(), rname=data.rname.lower())
        case Mx():
            data = data._replace(exchange=data.exchange.lower())
        case bytes() if record.rtype == DNAME:
            data = name_to_wire(parse_name(data, 0)[0].lower())
    return record._replace(name=record.name.lower(), data=data)
