"""The BGP-routed Pod network from Nodes and Pods: who speaks, to whom, and nothing about who learns what."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from netsim.cni.names import host_veth
from netsim.objects.core import Node
from netsim.objects.topology import Bgp, Networking, NodeSpec, Subnet, Topology
from netsim.plan.entries import (
    NODES,
    Action,
    Address,
    Fdb,
    Interface,
    InterfaceKind,
    Match,
    Neighbour,
    Peer,
    Route,
    Rule,
    Speaker,
)
from tests.cni.world import JUMP, JUMP_HOST, NODE1, NODE2, PODS, Cluster, node

ADDRESSES = {"control": "192.168.10.10", "node1": "192.168.10.11", "node2": "192.168.10.12"}
CONTROL = node("control", "10.244.0.0/24")
RACKS = (
    Subnet("rack-a", IPv4Network("192.168.10.0/24")),
    Subnet("rack-b", IPv4Network("192.168.20.0/24"), 9000),
)


def topology(peering: str | None = None, as_number: int = 64512, **more: object) -> Topology:
    networking = Networking(pod_network="bgp", bgp=Bgp(as_number, peering))
    return Topology(networking=networking, **more)  # type: ignore[arg-type]  # fields of a Topology


def racks() -> Topology:
    nodes = (NodeSpec("node1", "rack-a"), NodeSpec("node2", "rack-b"))
    return topology(subnets=RACKS, nodes=nodes)


def with_nodes(wanted: Topology, *nodes: Node) -> Cluster:
    cluster = Cluster(wanted)
    cluster.added(*nodes)
    return cluster


def peers(cluster: Cluster, scope: str) -> dict[str, Peer]:
    return {entry.name: entry for entry in cluster.of(Peer, scope)}


# --- nodes and Pods ----------------------------------------------------------------------------------


def test_a_node_gets_a_bridge_with_the_whole_mtu_and_no_tunnel() -> None:
    cluster = with_nodes(topology(), NODE1)
    (bridge,) = cluster.of(Interface, "node1")
    assert (bridge.name, bridge.kind, bridge.mtu) == ("cni0", InterfaceKind.BRIDGE, 1500)
    (address,) = cluster.of(Address, "node1")
    assert address.address == IPv4Interface("10.244.1.1/24")


def test_a_pod_has_the_mtu_of_its_nodes_wire_and_a_default_route() -> None:
    cluster = with_nodes(racks(), NODE1, NODE2)
    cluster.added(JUMP)
    (eth0,) = cluster.of(Interface, "dev/jump")
    (veth,) = [entry for entry in cluster.of(Interface, "node1") if entry.name == host_veth(JUMP_HOST)]
    assert (eth0.mtu, veth.mtu, veth.master) == (1500, 1500, "cni0")
    routes = {str(route.destination): str(route.via) for route in cluster.of(Route, "dev/jump")}
    assert routes == {"0.0.0.0/0": "10.244.1.1"}
    assert [entry.mtu for entry in cluster.of(Interface, "node2")] == [9000]


@pytest.mark.parametrize("peering", ["full-mesh", "route-reflector", "tor"])
def test_no_route_to_the_pods_of_a_node_is_in_the_plan(peering: str) -> None:
    cluster = with_nodes(topology(peering), CONTROL, NODE1, NODE2)
    entries = [entry for entry in cluster.plan if isinstance(entry, Route | Neighbour | Fdb)]
    assert entries and all(entry.owner == "fabric" for entry in entries)


def test_masquerade_is_calicos() -> None:
    cluster = with_nodes(topology(), NODE1, NODE2)
    (rule,) = [entry for entry in cluster.plan if isinstance(entry, Rule)]
    assert (rule.on, rule.match) == (NODES, Match(source=PODS, not_destination=PODS))
    assert rule.action is Action.MASQUERADE and rule.cause.text


def test_without_nat_outgoing_nothing_is_masqueraded() -> None:
    plain = Topology(networking=Networking(pod_network="bgp", nat_outgoing=False))
    cluster = with_nodes(plain, NODE1)
    assert [entry for entry in cluster.plan if isinstance(entry, Rule)] == []
    assert cluster.of(Speaker, "node1")


# --- speakers ----------------------------------------------------------------------------------------


def test_a_node_speaks_from_its_address_and_announces_its_pods() -> None:
    cluster = with_nodes(topology(as_number=65010), NODE1)
    (speaker,) = cluster.of(Speaker, "node1")
    assert (speaker.asn, speaker.identifier) == (65010, IPv4Address(ADDRESSES["node1"]))
    assert speaker.prefixes == (IPv4Network("10.244.1.0/24"),)
    assert speaker.hold_time == 90
    assert speaker.cluster_id is None


def test_a_mesh_is_one_peer_for_each_node_on_all_nodes() -> None:
    cluster = with_nodes(topology(), NODE1, NODE2)
    found = peers(cluster, NODES)
    assert {name: str(peer.address) for name, peer in found.items()} == {
        "node1": ADDRESSES["node1"],
        "node2": ADDRESSES["node2"],
    }
    assert all(peer.higher_connects and peer.asn == 64512 for peer in found.values())
    assert len([entry for entry in cluster.plan if isinstance(entry, Peer)]) == 2
    assert cluster.of(Speaker, "router") == []


def test_control_plane_nodes_reflect_routes_among_the_others() -> None:
    cluster = with_nodes(topology("route-reflector"), CONTROL, NODE1, NODE2)
    assert list(peers(cluster, NODES)) == ["control"]
    clients = peers(cluster, "control")
    assert {name: peer.client for name, peer in clients.items()} == {"node1": True, "node2": True}
    assert peers(cluster, "node1") == {}
    (reflector,) = cluster.of(Speaker, "control")
    (client,) = cluster.of(Speaker, "node1")
    assert (reflector.cluster_id, client.cluster_id) == (IPv4Address("244.0.0.1"), None)


def test_without_a_control_plane_the_first_node_reflects() -> None:
    wanted = topology("route-reflector", nodes=(NodeSpec("node1"), NodeSpec("node2")))
    cluster = with_nodes(wanted, NODE1, NODE2)
    assert list(peers(cluster, NODES)) == ["node1"]
    assert list(peers(cluster, "node1")) == ["node2"]


def test_over_several_subnets_each_node_has_a_session_with_the_racks_router() -> None:
    cluster = with_nodes(racks(), NODE1, NODE2)
    for name, gateway in (("node1", "192.168.10.1"), ("node2", "192.168.20.1")):
        (up,) = peers(cluster, name).values()
        assert (str(up.address), up.asn, up.own_as_allowed) == (gateway, 64513, 1)
    down = peers(cluster, "router")
    assert {name: (peer.asn, peer.passive) for name, peer in down.items()} == {
        "node1": (64512, True),
        "node2": (64512, True),
    }
    (router,) = cluster.of(Speaker, "router")
    assert (router.asn, str(router.identifier), router.prefixes) == (64513, "192.168.10.1", ())
    assert peers(cluster, NODES) == {}


def test_a_mesh_over_several_subnets_is_made_when_it_is_asked_for() -> None:
    wanted = racks()
    networking = wanted.networking._replace(bgp=Bgp(peering="full-mesh"))
    cluster = with_nodes(wanted._replace(networking=networking), NODE1, NODE2)
    assert sorted(peers(cluster, NODES)) == ["node1", "node2"]
    assert cluster.of(Speaker, "router") == []


@pytest.mark.parametrize("peering", ["full-mesh", "route-reflector", "tor"])
def test_a_node_that_goes_takes_its_sessions_along(peering: str) -> None:
    cluster = with_nodes(topology(peering), CONTROL, NODE1)
    before = dict(cluster.plan.entries)
    cluster.added(NODE2)
    assert cluster.plan.entries != before
    cluster.deleted(NODE2)
    assert cluster.plan.entries == before
    cluster.deleted(NODE1, CONTROL)
    assert cluster.plan == cluster.fabric
