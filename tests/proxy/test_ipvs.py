"""IPVS mode: what a Service is on every node, the sets and rules of the mode, and that deltas add up."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given

from netsim.net.ipvs_schedulers import SCHEDULERS
from netsim.objects.core import Node, ServicePort, ServiceStatus
from netsim.objects.discovery import EndpointPort
from netsim.objects.meta import Object, ObjectMeta
from netsim.plan.entries import (
    NODES,
    Action,
    Hook,
    HostName,
    Interface,
    InterfaceKind,
    LocalAddresses,
    Masquerade,
    PodTraffic,
    Rule,
    Schedule,
    SharedAddress,
    Sysctl,
    VirtualServer,
)
from netsim.proxy.proxier import Proxier
from netsim.proxy.render_ipvs import Node as ProxiedNode
from netsim.proxy.render_ipvs import render_ipset, render_ipvs_iptables, sets_of
from netsim.proxy.settings import IPVS, ProxySettings
from tests.conftest import Golden
from tests.proxy.objects import added, deleted, endpoint, modified, service, slice_of
from tests.proxy.test_proxier import Cluster, events, reachable_from_outside, steps
from tests.proxy.test_render_iptables import policies

PODS = IPv4Network("10.244.0.0/16")
HOSTS = {"node1": HostName("node1"), "node2": HostName("node2")}
SETTINGS = ProxySettings(PODS, IPVS, hosts=HOSTS)
NODE1 = ProxiedNode(
    "node1",
    (IPv4Address("192.168.10.11"), IPv4Address("10.244.1.1")),
    IPv4Address("192.168.10.11"),
    PodTraffic(PODS),
)
DUMMY = "kube-ipvs0"


def node(name: str) -> Node:
    return Node(metadata=ObjectMeta(name=name))


def servers(cluster: Cluster) -> dict[tuple[str, int], VirtualServer]:
    found = [entry for entry in cluster.plan if isinstance(entry, VirtualServer)]
    return {(entry.key[3], entry.port): entry for entry in found}


def addresses(cluster: Cluster) -> set[str]:
    return {str(entry.address) for entry in cluster.plan if isinstance(entry, SharedAddress)}


def test_each_node_has_the_dummy_interface_and_all_share_what_guards_it() -> None:
    cluster = Cluster(SETTINGS)
    delta = cluster.feed(added(node("node1")), added(node("elsewhere")), added(node("node2")))
    assert [entry.key for entry in delta.put] == [("interface", "node2", DUMMY), ("place", "node2")]
    kinds = {entry.kind for entry in cluster.plan if isinstance(entry, Interface)}
    assert kinds == {InterfaceKind.DUMMY}
    (rule,) = (entry for entry in cluster.plan if isinstance(entry, Rule))
    assert (rule.on, rule.hook, rule.action, rule.match.unserved_on) == (
        NODES, Hook.INPUT, Action.REJECT, DUMMY,
    )  # fmt: skip
    assert not [entry for entry in cluster.plan if isinstance(entry, Sysctl)], "no route_localnet here"
    cluster.feed(deleted(node("node1")), deleted(node("node2")))
    assert [entry.key[0] for entry in cluster.plan] == ["rule"]
    cluster.feed(deleted(node("elsewhere")))
    assert len(cluster.plan) == 0


def test_strict_arp_is_two_sysctls_on_all_nodes() -> None:
    cluster = Cluster(SETTINGS._replace(strict_arp=True))
    cluster.feed(added(node("node1")))
    found = {entry.name: entry.value for entry in cluster.plan if isinstance(entry, Sysctl)}
    assert found == {"arp_ignore": 1, "arp_announce": 2}


def test_every_address_of_a_service_is_shared_and_has_a_virtual_server() -> None:
    cluster = Cluster(SETTINGS)
    cluster.feed(added(reachable_from_outside()), added(slice_of("prod/ent", "a", endpoint("10.244.1.2"))))
    assert addresses(cluster) == {"10.96.0.20", "203.0.113.5", "198.51.100.1"}
    found = servers(cluster)
    assert set(found) == {("10.96.0.20", 80), ("203.0.113.5", 80), ("198.51.100.1", 80), ("local", 30080)}
    assert {server.schedule for server in found.values()} == {Schedule.RR}
    assert {key[0]: server.masquerade for key, server in found.items()} == {
        "10.96.0.20": Masquerade.OUTSIDERS,
        "203.0.113.5": Masquerade.ALWAYS,
        "198.51.100.1": Masquerade.ALWAYS,
        "local": Masquerade.ALWAYS,
    }
    assert found["local", 30080].address == LocalAddresses(loopback=False)


def test_several_ports_share_one_address_until_the_last_is_gone() -> None:
    cluster = Cluster(SETTINGS)
    two = service("prod/ent", "10.96.0.20", ServicePort(80, "http"), ServicePort(443, "https"))
    cluster.feed(added(two))
    assert addresses(cluster) == {"10.96.0.20"}
    cluster.feed(modified(service("prod/ent", "10.96.0.20", ServicePort(443, "https"))))
    assert addresses(cluster) == {"10.96.0.20"}
    cluster.feed(deleted(service("prod/ent", "10.96.0.20", ServicePort(443, "https"))))
    assert addresses(cluster) == set()


def test_an_address_that_two_services_have_stays_for_the_other() -> None:
    cluster = Cluster(SETTINGS)
    first, second = service("dev/a", "10.96.0.1"), service("dev/b", "10.96.0.2", ServicePort(81))
    first, second = (
        replace(one, spec=replace(one.spec, external_ips=("203.0.113.5",))) for one in (first, second)
    )
    cluster.feed(added(first), added(second), deleted(first))
    assert addresses(cluster) == {"10.96.0.2", "203.0.113.5"}


def test_a_service_without_endpoints_keeps_its_address_and_says_what_happens() -> None:
    cluster = Cluster(SETTINGS)
    cluster.feed(added(service()))
    assert addresses(cluster) == {"10.96.0.20"}
    assert servers(cluster)["10.96.0.20", 80].cause.text == (
        "prod/ent:http has no endpoints: IPVS has no real server, ICMP port unreachable"
    )


@pytest.mark.parametrize(("protocol", "drain"), [("TCP", 60.0), ("UDP", 0.0), ("SCTP", 0.0)])
def test_tcp_servers_drain(protocol: str, drain: float) -> None:
    cluster = Cluster(SETTINGS)
    cluster.feed(added(service("prod/ent", "10.96.0.20", ServicePort(53, "p", protocol))))
    assert servers(cluster)["10.96.0.20", 53].drain == drain


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_the_scheduler_is_that_of_all_virtual_servers(schedule: Schedule) -> None:
    cluster = Cluster(SETTINGS._replace(scheduler=schedule))
    cluster.feed(added(reachable_from_outside()))
    assert {server.schedule for server in servers(cluster).values()} == {schedule}


def test_a_changed_endpoint_touches_its_own_service_only() -> None:
    cluster = Cluster(SETTINGS)
    for number in range(20):
        name = f"prod/s{number}"
        cluster.feed(
            added(service(name, f"10.96.1.{number}")),
            added(slice_of(name, "a", endpoint(f"10.244.1.{number}"))),
        )
    delta = cluster.feed(modified(slice_of("prod/s7", "a", endpoint("10.244.2.7"))))
    assert [entry.key for entry in delta.put] == [("virtual", NODES, "6", "10.96.1.7", "80")]
    assert delta.remove == ()


@given(steps)
def test_the_sum_of_the_deltas_is_the_plan_from_scratch(steps: list[tuple[Object, bool]]) -> None:
    history, live = events(steps)
    grown, fresh = Cluster(SETTINGS), Cluster(SETTINGS)
    for event in history:
        before = dict(grown.plan.entries)
        delta = grown.feed(event)
        assert all(before.get(entry.key) != entry for entry in delta.put), "a put that changes nothing"
        assert all(key in before for key in delta.remove), "a removal of what does not stand"
    fresh.feed(*(added(obj) for obj in reversed(live.values())))
    assert grown.plan == fresh.plan


# --- text ------------------------------------------------------------------------------------------------


def shop() -> Proxier:
    """Services of each kind, with endpoints on node1 and elsewhere."""
    proxier = Proxier(SETTINGS)
    dns = (ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp"))
    dns_ports = (EndpointPort("dns", 53, "UDP"), EndpointPort("dns-tcp", 53))
    sctp = service("prod/sig", "10.96.0.30", ServicePort(3868, "sig", "SCTP", node_port=30231))
    objects = (
        service("kube-system/kube-dns", "10.96.0.10", *dns),
        slice_of("kube-system/kube-dns", "a", endpoint("10.244.0.2"), ports=dns_ports),
        reachable_from_outside(),
        slice_of("prod/ent", "a", endpoint("10.244.1.10"), endpoint("10.244.1.9")),
        replace(sctp, spec=replace(sctp.spec, type="NodePort")),
    )
    for obj in objects:
        proxier.feed(added(obj))
    return proxier


def test_the_rules_of_a_node_are_these(golden: Golden) -> None:
    proxier = shop()
    golden("ipvs-iptables.txt", render_ipvs_iptables(proxier.service_ports(), SETTINGS, NODE1))


def test_the_sets_of_a_node_are_these(golden: Golden) -> None:
    proxier = shop()
    golden("ipset.txt", render_ipset(proxier.service_ports(), SETTINGS, NODE1))


def test_the_proxier_of_ipv6_has_sets_of_its_own(golden: Golden) -> None:
    """Their names have at most 31 characters, and the rules ask for those."""
    own, pods = IPv6Address("2001:db8::11"), IPv6Network("2001:db8:42::/48")
    settings = SETTINGS._replace(family=6, cluster_cidr=pods)
    node1 = ProxiedNode("node1", (own,), own, PodTraffic(pods))
    proxier = Proxier(settings)
    made = service("prod/ent", "2001:db8:96::1", ServicePort(80, "http", node_port=30080))
    ranges = ("2001:db8:7::/64", "2001:db8:8::1/128")
    status = ServiceStatus({"loadBalancer": {"ingress": [{"ip": "2001:db8:1b::1"}]}})
    spec = replace(
        made.spec,
        type="LoadBalancer",
        external_ips=("2001:db8:e::1",),
        rest={"loadBalancerSourceRanges": ranges},
    )
    proxier.feed(added(replace(made, spec=spec, status=status)))
    ready = slice_of("prod/ent", "a", endpoint("2001:db8:42:1::a"), endpoint("2001:db8:42:1::9"))
    proxier.feed(added(replace(ready, address_type="IPv6")))
    ports = proxier.service_ports()
    rules, sets = render_ipvs_iptables(ports, settings, node1), render_ipset(ports, settings, node1)
    names = set(re.findall("^Name: (.*)$", sets, re.MULTILINE))
    assert set(re.findall(r"--match-set (\S+)", rules)) <= names
    assert max(map(len, names)) == 31
    golden("ipvs-ip6tables.txt", f"{sets}\n{rules}")


def test_policies_and_source_ranges_have_sets_of_their_own(golden: Golden) -> None:
    ports = policies().service_ports()
    rules = render_ipvs_iptables(ports, SETTINGS, NODE1)
    members = sets_of(ports, NODE1)
    text = "".join(f"{name}\n{''.join(f'  {m}{chr(10)}' for m in found)}" for name, found in members.items())
    golden("ipvs-policies.txt", f"{text}\n{rules}")


@pytest.mark.parametrize(
    ("pods", "rule"),
    [
        (PodTraffic(PODS), "! -s 10.244.0.0/16 "),
        (PodTraffic(device="cni0"), "! -i cni0 "),
    ],
    ids=["source", "bridge"],
)
def test_the_detector_of_local_traffic_is_the_nodes(pods: PodTraffic, rule: str) -> None:
    text = render_ipvs_iptables(shop().service_ports(), SETTINGS, NODE1._replace(pods=pods))
    assert f"-A KUBE-SERVICES {rule}-m comment" in text


def test_the_rules_stay_as_many_with_more_services() -> None:
    proxier = shop()
    few = render_ipvs_iptables(proxier.service_ports(), SETTINGS, NODE1)
    for number in range(50):
        proxier.feed(added(service(f"prod/s{number}", f"10.96.1.{number}")))
    assert render_ipvs_iptables(proxier.service_ports(), SETTINGS, NODE1) == few


def test_only_endpoints_of_the_node_itself_are_looped_back() -> None:
    ports = shop().service_ports()
    elsewhere = ProxiedNode("node2", (IPv4Address("192.168.10.12"),))
    assert sets_of(ports, elsewhere)["KUBE-LOOP-BACK"] == []
    assert "10.244.1.9,tcp:8080,10.244.1.9" in sets_of(ports, NODE1)["KUBE-LOOP-BACK"]


def test_an_address_of_the_node_itself_is_not_guarded() -> None:
    proxier = Proxier(SETTINGS)
    own = service()
    proxier.feed(added(replace(own, spec=replace(own.spec, external_ips=("192.168.10.11",)))))
    members = sets_of(proxier.service_ports(), NODE1)
    assert members["KUBE-IPVS-IPS"] == ["10.96.0.20"]
    assert members["KUBE-EXTERNAL-IP"] == ["192.168.10.11,tcp:80"]


def test_without_a_cluster_cidr_only_what_has_a_services_address_is_masqueraded() -> None:
    ports = shop().service_ports()
    text = render_ipvs_iptables(ports, SETTINGS, NODE1._replace(pods=None))
    assert "--match-set KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ" in text


def test_a_load_balancer_that_comes_by_node_ports_is_in_no_set() -> None:
    proxier = Proxier(SETTINGS)
    status = ServiceStatus({"loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "Proxy"}]}})
    proxier.feed(added(replace(reachable_from_outside(), status=status)))
    assert sets_of(proxier.service_ports(), NODE1)["KUBE-LOAD-BALANCER"] == []
