"""What the world outside sees of the cluster's Services: external addresses, headless Services on request.

The kubernetes plugin's half of ``k8s_external``. Source: coredns ``plugin/kubernetes/external.go`` and
``ns.go``, ``plugin/k8s_external/transfer.go``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netsim.clusterdns.lookup import Hit, Lookup, NameServer
from netsim.clusterdns.names import absolute, address_from_reverse, packed_address
from netsim.clusterdns.zone import NO_PORT, PortView, ServiceView
from netsim.wire.dns import AAAA, CNAME, IN, PTR, SRV, A, Rcode, Record, Srv
from netsim.wire.dnsname import split_name


class Found(NamedTuple):
    """What a name has, and the rcode of a negative answer when that is nothing."""

    hits: tuple[Hit, ...]
    rcode: int
    why: str


class ExternalNames:
    """External names, with the namespaces and labels of one kubernetes plugin."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    @property
    def ttl(self) -> int:
        """The kubernetes plugin's TTL, which SRV and CNAME records have."""
        return self._lookup.options.ttl

    def find(self, name: str, zone: str, qtype: int, headless: bool) -> Found:
        """Lower-case ``name`` in ``zone``: ``[PORT.PROTOCOL. | LABEL.]SERVICE.NAMESPACE`` (External)."""
        address = address_from_reverse(name) if qtype == PTR else ""
        if address:
            hits = tuple(self._reverse(address))
            why = (
                f"{address} is an external address"
                if hits
                else f"no Service has the external address {address}"
            )
            return Found(hits, Rcode.NOERROR if hits else Rcode.NXDOMAIN, why)
        labels = split_name(name[: len(name) - len(zone)])
        namespace = labels.pop() if labels else ""
        hidden = self._lookup.hidden_namespace(namespace)
        if hidden:
            return Found((), Rcode.NXDOMAIN, hidden)
        if not labels:
            return Found((), Rcode.NOERROR, f"namespace {namespace}")
        service = labels.pop()
        if len(labels) > 2:
            return Found((), Rcode.NXDOMAIN, "the name has too many labels")
        endpoint = labels[0] if len(labels) == 1 else ""
        port, protocol = (label.removeprefix("_") for label in labels) if len(labels) == 2 else ("", "")
        view = self._lookup.service((namespace, service))
        if view is None:
            return Found((), Rcode.NXDOMAIN, f"no Service {service} in namespace {namespace}")
        owner = f"{view.key[1]}.{view.key[0]}.{zone}"
        if headless and not view.external and (view.headless or endpoint):
            hits = tuple(self._endpoints(view, owner, endpoint, (port, protocol)))
        else:
            hits = tuple(_addresses(view, owner, (port, protocol)))
        rcode = Rcode.NOERROR if hits else Rcode.NXDOMAIN
        why = f"svc {namespace}/{service} has {'' if hits else 'no '}external addresses for it"
        return Found(() if qtype == PTR else hits, rcode, why)

    def _endpoints(
        self, view: ServiceView, owner: str, endpoint: str, wanted: tuple[str, str]
    ) -> Iterator[Hit]:
        for part in self._lookup.slices_of(view.key):
            chosen = (
                part.named(endpoint, self._lookup.options.endpoint_pod_names) if endpoint else part.endpoints
            )
            for ready in chosen:
                label = self._lookup.label_of(ready)
                for port in part.ports:
                    if _fits(port, wanted):
                        yield Hit(ready.text, ready.packed, port.number, f"{label}.{owner}")

    def _reverse(self, address: str) -> Iterator[Hit]:
        for view in self._lookup.zone.services_with_external(address):
            served = self._lookup.service(view.key) is not None and self._lookup.reverse_served(view.key)
            if served:
                yield Hit(f"{view.key[1]}.{view.key[0]}", None, 0, "")

    def name_servers(self, zone: str, headless: bool) -> list[NameServer]:
        """The external addresses of this server's Services; else its own addresses (nsAddrs)."""
        servers: list[NameServer] = []
        found = False
        for address in self._lookup.own_addresses:
            for part in self._lookup.slices_at(address):
                found = True
                view = self._lookup.service(part.service)
                if view is None:
                    continue
                name = f"{view.key[1]}.{view.key[0]}.{zone}"
                if headless and view.headless:
                    servers += (
                        NameServer(f"{self._lookup.label_of(ready)}.{name}", ready.text)
                        for ready in part.endpoints
                    )
                else:
                    servers += (
                        NameServer(name, text) for text, packed in view.external if packed is not None
                    )
        if found:
            return servers
        return [NameServer(f"ns.dns.{zone}", address) for address in self._lookup.own_addresses]

    def records(self, zone: str, ttl: int, headless: bool) -> Iterator[Record]:
        """What a transfer gives: SRV records once for a name, but not those of headless Services."""
        seen: set[str] = set()
        for key in sorted(self._lookup.zone.services):
            view = self._lookup.service(key)
            if view is None:
                continue
            name = f"{key[1]}.{key[0]}.{zone}"
            if headless and view.headless and not view.external:
                yield from self._headless_records(view, name, ttl)
                continue
            for record in self._external_records(view, name, ttl):
                if record.rtype != SRV or record.name not in seen:
                    seen.update((record.name,) if record.rtype == SRV else ())
                    yield record

    def _external_records(self, view: ServiceView, name: str, ttl: int) -> Iterator[Record]:
        """Each address once for each port; a hostname is a CNAME for either family (ExternalServices)."""
        for text, packed in view.external:
            target = absolute(text) if packed is None else name
            for port in view.ports:
                if packed is None:
                    yield from 2 * [Record(name, CNAME, IN, self.ttl, target)]
                else:
                    yield _address(name, packed, ttl)
                if port.number != NO_PORT:
                    srv = Srv(0, 100, port.number, target)
                    yield Record(name, SRV, IN, self.ttl, srv)
                    yield Record(f"_{port.name}._{port.protocol}.{name}", SRV, IN, self.ttl, srv)

    def _headless_records(self, view: ServiceView, name: str, ttl: int) -> Iterator[Record]:
        """Each SRV record but those of named ports comes twice, as transfer.go sends them."""
        pairs = [
            (endpoint, f"{self._lookup.label_of(endpoint)}.{name}", port)
            for part in self._lookup.slices_of(view.key)
            for endpoint in part.endpoints
            for port in part.ports
        ]
        yield from dict.fromkeys(_address(name, e.packed, ttl) for e, _, _ in pairs if e.packed is not None)
        yield from 2 * _srv_records(name, [(host, port.number) for _, host, port in pairs], self.ttl)
        for endpoint, host, port in pairs:
            if endpoint.packed is not None:
                yield _address(host, endpoint.packed, ttl)
            yield from 2 * _srv_records(host, [(host, port.number)], self.ttl)
        named: dict[str, list[tuple[str, int]]] = {}
        for _, host, port in pairs:
            if port.name:
                named.setdefault(f"_{port.name}._{port.protocol}.{name}", []).append((host, port.number))
        for owner, targets in named.items():
            yield from _srv_records(owner, targets, self.ttl)


def _srv_records(owner: str, targets: list[tuple[str, int]], ttl: int) -> list[Record]:
    """SRV records that share a weight of 100; what has no port has none."""
    weight = max(1, 100 // len(targets)) if targets else 0
    return [
        Record(owner, SRV, IN, ttl, Srv(0, weight, number, host))
        for host, number in dict.fromkeys(targets)
        if number != NO_PORT
    ]


def _address(name: str, packed: bytes, ttl: int) -> Record:
    return Record(name, A if len(packed) == 4 else AAAA, IN, ttl, packed)


def _addresses(view: ServiceView, owner: str, wanted: tuple[str, str]) -> Iterator[Hit]:
    for text, packed in view.external:
        for port in view.ports:
            if _fits(port, wanted):
                yield Hit(text, packed, port.number, owner)


def _fits(port: PortView, wanted: tuple[str, str]) -> bool:
    name, protocol = wanted
    return (not name or name == port.name) and (not protocol or protocol == port.protocol)


def packed_servers(servers: list[NameServer]) -> list[tuple[str, bytes]]:
    """Names and packed addresses of name servers."""
    pairs = ((server.name, packed_address(server.address)) for server in servers)
    return [(name, packed) for name, packed in pairs if packed is not None]
