"""Every kind of Service as its users meet it: the names that it has, the addresses, and who answers there."""

from __future__ import annotations

import pytest

import netsim
from netsim.cluster import Cluster, run
from netsim.objects.core import Pod
from netsim.objects.discovery import EndpointSlice
from netsim.plan.entries import Announcement
from tests.cluster.sites import NODES, SITE, ask, cluster_ip, field, outcome, service, spec_of
from tests.conftest import Combination

POOL = SITE.replace("spec:\n", "spec:\n  loadBalancer: {pool: 198.51.100.0/29}\n", 1)
STATEFUL = """
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: acme/db, ports: [{containerPort: 5432, name: pg}]}]}
"""
HEADLESS = service(
    "db", "{clusterIP: None, selector: {app: db}, ports: [{name: pg, port: 5432, targetPort: pg}]}"
)


async def names_of(cluster: Cluster, name: str) -> set[str]:
    return {str(address) for address in (await cluster.pod("far").resolve(name)).addresses}


async def dig(cluster: Cluster, *arguments: str) -> list[str]:
    """The answer section, with single spaces."""
    done = await cluster.pod("far").exec(["dig", "+noall", "+answer", *arguments])
    return [" ".join(line.split()) for line in done.stdout.splitlines() if line]


def address_of(cluster: Cluster, pod: str) -> str:
    return cluster.store.get(Pod, pod, "default").status.pod_ip


# --- headless --------------------------------------------------------------------------------------------


async def test_the_pods_of_a_headless_service_have_names_and_ports() -> None:
    with run(SITE + STATEFUL + HEADLESS) as cluster:
        first, second = address_of(cluster, "db-0"), address_of(cluster, "db-1")
        assert await names_of(cluster, "db") == {first, second}
        assert await names_of(cluster, "db-0.db") == {first}
        assert await names_of(cluster, "db-1.db.default.svc.cluster.local") == {second}
        assert await dig(cluster, "_pg._tcp.db.default.svc.cluster.local", "SRV") == [
            f"_pg._tcp.db.default.svc.cluster.local. 30 IN SRV 0 50 5432 db-{n}.db.default.svc.cluster.local."
            for n in (0, 1)
        ]
        assert await dig(cluster, "db.default.svc.cluster.local", "AAAA") == []


SICK = """
---
apiVersion: v1
kind: Pod
metadata: {name: sick, labels: {app: sick}}
spec:
  nodeName: node2
  containers: [{name: c, image: nginx, readinessProbe: {tcpSocket: {port: 81}, periodSeconds: 1}}]
"""


async def test_addresses_that_are_not_ready_are_published_where_it_is_asked_for() -> None:
    plain = service("plain", "{clusterIP: None, selector: {app: sick}, ports: [{port: 80}]}")
    public = plain.replace("plain", "public").replace("spec: {", "spec: {publishNotReadyAddresses: true, ")
    balanced = service("vip", "{publishNotReadyAddresses: true, selector: {app: sick}, ports: [{port: 80}]}")
    with run(SITE + SICK + plain + public + balanced) as cluster:
        assert await names_of(cluster, "plain") == set()
        assert await names_of(cluster, "public") == {address_of(cluster, "sick")}
        assert await outcome(cluster, "far", "vip:80") == "ok"
        ready = {
            slice_.metadata.labels["kubernetes.io/service-name"]: slice_.endpoints[0].conditions.ready
            for slice_ in cluster.store.list(EndpointSlice)
            if slice_.metadata.name.startswith(("plain", "public", "vip"))
        }
        assert ready == {"plain": False, "public": True, "vip": True}


HAND_MADE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-1, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
ports: [{name: "", port: 8080, protocol: TCP}]
endpoints:
  - {addresses: [203.0.113.99], hostname: first}
  - {addresses: [203.0.113.51], conditions: {ready: false}}
  - {addresses: [203.0.113.52], conditions: {ready: null}}
  - {addresses: [203.0.113.53], conditions: {}}
