"""The fabric and flannel's network with both families."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network, ip_interface

import pytest

from netsim.base.errors import PlanError
from netsim.cni.fabric import fabric_entries, node_addresses, node_addresses6
from netsim.cni.names import interface_mac
from netsim.objects.core import Node, Pod, PodIP
from netsim.objects.topology import (
    DEFAULT_NODES,
    DEFAULT_SUBNET,
    DEFAULT_SUBNET6,
    ExternalHost,
    Networking,
    NodeSpec,
    Topology,
)
from netsim.plan.entries import NODES, Action, Address, Fdb, Interface, Match, Neighbour, Route, Rule, Vxlan
from tests.cni.world import Cluster, node, pod

PODS6 = IPv6Network("fd00:10:244::/56")
NETWORKING = Networking(pod_subnet6=PODS6, service_subnet6=IPv6Network("fd00:10:96::/112"))
LAN = DEFAULT_SUBNET._replace(cidr6=DEFAULT_SUBNET6)
DUAL = Topology(networking=NETWORKING, subnets=(LAN,))


def dual_node(name: str, number: int) -> Node:
    own = node(name, f"10.244.{number}.0/24")
    return replace(own, spec=replace(own.spec, pod_cidrs=(own.spec.pod_cidr, f"fd00:10:244:{number}::/64")))


def dual_pod(name: str, node_name: str, number: int) -> Pod:
    own = pod(name, node_name, f"10.244.{number}.5")
    both = (PodIP(own.status.pod_ip), PodIP(f"fd00:10:244:{number}::5"))
    return replace(own, status=replace(own.status, pod_ips=both))


NODE1, NODE2 = dual_node("node1", 1), dual_node("node2", 2)
JUMP = dual_pod("jump", "node1", 1)


# --- the wires


def addresses_of(topology: Topology, host: str) -> dict[str, list[str]]:
    held: dict[str, list[str]] = {}
    for entry in fabric_entries(topology):
        if isinstance(entry, Address) and entry.host == host:
            held.setdefault(entry.interface, []).append(str(entry.address))
    return held


def routes_of(topology: Topology, host: str) -> dict[str, str]:
    own = (entry for entry in fabric_entries(topology) if isinstance(entry, Route) and entry.on == host)
    return {str(route.destination): str(route.via) for route in own}


def test_a_node_s_addresses_go_with_each_other() -> None:
    assert node_addresses6(DUAL) == {
        "control": IPv6Address("fd00:192:168:10::10"),
        "node1": IPv6Address("fd00:192:168:10::11"),
        "node2": IPv6Address("fd00:192:168:10::12"),
    }
    assert list(node_addresses(DUAL)) == list(node_addresses6(DUAL))


def test_without_ipv6_no_node_has_such_an_address() -> None:
    assert node_addresses6(Topology()) == {}
    assert not any(":" in str(e.address) for e in fabric_entries(Topology()) if isinstance(e, Address))


def test_an_address_that_is_written_is_not_given_to_another() -> None:
    own = NodeSpec("a", address6=IPv6Address("fd00:192:168:10::11"))
    found = node_addresses6(DUAL._replace(nodes=(NodeSpec("b"), NodeSpec("c"), own)))
    assert [str(address) for address in found.values()] == [
        "fd00:192:168:10::10",
        "fd00:192:168:10::12",
        "fd00:192:168:10::11",
    ]


def test_two_hosts_with_one_ipv6_address_are_refused() -> None:
    same = IPv6Address("fd00:192:168:10::1")
    with pytest.raises(PlanError, match="wanted by the gateway of subnet lan and by node a"):
        node_addresses6(DUAL._replace(nodes=(NodeSpec("a", address6=same),)))


def test_nodes_and_the_router_have_both_families() -> None:
    assert addresses_of(DUAL, "node1") == {"eth0": ["192.168.10.11/24", "fd00:192:168:10::11/64"]}
    assert routes_of(DUAL, "node1") == {"0.0.0.0/0": "192.168.10.1", "::/0": "fd00:192:168:10::1"}
    assert addresses_of(DUAL, "router")["eth0"] == ["192.168.10.1/24", "fd00:192:168:10::1/64"]


def test_an_external_host_may_have_both_families() -> None:
    outside = ExternalHost("site", IPv4Address("203.0.113.9"), address6=IPv6Address("2001:db8::9"))
    topology = DUAL._replace(external_hosts=(outside,))
    assert addresses_of(topology, "site") == {"eth0": ["203.0.113.9/32", "2001:db8::9/128"]}
    assert routes_of(topology, "site") == {"0.0.0.0/0": "100.64.0.1", "::/0": "3fff::1"}
    assert "2001:db8::9/128" in routes_of(topology, "router")
    assert addresses_of(topology, "router")["wan"] == ["100.64.0.1/32", "3fff::1/128"]


# --- the Pod network


def dual_cluster(*objects: Node | Pod) -> Cluster:
    cluster = Cluster(DUAL)
    cluster.added(*objects)
    return cluster


def test_a_node_has_a_second_vtep_for_ipv6() -> None:
    cluster = dual_cluster(NODE1)
    vtep, second, bridge = cluster.of(Interface, "node1")
    assert (vtep.name, vtep.mtu) == ("flannel.1", 1450)
    assert (second.name, second.mtu) == ("flannel-v6.1", 1430)
    local = IPv6Address("fd00:192:168:10::11")
    assert second.vxlan == Vxlan(vni=1, port=8472, local=local, device="eth0")
    assert (bridge.name, bridge.mtu) == ("cni0", 1450)
    held = {(entry.interface, entry.address) for entry in cluster.of(Address, "node1")}
    assert held >= {
        ("flannel-v6.1", IPv6Interface("fd00:10:244:1::/128")),
        ("cni0", ip_interface("10.244.1.1/24")),
        ("cni0", IPv6Interface("fd00:10:244:1::1/64")),
    }


def test_every_node_learns_the_way_to_its_ipv6_pods() -> None:
    cluster, mac = dual_cluster(NODE1), interface_mac("node1", "flannel-v6.1")
    (route,) = [entry for entry in cluster.of(Route, NODES) if entry.device == "flannel-v6.1"]
    assert (str(route.destination), str(route.via)) == ("fd00:10:244:1::/64", "fd00:10:244:1::")
    assert route.onlink
    (neighbour,) = [entry for entry in cluster.of(Neighbour, NODES) if entry.device == "flannel-v6.1"]
    (forwarding,) = [entry for entry in cluster.of(Fdb, NODES) if entry.device == "flannel-v6.1"]
    assert (str(neighbour.address), neighbour.mac) == ("fd00:10:244:1::", mac)
    assert (forwarding.mac, str(forwarding.destination)) == (mac, "fd00:192:168:10::11")


def test_a_pod_has_addresses_and_routes_of_both_families() -> None:
    cluster = dual_cluster(NODE1, JUMP)
    held = [str(entry.address) for entry in cluster.of(Address, "dev/jump")]
    assert held == ["10.244.1.5/24", "fd00:10:244:1::5/64"]
    assert {str(entry.destination): str(entry.via) for entry in cluster.of(Route, "dev/jump")} == {
        "0.0.0.0/0": "10.244.1.1",
        "10.244.0.0/16": "10.244.1.1",
        "::/0": "fd00:10:244:1::1",
        "fd00:10:244::/56": "fd00:10:244:1::1",
    }


def test_each_family_has_flannel_s_masquerade_rules() -> None:
    cluster = dual_cluster(NODE1)
    rules = [*cluster.of(Rule, NODES), *cluster.of(Rule, "node1")]
    first, second = ([rule for rule in rules if rule.family == family] for family in (4, 6))
    assert len(first) == len(second) == 4
    (leaving,) = [rule for rule in second if rule.name == "flannel-from-pods"]
    assert leaving.match == Match(source=PODS6, not_destination=IPv6Network("ff00::/8"))
    assert leaving.action is Action.MASQUERADE
    assert [rule.name for rule in first] == [rule.name for rule in second]


def test_nat_outgoing_is_for_both_families_or_none() -> None:
    cluster = Cluster(DUAL._replace(networking=NETWORKING._replace(nat_outgoing=False)))
    cluster.added(NODE1)
    assert cluster.of(Rule, NODES) == []


def test_a_pod_that_goes_takes_exactly_its_own_of_both() -> None:
    cluster = dual_cluster(NODE1, NODE2)
    before = list(cluster.plan)
    cluster.added(JUMP)
    cluster.deleted(JUMP)
    assert list(cluster.plan) == before


def test_a_pod_of_one_family_on_a_node_of_both_has_that_one() -> None:
    cluster = dual_cluster(NODE1, pod("old", "node1", "10.244.1.9"))
    assert [str(entry.address) for entry in cluster.of(Address, "dev/old")] == ["10.244.1.9/24"]
    assert not any(":" in str(entry.destination) for entry in cluster.of(Route, "dev/old"))


def test_the_default_nodes_are_all_dual_stack() -> None:
    assert set(node_addresses6(DUAL)) == {spec.name for spec in DEFAULT_NODES}
