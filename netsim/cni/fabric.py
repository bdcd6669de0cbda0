"""The wires under the nodes: switches, the router between them, node hosts, and the outside.

``cluster`` puts these entries into the plan first, once: the Topology does not change while a cluster
runs. Node objects take their addresses from ``node_addresses``. Pod networks are not built here, and no
address is translated here: an external host knows the way back to the underlay subnets and to nothing
else, so a Pod that goes outside without masquerade gets no answer, as on a real site.

::

    node1 ─┐                                     ┌─ example.com
    node2 ─┤ lan ─(.1)─ router ─(wan)─ internet ─┤
     …    ─┘                                     └─ client

A subnet is a switch host with one bridge and a port per attached host; the router has its first address.
The outside is one more switch. External hosts may have any address: the router has an on-link /32 route
to each, and each has its default route on-link through the router, as on a provider's access network
(proxy ARP, RFC 1027, is thus not needed). An external host whose address lies in a subnet is plugged
into that subnet's switch instead.

The addresses of a load balancer are on the wire of one subnet, where a node answers ARP for them. Where
they are not addresses of that subnet, the router has an on-link route to the pool there, as to a second
network on the same wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from itertools import chain
from typing import NamedTuple, TypeVar

from netsim.base.address import IpAddress, IpNetwork
from netsim.base.cause import Cause, Stage
from netsim.base.errors import PlanError
from netsim.cni.names import BRIDGE, UPLINK, interface_mac, node_host, switch_port
from netsim.objects.topology import ExternalHost, NodeSpec, Subnet, Topology
from netsim.plan.delta import difference
from netsim.plan.entries import (
    NODES,
    Address,
    Entry,
    Host,
    HostName,
    Interface,
    InterfaceKind,
    Key,
    Link,
    Port,
    Role,
    Route,
    Scope,
)

OWNER = "fabric"
ROUTER = HostName("router")
INTERNET = HostName("internet")
WAN = "wan"

# One-way seconds. A switched data-centre link is tens of microseconds (store-and-forward of 1,500 bytes
# at 1 Gbit/s alone is 12 µs); the way to a host on the internet is milliseconds.
SWITCH_LATENCY = 50e-6
OUTSIDE_LATENCY = 5e-3
OUTSIDE_MTU = 1500

# .2 to .9 stay free for what sites put there; small subnets use them last. ::10 goes with .10, ::11 with .11.
FIRST_NODE, FIRST_NODE6 = 10, 0x10
DEFAULT_ROUTE, DEFAULT_ROUTE6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")
# Where the router's outside addresses come from: RFC 6598 (shared with a provider), RFC 2544, RFC 5737; for
# IPv6 RFC 9637 and RFC 3849, which are for documentation.
WAN_CANDIDATES = tuple(IPv4Address(text) for text in ("100.64.0.1", "198.18.0.1", "192.0.2.1"))
WAN_CANDIDATES6 = tuple(IPv6Address(text) for text in ("3fff::1", "2001:db8:ffff::1"))

A = TypeVar("A", IPv4Address, IPv6Address)


class Underlay(NamedTuple):
    """What a Pod network needs to know of a node's uplink: its address, its MTU, and its subnet's router.

    ``address6`` and ``gateway6`` are the same of IPv6, None where the cluster has one family."""

    address: IPv4Address
    mtu: int
    gateway: IPv4Address
    address6: IPv6Address | None = None
    gateway6: IPv6Address | None = None


def node_underlays(topology: Topology) -> Mapping[str, Underlay]:
    """Each node's uplink, by the node's name; raises PlanError as ``node_addresses`` does."""
    subnets, addresses6 = node_subnets(topology), node_addresses6(topology)
    found: dict[str, Underlay] = {}
    for name, address in node_addresses(topology).items():
        subnet = subnets[name]
        found[name] = Underlay(address, subnet.mtu, subnet.gateway, addresses6.get(name), subnet.gateway6)
    return found


def node_addresses(topology: Topology) -> Mapping[str, IPv4Address]:
    """Each node's underlay address: as the Topology has it, or the next free one from .10 upwards.

    Raises PlanError when a subnet is full or unknown, or two hosts want one address.
    """
    taken = _claims(topology)
    pool = topology.load_balancer.pool if topology.load_balancer is not None else ()
    free = {
        subnet.name: (
            address
            for address in _host_addresses(subnet.cidr)
            if address not in taken and address not in pool
        )
        for subnet in topology.subnets
    }
    found: dict[str, IPv4Address] = {}
    for node in topology.nodes:
        subnet = _subnet(topology, node)
        found[node.name] = node.address or _next_free(free[subnet.name], subnet.name, subnet.cidr, node)
    return found


def node_addresses6(topology: Topology) -> Mapping[str, IPv6Address]:
    """The same for IPv6, of the nodes whose subnet has it."""
    taken = _claims(topology)
    networks = {subnet.name: subnet.cidr6 for subnet in topology.subnets if subnet.cidr6 is not None}
    free = {
        name: (address for address in _host_addresses6(cidr) if address not in taken)
        for name, cidr in networks.items()
    }
    found: dict[str, IPv6Address] = {}
    for node in topology.nodes:
        cidr = networks.get(_subnet(topology, node).name)
        if cidr is not None:
            found[node.name] = node.address6 or _next_free(free[node.subnet], node.subnet, cidr, node)
    return found


def _next_free(free: Iterator[A], name: str, cidr: IpNetwork, node: NodeSpec) -> A:
    address = next(free, None)
    if address is None:
        raise PlanError(f"subnet {name} ({cidr}) has no free address for node {node.name}")
    return address


def node_subnets(topology: Topology) -> Mapping[str, Subnet]:
    """The subnet that each node is plugged into."""
    return {node.name: _subnet(topology, node) for node in topology.nodes}


def pool_subnet(topology: Topology, pool: IPv4Network) -> Subnet:
    """The subnet on whose wire the addresses of a load balancer's pool are: the one that they lie in, or
    else the first."""
    return next((subnet for subnet in topology.subnets if pool.subnet_of(subnet.cidr)), topology.subnets[0])


def upstream_resolver(topology: Topology) -> IPv4Address:
    """Where the site's DNS resolver answers: the router, at its address in the first subnet."""
    return topology.subnets[0].gateway


