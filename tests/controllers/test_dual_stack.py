"""Both families: podCIDRs, Pods' addresses, Services' families and ClusterIPs, endpoints of each family."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import AllocationError, Invalid
from netsim.base.rng import Rng
from netsim.controllers.families import with_families
from netsim.controllers.ipam import PodAddresses
from netsim.objects.core import (
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Service,
    ServiceSpec,
)
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.store.store import Store
from tests.controllers.world import World, deployment, dual, pod, service, small

V4, V6 = ("IPv4",), ("IPv6",)
V46, V64 = ("IPv4", "IPv6"), ("IPv6", "IPv4")
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
WEB = {"app": "web"}


# --- nodes and Pods


def test_a_node_has_a_podcidr_of_each_family_the_primary_s_first() -> None:
    held = {n.metadata.name: n.spec for n in World(networking=dual(), nodes=3).store.list(Node)}
    assert {name: spec.pod_cidrs for name, spec in held.items()} == {
        "node1": ("10.244.0.0/24", "fd00:10:244::/64"),
        "node2": ("10.244.1.0/24", "fd00:10:244:1::/64"),
        "node3": ("10.244.2.0/24", "fd00:10:244:2::/64"),
    }
    assert held["node2"].pod_cidr == "10.244.1.0/24"


def test_the_smaller_of_the_two_subnets_says_how_many_nodes_there_may_be() -> None:
    world = World(networking=dual(pods="fd00:10:244::/63"), nodes=3)
    assert world.manager.waiting() == [
        "Node node3: no podCIDR is left: podSubnet fd00:10:244::/63 holds 2 of size /64"
    ]
    assert world.store.get(Node, "node3").spec.pod_cidrs == ()
    world.delete("Node", "node1", "")
    assert world.store.get(Node, "node3").spec.pod_cidrs == ("10.244.2.0/24", "fd00:10:244::/64")


def test_a_pod_has_an_address_of_each_podcidr_of_its_node() -> None:
    world = World(pod("a"), pod("b"), networking=dual(), nodes=1)
    assert [entry.ip for entry in world.pod("a").status.pod_ips] == ["10.244.0.2", "fd00:10:244::2"]
    assert [entry.ip for entry in world.pod("b").status.pod_ips] == ["10.244.0.3", "fd00:10:244::3"]
    assert world.pod("b").status.pod_ip == "10.244.0.3"


def small_store(*cidrs: str) -> PodAddresses:
    store = Store(Rng(1))
    addresses = (NodeAddress("InternalIP", "192.168.10.10"), NodeAddress("InternalIP", "fd00:192::10"))
    spec = NodeSpec(pod_cidr=cidrs[0], pod_cidrs=cidrs)
    store.create(Node(metadata=ObjectMeta(name="n"), spec=spec, status=NodeStatus(addresses=addresses)), 0)
    store.create(pod("host", spec=PodSpec(host_network=True)), 0)
    return PodAddresses(store)


def named(name: str) -> ObjectRef:
    return ObjectRef("Pod", "dev", name)


def test_ipv6_has_no_broadcast_address_to_leave_out() -> None:
    addresses = small_store("10.0.0.0/24", "fd00::/126")
    given_out = [addresses.allocate("n", named(f"p{number}"))[1] for number in range(2)]
    assert [str(address) for address in given_out] == ["fd00::2", "fd00::3"]


def test_a_pod_that_lacks_one_family_gets_none_and_holds_none() -> None:
    addresses = small_store("10.0.0.0/24", "fd00::/126")
    for number in range(2):
        addresses.allocate("n", named(f"p{number}"))
    for _ in range(2):
        with pytest.raises(AllocationError) as refused:
            addresses.allocate("n", named("late"))
    assert str(refused.value) == (
        "failed to allocate for range 1: no IP addresses available in range set: fd00::1-fd00::3"
    )
    addresses.release(named("p0"))
    assert [str(address) for address in addresses.allocate("n", named("late"))] == ["10.0.0.6", "fd00::2"]


def test_a_host_network_pod_has_all_the_node_s_addresses() -> None:
    found = small_store("10.0.0.0/24", "fd00::/64").allocate("n", named("host"))
    assert [str(address) for address in found] == ["192.168.10.10", "fd00:192::10"]


# --- Services


@pytest.mark.parametrize(
    ("policy", "asked", "stored_policy", "stored"),
    [
        ("", (), SINGLE, V4),
        ("", V6, SINGLE, V6),
        (SINGLE, (), SINGLE, V4),
        (SINGLE, V6, SINGLE, V6),
        (PREFER, (), PREFER, V46),
        (PREFER, V6, PREFER, V64),
        (PREFER, V64, PREFER, V64),
        (REQUIRE, (), REQUIRE, V46),
        (REQUIRE, V4, REQUIRE, V46),
        (REQUIRE, V6, REQUIRE, V64),
    ],
)
@pytest.mark.parametrize("headless", [False, True])
def test_families_of_a_service_with_a_selector(
    policy: str, asked: tuple[str, ...], stored_policy: str, stored: tuple[str, ...], headless: bool
) -> None:
    more = {"cluster_ip": "None"} if headless else {}
    asking = service("web", WEB, ip_family_policy=policy, ip_families=asked, **more)
    spec = World(asking, networking=dual()).service("web").spec
    assert (spec.ip_family_policy, spec.ip_families) == (stored_policy, stored)
    if headless:
        assert spec.cluster_ips == ("None",)
        return
    assert spec.cluster_ip == spec.cluster_ips[0]
    assert tuple(f"IPv{ip_address(address).version}" for address in spec.cluster_ips) == stored
    for address in spec.cluster_ips:
        subnets = map(ip_network, ("10.96.0.0/16", "fd00:10:96::/112"))
        assert any(ip_address(address) in subnet for subnet in subnets)


@pytest.mark.parametrize(
    ("policy", "asked", "stored_policy", "stored"),
    [
        ("", (), REQUIRE, V46),
        ("", V6, REQUIRE, V64),
        (PREFER, (), PREFER, V46),
        (SINGLE, (), SINGLE, V4),
        (SINGLE, V6, SINGLE, V6),
    ],
)
@pytest.mark.parametrize("cluster", [V4, V46])
def test_a_headless_service_without_a_selector_may_have_families_that_the_cluster_has_not(
    policy: str,
    asked: tuple[str, ...],
    stored_policy: str,
    stored: tuple[str, ...],
    cluster: tuple[str, ...],
) -> None:
    spec = ServiceSpec(cluster_ip="None", ip_family_policy=policy, ip_families=asked)
    filled = with_families(spec, cluster)
    assert (filled.ip_family_policy, filled.ip_families) == (stored_policy, stored)


def test_on_a_cluster_of_one_family_prefer_dual_stack_gives_one_address() -> None:
    spec = World(service("web", ip_family_policy=PREFER)).service("web").spec
    assert (spec.ip_family_policy, spec.ip_families, len(spec.cluster_ips)) == (PREFER, V4, 1)


def test_addresses_that_a_user_chose_say_the_families() -> None:
    chosen = ("fd00:10:96::77", "10.96.7.7")
    asking = service("web", ip_family_policy=REQUIRE, cluster_ip=chosen[0], cluster_ips=chosen)
    spec = World(asking, networking=dual()).service("web").spec
    assert (spec.cluster_ips, spec.ip_families) == (chosen, V64)
    single = World(service("six", cluster_ip="fd00:10:96::77"), networking=dual()).service("six").spec
    assert (single.cluster_ips, single.ip_families, single.ip_family_policy) == (
        ("fd00:10:96::77",),
        V6,
        SINGLE,
    )


def test_an_ipv4_address_is_the_same_with_and_without_ipv6_beside_it() -> None:
    alone = World(service("web")).service("web").spec.cluster_ip
    both = World(service("web", ip_family_policy=REQUIRE), networking=dual()).service("web").spec
    assert both.cluster_ips[0] == alone


def test_external_names_have_no_family() -> None:
    out = service("out", type="ExternalName", external_name="example.com")
    spec = World(out, networking=dual()).service("out").spec
    assert (spec.ip_families, spec.ip_family_policy, spec.cluster_ips) == ((), "", ())


def test_a_service_gets_a_second_family_keeps_its_first_address_and_gives_the_second_back() -> None:
    world = World(service("web", WEB), pod("a", labels=WEB), networking=dual())
    first = world.service("web").spec.cluster_ip
    world.apply(service("web", WEB, ip_family_policy=PREFER))
    both = world.service("web").spec
    assert (both.cluster_ips[0], both.ip_families, len(both.cluster_ips)) == (first, V46, 2)
    assert [piece.address_type for piece in world.slices("web")] == ["IPv4", "IPv6"]
    world.apply(service("web", WEB, ip_family_policy=SINGLE))
    single = world.service("web").spec
    assert (single.cluster_ips, single.ip_families) == ((first,), V4)
    assert [piece.address_type for piece in world.slices("web")] == ["IPv4"]


def test_a_service_waits_for_the_family_that_is_used_up() -> None:
    networking = dual(services="fd00:10:96::/126")  # ::1 to ::3, and ::1 is the API server's
    more = [service(f"s{number}", ip_family_policy=REQUIRE) for number in range(3)]
    world = World(*more, networking=networking)
    assert world.manager.waiting() == [
        "Service dev/s2: failed to allocate a serviceIP: range is full (serviceSubnet fd00:10:96::/126)"
    ]
    assert world.service("s2").spec.cluster_ips == ()
    world.delete("Service", "s0")
    assert len(world.service("s2").spec.cluster_ips) == 2
    assert world.manager.waiting() == []


BOTH_ADDRESSES = ("10.96.7.7", "fd00:10:96::77")


@pytest.mark.parametrize(
    ("had", "asked", "why"),
    [
        pytest.param(
            {},
            {"ip_families": V46},
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
            "'PreferDualStack' when multiple IP families are specified",
            id="two families without a policy",
        ),
        pytest.param(
            {},
            {"cluster_ip": "10.96.7.7", "cluster_ips": BOTH_ADDRESSES},
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
            "'PreferDualStack' when multiple cluster IPs are specified",
            id="two addresses without a policy",
        ),
        pytest.param(
            {"ip_family_policy": REQUIRE},
            {"ip_families": V4},
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the "
            "secondary IP family",
            id="one family less",
        ),
        pytest.param(
            {"ip_family_policy": PREFER},
            {"cluster_ip": "10.96.7.7", "cluster_ips": BOTH_ADDRESSES[:1]},
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the "
            "secondary cluster IP",
            id="one address less",
        ),
        pytest.param(
            {"ip_family_policy": PREFER},
            {"ip_families": V64},
            'spec.ipFamilies[0]: Invalid value: ["IPv6","IPv4"]: may not change once set',
            id="the other order",
        ),
        pytest.param(
            {},
            {"ip_families": V6},
            'spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set',
            id="the other family",
        ),
        pytest.param(
            {"ip_family_policy": REQUIRE},
            {"cluster_ip": "10.96.7.7", "cluster_ips": ("10.96.7.7", "fd00:10:96::78")},
            'spec.clusterIPs[1]: Invalid value: ["10.96.7.7","fd00:10:96::78"]: may not change once set',
            id="another second address",
        ),
    ],
)
def test_what_of_the_families_may_not_change_is_refused_in_the_api_server_s_words(
    had: dict[str, Any], asked: dict[str, Any], why: str
) -> None:
    addresses = BOTH_ADDRESSES if had else BOTH_ADDRESSES[:1]
    old = service("web", WEB, cluster_ip=addresses[0], cluster_ips=addresses, **had)
    world = World(old, networking=dual())
    before = world.service("web")
    assert before.spec.cluster_ips == addresses
    with pytest.raises(Invalid) as refused:
        world.apply(service("web", WEB, **asked))
    assert str(refused.value) == f'Service "web" is invalid: {why}'
    assert world.service("web") == before


# --- endpoints


def by_family(world: World, name: str = "web") -> dict[str, list[str]]:
    held: dict[str, list[str]] = {}
    for piece in world.slices(name):
        listed = held.setdefault(piece.address_type, [])
        listed += [address for endpoint in piece.endpoints for address in endpoint.addresses]
    return held


def test_each_family_of_a_service_has_slices_with_the_pods_addresses_of_it() -> None:
    world = World(
        pod("a", labels=WEB),
        pod("b", labels=WEB),
        service("web", WEB, ip_family_policy=PREFER),
        service("six", WEB, ip_families=V6),
        networking=dual(),
        nodes=1,
    )
    six = ["fd00:10:244::2", "fd00:10:244::3"]
    assert by_family(world) == {"IPv4": ["10.244.0.2", "10.244.0.3"], "IPv6": six}
    assert by_family(world, "six") == {"IPv6": six}
    (subset,) = world.endpoints("six").subsets
    assert [address.ip for address in subset.addresses] == six
    (subset,) = world.endpoints("web").subsets
    assert [address.ip for address in subset.addresses] == ["10.244.0.2", "10.244.0.3"]


def test_a_pod_without_an_address_of_the_family_is_no_endpoint_of_it() -> None:
    world = World(service("six", WEB, ip_families=V6), networking=dual(), kubelet=False)
    assert [(piece.address_type, piece.endpoints) for piece in world.slices("six")] == [("IPv6", ())]
    alone = replace(pod("a", labels=WEB), status=PodStatus(pod_ip="10.9.9.9", pod_ips=(PodIP("10.9.9.9"),)))
    world.add(alone)
    assert by_family(world, "six") == {"IPv6": []}
    assert world.endpoints("six").subsets == ()


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, int, str]:
    what = draw(st.sampled_from(("policy", "scale", "unready", "ready", "delete")))
    return what, draw(st.integers(0, 4)), draw(st.sampled_from((SINGLE, PREFER, REQUIRE)))


@given(st.lists(steps(), max_size=8))
def test_whatever_happens_each_family_has_the_endpoints_that_a_fresh_start_would_give(
    happened: list[tuple[str, int, str]],
) -> None:
    web = service("web", {"app": "shop"}, ip_family_policy=PREFER)
    world = World(deployment("shop", 2), web, networking=dual())
    for what, number, policy in happened:
        pods = world.pods("dev")
        chosen = pods[number % len(pods)] if pods else None
        if what == "policy":
            world.apply(service("web", {"app": "shop"}, ip_family_policy=policy))
        elif what == "scale":
            world.scale("shop", number)
        elif chosen is not None and what == "delete":
            world.delete("Pod", chosen.metadata.name)
        elif chosen is not None:
            world.report(chosen.ref, ready=what == "ready")
            world.settle()
    found = world.service("web")
    assert set(by_family(world)) == set(found.spec.ip_families)
    for family in found.spec.ip_families:
        shown = {
            address: endpoint.conditions.ready
            for piece in world.slices("web")
            if piece.address_type == family
            for endpoint in piece.endpoints
            for address in endpoint.addresses
        }
        wanted = {one.status.address_of(family): one.condition("Ready") for one in world.pods("dev")}
        assert shown == wanted
        fresh = World(networking=dual(), kubelet=False, nodes=0)
        fresh.add(*(replace(one, metadata=replace(one.metadata, uid="")) for one in world.store.list(Pod)))
        fresh.add(Service(metadata=ObjectMeta(name="web", namespace="dev"), spec=found.spec))
        assert sorted(by_family(fresh)[family]) == sorted(shown)


def test_a_cluster_of_one_family_is_what_it_was() -> None:
    world = World(pod("a", labels=WEB), service("web", WEB), networking=small())
    assert by_family(world) == {"IPv4": [world.pod("a").status.pod_ip]}
    assert len(world.pod("a").status.pod_ips) == 1
