"""Faults: where they stand, what captures say of them, and that nothing else changes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.cause import Stage
from netsim.base.errors import UsageError
from netsim.capture.pcapng import write_pcapng
from netsim.capture.record import PacketRecord
from netsim.checks.report import render_report, run_checks
from netsim.cluster import Cluster, run
from netsim.cluster.packets import Packets
from netsim.objects.core import Pod
from netsim.resolver.commands import Libc
from tests.cluster.sites import SITE, service
from tests.conftest import Combination

WEB = service("web", "{selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run(SITE + WEB) as running:
        yield running


def faulty(*faults: str, checks: str = "") -> str:
    """The site with these faults and checks."""
    more = f"  faults: [{', '.join(faults)}]\n  checks: [{checks}]\n  external:"
    return (SITE + WEB).replace("  external:", more, 1)


def reaches(cluster: Cluster, origin: str, target: str) -> bool:
    """Whether an echo comes back."""
    try:
        return cluster.pump(cluster.find(origin).ping(target)).kind == "reply"
    except TimeoutError:
        return False


def address_of(cluster: Cluster, target: str) -> str:
    """The address of a Pod, node or external host."""
    kind, _, name = target.partition("/")
    if kind == "external":
        return {h.name: str(h.address) for h in cluster.topology.external_hosts}[name]
    views = cluster.find(target).host.interfaces()
    uplink = next(view for view in views if view.name == "eth0")
    return uplink.addresses[0].partition("/")[0]


def reasons(records: list[PacketRecord]) -> list[str]:
    """What a fault has to say, in order, once for each packet."""
    told: dict[tuple[int, str], None] = {}
    for record in records:
        for note in record.notes:
            if note.cause.stage is Stage.FAULT:
                told[record.serial, str(note)] = None
    return [text for _, text in told]


def digest(packets: Packets, cluster: Cluster) -> str:
    data = io.BytesIO()
    write_pcapng(data, packets.records, cluster.names())
    return hashlib.sha256(data.getvalue()).hexdigest()


# --- where ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "cut", "spared"),
    [
        (("far",), ("near", "far"), ("near", "node/node2")),
        (("default/far",), ("near", "far"), ("near", "node/node2")),
        (("pod/default/far",), ("near", "far"), ("near", "node/node2")),
        (("default/far/eth0",), ("near", "far"), ("near", "node/node2")),
        (("node2",), ("near", "far"), ("node/node1", "near")),
        (("node/node2",), ("near", "node/node2"), ("node/node1", "near")),
        (("node2", "lan"), ("near", "far"), ("node/node1", "near")),
        (("lan", "node2"), ("near", "far"), ("node/node1", "near")),
        (("lan",), ("node/node1", "node/node2"), ("node/node1", "near")),
        (("router",), ("near", "external/client"), ("near", "far")),
        (("router/wan",), ("near", "external/client"), ("near", "far")),
        (("router", "internet"), ("near", "external/client"), ("near", "external/neighbour")),
        (("external/client",), ("near", "external/client"), ("near", "external/neighbour")),
        (("client",), ("near", "external/client"), ("near", "external/neighbour")),
    ],
    ids=lambda value: "-".join(value),
)
def test_a_link_that_is_down_cuts_off_what_is_behind_it(
    cluster: Cluster, link: tuple[str, ...], cut: tuple[str, str], spared: tuple[str, str]
) -> None:
    gone, stays = address_of(cluster, cut[1]), address_of(cluster, spared[1])
    assert reaches(cluster, cut[0], gone)
    with cluster.link(*link).fault(down=True) as rule:
        assert not reaches(cluster, cut[0], gone)
        assert rule.suffered
        assert reaches(cluster, spared[0], stays)
    cluster.advance(60.0)  # a neighbour that did not answer is asked again
    assert reaches(cluster, cut[0], gone)


def test_a_workload_stands_for_its_pods_and_for_those_that_come() -> None:
    with run(SITE + WEB) as cluster:
        with cluster.link("deploy/web").fault(down=True):
            cluster.scale("deploy/web", 4)
            addresses = [pod.status.pod_ip for pod in cluster.store.list(Pod) if "web-" in pod.metadata.name]
            assert len(addresses) == 4
            assert [reaches(cluster, "near", address) for address in addresses] == [False] * 4
        cluster.advance(60.0)
        assert [reaches(cluster, "near", address) for address in addresses] == [True] * 4


def test_a_workload_may_have_no_pods_while_its_fault_stands() -> None:
    with run(SITE + WEB) as cluster, cluster.link("deploy/web").fault(down=True):
        cluster.scale("deploy/web", 0)
        assert reaches(cluster, "near", address_of(cluster, "far"))
        cluster.scale("deploy/web", 1)
        [web] = [pod for pod in cluster.store.list(Pod) if "web-" in pod.metadata.name]
        assert not reaches(cluster, "near", web.status.pod_ip)


def test_a_pod_on_its_nodes_network_has_no_wire_of_its_own() -> None:
    spec = "{hostNetwork: true, nodeName: node1, containers: [{name: c, image: nginx}]}"
    pod = f"---\n{{apiVersion: v1, kind: Pod, metadata: {{name: agent}}, spec: {spec}}}\n"
    with (
        run(SITE + pod) as cluster,
        pytest.raises(UsageError, match=r"Pod agent has no wire of its own") as caught,
        cluster.link("agent").fault(down=True),
    ):
        pass
    assert "it uses its node's: link: node1" in str(caught.value)


def test_a_pod_that_is_replaced_under_its_name_gets_the_fault_too() -> None:
    with run(faulty("{link: default/far, down: true}")) as cluster:
        cluster.pump(cluster.delete("pod", "default/far", grace_seconds=0))
        manifest = next(part for part in SITE.split("---\n") if "name: far" in part)
        cluster.pump(cluster.apply(manifest))
        assert cluster.failed_changes == []
        assert not reaches(cluster, "near", address_of(cluster, "far"))


def test_as_many_pods_of_a_workload_as_are_asked_for() -> None:
    with run(faulty("{link: deploy/web, pods: 2, down: true}")) as cluster:
        cluster.advance(0.0)
        pods = [pod for pod in cluster.store.list(Pod) if "web-" in pod.metadata.name]
        assert sorted(reaches(cluster, "near", pod.status.pod_ip) for pod in pods) == [False, False, True]


@pytest.mark.parametrize(
    ("link", "message", "hint"),
    [
        (("nod2",), 'pods "nod2" not found in namespace default', ""),
        (("default/fra",), 'pods "fra" not found in namespace default', "did you mean default/far"),
        (("deploy/wbe",), 'deploy "wbe" not found in namespace default', "did you mean deploy/default/web"),
        (("node1/eth7",), "node1 has no interface eth7", "it has "),
        (("node1", "node2"), "there is no wire between node1 and node2", "their subnets: lan"),
    ],
)
def test_a_wire_that_is_not_there_is_refused(
    cluster: Cluster, link: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught, cluster.link(*link).fault(down=True):
        pass
    assert message in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "needs one of down, loss, delay"),
        ({"loss": 1.2}, "loss 1.2 is no part of 1"),
        ({"delay": -1.0}, "delay cannot be negative"),
        ({"loss": 1.0, "count": 0}, "count is at least 1"),
        ({"loss": 1.0, "direction": "up"}, "there is no direction 'up'"),
        ({"down": True, "packets": "dns"}, "a link that is down carries nothing"),
        ({"loss": 1.0, "packets": "dns and"}, "a condition is missing at the end"),
    ],
)
def test_what_means_nothing_is_refused(cluster: Cluster, said: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message), cluster.link("far").fault(**said):  # type: ignore[arg-type]  # wrong on purpose
        pass


# --- what is seen ----------------------------------------------------------------------------------------


def test_a_lost_packet_stands_where_it_was_sent_with_the_reason_and_nowhere_else(cluster: Cluster) -> None:
    address = address_of(cluster, "far")
    with cluster.capture() as packets, cluster.link("far").fault(loss=1.0, packets="icmp", direction="in"):
        assert not reaches(cluster, "near", address)
    lost = [record for record in packets.records if record.data[12:14] == b"\x08\x00"][-1]
    assert lost.outbound
    assert str(lost.port).startswith("node2/veth")
    assert str(lost.notes[-1]) == (
        "node node2: fault: lost on link far: loss 100%, packets icmp, direction in"
    )
    assert not any(r.port.host == "default/far" and r.serial == lost.serial for r in packets.records)


def test_a_late_packet_has_the_reason_from_there_on(cluster: Cluster) -> None:
    address = address_of(cluster, "far")
    with cluster.capture() as packets, cluster.link("far").fault(delay=0.25, packets="icmp", direction="out"):
        reply = cluster.pump(cluster.pod("near").ping(address))
    assert 0.25 < reply.elapsed < 0.251
    late = [record for record in packets.records if any(n.cause.stage is Stage.FAULT for n in record.notes)]
    assert str(late[0].port) == "default/far/eth0"
    assert str(late[-1].port) == "default/near/eth0"
    assert late[1].time - late[0].time == pytest.approx(0.25, abs=1e-4)


def test_the_first_packets_suffer_and_no_more(cluster: Cluster) -> None:
    address = address_of(cluster, "far")
    with cluster.link("near").fault(loss=1.0, packets="icmp", direction="out", count=3) as rule:
        assert [reaches(cluster, "near", address) for _ in range(5)] == [False] * 3 + [True] * 2
        assert rule.suffered == 3


def test_the_first_rule_that_has_something_against_a_packet_decides(cluster: Cluster) -> None:
    address = address_of(cluster, "far")
    link = cluster.link("near")
    with cluster.capture() as packets, ExitStack() as faults:
        faults.enter_context(link.fault(delay=0.1, packets="icmp", count=1))
        faults.enter_context(link.fault(loss=1.0, packets="icmp"))
        assert not reaches(cluster, "near", address)
    assert [text.partition("fault: ")[2].split(" on ")[0] for text in reasons(list(packets.records))] == [
        "0.1 s late",
        "lost",
    ]


def test_a_fault_begins_and_ends_at_its_times() -> None:
    with run(faulty("{at: 5s, for: 10s, link: far, down: true}")) as cluster:
        address, seen = address_of(cluster, "far"), {}
        for second in (1, 4, 6, 14, 60):
            cluster.advance(cluster.converged_at + second - cluster.now)
            seen[second] = reaches(cluster, "near", address)
        assert seen == {1: True, 4: True, 6: False, 14: False, 60: True}


def test_a_failed_check_tells_of_the_fault() -> None:
    faults = "{link: far, loss: 100%, packets: dns, direction: in}"
    with run(faulty(faults, checks="{from: far, resolve: web}")) as cluster:
        text = render_report(run_checks(cluster))
    assert "FAIL  resolve web from far" in text
    assert "fault: lost on link far: loss 100%, packets dns, direction in" in text


def test_a_fault_that_cannot_begin_is_a_failed_check() -> None:
    faults = ("{at: 3s, link: fra, down: true}", "{at: 4s, link: far, loss: 10%, packets: udp or}")
    with run(faulty(*faults)) as cluster:
        report = run_checks(cluster)
    assert [(check.name, check.passed) for check in report.checks] == [
        ("at 3 s: fault link fra", False),
        ("at 4 s: fault link far", False),
    ]
    text = render_report(report)
    assert 'pods "fra" not found in namespace default' in text
    assert "a condition is missing at the end" in text


def test_a_fault_that_no_packet_has_met_is_among_what_looks_broken() -> None:
    faults = ("{link: far, loss: 100%, packets: tcp and port 9999}", "{link: far, loss: 100%, packets: icmp}")
    with run(faulty(*faults, "{at: 1h, link: near, down: true}")) as cluster:
        assert not reaches(cluster, "near", address_of(cluster, "far"))
        [finding] = cluster.findings()
    assert finding == "fault at 0 s: link far: loss 100%, packets tcp and port 9999: no packet has met it"


# --- what stays as it was --------------------------------------------------------------------------------

NO_EFFECT = (
    "{link: far, loss: 100%, packets: host 192.0.2.99}",
    "{link: far, loss: 50%, packets: udp and port 9999, direction: out}",
    "{at: 1h, link: node1, down: true}",
    "{link: external/neighbour, delay: 5s, packets: udp}",
    "{link: [router, internet], down: true}",
    "{conntrackRace: control}",
)


def digest_of(*faults: str, seed: int = 1, combination: Combination | None = None) -> str:
    """A capture of some lookups and connections on node1 and node2."""
    options = combination._asdict() if combination is not None else {}
    with run(faulty(*faults), seed=seed, capture=True, **options) as cluster:
        cluster.advance(1.0)
        for origin in ("near", "far"):
            cluster.pump(cluster.pod(origin).resolve("web", libc=Libc.GO))
            cluster.pump(cluster.pod(origin).connect("web.default.svc.cluster.local.:80"))
        assert cluster.failed_changes == []
        assert cluster.packets is not None
        return digest(cluster.packets, cluster)


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return digest_of()


@pytest.mark.parametrize("fault", NO_EFFECT)
def test_a_fault_without_effect_leaves_the_capture_as_it_is(fault: str, undisturbed: str) -> None:
    assert digest_of(fault) == undisturbed


def test_chance_of_one_fault_does_not_move_that_of_the_others() -> None:
    lossy, other = "{link: far, loss: 30%}", "{link: near, loss: 30%, packets: host 192.0.2.99}"
    assert digest_of(lossy) == digest_of(lossy, other) == digest_of(other, lossy)
    assert digest_of(lossy) != digest_of()


def test_a_run_with_faults_is_the_same_for_the_same_seed(combination: Combination) -> None:
    faults = ("{link: node1, loss: 20%}", "{link: far, delay: 30ms}", '{conntrackRace: "*"}')
    first = digest_of(*faults, combination=combination)
    assert digest_of(*faults, combination=combination) == first
    assert digest_of(*faults, seed=2, combination=combination) != first


@given(sizes=st.lists(st.integers(0, 1400), min_size=1, max_size=4))
def test_to_lose_all_is_to_be_down(cluster: Cluster, sizes: list[int]) -> None:
    """Whatever is sent: nothing arrives, on either side."""
    address = address_of(cluster, "near")
    link = cluster.link("far")
    for fault in (link.fault(down=True), link.fault(loss=1.0)):
        cluster.advance(60.0)  # until a neighbour that did not answer is asked again
        with cluster.capture("default/far", "default/near") as packets, fault as rule:
            for size in sizes:
                with suppress(TimeoutError):
                    cluster.pump(cluster.pod("far").ping(address, size=size, timeout=1.0))
        assert [record for record in packets.records if not record.outbound] == []
        assert rule.suffered >= len(packets) > 0


# --- the conntrack race ----------------------------------------------------------------------------------

RACE = "lost to the conntrack race"


@pytest.mark.parametrize(
    ("libc", "seconds", "queries"),
    [
        (Libc.GLIBC, 5.0, 4),  # resolv.h RES_TIMEOUT; both are sent again
        (Libc.MUSL, 2.5, 3),  # res_msend.c: timeout / attempts; only the missing one is sent again
        (Libc("musl-1.2.3"), 2.5, 3),
        (Libc.GO, 0.0, 2),  # dnsclient_unix.go exchange: a socket for each question
    ],
)
def test_the_second_question_of_one_socket_is_lost(
    libc: Libc, seconds: float, queries: int, combination: Combination
) -> None:
    with run(SITE + WEB, **combination._asdict()) as cluster:
        far = cluster.pod("far")
        with cluster.capture() as packets, cluster.conntrack_race():
            lookup = cluster.pump(far.resolve("web.default.svc.cluster.local.", libc=libc))
        assert lookup.elapsed == pytest.approx(seconds, abs=0.01)
        assert len(lookup.queries) == queries
        assert len(reasons(list(packets.records))) == (1 if seconds else 0)
        assert all(RACE in text and text.startswith("node node2") for text in reasons(list(packets.records)))
        again = cluster.pump(far.resolve("web.default.svc.cluster.local.", libc=libc))
        assert again.elapsed < 0.01


@pytest.mark.parametrize(("node", "raced"), [("node1", False), ("node2", True), ("*", True)])
def test_the_race_is_on_the_node_where_the_service_is_translated(
    cluster: Cluster, node: str, raced: bool
) -> None:
    with cluster.conntrack_race(node):
        lookup = cluster.pump(cluster.pod("far").resolve("web", libc=Libc.GLIBC))
    assert (lookup.elapsed > 4.9) is raced


def test_what_goes_to_no_service_does_not_race(cluster: Cluster) -> None:
    """Without NAT the kernel resolves the clash (nf_ct_resolve_clash, since Linux 4.7)."""
    with cluster.conntrack_race():
        lookup = cluster.pump(cluster.node("node2").resolve("www.example.com", libc=Libc.GLIBC))
    assert lookup.elapsed < 0.1


def test_races_that_overlap_end_with_the_last(cluster: Cluster) -> None:
    far = cluster.pod("far")
    with cluster.conntrack_race():
        with cluster.conntrack_race():
            pass
        assert cluster.pump(far.resolve("web", libc=Libc.GLIBC)).elapsed > 4.9
    assert cluster.pump(far.resolve("web", libc=Libc.GLIBC)).elapsed < 0.01


def test_the_race_of_a_node_that_is_not_there_is_refused(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match="there is no node nod1"), cluster.conntrack_race("nod1"):
        pass