def fabric_entries(topology: Topology) -> tuple[Entry, ...]:
    """The whole underlay in build order; raises PlanError for a Topology that contradicts itself."""
    site = _Site()
    site.host(ROUTER, Role.ROUTER, "router", "joins the subnets and the outside", forwarding=True)
    for number, subnet in enumerate(topology.subnets):
        _lay_subnet(site, subnet, f"eth{number}")
    addresses, addresses6 = node_addresses(topology), node_addresses6(topology)
    for node in topology.nodes:
        own = (addresses[node.name], addresses6.get(node.name))
        _lay_node(site, _subnet(topology, node), node, own)
    _lay_pool(site, topology)
    _lay_outside(site, topology)
    return difference({}, site.entries).put


_Own = tuple[IPv4Address, IPv6Address | None]


def _lay_subnet(site: _Site, subnet: Subnet, interface: str) -> None:
    switch = HostName(subnet.name)
    both = f"{subnet.cidr}, {subnet.cidr6}" if subnet.cidr6 is not None else str(subnet.cidr)
    site.switch(switch, f"subnet {subnet.name} ({both})", subnet.mtu)
    site.plug(switch, ROUTER, interface, subnet.mtu, SWITCH_LATENCY)
    site.address(ROUTER, interface, subnet.gateway, subnet.cidr.prefixlen)
    if subnet.cidr6 is not None and subnet.gateway6 is not None:
        site.address(ROUTER, interface, subnet.gateway6, subnet.cidr6.prefixlen)


def _lay_node(site: _Site, subnet: Subnet, node: NodeSpec, own: _Own) -> None:
    host = node_host(node.name)
    site.host(
        host, Role.NODE, f"node {node.name}", f"node in subnet {subnet.name}", forwarding=True, node=True
    )
    _lay_in_subnet(site, subnet, host, own)


def _lay_in_subnet(site: _Site, subnet: Subnet, host: HostName, own: _Own) -> None:
    """Plug a host into a subnet, with an address and a default route of each family that it has there."""
    site.plug(HostName(subnet.name), host, UPLINK, subnet.mtu, SWITCH_LATENCY)
    address, address6 = own
    reason = f"gateway of subnet {subnet.name}"
    site.address(host, UPLINK, address, subnet.cidr.prefixlen)
    site.route(host, DEFAULT_ROUTE, UPLINK, reason, via=subnet.gateway)
    if address6 is not None and subnet.cidr6 is not None:
        site.address(host, UPLINK, address6, subnet.cidr6.prefixlen)
        site.route(host, DEFAULT_ROUTE6, UPLINK, reason, via=subnet.gateway6)


