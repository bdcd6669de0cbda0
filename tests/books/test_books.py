"""Manifests as Kubernetes books print them run unmodified and show the lines that the books show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import netsim
from netsim.cluster.tables import TABLES, table_rows
from netsim.objects.core import Pod
from tests.conftest import Combination

HERE = Path(__file__).parent
POOL = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  loadBalancer: {pool: 198.51.100.0/28}
"""
FORMING = 5.0
"""Seconds in which the last of three peers has joined."""


def shown(cluster: netsim.Cluster, table: str, namespace: str = "default") -> list[dict[str, str]]:
    """The rows of ``kubectl get`` by column."""
    return table_rows(TABLES[table], cluster.store, namespace, now=cluster.now)


async def said(cluster: netsim.Cluster, where: str, line: str) -> str:
    outcome = await cluster.find(where).exec(["sh", "-c", line])
    assert outcome.exit == 0, outcome.stderr
    return outcome.stdout


# --- service discovery over two namespaces ---------------------------------------------------------------


async def test_the_jump_pod_finds_both_enterprises_by_name(combination: Combination) -> None:
    with netsim.run(HERE / "service-discovery.yaml", **combination._asdict()) as cluster:
        conf = await said(cluster, "dev/jump", "cat /etc/resolv.conf")
        assert conf.startswith("search dev.svc.cluster.local svc.cluster.local cluster.local")
        await said(cluster, "dev/jump", "apt-get update && apt-get install -y curl")
        for name, namespace in {"ent": "dev", "ent.prod.svc.cluster.local": "prod"}.items():
            page = await said(cluster, "dev/jump", f"curl -s {name}:8080")
            hello, hostname = page.splitlines()
            assert hello == f"Hello from the {namespace.upper()} Namespace!"
            assert hostname.removeprefix("Hostname: ") in [
                row["name"] for row in shown(cluster, "pods", namespace)
            ]


async def test_both_namespaces_show_their_deployments_and_services() -> None:
    with netsim.run(HERE / "service-discovery.yaml") as cluster:
        for namespace in ("dev", "prod"):
            (deployment,) = shown(cluster, "deployments", namespace)
            assert (deployment["name"], deployment["ready"]) == ("enterprise", "2/2")
            (service,) = shown(cluster, "services", namespace)
            assert (service["name"], service["type"], service["port(s)"]) == ("ent", "ClusterIP", "8080/TCP")


# --- the Elasticsearch StatefulSet -----------------------------------------------------------------------

PEERS = [f"es-cluster-{ordinal}" for ordinal in range(3)]


@pytest.mark.parametrize("book", ["elasticsearch.yaml", "elasticsearch-oss.yaml"])
async def test_three_peers_form_one_cluster(book: str, combination: Combination) -> None:
    with netsim.run(HERE / book, **combination._asdict()) as cluster:
        assert [(row["name"], row["ready"]) for row in shown(cluster, "pods", "kube-logging")] == [
            (name, "1/1") for name in PEERS
        ]
        cluster.advance(FORMING)
        states = [
            json.loads(
                await said(cluster, f"kube-logging/{name}", "curl -s 'localhost:9200/_cluster/state?pretty'")
            )
            for name in PEERS
        ]
        assert {state["cluster_name"] for state in states} == {"k8s-logs"}
        assert len({(state["cluster_uuid"], state["master_node"]) for state in states}) == 1
        for state in states:
            assert sorted(node["name"] for node in state["nodes"].values()) == PEERS
            assert state["master_node"] in state["nodes"]


async def test_the_pods_of_a_chart_are_ready_by_their_script_once_the_cluster_stands() -> None:
    with netsim.run(HERE / "elasticsearch-chart.yaml") as cluster:
        assert [row["ready"] for row in shown(cluster, "pods")] == ["1/1"] * 5
        assert cluster.now > 30, "three probes in a row, ten seconds apart, must succeed"
        names = await said(cluster, "default/es-0", "curl -s es:9200/_cat/nodes?h=name | sort")
        assert names.split() == [f"es-{ordinal}" for ordinal in range(5)]


