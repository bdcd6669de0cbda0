"""Endpoints: what the EndpointSlices say, and which endpoints may be used.

``proxier`` feeds the slices in and asks for one port's endpoints. Slices join a Service by its name in their
label and a port of it by (port name, protocol), never by number. Source: Kubernetes
pkg/proxy/endpointslicecache.go and pkg/proxy/topology.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, TypeAlias

from netsim.base.address import IpAddress, render_endpoint
from netsim.objects.core import ObjectReference
from netsim.objects.discovery import Endpoint, EndpointConditions, EndpointSlice
from netsim.objects.meta import ObjectMeta
from netsim.plan.entries import Backend

ServiceKey: TypeAlias = tuple[str, str]  # namespace, name
PortKey: TypeAlias = tuple[str, str]  # port name, protocol


UNWATCHED_LABELS = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")


class ServiceEndpoint(NamedTuple):
    """One endpoint of one port of a Service. ``target`` is ``ip:port``, by which kube-proxy sorts, as
    text. ``node`` is empty when the slice does not say where it runs. The hints are the nodes and the zones
    that it is meant for. ``copies`` are what other slices say of it that place it on another node."""

    target: str
    backend: Backend
    node: str
    ready: bool
    serving: bool
    terminating: bool
    node_hints: tuple[str, ...] = ()
    zone_hints: tuple[str, ...] = ()
    copies: tuple[ServiceEndpoint, ...] = ()

    @property
    def lingers(self) -> bool:
        """Whether it may be used where nothing else is left: it terminates, and still serves."""
        return self.serving and self.terminating and not self.ready


class EndpointLists(NamedTuple):
    """Which endpoints of a port the nodes may use, by policy.

    ``cluster`` is for nodes that ``near`` says nothing of; ``near`` has what nodes (``node/NAME``) and zones
    (``zone/NAME``) use instead, and ``local`` the endpoints on each node. ``any`` says whether there is a
    usable endpoint anywhere.
    """

    cluster: tuple[ServiceEndpoint, ...]
    near: tuple[tuple[str, tuple[ServiceEndpoint, ...]], ...]
    local: tuple[tuple[str, tuple[ServiceEndpoint, ...]], ...]
    any: bool

    def cluster_at(self, names: Sequence[str]) -> tuple[ServiceEndpoint, ...]:
        """The cluster list of a node of these names (its own before its zone's)."""
        near = dict(self.near)
        return next((near[name] for name in names if name in near), self.cluster)

    def local_at(self, names: Sequence[str]) -> tuple[ServiceEndpoint, ...]:
        """The endpoints on a node of these names."""
        local = dict(self.local)
        return next((local[name] for name in names if name in local), ())


class SliceTable:
    """All EndpointSlices of one address family, by Service. (kube-proxy runs a proxier for each.)"""

    __slots__ = ("_address_type", "_by_service", "_service_of")

    def __init__(self, family: int = 4) -> None:
        self._address_type = f"IPv{family}"
        self._by_service: dict[ServiceKey, dict[str, dict[PortKey, list[ServiceEndpoint]]]] = {}
        self._service_of: dict[tuple[str, str], ServiceKey] = {}

    def put(self, slice_: EndpointSlice) -> list[ServiceKey]:
        """Take a new or changed slice in; returns the Services that it touches."""
        touched = self.remove(slice_)
        wanted = slice_.address_type == self._address_type and is_watched(slice_.metadata)
        if not wanted or not slice_.service_name:
            return touched
        namespace, name = slice_.metadata.namespace, slice_.metadata.name
        service = (namespace, slice_.service_name)
        self._service_of[namespace, name] = service
        self._by_service.setdefault(service, {})[name] = _read(slice_)
        return touched if service in touched else [*touched, service]

    def remove(self, slice_: EndpointSlice) -> list[ServiceKey]:
        """Forget a slice; returns the Service that it belonged to."""
        namespace, name = slice_.metadata.namespace, slice_.metadata.name
        service = self._service_of.pop((namespace, name), None)
        if service is None:
            return []
        slices = self._by_service[service]
        del slices[name]
        if not slices:
            del self._by_service[service]
        return [service]

    def endpoints(self, service: ServiceKey, port: PortKey) -> tuple[ServiceEndpoint, ...]:
        """All endpoints of one port, each ``ip:port`` once, in kube-proxy's order.

        An endpoint that two slices list (the slice controller may move one) counts as in the slice whose
        name is the lowest, one that says on which node it is first; on a node that another copy names, that
        one counts for Local policies (addEndpoints: "favor a true value"; else Go's map order decides).
        """
        slices = self._by_service.get(service)
        if slices is None:
            return ()
        merged: dict[str, ServiceEndpoint] = {}
        for name in sorted(slices):
            for endpoint in slices[name].get(port, ()):
                known = merged.get(endpoint.target)
                if known is None or (endpoint.node and not known.node):
                    merged[endpoint.target] = endpoint
                elif endpoint.node and endpoint.node not in (known.node, *(c.node for c in known.copies)):
                    merged[endpoint.target] = known._replace(copies=(*known.copies, endpoint))
        return tuple(merged[target] for target in sorted(merged))

    def nodes_serving(self, service: ServiceKey) -> dict[str, None]:
        """The nodes on which any endpoint of any port serves, ready or not; empty text for one unknown."""
        slices = self._by_service.get(service, {}).values()
        found = (one for ports in slices for listed in ports.values() for one in listed)
        return {one.node: None for one in found if one.serving}


def is_watched(meta: ObjectMeta) -> bool:
    """Whether kube-proxy's informers see a Service or an EndpointSlice with this metadata.

    It leaves what is labelled so to another proxy, or to DNS (cmd/kube-proxy/app/server.go, ProxyServer.Run).
    """
    return not any(label in meta.labels for label in UNWATCHED_LABELS)


def categorize(
    endpoints: Sequence[ServiceEndpoint], *, uses_cluster: bool, uses_local: bool
) -> EndpointLists:
    """Which endpoints are used where. Source: pkg/proxy/topology.go, CategorizeEndpoints.

    The ready ones; where there is none, those that terminate and still serve. An endpoint that is neither
    ready nor terminating is never used. Hints narrow the cluster list alone, and not its fallback.
    """
    ready = tuple(endpoint for endpoint in endpoints if endpoint.ready)
    left = tuple(endpoint for endpoint in endpoints if endpoint.lingers)
    return EndpointLists(
        (ready or left) if uses_cluster else (),
        tuple(_near(ready)) if uses_cluster else (),
        tuple(_local(ready, left)) if uses_local else (),
        bool(ready or left),
    )


@lru_cache(maxsize=8192)
def node_name(node: str) -> str:
    """What the lists call a node."""
    return f"node/{node}"


def zone_name(zone: str) -> str:
    """What the lists call a zone."""
    return f"zone/{zone}"


def _near(ready: Sequence[ServiceEndpoint]) -> Iterator[tuple[str, tuple[ServiceEndpoint, ...]]]:
    """What nodes and zones have for themselves, if each ready endpoint has a hint (topologyModeFromHints)."""
    if ready and all(endpoint.node_hints for endpoint in ready):
        for node in dict.fromkeys(node for endpoint in ready for node in endpoint.node_hints):
            yield node_name(node), tuple(endpoint for endpoint in ready if node in endpoint.node_hints)
    if ready and all(endpoint.zone_hints for endpoint in ready):
        for zone in dict.fromkeys(zone for endpoint in ready for zone in endpoint.zone_hints):
            yield zone_name(zone), tuple(endpoint for endpoint in ready if zone in endpoint.zone_hints)


def _local(
    ready: Sequence[ServiceEndpoint], left: Sequence[ServiceEndpoint]
) -> Iterator[tuple[str, tuple[ServiceEndpoint, ...]]]:
    """What each node has itself; one with terminating endpoints only uses those."""
    nodes: dict[str, list[ServiceEndpoint]] = {}
    for copy in _copies(ready):
        if copy.ready:
            nodes.setdefault(copy.node, []).append(copy)
    leaving: dict[str, list[ServiceEndpoint]] = {}
    for copy in _copies((*ready, *left)):
        if copy.lingers and copy.node not in nodes:
            leaving.setdefault(copy.node, []).append(copy)
    for node, found in {**nodes, **leaving}.items():
        if node:
            yield node_name(node), tuple(found)


def _copies(endpoints: Sequence[ServiceEndpoint]) -> Iterator[ServiceEndpoint]:
    """Each endpoint, once for each node that a slice says it is on."""
    for endpoint in endpoints:
        yield endpoint
        yield from endpoint.copies


def address_from_text(text: str) -> IpAddress:
    """An address as kube-proxy reads it."""
    return IPv6Address(text) if ":" in text else ipv4_from_text(text)


def ipv4_from_text(text: str) -> IPv4Address:
    """An IPv4 address as kube-proxy reads it: leading zeros are decimal (k8s.io/utils/net, ParseIPSloppy)."""
    try:
        return IPv4Address(text)
    except ValueError:
        return IPv4Address(".".join(str(int(octet)) for octet in text.split(".")))


def _read(slice_: EndpointSlice) -> dict[PortKey, list[ServiceEndpoint]]:
    # A port without a number means "all ports" to others; kube-proxy ignores it.
    ports = [(port.name, port.protocol, port.port) for port in slice_.ports if port.port]
    family6 = slice_.address_type == "IPv6"  # one with an address of the other family is ignored
    endpoints = [e for e in slice_.endpoints if e.addresses and (":" in e.addresses[0]) is family6]
    return {
        (name, protocol): [_read_endpoint(endpoint, number) for endpoint in endpoints]
        for name, protocol, number in ports
    }


def _read_endpoint(endpoint: Endpoint, port: int) -> ServiceEndpoint:
    address = address_from_text(endpoint.addresses[0])  # the API allows more and gives them no meaning
    home = node_name(endpoint.node_name or "")  # without a name it is on no node
    backend = Backend(address, port, _read_name(endpoint.target_ref), home=home)
    ready, serving, terminating = _read_conditions(endpoint.conditions)
    hints = endpoint.rest.get("hints")
    return ServiceEndpoint(
        render_endpoint(address.packed, port),
        backend,
        endpoint.node_name or "",
        ready,
        serving,
        terminating,
        _read_hints(hints, "forNodes") if hints else (),
        _read_hints(hints, "forZones") if hints else (),
    )


def _read_hints(hints: Mapping[str, Any], field: str) -> tuple[str, ...]:
    return tuple(hint["name"] for hint in hints.get(field) or ())


def _read_name(target: ObjectReference | None) -> str:
    if target is None:
        return ""
    kind = target.kind.lower()
    return f"{kind} {target.namespace}/{target.name}" if target.namespace else f"{kind} {target.name}"


def _read_conditions(conditions: EndpointConditions) -> tuple[bool, bool, bool]:
    """ready, serving, terminating; unknown is ready, serving and not terminating."""
    return conditions.ready is not False, conditions.serving is not False, conditions.terminating is True
