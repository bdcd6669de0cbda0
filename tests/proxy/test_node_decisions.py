"""What a node makes of a packet where the modes of kube-proxy differ, or two of its rules meet.

Sources: Kubernetes pkg/proxy/{iptables,nftables,ipvs}/proxier.go, pkg/proxy/endpointslicecache.go,
pkg/proxy/util/nodeport_addresses.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.conformance.proxy_cases import ask

Json = dict[str, Any]
IPTABLES, NFTABLES, IPVS = "iptables", "nftables", "ipvs"
NODES = [
    {
        "name": "alpha",
        "ip": "192.0.2.11",
        "ip6": "2001:db8:0:1::11",
        "podCIDR": "10.42.1.0/24",
        "podCIDR6": "2001:db8:42:1::/64",
        "extra_ips": ["198.18.0.11", "2001:db8:0:2::11"],
    },
    {
        "name": "bravo",
        "ip": "192.0.2.12",
        "ip6": "2001:db8:0:1::12",
        "podCIDR": "10.42.2.0/24",
        "podCIDR6": "2001:db8:42:2::/64",
    },
]
CONFIG = {
    "clusterCIDR": "10.42.0.0/16,2001:db8:42::/48",
    "serviceCIDRs": ["10.96.0.0/16", "2001:db8:96::/112"],
    "detectLocalMode": "ClusterCIDR",
}
CLIENT, CLIENT6, NODE, OTHER_NODE = "203.0.113.9", "2001:db8:ff::7", "192.0.2.11", "192.0.2.12"
POD = "10.42.1.200"
CLUSTER_IP, BALANCER, EXTERNAL = "10.96.0.10", "198.51.100.10", "198.51.100.20"
KINDS = {
    "10.42.1.": "local-pod",
    "10.42.2.": "remote-pod",
    "192.0.2.": "node",
    "10.96.": "node",
    BALANCER: "node",
    "127.": "node",
    "::1": "node",
}
HERE, THERE = "10.42.1.21", "10.42.2.21"
REJECT, DROP, LEFT_ALONE = "REJECT", "DROP", "NOT_HANDLED"


def service(
    *, ip: str = CLUSTER_IP, ingress: Sequence[Json] = (), port: Json | None = None, **spec: Any
) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "ports": [{"name": "p", "port": 80, "protocol": "TCP", **(port or {})}],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": list(ingress)}},
    }


def node_port(**spec: Any) -> Json:
    return service(type="NodePort", port={"nodePort": 30080}, **spec)


def balanced(**spec: Any) -> Json:
    return service(type="LoadBalancer", port={"nodePort": 30080}, ingress=[{"ip": BALANCER}], **spec)


def slice_of(*endpoints: Json, name: str = "web-a", family: int = 4) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": f"IPv{family}",
        "endpoints": list(endpoints),
        "ports": [{"name": "p", "port": 80, "protocol": "TCP"}],
    }


def endpoint(address: str, node: str = "", **conditions: bool) -> Json:
    return {"addresses": [address], **({"nodeName": node} if node else {}), "conditions": conditions}


BOTH = slice_of(endpoint(HERE, "alpha"), endpoint(THERE, "bravo"))
REMOTE = slice_of(endpoint(THERE, "bravo"))


def fate(
    mode: str, objects: Sequence[Json], source: str, target: str, port: int = 80, **config: Any
) -> str | Mapping[str, bool | None]:
    """The verdict; or, of what is sent on, the endpoints, and whether it is masqueraded to them."""
    kind = next((kind for start, kind in KINDS.items() if source.startswith(start)), "external")
    packet = {"from": source, "from_kind": kind, "to": target, "port": port, "protocol": "TCP"}
    group = {
        "config": {**CONFIG, **config},
        "nodes": NODES,
        "this_node": "alpha",
        "packets": [packet],
        "manifests": "\n---\n".join(map(json.dumps, objects)),
    }
    found = ask(mode, group, packet, tries=48)
    (verdict,) = found.verdicts
    return found.masqueraded if verdict == "DNAT" else verdict


ALL_MODES = pytest.mark.parametrize("mode", [IPTABLES, NFTABLES, IPVS])


# --- who may use a load balancer's address


@pytest.mark.parametrize(
    ("mode", "source", "expected"),
    [
        (IPTABLES, BALANCER, DROP),
        (NFTABLES, BALANCER, DROP),
        (IPVS, BALANCER, DROP),  # KUBE-IPVS-OUT-FILTER
        (IPTABLES, NODE, DROP),
        (NFTABLES, NODE, DROP),
        (IPVS, NODE, {f"{THERE}:80": True}),  # KUBE-PROXY-FIREWALL is not in OUTPUT
    ],
)
def test_a_node_outside_of_the_ranges_is_no_client_of_the_balancer(
    mode: str, source: str, expected: object
) -> None:
    guarded = balanced(loadBalancerSourceRanges=["203.0.113.0/24", "198.51.100.0/24"])
    assert fate(mode, [guarded, REMOTE], CLIENT, BALANCER) == {f"{THERE}:80": True}
    narrow = balanced(loadBalancerSourceRanges=["203.0.113.0/24"])
    assert fate(mode, [narrow, REMOTE], source, BALANCER) == expected


@ALL_MODES
def test_ranges_of_the_other_family_leave_an_address_open(mode: str) -> None:
    objects = [balanced(loadBalancerSourceRanges=[" 2001:db8:ff::/64"]), REMOTE]
    assert fate(mode, objects, CLIENT, BALANCER) == {f"{THERE}:80": True}


# --- a Service at an address of the node itself


@ALL_MODES
def test_a_service_at_the_nodes_own_address_leaves_its_other_ports_alone(mode: str) -> None:
    objects = [service(externalIPs=[NODE]), REMOTE]
    assert fate(mode, objects, CLIENT, NODE) == {f"{THERE}:80": True}
    assert fate(mode, objects, CLIENT, NODE, 22) == LEFT_ALONE


@pytest.mark.parametrize(
    ("mode", "target", "expected"),
    [
        (IPTABLES, NODE, REJECT),  # through lo, where INPUT has KUBE-EXTERNAL-SERVICES
        (IPTABLES, EXTERNAL, LEFT_ALONE),  # OUTPUT has not
        (NFTABLES, NODE, REJECT),
        (NFTABLES, EXTERNAL, REJECT),
        (IPVS, NODE, REJECT),
        (IPVS, EXTERNAL, REJECT),
    ],
)
def test_a_dead_external_address_refuses_the_node_where_its_packets_come_by(
    mode: str, target: str, expected: str
) -> None:
    assert fate(mode, [service(externalIPs=[NODE, EXTERNAL])], NODE, target) == expected


# --- IPVS: what is at the dummy interface


@pytest.mark.parametrize(
    ("target", "port", "expected"),
    [
        (BALANCER, 30302, LEFT_ALONE),  # KUBE-HEALTH-CHECK-NODE-PORT
        (CLUSTER_IP, 30302, LEFT_ALONE),
        (NODE, 30302, LEFT_ALONE),
        (BALANCER, 30303, REJECT),
        (BALANCER, 30080, REJECT),  # node ports are at the addresses of other interfaces
    ],
)
def test_the_guard_of_ipvs_lets_health_checks_pass(target: str, port: int, expected: str) -> None:
    objects = [balanced(externalTrafficPolicy="Local", healthCheckNodePort=30302), BOTH]
    assert fate(IPVS, objects, CLIENT, target, port) == expected


@pytest.mark.parametrize("mode", [IPTABLES, NFTABLES])
@pytest.mark.parametrize(("address", "node"), [(HERE, "alpha"), (THERE, "bravo")])
def test_a_pod_that_gets_itself_is_masqueraded_wherever_it_is(mode: str, address: str, node: str) -> None:
    objects = [service(), slice_of(endpoint(address, node))]
    assert fate(mode, objects, address, CLUSTER_IP) == {f"{address}:80": True}


@pytest.mark.parametrize(("node", "looped"), [("alpha", True), ("bravo", False), ("", False)])
def test_ipvs_loops_back_endpoints_of_the_node_alone(node: str, looped: bool) -> None:
    assert fate(IPVS, [service(), slice_of(endpoint(HERE, node))], HERE, CLUSTER_IP) == {f"{HERE}:80": looped}


@pytest.mark.parametrize(("mode", "masqueraded"), [(IPTABLES, True), (NFTABLES, True), (IPVS, False)])
@pytest.mark.parametrize("family", [4, 6])
def test_a_loopback_source_is_not_marked_in_ipvs_mode(mode: str, masqueraded: bool, family: int) -> None:
    ip, there, source = (
        (CLUSTER_IP, THERE, "127.0.0.1") if family == 4 else ("2001:db8:96::10", "2001:db8:42:2::21", "::1")
    )
    objects = [service(ip=ip), slice_of(endpoint(there, "bravo"), family=family)]
    shown = there if family == 4 else f"[{there}]"
    assert fate(mode, objects, source, ip) == {f"{shown}:80": masqueraded}


@pytest.mark.parametrize(("port", "masqueraded"), [(80, True), (81, False)])
def test_without_a_detector_ipvs_marks_what_a_node_sends_from_a_cluster_ip(
    port: int, masqueraded: bool
) -> None:
    """The set has addresses with their ports: one that serves another port does not count."""
    second = service(ip="10.96.0.11", port={"port": port})
    second["metadata"]["name"] = "other"
    objects = [service(), second, REMOTE]
    found = fate(IPVS, objects, "10.96.0.11", CLUSTER_IP, detectLocalMode=None)
    assert found == {f"{THERE}:80": masqueraded}


# --- node ports


@ALL_MODES
@pytest.mark.parametrize("address", ["2001:db8:0:1::11", "2001:db8:0:2::11"])
def test_node_port_addresses_of_the_other_family_restrict_nothing(mode: str, address: str) -> None:
    objects = [
        node_port(ip="2001:db8:96::10"),
        slice_of(endpoint("2001:db8:42:2::21", "bravo"), family=6),
    ]
    there = {"[2001:db8:42:2::21]:80": True}
    assert fate(mode, objects, CLIENT6, address, 30080, nodePortAddresses=["192.0.2.0/24"]) == there
    narrow = ["192.0.2.0/24", "2001:db8:0:1::/64"]
    expected = there if address == "2001:db8:0:1::11" else LEFT_ALONE
    assert fate(mode, objects, CLIENT6, address, 30080, nodePortAddresses=narrow) == expected


# --- what slices say


@ALL_MODES
@pytest.mark.parametrize("nodes", [("bravo", "alpha"), ("alpha", "bravo"), ("", "alpha"), ("alpha", "")])
def test_of_two_copies_of_an_endpoint_the_one_on_the_node_counts_there(
    mode: str, nodes: tuple[str, str]
) -> None:
    copies = [slice_of(endpoint(HERE, node), name=f"web-{node or 'x'}") for node in nodes]
    objects = [service(internalTrafficPolicy="Local"), *copies]
    assert fate(mode, objects, POD, CLUSTER_IP) == {f"{HERE}:80": False}


@ALL_MODES
def test_an_address_of_the_other_family_in_a_slice_is_ignored(mode: str) -> None:
    mixed = slice_of(endpoint("2001:db8:42:2::21", "bravo"), endpoint(THERE, "bravo"))
    assert fate(mode, [service(), mixed], POD, CLUSTER_IP) == {f"{THERE}:80": False}


@ALL_MODES
@pytest.mark.parametrize(
    "label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"]
)
def test_what_is_labelled_for_others_is_not_seen(mode: str, label: str) -> None:
    seen, hidden = service(), service()
    hidden["metadata"]["labels"] = {label: ""}
    unallocated = DROP if mode == NFTABLES else LEFT_ALONE
    assert fate(mode, [hidden, BOTH], POD, CLUSTER_IP) == unallocated
    other = slice_of(endpoint(HERE, "alpha"), name="web-b")
    other["metadata"]["labels"][label] = "other"
    assert fate(mode, [seen, REMOTE, other], POD, CLUSTER_IP) == {f"{THERE}:80": False}
