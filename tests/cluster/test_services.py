"""Services of every kind, from the manifest to the connection: who answers, and whom it sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netsim.base.errors import ManifestError
from netsim.checks.report import run_checks
from netsim.cluster import Cluster, run
from netsim.controllers.services import FIRST_NODE_PORT, node_port_bands
from netsim.objects.core import Pod
from tests.cluster.sites import CLIENTS, NODES, SITE, Start, ask, cluster_ip, field, outcome, service, spec_of
from tests.conftest import Combination

NODE_PORT = service(
    "web", "{type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30001}]}"
)
IDLE = service("idle", "{type: NodePort, selector: {app: nobody}, ports: [{port: 80, nodePort: 30002}]}")


@pytest.fixture(scope="module")
def site(start: Start) -> Iterator[Cluster]:
    """The site with ``web`` on node port 30001, for tests that change nothing."""
    with start(SITE + NODE_PORT + IDLE) as cluster:
        yield cluster


def addresses_of(cluster: Cluster, node: str) -> set[str]:
    interfaces = cluster.node(node).host.interfaces()
    return {text.partition("/")[0] for interface in interfaces for text in interface.addresses}


# --- node ports ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_node_port_answers_on_every_node_for_every_client(
    site: Cluster, client: str, node: str
) -> None:
    reply = await ask(site, client, f"{NODES[node]}:30001")
    assert reply.status == 200
    assert field(reply, "Node") == "node1"
    seen = field(reply, "RemoteAddr").partition(":")[0]
    assert seen in addresses_of(site, node), "the endpoint sees the node that was asked"


async def test_a_node_port_leads_to_each_endpoint(site: Cluster) -> None:
    names = {
        field(await ask(site, "external/client", f"{NODES['node2']}:30001"), "Hostname") for _ in range(30)
    }
    assert names == {
        pod.metadata.name for pod in site.store.list(Pod) if pod.metadata.labels.get("app") == "web"
    }


async def test_a_pod_reaches_itself_by_a_node_port(site: Cluster) -> None:
    pod = site.pod("deploy/web")
    names = {field(await pod.get(f"http://{NODES['node1']}:30001/"), "Hostname") for _ in range(30)}
    assert pod.title.rpartition("/")[2] in names


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_node_port_without_endpoints_refuses(site: Cluster, client: str) -> None:
    assert await outcome(site, client, f"{NODES['node2']}:30002") == "refused"


async def test_the_cluster_ip_answers_beside_the_node_port(site: Cluster) -> None:
    reply = await ask(site, "far", f"{cluster_ip(site, 'web')}:80")
    far = site.store.get(Pod, "far", "default").status.pod_ip
    assert field(reply, "RemoteAddr").partition(":")[0] == far, "inside the cluster the source stays"


async def test_a_node_port_answers_at_localhost_in_iptables_mode_only(
    site: Cluster, combination: Combination
) -> None:
    if combination.proxy_mode == "iptables":
        assert field(await ask(site, "node/node2", "127.0.0.1:30001"), "Node") == "node1"
    else:
        assert await outcome(site, "node/node2", "127.0.0.1:30001") == "refused"
    assert await outcome(site, "far", "127.0.0.1:30001") == "refused", "which is the Pod itself"


def test_a_node_port_that_nobody_chose_is_from_the_upper_band() -> None:
    with run(SITE + service("web", "{type: NodePort, selector: {app: web}, ports: [{port: 80}]}")) as cluster:
        (port,) = spec_of(cluster, "web").spec.ports
        assert port.node_port is not None
        assert port.node_port >= node_port_bands().dynamic == FIRST_NODE_PORT + 86


async def test_a_taken_node_port_is_refused_while_the_cluster_runs(site: Cluster) -> None:
    taken = service("other", "{type: NodePort, ports: [{port: 80, nodePort: 30001}]}")
    with pytest.raises(ManifestError, match="provided port is already allocated"):
        await site.apply(taken)
    with pytest.raises(ManifestError, match="The range of valid ports is 30000-32767"):
        await site.apply(service("other", "{type: NodePort, ports: [{port: 80, nodePort: 80}]}"))


async def test_a_service_that_becomes_a_cluster_ip_loses_its_node_port(start: Start) -> None:
    with start(SITE + NODE_PORT) as cluster:
        assert await outcome(cluster, "external/client", f"{NODES['node1']}:30001") == "ok"
        await cluster.apply(service("web", "{selector: {app: web}, ports: [{port: 80, targetPort: http}]}"))
        assert await outcome(cluster, "external/client", f"{NODES['node1']}:30001") == "refused"
        assert await outcome(cluster, "far", f"{cluster_ip(cluster, 'web')}:80") == "ok"


# --- external addresses ----------------------------------------------------------------------------------


def with_external(address: str) -> str:
    return service(
        "web",
        f"{{selector: {{app: web}}, externalIPs: [{address}], ports: [{{port: 80, targetPort: http}}]}}",
    )


async def test_kube_proxy_takes_external_addresses_on_every_node(start: Start) -> None:
    with start(SITE + with_external("198.51.100.7")) as cluster:
        for client in ("node/node1", "node/control", "near", "far"):
            assert field(await ask(cluster, client, "198.51.100.7:80"), "Node") == "node1"
        assert await outcome(cluster, "external/client", "198.51.100.7:80") != "ok", "nobody routes it here"


async def test_a_nodes_own_address_may_be_an_external_one_in_iptables_mode() -> None:
    with run(SITE + with_external(NODES["node2"]), proxy_mode="iptables") as cluster:
        for client in CLIENTS:  # what reaches node2 gets there
            assert field(await ask(cluster, client, f"{NODES['node2']}:80"), "Node") == "node1"


async def test_in_ipvs_mode_the_other_nodes_then_take_its_address_and_lose_it() -> None:
    """They bind every external address that is not on an interface of their own, whose ever it is."""
    with run(SITE + with_external(NODES["node2"]), proxy_mode="ipvs") as cluster:
        bound = {
            node: NODES["node2"]
            in (await cluster.node(node).exec(["ip", "addr", "show", "kube-ipvs0"])).stdout
            for node in NODES
        }
        assert bound == {"control": True, "node1": True, "node2": False}
        (near, far) = (cluster.store.get(Pod, name, "default").status.pod_ip for name in ("near", "far"))
        assert near is not None and far is not None
        assert "100% packet loss" in (await cluster.pod("near").exec(["ping", "-c1", far])).stdout


# --- without a selector ----------------------------------------------------------------------------------

SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside-1, labels: {kubernetes.io/service-name: outside}}
addressType: IPv4
ports: [{name: "", port: 8080, protocol: TCP}]
endpoints: [{addresses: [203.0.113.99]}]
"""
ENDPOINTS = """
---
apiVersion: v1
kind: Endpoints
metadata: {name: outside}
subsets: [{addresses: [{ip: 203.0.113.99}], ports: [{port: 8080}]}]
"""


