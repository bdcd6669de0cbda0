"""The famous failures of cluster DNS, to the second: what the checks of their topologies cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netsim.base.cause import Stage
from netsim.capture.record import PacketRecord, packet_from_record
from netsim.checks.report import run_checks
from netsim.cluster import Cluster, run
from netsim.objects.core import Pod
from netsim.objects.discovery import EndpointSlice
from netsim.wire import dns
from tests.conftest import ROOT, Combination

FOLDER = ROOT / "topologies"


@contextmanager
def failing(name: str, combination: Combination | None = None) -> Iterator[Cluster]:
    options = combination._asdict() if combination is not None else {}
    with run(FOLDER / f"dns-{name}.yaml", capture=True, **options) as cluster:
        yield cluster


def run_to(cluster: Cluster, second: float) -> None:
    """Let time pass until so many seconds after convergence."""
    cluster.advance(cluster.converged_at + second - cluster.now)


def lost(cluster: Cluster) -> list[PacketRecord]:
    """The last sighting of each packet that a fault has lost."""
    assert cluster.packets is not None
    last = {record.serial: record for record in cluster.packets.records if record.data[12:14] == b"\x08\x00"}
    return [
        record
        for record in last.values()
        if record.notes[-1].cause.stage is Stage.FAULT and record.notes[-1].cause.text.startswith("lost")
    ]


def servers(cluster: Cluster) -> list[Pod]:
    return [pod for pod in cluster.store.list(Pod) if pod.metadata.namespace == "kube-system"]


def endpoints(cluster: Cluster) -> set[str]:
    """The ready endpoints of kube-dns."""
    slices = [one for one in cluster.store.list(EndpointSlice) if one.metadata.namespace == "kube-system"]
    return {
        address
        for one in slices
        for endpoint in one.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    }


def test_every_packet_that_a_fault_has_lost_says_so(combination: Combination) -> None:
    for name, wanted in {
        "race": "lost to the conntrack race",
        "lost-answer": "lost on link shop/",
        "dead-upstream": "lost on link router: down",
        "dead-server": "lost on link deploy/kube-system/coredns: down",
    }.items():
        with failing(name, combination) as cluster:
            assert run_checks(cluster).failed == 0
            found = lost(cluster)
            assert found, name
            assert [r for r in found if wanted not in r.notes[-1].cause.text] == []
            assert all(wanted in packet_from_record(record).reasons[-1] for record in found)


def test_the_race_loses_one_packet_of_each_lookup_and_no_more() -> None:
    with failing("race") as cluster:
        run_checks(cluster)
        assert len(lost(cluster)) == 4  # two lookups by glibc, and two by musl


def test_a_dead_server_is_an_endpoint_until_its_third_failed_probe() -> None:
    """kubeadm's readinessProbe says nothing of times: each 10 s, 1 s to answer, 3 failures (API defaults)."""
    with failing("dead-server") as cluster:
        run_to(cluster, 15.1)
        before = endpoints(cluster)
        assert len(before) == 2
        began = cluster.converged_at + 15.0
        while len(endpoints(cluster)) == 2:
            cluster.advance(0.1)
        passed = cluster.now - began
        assert 2 * 10 + 1 <= passed <= 3 * 10 + 1 + 0.1
        [dead] = before - endpoints(cluster)
        assert [dead] == [pod.status.pod_ip for pod in servers(cluster) if not pod.condition("Ready")]


def test_a_lookup_at_a_dead_server_fails_after_all_its_attempts() -> None:
    """Two attempts of five seconds for the first name, and two for the name without search list (glibc)."""
    with failing("dead-server") as cluster:
        run_to(cluster, 16.0)
        client = cluster.pod("shop/client")
        lookups = [cluster.pump(client.resolve("web.shop.svc.cluster.local.")) for _ in range(3)]
        assert {round(lookup.elapsed) for lookup in lookups} <= {0, 10}
        assert [lookup.error is not None for lookup in lookups] == [lookup.elapsed > 9 for lookup in lookups]


def test_the_loop_plugin_ends_coredns_with_a_message() -> None:
    with failing("loop") as cluster:
        findings = [line for line in cluster.findings() if "coredns" in line]
        assert len(findings) == 2
        for line in findings:
            assert "ended with exit code 1" in line
            assert "CrashLoopBackOff: [FATAL] plugin/loop: Loop (127.0.0.1:" in line
            assert '-> :53) detected for zone "."' in line
        for pod in servers(cluster):
            held = pod.status.container_statuses[0].rest
            assert held["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            assert held["lastState"]["terminated"]["exitCode"] == 1


def test_the_loop_is_over_with_the_first_start_after_the_kubelet_has_seen_the_new_corefile() -> None:
    with failing("loop") as cluster:
        assert run_checks(cluster).failed == 0
        assert all(pod.condition("Ready") for pod in servers(cluster))
        assert {pod.status.container_statuses[0].restart_count for pod in servers(cluster)} <= {4, 5, 6}


def test_a_denial_is_kept_for_the_ttl_of_the_zones_soa() -> None:
    """RFC 2308 section 5; CoreDNS's kubernetes gives its SOA the block's ``ttl``, 30."""
    with failing("stale-negative") as cluster:
        client = cluster.pod("shop/client")
        run_to(cluster, 4.0)
        seen = {}
        for second in (4, 20.5, 33.5, 34.5):
            run_to(cluster, second)
            assert cluster.pump(client.exec(["dig", "db-1.db.shop.svc.cluster.local"])).exit == 0
            answers = [message for message in messages(cluster) if message.response]
            soa = [record.ttl for record in answers[-1].authority if record.rtype == dns.SOA]
            seen[second] = (answers[-1].rcode, *soa)
        assert seen == {4: (3, 30), 20.5: (3, 14), 33.5: (3, 1), 34.5: (0,)}


def messages(cluster: Cluster) -> list[dns.Message]:
    """The DNS messages that the client got, in order."""
    assert cluster.packets is not None
    records = [r for r in cluster.packets.records if str(r.port) == "shop/client/eth0" and not r.outbound]
    return [dns.parse(r.data[42:]) for r in records if r.data[23:24] == b"\x11"]
