"""How fast the hot paths are, each beside a peer in the same run: packets, DNS, the Service table, captures.

``make bench`` prints the figures and ratios; nothing here fails for being slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import dnslib
import pytest

from netsim.base.rng import Rng
from netsim.capture.pcapng import write_pcapng
from netsim.cluster import Cluster, run
from netsim.clusterdns.server import QueryArrived, SendReply, Server
from netsim.objects.core import ConfigMap, Service, ServicePort, ServiceSpec
from netsim.objects.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import ObjectMeta
from netsim.objects.topology import PROXY_MODES
from netsim.proxy.proxier import Proxier
from netsim.proxy.settings import ProxySettings
from netsim.store.store import EventType, StoreEvent
from netsim.wire import dns
from netsim.wire.ipv4 import TCP, UDP
from tests.cluster.conftest import TWO_NAMESPACES
from tests.net.network import dual_stack, through_a_router, v6


def seconds_for(count: int, call: Callable[[], object]) -> float:
    """CPU seconds per call, best of three rounds."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(count):
            call()
        best = min(best, (time.process_time() - started) / count)
    return best


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return run(TWO_NAMESPACES).__enter__()


@pytest.mark.parametrize("mode", PROXY_MODES)
def test_connections_over_the_overlay(mode: str) -> None:
    from scapy.layers.l2 import Ether

    cluster = run(TWO_NAMESPACES, proxy_mode=mode).__enter__()
    jump = cluster.pod("dev/jump")
    target = f"{cluster.store.get(Service, 'ent', 'prod').spec.cluster_ip}:8080"
    with cluster.capture() as packets:
        asyncio.run(jump.connect(target))
    frames = len(packets)
    taken = seconds_for(100, lambda: cluster.pump(jump.connect(target)))
    dissect = seconds_for(100, lambda: Ether(packets.records[-1].data))
    print(
        f"\none TCP connection through Service ({mode}) and overlay: {taken * 1e3:.2f} ms for {frames} "
        f"sightings of frames; a sighting costs {taken / frames * 1e6:.1f} us, "
        f"{taken / frames / dissect:.2f} of one scapy dissection ({dissect * 1e6:.0f} us)"
    )


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_ipv6_beside_ipv4(protocol: str) -> None:
    net = dual_stack(through_a_router())
    net.plane._recorders.clear()
    net.serve("b", 80, protocol=TCP if protocol == "tcp" else UDP)
    ask = net.ask if protocol == "tcp" else net.ask_udp
    old = seconds_for(200, lambda: ask("a", "10.0.1.1:80"))
    new = seconds_for(200, lambda: ask("a", f"[{v6('10.0.1.1')}]:80"))
    print(
        f"\none question and answer through a router ({protocol}): {old * 1e6:.0f} us in IPv4, "
        f"{new * 1e6:.0f} us in IPv6, {new / old:.2f} of it"
    )


def test_dns_answers(cluster: Cluster) -> None:
    corefile = cluster.store.get(ConfigMap, "coredns", "kube-system").data["Corefile"]
    resolv_conf = {"/etc/resolv.conf": "nameserver 203.0.113.53\n"}
    server = Server(corefile, cluster.zone, Rng(1), files=resolv_conf, remembers=0)
    query = dns.query(1, "ent.prod.svc.cluster.local.", dns.A, edns_size=1232)
    arrived = QueryArrived(query, IPv4Address("10.244.1.2"))
    (reply,) = server.feed(arrived, 0.0)
    assert isinstance(reply, SendReply)
    taken = seconds_for(2000, lambda: server.feed(arrived, 0.0))
    peer = seconds_for(500, lambda: dnslib.DNSRecord.parse(reply.data))
    print(
        f"\none DNS query answered by kubeadm's chain: {taken * 1e6:.0f} us, "
        f"{taken / peer:.2f} of dnslib parsing its answer ({peer * 1e6:.0f} us)"
    )


def endpoint_slice(name: str, first: int, count: int) -> EndpointSlice:
    endpoints = tuple(
        Endpoint((str(IPv4Address("10.128.0.0") + first + i),), EndpointConditions(True, True, False))
        for i in range(count)
    )
    meta = ObjectMeta(name=f"{name}-1", namespace="default", labels={SERVICE_NAME_LABEL: name})
    return EndpointSlice(metadata=meta, endpoints=endpoints, ports=(EndpointPort("", 8080),))


@pytest.mark.parametrize("services", [100, 10_000])
@pytest.mark.parametrize("mode", PROXY_MODES)
def test_one_changed_endpoint(mode: str, services: int) -> None:
    proxier = Proxier(ProxySettings(IPv4Network("10.128.0.0/9"), mode))
    started = time.process_time()
    for number in range(services):
        address = str(IPv4Address("10.96.0.0") + number + 1)
        service = Service(
            metadata=ObjectMeta(name=f"s{number}", namespace="default"),
            spec=ServiceSpec(cluster_ip=address, cluster_ips=(address,), ports=(ServicePort(80),)),
        )
        proxier.feed(StoreEvent(EventType.ADDED, service))
        proxier.feed(StoreEvent(EventType.ADDED, endpoint_slice(f"s{number}", number * 16, 15)))
    loaded = time.process_time() - started
    before = endpoint_slice("s7", 7 * 16, 15)
    after = replace(before, endpoints=before.endpoints[1:])
    events = [StoreEvent(EventType.MODIFIED, after, before), StoreEvent(EventType.MODIFIED, before, after)]

    def change() -> None:
        for event in events:
            proxier.feed(event)

    taken = seconds_for(200, change) / 2
    print(
        f"\nkube-proxy in {mode} mode with {services} Services x 15 endpoints: loaded in {loaded:.2f} s, "
        f"one endpoint change {taken * 1e6:.0f} us"
    )


def test_writing_a_capture(cluster: Cluster, tmp_path: Path) -> None:
    from scapy.utils import RawPcapNgWriter

    with cluster.capture() as packets:
        for _ in range(10):
            asyncio.run(cluster.pod("dev/jump").connect("ent.prod:8080"))
    records, names = packets.records, cluster.names()
    ours = seconds_for(3, lambda: write_pcapng(tmp_path / "ours", records, names)) / len(records)

    def scapys() -> None:
        with RawPcapNgWriter(str(tmp_path / "scapy")) as writer:
            for record in records:
                writer.write(record.data)

    peer = seconds_for(3, scapys) / len(records)
    print(
        f"\none packet with its reasons into pcapng: {ours * 1e6:.1f} us; "
        f"scapy's raw writer without comments {peer * 1e6:.1f} us, ratio {ours / peer:.2f}"
    )
