"""The whole cluster: from manifests to packets, through every room."""

from __future__ import annotations

import asyncio

import pytest

from netsim.base.errors import ManifestError, UsageError
from netsim.cluster import Cluster, run
from netsim.cluster.furniture import uplinks
from netsim.cni.fabric import fabric_entries
from netsim.cni.networks import pod_network
from netsim.objects.core import Pod, Service
from netsim.objects.discovery import EndpointSlice
from netsim.plan.delta import Delta, Plan
from netsim.proxy.announcer import Announcer
from netsim.proxy.proxier import Proxier
from netsim.resolver.commands import GaiError
from tests.cluster.conftest import TWO_NAMESPACES

WEB = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: prod}
spec: {selector: {app: enterprise}, ports: [{port: 80, targetPort: 8080}]}
"""


def cluster_ip(cluster: Cluster, namespace: str, name: str) -> str:
    return cluster.store.get(Service, name, namespace).spec.cluster_ip


def endpoint_addresses(cluster: Cluster, namespace: str, service: str) -> set[str]:
    slices = cluster.store.slices_of(cluster.store.get(Service, service, namespace).ref)
    return {address for slice_ in slices for endpoint in slice_.endpoints for address in endpoint.addresses}


async def test_a_short_name_stays_in_its_own_namespace(two_namespaces: Cluster) -> None:
    answer = await two_namespaces.pod("dev/jump").resolve("ent")
    assert [str(address) for address in answer.addresses] == [cluster_ip(two_namespaces, "dev", "ent")]


@pytest.mark.parametrize("name", ["ent.prod", "ent.prod.svc", "ent.prod.svc.cluster.local"])
async def test_a_longer_name_reaches_the_other_namespace(two_namespaces: Cluster, name: str) -> None:
    jump = two_namespaces.pod("dev/jump")
    answer = await jump.resolve(name)
    assert [str(address) for address in answer.addresses] == [cluster_ip(two_namespaces, "prod", "ent")]
    reply = await jump.get(f"http://{name}:8080/")
    assert "Hello from the PROD Namespace!" in reply.text


@pytest.mark.parametrize(
    ("name", "queries"),
    [("ent", 2), ("ent.prod", 4), ("ent.prod.svc", 6), ("ent.prod.svc.cluster.local", 8), ("example.com", 8)],
)
async def test_a_lookup_costs_the_queries_that_glibc_sends(
    two_namespaces: Cluster, name: str, queries: int
) -> None:
    answer = await two_namespaces.pod("dev/jump").resolve(name)
    assert len(answer.queries) == queries
    assert answer.addresses


async def test_an_unknown_name_fails_after_the_whole_search_list(two_namespaces: Cluster) -> None:
    answer = await two_namespaces.pod("dev/jump").resolve("missing")
    assert answer.error is GaiError.EAI_NONAME
    assert len(answer.queries) == 8


async def test_connections_reach_every_endpoint_and_no_other_pod(two_namespaces: Cluster) -> None:
    jump = two_namespaces.pod("dev/jump")
    pages = [(await jump.get("http://ent.prod:8080/")).text for _ in range(40)]
    names = {pod.metadata.name for pod in two_namespaces.store.list(Pod, "prod")}
    seen = {name for name in names if any(name in page for page in pages)}
    assert seen == names
    assert all("PROD" in page for page in pages)


async def test_a_pod_reaches_the_outside_with_its_nodes_address(two_namespaces: Cluster) -> None:
    jump = two_namespaces.pod("dev/jump")
    with two_namespaces.capture("www.example.com/eth0") as packets:
        reply = await jump.get("http://www.example.com/")
    assert reply.status == 200
    node = two_namespaces.store.get(Pod, "jump", "dev").status.host_ip
    sources = {record.data[26:30] for record in packets.records if record.data[12:14] == b"\x08\x00"}
    assert bytes(int(part) for part in node.split(".")) in sources


async def test_scaling_reaches_endpoints_dns_and_proxy(two_namespaces: Cluster) -> None:
    two_namespaces.scale("deploy/prod/enterprise", 5)
    assert len(endpoint_addresses(two_namespaces, "prod", "ent")) == 5
    two_namespaces.scale("deploy/prod/enterprise", 1)
    (only,) = endpoint_addresses(two_namespaces, "prod", "ent")
    jump = two_namespaces.pod("dev/jump")
    for _ in range(5):
        reply = await jump.get("http://ent.prod:8080/")
        pod = next(p for p in two_namespaces.store.list(Pod, "prod") if p.status.pod_ip == only)
        assert pod.metadata.name in reply.text


async def test_a_deleted_pod_is_replaced_with_a_new_name_and_address(two_namespaces: Cluster) -> None:
    old = two_namespaces.store.list(Pod, "dev")
    victim = next(pod for pod in old if pod.metadata.name.startswith("enterprise"))
    await two_namespaces.delete("pod", f"dev/{victim.metadata.name}")
    new = {pod.metadata.name: pod.status.pod_ip for pod in two_namespaces.store.list(Pod, "dev")}
    assert victim.metadata.name not in new
    assert len(new) == len(old)
    assert victim.status.pod_ip not in new.values()
    assert victim.status.pod_ip not in endpoint_addresses(two_namespaces, "dev", "ent")


def plan_from_scratch(cluster: Cluster) -> Plan:
    """What the plan would be if all objects of the store had come at once."""
    topology = cluster.topology
    followers = [pod_network(topology), *(Proxier(proxier.settings) for proxier in cluster.proxiers)]
    followers += [Announcer(uplinks(topology))] if topology.load_balancer is not None else []
    plan = Plan()
    plan.apply(Delta(put=fabric_entries(topology)))
    for event in cluster.store.watch().drain():
        for follower in followers:
            plan.apply(follower.feed(event))
    return plan


async def test_the_plan_of_all_deltas_is_the_plan_from_scratch(two_namespaces: Cluster) -> None:
    cluster = two_namespaces
    for replicas in (4, 0, 2):
        cluster.scale("deploy/dev/enterprise", replicas)
    await cluster.delete("service", "dev/ent")
    await cluster.apply(WEB)
    await cluster.delete("namespace", "dev")
    assert cluster.plan == plan_from_scratch(cluster)
    assert cluster.plan.entries == cluster.plane.entries


async def test_a_changed_service_touches_only_its_own_entries(two_namespaces: Cluster) -> None:
    before = dict(two_namespaces.plan.entries)
    await two_namespaces.apply(
        TWO_NAMESPACES.split("---")[5].replace("port: 8080", "port: 8081, targetPort: 8080")
    )
    after = two_namespaces.plan.entries
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    address = cluster_ip(two_namespaces, "prod", "ent")
    assert changed == {("virtual", "@nodes", "6", address, port) for port in ("8080", "8081")}


async def test_a_service_reaches_its_own_pod_by_hairpin() -> None:
    manifests = TWO_NAMESPACES.replace("replicas: 3", "replicas: 1")
    with run(manifests) as cluster:
        pod = cluster.pod("deploy/prod/enterprise")
        reply = await pod.get("http://ent:8080/")
        assert "PROD" in reply.text


async def test_the_cluster_dns_names_an_address(two_namespaces: Cluster) -> None:
    address = cluster_ip(two_namespaces, "prod", "ent")
    outcome = await two_namespaces.pod("dev/jump").exec(["dig", "+short", "-x", address])
    assert outcome.stdout == "ent.prod.svc.cluster.local.\n"


async def test_dns_answers_over_tcp_as_over_udp(two_namespaces: Cluster) -> None:
    jump = two_namespaces.pod("dev/jump")
    udp = await jump.exec(["dig", "+short", "ent.prod.svc.cluster.local"])
    tcp = await jump.exec(["dig", "+tcp", "+short", "ent.prod.svc.cluster.local"])
    assert udp.stdout == tcp.stdout == f"{cluster_ip(two_namespaces, 'prod', 'ent')}\n"


def test_what_is_not_there_is_named_with_what_comes_near(two_namespaces: Cluster) -> None:
    with pytest.raises(UsageError, match="did you mean dev/jump"):
        two_namespaces.pod("jump")
    with pytest.raises(UsageError, match="the nodes are control, node1, node2"):
        two_namespaces.node("node9")
    with pytest.raises(UsageError, match="has no interface eth7"):
        two_namespaces.port("node1/eth7")


def test_a_wrong_manifest_changes_nothing(two_namespaces: Cluster) -> None:
    revision = two_namespaces.store.revision
    with pytest.raises(ManifestError):
        asyncio.run(two_namespaces.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: UPPER}\n"))
    assert two_namespaces.store.revision == revision


async def test_host_network_pods_share_their_nodes_address() -> None:
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: agent, labels: {app: agent}}
spec: {nodeName: node1, hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet,
       containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: agent}
spec: {selector: {app: agent}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node2, containers: [{name: c, image: ubuntu, tty: true, stdin: true}]}
"""
    with run(manifest) as cluster:
        pod = cluster.store.get(Pod, "agent", "default")
        assert pod.status.pod_ip == pod.status.host_ip
        assert (await cluster.pod("client").get("http://agent/")).status == 200
        assert (await cluster.pod("agent").resolve("agent")).addresses


def test_endpoint_slices_hold_exactly_the_ready_pods(two_namespaces: Cluster) -> None:
    for namespace in ("dev", "prod"):
        pods = two_namespaces.store.list(Pod, namespace)
        wanted = {pod.status.pod_ip for pod in pods if pod.metadata.labels.get("app") == "enterprise"}
        assert endpoint_addresses(two_namespaces, namespace, "ent") == wanted
    assert all(slice_.address_type == "IPv4" for slice_ in two_namespaces.store.list(EndpointSlice))
