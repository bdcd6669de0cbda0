"""The underlay that a Topology describes: who is wired to whom, and which ways there are."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TypeVar

import pytest

from netsim.base.errors import PlanError
from netsim.cni.fabric import (
    OUTSIDE_LATENCY,
    SWITCH_LATENCY,
    fabric_entries,
    node_addresses,
    node_subnets,
    pool_subnet,
    upstream_resolver,
)
from netsim.objects.topology import ExternalHost, LoadBalancer, Networking, NodeSpec, Subnet, Topology
from netsim.plan.delta import BUILD_ORDER, Plan
from netsim.plan.entries import (
    NODES,
    Address,
    Entry,
    Host,
    Interface,
    InterfaceKind,
    Link,
    Role,
    Route,
)

E = TypeVar("E")

RACKS = Topology(
    subnets=(
        Subnet("rack-a", IPv4Network("192.168.10.0/24")),
        Subnet("rack-b", IPv4Network("192.168.20.0/24"), mtu=9000),
    ),
    nodes=(NodeSpec("node1", "rack-a"), NodeSpec("node2", "rack-b")),
    external_hosts=(ExternalHost("client", IPv4Address("203.0.113.10")),),
)


def of(topology: Topology, kind: type[E]) -> list[E]:
    return [entry for entry in fabric_entries(topology) if isinstance(entry, kind)]


def lan(*nodes: NodeSpec, cidr: str = "192.168.10.0/24", external: tuple[ExternalHost, ...] = ()) -> Topology:
    subnet = Subnet("lan", IPv4Network(cidr))
    return Topology(subnets=(subnet,), nodes=nodes, external_hosts=external)


def ways(topology: Topology, host: str) -> dict[str, tuple[str, str, bool]]:
    """A host's routes: destination → (next hop, device, onlink)."""
    return {
        str(route.destination): (str(route.via) if route.via else "", route.device, route.onlink)
        for route in of(topology, Route)
        if route.on == host
    }


def addresses(topology: Topology, host: str) -> dict[str, str]:
    return {entry.interface: str(entry.address) for entry in of(topology, Address) if entry.host == host}


def test_the_default_topology_is_three_nodes_in_one_subnet() -> None:
    hosts = {host.name: (host.role, host.title) for host in of(Topology(), Host)}
    assert hosts == {
        "router": (Role.ROUTER, "router"),
        "lan": (Role.SWITCH, "switch lan"),
        "control": (Role.NODE, "node control"),
        "node1": (Role.NODE, "node node1"),
        "node2": (Role.NODE, "node node2"),
        "internet": (Role.SWITCH, "switch internet"),
        "example.com": (Role.EXTERNAL, "external example.com"),
        "www.example.com": (Role.EXTERNAL, "external www.example.com"),
    }
    assert node_addresses(Topology()) == {
        "control": IPv4Address("192.168.10.10"),
        "node1": IPv4Address("192.168.10.11"),
        "node2": IPv4Address("192.168.10.12"),
    }
    assert upstream_resolver(Topology()) == IPv4Address("192.168.10.1")


def test_only_nodes_and_the_router_forward_and_only_nodes_filter_bridged_packets() -> None:
    hosts = of(RACKS, Host)
    assert {host.name for host in hosts if host.forwarding} == {"router", "node1", "node2"}
    assert {host.name for host in hosts if host.bridge_netfilter} == {"node1", "node2"}
    assert {host.name for host in hosts if host.groups == (NODES,)} == {"node1", "node2"}


def test_everything_is_wired_through_switches() -> None:
    wires = {(str(link.a), str(link.b)): link.latency for link in of(RACKS, Link)}
    assert wires == {
        ("router/eth0", "rack-a/router"): SWITCH_LATENCY,
        ("router/eth1", "rack-b/router"): SWITCH_LATENCY,
        ("node1/eth0", "rack-a/node1"): SWITCH_LATENCY,
        ("node2/eth0", "rack-b/node2"): SWITCH_LATENCY,
        ("router/wan", "internet/router"): OUTSIDE_LATENCY,
        ("client/eth0", "internet/client"): SWITCH_LATENCY,
    }
    ports = [entry for entry in of(RACKS, Interface) if entry.host in ("rack-a", "rack-b", "internet")]
    assert all(port.master == "br0" for port in ports if port.kind is InterfaceKind.VETH)
    assert sum(port.kind is InterfaceKind.BRIDGE for port in ports) == 3


