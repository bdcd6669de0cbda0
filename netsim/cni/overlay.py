"""The overlay Pod network: flannel's VXLAN backend.

``cluster`` makes one ``Overlay`` from ``overlay_settings(topology)`` and feeds it Node and Pod events. Each
node has a VTEP ``flannel.<VNI>`` with the first address of its podCIDR, and every node knows every other
one by three entries: the route to its podCIDR through that address, on-link; that address's MAC, for good;
and the underlay address behind that MAC. Nothing is learnt and nobody floods. Source: flannel-io/flannel
pkg/backend/vxlan/vxlan.go and vxlan_network.go (handleSubnetEvents), device.go.

Those three stand on the group of all nodes, once for each node, where flannel leaves out the node's own. On
the node itself the connected route of ``cni0`` wins over the shared one for the same prefix, so that the
other two are never used there.

The rules of FLANNEL-FWD are left out: they accept what the FORWARD policy here accepts anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Interface, IPv4Network
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.cni.bridge import BOOT, bridge_entries, pod_bridge_entries
from netsim.cni.fabric import Underlay, node_underlays
from netsim.cni.masquerade import cluster_masquerade_entries, node_masquerade_entries
from netsim.cni.names import UPLINK, interface_mac
from netsim.cni.podnetwork import PodAddress, PodNetwork, PodNode
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
# RFC 7348 section 5: outer IPv4 (20), UDP (8), VXLAN (8) and inner Ethernet (14) headers.
ENCAPSULATION_OVERHEAD = 50


class OverlaySettings(NamedTuple):
    """``underlay`` is by node name; a Node without one is not in the fabric and is left out."""

    pod_subnet: IPv4Network
    vni: int
    port: int
    nat_outgoing: bool
    underlay: Mapping[str, Underlay]


def overlay_settings(topology: Topology) -> OverlaySettings:
    """The settings that a Topology asks for; raises PlanError as ``node_addresses`` does."""
    networking = topology.networking
    return OverlaySettings(
        networking.pod_subnet,
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
        self._device = f"flannel.{settings.vni}"

    def cluster_entries(self) -> Iterator[Entry]:
        if self._settings.nat_outgoing:
            yield from cluster_masquerade_entries(self._settings.pod_subnet, OWNER)

    def node_entries(self, node: PodNode) -> Iterator[Entry]:
        yield from self._vtep(node)
        yield from self._way_to(node)
        yield from bridge_entries(node, self._pod_mtu(node.host), OWNER)
        if self._settings.nat_outgoing:
            yield from node_masquerade_entries(node, self._settings.pod_subnet, OWNER)

    def pod_entries(self, node: PodNode, pod: PodAddress) -> Iterator[Entry]:
        subnet, mtu = self._settings.pod_subnet, self._pod_mtu(node.host)
        return pod_bridge_entries(node, pod, pod_subnet=subnet, mtu=mtu, owner=OWNER)

    def _pod_mtu(self, node: HostName) -> int:
        return self._settings.underlay[node].mtu - ENCAPSULATION_OVERHEAD

    def _vtep(self, node: PodNode) -> Iterator[Entry]:
        settings, local = self._settings, self._settings.underlay[node.host].address
        cause = Cause(Stage.PLAN, f"VTEP of {node.host}, VNI {settings.vni} on UDP port {settings.port}")
        yield Interface(
            node.host,
            self._device,
            InterfaceKind.VXLAN,
            interface_mac(node.host, self._device),
            OWNER,
            cause,
            mtu=self._pod_mtu(node.host),
            vxlan=Vxlan(settings.vni, settings.port, local, UPLINK),
        )
        # A /32: the address is a source and a next hop, and makes no connected route.
        address = IPv4Interface(node.pod_cidr.network_address)
        yield Address(node.host, self._device, address, OWNER, cause)

    def _way_to(self, node: PodNode) -> Iterator[Entry]:
        vtep, mac = node.pod_cidr.network_address, interface_mac(node.host, self._device)
        underlay = self._settings.underlay[node.host].address
        route = Cause(Stage.ROUTE, f"Pods of {node.host} are behind its VTEP {vtep}")
        yield Route(NODES, node.pod_cidr, self._device, OWNER, route, via=vtep, onlink=True, protocol=BOOT)
        neighbour = Cause(Stage.NEIGHBOUR, f"VTEP of {node.host}, known from its lease")
        yield Neighbour(NODES, self._device, vtep, mac, OWNER, neighbour)
        forwarding = Cause(Stage.ENCAP, f"VTEP of {node.host} is at {underlay}")
        yield Fdb(NODES, self._device, mac, underlay, OWNER, forwarding)
