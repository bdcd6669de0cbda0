"""Service ports: one port of a Service that has a ClusterIP, with the endpoints behind it.

``proxier`` makes these from the store; ``ruleset`` and the renderings read them. Source: Kubernetes
pkg/proxy/types.go (ServicePortName), pkg/proxy/serviceport.go (newBaseServiceInfo) and
pkg/proxy/util/utils.go (ShouldSkipService).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from netsim.objects.core import Service
from netsim.proxy.endpoints import PortKey, ServiceEndpoint, ServiceKey, ipv4_from_text, usable

# kube-proxy leaves Services with this label to another proxy (pkg/proxy/apis/well_known_labels.go).
SERVICE_PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}  # IANA protocol numbers
EXTERNAL_TYPES = ("NodePort", "LoadBalancer")


class ServicePort(NamedTuple):
    """One port. ``protocol`` is TCP, UDP or SCTP; ``endpoints`` are all that are known, usable or not.

    ``node_port`` is 0 when it has none; ``load_balancer_ips`` are the addresses that a load balancer
    leaves to the nodes (ipMode VIP).
    """

    service: ServiceKey
    port_name: str
    protocol: str
    cluster_ip: IPv4Address
    port: int
    endpoints: tuple[ServiceEndpoint, ...] = ()
    node_port: int = 0
    external_ips: tuple[IPv4Address, ...] = ()
    load_balancer_ips: tuple[IPv4Address, ...] = ()

    @property
    def name(self) -> str:
        """``prod/ent:http``, without the colon when the port has no name; kube-proxy's comments have it."""
        namespace, service = self.service
        return f"{namespace}/{service}:{self.port_name}" if self.port_name else f"{namespace}/{service}"

    @property
    def key(self) -> PortKey:
        """What joins it with the ports of EndpointSlices."""
        return (self.port_name, self.protocol)

    @property
    def cluster_endpoints(self) -> tuple[ServiceEndpoint, ...]:
        """Where a connection to the ClusterIP may go."""
        return usable(self.endpoints)


def service_ports_of(service: Service) -> Iterator[ServicePort]:
    """The ports that kube-proxy handles, without endpoints; none for headless and ExternalName Services."""
    spec, meta = service.spec, service.metadata
    if spec.type == "ExternalName" or SERVICE_PROXY_NAME_LABEL in meta.labels:
        return
    cluster_ip = _ipv4_cluster_ip(service)
    if cluster_ip is None:
        return
    external_ips = tuple(_ipv4s(spec.external_ips))
    load_balancer_ips = tuple(_ipv4s(load_balancer_vips(service)))
    for port in spec.ports:
        yield ServicePort(
            (meta.namespace, meta.name),
            port.name,
            port.protocol,
            cluster_ip,
            port.port,
            node_port=(port.node_port or 0) if spec.type in EXTERNAL_TYPES else 0,
            external_ips=external_ips,
            load_balancer_ips=load_balancer_ips,
        )


def load_balancer_vips(service: Service) -> Iterator[str]:
    """The ingress addresses that nodes themselves answer for: those with an ``ip`` and ipMode VIP.

    With ipMode Proxy, or a hostname, the load balancer sends everything to node ports (KEP-1860).
    """
    if service.spec.type != "LoadBalancer":
        return
    for ingress in (service.status.rest.get("loadBalancer") or {}).get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP":
            yield ingress["ip"]


def _ipv4_cluster_ip(service: Service) -> IPv4Address | None:
    spec = service.spec
    return next(_ipv4s(spec.cluster_ips or (spec.cluster_ip,)), None)


def _ipv4s(texts: Iterable[str]) -> Iterator[IPv4Address]:
    """The IPv4 addresses among them, each once, in their order."""
    for text in dict.fromkeys(texts):
        if text and text != "None" and ":" not in text:
            yield ipv4_from_text(text)