def test_a_subnets_mtu_holds_for_its_switch_and_all_that_is_plugged_into_it() -> None:
    mtus = {f"{entry.host}/{entry.name}": entry.mtu for entry in of(RACKS, Interface)}
    jumbo = {name for name, mtu in mtus.items() if mtu == 9000}
    assert jumbo == {"router/eth1", "rack-b/router", "rack-b/br0", "rack-b/node2", "node2/eth0"}


def test_nodes_have_their_gateway_as_the_only_way_out() -> None:
    assert addresses(RACKS, "node2") == {"eth0": "192.168.20.10/24"}
    assert ways(RACKS, "node2") == {"0.0.0.0/0": ("192.168.20.1", "eth0", False)}


def test_the_router_knows_subnets_and_external_hosts_and_no_pod() -> None:
    assert addresses(RACKS, "router") == {
        "eth0": "192.168.10.1/24",
        "eth1": "192.168.20.1/24",
        "wan": "100.64.0.1/32",
    }
    assert ways(RACKS, "router") == {"203.0.113.10/32": ("", "wan", False)}


@pytest.mark.parametrize("address", ["203.0.113.10", "8.8.8.8", "10.0.0.1", "100.64.0.7", "172.16.0.1"])
def test_an_external_host_may_have_any_address(address: str) -> None:
    topology = lan(NodeSpec("node1"), external=(ExternalHost("client", IPv4Address(address)),))
    assert addresses(topology, "client") == {"eth0": f"{address}/32"}
    assert ways(topology, "client") == {"0.0.0.0/0": ("100.64.0.1", "eth0", True)}
    assert ways(topology, "router") == {f"{address}/32": ("", "wan", False)}


def test_the_routers_outside_address_gives_way_to_the_topology() -> None:
    taken = ExternalHost("client", IPv4Address("100.64.0.1"))
    assert addresses(lan(external=(taken,)), "router")["wan"] == "198.18.0.1/32"
    pods = Networking(pod_subnet=IPv4Network("100.64.0.0/10"))
    assert addresses(Topology(networking=pods), "router")["wan"] == "198.18.0.1/32"


def test_an_external_host_inside_a_subnet_is_plugged_into_its_switch() -> None:
    printer = ExternalHost("printer", IPv4Address("192.168.10.10"))
    topology = lan(NodeSpec("node1"), external=(printer,))
    assert ("printer/eth0", "lan/printer") in {(str(link.a), str(link.b)) for link in of(topology, Link)}
    assert addresses(topology, "printer") == {"eth0": "192.168.10.10/24"}
    assert ways(topology, "printer") == {"0.0.0.0/0": ("192.168.10.1", "eth0", False)}
    assert ways(topology, "router") == {}
    assert node_addresses(topology)["node1"] == IPv4Address("192.168.10.11")


def test_free_addresses_go_around_those_that_are_written() -> None:
    fixed = NodeSpec("b", address=IPv4Address("192.168.10.11"))
    found = node_addresses(lan(NodeSpec("a"), fixed, NodeSpec("c")))
    assert [str(address) for address in found.values()] == ["192.168.10.10", "192.168.10.11", "192.168.10.12"]


def test_a_small_subnet_uses_its_low_addresses_too() -> None:
    found = node_addresses(lan(*(NodeSpec(name) for name in "abcde"), cidr="10.1.0.0/29"))
    assert [str(address) for address in found.values()] == [f"10.1.0.{number}" for number in range(2, 7)]


