"""Where packets go, in every mode: to an endpoint that may have them, or nowhere, and why.

Services of any policy with endpoints of any condition, on three nodes in two zones. The rules are written
down here once more, in the words of pkg/proxy/topology.go and of the table of verdicts, and without the lists
that kube-proxy makes its rules of.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.objects.topology import PROXY_MODES
from netsim.wire import ipv4
from tests.conformance.proxy_node import ProxyNode, Question

HERE, ZONE = "alpha", "a"
NODES = [
    {
        "name": name,
        "ip": f"192.0.2.1{number}",
        "podCIDR": f"10.42.{number}.0/24",
        "zone": zone,
    }
    for number, (name, zone) in enumerate((("alpha", "a"), ("bravo", "a"), ("charlie", "b")), 1)
]
BLOCKS = {"alpha": "10.42.1", "bravo": "10.42.2", "charlie": "10.42.3"}
CONFIG = {"clusterCIDR": "10.42.0.0/16", "serviceCIDRs": ["10.96.0.0/16"], "detectLocalMode": "ClusterCIDR"}
CLUSTER_IP, EXTERNAL, BALANCER, NODE_PORT = "10.96.0.10", "198.51.100.5", "198.51.100.6", 30080
WAYS = [(CLUSTER_IP, 80), (EXTERNAL, 80), (BALANCER, 80), ("192.0.2.11", NODE_PORT)]
CLIENTS = [("local-pod", "10.42.1.200"), ("remote-pod", "10.42.2.200"), ("external", "203.0.113.7"),
           ("external", "198.18.0.7"), ("node", "192.0.2.11"), ("local-pod", "10.42.1.11")]  # fmt: skip
ALLOWED = "203.0.113.0/24"


class Spot(NamedTuple):
    """An endpoint as it is drawn."""

    number: int
    node: str
    ready: bool
    serving: bool
    terminating: bool
    zones: tuple[str, ...]

    @property
    def address(self) -> str:
        return f"{BLOCKS[self.node]}.{10 + self.number}"


class Site(NamedTuple):
    """A Service as it is drawn, with its endpoints."""

    internal_local: bool
    external_local: bool
    guarded: bool
    spots: tuple[Spot, ...]

    def group(self) -> dict[str, Any]:
        return {
            "config": CONFIG,
            "this_node": HERE,
            "nodes": NODES,
            "packets": [{"from": address} for _, address in CLIENTS],
            "manifests": "\n---\n".join(map(json.dumps, (self._service(), self._slice()))),
        }

    def _service(self) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "type": "LoadBalancer",
            "clusterIP": CLUSTER_IP,
            "externalIPs": [EXTERNAL],
            "internalTrafficPolicy": "Local" if self.internal_local else "Cluster",
            "externalTrafficPolicy": "Local" if self.external_local else "Cluster",
            "ports": [{"name": "web", "port": 80, "protocol": "TCP", "nodePort": NODE_PORT}],
        }
        if self.guarded:
            spec["loadBalancerSourceRanges"] = [ALLOWED]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": BALANCER}]}},
        }

    def _slice(self) -> dict[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [spot.address],
                    "nodeName": spot.node,
                    "conditions": {
                        "ready": spot.ready,
                        "serving": spot.serving,
                        "terminating": spot.terminating,
                    },
                    "hints": {"forZones": [{"name": zone} for zone in spot.zones]},
                }
                for spot in self.spots
            ],
        }


@st.composite
def sites(draw: st.DrawFn) -> Site:
    spots = []
    for number in range(draw(st.integers(0, 4))):
        serving, terminating = draw(st.booleans()), draw(st.booleans())
        ready = serving and not terminating
        zones = draw(st.sampled_from(((), ("a",), ("b",))))
        spots.append(Spot(number, draw(st.sampled_from(sorted(BLOCKS))), ready, serving, terminating, zones))
    return Site(draw(st.booleans()), draw(st.booleans()), draw(st.booleans()), tuple(spots))


# --- the rules once more ---------------------------------------------------------------------------------


def best(spots: Sequence[Spot]) -> list[Spot]:
    """The ready ones; where there is none, those that leave and still serve."""
    return [s for s in spots if s.ready] or [s for s in spots if s.serving and s.terminating]


def everywhere(site: Site) -> list[Spot]:
    ready = [spot for spot in site.spots if spot.ready]
    near = [spot for spot in ready if ZONE in spot.zones]
    return near if near and all(spot.zones for spot in ready) else best(site.spots)


def here(site: Site) -> list[Spot]:
    return best([spot for spot in site.spots if spot.node == HERE])


def may_reach(site: Site, mode: str, way: str, kind: str) -> list[Spot]:
    """The endpoints that a packet to an address may be sent to, whoever it is from but for a firewall."""
    local = site.internal_local if way == CLUSTER_IP else site.external_local
    if not local:
        return everywhere(site)
    if mode == "ipvs":
        return here(site) or everywhere(site)
    short_cut = way != CLUSTER_IP and (kind.endswith("-pod") or kind == "node")
    return everywhere(site) if short_cut else here(site)


def expected(site: Site, mode: str, way: str, kind: str, source: str) -> tuple[set[str], set[str]]:
    """The verdicts that are right, and the endpoints."""
    found = may_reach(site, mode, way, kind)
    blocked = site.guarded and way == BALANCER and not source.startswith("203.0.113.")
    if (
        blocked
        and not (mode == "iptables" and not best(site.spots))
        and not (mode == "ipvs" and kind == "node")
    ):
        return {"DROP"}, set()
    if found:
        return {"DNAT"}, {f"{spot.address}:8080" for spot in found}
    if mode == "iptables" and kind == "node" and way in (EXTERNAL, BALANCER):
        return {"NOT_HANDLED"}, set()  # KUBE-EXTERNAL-SERVICES is not asked in OUTPUT
    if best(site.spots) and mode != "ipvs":
        return {"DROP"}, set()
    return {"REJECT"}, set()


@pytest.mark.parametrize("mode", PROXY_MODES)
@settings(max_examples=60)
@given(site=sites(), way=st.sampled_from(WAYS), client=st.sampled_from(CLIENTS))
def test_a_packet_reaches_an_endpoint_that_may_have_it_or_is_refused_and_replies_come_back(
    mode: str, site: Site, way: tuple[str, int], client: tuple[str, str]
) -> None:
    node, (kind, source), (target, port) = ProxyNode(mode, site.group()), client, way
    verdicts, endpoints = expected(site, mode, target, kind, source)
    question = Question(kind, ip_address(source), 20000, ip_address(target), port, ipv4.TCP)
    for attempt in range(4):
        asked = question._replace(source_port=20000 + attempt)
        fate = node.send(asked)
        assert fate.verdict in verdicts
        assert (not endpoints and not fate.endpoint) or fate.endpoint in endpoints
        if fate.endpoint and kind != "node" and fate.endpoint.partition(":")[0] != source:
            came = node.answer(asked)
            assert came is not None, "an answer"
            assert came == (asked.target.packed, asked.source.packed, asked.source_port)
