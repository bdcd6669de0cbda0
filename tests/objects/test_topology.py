"""The Topology that a document describes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from netsim.base.errors import ManifestError, Source
from netsim.objects.manifest import load
from netsim.objects.topology import (
    DEFAULT_EXTERNAL_HOSTS,
    Check,
    Conntrack,
    Dns,
    ExternalHost,
    ImageSpec,
    KubeProxy,
    LoadBalancer,
    Networking,
    NodeSpec,
    Overlay,
    Subnet,
    Topology,
)

HEADER = "apiVersion: netsim.dev/v1alpha1\nkind: Topology\n"


def topology_of(spec: str) -> Topology:
    return load([f"{HEADER}spec:\n  {spec}\n"]).topology


def check_of(text: str) -> Check:
    (check,) = topology_of(f"checks: [{text}]").checks
    return check


@pytest.mark.parametrize(
    "rest", ["", "spec: {}\n", "metadata:\nspec:\n", "spec: {nodes: , networking: {overlay: }}\n"]
)
def test_what_is_not_said_has_its_default(rest: str) -> None:
    assert load([HEADER + rest]).topology == Topology()


def test_every_field_arrives() -> None:
    topology = load(
        [
            HEADER
            + """\
metadata: {name: all}
spec:
  seed: 7
  networking:
    dnsDomain: k8s.example
    podSubnet: 10.0.0.0/14
    nodeCIDRMaskSize: 23
    serviceSubnet: 172.20.0.0/16
    kubeProxyMode: iptables
    kubeProxy:
      masqueradeAll: true
      nodePortAddresses: [primary]
      localhostNodePorts: false
      detectLocalMode: NodeCIDR
    conntrack: {max: 100, udpCleanup: false}
    podNetwork: overlay
    overlay: {encapsulation: vxlan, port: 4789, vni: 4096}
    natOutgoing: false
  fabric:
    subnets:
      - {name: a, cidr: 192.168.1.0/24, mtu: 9000}
      - {name: b, cidr: 192.168.2.0/24}
  nodes:
    - {name: control, subnet: b, address: 192.168.2.2, controlPlane: true}
    - {name: n1, zone: z1, labels: {disk: ssd}}
  dns: {clusterIP: 172.20.0.53, replicas: 1, corefile: ". {\\n}\\n"}
  loadBalancer: {pool: 198.51.100.0/28, announce: l2}
  external:
    hosts: [{name: shop.example.org, address: 203.0.113.7, http: {80: open, 8080: closed}}]
  images:
    acme/shop:v2: {http: {8080: shop}}
