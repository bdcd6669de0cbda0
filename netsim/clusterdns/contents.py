"""All records of a cluster zone, as a transfer gives them.

Services by name; Pods, and what only answers queries (SRV of unnamed ports but one), are not in it. Source:
coredns ``plugin/kubernetes/xfr.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor

from netsim.clusterdns.external import packed_servers
from netsim.clusterdns.lookup import Lookup
from netsim.clusterdns.names import absolute, packed_address
from netsim.clusterdns.zone import ObjectKey, PortView, ServiceView, SliceView
from netsim.wire.dns import AAAA, CNAME, IN, NS, SRV, A, Record, Srv

_CLUSTER_WEIGHT = 100


def zone_records(lookup: Lookup, zone: str) -> Iterator[Record]:
    """Name servers, their addresses with TTL 0, and the Services; without the SOA."""
    servers = lookup.name_servers(zone)
    for name in dict.fromkeys(server.name for server in servers):
        yield Record(zone, NS, IN, lookup.options.ttl, name)
    for name, packed in packed_servers(servers):
        yield _address(name, packed, 0)
    multicluster = zone in lookup.options.multicluster
    for key in sorted(lookup.zone.imports if multicluster else lookup.zone.services, key=_by_name):
        view = lookup.zone.imports[key] if multicluster else lookup.service(key)
        if view is not None and not lookup.hidden_namespace(key[0]):
            slices = lookup.zone.imported_slices_of(key) if multicluster else lookup.slices_of(key)
            yield from _service(lookup, view, slices, f"{key[1]}.{key[0]}.svc.{zone}")


def _by_name(key: ObjectKey) -> ObjectKey:
    return key[1], key[0]


def _address(name: str, packed: bytes, ttl: int) -> Record:
    return Record(name, A if len(packed) == 4 else AAAA, IN, ttl, packed)


def _service(lookup: Lookup, view: ServiceView, slices: Sequence[SliceView], name: str) -> Iterator[Record]:
    ttl = lookup.options.ttl
    if view.external_name is not None:
        if packed_address(view.external_name) is None:
            yield Record(name, CNAME, IN, ttl, absolute(view.external_name))
        return
    if view.headless or not view.addresses:
        yield from _endpoints(lookup, slices, name)
        return
    for _, packed in view.addresses:
        if packed is not None:
            yield _address(name, packed, ttl)
    for port in view.ports:
        srv = Srv(0, _CLUSTER_WEIGHT, port.number & 0xFFFF, name)  # without ports it is -1, as 16 bits
        yield Record(name, SRV, IN, ttl, srv)
        if port.name:
            yield Record(_port_name(port, name), SRV, IN, ttl, srv)


def _endpoints(lookup: Lookup, slices: Sequence[SliceView], name: str) -> Iterator[Record]:
    ttl = lookup.options.ttl
    for part in slices:
        weight = max(1, floor(100.0 / (100 * len(part.endpoints)) * 100)) if part.endpoints else 0
        for endpoint in part.endpoints:
            if endpoint.packed is None:
                continue
            host = f"{lookup.label_of(endpoint)}.{name}"
            yield _address(name, endpoint.packed, ttl)
            yield _address(host, endpoint.packed, ttl)
            for port in part.ports:
                if port.name:
                    yield Record(
                        _port_name(port, name), SRV, IN, ttl, Srv(0, weight, port.number & 0xFFFF, host)
                    )


def _port_name(port: PortView, name: str) -> str:
    return f"_{port.name}._{port.protocol}.{name}"
