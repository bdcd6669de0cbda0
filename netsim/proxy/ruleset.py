"""Service ports as plan entries: what kube-proxy makes the kernel of every node do.

``proxier`` calls this for each port of a changed Service. The entries say what happens to a packet, not how
a mode arranges its rules. IPVS mode is in ``ruleset_ipvs``; here is the iptables mode, and the choice.
Source: Kubernetes pkg/proxy/iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.plan.entries import NODES, Entry, HostName, LocalAddresses, Schedule, Sysctl, VirtualServer
from netsim.proxy import ruleset_ipvs
from netsim.proxy.service_port import PROTOCOL_NUMBERS, ServicePort

OWNER = "proxy"
IPTABLES, IPVS = "iptables", "ipvs"


class ProxySettings(NamedTuple):
    """kube-proxy's configuration. ``cluster_cidr`` is its ClusterCIDR detector of local traffic: sources
    outside it are masqueraded on their way to a ClusterIP. None: nobody is, as in kube-proxy.

    ``scheduler`` and ``strict_arp`` are IPVS mode's; ``hosts`` are the nodes' hosts in the plan.
    """

    cluster_cidr: IPv4Network | None = None
    mode: str = IPTABLES
    scheduler: Schedule = Schedule.RR
    strict_arp: bool = False
    hosts: Mapping[str, HostName] = MappingProxyType({})


def node_entries(settings: ProxySettings) -> Iterator[Entry]:
    """What kube-proxy sets up on all nodes alike, whatever Services there are."""
    if settings.mode == IPVS:
        yield from ruleset_ipvs.node_entries(owner=OWNER, strict_arp=settings.strict_arp)
        return
    cause = Cause(Stage.PLAN, "the replies to a connection to a node port at 127.0.0.1 come from a wire")
    yield Sysctl(NODES, "route_localnet", 1, OWNER, cause)


def own_entries(node: str, settings: ProxySettings) -> Iterator[Entry]:
    """What it sets up on one node."""
    if settings.mode == IPVS and node in settings.hosts:
        yield ruleset_ipvs.dummy_device(settings.hosts[node], OWNER)


def port_entries(port: ServicePort, settings: ProxySettings) -> Iterator[Entry]:
    """The entries for one port, on all nodes: its ClusterIP, and what the outside reaches it by.

    What comes from outside takes the node's address, for the endpoint may be on another node, and its
    reply must come back here.
    """
    if settings.mode == IPVS:
        yield from ruleset_ipvs.port_entries(
            port, settings.scheduler, owner=OWNER, cluster_cidr=settings.cluster_cidr
        )
        return
    yield _server(port, port.cluster_ip, port.port, "cluster IP", local_sources=settings.cluster_cidr)
    for address in port.external_ips:
        yield _server(port, address, port.port, "external IP")
    for address in port.load_balancer_ips:
        yield _server(port, address, port.port, "loadbalancer IP")
    if port.node_port:
        yield _server(port, LocalAddresses(loopback=True), port.node_port, f"node port {port.node_port}")


def _server(
    port: ServicePort,
    address: IPv4Address | LocalAddresses,
    number: int,
    what: str,
    *,
    local_sources: IPv4Network | None = None,
) -> VirtualServer:
    backends = tuple(endpoint.backend for endpoint in port.cluster_endpoints)
    text = (
        f"{port.name} {what}"
        if backends
        else f"{port.name} has no endpoints: REJECT with ICMP port unreachable"
    )
    return VirtualServer(
        NODES,
        PROTOCOL_NUMBERS[port.protocol],
        address,
        number,
        f"svc {port.name}",
        backends,
        OWNER,
        Cause(Stage.SERVICE, text),
        local_sources=local_sources,
        masquerade=what != "cluster IP",
    )