def _lay_pool(site: _Site, topology: Topology) -> None:
    """The router's way to a load balancer's pool that lies in no subnet: on the wire of one of them."""
    if topology.load_balancer is None:
        return
    pool = topology.load_balancer.pool
    subnet = pool_subnet(topology, pool)
    if not pool.subnet_of(subnet.cidr):
        reason = f"load balancer addresses are on the wire of subnet {subnet.name}"
        site.route(ROUTER, pool, f"eth{topology.subnets.index(subnet)}", reason)


def _lay_outside(site: _Site, topology: Topology) -> None:
    site.switch(INTERNET, "the outside", OUTSIDE_MTU)
    site.plug(INTERNET, ROUTER, WAN, OUTSIDE_MTU, OUTSIDE_LATENCY)
    ways: dict[int, IpAddress] = {4: _wan_address(topology)}
    if any(host.address6 is not None for host in topology.external_hosts):
        ways[6] = _wan_address6(topology)
    for wan in ways.values():
        site.address(ROUTER, WAN, wan, wan.max_prefixlen)
    for external in topology.external_hosts:
        host = HostName(external.name)
        site.host(host, Role.EXTERNAL, f"external {external.name}", "host outside the cluster")
        subnet = _home(topology, external)
        if subnet is not None:
            _lay_in_subnet(site, subnet, host, (external.address, external.address6))
            continue
        site.plug(INTERNET, host, UPLINK, OUTSIDE_MTU, SWITCH_LATENCY)
        own: list[IpAddress] = [external.address]
        own += [external.address6] if external.address6 is not None else []
        for address in own:
            way, whole = ways[address.version], DEFAULT_ROUTE if address.version == 4 else DEFAULT_ROUTE6
            site.address(host, UPLINK, address, address.max_prefixlen)
            site.route(host, whole, UPLINK, "the provider's router", via=way, onlink=True)
            site.route(ROUTER, ip_network(address), WAN, f"external host {external.name}")


def _subnet(topology: Topology, node: NodeSpec) -> Subnet:
    for subnet in topology.subnets:
        if subnet.name == node.subnet:
            return subnet
    raise PlanError(f"node {node.name} is in subnet {node.subnet}, which the Topology does not have")


def _home(topology: Topology, external: ExternalHost) -> Subnet | None:
    return next((subnet for subnet in topology.subnets if external.address in subnet.cidr), None)


def _host_addresses(cidr: IPv4Network) -> Iterator[IPv4Address]:
    """Addresses for nodes, in the order in which they are given."""
    first, last = int(cidr.network_address) + 2, int(cidr.broadcast_address) - 1
    usual = int(cidr.network_address) + FIRST_NODE
    return map(IPv4Address, chain(range(usual, last + 1), range(first, min(usual, last + 1))))


def _host_addresses6(cidr: IPv6Network) -> Iterator[IPv6Address]:
    """The same of an IPv6 network."""
    first, last = int(cidr.network_address) + 2, int(cidr.broadcast_address)
    usual = int(cidr.network_address) + FIRST_NODE6
    return map(IPv6Address, chain(range(usual, last + 1), range(first, min(usual, last + 1))))


def _claims(topology: Topology) -> dict[IpAddress, str]:
    """Who has which address by declaration; raises PlanError when two want the same one."""
    taken: dict[IpAddress, str] = {}
    wanted: list[tuple[IpAddress | None, str]] = [
        (subnet.gateway, f"the gateway of subnet {subnet.name}") for subnet in topology.subnets
    ]
    wanted += [(node.address, f"node {node.name}") for node in topology.nodes if node.address is not None]
    wanted += [(host.address, f"external host {host.name}") for host in topology.external_hosts]
    wanted += [(subnet.gateway6, f"the gateway of subnet {subnet.name}") for subnet in topology.subnets]
    wanted += [(node.address6, f"node {node.name}") for node in topology.nodes]
    wanted += [(host.address6, f"external host {host.name}") for host in topology.external_hosts]
    for address, who in wanted:
        if address is None:
            continue
        if address in taken:
            raise PlanError(f"{address} is wanted by {taken[address]} and by {who}; change one of them")
        taken[address] = who
    for node in topology.nodes:
        subnet = _subnet(topology, node)
        if node.address is not None and node.address not in subnet.cidr:
            raise PlanError(
                f"node {node.name} has {node.address}, outside subnet {subnet.name} ({subnet.cidr})"
            )
    return taken


