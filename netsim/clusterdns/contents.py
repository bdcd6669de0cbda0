"""All records of a cluster zone, as a transfer gives them.

Services by name; Pods, and what only answers queries (SRV of unnamed ports but one), are not in it. Source:
coredns ``plugin/kubernetes/xfr.go``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from netsim.clusterdns.external import packed_servers
from netsim.clusterdns.lookup import Lookup
from netsim.clusterdns.names import absolute, packed_address
from netsim.clusterdns.zone import PortView, ServiceView
from netsim.wire.dns import AAAA, CNAME, IN, NS, SRV, A, Record, Srv

_CLUSTER_WEIGHT = 100


def zone_records(lookup: Lookup, zone: str) -> Iterator[Record]:
    """Name servers, their addresses with TTL 0, and the Services; without the SOA."""
    servers = lookup.name_servers(zone)
    for name in dict.fromkeys(server.name for server in servers):
        yield Record(zone, NS, IN, lookup.options.ttl, name)
    for name, packed in packed_servers(servers):
        yield _address(name, packed, 0)
    for key in sorted(lookup.zone.services, key=lambda key: (key[1], key[0])):
        view = lookup.service(key)
        if view is not None and not lookup.hidden_namespace(key[0]):
            yield from _service(lookup, view, f"{key[1]}.{key[0]}.svc.{zone}")


def _address(name: str, packed: bytes, ttl: int) -> Record:
    return Record(name, A if len(packed) == 4 else AAAA, IN, ttl, packed)


def _service(lookup: Lookup, view: ServiceView, name: str) -> Iterator[Record]:
    ttl = lookup.options.ttl
    if view.external_name is not None:
        if packed_address(view.external_name) is None:
            yield Record(name, CNAME, IN, ttl, absolute(view.external_name))
        return
    if view.headless:
        yield from _endpoints(lookup, view, name)
        return
    for _, packed in view.addresses:
        if packed is not None:
            yield _address(name, packed, ttl)
    for port in view.ports:
        if port.number < 0:
            continue
        srv = Srv(0, _CLUSTER_WEIGHT, port.number, name)
        yield Record(name, SRV, IN, ttl, srv)
        if port.name:
            yield Record(_port_name(port, name), SRV, IN, ttl, srv)


def _endpoints(lookup: Lookup, view: ServiceView, name: str) -> Iterator[Record]:
    ttl = lookup.options.ttl
    for part in lookup.slices_of(view.key):
        weight = max(1, floor(100.0 / (100 * len(part.endpoints)) * 100)) if part.endpoints else 0
        for endpoint in part.endpoints:
            if endpoint.packed is None:
                continue
            host = f"{lookup.label_of(endpoint)}.{name}"
            yield _address(name, endpoint.packed, ttl)
            yield _address(host, endpoint.packed, ttl)
            for port in part.ports:
                if port.name:
                    yield Record(_port_name(port, name), SRV, IN, ttl, Srv(0, weight, port.number, host))


def _port_name(port: PortView, name: str) -> str:
    return f"_{port.name}._{port.protocol}.{name}"
