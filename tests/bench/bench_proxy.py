"""kube-proxy at the size that Kubernetes promises: 5,000 nodes, and 10,000 Services of 15 endpoints each.

``make bench`` prints, for each mode: how long the table takes from nothing, and the memory of the process
that holds it; what one changed endpoint costs until a node decides by it; and what a node's decision on the
first packet of a connection costs with 100 and with 30,000 Services. Every figure is CPU time in a process of
its own. Memory is held to a limit; nothing here fails for being slow.

One Service of ten is a NodePort, one has internalTrafficPolicy Local, one externalTrafficPolicy Local, one
session affinity.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import NamedTuple

import pytest

from netsim.base.address import mac_from_name
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.net.packet import Packet
from netsim.objects.core import Node, NodeAddress, NodeStatus, Service, ServicePort, ServiceSpec
from netsim.objects.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import ObjectMeta
from netsim.objects.topology import PROXY_MODES
from netsim.plan.delta import Delta, Plan
from netsim.plan.entries import NODES, Address, Host, HostName, Interface, InterfaceKind, Role
from netsim.planes.sim.plane import SimPlane
from netsim.proxy.proxier import Proxier
from netsim.proxy.settings import IPVS, ProxySettings
from netsim.store.store import EventType, StoreEvent
from netsim.wire import ipv4, tcp

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_COUNT, SERVICES, ENDPOINTS = 5000, 10_000, 15
FEW, MANY = 100, 30_000  # Services, of which a node decides about connections to TARGETS
TARGETS, CONNECTIONS, ROUNDS = 100, 2000, 15
CHANGES = 300
ASKED_NODES = 50
MEMORY_LIMIT = 1536  # MiB
PODS, SERVICE_SUBNET = IPv4Network("10.0.0.0/9"), IPv4Network("10.128.0.0/14")
WHY = Cause(Stage.PLAN, "benchmark")


def node_name(number: int) -> str:
    return f"node{number}"


def node(number: int) -> Node:
    address = NodeAddress("InternalIP", str(IPv4Address("172.16.0.1") + number))
    return Node(metadata=ObjectMeta(name=node_name(number)), status=NodeStatus(addresses=(address,)))


def address_of(number: int) -> str:
    return str(SERVICE_SUBNET[number + 1])


def service(number: int) -> Service:
    address = address_of(number)
    more: dict[int, dict[str, object]] = {
        1: {"internal_traffic_policy": "Local"},
        3: {"type": "NodePort"},
        5: {"type": "NodePort", "external_traffic_policy": "Local"},
        7: {"session_affinity": "ClientIP"},
    }
    node_port = 30_000 + number // 5 if number % 10 in (3, 5) else None
    spec = ServiceSpec(
        cluster_ip=address,
        cluster_ips=(address,),
        ports=(ServicePort(80, node_port=node_port),),
        **more.get(number % 10, {}),  # type: ignore[arg-type]  # which field takes what is said above
    )
    return Service(metadata=ObjectMeta(name=f"s{number}", namespace="default"), spec=spec)


def endpoints(number: int, count: int = ENDPOINTS) -> EndpointSlice:
    """The first of a Service's endpoints; each on the next node."""
    places = range(number * ENDPOINTS, number * ENDPOINTS + count)
    listed = tuple(
        Endpoint(
            (str(PODS[place + 1]),),
            EndpointConditions(True, True, False),
            node_name=node_name(place % NODE_COUNT),
        )
        for place in places
    )
    meta = ObjectMeta(name=f"s{number}-x", namespace="default", labels={SERVICE_NAME_LABEL: f"s{number}"})
    return EndpointSlice(metadata=meta, endpoints=listed, ports=(EndpointPort("", 8080),))


class Site:
    """The nodes, their kube-proxies, and the network that follows them."""

    def __init__(self, mode: str, nodes: int, services: int) -> None:
        self.services = services
        hosts = {node_name(number): HostName(node_name(number)) for number in range(nodes)}
        self.proxier = Proxier(ProxySettings(PODS, mode, hosts=hosts, service_cidrs=(SERVICE_SUBNET,)))
        self.plan, self.plane = Plan(), SimPlane(Rng(1))
        for number in range(nodes):
            self._apply(Delta(put=tuple(host_entries(number))))
            self.feed(StoreEvent(EventType.ADDED, node(number)))
        for number in range(services):
            self.feed(StoreEvent(EventType.ADDED, service(number)))
            self.feed(StoreEvent(EventType.ADDED, endpoints(number)))

    def _apply(self, delta: Delta) -> None:
        self.plan.apply(delta)
        self.plane.apply(delta)

    def feed(self, event: StoreEvent) -> None:
        self._apply(self.proxier.feed(event))

    def decide(self, on: int, packet: Packet) -> None:
        """Let a node say what becomes of the first packet of a connection."""
        netfilter = self.plane.stack(HostName(node_name(on))).netfilter
        assert netfilter.active
        netfilter.prerouting(packet, 0.0)
        if self.proxier.settings.mode == IPVS:
            netfilter.input(packet, 0.0)


