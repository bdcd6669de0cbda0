"""flannel's VXLAN network from Nodes and Pods, one small delta at a time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from netsim.cni.names import host_veth, interface_mac
from netsim.objects.core import Pod, Service
from netsim.objects.meta import ObjectMeta
from netsim.objects.topology import Networking, NodeSpec, Subnet, Topology
from netsim.objects.topology import Overlay as OverlaySpec
from netsim.plan.delta import Plan
from netsim.plan.entries import (
    NODES,
    Action,
    Address,
    Fdb,
    Host,
    Interface,
    InterfaceKind,
    Link,
    Match,
    Neighbour,
    Role,
    Route,
    Rule,
    Vxlan,
)
from tests.cni.world import JUMP, JUMP_HOST, NODE1, NODE2, PODS, Cluster, node, pod


def test_a_node_gets_a_vtep_and_a_bridge() -> None:
    cluster = Cluster()
    cluster.added(NODE1)
    vtep, bridge = cluster.of(Interface, "node1")
    assert (vtep.name, vtep.kind, vtep.mtu) == ("flannel.1", InterfaceKind.VXLAN, 1450)
    assert vtep.vxlan == Vxlan(vni=1, port=8472, local=IPv4Address("192.168.10.11"), device="eth0")
    assert (bridge.name, bridge.kind, bridge.mtu) == ("cni0", InterfaceKind.BRIDGE, 1450)
    addresses = {entry.interface: entry.address for entry in cluster.of(Address, "node1")}
    assert addresses == {
        "flannel.1": IPv4Interface("10.244.1.0/32"),
        "cni0": IPv4Interface("10.244.1.1/24"),
    }


def test_every_node_learns_the_way_to_it_once() -> None:
    cluster = Cluster()
    cluster.added(NODE1)
    (route,) = cluster.of(Route, NODES)
    assert (route.destination, route.via) == (IPv4Network("10.244.1.0/24"), IPv4Address("10.244.1.0"))
    assert (route.device, route.onlink) == ("flannel.1", True)
    (neighbour,) = cluster.of(Neighbour, NODES)
    (forwarding,) = cluster.of(Fdb, NODES)
    mac = interface_mac("node1", "flannel.1")
    assert (neighbour.address, neighbour.mac) == (IPv4Address("10.244.1.0"), mac)
    assert (forwarding.mac, forwarding.destination) == (mac, IPv4Address("192.168.10.11"))


def test_settings_come_from_the_topology() -> None:
    topology = Topology(
        networking=Networking(overlay=OverlaySpec(port=4789, vni=7)),
        subnets=(Subnet("jumbo", IPv4Network("10.9.0.0/24"), mtu=9000),),
        nodes=(NodeSpec("node1", "jumbo"),),
    )
    cluster = Cluster(topology)
    cluster.added(NODE1)
    vtep, bridge = cluster.of(Interface, "node1")
    assert (vtep.name, vtep.mtu, bridge.mtu) == ("flannel.7", 8950, 8950)
    assert vtep.vxlan == Vxlan(vni=7, port=4789, local=IPv4Address("10.9.0.10"), device="eth0")


def test_a_pod_is_a_host_on_its_nodes_bridge() -> None:
    cluster = Cluster()
    cluster.added(NODE1)
    cluster.added(JUMP)
    host = cluster.plan.get(("host", "dev/jump"))
    assert isinstance(host, Host)
    assert (host.role, host.title, host.forwarding) == (Role.POD, "pod dev/jump", False)
    (eth0,) = cluster.of(Interface, "dev/jump")
    assert (eth0.name, eth0.kind, eth0.mtu) == ("eth0", InterfaceKind.VETH, 1450)
    (address,) = cluster.of(Address, "dev/jump")
    assert address.address == IPv4Interface("10.244.1.5/24")
    routes = {str(route.destination): str(route.via) for route in cluster.of(Route, "dev/jump")}
    assert routes == {"0.0.0.0/0": "10.244.1.1", "10.244.0.0/16": "10.244.1.1"}
    (port,) = [entry for entry in cluster.of(Interface, "node1") if entry.master]
    assert (port.name, port.master, port.hairpin, port.mtu) == (host_veth(JUMP_HOST), "cni0", True, 1450)
    (wire,) = [entry for entry in cluster.plan if isinstance(entry, Link) and entry.owner == "cni"]
    assert {str(wire.a), str(wire.b)} == {"dev/jump/eth0", f"node1/{port.name}"}
    assert 0 < wire.latency < 50e-6


@pytest.mark.parametrize(
    "outsider",
    [
        pytest.param(pod("jump", "node1", ""), id="no address yet"),
        pytest.param(pod("jump", "", "10.244.1.5"), id="not scheduled"),
        pytest.param(pod("jump", "node1", "192.168.10.11", host_network=True), id="on the host network"),
        pytest.param(pod("jump", "node1", "10.244.1.5", phase="Succeeded"), id="succeeded"),
        pytest.param(pod("jump", "node1", "10.244.1.5", phase="Failed"), id="failed"),
        pytest.param(pod("jump", "node2", "10.244.2.5"), id="on a node without podCIDR"),
        pytest.param(pod("jump", "elsewhere", "10.244.9.5"), id="on an unknown node"),
    ],
)
def test_pods_outside_the_pod_network_have_no_host(outsider: Pod) -> None:
    cluster = Cluster()
    cluster.added(NODE1, node("elsewhere", "10.244.9.0/24"))
    before = Plan(cluster.plan)
    assert not cluster.added(outsider)
    assert cluster.modified(JUMP).put
    cluster.modified(outsider)
    assert cluster.plan == before


def test_a_node_that_is_not_in_the_fabric_changes_nothing() -> None:
    assert not Cluster().added(node("elsewhere", "10.244.9.0/24"))


def test_pods_wait_for_their_nodes_pod_cidr() -> None:
    early, late = Cluster(), Cluster()
    assert not early.added(node("node1", ""), JUMP)
    early.modified(NODE1)
    late.added(NODE1, JUMP)
    assert early.plan == late.plan
    assert early.plan.get(("host", "dev/jump")) is not None


def test_a_pod_that_goes_takes_exactly_its_own() -> None:
    cluster = Cluster()
    cluster.added(NODE1, NODE2, pod("other", "node1", "10.244.1.6"))
    before = Plan(cluster.plan)
    grown = cluster.added(JUMP)
    gone = cluster.deleted(JUMP)
    assert cluster.plan == before
    assert set(gone.remove) == {entry.key for entry in grown.put}


def test_a_new_address_keeps_the_pods_host() -> None:
    cluster = Cluster()
    cluster.added(NODE1, JUMP)
    delta = cluster.modified(pod("jump", "node1", "10.244.1.9"))
    assert [entry.key for entry in delta.put] == [("address", "dev/jump", "eth0", "10.244.1.9/24")]
    assert delta.remove == (("address", "dev/jump", "eth0", "10.244.1.5/24"),)


def test_a_change_that_is_none_of_the_networks_business_is_an_empty_delta() -> None:
    cluster = Cluster()
    cluster.added(NODE1, JUMP)
    labelled = replace(JUMP, metadata=replace(JUMP.metadata, labels={"app": "jump"}))
    assert not cluster.modified(labelled)
    assert not cluster.modified(replace(NODE1, metadata=ObjectMeta(name="node1", labels={"a": "b"})))
    assert not cluster.added(Service())


@pytest.mark.parametrize("away", [None, pod("jump", "node2", "10.244.2.5")], ids=["deleted", "moved"])
def test_a_pod_that_left_a_node_does_not_come_back_with_it(away: Pod | None) -> None:
    cluster = Cluster()
    cluster.added(NODE1, NODE2, JUMP)
    if away is None:
        cluster.deleted(JUMP)
    else:
        cluster.modified(away)
    before = Plan(cluster.plan)
    cluster.deleted(NODE1)
    cluster.added(NODE1)
    assert cluster.plan == before


def test_when_all_are_gone_only_the_fabric_is_left() -> None:
    cluster = Cluster()
    cluster.added(NODE1, NODE2, JUMP)
    cluster.deleted(NODE1, JUMP, NODE2)
    assert cluster.plan == cluster.fabric


def test_a_bridge_outlives_its_ports() -> None:
    cluster = Cluster()
    cluster.added(JUMP)
    built = [entry.key for entry in cluster.added(NODE1).put]
    torn = list(cluster.deleted(NODE1).remove)
    bridge, port = ("interface", "node1", "cni0"), ("interface", "node1", host_veth(JUMP_HOST))
    assert built.index(bridge) < built.index(port)
    assert torn.index(port) < torn.index(bridge)


def test_masquerade_is_flannels() -> None:
    cluster = Cluster()
    cluster.added(NODE1, NODE2)
    own = IPv4Network("10.244.1.0/24")
    rules = sorted([*cluster.of(Rule, NODES), *cluster.of(Rule, "node1")], key=lambda rule: rule.order)
    assert [(rule.match, rule.action) for rule in rules] == [
        (Match(source=PODS, destination=PODS), Action.ACCEPT),
        (Match(not_source=PODS, destination=own), Action.ACCEPT),
        (Match(source=PODS, not_destination=IPv4Network("224.0.0.0/4")), Action.MASQUERADE),
        (Match(not_source=PODS, destination=PODS), Action.MASQUERADE),
    ]
    assert all(rule.cause.text for rule in rules)


def test_without_nat_outgoing_nothing_is_masqueraded() -> None:
    cluster = Cluster(Topology(networking=Networking(nat_outgoing=False)))
    cluster.added(NODE1, JUMP)
    assert [entry for entry in cluster.plan if isinstance(entry, Rule)] == []
    assert cluster.of(Route, NODES)