async def test_the_state_is_printed_as_the_book_prints_it() -> None:
    with netsim.run(HERE / "elasticsearch.yaml") as cluster:
        cluster.advance(FORMING)
        text = await said(
            cluster, "kube-logging/es-cluster-1", "curl -s localhost:9200/_cluster/state?pretty"
        )
        assert text.splitlines()[:2] == ["{", '  "cluster_name" : "k8s-logs",']
        assert '      "name" : "es-cluster-2",' in text.splitlines()


async def test_the_init_containers_ran_to_their_end() -> None:
    with netsim.run(HERE / "elasticsearch.yaml") as cluster:
        pod = cluster.store.get(Pod, "es-cluster-0", "kube-logging")
        assert len(pod.spec.init_containers) == 3
        assert await said(cluster, "kube-logging/es-cluster-0", "sysctl -n vm.max_map_count") == "262144\n"


# --- the telnet server -----------------------------------------------------------------------------------


async def test_the_telnet_server_answers_at_its_load_balancer_and_counts(combination: Combination) -> None:
    with netsim.run(HERE / "telnet-server.yaml", POOL, **combination._asdict()) as cluster:
        balanced, metrics = shown(cluster, "services")[-2:]
        assert (balanced["type"], balanced["external-ip"]) == ("LoadBalancer", "198.51.100.1")
        assert (metrics["type"], metrics["port(s)"]) == ("ClusterIP", "9000/TCP")
        session = await said(
            cluster, "external/www.example.com", f"printf 'd\\nq\\n' | telnet {balanced['external-ip']} 2323"
        )
        assert "Connected to 198.51.100.1." in session
        assert session.replace("\r", "").endswith("Good Bye!\n")
        page = "".join(
            [
                await said(cluster, f"default/{row['name']}", "curl -s localhost:9000/metrics")
                for row in shown(cluster, "pods")
            ]
        )
        totals = [line for line in page.splitlines() if line.startswith("telnet_server_connection_total ")]
        assert sorted(totals) == ["telnet_server_connection_total 0", "telnet_server_connection_total 1"]


async def test_without_a_load_balancer_the_service_stays_pending_and_its_node_port_answers() -> None:
    with netsim.run(HERE / "telnet-server.yaml") as cluster:
        (service,) = [row for row in shown(cluster, "services") if row["name"] == "telnet-server"]
        assert service["external-ip"] == "<pending>"
        node_port = service["port(s)"].partition(":")[2].removesuffix("/TCP")
        session = await said(
            cluster, "external/www.example.com", f"echo q | nc -w 1 192.168.10.11 {node_port}"
        )
        assert "Good Bye!" in session


# --- ten replicas on a node port -------------------------------------------------------------------------


async def test_ten_replicas_answer_on_port_30001_of_every_node(combination: Combination) -> None:
    with netsim.run(HERE / "hello-deploy.yaml", **combination._asdict()) as cluster:
        (deployment,) = shown(cluster, "deployments")
        assert deployment["ready"] == "10/10"
        (service,) = [row for row in shown(cluster, "services") if row["name"] == "hello-svc"]
        assert (service["type"], service["port(s)"]) == ("NodePort", "8080:30001/TCP")
        names = set()
        for number in range(60):
            address = f"192.168.10.{10 + number % 3}"
            reply = await cluster.external("www.example.com").get(f"http://{address}:30001/")
            assert "<h1>Kubernetes Rocks!</h1>" in reply.text
            names.add(reply.text.partition("this request: ")[2].partition("<")[0])
        pods = {row["name"] for row in shown(cluster, "pods")}
        assert names <= pods
        assert len(names) >= 8, "the replicas take turns"


async def test_the_update_and_the_rollback_of_the_book(combination: Combination) -> None:
    with netsim.run(HERE / "hello-deploy.yaml", **combination._asdict()) as cluster:
        client = cluster.external("www.example.com")
        began = cluster.now
        cluster.set_image("deploy/hello-deploy", "nigelpoulton/k8sbook:edge")
        assert cluster.now - began > 10 * 5, "ten seconds for each pair of Pods"
        assert (await client.get("http://192.168.10.11:30001/")).text.count("The Kubernetes Book!!!") == 1
        assert sorted(row["desired"] for row in shown(cluster, "replicasets")) == ["0", "10"]
        assert cluster.rollback("deploy/hello-deploy") == "deployment.apps/hello-deploy rolled back"
        assert "Kubernetes Rocks!" in (await client.get("http://192.168.10.11:30001/")).text
