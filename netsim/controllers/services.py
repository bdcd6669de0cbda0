"""Gives Services what the API server's allocators give them: a ClusterIP and node ports.

What a user wrote is honoured; it is an `holder in the store's index before anything is picked.
Source: ``pkg/registry/core/service/ipallocator`` and ``portallocator``; bands: KEP-3070 and KEP-3668.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from netsim.base.address import IpNetwork
from netsim.base.rng import Rng
from netsim.controllers.bands import Bands, static_size
from netsim.controllers.controller import Outcome, Update, Wait
from netsim.controllers.families import with_families
from netsim.objects.core import Service, ServicePort, ServiceSpec
from netsim.objects.meta import ObjectRef
from netsim.store.indexes import Index, index_keys
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

KUBERNETES_SERVICE = ObjectRef(Service.kind, "default", "kubernetes")
"""The API server's own Service: it has the first address of the range."""

FIRST_NODE_PORT, LAST_NODE_PORT = 30000, 32767  # kube-apiserver --service-node-port-range
PROTOCOLS = ("TCP", "UDP", "SCTP")


def gave_back(event: StoreEvent, *indexes: Index) -> bool:
    """Whether an address or port of those indexes is free now that a Service held before."""
    if event.type is EventType.ADDED or event.old is None:
        return False
    held = set() if event.type is EventType.DELETED else set(index_keys(event.object))
    return any(of in indexes and key[-1] for of, key in index_keys(event.old) if (of, key) not in held)


def cluster_ip_bands(subnet: IpNetwork) -> Bands:
    """The usable addresses of a Service subnet; the lower band is the first 16 to 256 of them, a sixteenth of
    the subnet (calculateRangeOffset in ipallocator.go: 10.96.0.1 to 10.96.1.0 of 10.96.0.0/16). IPv6 has no
    broadcast address, so that its last one is usable."""
    first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address)
    if subnet.version == 4:
        last -= 1
    least = 16
    if subnet.num_addresses < least:
        return Bands(first, first, last)
    static = static_size(subnet.num_addresses, least=least, part=16, most=256)
    return Bands(first, first + static, last)


def node_port_bands() -> Bands:
    """30000 to 32767; the lower band is 86 of them, a thirty-second."""
    size = LAST_NODE_PORT - FIRST_NODE_PORT + 1
    static = static_size(size, least=16, part=32, most=128)
    return Bands(FIRST_NODE_PORT, FIRST_NODE_PORT + static, LAST_NODE_PORT)


