"""Services of any make: netsim's stack, and the kernel with its rules, make the same of every packet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.conformance import proxy_cases
from tests.kernel.case_rules import FAMILIES, CaseRules, KernelNodes, load_rules
from tests.kernel.test_cases import MODES, NEEDS, question_of, told
from tests.kernel.verdict import ask

SEEDS = range(4)
SERVICES = 5
TRIES = 40  # one of three endpoints is missed in them with a chance of 1e-7
PROTOCOLS = ("TCP", "TCP", "UDP", "SCTP")
NODES = ("alpha", "bravo", "charlie")
CLIENTS = (
    ("local-pod", "10.42.1.200"),
    ("local-pod", "10.42.1.11"),  # perhaps an endpoint itself
    ("remote-pod", "10.42.2.200"),
    ("node", "192.0.2.11"),
    ("node", "198.18.0.11"),
    ("node", "192.0.2.12"),
    ("external", "203.0.113.7"),
    ("external", "203.0.113.200"),
)
LOOPBACK = ("node", "127.0.0.1")  # comes to itself only
DETECTORS = (
    {"detectLocalMode": "ClusterCIDR"},
    {"detectLocalMode": "NodeCIDR"},
    {"detectLocalMode": "BridgeInterface", "bridgeInterface": "cni0"},
    {"detectLocalMode": "InterfaceNamePrefix", "interfaceNamePrefix": "veth"},
    {"detectLocalMode": None},
)
CONDITIONS = (
    {},
    {"ready": True},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": False},
)


@pytest.mark.needs(*NEEDS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", MODES)
def test_the_kernel_and_netsim_agree(nodes: KernelNodes, mode: str, seed: int) -> None:
    chance = Random(seed)
    group = random_group(chance, seed)
    rules = CaseRules(mode, group)
    node = rules.kernel_node(nodes)
    load_rules(node, mode, {family: rules.text(family) for family in FAMILIES})
    found: list[str] = []
    verdicts: set[str] = set()
    for packet in group["packets"]:
        simulated = proxy_cases.ask(mode, group, packet, tries=TRIES)
        got = ask(node, question_of(group, packet, node), simulated.endpoints)
        verdicts |= got.verdicts
        ours = (simulated.verdicts, {e: frozenset({m}) for e, m in simulated.masqueraded.items()})
        if ours != (got.verdicts, got.masqueraded):
            what = f"{packet['from_kind']} {packet['from']} -> {packet['to']} {packet['port']}"
            theirs = f"the kernel {told(got.verdicts, got.endpoints)} {dict(got.masqueraded)}"
            found.append(f"{what}: netsim {told(*ours)} {ours[1]}, {theirs}")
    assert not found, "\n".join([*found, group["manifests"]])
    assert len(verdicts) >= 3  # or else the packets were too much alike to tell anything


def random_group(chance: Random, seed: int) -> dict[str, Any]:
    """A group of cases without what is to be expected."""
    documents: list[dict[str, Any]] = []
    targets: list[tuple[str, int, str]] = [("10.96.99.1", 80, "TCP"), ("192.0.2.11", 31999, "UDP")]
    for number in range(SERVICES):
        protocol = chance.choice(PROTOCOLS)
        service = _service(chance, number, protocol)
        documents += [service, _slice(chance, number, protocol)]
        targets += _targets(service)
    return {
        "name": f"random-{seed}",
        "this_node": "alpha",
        "config": {
            "clusterCIDR": "10.42.0.0/16,2001:db8:42::/48",
            "serviceCIDRs": ["10.96.0.0/16"],
            **chance.choice(DETECTORS),
            "masqueradeAll": chance.random() < 0.2,
            "nodePortAddresses": chance.choice(
                [None, ["192.0.2.0/24"], ["0.0.0.0/0"], ["primary"], ["127.0.0.0/8"], ["2001:db8::/32"]]
            ),
            "localhostNodePorts": chance.random() < 0.5,
        },
        "nodes": [
            {
                "name": name,
                "ip": f"192.0.2.{10 + number}",
                "podCIDR": f"10.42.{number}.0/24",
                "zone": f"z{number}",
                **({"extra_ips": ["198.18.0.11"]} if name == "alpha" else {}),
            }
            for number, name in enumerate(NODES, 1)
        ],
        "manifests": "\n---\n".join(map(json.dumps, documents)),
        "packets": [
            {"from_kind": kind, "from": source, "to": target, "port": port, "protocol": protocol}
            for target, port, protocol in targets
            for kind, source in ([LOOPBACK] if target == LOOPBACK[1] else chance.sample(CLIENTS, 3))
        ],
    }


def _service(chance: Random, number: int, protocol: str) -> dict[str, Any]:
    kind = chance.choice(["ClusterIP", "NodePort", "LoadBalancer"])
    spec: dict[str, Any] = {
        "type": kind,
        "clusterIP": f"10.96.1.{number}",
        "ports": [{"name": "http", "port": 80, "protocol": protocol}],
        "internalTrafficPolicy": chance.choice(["Cluster", "Cluster", "Local"]),
    }
    status: dict[str, Any] = {}
    if kind != "ClusterIP":
        spec["ports"][0]["nodePort"] = 30000 + number
    if kind != "ClusterIP" or chance.random() < 0.5:
        spec["externalTrafficPolicy"] = chance.choice(["Cluster", "Local"])
    if chance.random() < 0.3:
        own = ["192.0.2.11"] if number == 0 else ["198.18.0.11"] if number == 1 else []
        spec["externalIPs"] = [f"198.51.100.{100 + number}", *own]
    if kind == "LoadBalancer":
        status = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{number}"}]}}
        if chance.random() < 0.6:
            ranges = ["203.0.113.0/25", "10.42.1.0/24", "192.0.2.0/24"]
            spec["loadBalancerSourceRanges"] = chance.sample(ranges, chance.randint(1, 2))
    meta = {"name": f"svc{number}", "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": status}


def _slice(chance: Random, number: int, protocol: str) -> dict[str, Any]:
    """Some endpoints, in all conditions, no address twice; sometimes each has a hint."""
    hinted = chance.random() < 0.3
    endpoints: dict[str, dict[str, Any]] = {}
    for at in range(chance.randint(0, 3)):
        node = chance.randrange(3)
        address = f"10.42.{node + 1}.{11 + number * 3 + at if chance.random() < 0.7 else 11}"
        endpoint: dict[str, Any] = {
            "addresses": [address],
            "nodeName": NODES[node],
            "conditions": chance.choice(CONDITIONS),
        }
        if hinted:
            endpoint["hints"] = {"forZones": [{"name": f"z{chance.randint(1, 3)}"}]}
        endpoints[address] = endpoint
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"svc{number}-a",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": f"svc{number}"},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints.values()),
        "ports": [{"name": "http", "port": 8080, "protocol": protocol}],
    }


def _targets(service: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    spec = service["spec"]
    (port,) = spec["ports"]
    addresses = [spec["clusterIP"], *spec.get("externalIPs", ())]
    addresses += [each["ip"] for each in service["status"].get("loadBalancer", {}).get("ingress", ())]
    yield spec["clusterIP"], 81, port["protocol"]
    for address in addresses:
        yield address, port["port"], port["protocol"]
    if "nodePort" in port:
        for address in ("192.0.2.11", "198.18.0.11", LOOPBACK[1]):
            yield address, port["nodePort"], port["protocol"]
