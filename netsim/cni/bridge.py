"""How a Pod is plugged into its node: the CNI bridge plugin, as flannel and kube-router configure it.

A Pod network module (``overlay``, ``bgp``) calls these for its nodes and Pods. The node has a bridge
``cni0`` with the first address of each of its podCIDRs; each Pod has a veth pair with one end, ``eth0``, in
the Pod and the other on the bridge, in hairpin mode, so that a Pod can reach itself through a Service.
Source: containernetworking/plugins plugins/main/bridge/bridge.go; flannel-io/flannel
Documentation/kube-flannel.yml (``hairpinMode`` and ``isDefaultGateway`` are true); flannel-io/cni-plugin
flannel_linux.go (which adds the route to the whole Pod network).

Of each family that the Pod has an address of, it has a default route and a route to the whole Pod network
(getDelegateIPAM in flannel_linux.go).

Simplification: ``cni0`` stands from the moment the node has a podCIDR. The plugin makes it for the
node's first Pod, and it then stays too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_interface

from netsim.base.address import IpNetwork
from netsim.base.cause import Cause, Stage
from netsim.cni.names import UPLINK, host_veth, interface_mac
from netsim.cni.podnetwork import PodAddress, PodNode
from netsim.plan.entries import Address, Entry, Host, Interface, InterfaceKind, Link, Port, Role, Route, Scope

CNI0 = "cni0"
VETH_LATENCY = 5e-6  # one-way seconds: a softirq and a copy of the header inside one machine
DEFAULT_ROUTES: Mapping[int, IpNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
BOOT = "boot"  # RTPROT_BOOT, what netlink writes when a program names no protocol; ``ip route`` hides it


def bridge_entries(node: PodNode, mtu: int, owner: str) -> Iterator[Entry]:
    """The node's bridge and its addresses; the connected routes to the podCIDRs follow from them."""
    cidrs = ", ".join(map(str, node.pod_cidrs))
    cause = Cause(Stage.PLAN, f"bridge of {node.host}'s Pods, podCIDR {cidrs}")
    mac = interface_mac(node.host, CNI0)
    yield Interface(node.host, CNI0, InterfaceKind.BRIDGE, mac, owner, cause, mtu=mtu)
    for cidr in node.pod_cidrs:
        address = ip_interface((cidr.network_address + 1, cidr.prefixlen))
        yield Address(node.host, CNI0, address, owner, cause)


def pod_bridge_entries(
    node: PodNode, pod: PodAddress, *, mtu: int, owner: str, pod_subnets: Sequence[IpNetwork] = ()
) -> Iterator[Entry]:
    """The Pod's host, its veth pair, addresses and routes; ``pod_subnets`` asks for flannel's routes."""
    title = f"pod {pod.host}"
    cause = Cause(Stage.PLAN, f"{title} on {node.host}")
    veth = host_veth(pod.host)
    yield Host(pod.host, Role.POD, title, owner, cause)
    mac = interface_mac(pod.host, UPLINK)
    yield Interface(pod.host, UPLINK, InterfaceKind.VETH, mac, owner, cause, mtu=mtu)
    mac = interface_mac(node.host, veth)
    yield Interface(
        node.host, veth, InterfaceKind.VETH, mac, owner, cause, mtu=mtu, master=CNI0, hairpin=True
    )
    yield Link(Port(pod.host, UPLINK), Port(node.host, veth), owner, cause, VETH_LATENCY)
    cidrs = {cidr.version: cidr for cidr in node.pod_cidrs}
    for own in pod.addresses:
        cidr = cidrs.get(own.version)
        if cidr is None:
            continue
        yield Address(pod.host, UPLINK, ip_interface((own, cidr.prefixlen)), owner, cause)
        gateway, why = cidr.network_address + 1, Cause(Stage.ROUTE, f"{CNI0} of {node.host}")
        subnets = (subnet for subnet in pod_subnets if subnet.version == own.version)
        for destination in (DEFAULT_ROUTES[own.version], *subnets):
            yield Route(Scope(pod.host), destination, UPLINK, owner, why, via=gateway, protocol=BOOT)