"""


async def test_what_hand_made_endpoints_do_not_say_counts_as_ready() -> None:
    """EndpointSlice ``conditions.ready``: nil should be interpreted as "true" (discovery/v1 types.go)."""
    headless = service("manual", "{clusterIP: None, ports: [{port: 80}]}")
    with run(SITE + headless + HAND_MADE) as cluster:
        assert await names_of(cluster, "manual") == {"203.0.113.99", "203.0.113.52", "203.0.113.53"}
        assert await names_of(cluster, "first.manual") == {"203.0.113.99"}
        assert await names_of(cluster, "203-0-113-52.manual") == {"203.0.113.52"}


@pytest.mark.parametrize("sees", ["near", "node/control", "external/neighbour"])
async def test_hand_made_endpoints_that_are_not_ready_get_nothing(sees: str) -> None:
    one = HAND_MADE.replace("  - {addresses: [203.0.113.52], conditions: {ready: null}}\n", "").replace(
        "  - {addresses: [203.0.113.53], conditions: {}}\n", ""
    )
    manual = service("manual", "{type: NodePort, ports: [{port: 80, nodePort: 30009}]}")
    with run(SITE + manual + one) as cluster:
        for _ in range(6):
            assert (await ask(cluster, sees, f"{NODES['node2']}:30009")).text == "the client's own page\n"


# --- external names --------------------------------------------------------------------------------------


async def test_an_external_name_may_lead_back_into_the_cluster() -> None:
    web = service("web", "{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
    alias = service(
        "alias", "{type: ExternalName, externalName: web.default.svc.cluster.local, ports: [{port: 81}]}"
    )
    with run(SITE + web + alias) as cluster:
        name = "web.default.svc.cluster.local"
        assert await dig(cluster, "alias.default.svc.cluster.local") == [
            f"alias.default.svc.cluster.local. 30 IN CNAME {name}.",
            f"{name}. 30 IN A {cluster_ip(cluster, 'web')}",
        ]
        assert await outcome(cluster, "far", "alias:80") == "ok"
        assert await outcome(cluster, "far", "alias:81") != "ok", "its own ports are no ports"


# --- load balancers --------------------------------------------------------------------------------------

BALANCED = "{type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: http}]}"


def wanting(what: str) -> str:
    return POOL + service("web", BALANCED.replace("{type", f"{{{what}, type", 1))


def ingress(cluster: Cluster) -> list[str]:
    status = spec_of(cluster, "web").status.rest.get("loadBalancer") or {}
    return [entry["ip"] for entry in status.get("ingress", ())]


async def test_an_address_may_be_asked_for() -> None:
    with run(wanting("loadBalancerIP: 198.51.100.5")) as cluster:
        assert ingress(cluster) == ["198.51.100.5"]
        assert await outcome(cluster, "external/client", "198.51.100.5:80") == "ok"
    with run(wanting("loadBalancerIP: 192.0.2.5")) as cluster:
        assert ingress(cluster) == []
        assert cluster.findings() == [
            'Service default/web: Failed to allocate IP for "default/web": '
            '["192.0.2.5"] is not allowed in config'
        ]


async def test_a_balancer_without_node_ports_answers_at_its_address() -> None:
    with run(wanting("allocateLoadBalancerNodePorts: false")) as cluster:
        assert [port.node_port for port in spec_of(cluster, "web").spec.ports] == [None]
        assert await outcome(cluster, "external/client", f"{ingress(cluster)[0]}:80") == "ok"
        assert await outcome(cluster, "far", f"{cluster_ip(cluster, 'web')}:80") == "ok"


async def test_when_the_node_that_answers_is_cut_off_another_one_does(combination: Combination) -> None:
    spread = wanting("allocateLoadBalancerNodePorts: false").replace("      nodeName: node1\n", "")
    with netsim.run(spread, **combination._asdict()) as cluster:
        target = f"{ingress(cluster)[0]}:80"
        assert await outcome(cluster, "external/client", target) == "ok"
        first = {str(entry.host) for entry in cluster.plan if isinstance(entry, Announcement)}
        cluster.fail_node(*first)
        cluster.advance(20.0)
        assert await outcome(cluster, "external/client", target) != "ok", "nobody knows yet"
        cluster.advance(50.0)
        second = {str(entry.host) for entry in cluster.plan if isinstance(entry, Announcement)}
        assert first | second == {"node1", "node2"}
        for _ in range(6):
            assert field(await ask(cluster, "external/client", target), "Node") in second


# --- several ports ---------------------------------------------------------------------------------------

DIFFERENT = """
---
apiVersion: v1
kind: Pod
metadata: {name: old, labels: {app: mixed}}
spec: {containers: [{name: c, image: acme/old, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: new, labels: {app: mixed}}
spec: {containers: [{name: c, image: acme/new, ports: [{name: http, containerPort: 9090}]}]}
"""


async def test_a_named_target_port_is_each_pods_own(combination: Combination) -> None:
    mixed = service("mixed", "{selector: {app: mixed}, ports: [{port: 80, targetPort: http}]}")
    with netsim.run(SITE + DIFFERENT + mixed, **combination._asdict()) as cluster:
        seen = {
            field(await ask(cluster, "far", f"{cluster_ip(cluster, 'mixed')}:80"), "Pod") for _ in range(20)
        }
        assert seen == {"old", "new"}
        slices = [s for s in cluster.store.list(EndpointSlice) if s.metadata.name.startswith("mixed-")]
        assert sorted(port.port or 0 for slice_ in slices for port in slice_.ports) == [8080, 9090]


async def test_one_node_port_serves_two_protocols_of_one_port() -> None:
    """portallocator: a port that is asked for in two protocols gets one number where it can."""
    both = service(
        "both",
        "{type: NodePort, selector: {app: web}, ports: [{name: t, port: 53, targetPort: http}, "
        "{name: u, port: 53, protocol: UDP, targetPort: 53}]}",
    )
    with run(SITE + both) as cluster:
        first, second = (port.node_port for port in spec_of(cluster, "both").spec.ports)
        assert first == second
