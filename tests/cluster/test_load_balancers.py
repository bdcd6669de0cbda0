"""Services of type LoadBalancer: pending without a pool; with one, an address that one node answers for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netsim.checks.report import run_checks
from netsim.cluster import Cluster, run
from netsim.cluster.listing import Wanted, listed
from netsim.cluster.tables import TABLES, render_table
from netsim.objects.core import Node, Service
from netsim.objects.meta import Condition, Object
from netsim.plan.entries import Announcement
from netsim.wire import arp
from tests.cluster.sites import CLIENTS, NODES, SITE, Start, ask, field, outcome, service, spec_of
from tests.cluster.test_cluster import plan_from_scratch
from tests.cluster.test_services import addresses_of
from tests.conftest import Combination

POOLS = ("198.51.100.0/28", "192.168.10.224/27")
WEB = "{type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30001}]}"


def with_pool(pool: str, *services: str) -> str:
    site = SITE.replace("spec:\n  external:", f"spec:\n  loadBalancer: {{pool: {pool}}}\n  external:", 1)
    assert site != SITE
    return site + "".join(services)


@pytest.fixture(params=POOLS, ids=["apart", "inside the subnet"], scope="module")
def site(request: pytest.FixtureRequest, start: Start) -> Iterator[Cluster]:
    """``web`` with an address, for tests that change nothing."""
    with start(with_pool(request.param, service("web", WEB))) as cluster:
        yield cluster


def given(cluster: Cluster, name: str = "web") -> str:
    """The address of a Service, which it must have."""
    (ingress,) = spec_of(cluster, name).status.rest["loadBalancer"]["ingress"]
    return str(ingress["ip"])


def services_of(cluster: Cluster) -> list[Object]:
    return listed(cluster.store, Wanted(Service))


def announcers(cluster: Cluster) -> dict[str, str]:
    entries = [entry for entry in cluster.plan if isinstance(entry, Announcement)]
    return {str(entry.address): entry.host for entry in entries}


# --- with a pool -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_address_answers_for_every_client(site: Cluster, client: str) -> None:
    reply = await ask(site, client, f"{given(site)}:80")
    assert field(reply, "Node") == "node1"


@pytest.mark.parametrize("client", ["external/client", "external/neighbour"])
async def test_from_outside_it_comes_by_the_node_that_announces_it(site: Cluster, client: str) -> None:
    announcer = announcers(site)[given(site)]
    seen = field(await ask(site, client, f"{given(site)}:80"), "RemoteAddr").partition(":")[0]
    assert seen in addresses_of(site, announcer)
    (way,) = {journey.hosts for journey in (await site.find(client).trace(f"{given(site)}:80")).journeys[:1]}
    assert announcer in way


@pytest.mark.parametrize("pool", POOLS)
async def test_one_node_and_no_other_answers_arp(start: Start, pool: str) -> None:
    with start(with_pool(pool, service("web", WEB))) as cluster:
        packed = IPv4Address(given(cluster)).packed
        with cluster.capture() as packets:
            assert await outcome(cluster, "external/client", f"{given(cluster)}:80") == "ok"
        frames = [r.data for r in packets.records if r.data[12:14] == b"\x08\x06" and r.outbound]
        answers = [m for m in map(arp.parse, (frame[14:] for frame in frames)) if m.sender_ip == packed]
        (node,) = announcers(cluster).values()
        (uplink,) = (i for i in cluster.node(node).host.interfaces() if i.name == "eth0")
        assert {answer.sender_mac for answer in answers} == {bytes(uplink.mac)}


def test_kubectl_shows_the_address(site: Cluster) -> None:
    text = render_table(TABLES["services"], services_of(site), now=site.now)
    (line,) = (line for line in text.splitlines() if line.startswith("web "))
    assert line.split()[1:2] + line.split()[3:5] == ["LoadBalancer", given(site), "80:30001/TCP"]


async def test_captures_and_traces_name_it_after_its_service(site: Cluster) -> None:
    assert site.names()[IPv4Address(given(site)).packed] == "svc default/web"


async def test_another_port_of_the_address_is_nobodys(site: Cluster, combination: Combination) -> None:
    """In IPVS mode the nodes have the address, and refuse what is to no port of it."""
    expected = ("refused",) if combination.proxy_mode == "ipvs" else ("unreachable", "timeout")
    assert await outcome(site, "external/client", f"{given(site)}:81") in expected


def test_all_is_well(site: Cluster) -> None:
    assert site.findings() == []
    assert site.warnings == []
    assert site.plan == plan_from_scratch(site)


async def test_checks_reach_the_service_by_its_address(start: Start) -> None:
    check = "{from: external/client, connect: '198.51.100.1:80', count: 40, expect: {balanced: true}}"
    site = with_pool(POOLS[0], service("web", WEB)).replace("\n---", f"\n  checks: [{check}]\n---", 1)
    with start(site) as cluster:
        (result,) = run_checks(cluster).checks
        assert result.passed, result


# --- changes ---------------------------------------------------------------------------------------------


async def test_another_node_takes_over_from_one_that_is_not_ready(start: Start) -> None:
    on_both = with_pool(POOLS[0], service("web", WEB)).replace("      nodeName: node1\n", "")
    with start(on_both) as cluster:
        address = given(cluster)
        assert await outcome(cluster, "external/client", f"{address}:80") == "ok"
        first = announcers(cluster)[address]
        node = cluster.store.get(Node, first)
        conditions = (Condition("Ready", "Unknown", "NodeStatusUnknown"),)
        cluster.store.update(replace(node, status=replace(node.status, conditions=conditions)))
        cluster._step()
        second = announcers(cluster)[address]
        assert {first, second} == {"node1", "node2"}
        seen = field(await ask(cluster, "external/client", f"{address}:80"), "RemoteAddr").partition(":")[0]
        assert seen in addresses_of(cluster, second), "the router has heard of it"
        assert cluster.plan == plan_from_scratch(cluster)


async def test_an_address_without_endpoints_is_not_announced(start: Start) -> None:
    with start(with_pool(POOLS[0], service("web", WEB))) as cluster:
        address = given(cluster)
        cluster.scale("deploy/web", 0)
        assert announcers(cluster) == {}
        assert await outcome(cluster, "external/client", f"{address}:80") == "unreachable"
        cluster.scale("deploy/web", 1)
        assert await outcome(cluster, "external/client", f"{address}:80") == "ok"
        assert given(cluster) == address


async def test_a_deleted_service_gives_its_address_to_the_next(start: Start) -> None:
    with start(with_pool("198.51.100.0/30", service("web", WEB))) as cluster:
        await cluster.apply(service("two", WEB.replace("30001", "30002")))
        assert {given(cluster), given(cluster, "two")} == {"198.51.100.1", "198.51.100.2"}
        await cluster.apply(service("three", WEB.replace("30001", "30003")))
        assert any(
            'Failed to allocate IP for "default/three": no available IPs' in line
            for line in cluster.findings()
        )
        await cluster.delete("service", "default/web")
        assert given(cluster, "three") == "198.51.100.1"
        assert await outcome(cluster, "external/client", "198.51.100.1:80") == "ok"
        assert cluster.plan == plan_from_scratch(cluster)


async def test_two_racks_announce_on_the_wire_of_the_pool(start: Start) -> None:
    racks = with_pool("192.168.20.224/27", service("web", WEB)).replace(
        "spec:\n  loadBalancer",
        "spec:\n  fabric: {subnets: [{name: a, cidr: 192.168.10.0/24}, {name: b, cidr: 192.168.20.0/24}]}\n"
        "  nodes: [{name: node1, subnet: a}, {name: node2, subnet: b}]\n  loadBalancer",
        1,
    )
    with start(racks) as cluster:
        assert announcers(cluster) == {given(cluster): "node2"}
        for client in ("external/client", "external/neighbour"):
            assert await outcome(cluster, client, f"{given(cluster)}:80") == "ok"


# --- without ---------------------------------------------------------------------------------------------


async def test_without_a_pool_it_stays_pending_and_its_node_port_answers(start: Start) -> None:
    with start(SITE + service("web", WEB)) as cluster:
        text = render_table(TABLES["services"], services_of(cluster), now=cluster.now)
        assert "<pending>" in text
        assert cluster.findings() == [
            "Service default/web: its EXTERNAL-IP stays <pending>: the Topology has no loadBalancer pool"
        ]
        assert await outcome(cluster, "external/client", f"{NODES['node2']}:30001") == "ok"
        assert cluster.store.get(Service, "web", "default").status.rest == {}


def test_another_implementations_service_stays_pending() -> None:
    own_class = WEB.replace("{type", "{loadBalancerClass: example.com/lb, type", 1)
    with run(with_pool(POOLS[0], service("web", own_class))) as cluster:
        assert cluster.findings() == [
            "Service default/web: its EXTERNAL-IP stays <pending>: nobody here serves the loadBalancerClass "
            "example.com/lb"
        ]


def test_a_lone_control_plane_node_announces_nothing_and_that_is_said() -> None:
    alone = (
        with_pool(POOLS[0], service("web", WEB))
        .replace(
            "spec:\n  loadBalancer", "spec:\n  nodes: [{name: node1, controlPlane: true}]\n  loadBalancer", 1
        )
        .partition("---\napiVersion: v1\nkind: Pod")[0]
        + "---\n"
        + service("web", WEB)
    )
    with run(alone) as cluster:
        assert announcers(cluster) == {}
        (line,) = cluster.findings()
        assert line == (
            "Service default/web: no node announces 198.51.100.1: none on the subnet of the pool is Ready "
            "and without the label node.kubernetes.io/exclude-from-external-load-balancers"
        )
