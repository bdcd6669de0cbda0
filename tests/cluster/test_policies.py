"""What a Service's policies do to connections, in each mode of kube-proxy, from manifests to pages."""

from __future__ import annotations

import json

import pytest

from netsim.cluster import Cluster, run
from netsim.objects.core import Node, Service
from netsim.objects.discovery import EndpointSlice
from netsim.objects.topology import PROXY_MODES
from tests.cluster.sites import outcome

SITE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  loadBalancer: {pool: 198.51.100.0/29}
  external: {hosts: [{name: client, address: 203.0.113.99}]}
  nodes:
    - {name: control, controlPlane: true, address: 192.168.10.2}
    - {name: a1, zone: a, address: 192.168.10.11}
    - {name: a2, zone: a, address: 192.168.10.12}
    - {name: b1, zone: b, address: 192.168.10.13}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: APP}}
spec:
  nodeName: NODE
  containers:
    - {name: c, image: "registry.k8s.io/e2e-test-images/agnhost:2.53", args: [netexec]}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}], type: NodePort, SAID}
"""
ADDRESSES = {"a1": "192.168.10.11", "a2": "192.168.10.12", "b1": "192.168.10.13"}


def pod(name: str, node: str, app: str = "web") -> str:
    return POD.replace("NAME", name).replace("NODE", node).replace("APP", app)


def site(said: str, *, kind: str = "NodePort") -> str:
    """Servers on a1 and b1, clients on a2 and b1; a Service with what is said of it."""
    made = SERVICE.replace("SAID", said).replace("type: NodePort", f"type: {kind}")
    if kind == "ClusterIP":
        made = made.replace(", nodePort: 30080", "")
    servers = pod("on-a1", "a1") + pod("on-b1", "b1")
    return SITE + servers + pod("in-a2", "a2", "client") + pod("in-b1", "b1", "client") + made


@pytest.fixture(params=PROXY_MODES)
def mode(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


async def reached(cluster: Cluster, client: str, target: str = "web:80", count: int = 24) -> set[str]:
    """The Pods that connections of a client reach."""
    host = cluster.find(client)
    return {(await host.get(f"http://{target}/hostname")).text for _ in range(count)}


async def test_same_zone_keeps_to_the_zone_and_all_serve_a_zone_without_endpoints(mode: str) -> None:
    with run(site("trafficDistribution: PreferSameZone", kind="ClusterIP"), proxy_mode=mode) as cluster:
        assert await reached(cluster, "in-a2") == {"on-a1"}
        assert await reached(cluster, "in-b1") == {"on-b1"}
        await cluster.delete("pod", "on-a1")
        assert await reached(cluster, "in-a2") == {"on-b1"}


AUTO = "metadata: {name: web, annotations: {service.kubernetes.io/topology-mode: Auto}}"


async def test_auto_shares_endpoints_out_by_the_zones_cpus(mode: str) -> None:
    """Zone b has three quarters of the CPUs, and half of the endpoints."""
    text = site("internalTrafficPolicy: Cluster", kind="ClusterIP").replace("metadata: {name: web}", AUTO)
    text = text.replace("zone: b,", "zone: b, cpu: 24,") + pod("two-on-a1", "a1") + pod("two-on-b1", "b1")
    with run(text, proxy_mode=mode) as cluster:
        assert await reached(cluster, "in-a2") == {"two-on-a1"}
        assert await reached(cluster, "in-b1", count=48) == {"on-a1", "on-b1", "two-on-b1"}
        told = [event.reason for event in cluster.events() if event.involved_object.name == "web"]
        assert told == ["TopologyAwareHintsDisabled", "TopologyAwareHintsEnabled"]
        for name in ("on-b1", "two-on-b1"):
            await cluster.delete("pod", name)
        assert await reached(cluster, "in-a2") == {"on-a1", "two-on-a1"}


async def test_same_node_keeps_to_the_node_and_else_to_the_zone(mode: str) -> None:
    with run(site("trafficDistribution: PreferSameNode", kind="ClusterIP"), proxy_mode=mode) as cluster:
        hints = {
            endpoint.node_name: endpoint.rest["hints"]
            for piece in cluster.store.list(EndpointSlice)
            if piece.service_name == "web"
            for endpoint in piece.endpoints
        }
        assert hints == {
            "a1": {"forZones": [{"name": "a"}], "forNodes": [{"name": "a1"}]},
            "b1": {"forZones": [{"name": "b"}], "forNodes": [{"name": "b1"}]},
        }
        assert await reached(cluster, "in-b1") == {"on-b1"}
        assert await reached(cluster, "in-a2") == {"on-a1"}


async def test_internal_policy_local_is_the_nodes_own_endpoints_or_nobody(mode: str) -> None:
    with run(site("internalTrafficPolicy: Local", kind="ClusterIP"), proxy_mode=mode) as cluster:
        assert await reached(cluster, "in-b1") == {"on-b1"}
        refused = "refused" if mode == "ipvs" else "timeout"
        assert await outcome(cluster, "in-a2", "web:80") == refused
        lack = "has no endpoints on this node" if mode == "ipvs" else "no local endpoints: DROP"
        assert lack in str(await cluster.find("in-a2").trace("web:80"))


async def test_affinity_holds_a_client_until_its_time_is_over(mode: str) -> None:
    said = "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 100}}"
    with run(site(said, kind="ClusterIP"), proxy_mode=mode) as cluster:
        first = await reached(cluster, "in-a2")
        assert len(first) == 1
        seen = set(first)
        for _ in range(3):
            cluster.advance(90)
            assert await reached(cluster, "in-a2", count=1) == first
        for _ in range(24):
            cluster.advance(300)
            seen |= await reached(cluster, "in-a2", count=1)
        assert seen == {"on-a1", "on-b1"}


async def test_external_policy_local_keeps_the_client_and_refuses_without_endpoints(mode: str) -> None:
    with run(site("externalTrafficPolicy: Local", kind="LoadBalancer"), proxy_mode=mode) as cluster:
        service = cluster.store.get(Service, "web", "default")
        (vip,) = (entry["ip"] for entry in service.status.rest["loadBalancer"]["ingress"])
        assert await reached(cluster, "external/client", f"{ADDRESSES['a1']}:30080") == {"on-a1"}
        assert await reached(cluster, "external/client", f"{ADDRESSES['b1']}:30080") == {"on-b1"}
        assert len(await reached(cluster, "external/client", f"{vip}:80")) == 1
        client = cluster.find("external/client")
        seen = (await client.get(f"http://{ADDRESSES['a1']}:30080/clientip")).text
        assert seen.rpartition(":")[0] == "203.0.113.99"
        away = await outcome(cluster, "external/client", f"{ADDRESSES['a2']}:30080")
        # IPVS falls back to all endpoints, and flannel's rules masquerade what leaves for another node's Pod.
        assert away == ("ok" if mode == "ipvs" else "timeout")


async def test_every_node_says_whether_it_has_ready_endpoints_of_a_local_load_balancer(mode: str) -> None:
    with run(site("externalTrafficPolicy: Local", kind="LoadBalancer"), proxy_mode=mode) as cluster:
        port = cluster.store.get(Service, "web", "default").spec.rest["healthCheckNodePort"]
        assert 30000 <= port <= 32767 and port != 30080
        client = cluster.find("external/client")
        for node, address in ADDRESSES.items():
            reply = await client.get(f"http://{address}:{port}/healthz")
            count = 0 if node == "a2" else 1
            assert reply.status == (200 if count else 503)
            assert reply.head.header("X-Load-Balancing-Endpoint-Weight") == str(count)
            assert json.loads(reply.text) == {
                "service": {"namespace": "default", "name": "web"},
                "localEndpoints": count,
                "serviceProxyHealthy": True,
            }
        bridge = cluster.store.get(Node, "a1").spec.pod_cidr.replace("0/24", "1")
        answered = await outcome(cluster, "in-a2", f"{bridge}:{port}")
        assert answered == (
            "refused" if mode == "nftables" else "ok"
        )  # it has node ports at one address only
        await cluster.delete("pod", "on-a1")
        assert (await client.get(f"http://{ADDRESSES['a1']}:{port}/")).status == 503
        await cluster.delete("service", "web")
        assert await outcome(cluster, "external/client", f"{ADDRESSES['b1']}:{port}") == "refused"
