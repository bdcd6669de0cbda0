"""How a Service spreads connections, measured: at random in iptables mode, in exact order by IPVS."""

from __future__ import annotations

import pytest

from netsim.checks.balance import split
from netsim.checks.report import run_checks
from netsim.cluster import Cluster, run
from netsim.objects.core import Pod
from tests.cluster.sites import SITE, cluster_ip, field, service, spec_of

WEB = service("web", "{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
TURNS = """
  networking: {kubeProxyMode: MODE, ipvsScheduler: SCHEDULER}
  checks:
    - {name: each in turn, from: far, connect: "web:80", count: 10, expect: {order: rr}}
    - {name: equally, from: far, connect: "web:80", count: 60, expect: {balanced: true}}
---"""


def site(mode: str, scheduler: str = "rr") -> str:
    settings = TURNS.replace("MODE", mode).replace("SCHEDULER", scheduler)
    return SITE.replace("\n---", settings, 1) + WEB


async def names_reached(cluster: Cluster, client: str, count: int) -> list[str]:
    target = f"http://{cluster_ip(cluster, 'web')}:80/"
    host = cluster.find(client)
    return [field(await host.get(target), "Hostname") for _ in range(count)]


async def test_iptables_mode_spreads_at_random_and_evenly() -> None:
    with run(SITE + WEB, seed=7, proxy_mode="iptables") as cluster:
        reached = await names_reached(cluster, "far", 300)
        counts = [reached.count(name) for name in sorted(set(reached))]
        assert len(counts) == 3
        assert split(counts).equal, counts
        assert reached[:3] * 100 != reached, "not in turn"


async def test_chance_is_the_seeds_and_not_the_nodes() -> None:
    async def drawn(seed: int) -> list[str]:
        with run(SITE + WEB, seed=seed, proxy_mode="iptables") as cluster:
            names = sorted(pod.metadata.name for pod in pods_of(cluster))
            return [str(names.index(name)) for name in await names_reached(cluster, "far", 20)]

    assert await drawn(1) == await drawn(1) != await drawn(2)


def pods_of(cluster: Cluster) -> list[Pod]:
    return [pod for pod in cluster.store.list(Pod) if pod.metadata.labels.get("app") == "web"]


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
async def test_ipvs_mode_takes_each_in_turn_on_every_node_by_itself(scheduler: str) -> None:
    with run(site("ipvs", scheduler)) as cluster:
        for client in ("far", "near", "node/control"):
            reached = await names_reached(cluster, client, 9)
            assert len(set(reached[:3])) == 3
            assert reached == reached[:3] * 3


async def test_connections_of_two_nodes_do_not_disturb_each_other() -> None:
    with run(site("ipvs")) as cluster:
        far, near = [], []
        for _ in range(4):
            far += await names_reached(cluster, "far", 1)
            near += await names_reached(cluster, "near", 2)
        assert far[0] == far[3] and len(set(far[:3])) == 3
        assert near[:3] == near[3:6] and near[0] == far[0]


async def test_a_pod_that_is_added_is_next_in_line_after_the_round() -> None:
    with run(site("ipvs")) as cluster:
        first = await names_reached(cluster, "far", 3)
        cluster.scale("deploy/web", 4)
        (new,) = {pod.metadata.name for pod in pods_of(cluster)} - set(first)
        assert await names_reached(cluster, "far", 5) == [new, *first, new]


async def test_a_service_that_loses_its_pods_refuses_and_begins_anew() -> None:
    with run(site("ipvs")) as cluster:
        await names_reached(cluster, "far", 2)
        cluster.scale("deploy/web", 0)
        assert (await cluster.pod("far").connect("web:80")).result == "refused"
        cluster.scale("deploy/web", 2)
        assert len(set(await names_reached(cluster, "far", 2))) == 2


@pytest.mark.parametrize(("mode", "in_turn"), [("ipvs", True), ("iptables", False)])
def test_checks_tell_turns_from_chance(mode: str, in_turn: bool) -> None:
    with run(site(mode)) as cluster:
        turns, equally = run_checks(cluster).checks
        assert turns.passed is in_turn
        assert equally.passed


async def test_a_trace_says_who_was_next() -> None:
    with run(site("ipvs")) as cluster:
        text = " ".join(str(await cluster.pod("far").trace("web:80")).split())
        assert "IPVS rr: 1st of 3: " in text
        assert spec_of(cluster, "web").metadata.name in text


@pytest.mark.parametrize("client", ["far", "near", "node/control"])
async def test_a_cluster_ip_answers_no_ping_and_no_other_port_in_ipvs_mode(client: str) -> None:
    with run(site("ipvs")) as cluster:
        host, address = cluster.find(client), cluster_ip(cluster, "web")
        ping = (await host.exec(["ping", "-c1", address])).stdout
        assert f"From {address} icmp_seq=1 Destination Port Unreachable" in ping
        assert (await host.connect(f"{address}:81")).result == "refused"
        assert (await host.connect("10.96.200.200:80", timeout=5.0)).result != "refused", "nobody's address"


async def test_the_api_server_answers_at_its_cluster_ip_in_ipvs_mode() -> None:
    with run(site("ipvs")) as cluster:
        for client in ("far", "near", "node/control", "node/node1"):
            assert (await cluster.find(client).connect("10.96.0.1:443")).result == "ok", client
