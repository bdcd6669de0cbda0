"""The iptables rendering: names and texts as kube-proxy and iptables-save have them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from netsim.base.cause import Cause, Stage
from netsim.objects.core import Service, ServiceStatus
from netsim.objects.core import ServicePort as Port
from netsim.objects.discovery import EndpointPort
from netsim.plan.entries import Backend, HostName, Place, PodTraffic, Scope
from netsim.proxy.endpoints import ServiceEndpoint
from netsim.proxy.proxier import Proxier
from netsim.proxy.render_iptables import (
    LARGE_CLUSTER_ENDPOINTS,
    NODEPORTS_COMMENT,
    endpoint_chain,
    external_chain,
    render_iptables,
    render_probability,
    service_chain,
)
from netsim.proxy.service_port import ServicePort
from netsim.proxy.settings import ProxySettings
from tests.proxy.objects import STARTING, added, endpoint, service, slice_of

SETTINGS = ProxySettings(IPv4Network("10.244.0.0/16"))
PLACE = Place(
    Scope(HostName("node/node1")),
    "proxy",
    Cause(Stage.PLAN, "the test"),
    ("node/node1", "zone/a"),
    IPv4Address("192.168.10.11"),
    PodTraffic(SETTINGS.cluster_cidr),
)


def port_called(name: str, protocol: str = "TCP", *targets: str) -> ServicePort:
    """A port by its ``namespace/service:port`` name."""
    full, _, port_name = name.partition(":")
    namespace, _, short = full.partition("/")
    endpoints = tuple(
        ServiceEndpoint(
            target,
            Backend(IPv4Address(target.split(":")[0]), int(target.split(":")[1])),
            "",
            True,
            True,
            False,
        )
        for target in targets
    )
    port = ServicePort((namespace, short), port_name, protocol, IPv4Address("10.96.0.20"), 80)
    return port.with_endpoints(endpoints)


@pytest.mark.parametrize(
    ("name", "protocol", "chain"),
    [
        ("ns1/svc1:p80", "TCP", "KUBE-SVC-XPGD46QRK7WJZT7O"),
        ("default/kubernetes:https", "TCP", "KUBE-SVC-NPX46M4PTMTKRN6Y"),
        ("kube-system/kube-dns:dns", "UDP", "KUBE-SVC-TCOU7JCQXEZGVUNU"),
        ("kube-system/kube-dns:dns-tcp", "TCP", "KUBE-SVC-ERIFXISQEP7F7OF4"),
        ("kube-system/kube-dns:metrics", "TCP", "KUBE-SVC-JD5MR3NA4I4DYORP"),
        ("default/nginx", "TCP", "KUBE-SVC-2CMXP7HKUVJN7L6M"),
    ],
)
def test_service_chains_have_the_names_that_every_cluster_has(name: str, protocol: str, chain: str) -> None:
    assert service_chain(port_called(name, protocol)) == chain


@pytest.mark.parametrize(
    ("name", "protocol", "target", "chain"),
    [
        ("ns1/svc1:p80", "TCP", "10.180.0.1:80", "KUBE-SEP-SXIVWICOYRO3J4NJ"),
        ("kube-system/kube-dns:dns", "UDP", "10.244.0.2:53", "KUBE-SEP-YIL6JZP7A3QYXJU2"),
        ("default/nginx", "TCP", "10.244.0.20:80", "KUBE-SEP-BRZDTZFF2SFWJV4H"),
    ],
)
def test_endpoint_chains_too(name: str, protocol: str, target: str, chain: str) -> None:
    assert endpoint_chain(port_called(name, protocol), target) == chain


def test_what_comes_from_outside_has_a_chain_with_the_same_hash() -> None:
    assert external_chain(port_called("ns4/svc4:p80")) == "KUBE-EXT-4SW47YFZTEDKD3PK"


@pytest.mark.parametrize(
    ("choices", "text"),
    [(2, "0.50000000000"), (3, "0.33333333349"), (4, "0.25000000000"), (5, "0.20000000019")],
)
def test_probabilities_are_what_31_bits_leave_of_ten_decimals(choices: int, text: str) -> None:
    assert render_probability(choices) == text


def outside(name: str, cluster_ip: str, node_port: int) -> Service:
    """A Service of type LoadBalancer with a node port, an external address and an ingress address."""
    made = service(name, cluster_ip, Port(80, "http", node_port=node_port))
    last = cluster_ip.rpartition(".")[2]
    spec = replace(made.spec, type="LoadBalancer", external_ips=(f"203.0.113.{last}",))
    status = ServiceStatus({"loadBalancer": {"ingress": [{"ip": f"198.51.100.{last}"}]}})
    return replace(made, spec=spec, status=status)


def small_cluster() -> Proxier:
    """DNS, an API server, and Services with and without usable endpoints, from inside and from outside."""
    proxier = Proxier(SETTINGS)
    dns = (Port(53, "dns", "UDP"), Port(53, "dns-tcp"))
    dns_slice = (EndpointPort("dns", 53, "UDP"), EndpointPort("dns-tcp", 53))
    pods = [endpoint(f"10.244.0.{number}") for number in (2, 3)]
    shops = [endpoint(f"10.244.1.{number}") for number in (2, 3, 10)]
    api = (EndpointPort("https", 6443),)
    for obj in (
        service("kube-system/kube-dns", "10.96.0.10", *dns),
        slice_of("kube-system/kube-dns", "a", *pods, ports=dns_slice),
        service("default/kubernetes", "10.96.0.1", Port(443, "https")),
        slice_of("default/kubernetes", "a", endpoint("192.168.10.10"), ports=api),
        service("prod/ent", "10.96.0.20", Port(8080)),
        slice_of("prod/ent", "a", *shops, ports=(EndpointPort("", 80),)),
        outside("prod/edge", "10.96.0.22", 30080),
        slice_of("prod/edge", "a", *shops),
        outside("prod/idle", "10.96.0.23", 30081),
        service("prod/broken", "10.96.0.21"),
        slice_of("prod/broken", "a", endpoint("10.244.1.9", STARTING)),
        service("prod/headless", "None"),
    ):
        proxier.feed(added(obj))
    return proxier


def test_a_small_cluster(golden: Callable[[str, str], None]) -> None:
    golden("iptables-small-cluster.txt", render_iptables(small_cluster().service_ports(), SETTINGS, PLACE))


def test_a_cluster_without_services(golden: Callable[[str, str], None]) -> None:
    golden("iptables-empty.txt", render_iptables((), SETTINGS, PLACE))


def guarded(name: str, cluster_ip: str, node_port: int, **spec: object) -> Service:
    """One from outside, with more in its specification."""
    made = outside(name, cluster_ip, node_port)
    return replace(made, spec=replace(made.spec, **spec))


def policies() -> Proxier:
    """Services of every policy, with endpoints on this node, on another, and on both."""
    proxier = Proxier(SETTINGS)
    here, there = endpoint("10.244.1.2"), replace(endpoint("10.244.2.2"), node_name="node2")
    ranges = {"loadBalancerSourceRanges": ["203.0.113.0/24", "192.168.10.0/24"], "healthCheckNodePort": 30200}
    for number, (name, ends, spec) in enumerate(
        (
            ("in/local", (here, there), {"internal_traffic_policy": "Local"}),
            ("in/elsewhere", (there,), {"internal_traffic_policy": "Local"}),
            ("out/local", (here, there), {"external_traffic_policy": "Local", "rest": ranges}),
            ("out/elsewhere", (there,), {"external_traffic_policy": "Local"}),
            ("out/nowhere", (), {"external_traffic_policy": "Local", "rest": ranges}),
            ("sticky/sticky", (here, there), {"session_affinity": "ClientIP"}),
        ),
        start=20,
    ):
        proxier.feed(added(guarded(name, f"10.96.0.{number}", 30000 + number, **spec)))
        proxier.feed(added(slice_of(name, "a", *ends)))
    return proxier


def test_policies_source_ranges_and_affinity(golden: Callable[[str, str], None]) -> None:
    golden("iptables-policies.txt", render_iptables(policies().service_ports(), SETTINGS, PLACE))


def test_the_other_family_has_its_own_lengths_refusals_and_loopback(
    golden: Callable[[str, str], None],
) -> None:
    settings = SETTINGS._replace(family=6, cluster_cidr=IPv6Network("2001:db8:42::/48"))
    place = PLACE._replace(
        address=IPv6Address("2001:db8::11"), pods=PodTraffic(settings.cluster_cidr), family=6
    )
    proxier = Proxier(settings)
    for number, affinity in enumerate(("ClientIP", "None"), 1):
        made = service(
            f"prod/ent{number}", f"2001:db8:96::{number}", Port(80, "http", node_port=30080 + number)
        )
        spec = replace(made.spec, type="NodePort", session_affinity=affinity)
        proxier.feed(added(replace(made, spec=spec)))
    ready = slice_of("prod/ent1", "a", endpoint("2001:db8:42:1::2"), endpoint("2001:db8:42:2::2"))
    proxier.feed(added(replace(ready, address_type="IPv6")))
    golden("ip6tables.txt", render_iptables(proxier.service_ports(), settings, place))


@pytest.mark.parametrize(
    ("pods", "masquerades", "short_cuts"),
    [
        (PodTraffic(SETTINGS.cluster_cidr), "! -s 10.244.0.0/16 -d 10.96.0.20/32 -p", "-s 10.244.0.0/16 -m"),
        (PodTraffic(device="cni0"), "-d 10.96.0.20/32 ! -i cni0 -p", "-i cni0 -m"),
        (PodTraffic(device="veth+"), "-d 10.96.0.20/32 ! -i veth+ -p", "-i veth+ -m"),
    ],
    ids=["source", "bridge", "prefix"],
)
def test_pods_are_told_by_source_or_interface(pods: PodTraffic, masquerades: str, short_cuts: str) -> None:
    text = render_iptables(policies().service_ports(), SETTINGS, PLACE._replace(pods=pods))
    assert text.count(f" {masquerades} ") == 1
    assert text.count(f" {short_cuts} ") == 2  # of the two Services with endpoints and policy Local outside


@pytest.mark.parametrize(
    ("changes", "jumps"),
    [
        ({}, ["{} -m addrtype --dst-type LOCAL"]),
        ({"localhost_node_ports": False}, ["! -d 127.0.0.0/8 {} -m addrtype --dst-type LOCAL"]),
        ({"node_port_addresses": ("192.168.10.0/24",)}, ["-d 192.168.10.11/32 {}"]),
        (
            {"node_port_addresses": ("127.0.0.0/8", "192.168.10.0/24")},
            ["-d 127.0.0.1/32 {}", "-d 192.168.10.11/32 {}"],
        ),
        ({"node_port_addresses": ("primary",)}, ["-d 192.168.10.11/32 {}"]),
    ],
    ids=["all", "no-localhost", "network", "networks", "primary"],
)
def test_node_ports_are_at_the_addresses_chosen(changes: dict[str, object], jumps: list[str]) -> None:
    settings = SETTINGS._replace(**changes)  # type: ignore[arg-type]  # of each field its own type
    addresses = (IPv4Address("192.168.10.11"), IPv4Address("10.244.1.1"))
    text = render_iptables((), settings, PLACE, addresses)
    wanted = [f"-A KUBE-SERVICES {jump.format(NODEPORTS_COMMENT)} -j KUBE-NODEPORTS" for jump in jumps]
    assert [line for line in text.splitlines() if line.endswith("-j KUBE-NODEPORTS")][1:] == wanted


def test_without_a_cluster_cidr_no_rule_masquerades_by_source() -> None:
    ports = (port_called("prod/ent:http", "TCP", "10.244.1.2:80"),)
    with_detector = render_iptables(ports, SETTINGS, PLACE)
    without = render_iptables(ports, SETTINGS, PLACE._replace(pods=None))
    assert [line for line in with_detector.splitlines() if line not in without.splitlines()] == [
        f"-A {service_chain(ports[0])} ! -s 10.244.0.0/16 -d 10.96.0.20/32 -p tcp -m comment"
        ' --comment "prod/ent:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ'
    ]


@pytest.mark.parametrize("extra", [0, 1])
def test_in_large_clusters_endpoint_rules_lose_their_comments(extra: int) -> None:
    targets = [
        f"10.244.{number // 200}.{number % 200 + 1}:80" for number in range(LARGE_CLUSTER_ENDPOINTS + extra)
    ]
    text = render_iptables((port_called("prod/ent:http", "TCP", *targets),), SETTINGS, PLACE)
    endpoint_rules = [line for line in text.splitlines() if line.startswith("-A KUBE-SEP-")]
    assert len(endpoint_rules) == 2 * len(targets)
    assert all(("--comment" in line) is (extra == 0) for line in endpoint_rules)
    assert '--comment "prod/ent:http cluster IP"' in text


@pytest.mark.needs("iptables-restore", "iptables-save", "unshare", "root", "netns")
@pytest.mark.parametrize(
    "make", [small_cluster, policies, lambda: Proxier(SETTINGS)], ids=["small", "policies", "empty"]
)
def test_the_kernel_takes_the_rules_and_prints_them_back_unchanged(make: Callable[[], Proxier]) -> None:
    text = render_iptables(make().service_ports(), SETTINGS, PLACE)
    script = "iptables-restore --test <<EOF && iptables-restore <<EOF && iptables-save\n"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{script}{text}EOF\n{text}EOF\n"],
        env={**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    saved = [line for line in done.stdout.splitlines(keepends=True) if not line.startswith("#")]
    assert "".join(saved) == text
