"""IPVS mode, where no kernel judges: each packet has the fate that kube-proxy's sets and rules give it.

What the sets hold and which rule asks for them is written down here once more, from Kubernetes
pkg/proxy/ipvs/proxier.go (syncProxyRules, syncEndpoint, writeIptablesRules) and ipset.go, and Linux
net/netfilter/ipvs, without anything of netsim's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any, NamedTuple

import pytest

from tests.conformance.proxy_cases import ask
from tests.kernel.test_random import random_group

Json = dict[str, Any]
Where = tuple[str, int, str]
"""Address, port, protocol."""


class Tables:
    """The virtual servers, and the sets, on the node of a group."""

    def __init__(self, group: Json) -> None:
        self.config = group["config"]
        self.node = next(node for node in group["nodes"] if node["name"] == group["this_node"])
        self.own = [self.node["ip"], *self.node.get("extra_ips", ())]
        self.servers: dict[Where, set[str]] = {}
        self.dummy: set[str] = set()  # KUBE-IPVS-IPS
        self.cluster: set[Where] = set()
        self.external: set[Where] = set()  # without those of policy Local
        self.balanced: dict[Where, list[str]] = {}  # with the source ranges
        self.balanced_local: set[Where] = set()
        self.node_ports: dict[tuple[int, str], bool] = {}  # whether the policy is Local
        self.loop: set[tuple[str, str]] = set()
        documents = [json.loads(text) for text in group["manifests"].split("\n---\n")]
        slices = {
            document["metadata"]["labels"]["kubernetes.io/service-name"]: document["endpoints"]
            for document in documents
            if document["kind"] == "EndpointSlice"
        }
        for document in documents:
            if document["kind"] == "Service":
                self._add(document, slices[document["metadata"]["name"]])

    def _add(self, service: Json, endpoints: list[Json]) -> None:
        spec, (port,) = service["spec"], service["spec"]["ports"]
        balancers = [each["ip"] for each in service["status"].get("loadBalancer", {}).get("ingress", ())]
        others = spec.get("externalIPs", [])
        outside = bool(port.get("nodePort") or balancers or others)
        inner = spec["internalTrafficPolicy"] == "Local"
        outer = outside and spec.get("externalTrafficPolicy") == "Local"
        protocol = port["protocol"]
        here = [each for each in endpoints if each["nodeName"] == self.node["name"]]
        self.loop |= {(each["addresses"][0], protocol) for each in here}
        everywhere = self._near(endpoints) if outside or not inner else []
        local = usable(here) if inner or outer else []

        def serve(address: str, number: int, *, policy_local: bool) -> Where:
            where = address, number, protocol
            chosen = (local or everywhere) if policy_local else everywhere
            self.servers.setdefault(where, {f"{each['addresses'][0]}:8080" for each in chosen})
            return where

        self.cluster.add(serve(spec["clusterIP"], 80, policy_local=inner))
        self.dummy |= {spec["clusterIP"], *others, *balancers} - set(self.own)
        for address in others:
            where = serve(address, 80, policy_local=outer)
            self.external |= set() if outer else {where}
        for address in balancers:
            where = serve(address, 80, policy_local=outer)
            self.balanced[where] = spec.get("loadBalancerSourceRanges", [])
            self.balanced_local |= {where} if outer else set()
        for address in self._node_port_addresses() if "nodePort" in port else ():
            serve(address, port["nodePort"], policy_local=outer)
            self.node_ports[port["nodePort"], protocol] = outer

    def _near(self, endpoints: list[Json]) -> list[Json]:
        ready = [each for each in endpoints if each["conditions"].get("ready") is not False]
        zones = [[zone["name"] for zone in each.get("hints", {}).get("forZones", ())] for each in ready]
        near = [each for each, meant in zip(ready, zones, strict=True) if self.node["zone"] in meant]
        return near if near and all(zones) else usable(endpoints)

    def _node_port_addresses(self) -> Iterator[str]:
        networks = [text for text in self.config["nodePortAddresses"] or () if ":" not in text]
        for address in self.own:
            if networks == ["primary"]:
                taken = address == self.node["ip"]
            else:
                taken = not networks or any(ip_address(address) in ip_network(text) for text in networks)
            if taken:
                yield address


def usable(endpoints: list[Json]) -> list[Json]:
    """The ready ones; where there is none, those that terminate and still serve."""
    ready = [each for each in endpoints if each["conditions"].get("ready") is not False]
    return ready or [each for each in endpoints if each["conditions"].get("terminating") and serves(each)]


def serves(endpoint: Json) -> bool:
    return endpoint["conditions"].get("serving") is not False


class Expected(NamedTuple):
    verdict: str
    masqueraded: dict[str, bool]


def expected(tables: Tables, packet: Json) -> Expected:
    source, target, protocol = packet["from"], packet["to"], packet["protocol"]
    where = target, packet["port"], protocol
    own = source in tables.own or source.startswith("127.")
    if where not in tables.servers:  # KUBE-IPVS-FILTER
        return Expected("REJECT" if target in tables.dummy else "NOT_HANDLED", {})
    ranges = tables.balanced.get(where) or ["0.0.0.0/0"]
    allowed = any(ip_address(source) in ip_network(text) for text in ranges)
    if not own and not allowed:  # KUBE-SOURCE-RANGES-FIREWALL
        return Expected("DROP", {})
    endpoints = tables.servers[where]
    if not endpoints:  # ip_vs_leave
        return Expected("REJECT", {})
    marked = is_marked(tables, packet, where)
    loops = (source, protocol) in tables.loop
    return Expected(
        "DNAT", {each: marked or (loops and each.partition(":")[0] == source) for each in endpoints}
    )


def is_marked(tables: Tables, packet: Json, where: Where) -> bool:
    """Chain KUBE-SERVICES of the nat table."""
    if packet["from"].startswith("127."):
        return False
    if where in tables.balanced and where not in tables.balanced_local:
        return True
    if where in tables.cluster and (tables.config["masqueradeAll"] or is_outsider(tables, packet)):
        return True
    return where in tables.external or tables.node_ports.get(where[1:], True) is False


def is_outsider(tables: Tables, packet: Json) -> bool:
    source = ip_address(packet["from"])
    match tables.config["detectLocalMode"]:
        case "ClusterCIDR":
            return source not in ip_network("10.42.0.0/16")
        case "NodeCIDR":
            return source not in ip_network(tables.node["podCIDR"])
        case None:
            return False
        case _:  # by the interface
            return bool(packet["from_kind"] != "local-pod")


@pytest.mark.parametrize("seed", range(8))
def test_the_sets_and_rules_of_ipvs_mode_decide(seed: int) -> None:
    group = random_group(Random(seed), seed)
    tables = Tables(group)
    verdicts = set()
    for packet in group["packets"]:
        found = ask("ipvs", group, packet, tries=6)
        wanted = expected(tables, packet)
        verdicts.add(wanted.verdict)
        assert (found.verdicts, found.masqueraded) == ({wanted.verdict}, wanted.masqueraded), packet
    assert {"DNAT", "REJECT"} <= verdicts
