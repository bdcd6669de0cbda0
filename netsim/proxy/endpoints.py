"""Endpoints: what the EndpointSlices say, and which endpoints may be used.

``proxier`` feeds the slices in and asks for one port's endpoints. Slices join a Service by its name in their
label and a port of it by (port name, protocol), never by number. Source: Kubernetes
pkg/proxy/endpointslicecache.go and pkg/proxy/topology.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from netsim.objects.core import ObjectReference
from netsim.objects.discovery import Endpoint, EndpointConditions, EndpointSlice
from netsim.plan.entries import Backend

ServiceKey: TypeAlias = tuple[str, str]  # namespace, name
PortKey: TypeAlias = tuple[str, str]  # port name, protocol


class ServiceEndpoint(NamedTuple):
    """One endpoint of one port of a Service. ``target`` is ``ip:port``, by which kube-proxy sorts, as
    text. ``node`` is empty when the slice does not say where it runs."""

    target: str
    backend: Backend
    node: str
    ready: bool
    serving: bool
    terminating: bool


class SliceTable:
    """All IPv4 EndpointSlices, by Service. (kube-proxy runs one proxier for each IP family.)"""

    __slots__ = ("_by_service", "_service_of")

    def __init__(self) -> None:
        self._by_service: dict[ServiceKey, dict[str, dict[PortKey, list[ServiceEndpoint]]]] = {}
        self._service_of: dict[tuple[str, str], ServiceKey] = {}

    def put(self, slice_: EndpointSlice) -> list[ServiceKey]:
        """Take a new or changed slice in; returns the Services that it touches."""
        touched = self.remove(slice_)
        if slice_.address_type != "IPv4" or not slice_.service_name:
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
        name is the lowest; in kube-proxy Go's map order decides.
        """
        slices = self._by_service.get(service)
        if slices is None:
            return ()
        merged: dict[str, ServiceEndpoint] = {}
        for name in sorted(slices):
            for endpoint in slices[name].get(port, ()):
                merged.setdefault(endpoint.target, endpoint)
        return tuple(merged[target] for target in sorted(merged))

    def any_serving(self, service: ServiceKey) -> bool:
        """Whether any endpoint of any port serves, ready or not."""
        slices = self._by_service.get(service, {}).values()
        return any(one.serving for ports in slices for found in ports.values() for one in found)


def usable(endpoints: Iterable[ServiceEndpoint]) -> tuple[ServiceEndpoint, ...]:
    """Those that a new connection may be sent to, wherever they run (the "Cluster" list).

    The ready ones; if there is none, those that terminate and still serve. An endpoint that is neither
    ready nor terminating is never used. Source: pkg/proxy/topology.go, CategorizeEndpoints.
    """
    known = tuple(endpoints)
    ready = tuple(endpoint for endpoint in known if endpoint.ready)
    return ready or tuple(endpoint for endpoint in known if endpoint.serving and endpoint.terminating)


def ipv4_from_text(text: str) -> IPv4Address:
    """An address as kube-proxy reads it: leading zeros are decimal (k8s.io/utils/net, ParseIPSloppy)."""
    try:
        return IPv4Address(text)
    except ValueError:
        return IPv4Address(".".join(str(int(octet)) for octet in text.split(".")))


def _read(slice_: EndpointSlice) -> dict[PortKey, list[ServiceEndpoint]]:
    # A port without a number means "all ports" to others; kube-proxy ignores it.
    ports = [(port.name, port.protocol, port.port) for port in slice_.ports if port.port]
    return {
        (name, protocol): [
            _read_endpoint(endpoint, number) for endpoint in slice_.endpoints if endpoint.addresses
        ]
        for name, protocol, number in ports
    }


def _read_endpoint(endpoint: Endpoint, port: int) -> ServiceEndpoint:
    address = ipv4_from_text(endpoint.addresses[0])  # the API allows more and gives them no meaning
    backend = Backend(address, port, _read_name(endpoint.target_ref))
    ready, serving, terminating = _read_conditions(endpoint.conditions)
    return ServiceEndpoint(
        f"{address}:{port}", backend, endpoint.node_name or "", ready, serving, terminating
    )


def _read_name(target: ObjectReference | None) -> str:
    if target is None:
        return ""
    kind = target.kind.lower()
    return f"{kind} {target.namespace}/{target.name}" if target.namespace else f"{kind} {target.name}"


def _read_conditions(conditions: EndpointConditions) -> tuple[bool, bool, bool]:
    """ready, serving, terminating; unknown is ready, serving and not terminating."""
    return conditions.ready is not False, conditions.serving is not False, conditions.terminating is True
