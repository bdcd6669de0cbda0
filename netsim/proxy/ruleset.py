"""Service ports as plan entries: what kube-proxy makes the kernel of every node do.

``proxier`` calls this for each port of a changed Service. The entries say what happens to a packet, not how
a mode arranges its rules. IPVS mode is in ``ruleset_ipvs``; here are the iptables and the nftables mode, and
the choice. Source: Kubernetes pkg/proxy/iptables/proxier.go and nftables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from netsim.base.address import IpAddress
from netsim.base.cause import Cause, Stage
from netsim.objects.core import Node
from netsim.plan.entries import (
    NODES,
    Action,
    Affinity,
    Backend,
    Entry,
    Hook,
    HostName,
    LocalAddresses,
    Masquerade,
    Match,
    Near,
    Place,
    PodTraffic,
    Reach,
    Rule,
    Scope,
    SetMember,
    Sysctl,
    VirtualServer,
)
from netsim.proxy import ruleset_ipvs
from netsim.proxy.endpoints import ServiceEndpoint, node_name, zone_name
from netsim.proxy.service_port import PROTOCOL_NUMBERS, ServicePort
from netsim.proxy.settings import (
    IPTABLES,
    IPVS,
    NFTABLES,
    DetectLocalMode,
    ProxySettings,
    local_addresses,
)
from netsim.proxy.ways import Way, ways_of

OWNER = "proxy"
ZONE_LABEL = "topology.kubernetes.io/zone"
RECENT_CLIENTS = 100  # xt_recent.c, ip_list_tot: what one list of the match "recent" remembers
CLUSTER_IPS = "cluster-ips"


def node_entries(settings: ProxySettings) -> Iterator[Entry]:
    """What kube-proxy sets up on all nodes alike, whatever Services there are."""
    if settings.mode == IPVS:
        yield from ruleset_ipvs.node_entries(
            owner=OWNER, strict_arp=settings.strict_arp and not settings.second, family=settings.family
        )
    if settings.mode == IPTABLES:
        yield _kube_forward(settings)
    if settings.mode == IPTABLES and local_addresses(settings).loopback:
        cause = Cause(Stage.PLAN, "the replies to a connection to a node port at 127.0.0.1 come from a wire")
        yield Sysctl(NODES, "route_localnet", 1, OWNER, cause)
    if settings.conntrack_max is not None and not settings.second:
        cause = Cause(Stage.PLAN, "kube-proxy says how many connections a node keeps track of")
        yield Sysctl(NODES, "nf_conntrack_max", settings.conntrack_max, OWNER, cause)
    if settings.mode == NFTABLES:
        yield from _cluster_ips_check(settings)


def _kube_forward(settings: ProxySettings) -> Rule:
    """The first rule of KUBE-FORWARD (unless conntrack.tcpBeLiberal): a packet that conntrack cannot place
    would not be translated, and its receiver would reset the connection (kubernetes issue 74839)."""
    cause = Cause(Stage.FILTER, "KUBE-FORWARD: conntrack state INVALID: DROP")
    match, hook = Match(invalid=True), Hook.FORWARD
    return Rule(NODES, hook, 0, "kube-forward", match, Action.DROP, OWNER, cause, settings.family)


def _cluster_ips_check(settings: ProxySettings) -> Iterator[Rule]:
    """Chain cluster-ips-check, which sees what no Service port took: pings, too."""
    checks = [
        (
            f"known IPv{settings.family}",
            Match(new=True, destination_set=CLUSTER_IPS),
            Action.REJECT,
            "to a ClusterIP, and to no port of it",
        )
    ]
    for network in settings.service_cidrs:
        match = Match(new=True, destination=network)
        checks.append((f"unallocated {network}", match, Action.DROP, "to an unallocated ClusterIP"))
    for number, (name, match, action, why) in enumerate(checks):
        for hook in (Hook.FORWARD, Hook.OUTPUT):
            cause = Cause(Stage.FILTER, f"cluster-ips-check: {why}: {action.value}")
            title = f"cluster-ips-check {name}"
            yield Rule(NODES, hook, number, title, match, action, OWNER, cause, settings.family)


def own_entries(node: Node, settings: ProxySettings) -> Iterator[Entry]:
    """What it sets up on one node."""
    name = node.metadata.name
    host = settings.hosts.get(name)
    if host is None:
        return
    if settings.mode == IPVS and not settings.second:
        yield ruleset_ipvs.dummy_device(host, OWNER)
    yield place_of(node, settings, host)


def place_of(node: Node, settings: ProxySettings, host: HostName) -> Place:
    """What kube-proxy knows of the node that it runs on."""
    name, zone = node.metadata.name, node.metadata.labels.get(ZONE_LABEL)
    names = (node_name(name), zone_name(zone)) if zone else (node_name(name),)
    cause = Cause(Stage.PLAN, f"node {name}" + (f" in zone {zone}" if zone else ""))
    return Place(
        Scope(host),
        OWNER,
        cause,
        names,
        _primary(node, settings.family),
        _pod_traffic(node, settings),
        settings.family,
    )


def _primary(node: Node, family: int) -> IpAddress | None:
    """Its first internal address (kube-proxy's ``--bind-address`` unless it is set)."""
    for address in node.status.addresses:
        if address.type == "InternalIP" and (":" in address.address) is (family == 6):
            return ip_address(address.address)
    return None


def _pod_traffic(node: Node, settings: ProxySettings) -> PodTraffic | None:
    """The detector of local traffic (pkg/proxy/util/iptables/traffic.go)."""
    match settings.detect_local:
        case DetectLocalMode.CLUSTER_CIDR:
            return PodTraffic(settings.cluster_cidr) if settings.cluster_cidr is not None else None
        case DetectLocalMode.NODE_CIDR:
            cidrs = map(ip_network, node.spec.pod_cidrs or filter(None, (node.spec.pod_cidr,)))
            own = next((cidr for cidr in cidrs if cidr.version == settings.family), None)
            return PodTraffic(own) if own is not None else None
        case DetectLocalMode.BRIDGE_INTERFACE:
            return PodTraffic(device=settings.pod_interface)
        case DetectLocalMode.INTERFACE_NAME_PREFIX:
            return PodTraffic(device=f"{settings.pod_interface}+")
        case _:
            return None


def port_entries(port: ServicePort, settings: ProxySettings) -> Iterator[Entry]:
    """The entries for one port: its ClusterIP, and what the outside reaches it by.

    What comes from outside takes the node's address, for the endpoint may be on another node, and its
    reply must come back here; unless it stays on the node (externalTrafficPolicy Local).
    """
    ways = ways_of(port, settings)
    if settings.mode == IPVS:
        yield from ruleset_ipvs.port_entries(port, ways, settings, owner=OWNER)
        return
    if settings.mode == NFTABLES:
        namespace, name = port.service
        cause = Cause(Stage.FILTER, f"{namespace}/{name} cluster IP")
        yield SetMember(NODES, CLUSTER_IPS, port.cluster_ip, OWNER, cause)
    for way in ways:
        yield _server(port, way, settings)


def _server(port: ServicePort, way: Way, settings: ProxySettings) -> VirtualServer:
    lists, iptables = port.lists, settings.mode == IPTABLES
    refused = f"{port.name} has no endpoints: REJECT with ICMP port unreachable"
    if way.internal:
        reach = Reach.OWN if port.internal_local else Reach.ALL
        masquerade = Masquerade.ALWAYS if settings.masquerade_all else Masquerade.OUTSIDERS
    else:
        reach = Reach.OWN_FROM_OUTSIDE if port.external_local else Reach.ALL
        masquerade = Masquerade.NEVER if port.external_local else Masquerade.ALWAYS
    # The chain KUBE-FW-… of iptables mode is there for Services that have endpoints; nftables' always.
    firewall = way.firewall and (lists.any or not iptables)
    return VirtualServer(
        NODES,
        PROTOCOL_NUMBERS[port.protocol],
        way.address,
        way.number,
        f"svc {port.name}",
        backends_of(lists.cluster),
        OWNER,
        Cause(Stage.SERVICE, f"{port.name} {way.what}" if lists.any else refused),
        masquerade=masquerade,
        reach=reach,
        near=tuple(Near(place, backends_of(found)) for place, found in lists.near),
        own=own_backends(port, reach),
        refusal=Action.DROP if lists.any and reach is not Reach.ALL else Action.REJECT,
        # KUBE-EXTERNAL-SERVICES is asked in INPUT and FORWARD; a node port comes there through lo.
        refuses_own=way.internal or not iptables or isinstance(way.address, LocalAddresses),
        sources=port.source_ranges if firewall else None,
        balancers=port.load_balancer_ips if firewall else (),
        affinity=Affinity(port.affinity, RECENT_CLIENTS if iptables else None) if port.affinity else None,
    )


def own_backends(port: ServicePort, reach: Reach) -> tuple[Near, ...]:
    """What each node has itself, for a server that asks for it."""
    if reach is Reach.ALL:
        return ()
    return tuple(Near(place, backends_of(found)) for place, found in port.lists.local)


def backends_of(endpoints: tuple[ServiceEndpoint, ...]) -> tuple[Backend, ...]:
    return tuple(endpoint.backend for endpoint in endpoints)
