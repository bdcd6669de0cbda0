"""A node is cut off: who notices when, what is made elsewhere, and what becomes of it when it is back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netsim.base.errors import UsageError
from netsim.cluster import Cluster, run
from netsim.cluster.tables import TABLES, table_rows
from netsim.objects.core import Node, Pod, Service
from tests.cluster.sites import client, web

MANIFESTS = (
    web(replicas=4)
    + client("control")
    + """
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: redis, ports: [{containerPort: 6379}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 6379}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: nginx}]}
"""
)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with run(MANIFESTS) as running:
        yield running


def pods(cluster: Cluster, prefix: str, node: str | None = None) -> list[Pod]:
    found = [pod for pod in cluster.store.list(Pod, "default") if pod.metadata.name.startswith(prefix)]
    return [pod for pod in found if node in (None, pod.spec.node_name)]


def ready_addresses(cluster: Cluster, service: str = "web") -> set[str]:
    slices = cluster.store.slices_of(cluster.store.get(Service, service, "default").ref)
    listed = [endpoint for piece in slices for endpoint in piece.endpoints if endpoint.conditions.ready]
    return {address for endpoint in listed for address in endpoint.addresses}


def statuses(cluster: Cluster, table: str) -> dict[str, str]:
    rows = table_rows(TABLES[table], cluster.store, "default", now=cluster.now)
    return {row["name"]: row["status"] for row in rows}


async def succeeded(cluster: Cluster, times: int = 12) -> int:
    """How many of so many connections to the Service web get through."""
    results = [await cluster.pod("client").connect("web:80", timeout=1.0) for _ in range(times)]
    return sum(result.result == "ok" for result in results)


async def test_until_the_node_counts_as_lost_connections_to_its_pods_time_out(cluster: Cluster) -> None:
    assert await succeeded(cluster) == 12
    cluster.fail_node("node2")
    assert len(ready_addresses(cluster)) == 4
    assert 0 < await succeeded(cluster) < 12
    cluster.advance(55.0)
    assert ready_addresses(cluster) == {pod.status.pod_ip for pod in pods(cluster, "web", "node1")}
    assert await succeeded(cluster) == 12


def test_the_node_and_its_pods_are_shown_as_kubectl_shows_them(cluster: Cluster) -> None:
    cluster.fail_node("node2")
    assert statuses(cluster, "nodes")["node2"] == "Ready"
    cluster.advance(55.0)
    assert statuses(cluster, "nodes") == {"control": "Ready", "node1": "Ready", "node2": "NotReady"}
    lost = [pod.metadata.name for pod in pods(cluster, "", "node2")]
    assert {statuses(cluster, "pods")[name] for name in lost} == {"Running"}
    cluster.advance(300.0)
    after = statuses(cluster, "pods")
    assert {after[name] for name in lost if not name.startswith("agent")} == {"Terminating"}
    assert {after[name] for name in lost if name.startswith("agent")} == {"Running"}


async def test_a_deployments_pods_are_made_again_elsewhere_after_eviction(cluster: Cluster) -> None:
    cluster.fail_node("node2")
    cluster.advance(353.9)  # to 354.9 s: lost at 55 s, evicted 300 s later
    assert len(pods(cluster, "web")) == 4
    cluster.advance(2.0)
    staying = [pod for pod in pods(cluster, "web", "node1") if pod.condition("Ready")]
    assert len(staying) == 4
    assert ready_addresses(cluster) == {pod.status.pod_ip for pod in staying}
    assert await succeeded(cluster) == 12


def test_settling_does_not_wait_for_what_will_never_be_heard(cluster: Cluster) -> None:
    cluster.fail_node("node2")
    cluster.advance(60.0)
    cluster.settle()
    assert cluster.now < 70.0
    text = "cannot become ready: nothing is heard of its node node2"
    assert sum(text in line for line in cluster.findings()) == len(pods(cluster, "", "node2"))


async def test_a_stateful_pod_is_not_made_twice_unless_the_node_is_out_of_service(cluster: Cluster) -> None:
    (lost,) = pods(cluster, "db", "node2")
    name = lost.metadata.name
    cluster.fail_node("node2")
    cluster.advance(400.0)
    assert [pod.spec.node_name for pod in pods(cluster, name)] == ["node2"]
    assert statuses(cluster, "pods")[name] == "Terminating"
    cluster.taint("node2", "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    cluster.advance(25.0)
    (again,) = pods(cluster, name)
    assert (again.spec.node_name, again.spec.hostname) == ("node1", name)
    assert again.metadata.uid != lost.metadata.uid
    answer = await cluster.pod("client").resolve(f"{name}.db")
    assert [str(address) for address in answer.addresses] == [again.status.pod_ip]


async def test_force_deleting_a_stateful_pod_of_a_lost_node_has_it_made_elsewhere(cluster: Cluster) -> None:
    (lost,) = pods(cluster, "db", "node2")
    cluster.fail_node("node2")
    cluster.advance(60.0)
    await cluster.delete("pod", f"default/{lost.metadata.name}", grace_seconds=0)
    (again,) = pods(cluster, lost.metadata.name)
    assert again.spec.node_name == "node1"
    assert again.condition("Ready")


async def test_a_node_that_is_back_soon_is_as_if_nothing_had_been(cluster: Cluster) -> None:
    before = {pod.metadata.uid for pod in cluster.store.list(Pod)}
    cluster.fail_node("node2")
    cluster.advance(20.0)
    cluster.restore_node("node2")
    cluster.advance(100.0)
    assert statuses(cluster, "nodes")["node2"] == "Ready"
    assert {pod.metadata.uid for pod in cluster.store.list(Pod)} == before
    assert await succeeded(cluster) == 12


async def test_a_node_that_is_back_before_the_eviction_keeps_its_pods(cluster: Cluster) -> None:
    before = {pod.metadata.uid for pod in cluster.store.list(Pod)}
    cluster.fail_node("node2")
    cluster.advance(200.0)
    cluster.restore_node("node2")
    assert {pod.metadata.uid for pod in cluster.store.list(Pod)} == before
    assert len(ready_addresses(cluster)) == 4
    assert cluster.store.get(Node, "node2").spec.taints == ()
    cluster.advance(400.0)
    assert {pod.metadata.uid for pod in cluster.store.list(Pod)} == before


async def test_a_node_that_is_back_after_the_eviction_ends_what_was_deleted(cluster: Cluster) -> None:
    cluster.fail_node("node2")
    cluster.advance(400.0)
    assert len(pods(cluster, "web")) == 6
    cluster.restore_node("node2")
    assert len(pods(cluster, "web")) == 4
    assert all(pod.metadata.deletion_timestamp is None for pod in cluster.store.list(Pod))
    assert len(pods(cluster, "db")) == 2
    assert all(pod.condition("Ready") for pod in pods(cluster, "db"))


async def test_what_runs_on_a_cut_off_node_goes_on_among_itself(cluster: Cluster) -> None:
    first, second = pods(cluster, "web", "node2")
    cluster.fail_node("node2")
    inside = cluster.pod(f"default/{first.metadata.name}")
    assert (await inside.connect(f"{second.status.pod_ip}:80")).result == "ok"
    other = pods(cluster, "web", "node1")[0].status.pod_ip
    assert (await inside.connect(f"{other}:80", timeout=2.0)).result in ("timeout", "unreachable")


def test_a_node_fails_once_and_is_restored_once(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.fail_node("node2")
    revision = cluster.store.revision
    cluster.restore_node("node1")
    assert cluster.store.revision == revision
    for _ in range(2):
        cluster.restore_node("node2")
    assert statuses(cluster, "nodes")["node2"] == "Ready"


def test_only_nodes_fail(cluster: Cluster) -> None:
    for call in (cluster.fail_node, cluster.restore_node):
        with pytest.raises(UsageError, match="there is no node node9"):
            call("node9")


# --- taints


def test_a_taint_moves_pods_and_is_taken_back(cluster: Cluster) -> None:
    cluster.taint("node2", "maintenance=soon:NoExecute")
    assert pods(cluster, "web", "node2") == []
    assert pods(cluster, "agent", "node2") == []
    cluster.taint("node2", "maintenance:NoExecute-")
    assert len(pods(cluster, "agent", "node2")) == 1


@pytest.mark.parametrize(
    "text", ["key", "key=value", "key=value:Never", ":NoSchedule", "key=a:b:NoSchedule", ""]
)
def test_what_is_no_taint_is_refused(cluster: Cluster, text: str) -> None:
    with pytest.raises(UsageError, match="invalid taint spec"):
        cluster.taint("node1", text)


def test_taking_back_what_is_not_there_is_an_error(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match='taint "key:NoSchedule" not found'):
        cluster.taint("node1", "key:NoSchedule-")