@pytest.mark.parametrize("endpoints", [SLICE, ENDPOINTS], ids=["EndpointSlice", "Endpoints"])
async def test_a_service_without_a_selector_goes_where_its_endpoints_say(
    start: Start, endpoints: str
) -> None:
    with start(SITE + service("outside", "{ports: [{port: 80, targetPort: 8080}]}") + endpoints) as cluster:
        assert cluster.findings() == []
        for client in ("near", "far", "node/control"):
            assert (
                await ask(cluster, client, f"{cluster_ip(cluster, 'outside')}:80")
            ).text == "the client's own page\n"
        assert "own page" in (await cluster.pod("far").get("http://outside/")).text


async def test_endpoints_that_come_later_are_followed(start: Start) -> None:
    with start(SITE + service("outside", "{ports: [{port: 80, targetPort: 8080}]}")) as cluster:
        assert await outcome(cluster, "far", "outside:80") == "refused"
        await cluster.apply(SLICE)
        assert await outcome(cluster, "far", "outside:80") == "ok"
        await cluster.delete("endpointslice", "default/outside-1")
        assert await outcome(cluster, "far", "outside:80") == "refused"


# --- matters of DNS --------------------------------------------------------------------------------------


async def test_a_headless_service_is_its_pods_and_no_proxy_is_between(start: Start) -> None:
    with start(
        SITE + service("web", "{clusterIP: None, selector: {app: web}, ports: [{port: 80}]}")
    ) as cluster:
        pods = {
            pod.status.pod_ip for pod in cluster.store.list(Pod) if pod.metadata.labels.get("app") == "web"
        }
        far = cluster.pod("far")
        assert {str(address) for address in (await far.resolve("web")).addresses} == pods
        reply = await far.get("http://web:8080/")
        assert (
            field(reply, "RemoteAddr").partition(":")[0]
            == cluster.store.get(Pod, "far", "default").status.pod_ip
        )
        assert (await far.connect("web:80")).result == "refused", "the Pods' own port counts"
        assert not [port for port in cluster.proxier.service_ports() if port.service == ("default", "web")]


