"""k8s_external: names of the cluster's Services for the world outside, ``SERVICE.NAMESPACE.ZONE``.

``k8s_external [ZONE...] { ttl; apex; headless; fallthrough [ZONES...] }``; the kubernetes plugin of the same
server block knows the objects. Source: coredns ``plugin/k8s_external``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netsim.base.errors import CorefileError
from netsim.clusterdns.answers import services
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, integer
from netsim.clusterdns.external import ExternalNames, Found, packed_servers
from netsim.clusterdns.lookup import Hits
from netsim.clusterdns.names import absolute, is_subdomain, longest_zone
from netsim.clusterdns.plugins.kubernetes import Kubernetes
from netsim.wire.dns import AAAA, CNAME, IN, NS, PTR, SOA, SRV, A, Rcode, Record, Soa, Srv
from netsim.wire.dnsname import split_name

TTL = 5
MAXIMUM_TTL = 3600
APEX = "dns"
HOSTMASTER = "hostmaster"

_SIZES = {A: 4, AAAA: 16}
_SOA_TIMES = (7200, 1800, 86400)  # refresh, retry, expire


class Settings(NamedTuple):
    """The options."""

    zones: tuple[str, ...]
    ttl: int = TTL
    apex: str = APEX
    headless: bool = False
    fallthrough: tuple[str, ...] = ()


class External:
    """The handler."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        self._setup = setup
        self._settings = settings
        self._names: ExternalNames | None = None

    def start(self) -> None:
        """Find the kubernetes plugin."""
        handler = self._setup.block.handler("kubernetes")
        if not isinstance(handler, Kubernetes):
            raise CorefileError("plugin/k8s_external: kubernetes plugin not loaded")
        self._names = handler.external

    @property
    def names(self) -> ExternalNames:
        assert self._names is not None
        return self._names

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        settings, lower = self._settings, request.lower
        zone = longest_zone(settings.zones, lower)
        if not zone:
            return (yield from following(request))
        for served in settings.zones:
            if lower == served:
                return self._apex(request, zone)
            below = f"{settings.apex}." if served == "." else f"{settings.apex}.{served}"
            if is_subdomain(below, lower):
                return self._below_apex(request, zone)
        found = self.names.find(lower, zone, request.qtype, settings.headless)
        if not found.hits:
            passes = found.rcode == Rcode.NXDOMAIN and longest_zone(settings.fallthrough, lower)
            if passes:
                return (yield from following(request))
            return self._negative(request, zone, found.rcode, found.why)
        return (yield from self._positive(request, zone, found))

    def _positive(self, request: Request, zone: str, found: Found) -> Steps[Outcome]:
        records: list[Record] = []
        extra: Sequence[Record] = ()
        truncated = False
        if request.qtype in _SIZES:
            records, truncated = yield from self._addresses(request, found)
        elif request.qtype == SRV:
            answer = services(Hits(found.hits, True, ""), request, self.names.ttl)
            aliases, behind = yield from self._aliased_services(request, found)
            records = [*answer.records, *aliases]
            extra = [*(record._replace(ttl=self._settings.ttl) for record in answer.additional), *behind]
        elif request.qtype == PTR:
            base = self._settings.zones[0]
            targets = dict.fromkeys(
                f"{hit.host}.{base}" if base != "." else f"{hit.host}." for hit in found.hits
            )
            records = [Record(request.name, PTR, IN, self._settings.ttl, target) for target in targets]
        if not records:
            return self._negative(request, zone, Rcode.NOERROR, found.why)
        reply = request.reply(answers=records, additional=extra, authoritative=True, truncated=truncated)
        return Outcome(f"k8s_external: {found.why}", reply)

    def _addresses(self, request: Request, found: Found) -> Steps[tuple[list[Record], bool]]:
        """Addresses of the family; a load balancer's hostname is a CNAME, and what is behind it."""
        ttl, size = self._settings.ttl, _SIZES[request.qtype]
        records: list[Record] = []
        seen = set()
        truncated = False
        for hit in found.hits:
            if hit.packed is None:
                target = absolute(hit.host)
                records.append(Record(request.name, CNAME, IN, self.names.ttl, target))
                message = yield from self._setup.process.resolve(request, target, request.qtype)
                if message is not None:
                    records += message.answers
                    truncated = truncated or message.truncated
            elif len(hit.packed) == size and hit.host not in seen:
                seen.add(hit.host)
                records.append(Record(request.name, request.qtype, IN, ttl, hit.packed))
        return records, truncated

    def _aliased_services(self, request: Request, found: Found) -> Steps[tuple[list[Record], list[Record]]]:
        """SRV records to a load balancer's hostname, and the addresses of that."""
        records: dict[tuple[str, int], Record] = {}
        extra: list[Record] = []
        weight = max(1, 100 // len(found.hits))
        for hit in found.hits:
            if hit.packed is not None or hit.port < 0:
                continue
            target = absolute(hit.host)
            first = all(name != target for name, _ in records)
            srv = Srv(0, weight, hit.port, target)
            records.setdefault((target, hit.port), Record(request.name, SRV, IN, self.names.ttl, srv))
            for qtype in _SIZES if first else ():
                message = yield from self._setup.process.resolve(request, target, qtype)
                extra += message.answers if message is not None else ()
        return [*records.values()], extra

    # --- the zone itself ---

    def _apex(self, request: Request, zone: str) -> Outcome:
        why = f"k8s_external: the zone {zone}"
        if request.qtype == SOA:
            return Outcome(why, request.reply(answers=(self._soa(zone),), authoritative=True))
        if request.qtype == NS:
            ttl, name = self._settings.ttl, self._server_name(request.name)  # spelled as in the query
            servers = packed_servers(self.names.name_servers(zone, self._settings.headless))
            glue = [Record(name, A if len(raw) == 4 else AAAA, IN, ttl, raw) for _, raw in servers]
            record = Record(zone, NS, IN, ttl, self._server_name(zone))
            return Outcome(why, request.reply(answers=(record,), additional=glue, authoritative=True))
        return self._negative(request, zone, Rcode.NOERROR, f"the zone {zone}")

    def _below_apex(self, request: Request, zone: str) -> Outcome:
        """``dns.ZONE`` is there, ``ns1.dns.ZONE`` has the name server's addresses."""
        labels = split_name(request.lower[: len(request.lower) - len(zone)])
        if len(labels) == 1:
            return self._negative(request, zone, Rcode.NOERROR, "only a node of the tree")
        if len(labels) > 2 or labels[0] != "ns1":
            return self._negative(request, zone, Rcode.NXDOMAIN, "only ns1 is below it")
        size = _SIZES.get(request.qtype, 0)
        servers = packed_servers(self.names.name_servers(zone, self._settings.headless))
        records = [
            Record(request.name, request.qtype, IN, self._settings.ttl, raw)
            for _, raw in servers
            if len(raw) == size
        ]
        if not records:
            return self._negative(request, zone, Rcode.NOERROR, "the name server has no such address")
        return Outcome("k8s_external: the name server", request.reply(answers=records, authoritative=True))

    def _server_name(self, zone: str) -> str:
        return f"ns1.{self._settings.apex}.{'' if zone == '.' else zone}"

    def _soa(self, zone: str) -> Record:
        below = "" if zone == "." else zone
        mailbox = f"{HOSTMASTER}.{self._settings.apex}.{below}"
        serial = self._setup.process.zone.external_serial()
        soa = Soa(self._server_name(zone), mailbox, serial, *_SOA_TIMES, self._settings.ttl)
        return Record(zone, SOA, IN, self._settings.ttl, soa)

    def _negative(self, request: Request, zone: str, rcode: int, why: str) -> Outcome:
        word = "NODATA" if rcode == Rcode.NOERROR else "NXDOMAIN"
        reply = request.reply(rcode, authority=(self._soa(zone),), authoritative=True)
        return Outcome(f"k8s_external: {why}: {word}", reply)

    # --- transfers ---

    def transfer(self, zone: str, serial: int | None) -> list[Record] | None:
        """The zone's records between two SOA records; the SOA alone for a newer serial (transfer.go)."""
        if zone not in self._settings.zones:
            return None
        soa = self._soa(zone)
        if serial and serial >= soa.data.serial:
            return [soa]
        ttl, server = self._settings.ttl, self._server_name(zone)
        records = [soa, Record(zone, NS, IN, ttl, server)]
        for _, raw in packed_servers(self.names.name_servers(zone, self._settings.headless)):
            records.append(Record(server, A if len(raw) == 4 else AAAA, IN, ttl, raw))
        return [*records, *self.names.records(zone, ttl, self._settings.headless), soa]


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``k8s_external [ZONE...] { … }``."""
    settings = Settings(())
    while c.next():
        settings = settings._replace(zones=c.origins(c.arguments()))
        while c.next_in_block():
            settings = _option(c, settings)
    handler = External(setup, settings)
    setup.startup.append(handler.start)
    return [handler]


def _option(c: Controller, settings: Settings) -> Settings:
    match c.value:
        case "ttl":
            words = c.arguments()
            if not words:
                raise c.argument_error()
            ttl = integer(words[0])
            if not 0 <= ttl <= MAXIMUM_TTL:
                raise c.error(f"ttl must be in range [0, {MAXIMUM_TTL}]: {ttl}")
            return settings._replace(ttl=ttl)
        case "apex":
            words = c.arguments()
            if not words:
                raise c.argument_error()
            return settings._replace(apex=words[0])
        case "headless":
            return settings._replace(headless=True)
        case "fallthrough":
            return settings._replace(fallthrough=c.fall_zones())
    raise c.error(f"unknown property '{c.value}'")
