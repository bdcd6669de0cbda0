"""Service ports: one port of a Service that has a ClusterIP, with the endpoints behind it.

``proxier`` makes these from the store; ``ruleset`` and the renderings read them. Source: Kubernetes
pkg/proxy/types.go (ServicePortName) and pkg/proxy/util/utils.go (ShouldSkipService).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from netsim.objects.core import Service
from netsim.proxy.endpoints import PortKey, ServiceEndpoint, ServiceKey, ipv4_from_text, usable

# kube-proxy leaves Services with this label to another proxy (pkg/proxy/apis/well_known_labels.go).
SERVICE_PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"


class ServicePort(NamedTuple):
    """One port. ``protocol`` is TCP, UDP or SCTP; ``endpoints`` are all that are known, usable or not."""

    service: ServiceKey
    port_name: str
    protocol: str
    cluster_ip: IPv4Address
    port: int
    endpoints: tuple[ServiceEndpoint, ...] = ()

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
    for port in spec.ports:
        yield ServicePort((meta.namespace, meta.name), port.name, port.protocol, cluster_ip, port.port)


def _ipv4_cluster_ip(service: Service) -> IPv4Address | None:
    spec = service.spec
    for text in spec.cluster_ips or (spec.cluster_ip,):
        if text and text != "None" and ":" not in text:
            return ipv4_from_text(text)
    return None
