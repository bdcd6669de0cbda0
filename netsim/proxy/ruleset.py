"""Service ports as plan entries: what kube-proxy makes the kernel of every node do.

``proxier`` calls this for each port of a changed Service. The entries say what happens to a packet, not how
a mode arranges its rules. Source: Kubernetes pkg/proxy/iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.plan.entries import NODES, VirtualServer
from netsim.proxy.service_port import ServicePort

OWNER = "proxy"
PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}  # IANA protocol numbers


class ProxySettings(NamedTuple):
    """kube-proxy's configuration. ``cluster_cidr`` is its ClusterCIDR detector of local traffic: sources
    outside it are masqueraded on their way to a ClusterIP. None: nobody is, as in kube-proxy."""

    cluster_cidr: IPv4Network | None = None


def port_entries(port: ServicePort, settings: ProxySettings) -> Iterator[VirtualServer]:
    """The entries for one port: its ClusterIP on all nodes."""
    backends = tuple(endpoint.backend for endpoint in port.cluster_endpoints)
    text = (
        f"{port.name} cluster IP"
        if backends
        else f"{port.name} has no endpoints: REJECT with ICMP port unreachable"
    )
    yield VirtualServer(
        NODES,
        PROTOCOL_NUMBERS[port.protocol],
        port.cluster_ip,
        port.port,
        f"svc {port.name}",
        backends,
        OWNER,
        Cause(Stage.SERVICE, text),
        local_sources=settings.cluster_cidr,
    )
