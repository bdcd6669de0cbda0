"""What DNS itself holds of 10,000 Services and 100,000 Pods, and how long a change takes to be answered.

``make bench`` prints both. The memory is what ``tracemalloc`` counts while the zone is fed and queries fill
the server's memory: the objects are the store's, and were there before. The limit is CoreDNS's published
``(Pods + Services) / 1000 + 54`` MB for a whole process (its deployment guide for Kubernetes).
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netsim.base.rng import Rng
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.corefile import default_corefile
from netsim.clusterdns.memory import CAPACITY
from netsim.clusterdns.server import QueryArrived, SendReply, Server
from netsim.clusterdns.zone import KubernetesZone
from netsim.objects.core import Namespace, ObjectReference, Pod, PodStatus, Service, ServicePort, ServiceSpec
from netsim.objects.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import Object, ObjectMeta
from netsim.store.store import EventType, StoreEvent
from netsim.wire import dns

SERVICES = 10_000
PODS = 100_000
EACH = PODS // SERVICES
NAMESPACES = 100
CHANGES = 500
LIMIT = (PODS + SERVICES) / 1000 + 54
VERIFIED = default_corefile("cluster.local").replace("pods insecure", "pods verified")
RESOLV_CONF = {"/etc/resolv.conf": "nameserver 192.0.2.1\n"}


def place(number: int) -> tuple[str, str]:
    return f"team-{number % NAMESPACES}", f"service-{number}"


def service(number: int, address: int) -> Service:
    namespace, name = place(number)
    text = str(IPv4Address("10.96.0.0") + address)
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace, labels={"app": name}),
        spec=ServiceSpec(cluster_ip=text, cluster_ips=(text,), ports=(ServicePort(80, "http"),)),
    )


def objects() -> Iterator[Object]:
    """The cluster: each Service with a slice of ten Pods."""
    for number in range(NAMESPACES):
        yield Namespace(metadata=ObjectMeta(name=f"team-{number}"))
    for number in range(SERVICES):
        namespace, name = place(number)
        yield service(number, number + 1)
        endpoints = []
        for index in range(EACH):
            address = str(IPv4Address("10.128.0.0") + number * EACH + index + 1)
            pod = ObjectMeta(name=f"{name}-{index:05}", namespace=namespace, labels={"app": name})
            yield Pod(metadata=pod, status=PodStatus(phase="Running", pod_ip=address))
            reference = ObjectReference("Pod", namespace, pod.name)
            endpoints.append(Endpoint((address,), EndpointConditions(True), target_ref=reference))
        yield EndpointSlice(
            metadata=ObjectMeta(
                name=f"{name}-1", namespace=namespace, labels={SERVICE_NAME_LABEL: name, "app": name}
            ),
            endpoints=tuple(endpoints),
            ports=(EndpointPort("http", 8080),),
        )


def question(name: str) -> QueryArrived:
    return QueryArrived(dns.query(1, name, dns.A), IPv4Address("10.244.1.9"), Transport.UDP)


@pytest.mark.timeout(300)
def test_memory_and_change() -> None:
    everything = [*objects()]
    gc.collect()
    tracemalloc.start()
    zone = KubernetesZone()
    for obj in everything:
        zone.feed(StoreEvent(EventType.ADDED, obj), 0.0)
    server = Server(VERIFIED, zone, Rng(1), files=RESOLV_CONF)
    gc.collect()
    indexed = tracemalloc.get_traced_memory()[0] / 1e6
    for number in range(CAPACITY):
        namespace, name = place(number % SERVICES)
        spelled = name if number < SERVICES else f"{name}-{number}"  # those do not exist
        server.feed(question(f"{spelled}.{namespace}.svc.cluster.local."), 0.0)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    print(
        f"\n{SERVICES:,} Services, {PODS:,} Pods: the zone holds {indexed:.0f} MB, "
        f"with {CAPACITY:,} answers kept {held:.0f} MB (CoreDNS: {LIMIT:.0f} MB)"
    )

    gc.freeze()
    spent = []
    for turn in range(CHANGES):
        before, after = service(turn, turn + 1), service(turn, 60_000 + turn)
        namespace, name = place(turn)
        asking = question(f"{name}.{namespace}.svc.cluster.local.")
        server.feed(asking, 0.0)
        began = time.process_time()
        zone.feed(StoreEvent(EventType.MODIFIED, after, before), 0.0)
        (reply,) = server.feed(asking, 0.0)
        spent.append(time.process_time() - began)
        assert isinstance(reply, SendReply)
        assert dns.parse(reply.data).answers[0].data == (IPv4Address("10.96.0.0") + 60_000 + turn).packed
    spent.sort()
    print(
        f"a Service's change until it is in the answer: {spent[len(spent) // 2] * 1e6:.0f} us, "
        f"at worst {spent[-1] * 1e6:.0f} us of {CHANGES}"
    )
    slices = [obj for obj in everything if isinstance(obj, EndpointSlice)][:CHANGES]
    began = time.process_time()
    for obj in slices:
        zone.feed(StoreEvent(EventType.MODIFIED, replace(obj, endpoints=obj.endpoints[1:]), obj), 0.0)
    print(f"an endpoint's change in the zone: {(time.process_time() - began) / len(slices) * 1e6:.0f} us")
