"""A node's network tables, in the formats of the tools that print them on a real node.

``netsim show``, the ``table`` check and ``Cluster.table`` ask ``node_tables``. Routes, neighbours and
addresses are what the node's own ``ip`` prints; the rest has no tool in the mini-shell and is printed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from netsim.base.address import IpAddress, render_mac
from netsim.base.errors import UsageError
from netsim.cni.fabric import ROUTER
from netsim.net.conntrack import Statistics, render_conntrack, render_statistics
from netsim.objects.core import Node
from netsim.objects.node_tables import BGP, MODES, NODE_TABLES, PROXY, PROXY_COMMANDS
from netsim.plan.entries import HostName
from netsim.programs.host import Host
from netsim.programs.shell import run_command
from netsim.proxy.render_iptables import render_counters, render_iptables
from netsim.proxy.ruleset import place_of
from netsim.proxy.ruleset_ipvs import DUMMY_DEVICE
from netsim.proxy.settings import IPVS, NFTABLES

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster
    from netsim.net.bgp.speaker import Speaker
    from netsim.proxy.proxier import Proxier
    from netsim.proxy.render_ipvs import Node as ProxiedNode
    from netsim.proxy.settings import ProxySettings


def routes(cluster: Cluster, host: HostName) -> str:
    """``ip route``"""
    return _printed(cluster, host, "route")


def routes6(cluster: Cluster, host: HostName) -> str:
    """``ip -6 route``"""
    return _printed(cluster, host, "-6", "route")


def neighbours(cluster: Cluster, host: HostName) -> str:
    """``ip neigh``"""
    return _printed(cluster, host, "neigh")


def addresses(cluster: Cluster, host: HostName) -> str:
    """``ip addr``"""
    return _printed(cluster, host, "addr")


def _printed(cluster: Cluster, host: HostName, *what: str) -> str:
    machine: Host = cluster.plane.host(host)
    return cluster.pump(run_command(machine, ["ip", *what])).stdout


def fdb(cluster: Cluster, host: HostName) -> str:
    """``bridge fdb``: what bridges have learnt, then the VTEPs' static entries."""
    learnt = [
        f"{render_mac(mac)} dev {port} master {bridge}"
        for mac, port, bridge in cluster.plane.learnt_entries(host)
    ]
    static = [
        f"{render_mac(mac)} dev {device} dst {destination} self permanent"
        for mac, device, destination in cluster.plane.forwarding_entries(host)
    ]
    return "".join(f"{line}\n" for line in (*learnt, *static))


def conntrack(cluster: Cluster, host: HostName) -> str:
    """``conntrack -L``"""
    return render_conntrack(cluster.plane.flows(host), cluster.now)


def conntrack_stats(cluster: Cluster, host: HostName) -> str:
    """``conntrack -S``"""
    tracked = cluster.plane.tracked(host)
    return render_statistics(tracked.statistics if tracked is not None else Statistics())


def iptables(cluster: Cluster, host: HostName) -> str:
    """``iptables-save``, as kube-proxy leaves it; nothing in nftables mode."""
    return _iptables(cluster, host, cluster.proxier)


def ip6tables(cluster: Cluster, host: HostName) -> str:
    """``ip6tables-save``; nothing in nftables mode, and where the cluster has IPv4 only."""
    return "".join(_iptables(cluster, host, proxier) for proxier in cluster.proxiers[1:])


def _iptables(cluster: Cluster, host: HostName, proxier: Proxier) -> str:
    ports, settings = proxier.service_ports(), proxier.settings
    if settings.mode == NFTABLES:
        return ""
    node = _proxied(cluster, host, settings)
    if settings.mode == IPVS:
        from netsim.proxy.render_ipvs import render_ipvs_iptables

        return render_ipvs_iptables(ports, settings, node)
    place = place_of(cluster.store.get(Node, node.name), settings, host)
    return render_iptables(ports, settings, place, node.addresses)


def iptables_counters(cluster: Cluster, host: HostName) -> str:
    """``iptables-save -c``: how often each rule was matched; nothing in nftables mode, whose rules have no
    counters."""
    return _iptables_counters(cluster, host, cluster.proxier)


def ip6tables_counters(cluster: Cluster, host: HostName) -> str:
    """``ip6tables-save -c``; nothing in nftables mode, and where the cluster has IPv4 only."""
    return "".join(_iptables_counters(cluster, host, proxier) for proxier in cluster.proxiers[1:])


def _iptables_counters(cluster: Cluster, host: HostName, proxier: Proxier) -> str:
    ports, settings = proxier.service_ports(), proxier.settings
    if settings.mode == NFTABLES:
        return ""
    node, seen = _proxied(cluster, host, settings), cluster.plane.rule_counts(host, settings.family)
    if settings.mode == IPVS:
        from netsim.proxy.render_ipvs import render_ipvs_counters

        views = cluster.plane.host(host).interfaces()
        bridges = {view.name for view in views if view.kind == "bridge"}
        return render_ipvs_counters(ports, settings, node, seen, bridges)
    place = place_of(cluster.store.get(Node, node.name), settings, host)
    return render_counters(ports, settings, place, node.addresses, seen)


def nftables(cluster: Cluster, host: HostName) -> str:
    """``nft list ruleset``: what kube-proxy sets up in nftables mode, a table for each family; nothing in
    another mode."""
    if cluster.proxier.settings.mode != NFTABLES:
        return ""
    from netsim.proxy.render_nftables import render_nftables

    tables: list[str] = []
    for proxier in cluster.proxiers:
        ports, settings = proxier.service_ports(), proxier.settings
        node = _proxied(cluster, host, settings)
        place = place_of(cluster.store.get(Node, node.name), settings, host)
        tables.append(render_nftables(ports, settings, place, node.addresses))
    return "".join(tables)