def _wan_address(topology: Topology) -> IPv4Address:
    networks = [subnet.cidr for subnet in topology.subnets]
    networks += [topology.networking.pod_subnet, topology.networking.service_subnet]
    networks += [IPv4Network(host.address) for host in topology.external_hosts]
    if topology.load_balancer is not None:
        networks.append(topology.load_balancer.pool)
    return _unused(WAN_CANDIDATES, networks)


def _wan_address6(topology: Topology) -> IPv6Address:
    networking = topology.networking
    networks = [networking.pod_subnet6, networking.service_subnet6]
    networks += [subnet.cidr6 for subnet in topology.subnets]
    networks += [IPv6Network(host.address6) for host in topology.external_hosts if host.address6 is not None]
    return _unused(WAN_CANDIDATES6, [network for network in networks if network is not None])


def _unused(candidates: Sequence[A], networks: Iterable[IpNetwork]) -> A:
    networks = tuple(networks)
    for candidate in candidates:
        if not any(candidate in network for network in networks):
            return candidate
    listed = ", ".join(str(candidate) for candidate in candidates)
    raise PlanError(f"the Topology uses all of {listed}; leave one to the router's outside interface")


class _Site:
    """Entries so far; refuses two hosts of one name."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}

    def host(
        self,
        name: HostName,
        role: Role,
        title: str,
        reason: str,
        *,
        forwarding: bool = False,
        node: bool = False,
    ) -> None:
        entry = Host(
            name,
            role,
            title,
            OWNER,
            Cause(Stage.PLAN, f"{title}: {reason}"),
            groups=(NODES,) if node else (),
            forwarding=forwarding,
            bridge_netfilter=node,
        )
        standing = self.entries.get(entry.key)
        if isinstance(standing, Host):
            raise PlanError(f"two hosts are called {name}: {standing.title} and {title}; rename one of them")
        self.entries[entry.key] = entry

    def switch(self, name: HostName, what: str, mtu: int) -> None:
        """A host whose bridge joins all that is plugged into it."""
        self.host(name, Role.SWITCH, f"switch {name}", what)
        self._interface(name, BRIDGE, InterfaceKind.BRIDGE, mtu, f"joins the ports of switch {name}", None)

    def plug(self, switch: HostName, host: HostName, interface: str, mtu: int, latency: float) -> None:
        """Wire ``host``'s new interface to a new port of the switch."""
        port, reason = switch_port(host), f"{host} is plugged into switch {switch}"
        self._interface(host, interface, InterfaceKind.VETH, mtu, reason, None)
        self._interface(switch, port, InterfaceKind.VETH, mtu, reason, BRIDGE)
        wire = Link(Port(host, interface), Port(switch, port), OWNER, Cause(Stage.PLAN, reason), latency)
        self.entries[wire.key] = wire

    def address(self, host: HostName, interface: str, address: IpAddress, prefix_length: int) -> None:
        cause = Cause(Stage.PLAN, f"address of {host} by the Topology")
        entry = Address(host, interface, ip_interface((address, prefix_length)), OWNER, cause)
        self.entries[entry.key] = entry

    def route(
        self,
        host: HostName,
        destination: IpNetwork,
        device: str,
        reason: str,
        *,
        via: IpAddress | None = None,
        onlink: bool = False,
    ) -> None:
        cause = Cause(Stage.ROUTE, reason)
        entry = Route(Scope(host), destination, device, OWNER, cause, via=via, onlink=onlink)
        self.entries[entry.key] = entry

    def _interface(
        self, host: HostName, name: str, kind: InterfaceKind, mtu: int, reason: str, master: str | None
    ) -> None:
        mac, cause = interface_mac(host, name), Cause(Stage.PLAN, reason)
        entry = Interface(host, name, kind, mac, OWNER, cause, mtu=mtu, master=master)
        self.entries[entry.key] = entry