"""
        ]
    ).topology
    assert topology == Topology(
        name="all",
        seed=7,
        networking=Networking(
            dns_domain="k8s.example",
            pod_subnet=IPv4Network("10.0.0.0/14"),
            node_cidr_mask_size=23,
            service_subnet=IPv4Network("172.20.0.0/16"),
            kube_proxy=KubeProxy(
                masquerade_all=True,
                node_port_addresses=("primary",),
                localhost_node_ports=False,
                detect_local_mode="NodeCIDR",
            ),
            conntrack=Conntrack(max=100, udp_cleanup=False),
            overlay=Overlay(port=4789, vni=4096),
            nat_outgoing=False,
        ),
        subnets=(
            Subnet("a", IPv4Network("192.168.1.0/24"), 9000),
            Subnet("b", IPv4Network("192.168.2.0/24")),
        ),
        nodes=(
            NodeSpec("control", "b", IPv4Address("192.168.2.2"), control_plane=True),
            NodeSpec("n1", "a", zone="z1", labels={"disk": "ssd"}),
        ),
        dns=Dns(IPv4Address("172.20.0.53"), 1, ". {\n}\n"),
        load_balancer=LoadBalancer(IPv4Network("198.51.100.0/28"), "l2"),
        external_hosts=(
            ExternalHost("shop.example.org", IPv4Address("203.0.113.7"), {80: "open", 8080: "closed"}),
            *DEFAULT_EXTERNAL_HOSTS,
        ),
        images=(ImageSpec("acme/shop:v2", {8080: "shop"}),),
    )


@pytest.mark.parametrize(
    ("pool", "first", "last", "count"),
    [
        ("198.51.100.0/28", "198.51.100.1", "198.51.100.14", 14),
        ("198.51.100.4/30", "198.51.100.5", "198.51.100.6", 2),
        ("198.51.100.4/31", "198.51.100.4", "198.51.100.5", 2),
        ("198.51.100.7/32", "198.51.100.7", "198.51.100.7", 1),
    ],
)
def test_a_pool_gives_its_addresses_without_the_ends(pool: str, first: str, last: str, count: int) -> None:
    found = LoadBalancer(IPv4Network(pool)).addresses
    assert (str(IPv4Address(found[0])), str(IPv4Address(found[-1])), len(found)) == (first, last, count)


def test_the_default_nodes_are_in_the_first_subnet() -> None:
    topology = topology_of("fabric: {subnets: [{name: a, cidr: 10.9.0.0/24}, {name: b, cidr: 10.9.1.0/24}]}")
    assert [(node.name, node.subnet) for node in topology.nodes] == [
        ("control", "a"),
        ("node1", "a"),
        ("node2", "a"),
    ]


def test_a_host_takes_the_place_of_a_default_one_with_its_name_or_address() -> None:
    hosts = "[{name: client, address: 203.0.113.10}, {name: www.example.com, address: 203.0.113.81}]"
    topology = topology_of(f"external: {{hosts: {hosts}}}")
    assert [(host.name, str(host.address)) for host in topology.external_hosts] == [
        ("client", "203.0.113.10"),
        ("www.example.com", "203.0.113.81"),
    ]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("5s", 5.0), ("200ms", 0.2), ("1m30s", 90.0), ("1.5h", 5400.0), ("0s", 0.0), ("1h1m1s1ms", 3661.001)],
)
def test_durations_are_seconds(written: str, seconds: float) -> None:
    assert check_of(f"{{from: a, at: {written}, ping: b}}").at == pytest.approx(seconds)


def test_a_check_holds_what_was_written() -> None:
    check = check_of(
        '{name: far, from: dev/jump, at: 2s, connect: "ent:80", count: 20, '
        "expect: {reached: [svc/dev/ent], balanced: true}}"
    )
    assert check == Check(
        name="far",
        origin="dev/jump",
        verb="connect",
        arguments={"connect": "ent:80", "count": 20},
        expect={"reached": ["svc/dev/ent"], "balanced": True},
        source=Source("-", 4, 12),
        at=2.0,
    )


def test_not_turns_an_expectation_round() -> None:
    check = check_of('{from: a, connect: "b:80", expect: {not: {result: ok}}}')
    assert check.negate
    assert check.expect == {"result": "ok"}


def test_a_capture_holds_the_check_that_it_watches() -> None:
    check = check_of("{capture: {on: node1/eth0}, during: {from: a, ping: b}, expect: {count: 2}}")
    assert check.origin == ""
    assert check.arguments["capture"] == {"on": "node1/eth0"}
    during = check.arguments["during"]
    assert isinstance(during, Check)
    assert (during.verb, during.origin, during.arguments) == ("ping", "a", {"ping": "b"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{from: dev/jump, resolve: ent}", "resolve ent from dev/jump"),
        ("{from: dev/jump, exec: [ls, -l]}", "exec ls -l from dev/jump"),
        ("{from: dev/jump, query: {name: x., type: MX}}", "query x. MX from dev/jump"),
        ("{table: {node: node1, show: fdb}}", "table node1 fdb"),
    ],
)
def test_a_check_without_a_name_is_called_after_what_it_does(text: str, name: str) -> None:
    assert check_of(text).name == name


@pytest.mark.parametrize(
    "target",
    [
        "jump",
        "dev/jump",
        "pod/jump",
        "pod/dev/jump",
        "deploy/web",
        "deploy/prod/web",
        "rc/default/frontend",
        "sts/db",
        "node/node1",
        "external/example.com",
    ],
)
def test_where_a_check_may_start(target: str) -> None:
    assert check_of(f"{{from: {target}, resolve: ent}}").origin == target


@pytest.mark.parametrize("target", ["svc/ent", "svc/dev/ent", "10.0.0.1", "dev/jump", "rc/default/web"])
def test_what_may_be_expected(target: str) -> None:
    check = check_of(f"{{from: jump, resolve: ent, expect: {{addresses: [{target}]}}}}")
    assert check.expect["addresses"] == [target]


@pytest.mark.parametrize("target", ["a/b/c", "svc/a/b/c", "node/a/b", "10.0.0", "10.0.0.256", "A", ""])
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(ManifestError, match="must be a target"):
        check_of(f'{{from: jump, resolve: ent, expect: {{addresses: ["{target}"]}}}}')
