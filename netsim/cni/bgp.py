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

A mesh is stored as one Peer per node, on the group of all nodes. In a dual-stack cluster each speaker has a
second one beside it, which tells IPv6 routes in sessions over IPv6, as Calico runs ``bird6`` beside ``bird``
(confd/templates/bird6.cfg.template). Its identifier is the same IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netsim.base.address import IpAddress, IpNetwork
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
    are names of nodes. ``gateways6`` are the router's IPv6 addresses.
    """

    pod_subnets: tuple[IpNetwork, ...]
    nat_outgoing: bool
    asn: int
    peering: str
    underlay: Mapping[str, Underlay]
    reflectors: frozenset[HostName]
    router: IPv4Address
    gateways6: tuple[IPv6Address, ...]


def bgp_settings(topology: Topology) -> BgpSettings:
    """The settings that a Topology asks for; raises PlanError as ``node_addresses`` does."""
    networking = topology.networking
    peering = networking.bgp.peering or (TOR if len(topology.subnets) > 1 else FULL_MESH)
    chosen = [node.name for node in topology.nodes if node.control_plane] or [topology.nodes[0].name]
    return BgpSettings(
        tuple(subnet for subnet, _ in networking.pod_subnets),
        networking.nat_outgoing,
        networking.bgp.as_number,
        peering,
        node_underlays(topology),
        frozenset(map(HostName, chosen)) if peering == ROUTE_REFLECTOR else frozenset(),
        topology.subnets[0].gateway,
        tuple(subnet.gateway6 for subnet in topology.subnets if subnet.gateway6 is not None),
    )


class BgpNetwork(PodNetwork):
    """A Pod network whose nodes tell each other of their Pods by BGP; see the module's docstring."""

    def __init__(self, settings: BgpSettings) -> None:
        super().__init__(settings.underlay)
        self._settings = settings

    def cluster_entries(self) -> Iterator[Entry]:
        settings = self._settings
        if settings.nat_outgoing:
            for subnet in settings.pod_subnets:
                yield nat_outgoing_rule(subnet, OWNER)
        if settings.peering == TOR:
            cause = Cause(Stage.PLAN, f"BGP speaker of the racks' router, AS {settings.asn + 1}")
            first = Speaker(ROUTER, settings.asn + 1, settings.router, OWNER, cause)
            yield first
            if settings.gateways6:
                yield first._replace(family=6, listens=settings.gateways6)

    def node_entries(self, node: PodNode) -> Iterator[Entry]:
        underlay = self._settings.underlay[node.host]
        yield from bridge_entries(node, underlay.mtu, OWNER)
        yield from self._speaker(node, node.pod_cidr, underlay.address, underlay.gateway)
        if node.pod_cidr6 is not None and underlay.address6 is not None and underlay.gateway6 is not None:
            yield from self._speaker(node, node.pod_cidr6, underlay.address6, underlay.gateway6)

    def _speaker(
        self, node: PodNode, pod_cidr: IpNetwork, address: IpAddress, gateway: IpAddress
    ) -> Iterator[Entry]:
        """The node's speaker for one family of routes, and who has a session with it."""
        settings, identifier = self._settings, self._settings.underlay[node.host].address
        cause = Cause(Stage.PLAN, f"BGP speaker of {node.host}, AS {settings.asn}, announces {pod_cidr}")
        cluster_id = CLUSTER_ID if node.host in settings.reflectors else None
        listens = (address,) if address.version == 6 else ()
        yield Speaker(
            node.host,
            settings.asn,
            identifier,
            OWNER,
            cause,
            (pod_cidr,),
            cluster_id=cluster_id,
            family=address.version,
            listens=listens,
        )
        if settings.peering == TOR:
            yield from self._with_router(node, address, gateway)
        elif settings.peering == ROUTE_REFLECTOR:
            yield from self._around_reflectors(node, address)
        else:
            yield from self._in_mesh(node, address)

    def pod_entries(self, node: PodNode, pod: PodAddress) -> Iterator[Entry]:
        return pod_bridge_entries(node, pod, mtu=self._settings.underlay[node.host].mtu, owner=OWNER)

    def _in_mesh(self, node: PodNode, address: IpAddress) -> Iterator[Entry]:
        cause = Cause(Stage.PLAN, f"BGP mesh: every node has a session with {node.host}")
        yield Peer(NODES, address, self._settings.asn, node.host, OWNER, cause, higher_connects=True)

    def _around_reflectors(self, node: PodNode, address: IpAddress) -> Iterator[Entry]:
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

    def _with_router(self, node: PodNode, address: IpAddress, gateway: IpAddress) -> Iterator[Entry]:
        """The node calls, as racks' routers are set up to listen to a range of peers."""
        asn = self._settings.asn
        cause = Cause(Stage.PLAN, f"{node.host} has a session with the router of its rack")
        yield Peer(Scope(node.host), gateway, asn + 1, ROUTER, OWNER, cause, own_as_allowed=1)
        yield Peer(Scope(ROUTER), address, asn, node.host, OWNER, cause, passive=True)


def nat_outgoing_rule(pod_subnet: IpNetwork, owner: str) -> Rule:
    """natOutgoing as Calico has it (felix ``rules/nat.go``, chain cali-nat-outgoing): what goes from a Pod to
    an address that is no Pod's. Whoever reaches a Pod from outside keeps its own address."""
    match = Match(source=pod_subnet, not_destination=pod_subnet)
    cause = Cause(Stage.NAT, f"natOutgoing: a Pod's packet leaves {pod_subnet} with the node's address")
    name, action, family = "cali-nat-outgoing", Action.MASQUERADE, pod_subnet.version
    return Rule(NODES, Hook.POSTROUTING, NAT_OUTGOING, name, match, action, owner, cause, family)
