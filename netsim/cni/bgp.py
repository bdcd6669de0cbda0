"""The BGP-routed Pod network: each node announces its podCIDR, and Pod addresses cross the underlay bare.

``cluster`` makes one ``BgpNetwork`` from ``bgp_settings(topology)``, feeds it Node and Pod events, and runs
a BGP daemon for each Speaker entry. Here stands only how the speakers are set up: the routes to the Pods of
other nodes are what the daemons learn, and no entry. Pods are plugged in with the bridge plugin, as
kube-router has it, without a tunnel, so that they have the whole MTU of their node's wire. Three ways to
peer, which are Calico's (docs.tigera.io, "Configure BGP peering"; confd/templates/bird.cfg.template):

* ``full-mesh``: every node with every other one, in one AS. The router of the fabric speaks no BGP and knows
  no Pods, so this is for one subnet.
* ``route-reflector``: the control-plane nodes (or else the first node) reflect routes among the others.
* ``tor``: the router of the fabric, which stands for the switch on top of each rack, has an AS of its own,
  and each node a session with it. All nodes share an AS, so each lets its own AS pass once in what it hears.

A mesh is stored as one Peer per node, on the group of all nodes. The speakers tell IPv4 routes only, so that
a dual-stack cluster cannot have this network (``objects.topology_rules`` refuses it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.cni.bridge import bridge_entries, pod_bridge_entries
from netsim.cni.fabric import ROUTER, Underlay, node_underlays
from netsim.cni.podnetwork import PodAddress, PodNetwork, PodNode
from netsim.objects.topology import Topology
from netsim.plan.entries import NODES, Action, Entry, Hook, HostName, Match, Peer, Rule, Scope, Speaker

OWNER = "cni"
FULL_MESH, ROUTE_REFLECTOR, TOR = "full-mesh", "route-reflector", "tor"
CLUSTER_ID = IPv4Address("244.0.0.1")  # what Calico's guide gives the reflectors of a cluster
NAT_OUTGOING = 100


class BgpSettings(NamedTuple):
    """``underlay`` is by node name; a Node without one is not in the fabric and is left out.

    ``asn`` is the nodes' AS, and the next one the router's, whose identifier is ``router``. ``reflectors``
    are names of nodes.
    """

    pod_subnet: IPv4Network
    nat_outgoing: bool
    asn: int
    peering: str
    underlay: Mapping[str, Underlay]
    reflectors: frozenset[HostName]
    router: IPv4Address


def bgp_settings(topology: Topology) -> BgpSettings:
    """The settings that a Topology asks for; raises PlanError as ``node_addresses`` does."""
    networking = topology.networking
    peering = networking.bgp.peering or (TOR if len(topology.subnets) > 1 else FULL_MESH)
    chosen = [node.name for node in topology.nodes if node.control_plane] or [topology.nodes[0].name]
    return BgpSettings(
        networking.pod_subnet,
        networking.nat_outgoing,
        networking.bgp.as_number,
        peering,
        node_underlays(topology),
        frozenset(map(HostName, chosen)) if peering == ROUTE_REFLECTOR else frozenset(),
        topology.subnets[0].gateway,
    )


class BgpNetwork(PodNetwork):
    """A Pod network whose nodes tell each other of their Pods by BGP; see the module's docstring."""

    def __init__(self, settings: BgpSettings) -> None:
        super().__init__(settings.underlay)
        self._settings = settings

    def cluster_entries(self) -> Iterator[Entry]:
        settings = self._settings
        if settings.nat_outgoing:
            yield nat_outgoing_rule(settings.pod_subnet, OWNER)
        if settings.peering == TOR:
            cause = Cause(Stage.PLAN, f"BGP speaker of the racks' router, AS {settings.asn + 1}")
            yield Speaker(ROUTER, settings.asn + 1, settings.router, OWNER, cause)

    def node_entries(self, node: PodNode) -> Iterator[Entry]:
        settings, underlay = self._settings, self._settings.underlay[node.host]
        address = underlay.address
        yield from bridge_entries(node, underlay.mtu, OWNER)
        cause = Cause(Stage.PLAN, f"BGP speaker of {node.host}, AS {settings.asn}, announces {node.pod_cidr}")
        cluster_id = CLUSTER_ID if node.host in settings.reflectors else None
        prefixes = (node.pod_cidr,)
        yield Speaker(node.host, settings.asn, address, OWNER, cause, prefixes, cluster_id=cluster_id)
        sessions = {
            FULL_MESH: self._in_mesh,
            ROUTE_REFLECTOR: self._around_reflectors,
            TOR: self._with_router,
        }
        yield from sessions[settings.peering](node, address)

    def pod_entries(self, node: PodNode, pod: PodAddress) -> Iterator[Entry]:
        return pod_bridge_entries(node, pod, mtu=self._settings.underlay[node.host].mtu, owner=OWNER)

    def _in_mesh(self, node: PodNode, address: IPv4Address) -> Iterator[Entry]:
        cause = Cause(Stage.PLAN, f"BGP mesh: every node has a session with {node.host}")
        yield Peer(NODES, address, self._settings.asn, node.host, OWNER, cause, higher_connects=True)

    def _around_reflectors(self, node: PodNode, address: IPv4Address) -> Iterator[Entry]:
        asn, reflectors = self._settings.asn, self._settings.reflectors
        if node.host in reflectors:
            cause = Cause(Stage.PLAN, f"every node has a session with the route reflector {node.host}")
            yield Peer(NODES, address, asn, node.host, OWNER, cause, higher_connects=True)
            return
        for reflector in sorted(reflectors):
            cause = Cause(Stage.PLAN, f"{reflector} reflects routes to and from {node.host}")
            yield Peer(
                Scope(reflector), address, asn, node.host, OWNER, cause, higher_connects=True, client=True
            )

    def _with_router(self, node: PodNode, address: IPv4Address) -> Iterator[Entry]:
        """The node calls, as racks' routers are set up to listen to a range of peers."""
        asn, gateway = self._settings.asn, self._settings.underlay[node.host].gateway
        cause = Cause(Stage.PLAN, f"{node.host} has a session with the router of its rack")
        yield Peer(Scope(node.host), gateway, asn + 1, ROUTER, OWNER, cause, own_as_allowed=1)
        yield Peer(Scope(ROUTER), address, asn, node.host, OWNER, cause, passive=True)


def nat_outgoing_rule(pod_subnet: IPv4Network, owner: str) -> Rule:
    """natOutgoing as Calico has it (felix ``rules/nat.go``, chain cali-nat-outgoing): what goes from a Pod to
    an address that is no Pod's. Whoever reaches a Pod from outside keeps its own address."""
    match = Match(source=pod_subnet, not_destination=pod_subnet)
    cause = Cause(Stage.NAT, f"natOutgoing: a Pod's packet leaves {pod_subnet} with the node's address")
    return Rule(
        NODES, Hook.POSTROUTING, NAT_OUTGOING, "cali-nat-outgoing", match, Action.MASQUERADE, owner, cause
    )
