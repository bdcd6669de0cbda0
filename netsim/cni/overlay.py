"""The overlay Pod network: flannel's VXLAN backend.

``cluster`` makes one ``Overlay`` from ``overlay_settings(topology)`` and feeds it Node and Pod events. Each
node has a VTEP ``flannel.<VNI>`` with the first address of its podCIDR, and every node knows every other
one by three entries: the route to its podCIDR through that address, on-link; that address's MAC, for good;
and the underlay address behind that MAC. Nothing is learnt and nobody floods. Source: flannel-io/flannel
pkg/backend/vxlan/vxlan.go and vxlan_network.go (handleSubnetEvents), device.go.

Those three stand on the group of all nodes, once for each node, where flannel leaves out the node's own. On
the node itself the connected route of ``cni0`` wins over the shared one for the same prefix, so that the
other two are never used there.

A dual-stack cluster has a second VTEP, ``flannel-v6.<VNI>``, for IPv6 between Pods (newVXLANDevice with
EnableIPv6). Its envelopes are IPv6 packets between the nodes' IPv6 addresses. flannel asks for the same MTU
as for the first one, which the kernel lowers to what fits into an IPv6 envelope
(drivers/net/vxlan/vxlan_core.c, vxlan_config_apply), so that a Pod's largest
IPv6 packet is answered with Packet Too Big.

The rules of FLANNEL-FWD are left out: they accept what the FORWARD policy here accepts anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_interface
from typing import NamedTuple

from netsim.base.address import IpAddress, IpNetwork
from netsim.base.cause import Cause, Stage
from netsim.cni.bridge import BOOT, bridge_entries, pod_bridge_entries
from netsim.cni.fabric import Underlay, node_underlays
from netsim.cni.masquerade import cluster_masquerade_entries, node_masquerade_entries
from netsim.cni.names import UPLINK, interface_mac
from netsim.cni.podnetwork import PodAddress, PodNetwork, PodNode
from netsim.objects.dual_stack_rules import ENCAPSULATION6
from netsim.objects.topology import Topology
from netsim.plan.entries import (
    NODES,
    Address,
    Entry,
    Fdb,
    HostName,
    Interface,
    InterfaceKind,
    Neighbour,
    Route,
    Vxlan,
)

OWNER = "cni"
ENCAPSULATION = ENCAPSULATION6 - 20  # the outer header is IPv4's


class OverlaySettings(NamedTuple):
    """``underlay`` is by node name; a Node without one is not in the fabric and is left out. ``pod_subnets``
    has one of each family."""

    pod_subnets: tuple[IpNetwork, ...]
    vni: int
    port: int
    nat_outgoing: bool
    underlay: Mapping[str, Underlay]


def overlay_settings(topology: Topology) -> OverlaySettings:
    """The settings that a Topology asks for; raises PlanError as ``node_addresses`` does."""
    networking = topology.networking
    return OverlaySettings(
        tuple(subnet for subnet, _ in networking.pod_subnets),
        networking.overlay.vni,
        networking.overlay.port,
        networking.nat_outgoing,
        node_underlays(topology),
    )


class Overlay(PodNetwork):
    """A Pod network whose packets cross the underlay in VXLAN; see the module's docstring."""

    def __init__(self, settings: OverlaySettings) -> None:
        super().__init__(settings.underlay)
        self._settings = settings

    def cluster_entries(self) -> Iterator[Entry]:
        if self._settings.nat_outgoing:
            for subnet in self._settings.pod_subnets:
                yield from cluster_masquerade_entries(subnet, OWNER)

    def node_entries(self, node: PodNode) -> Iterator[Entry]:
        for vtep in self._vteps(node):
            yield from self._vtep(node, vtep)
            yield from self._way_to(node, vtep)
        yield from bridge_entries(node, self._pod_mtu(node.host), OWNER)
        if self._settings.nat_outgoing:
            for subnet in self._settings.pod_subnets:
                yield from node_masquerade_entries(node, subnet, OWNER)

    def pod_entries(self, node: PodNode, pod: PodAddress) -> Iterator[Entry]:
        subnets, mtu = self._settings.pod_subnets, self._pod_mtu(node.host)
        return pod_bridge_entries(node, pod, pod_subnets=subnets, mtu=mtu, owner=OWNER)

    def _pod_mtu(self, node: HostName) -> int:
        return self._settings.underlay[node].mtu - ENCAPSULATION

    def _vteps(self, node: PodNode) -> Iterator[_Vtep]:
        """The node's VTEP for each family of which it has a podCIDR, and an address on the underlay."""
        vni, on = self._settings.vni, self._settings.underlay[node.host]
        yield _Vtep(f"flannel.{vni}", node.pod_cidr, on.address, on.mtu - ENCAPSULATION)
        if node.pod_cidr6 is not None and on.address6 is not None:
            yield _Vtep(f"flannel-v6.{vni}", node.pod_cidr6, on.address6, on.mtu - ENCAPSULATION6)

    def _vtep(self, node: PodNode, vtep: _Vtep) -> Iterator[Entry]:
        settings = self._settings
        cause = Cause(Stage.PLAN, f"VTEP of {node.host}, VNI {settings.vni} on UDP port {settings.port}")
        yield Interface(
            node.host,
            vtep.device,
            InterfaceKind.VXLAN,
            interface_mac(node.host, vtep.device),
            OWNER,
            cause,
            mtu=vtep.mtu,
            vxlan=Vxlan(settings.vni, settings.port, vtep.underlay, UPLINK),
        )
        # A /32 or /128: the address is a source and a next hop, and makes no connected route.
        address = ip_interface(vtep.pod_cidr.network_address)
        yield Address(node.host, vtep.device, address, OWNER, cause)

    def _way_to(self, node: PodNode, vtep: _Vtep) -> Iterator[Entry]:
        own, mac = vtep.pod_cidr.network_address, interface_mac(node.host, vtep.device)
        route = Cause(Stage.ROUTE, f"Pods of {node.host} are behind its VTEP {own}")
        yield Route(NODES, vtep.pod_cidr, vtep.device, OWNER, route, via=own, onlink=True, protocol=BOOT)
        neighbour = Cause(Stage.NEIGHBOUR, f"VTEP of {node.host}, known from its lease")
        yield Neighbour(NODES, vtep.device, own, mac, OWNER, neighbour)
        forwarding = Cause(Stage.ENCAP, f"VTEP of {node.host} is at {vtep.underlay}")
        yield Fdb(NODES, vtep.device, mac, vtep.underlay, OWNER, forwarding)


class _Vtep(NamedTuple):
    """A node's end of the tunnels for one family of Pod addresses."""

    device: str
    pod_cidr: IpNetwork
    underlay: IpAddress
    mtu: int
