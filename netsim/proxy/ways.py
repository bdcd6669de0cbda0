"""The ways to a Service port: its ClusterIP, external IPs, load balancer addresses and node port.

``ruleset`` and ``ruleset_ipvs`` make a virtual server of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.plan.entries import LocalAddresses
from netsim.proxy.service_port import ServicePort
from netsim.proxy.settings import ProxySettings, local_addresses


class Way(NamedTuple):
    """One of the ways to a Service port: an address, and what its packets meet there."""

    address: IpAddress | LocalAddresses
    number: int
    what: str
    internal: bool = False
    firewall: bool = False


def ways_of(port: ServicePort, settings: ProxySettings) -> Iterator[Way]:
    """Every address by which a port is reached."""
    yield Way(port.cluster_ip, port.port, "cluster IP", internal=True)
    for address in port.external_ips:
        yield Way(address, port.port, "external IP")
    for address in port.load_balancer_ips:
        yield Way(address, port.port, "loadbalancer IP", firewall=bool(port.source_ranges))
    if port.node_port:
        yield Way(local_addresses(settings), port.node_port, f"node port {port.node_port}")
