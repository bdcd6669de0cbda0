"""Service ports: one port of a Service that has a ClusterIP, with the endpoints behind it.

``proxier`` makes these from the store; ``ruleset`` and the renderings read them. Source: Kubernetes
pkg/proxy/types.go (ServicePortName), pkg/proxy/serviceport.go (newBaseServiceInfo) and
pkg/proxy/util/utils.go (ShouldSkipService).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import NamedTuple

from netsim.base.address import IpAddress, IpNetwork
from netsim.objects.core import Service
from netsim.proxy.endpoints import (
    EndpointLists,
    PortKey,
    ServiceEndpoint,
    ServiceKey,
    address_from_text,
    categorize,
    is_watched,
)

PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}  # IANA protocol numbers
EXTERNAL_TYPES = ("NodePort", "LoadBalancer")
LOCAL = "Local"  # of both traffic policies
DEFAULT_AFFINITY = 10800  # core/v1, DefaultClientIPServiceAffinitySeconds
NOTHING = EndpointLists((), (), (), any=False)


class ServicePort(NamedTuple):
    """One port. ``protocol`` is TCP, UDP or SCTP; ``endpoints`` are all that are known, usable or not.

    ``node_port`` is 0 when it has none; ``load_balancer_ips`` are the addresses that a load balancer
    leaves to the nodes (ipMode VIP), ``source_ranges`` those that may use them (none: everyone).
    ``affinity`` is for how many seconds a client keeps its endpoint (0: it does not), ``lists`` which of the
    endpoints are used where.
    """

    service: ServiceKey
    port_name: str
    protocol: str
    cluster_ip: IpAddress
    port: int
    endpoints: tuple[ServiceEndpoint, ...] = ()
    node_port: int = 0
    external_ips: tuple[IpAddress, ...] = ()
    load_balancer_ips: tuple[IpAddress, ...] = ()
    source_ranges: tuple[IpNetwork, ...] = ()
    internal_local: bool = False
    external_local: bool = False
    affinity: int = 0
    health_check_node_port: int = 0
    lists: EndpointLists = NOTHING

    def with_endpoints(self, endpoints: tuple[ServiceEndpoint, ...]) -> ServicePort:
        """The port with other endpoints, and what follows from them."""
        lists = categorize(endpoints, uses_cluster=self.uses_cluster, uses_local=self.uses_local)
        return self._replace(endpoints=endpoints, lists=lists)

    @property
    def externally_accessible(self) -> bool:
        """Whether it is reached by anything but its ClusterIP."""
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def uses_cluster(self) -> bool:
        """Whether endpoints of all nodes are used: external addresses have short cuts to them in any case."""
        return not self.internal_local or self.externally_accessible

    @property
    def uses_local(self) -> bool:
        """Whether the endpoints of each node are used apart."""
        return self.internal_local or (self.external_local and self.externally_accessible)

    @property
    def name(self) -> str:
        """``prod/ent:http``, without the colon when the port has no name; kube-proxy's comments have it."""
        namespace, service = self.service
        return f"{namespace}/{service}:{self.port_name}" if self.port_name else f"{namespace}/{service}"

    @property
    def key(self) -> PortKey:
        """What joins it with the ports of EndpointSlices."""
        return (self.port_name, self.protocol)


def service_ports_of(service: Service, family: int = 4) -> Iterator[ServicePort]:
    """The ports that kube-proxy handles for one address family, without endpoints.

    None for headless and ExternalName Services, and for those without a ClusterIP of the family.
    """
    spec, meta = service.spec, service.metadata
    if spec.type == "ExternalName" or not is_watched(meta):
        return
    cluster_ip = next(_addresses(spec.cluster_ips or (spec.cluster_ip,), family), None)
    if cluster_ip is None:
        return
    external_ips = tuple(_addresses(spec.external_ips, family))
    load_balancer_ips = tuple(_addresses(load_balancer_vips(service), family))
    ranges = tuple(_networks(spec.rest.get("loadBalancerSourceRanges") or (), family))
    for port in spec.ports:
        yield ServicePort(
            (meta.namespace, meta.name),
            port.name,
            port.protocol,
            cluster_ip,
            port.port,
            node_port=port.node_port or 0,
            external_ips=external_ips,
            load_balancer_ips=load_balancer_ips,
            source_ranges=ranges,
            internal_local=spec.internal_traffic_policy == LOCAL,
            external_local=_external_policy_local(service),
            affinity=_affinity(service),
            health_check_node_port=health_check_node_port(service),
        )


def load_balancer_vips(service: Service) -> Iterator[str]:
    """The ingress addresses that nodes themselves answer for: those with an ``ip`` and ipMode VIP.

    With ipMode Proxy, or a hostname, the load balancer sends everything to node ports (KEP-1860).
    """
    for ingress in (service.status.rest.get("loadBalancer") or {}).get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP":
            yield ingress["ip"]


def health_check_node_port(service: Service) -> int:
    """The port on which every node says whether it has endpoints of its own; 0: there is none.

    Source: pkg/proxy/serviceport.go, NeedsHealthCheck (pkg/api/v1/service).
    """
    spec = service.spec
    if spec.type != "LoadBalancer" or not _external_policy_local(service) or not is_watched(service.metadata):
        return 0
    return int(spec.rest.get("healthCheckNodePort") or 0)


def _external_policy_local(service: Service) -> bool:
    """Whether it is Local, for what is reached from outside (pkg/api/v1/service, ExternalPolicyLocal)."""
    spec = service.spec
    outside = spec.type in EXTERNAL_TYPES or bool(spec.external_ips)
    return outside and spec.external_traffic_policy == LOCAL


def _affinity(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = (service.spec.rest.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY)


def _networks(texts: Iterable[str], family: int) -> Iterator[IpNetwork]:
    """The networks of a family among them (proxyutil.MapCIDRsByIPFamily), leading zeros decimal."""
    for text in dict.fromkeys(text.strip() for text in texts):
        if (":" in text) is (family == 6):
            address, _, length = text.partition("/")
            yield ip_network((address_from_text(address), int(length)), strict=False)


def _addresses(texts: Iterable[str], family: int) -> Iterator[IpAddress]:
    """The addresses of a family among them, each once, in their order."""
    for text in dict.fromkeys(texts):
        if text and text != "None" and (":" in text) is (family == 6):
            yield address_from_text(text)