def ipvs(cluster: Cluster, host: HostName) -> str:
    """``ipvsadm -Ln``: the node's virtual servers, with the connections through them."""
    from netsim.net.ipvs import render_ipvsadm

    return render_ipvsadm(cluster.plane.virtual_services(host))


def ipvs_stats(cluster: Cluster, host: HostName) -> str:
    """``ipvsadm -Ln --stats``: what went through the node's virtual servers, and to whom."""
    from netsim.net.ipvs import render_ipvsadm_stats

    return render_ipvsadm_stats(cluster.plane.virtual_services(host))


def ipvs_connections(cluster: Cluster, host: HostName) -> str:
    """``ipvsadm -Lnc``: the node's connections to virtual servers."""
    from netsim.net.ipvs import render_ipvsadm_connections

    return render_ipvsadm_connections(cluster.plane.virtual_connections(host))


def ipset(cluster: Cluster, host: HostName) -> str:
    """``ipset list``: what the rules of IPVS mode ask, of both families; nothing in another mode."""
    if cluster.proxier.settings.mode != IPVS:
        return ""
    from netsim.proxy.render_ipvs import render_ipset

    return "\n".join(
        render_ipset(proxier.service_ports(), proxier.settings, _proxied(cluster, host, proxier.settings))
        for proxier in cluster.proxiers
    )


def proxy(cluster: Cluster, host: HostName) -> str:
    """Where kube-proxy's mode keeps its Services: in iptables, nftables or IPVS."""
    tables = {IPVS: ipvs, NFTABLES: nftables}
    return tables.get(cluster.proxier.settings.mode, iptables)(cluster, host)


def _proxied(cluster: Cluster, host: HostName, settings: ProxySettings) -> ProxiedNode:
    """The node of a host, with its addresses of the proxier's family but for the loopback and the Services'
    own."""
    from netsim.proxy.render_ipvs import Node as ProxiedNode

    (name,) = (name for name, at in settings.hosts.items() if at == host)
    views = cluster.plane.host(host).interfaces()
    texts = [text for view in views if view.name not in ("lo", DUMMY_DEVICE) for text in view.addresses]
    place = place_of(cluster.store.get(Node, name), settings, host)
    found = (ip_interface(text).ip for text in texts)
    addresses = tuple(address for address in found if address.version == settings.family)
    return ProxiedNode(name, addresses, place.address, place.pods)


def bgp(cluster: Cluster, host: HostName) -> str:
    """``birdc show protocols`` and ``birdc show route``, of the daemon for IPv4 and, in a dual-stack cluster,
    of that for IPv6; empty where nobody speaks BGP."""
    controls = cluster.speakers.controls if cluster.speakers is not None else {}
    speakers = [control.speaker for own, control in controls.items() if own.host == host]
    return "\n".join(_birdc(cluster, host, speaker) for speaker in speakers if speaker is not None)


def _birdc(cluster: Cluster, host: HostName, speaker: Speaker) -> str:
    from netsim.net.bgp.render import Way, render_protocols, render_routes
    from netsim.programs.bgp import way_to

    machine = cluster.plane.host(host)

    def way(next_hop: IpAddress) -> Way | None:
        found = way_to(machine, next_hop)
        return Way(*found) if found is not None else None

    return f"{render_protocols(speaker)}\n{render_routes(speaker, way)}"


NETWORK_TABLES = {
    "routes": routes,
    "routes6": routes6,
    "neighbours": neighbours,
    "addresses": addresses,
    "fdb": fdb,
    "conntrack": conntrack,
    "conntrack-stats": conntrack_stats,
    "proxy": proxy,
    "iptables": iptables,
    "ip6tables": ip6tables,
    "iptables-counters": iptables_counters,
    "ip6tables-counters": ip6tables_counters,
    "nftables": nftables,
    "ipvs": ipvs,
    "ipvs-stats": ipvs_stats,
    "ipvs-connections": ipvs_connections,
    "ipset": ipset,
    "bgp": bgp,
}


def node_tables(cluster: Cluster, table: str, node: str | None) -> tuple[str, dict[str, str]]:
    """The command that prints a table on a real node, and its text on one (which may be the router), or on
    each, by the node's name.

    Raises UsageError for a node that is not there, and for a table that none has here.
    """
    if table == BGP and cluster.speakers is None:
        hint = "give it one with --network bgp, or with podNetwork: bgp in the Topology"
        raise UsageError("nobody speaks BGP: the Pod network is an overlay", hint=hint)
    if node == ROUTER and (table == PROXY or table in MODES):
        raise UsageError(f"the router has no {table}", hint="kube-proxy runs on the nodes")
    command = NODE_TABLES[table]
    if table == PROXY:
        command = PROXY_COMMANDS.get(cluster.topology.networking.kube_proxy_mode, command)
    if node is not None:
        hosts = [cluster.host(ROUTER) if node == ROUTER else cluster.node(node)]
    else:
        hosts = [cluster.node(spec.name) for spec in cluster.topology.nodes]
        if table == BGP and cluster.speakers is not None and cluster.speakers.speaks(ROUTER):
            hosts.append(cluster.host(ROUTER))
    return command, {handle.title: NETWORK_TABLES[table](cluster, handle.plan_name) for handle in hosts}


def joined(command: str, texts: Mapping[str, str]) -> str:
    """One text as it is; several, each under its node and the command that would print it."""
    if len(texts) == 1:
        return "".join(texts.values())
    return "\n".join(f"# {where}: {command}\n{text}" for where, text in texts.items())