def first_packet(number: int, port: int, client: int = 0) -> Packet:
    """A SYN to a Service, from a Pod."""
    source, to = PODS[-2 - client].packed, SERVICE_SUBNET[number + 1].packed
    segment = tcp.build(source, to, tcp.Tcp(port, 80, 1, 0, tcp.SYN, 65535))
    return Packet(ipv4.build(source, to, ipv4.TCP, segment), (), 1, "eth0")


def host_entries(number: int) -> Iterator[Host | Interface | Address]:
    name = HostName(node_name(number))
    yield Host(name, Role.NODE, f"node {name}", "bench", WHY, (NODES,), forwarding=True)
    yield Interface(name, "eth0", InterfaceKind.VETH, mac_from_name(name), "bench", WHY)
    yield Address(name, "eth0", IPv4Interface(f"{IPv4Address('172.16.0.1') + number}/16"), "bench", WHY)


class Table(NamedTuple):
    """CPU seconds to the complete table, MiB of the process, and microseconds of one change: until it is in
    the table, and until a node has decided about a connection with it."""

    build: float
    peak: float
    change: float
    seen: float


class Decisions(NamedTuple):
    """Microseconds of one decision with ``FEW`` and with ``MANY`` Services: of connections to ``TARGETS`` of
    them, and of the first one ever to each."""

    few: float
    many: float
    first_few: float
    first_many: float


def table(mode: str) -> Table:
    started = time.process_time()
    site = Site(mode, NODE_COUNT, SERVICES)
    build = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    set_aside()
    for on in range(ASKED_NODES):
        site.decide(on, first_packet(2, 1))
    change = seen = 0.0
    for turn in range(CHANGES):
        number = turn * 37 % SERVICES
        before, after = endpoints(number), endpoints(number, ENDPOINTS - 1)
        packet = first_packet(number, 1000 + turn)
        started = time.process_time_ns()
        site.feed(StoreEvent(EventType.MODIFIED, after, before))
        changed = time.process_time_ns()
        site.decide(turn % ASKED_NODES, packet)
        seen += time.process_time_ns() - started
        change += changed - started
        site.feed(StoreEvent(EventType.MODIFIED, before, after))
    return Table(build, peak, change / CHANGES / 1e3, seen / CHANGES / 1e3)


def decisions(mode: str) -> Decisions:
    sites = [Site(mode, 1, services) for services in (FEW, MANY)]
    set_aside()
    first = [microseconds(site, list(range(site.services)), 0) for site in sites]
    sites = [Site(mode, 1, services) for services in (FEW, MANY)]  # without the connections of before
    set_aside()
    best = [float("inf")] * 2
    for turn in range(ROUNDS):
        for index, site in enumerate(sites):
            targets = [n * (site.services // TARGETS) for n in range(TARGETS)] * (CONNECTIONS // TARGETS)
            best[index] = min(best[index], microseconds(site, targets, 1 + turn))
    return Decisions(best[0], best[1], first[0], first[1])


def set_aside() -> None:
    """Keep what stands out of collections, as a session does: one takes as long as a thousand changes."""
    gc.collect()
    gc.freeze()


def microseconds(site: Site, targets: list[int], client: int) -> float:
    """CPU time of one decision, each for another port of the client."""
    packets = [first_packet(number, 1024 + offset, client) for offset, number in enumerate(targets)]
    started = time.process_time()
    for packet in packets:
        site.decide(0, packet)
    return (time.process_time() - started) / len(targets) * 1e6


def in_a_process(what: str, mode: str) -> list[float]:
    command = [sys.executable, "-m", "tests.bench.bench_proxy", what, mode]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    figures: list[float] = json.loads(result.stdout)
    return figures


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", PROXY_MODES)
def test_the_table_for_five_thousand_nodes(mode: str) -> None:
    found = Table(*in_a_process("table", mode))
    print(
        f"\n{mode}: {SERVICES} Services x {ENDPOINTS} endpoints on {NODE_COUNT} nodes: built in "
        f"{found.build:.1f} s, {found.peak:.0f} MiB; one endpoint change {found.change:.0f} us, "
        f"a node has decided by it after {found.seen:.0f} us"
    )
    assert found.peak < MEMORY_LIMIT


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", PROXY_MODES)
def test_the_first_packet_of_a_connection(mode: str) -> None:
    found = Decisions(*in_a_process("decisions", mode))
    print(
        f"\n{mode}: first packet of a connection with {FEW} Services {found.few:.1f} us, with {MANY} "
        f"{found.many:.1f} us, ratio {found.many / found.few:.2f}; "
        f"the first connection ever to each Service {found.first_few:.1f} us and {found.first_many:.1f} us"
    )


if __name__ == "__main__":
    print(json.dumps({"table": table, "decisions": decisions}[sys.argv[1]](sys.argv[2])))
