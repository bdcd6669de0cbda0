"""Ranges and addresses: podCIDRs of Nodes, addresses of Pods, ClusterIPs and node ports of Services."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import AllocationError
from netsim.base.rng import Rng
from netsim.controllers.bands import Bands
from netsim.controllers.ipam import PodAddresses
from netsim.controllers.services import cluster_ip_bands, gave_back, node_port_bands
from netsim.objects.core import Node, NodeSpec, PodSpec, Service, ServicePort
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.store.indexes import Index
from netsim.store.store import EventType, Store, StoreEvent
from tests.controllers.world import World, node, pod, service, small

# --- podCIDRs


def cidrs(world: World) -> dict[str, str]:
    return {n.metadata.name: n.spec.pod_cidr for n in world.store.list(Node)}


def test_nodes_get_their_ranges_in_the_order_in_which_they_came() -> None:
    assert cidrs(World(nodes=3)) == {
        "node1": "10.244.0.0/24",
        "node2": "10.244.1.0/24",
        "node3": "10.244.2.0/24",
    }


def test_a_range_that_a_user_wrote_is_honoured() -> None:
    own = Node(metadata=ObjectMeta(name="own"), spec=NodeSpec(pod_cidr="10.244.0.0/24"))
    world = World(own, node("next"), nodes=0)
    assert cidrs(world) == {"own": "10.244.0.0/24", "next": "10.244.1.0/24"}
    assert world.store.get(Node, "next").spec.pod_cidrs == ("10.244.1.0/24",)


def test_the_mask_size_is_the_topology_s() -> None:
    assert cidrs(World(networking=small("10.1.0.0/16", 26))) == {
        "node1": "10.1.0.0/26",
        "node2": "10.1.0.64/26",
    }


def test_a_node_without_a_range_waits_for_one_that_comes_free() -> None:
    world = World(networking=small("10.1.0.0/23", 24), nodes=3)
    assert world.manager.waiting() == [
        "Node node3: no podCIDR is left: podSubnet 10.1.0.0/23 holds 2 of size /24"
    ]
    world.delete("Node", "node1", "")
    assert cidrs(world) == {"node2": "10.1.1.0/24", "node3": "10.1.0.0/24"}
    assert world.manager.waiting() == []


# --- Pod addresses


@pytest.fixture
def addresses() -> PodAddresses:
    store = Store(Rng(1))
    for name, cidr in (("node1", "10.244.1.0/24"), ("tiny", "10.244.2.0/29"), ("bare", "")):
        made = node(name, address="192.168.10.10")
        store.create(Node(metadata=made.metadata, spec=NodeSpec(pod_cidr=cidr), status=made.status), 0)
    store.create(pod("host", spec=PodSpec(host_network=True)), 0)
    return PodAddresses(store)


def named(name: str) -> ObjectRef:
    return ObjectRef("Pod", "dev", name)


def test_the_first_pod_of_a_node_has_the_address_after_cni0(addresses: PodAddresses) -> None:
    assert addresses.allocate("node1", named("a")) == (IPv4Address("10.244.1.2"),)
    assert addresses.allocate("node1", named("b")) == (IPv4Address("10.244.1.3"),)
    assert addresses.allocate("tiny", named("c")) == (IPv4Address("10.244.2.2"),)


def test_asked_again_a_pod_gets_the_same_address(addresses: PodAddresses) -> None:
    assert addresses.allocate("node1", named("a")) == addresses.allocate("node1", named("a"))


def test_a_replacement_gets_a_new_address_until_the_range_comes_round(addresses: PodAddresses) -> None:
    given_out = []
    for number in range(7):
        given_out += map(str, addresses.allocate("tiny", named(f"p{number}")))
        addresses.release(named(f"p{number}"))
    last = [address.rpartition(".")[2] for address in given_out]
    assert last == ["2", "3", "4", "5", "6", "2", "3"]


def test_a_full_range_refuses_in_the_plugin_s_words_and_names_who_waits(addresses: PodAddresses) -> None:
    for number in range(5):
        addresses.allocate("tiny", named(f"p{number}"))
    message = "failed to allocate for range 0: no IP addresses available in range set: 10.244.2.1-10.244.2.6"
    with pytest.raises(AllocationError) as refused:
        addresses.allocate("tiny", named("late"))
    assert str(refused.value) == message
    assert addresses.waiting() == [f"Pod dev/late: {message} (on tiny)"]
    addresses.release(named("p2"))
    assert addresses.allocate("tiny", named("late")) == (IPv4Address("10.244.2.4"),)
    assert addresses.waiting() == []


def test_a_pod_that_gives_up_waits_no_longer(addresses: PodAddresses) -> None:
    with pytest.raises(AllocationError):
        addresses.allocate("bare", named("a"))
    addresses.release(named("a"))
    assert addresses.waiting() == []


def test_a_node_without_a_range_says_so(addresses: PodAddresses) -> None:
    with pytest.raises(AllocationError, match='node "bare" pod cidr not assigned'):
        addresses.allocate("bare", named("a"))


def test_a_host_network_pod_has_the_node_s_address(addresses: PodAddresses) -> None:
    assert addresses.allocate("bare", named("host")) == (IPv4Address("192.168.10.10"),)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=40))
def test_no_two_pods_hold_one_address(steps: list[tuple[bool, int]]) -> None:
    store = Store(Rng(1))
    store.create(Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(pod_cidr="10.0.0.0/29")), 0)
    addresses, held = PodAddresses(store), {}
    for wants, number in steps:
        ref = named(f"p{number}")
        if not wants:
            addresses.release(ref)
            held.pop(ref, None)
        elif len(held) == 5 and ref not in held:
            with pytest.raises(AllocationError):
                addresses.allocate("n", ref)
        else:
            (held[ref],) = addresses.allocate("n", ref)
        assert len(set(held.values())) == len(held)
        assert all(IPv4Address("10.0.0.2") <= a <= IPv4Address("10.0.0.6") for a in held.values())


# --- bands


@pytest.mark.parametrize(
    ("subnet", "static"),
    [("10.96.0.0/16", 256), ("10.96.0.0/22", 64), ("10.96.0.0/26", 16), ("10.0.0.0/29", 0)],
)
def test_the_static_band_of_addresses_is_kep_3070_s(subnet: str, static: int) -> None:
    network = IPv4Network(subnet)
    bands = cluster_ip_bands(network)
    first_dynamic = int(network[1]) + static
    assert bands == (int(network[1]), first_dynamic, int(network[-2]))


def test_the_static_band_of_node_ports_is_kep_3668_s() -> None:
    assert node_port_bands() == (30000, 30086, 32767)


def test_the_upper_band_is_used_up_before_the_lower() -> None:
    bands, taken = Bands(1, 4, 6), []
    for _ in range(7):
        number = bands.pick(Rng(1).derive(str(len(taken))), lambda n: n not in taken)
        taken.append(number)
    assert sorted(taken[:3]) == [4, 5, 6]
    assert sorted(taken[3:6]) == [1, 2, 3]
    assert taken[6] is None


# --- ClusterIPs


def test_the_api_server_s_own_service_has_the_first_address() -> None:
    world = World(service("early"), service("kubernetes", namespace="default"))
    assert world.service("kubernetes", "default").spec.cluster_ip == "10.96.0.1"
    assert world.service("early").spec.cluster_ip != "10.96.0.1"


def test_an_allocated_service_has_all_the_fields_of_one() -> None:
    spec = World(service("ent")).service("ent").spec
    assert spec.cluster_ips == (spec.cluster_ip,)
    assert (spec.ip_families, spec.ip_family_policy) == (("IPv4",), "SingleStack")
    assert IPv4Address(spec.cluster_ip) in IPv4Network("10.96.1.0/24").supernet(8)
    assert int(IPv4Address(spec.cluster_ip)) >= int(IPv4Address("10.96.1.0"))


def test_an_address_depends_on_seed_and_name_only() -> None:
    def address(world: World) -> str:
        return world.service("ent").spec.cluster_ip

    mine = address(World(service("ent")))
    assert address(World(service("other"), service("ent"), service("third"))) == mine
    assert address(World(service("ent"), seed=2)) != mine


def test_explicit_addresses_are_honoured_whoever_comes_first() -> None:
    lucky = World(service("ent")).service("ent").spec.cluster_ip
    world = World(service("ent"), service("explicit", cluster_ip=lucky))
    assert world.service("explicit").spec.cluster_ip == lucky
    assert world.service("ent").spec.cluster_ip not in ("", lucky)
    assert world.service("explicit").spec.cluster_ips == (lucky,)


def test_headless_and_external_services_take_no_address() -> None:
    world = World(
        service("headless", cluster_ip="None"),
        service("out", type="ExternalName", external_name="example.com"),
    )
    assert world.service("headless").spec.cluster_ips == ("None",)
    assert world.service("out").spec.cluster_ip == ""


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (
            "10.96.0.9",
            "failed to allocate IP 10.96.0.9: provided IP is already allocated (to Service dev/first)",
        ),
        (
            "10.0.0.9",
            "failed to allocate IP 10.0.0.9: the provided IP (10.0.0.9) is not in the valid range. "
            "The range of valid IPs is 10.96.0.0/16",
        ),
    ],
)
def test_an_explicit_address_that_cannot_be_had_is_named(address: str, why: str) -> None:
    world = World(service("first", cluster_ip="10.96.0.9"), service("second", cluster_ip=address))
    assert world.manager.waiting() == [f"Service dev/second: {why}"]


def test_an_exhausted_range_is_named_and_served_when_an_address_comes_free() -> None:
    world = World(*(service(f"s{number}") for number in range(6)), networking=small(services="10.9.0.0/29"))
    given_out = [s.spec.cluster_ip for s in world.store.list(Service)]
    assert sorted(filter(None, given_out)) == [f"10.9.0.{n}" for n in range(2, 7)]
    assert world.manager.waiting() == [
        "Service dev/s5: failed to allocate a serviceIP: range is full (serviceSubnet 10.9.0.0/29)"
    ]
    freed = world.service("s2").spec.cluster_ip
    world.delete("Service", "s2")
    assert world.service("s5").spec.cluster_ip == freed
    assert world.manager.waiting() == []


# --- node ports


def test_a_node_port_is_picked_in_the_upper_band() -> None:
    (port,) = World(service("ent", type="NodePort")).service("ent").spec.ports
    assert port.node_port is not None
    assert 30086 <= port.node_port <= 32767


def test_one_port_has_the_same_node_port_for_both_protocols() -> None:
    ports = (ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp", "TCP"), ServicePort(80, "http"))
    udp, tcp, http = World(service("dns", type="NodePort", ports=ports)).service("dns").spec.ports
    assert udp.node_port == tcp.node_port != http.node_port


def test_a_node_port_that_a_user_wrote_stays() -> None:
    ports = (ServicePort(80, "http", node_port=30001), ServicePort(81, "more"))
    first, second = World(service("ent", type="NodePort", ports=ports)).service("ent").spec.ports
    assert first.node_port == 30001
    assert second.node_port not in (None, 30001)


def test_a_load_balancer_has_node_ports_unless_it_declines() -> None:
    world = World(
        service("yes", type="LoadBalancer"),
        service("no", type="LoadBalancer", rest={"allocateLoadBalancerNodePorts": False}),
    )
    assert world.service("yes").spec.ports[0].node_port is not None
    assert world.service("no").spec.ports[0].node_port is None


@pytest.mark.parametrize(
    ("kind", "policy", "given"),
    [("LoadBalancer", "Local", True), ("LoadBalancer", "Cluster", False), ("NodePort", "Local", False)],
)
def test_a_local_load_balancer_has_a_health_check_node_port(kind: str, policy: str, given: bool) -> None:
    first, second = (
        World(service("web", type=kind, external_traffic_policy=policy), service("other", type=kind))
        .service("web")
        .spec
        for _ in range(2)
    )
    port = first.rest.get("healthCheckNodePort")
    assert (port is not None) is given
    assert port == second.rest.get("healthCheckNodePort"), "the same in every run"
    assert port is None or (30086 <= port <= 32767 and port != first.ports[0].node_port)


def test_a_health_check_node_port_is_taken_for_others() -> None:
    own = {"healthCheckNodePort": 30123}
    world = World(service("web", type="LoadBalancer", external_traffic_policy="Local", rest=own))
    assert world.service("web").spec.rest["healthCheckNodePort"] == 30123
    assert world.store.count(Index.NODE_PORT, "TCP", 30123) == 1


@pytest.mark.parametrize(
    ("change", "freed"),
    [
        ({}, False),
        ({"session_affinity": "ClientIP"}, False),
        ({"ports": (ServicePort(80, node_port=30080), ServicePort(443, node_port=30443))}, False),
        ({"ports": (ServicePort(80, node_port=30081),)}, True),
        ({"type": "ClusterIP"}, True),
        ({"type": "ExternalName", "cluster_ip": "", "cluster_ips": ()}, True),
    ],
    ids=str,
)
def test_those_who_wait_look_again_only_when_something_came_free(
    change: dict[str, object], freed: bool
) -> None:
    held = {"cluster_ip": "10.96.0.9", "cluster_ips": ("10.96.0.9",)}
    old = service("web", type="NodePort", ports=(ServicePort(80, node_port=30080),), **held)
    new = replace(old, spec=replace(old.spec, **change))
    indexes = (Index.CLUSTER_IP, Index.NODE_PORT)
    assert gave_back(StoreEvent(EventType.MODIFIED, new, old), *indexes) is freed
    assert not gave_back(StoreEvent(EventType.ADDED, old), *indexes)
    assert gave_back(StoreEvent(EventType.DELETED, old, old), *indexes)
