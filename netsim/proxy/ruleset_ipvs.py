"""Service ports as plan entries in IPVS mode.

``ruleset`` hands over to this module where ``ProxySettings.mode`` is ``ipvs``. Every address of a Service
stands on the dummy interface ``kube-ipvs0`` of every node, so that packets to it come to IPVS, which looks
where the host itself is addressed. Source: Kubernetes pkg/proxy/ipvs/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netsim.base.address import mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.plan.entries import (
    NODES,
    Action,
    Affinity,
    Entry,
    Hook,
    HostName,
    Interface,
    InterfaceKind,
    LocalAddresses,
    Masquerade,
    Match,
    Near,
    Reach,
    Rule,
    SharedAddress,
    Sysctl,
    VirtualServer,
)
from netsim.proxy.service_port import PROTOCOL_NUMBERS, ServicePort
from netsim.proxy.settings import ProxySettings
from netsim.proxy.ways import Way

DUMMY_DEVICE = "kube-ipvs0"  # defaultDummyDevice
GRACE_CHECK = 60.0  # graceful_termination.go, rsCheckDeleteInterval: seconds
_AT_ONCE = ("UDP", "SCTP")  # what gracefulDeleteRS deletes whatever connections it has


def dummy_device(host: HostName, owner: str) -> Interface:
    """The interface of one node."""
    cause = Cause(Stage.PLAN, "IPVS gets what is addressed to the host itself")
    mac = mac_from_name(f"{host}/{DUMMY_DEVICE}")
    return Interface(host, DUMMY_DEVICE, InterfaceKind.DUMMY, mac, owner, cause)


def node_entries(*, owner: str, strict_arp: bool, family: int) -> Iterator[Entry]:
    """What guards the addresses on it: chain KUBE-IPVS-FILTER.

    It rejects what is new and to no Service port, a ping too (kubernetes/kubernetes pull request 108460).
    """
    text = f"KUBE-IPVS-FILTER: to an address of {DUMMY_DEVICE}, and to no Service port: REJECT"
    cause = Cause(Stage.FILTER, text)
    match = Match(unserved_on=DUMMY_DEVICE)
    name = "kube-ipvs-filter" if family == 4 else "kube-ipvs-filter IPv6"
    yield Rule(NODES, Hook.INPUT, 0, name, match, Action.REJECT, owner, cause, family)
    if strict_arp:
        strict = Cause(Stage.PLAN, f"strictARP: the announcer answers ARP, not whoever has {DUMMY_DEVICE}")
        yield Sysctl(NODES, "arp_ignore", 1, owner, strict)
        yield Sysctl(NODES, "arp_announce", 2, owner, strict)


def port_entries(
    port: ServicePort, ways: Iterable[Way], settings: ProxySettings, *, owner: str
) -> Iterator[Entry]:
    """A virtual server at each address of a port, and at each node's addresses for a node port."""
    namespace, name = port.service
    if port.health_check_node_port:
        yield _health_check(port, settings, owner)
    for way in ways:
        if not isinstance(way.address, LocalAddresses):
            cause = Cause(Stage.SERVICE, f"{namespace}/{name} {way.what}")
            yield SharedAddress(NODES, DUMMY_DEVICE, way.address, owner, cause)
        yield _server(port, way, settings, owner)


def _health_check(port: ServicePort, settings: ProxySettings, owner: str) -> Rule:
    """KUBE-IPVS-FILTER lets health checks pass: they are answered at every address, those of Services too."""
    number = port.health_check_node_port
    cause = Cause(Stage.FILTER, f"KUBE-IPVS-FILTER: health check port {number}: RETURN")
    title = f"kube-ipvs-filter health check {number}" + ("" if settings.family == 4 else " IPv6")
    match = Match(destination_port=number)
    return Rule(NODES, Hook.INPUT, -1, title, match, Action.ACCEPT, owner, cause, settings.family)


def _server(port: ServicePort, way: Way, settings: ProxySettings, owner: str) -> VirtualServer:
    """One virtual server, the same for every source: no short cuts for Pods.

    A Local policy on a node without endpoints falls back to all of them (syncEndpoint; pull request 97081).
    """
    lists = port.lists
    local = port.internal_local if way.internal else port.external_local
    masquerade = Masquerade.NEVER if port.external_local else Masquerade.ALWAYS
    if way.internal:
        masquerade = Masquerade.ALWAYS if settings.masquerade_all else Masquerade.OUTSIDERS
    refusal = f"{port.name} has no endpoints: IPVS has no real server, ICMP port unreachable"
    used = lists.cluster or lists.near or (local and lists.local)
    return VirtualServer(
        NODES,
        PROTOCOL_NUMBERS[port.protocol],
        way.address,
        way.number,
        f"svc {port.name}",
        tuple(endpoint.backend for endpoint in lists.cluster),
        owner,
        Cause(Stage.SERVICE, f"{port.name} {way.what}" if used else refusal),
        settings.scheduler,
        masquerade,
        0.0 if port.protocol in _AT_ONCE else GRACE_CHECK,
        Reach.OWN_OR_ALL if local else Reach.ALL,
        tuple(Near(place, tuple(e.backend for e in found)) for place, found in lists.near),
        tuple(Near(place, tuple(e.backend for e in found)) for place, found in lists.local) if local else (),
        sources=port.source_ranges if way.firewall else None,
        balancers=port.load_balancer_ips if way.firewall else (),
        affinity=Affinity(port.affinity) if port.affinity else None,
    )
