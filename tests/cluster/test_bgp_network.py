"""Pods over BGP: routes come from UPDATEs and from nowhere else, and packets cross the wires as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from netsim.capture.record import PacketRecord
from netsim.checks.report import run_checks
from netsim.cluster import Cluster, run
from netsim.cluster.network_tables import NETWORK_TABLES
from netsim.objects.core import Pod
from netsim.objects.manifest import load
from netsim.plan.entries import HostName
from netsim.wire import bgp, ethernet, ipv4, tcp
from tests.cluster.conftest import TWO_NAMESPACES
from tests.conftest import Golden

PODS = """
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{nodeName: {first}, containers: [{{name: c, image: ubuntu, tty: true, stdin: true}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: near}}
spec: {{nodeName: {near}, containers: [{{name: web, image: nginx, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: far}}
spec: {{nodeName: {far}, containers: [{{name: web, image: nginx, ports: [{{containerPort: 80}}]}}]}}
"""
ONE_WIRE = PODS.format(first="node1", near="node1", far="node2")
RACKS = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  networking: {podNetwork: bgp, bgp: {peering: PEERING}}
  fabric:
    subnets:
      - {name: rack-a, cidr: 192.168.10.0/24}
      - {name: rack-b, cidr: 192.168.20.0/24}
  nodes:
    - {name: control, subnet: rack-a, controlPlane: true}
    - {name: node1, subnet: rack-a}
    - {name: node2, subnet: rack-a}
    - {name: node3, subnet: rack-b}
---
""" + PODS.format(first="node1", near="node2", far="node3")
HOLD_TIME = 90.0  # RFC 4271 section 10


@pytest.fixture
def mesh() -> Iterator[Cluster]:
    """control, node1 (client, near) and node2 (far) on one wire."""
    with run(ONE_WIRE, network="bgp") as cluster:
        yield cluster


@pytest.fixture
def racks() -> Iterator[Cluster]:
    """control, node1 (client) and node2 (near) in one rack, node3 (far) in another."""
    with run(RACKS.replace("PEERING", "tor")) as cluster:
        yield cluster


def learnt(cluster: Cluster, name: str) -> dict[str, str]:
    """The routes of protocol bird in a host's table, and their gateways."""
    routes = cluster.plane.host(HostName(name)).routes()
    return {route.destination: route.via for route in routes if route.protocol == "bird"}


def address(cluster: Cluster, pod: str) -> str:
    return cluster.store.get(Pod, pod, "default").status.pod_ip


def packet_of(record: PacketRecord) -> ipv4.Ipv4 | None:
    frame = ethernet.parse(record.data)
    return ipv4.parse(frame.payload) if frame.ethertype == ethernet.ETHERTYPE_IPV4 else None


def messages(records: Iterable[PacketRecord], source: str = "") -> Iterator[tuple[float, int]]:
    """When which kind of BGP message passed, said by that address or by anybody."""
    for record in records:
        packet = packet_of(record)
        if packet is None or packet.protocol != ipv4.TCP:
            continue
        segment = tcp.parse(packet.payload)
        if bgp.PORT not in (segment.source_port, segment.destination_port):
            continue
        if not source or ".".join(map(str, packet.source)) == source:
            yield from ((record.time, frame.kind) for frame in bgp.split(segment.payload)[0])


# --- learning ----------------------------------------------------------------------------------------


def test_every_node_learns_the_pods_of_the_others(mesh: Cluster) -> None:
    assert learnt(mesh, "node1") == {"10.244.0.0/24": "192.168.10.10", "10.244.2.0/24": "192.168.10.12"}
    assert learnt(mesh, "node2") == {"10.244.0.0/24": "192.168.10.10", "10.244.1.0/24": "192.168.10.11"}
    assert learnt(mesh, "router") == {}
    text = NETWORK_TABLES["routes"](mesh, HostName("node1"))
    assert "10.244.2.0/24 via 192.168.10.12 dev eth0 proto bird metric 32 \n" in text


def starting(source: str) -> Cluster:
    """A cluster over BGP that has not settled yet."""
    loaded = load([source])
    networking = loaded.topology.networking._replace(pod_network="bgp")
    return Cluster(loaded._replace(topology=loaded.topology._replace(networking=networking)), programs={})


def step(cluster: Cluster) -> None:
    """Let one event happen."""
    cluster.plane.pump_until(iter((False, True)).__next__, cluster.now + 10.0)


def test_there_is_no_route_before_the_session_stands_and_every_one_comes_from_an_update() -> None:
    cluster = starting(ONE_WIRE)
    with cluster.capture("node1/eth0") as packets:
        while not learnt(cluster, "node1"):
            assert bgp.UPDATE not in [kind for _, kind in messages(packets.records, "192.168.10.12")]
            step(cluster)
        said = [kind for _, kind in messages(packets.records)]
        assert said.count(bgp.OPEN) >= 2 and said[-1] == bgp.UPDATE
        cluster.settle()
    assert set(learnt(cluster, "node1")) == {"10.244.0.0/24", "10.244.2.0/24"}
    cluster.close()


async def test_pods_of_other_nodes_are_out_of_reach_until_then() -> None:
    cluster = starting(ONE_WIRE)
    cluster.advance(1.4)
    assert learnt(cluster, "node1") == {}
    client = cluster.pod("client")
    assert (await client.connect(f"{address(cluster, 'near')}:80", timeout=0.1)).result == "ok"
    assert (await client.connect(f"{address(cluster, 'far')}:80", timeout=0.1)).result == "timeout"
    cluster.settle()
    assert (await client.connect(f"{address(cluster, 'far')}:80")).result == "ok"
    cluster.close()


def test_the_cluster_has_settled_a_second_after_the_last_change_and_says_what_it_waits_for() -> None:
    cluster = starting(ONE_WIRE)
    waits = [line for line in cluster.waiting() if "BGP" in line]
    assert len(waits) == 6
    assert waits[0] == "BGP session of control with node1 (192.168.10.11): the daemon does not run"
    cluster.advance(0.5)
    assert "BGP session of control with node1 (192.168.10.11): Active" in cluster.waiting()
    cluster.settle()
    assert cluster.waiting() == []
    assert cluster.speakers is not None
    changed = [c.speaker.changed_at for c in cluster.speakers.controls.values() if c.speaker is not None]
    assert cluster.now == pytest.approx(max(changed) + 1.0, abs=1e-6)
    cluster.close()


# --- packets -----------------------------------------------------------------------------------------


async def test_pod_addresses_are_bare_on_the_wire_and_the_mtu_is_whole(mesh: Cluster) -> None:
    client, far = mesh.pod("client"), mesh.pod("far")
    with mesh.capture("node1/eth0", "node2/eth0") as packets:
        reply = await client.ping(address(mesh, "far"), size=1472, df=True)
    assert reply.kind == "reply"
    seen = [packet for packet in map(packet_of, packets.records) if packet is not None]
    pairs = {(".".join(map(str, p.source)), ".".join(map(str, p.destination)), p.protocol) for p in seen}
    ends = address(mesh, "client"), address(mesh, "far")
    assert pairs == {(*ends, ipv4.ICMP), (*ends[::-1], ipv4.ICMP)}
    assert {view.mtu for view in far.host.interfaces() if view.name == "eth0"} == {1500}
    with run(ONE_WIRE) as overlay:
        too_large = await overlay.pod("client").ping(address(overlay, "far"), size=1472, df=True)
    assert too_large.kind == "fragmentation-needed"


async def test_a_walk_says_who_told_of_the_route(mesh: Cluster) -> None:
    text = str(await mesh.pod("client").trace(f"{address(mesh, 'far')}:80"))
    assert "10.244.2.0/24 via 192.168.10.12 dev eth0 (learnt by BGP from node2)" in text
    assert "10.244.1.0/24 via 192.168.10.11 dev eth0 (learnt by BGP from node1)" in text
    assert "flannel" not in text


async def test_what_leaves_the_cluster_has_the_nodes_address(mesh: Cluster) -> None:
    with mesh.capture("example.com") as packets:
        assert (await mesh.pod("client").connect("example.com:80")).result == "ok"
    (opened, *_) = [packet for packet in map(packet_of, packets.records) if packet is not None]
    assert ".".join(map(str, opened.source)) == "192.168.10.11"


@pytest.mark.parametrize("network", ["overlay", "bgp"])
async def test_a_host_outside_has_no_way_to_pods_where_the_router_knows_none(network: str) -> None:
    with run(ONE_WIRE, network=network) as cluster:
        outside = cluster.external("example.com")
        assert (await outside.connect(f"{address(cluster, 'far')}:80", timeout=3.0)).result == "unreachable"


async def test_one_seed_gives_the_same_pods_names_and_endpoints_over_both_networks() -> None:
    reached = []
    for network in ("overlay", "bgp"):
        with run(TWO_NAMESPACES, seed=5, network=network) as cluster:
            jump = cluster.pod("dev/jump")
            pages = [(await jump.get("http://ent.prod:8080")).text for _ in range(12)]
            reached.append((cluster.store.list(Pod).__len__(), pages))
    assert reached[0] == reached[1]
    assert len(set(reached[0][1])) > 1


# --- other ways to peer ------------------------------------------------------------------------------


def test_a_reflector_tells_the_others_and_is_not_in_the_way() -> None:
    source = RACKS.replace("PEERING", "route-reflector").replace("subnet: rack-b", "subnet: rack-a")
    with run(source) as cluster:
        assert learnt(cluster, "node1") == {
            "10.244.0.0/24": "192.168.10.10",
            "10.244.2.0/24": "192.168.10.12",
            "10.244.3.0/24": "192.168.10.13",
        }
        assert cluster.speakers is not None
        sessions = {own.host: len(c.settings.peers) for own, c in cluster.speakers.controls.items()}
        assert sessions == {"control": 3, "node1": 1, "node2": 1, "node3": 1}


async def test_racks_learn_of_each_other_through_their_router(racks: Cluster) -> None:
    assert learnt(racks, "router") == {
        "10.244.0.0/24": "192.168.10.10",
        "10.244.1.0/24": "192.168.10.11",
        "10.244.2.0/24": "192.168.10.12",
        "10.244.3.0/24": "192.168.20.10",
    }
    # A node of the same rack is reached without the router (RFC 4271 section 5.1.3).
    assert learnt(racks, "node1") == {
        "10.244.0.0/24": "192.168.10.10",
        "10.244.2.0/24": "192.168.10.12",
        "10.244.3.0/24": "192.168.10.1",
    }
    text = str(await racks.pod("client").trace(f"{address(racks, 'far')}:80"))
    assert "10.244.3.0/24 via 192.168.10.1 dev eth0 (learnt by BGP from router, AS path 64513 64512)" in text
    assert "10.244.3.0/24 via 192.168.20.10 dev eth1 (learnt by BGP from node3, AS path 64512)" in text


async def test_a_host_outside_reaches_pods_where_the_router_knows_them(racks: Cluster) -> None:
    outside = racks.external("example.com")
    with racks.capture("default/far") as packets:
        assert (await outside.connect(f"{address(racks, 'far')}:80")).result == "ok"
    (opened, *_) = [packet for packet in map(packet_of, packets.records) if packet is not None]
    assert ".".join(map(str, opened.source)) == "203.0.113.10"


async def test_a_mesh_over_two_racks_leads_through_a_router_that_knows_no_pods() -> None:
    with run(RACKS.replace("PEERING", "full-mesh")) as cluster:
        assert learnt(cluster, "node1")["10.244.3.0/24"] == "192.168.10.1"
        assert learnt(cluster, "router") == {}
        client = cluster.pod("client")
        assert (await client.connect(f"{address(cluster, 'near')}:80")).result == "ok"
        assert (await client.connect(f"{address(cluster, 'far')}:80", timeout=3.0)).result == "timeout"
        assert cluster.findings() == [
            "Pods in subnets rack-a, rack-b do not reach each other: the router between them has no routes "
            "to Pods with bgp.peering full-mesh; with tor it has"
        ]


def test_racks_whose_router_speaks_look_whole(racks: Cluster) -> None:
    assert racks.findings() == []


@pytest.mark.parametrize("host", ["node1", "router"])
def test_the_tables_are_birdcs(racks: Cluster, host: str, golden: Golden) -> None:
    golden(f"bgp-{host}.txt", NETWORK_TABLES["bgp"](racks, HostName(host)))


# --- what goes away ----------------------------------------------------------------------------------


def test_the_routes_of_a_lost_node_go_when_the_hold_time_has_passed_since_it_was_heard_last(
    mesh: Cluster,
) -> None:
    mesh.advance(50.0)
    with mesh.capture("node1/eth0") as packets:
        mesh.advance(40.0)
        mesh.fail_node("node2")
        cut_at = mesh.now
        mesh.advance(1.0)
    heard_at = max(time for time, _ in messages(packets.records, "192.168.10.12"))
    assert cut_at - 30.0 <= heard_at <= cut_at
    mesh.advance(heard_at + HOLD_TIME - 0.001 - mesh.now)
    assert learnt(mesh, "node1")["10.244.2.0/24"] == "192.168.10.12"
    mesh.advance(0.002)
    assert learnt(mesh, "node1") == {"10.244.0.0/24": "192.168.10.10"}
    mesh.advance(HOLD_TIME)
    assert learnt(mesh, "node2") == {}


async def test_a_node_that_is_back_is_heard_and_reached_again(mesh: Cluster) -> None:
    before = learnt(mesh, "node1")
    mesh.fail_node("node2")
    mesh.advance(200.0)
    assert learnt(mesh, "node1") != before
    assert mesh.waiting() == []  # nobody waits for a node that is cut off
    mesh.restore_node("node2")
    assert learnt(mesh, "node1") == before
    assert (await mesh.pod("client").connect(f"{address(mesh, 'far')}:80")).result == "ok"


async def test_a_node_that_is_deleted_says_so_and_its_routes_go_at_once(mesh: Cluster) -> None:
    with mesh.capture("node1/eth0") as packets:
        await mesh.delete("node", "node2", settle=False)
        mesh.advance(0.1)
    said = [kind for _, kind in messages(packets.records, "192.168.10.12")]
    assert said[-1] == bgp.NOTIFICATION
    assert learnt(mesh, "node1") == {"10.244.0.0/24": "192.168.10.10"}
    assert learnt(mesh, "node2") == {}
    assert mesh.speakers is not None and sorted(own.host for own in mesh.speakers.controls) == [
        "control",
        "node1",
    ]
    mesh.settle()


def test_a_run_that_is_captured_has_the_sessions_from_their_beginning() -> None:
    with run(ONE_WIRE, network="bgp", capture=True) as cluster:
        assert cluster.packets is not None
        said = [kind for _, kind in messages(cluster.packets.records, "192.168.10.11")]
        assert said[0] == bgp.OPEN and bgp.UPDATE in said
    with run(ONE_WIRE) as cluster:
        assert cluster.packets is None


CHECKED = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  checks:
    - {from: client, connect: default/far:80, expect: {encapsulation: none, path: [default/client, node/node1,
       node/node2, default/far], source: default/client}}
    - {table: {node: node1, show: bgp}, expect: {contains: [node2 BGP --- up, 10.244.2.0/24 unicast]}}
---
"""


@pytest.mark.parametrize(("network", "passed"), [("bgp", [True, True]), ("overlay", [False, False])])
def test_checks_see_that_no_envelope_is_around_the_packets(network: str, passed: list[bool]) -> None:
    with run(CHECKED + ONE_WIRE, network=network) as cluster:
        assert [result.passed for result in run_checks(cluster).checks] == passed