@pytest.mark.parametrize(
    ("pool", "wire", "way"),
    [
        pytest.param("192.168.20.64/27", "rack-b", {}, id="inside a subnet"),
        pytest.param("198.51.100.0/28", "rack-a", {"198.51.100.0/28": ("", "eth0", False)}, id="apart"),
    ],
)
def test_the_routers_way_to_a_pool(pool: str, wire: str, way: dict[str, tuple[str, str, bool]]) -> None:
    network = IPv4Network(pool)
    topology = RACKS._replace(load_balancer=LoadBalancer(network))
    assert pool_subnet(topology, network).name == wire
    assert ways(topology, "router") == {"203.0.113.10/32": ("", "wan", False), **way}


def test_nodes_get_no_address_of_the_pool() -> None:
    topology = lan(NodeSpec("a"), NodeSpec("b"), NodeSpec("c"))
    topology = topology._replace(load_balancer=LoadBalancer(IPv4Network("192.168.10.8/30")))
    assert [str(address) for address in node_addresses(topology).values()] == [
        f"192.168.10.{number}" for number in (12, 13, 14)
    ]


def test_the_routers_outside_address_is_none_of_the_pool() -> None:
    topology = RACKS._replace(load_balancer=LoadBalancer(IPv4Network("100.64.0.0/24")))
    assert addresses(topology, "router")["wan"] == "198.18.0.1/32"


def test_subnets_are_found_by_name() -> None:
    assert {name: subnet.name for name, subnet in node_subnets(RACKS).items()} == {
        "node1": "rack-a",
        "node2": "rack-b",
    }


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        pytest.param(
            lan(*(NodeSpec(name) for name in "abcdef"), cidr="10.1.0.0/29"),
            "subnet lan (10.1.0.0/29) has no free address for node f",
            id="a full subnet",
        ),
        pytest.param(
            lan(NodeSpec("a", "rack-z")),
            "node a is in subnet rack-z, which the Topology does not have",
            id="an unknown subnet",
        ),
        pytest.param(
            lan(NodeSpec("a", address=IPv4Address("10.9.9.9"))),
            "node a has 10.9.9.9, outside subnet lan (192.168.10.0/24)",
            id="an address outside the subnet",
        ),
        pytest.param(
            lan(NodeSpec("a", address=IPv4Address("192.168.10.1"))),
            "192.168.10.1 is wanted by the gateway of subnet lan and by node a; change one of them",
            id="the gateway's address",
        ),
        pytest.param(
            lan(NodeSpec("router")),
            "two hosts are called router: router and node router; rename one of them",
            id="a node called router",
        ),
        pytest.param(
            lan(
                external=tuple(
                    ExternalHost(f"h{number}", IPv4Address(address))
                    for number, address in enumerate(("100.64.0.1", "198.18.0.1", "192.0.2.1"))
                )
            ),
            "the Topology uses all of 100.64.0.1, 198.18.0.1, 192.0.2.1;"
            " leave one to the router's outside interface",
            id="no address left for the router",
        ),
    ],
)
def test_a_topology_that_contradicts_itself_is_refused(topology: Topology, message: str) -> None:
    with pytest.raises(PlanError) as refused:
        fabric_entries(topology)
    assert str(refused.value) == message


def references(entry: Entry) -> list[tuple[str, ...]]:
    match entry:
        case Interface(host=host, master=master):
            return [("host", host)] + ([("interface", host, master)] if master else [])
        case Link(a=a, b=b):
            return [("interface", a.host, a.interface), ("interface", b.host, b.interface)]
        case Address(host=host, interface=interface):
            return [("interface", host, interface)]
        case Route(on=host, device=device):
            return [("interface", host, device)]
        case _:
            return []


@pytest.mark.parametrize("topology", [Topology(), RACKS])
def test_entries_are_in_build_order_and_refer_to_what_is_there(topology: Topology) -> None:
    entries = fabric_entries(topology)
    ranks = [BUILD_ORDER.index(entry.key[0]) for entry in entries]
    assert ranks == sorted(ranks)
    plan = Plan(entries)
    assert len(plan) == len(entries)
    assert all(plan.get(key) is not None for entry in entries for key in references(entry))
    macs = [entry.mac for entry in entries if isinstance(entry, Interface)]
    assert len(macs) == len(set(macs))
    assert all(isinstance(e.address, IPv4Interface) for e in entries if isinstance(e, Address))