class ServiceAllocator:
    """Subjects are the Services that lack something. Each family has a subnet; the primary's is the first."""

    name = "service-allocator"
    kinds = (Service.kind,)

    def __init__(self, service_subnets: Sequence[IpNetwork], rng: Rng) -> None:
        self._subnets = {f"IPv{subnet.version}": subnet for subnet in service_subnets}
        self._addresses = {family: cluster_ip_bands(subnet) for family, subnet in self._subnets.items()}
        self._ports = node_port_bands()
        self._rng = rng

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Service; when one went or gave something back, also those that wait."""
        yield event.object.ref
        if not gave_back(event, Index.CLUSTER_IP, Index.NODE_PORT):
            return
        for waiting in reader.holders(Index.CLUSTER_IP, ""):
            yield waiting.ref
        for protocol in PROTOCOLS:
            for waiting in reader.holders(Index.NODE_PORT, protocol, 0):
                yield waiting.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Fill in what lacks; what cannot be filled in is waited for."""
        service = reader.find(Service, subject.name, subject.namespace)
        if service is None or service.spec.type == "ExternalName":
            return Outcome()
        spec, waits = self._with_cluster_ip(service, reader)
        if spec.type in ("NodePort", "LoadBalancer") and spec.rest.get("allocateLoadBalancerNodePorts", True):
            spec, port_waits = self._with_node_ports(service.ref, spec, reader)
            waits += port_waits
        if spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local":
            spec, port_waits = self._with_health_check(service.ref, spec, reader)
            waits += port_waits
        writes = [Update(replace(service, spec=spec))] if spec != service.spec else []
        return Outcome(writes, waits=waits)

    def _with_cluster_ip(self, service: Service, reader: Reader) -> tuple[ServiceSpec, list[Wait]]:
        """The Service's families, and an address of each (allocClusterIPs)."""
        spec = service.spec
        if spec.cluster_ip and not spec.cluster_ips:
            spec = replace(spec, cluster_ips=(spec.cluster_ip,))
        elif spec.cluster_ips and not spec.cluster_ip:
            spec = replace(spec, cluster_ip=spec.cluster_ips[0])
        spec = with_families(spec, tuple(self._subnets))
        if spec.cluster_ip == "None":
            return spec, []
        addresses: list[str] = []
        for index, family in enumerate(spec.ip_families):
            wanted = spec.cluster_ips[index] if index < len(spec.cluster_ips) else ""
            why_not = self._refusal(service.ref, wanted, family, reader)
            address = wanted or ("" if why_not else self._pick_address(service.ref, family, reader))
            if why_not or not address:
                subnet = self._subnets.get(family)
                text = f"failed to allocate a serviceIP: range is full (serviceSubnet {subnet})"
                return service.spec, [Wait(service.ref, why_not or text)]
            addresses.append(address)
        return replace(spec, cluster_ip=addresses[0], cluster_ips=tuple(addresses)), []

    def _refusal(self, subject: ObjectRef, address: str, family: str, reader: Reader) -> str:
        """Why an address that a user wrote, or any of the family, cannot be had; empty when it can."""
        subnet = self._subnets.get(family)
        if subnet is None:
            return f"{family} is not configured on this cluster"
        if not address:
            return ""
        if ip_address(address) not in subnet:
            return (
                f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. "
                f"The range of valid IPs is {subnet}"
            )
        holder = reader.holders(Index.CLUSTER_IP, address)[0].ref
        if holder != subject:
            return f"failed to allocate IP {address}: provided IP is already allocated (to {holder})"
        return ""

    def _pick_address(self, subject: ObjectRef, family: str, reader: Reader) -> str:
        bands = self._addresses[family]
        address_of = type(self._subnets[family].network_address)
        if subject == KUBERNETES_SERVICE:
            return str(address_of(bands.first))

        def is_free(number: int) -> bool:
            taken = reader.count(Index.CLUSTER_IP, str(address_of(number)))
            return not taken and number != bands.first

        name = f"clusterIP/{subject}" if family == "IPv4" else f"clusterIP/{family}/{subject}"
        found = bands.pick(self._rng.derive(name), is_free)
        return "" if found is None else str(address_of(found))

    def _with_node_ports(
        self, subject: ObjectRef, spec: ServiceSpec, reader: Reader
    ) -> tuple[ServiceSpec, list[Wait]]:
        ports: list[ServicePort] = []
        waits: list[Wait] = []
        for port in spec.ports:
            number = port.node_port or self._pick_node_port(subject, port, ports, reader)
            if number is None:
                waits.append(Wait(subject, "failed to allocate a nodePort: range is full"))
            ports.append(port if number is None else replace(port, node_port=number))
        return replace(spec, ports=tuple(ports)), waits

    def _with_health_check(
        self, subject: ObjectRef, spec: ServiceSpec, reader: Reader
    ) -> tuple[ServiceSpec, list[Wait]]:
        """One more node port, on which nodes say whether they have endpoints (allocHealthCheckNodePort)."""
        if spec.rest.get("healthCheckNodePort"):
            return spec, []
        port = ServicePort(0, "healthCheck")
        number = self._pick_node_port(subject, port, spec.ports, reader)
        if number is None:
            return spec, [Wait(subject, "failed to allocate requested HealthCheck NodePort: range is full")]
        return replace(spec, rest={**spec.rest, "healthCheckNodePort": number}), []

    def _pick_node_port(
        self, subject: ObjectRef, port: ServicePort, given: Iterable[ServicePort], reader: Reader
    ) -> int | None:
        """The number that the same port has for another protocol, if it can be had, or a random one."""
        taken = {(other.protocol, other.node_port): None for other in given}

        def is_free(number: int) -> bool:
            free = not reader.count(Index.NODE_PORT, port.protocol, number)
            return free and (port.protocol, number) not in taken

        for other in given:
            if other.port == port.port and other.node_port and is_free(other.node_port):
                return other.node_port
        name = f"nodePort/{subject}/{port.name}/{port.protocol}/{port.port}"
        return self._ports.pick(self._rng.derive(name), is_free)
