"""kube-proxy's health checks of load balancers, on every node.

``Cluster`` shows every event of the store to ``HealthChecks.feed``, behind the proxier. A Service of type
LoadBalancer whose externalTrafficPolicy is Local has a healthCheckNodePort, on which each node says whether
it has endpoints of its own, so that a balancer outside sends to those alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address

from netsim.base.address import IpAddress
from netsim.objects.core import Node, Service
from netsim.plan.entries import HostName
from netsim.planes.protocol import Plane
from netsim.programs.host import Host
from netsim.proxy.endpoints import ServiceKey
from netsim.proxy.proxier import Proxier
from netsim.proxy.service_port import health_check_node_port
from netsim.proxy.settings import LOOPBACK, local_addresses
from netsim.store.store import EventType, StoreEvent


class HealthChecks:
    """See the module's docstring. ``hosts`` are the nodes' hosts in the plane."""

    def __init__(self, proxiers: Sequence[Proxier], plane: Plane, hosts: Mapping[str, HostName]) -> None:
        self._proxiers = proxiers
        self._plane = plane
        self._hosts = hosts
        self._ports: dict[ServiceKey, int] = {}
        self._nodes: dict[str, tuple[IpAddress | None, ...]] = {}  # with the addresses, None for all
        self._running: dict[tuple[str, ServiceKey], Host] = {}

    def feed(self, event: StoreEvent) -> None:
        """Start and stop what a change of a Service or a Node asks for."""
        gone = event.type is EventType.DELETED
        match event.object:
            case Service() as service:
                key = (service.metadata.namespace, service.metadata.name)
                port = 0 if gone else health_check_node_port(service)
                if port != self._ports.get(key, 0):
                    self._set_port(key, port)
            case Node() as node:
                self._set_node(node, gone=gone)

    def _set_port(self, service: ServiceKey, port: int) -> None:
        for node in self._nodes:
            self._stop(node, service)
        self._ports.pop(service, None)
        if port:
            self._ports[service] = port
            for node in self._nodes:
                self._start(node, service)

    def _set_node(self, node: Node, *, gone: bool) -> None:
        name = node.metadata.name
        if gone:
            self._nodes.pop(name, None)
            for service in self._ports:
                self._stop(name, service)
        elif name not in self._nodes and name in self._hosts:
            self._nodes[name] = tuple(_addresses(node, self._proxiers))
            for service in self._ports:
                self._start(name, service)

    def _start(self, node: str, service: ServiceKey) -> None:
        from netsim.programs.kube_proxy import SERVER, serve_health  # few clusters have any

        host = self._hosts[node]
        view = self._running[node, service] = self._plane.view(host, host)
        count = partial(self._ready_on, service, node)
        port = self._ports[service]
        for address in self._nodes[node]:
            program = partial(
                serve_health, port=port, service=service, local_endpoints=count, address=address
            )
            self._plane.start(view, program, SERVER)

    def _ready_on(self, service: ServiceKey, node: str) -> int:
        """Of the family that the Service has; of both, its Pods are the same."""
        return max(proxier.ready_on(service, node) for proxier in self._proxiers)

    def _stop(self, node: str, service: ServiceKey) -> None:
        view = self._running.pop((node, service), None)
        if view is not None:
            self._plane.call_at(self._plane.now, partial(self._plane.close_view, view))


def _addresses(node: Node, proxiers: Sequence[Proxier]) -> Iterator[IpAddress | None]:
    """Where a node answers: at all addresses, or at those of its own that have node ports.

    Source: pkg/proxy/healthcheck/service_health.go, newServiceHealthServer.
    """
    chosen = [local_addresses(proxier.settings) for proxier in proxiers]
    if any(not where.primary and not where.networks for where in chosen):
        yield None
        return
    own = [ip_address(held.address) for held in node.status.addresses if held.type == "InternalIP"]
    for where in chosen:
        of_family = [address for address in own if address.version == where.family]
        if where.primary:
            yield from of_family[:1]
        else:
            for address in (*of_family, LOOPBACK):
                if any(address in network for network in where.networks):
                    yield address