async def test_an_external_name_is_an_alias() -> None:
    with run(SITE + service("shop", "{type: ExternalName, externalName: www.example.com}")) as cluster:
        far = cluster.pod("far")
        answer = await far.resolve("shop")
        assert (answer.canonical_name, [str(address) for address in answer.addresses]) == (
            "www.example.com",
            ["203.0.113.80"],
        )
        assert "Example Domain" in (await far.get("http://shop/")).text
        assert spec_of(cluster, "shop").spec.cluster_ip == ""


# --- several ports ---------------------------------------------------------------------------------------


def test_several_ports_need_names() -> None:
    with pytest.raises(ManifestError, match=r"spec.ports\[1\].name: Required value"):
        run(SITE + service("web", "{selector: {app: web}, ports: [{name: a, port: 80}, {port: 81}]}"))


TWO_PORTS = """
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  containers: [{name: c, image: acme/two, ports: [{containerPort: 8080, name: http}, {containerPort: 9000}]}]
""" + service(
    "two",
    "{type: NodePort, selector: {app: two}, ports: "
    "[{name: web, port: 80, targetPort: http}, {name: admin, port: 81, targetPort: 9000}]}",
)
PAGES = '\n  images: {acme/two: {http: {8080: "the shop\\n", 9000: "its office\\n"}}}\n---'


async def test_each_port_has_its_own_target(start: Start) -> None:
    with start(SITE.replace("\n---", PAGES, 1) + TWO_PORTS) as cluster:
        assert (await ask(cluster, "far", f"{cluster_ip(cluster, 'two')}:80")).text == "the shop\n"
        assert (await ask(cluster, "far", f"{cluster_ip(cluster, 'two')}:81")).text == "its office\n"
        first, second = (port.node_port for port in spec_of(cluster, "two").spec.ports)
        assert (await ask(cluster, "external/client", f"{NODES['control']}:{first}")).text == "the shop\n"
        assert (await ask(cluster, "external/client", f"{NODES['control']}:{second}")).text == "its office\n"


ECHO = """
---
apiVersion: v1
kind: Pod
metadata: {name: echo, labels: {app: echo}}
spec:
  containers: [{name: c, image: acme/echo, ports: [{containerPort: 7}, {containerPort: 7, protocol: UDP}]}]
""" + service(
    "echo",
    "{type: NodePort, selector: {app: echo}, ports: "
    "[{name: t, port: 7, nodePort: 30007}, {name: u, port: 7, protocol: UDP, nodePort: 30007}]}",
)
CHECKS = """
  checks:
    - {from: external/client, connect: svc/default/echo:7, via: node2, expect: {reached: [echo]}}
    - from: external/client
      connect: svc/default/echo:7
      via: node2
      protocol: udp
      expect: {reached: [echo]}
---"""


def test_tcp_and_udp_may_share_a_port_number(start: Start) -> None:
    with start(SITE.replace("\n---", CHECKS, 1) + ECHO) as cluster:
        report = run_checks(cluster)
        assert (report.passed, report.failed) == (2, 0)
