"""Service ports as plan entries in IPVS mode.

``ruleset`` hands over to this module where ``ProxySettings.mode`` is ``ipvs``. Every address of a Service
stands on the dummy interface ``kube-ipvs0`` of every node, so that packets to it come to IPVS, which looks
where the host itself is addressed. Source: Kubernetes pkg/proxy/ipvs/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from netsim.base.address import mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.plan.entries import (
    NODES,
    Action,
    Entry,
    Hook,
    HostName,
    Interface,
    InterfaceKind,
    LocalAddresses,
    Match,
    Rule,
    Schedule,
    SharedAddress,
    Sysctl,
    VirtualServer,
)
from netsim.proxy.service_port import PROTOCOL_NUMBERS, ServicePort

DUMMY_DEVICE = "kube-ipvs0"  # defaultDummyDevice
GRACE_CHECK = 60.0  # graceful_termination.go, rsCheckDeleteInterval: seconds
_AT_ONCE = ("UDP", "SCTP")  # what gracefulDeleteRS deletes whatever connections it has


def dummy_device(host: HostName, owner: str) -> Interface:
    """The interface of one node."""
    cause = Cause(Stage.PLAN, "IPVS gets what is addressed to the host itself")
    mac = mac_from_name(f"{host}/{DUMMY_DEVICE}")
    return Interface(host, DUMMY_DEVICE, InterfaceKind.DUMMY, mac, owner, cause)


def node_entries(*, owner: str, strict_arp: bool) -> Iterator[Entry]:
    """What guards the addresses on it: chain KUBE-IPVS-FILTER.

    It rejects what is new and to no Service port, a ping too (kubernetes/kubernetes pull request 108460).
    """
    text = f"KUBE-IPVS-FILTER: to an address of {DUMMY_DEVICE}, and to no Service port: REJECT"
    cause = Cause(Stage.FILTER, text)
    match = Match(unserved_on=DUMMY_DEVICE)
    yield Rule(NODES, Hook.INPUT, 0, "kube-ipvs-filter", match, Action.REJECT, owner, cause)
    if strict_arp:
        strict = Cause(Stage.PLAN, f"strictARP: the announcer answers ARP, not whoever has {DUMMY_DEVICE}")
        yield Sysctl(NODES, "arp_ignore", 1, owner, strict)
        yield Sysctl(NODES, "arp_announce", 2, owner, strict)


def port_entries(
    port: ServicePort, schedule: Schedule, *, owner: str, cluster_cidr: IPv4Network | None
) -> Iterator[Entry]:
    """A virtual server at each address of a port, and at each node's addresses for a node port."""
    builder = _Builder(port, schedule, owner)
    yield from builder.at(port.cluster_ip, "cluster IP", local_sources=cluster_cidr)
    for address in port.external_ips:
        yield from builder.at(address, "external IP")
    for address in port.load_balancer_ips:
        yield from builder.at(address, "loadbalancer IP")
    if port.node_port:
        yield builder.server(LocalAddresses(), port.node_port, f"node port {port.node_port}")


class _Builder:
    """The entries of one port."""

    def __init__(self, port: ServicePort, schedule: Schedule, owner: str) -> None:
        self._port = port
        self._schedule = schedule
        self._owner = owner
        self._backends = tuple(endpoint.backend for endpoint in port.cluster_endpoints)

    def at(
        self, address: IPv4Address, what: str, *, local_sources: IPv4Network | None = None
    ) -> Iterator[Entry]:
        namespace, name = self._port.service
        cause = Cause(Stage.SERVICE, f"{namespace}/{name} {what}")
        yield SharedAddress(NODES, DUMMY_DEVICE, address, self._owner, cause)
        yield self.server(address, self._port.port, what, local_sources=local_sources)

    def server(
        self,
        address: IPv4Address | LocalAddresses,
        number: int,
        what: str,
        *,
        local_sources: IPv4Network | None = None,
    ) -> VirtualServer:
        port = self._port
        refusal = f"{port.name} has no endpoints: IPVS has no real server, ICMP port unreachable"
        return VirtualServer(
            NODES,
            PROTOCOL_NUMBERS[port.protocol],
            address,
            number,
            f"svc {port.name}",
            self._backends,
            self._owner,
            Cause(Stage.SERVICE, f"{port.name} {what}" if self._backends else refusal),
            self._schedule,
            local_sources,
            what != "cluster IP",
            0.0 if port.protocol in _AT_ONCE else GRACE_CHECK,
        )
