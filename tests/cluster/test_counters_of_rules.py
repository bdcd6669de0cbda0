"""``iptables-save -c`` of a node in a whole cluster: what its rules have counted after what has happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.network_tables import NETWORK_TABLES
from netsim.cni.names import node_host
from netsim.programs.host import Endpoint
from tests.cluster.sites import SITE, service, spec_of

WEB = service("web", "{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
NOBODY = service("nobody", "{selector: {app: none}, type: NodePort, ports: [{port: 80, nodePort: 30080}]}")
GUARDED = service(
    "guarded",
    "{selector: {app: web}, type: LoadBalancer, ports: [{port: 80, targetPort: http}],"
    " loadBalancerSourceRanges: [203.0.113.0/24]}",
)
SYN = 44  # bytes: with the option for the segment size


@contextmanager
def site(mode: str) -> Iterator[Cluster]:
    pool = SITE.replace("spec:\n", "spec:\n  loadBalancer: {pool: 198.51.100.0/28}\n", 1)
    with run(pool + WEB + NOBODY + GUARDED, proxy_mode=mode) as cluster:
        yield cluster


def counted(cluster: Cluster, node: str) -> dict[str, tuple[int, int]]:
    """Packets and bytes by rule, or by built-in chain (``INPUT`` or, of the nat table, ``nat INPUT``)."""
    found: dict[str, tuple[int, int]] = {}
    table = ""
    for line in NETWORK_TABLES["iptables-counters"](cluster, node_host(node)).splitlines():
        if line.startswith("*"):
            table = "nat " if line == "*nat" else ""
        elif line.startswith(":") and "ACCEPT" in line:
            chain, _, amount = line[1:].split()
            found[table + chain] = _amount(amount)
        elif line.startswith("["):
            amount, _, rule = line.partition(" -A ")
            found[table + rule] = _amount(amount)
    return found


def _amount(text: str) -> tuple[int, int]:
    packets, _, size = text.strip("[]").partition(":")
    return int(packets), int(size)


def since(before: dict[str, tuple[int, int]], cluster: Cluster, node: str, *words: str) -> tuple[int, int]:
    """What has been counted since then by the one rule that has these words."""
    now = counted(cluster, node)
    (rule,) = (rule for rule in now if all(word in rule for word in words))
    return now[rule][0] - before[rule][0], now[rule][1] - before[rule][1]


def connect(cluster: Cluster, who: str, to: str, port: int = 80) -> str:
    """How a connection ends: ``ok``, or the name of the error."""
    host = cluster.find(who).host
    try:
        stream = cluster.pump(host.connect(Endpoint(IPv4Address(to), port), timeout=3.0))
    except OSError as error:
        return type(error).__name__
    stream.close()
    cluster.advance(1.0)
    return "ok"


async def test_a_refused_connection_is_counted_by_the_rule_that_refuses_it() -> None:
    with site("iptables") as cluster:
        before = counted(cluster, "node2")
        address = spec_of(cluster, "nobody").spec.cluster_ip
        assert connect(cluster, "far", address) == "ConnectionRefusedError"
        assert since(before, cluster, "node2", "KUBE-SERVICES ", "has no endpoints", "REJECT") == (1, SYN)
        jump = "FORWARD -m conntrack --ctstate NEW", "service portals", "-j KUBE-SERVICES"
        assert since(before, cluster, "node2", *jump) == (1, SYN)
        assert connect(cluster, "far", "192.168.10.12", 30080) == "ConnectionRefusedError"
        assert since(before, cluster, "node2", "KUBE-EXTERNAL-SERVICES ", "no endpoints") == (1, SYN)


async def test_an_answered_connection_is_counted_as_known_from_its_second_packet_on() -> None:
    with site("iptables") as cluster:
        before = counted(cluster, "node2")
        assert connect(cluster, "far", spec_of(cluster, "web").spec.cluster_ip) == "ok"
        assert since(before, cluster, "node2", "nat KUBE-SERVICES", "default/web ") == (1, SYN)
        known, _ = since(before, cluster, "node2", "KUBE-FORWARD ", "RELATED,ESTABLISHED")
        assert known >= 5, "SYN-ACK, ACK, and two FINs with their answers"
        assert since(before, cluster, "node2", "KUBE-FORWARD ", "INVALID") == (0, 0)


@pytest.mark.parametrize(("mode", "dropped"), [("iptables", 1), ("ipvs", 0), ("nftables", 0)])
async def test_only_iptables_mode_drops_what_conntrack_cannot_place(mode: str, dropped: int) -> None:
    """KUBE-FORWARD's rule about INVALID: the reset of a connection that the node has forgotten."""
    with site(mode) as cluster:
        pod = cluster.pod("near").host
        target = next(
            endpoint.addresses[0]
            for one in cluster.store.slices_of(spec_of(cluster, "web").ref)
            for endpoint in one.endpoints
        )
        stream = cluster.pump(pod.connect(Endpoint(IPv4Address(target), 8080), timeout=3.0))
        cluster.advance(1.0)
        tracked = cluster.plane.tracked(node_host("node1"))
        assert tracked is not None
        for flow in list(tracked):
            tracked.forget(flow)
        with cluster.capture() as packets:
            stream.abort()
            cluster.advance(1.0)
        told = [note.cause.text for record in packets.records for note in record.notes]
        lost = [text for text in told if text == "KUBE-FORWARD: conntrack state INVALID: DROP"]
        assert len(lost) == dropped
        if mode == "iptables":
            assert counted(cluster, "node1")["KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"][0] == 1


async def test_the_rules_of_ipvs_mode_count_what_passes_by_their_sets() -> None:
    with site("ipvs") as cluster:
        before = counted(cluster, "node2")
        address = spec_of(cluster, "web").spec.cluster_ip
        assert connect(cluster, "far", address) == "ok"
        assert since(before, cluster, "node2", "nat KUBE-SERVICES", "CLUSTER-IP dst,dst -j ACCEPT") == (
            1,
            SYN,
        )
        passed, _ = since(before, cluster, "node2", "KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP")
        assert passed >= 3, "every packet of the client comes to INPUT"
        assert since(before, cluster, "node2", "KUBE-IPVS-FILTER", "REJECT") == (0, 0)
        assert connect(cluster, "far", address, 81) == "ConnectionRefusedError"
        assert since(before, cluster, "node2", "KUBE-IPVS-FILTER", "REJECT") == (1, SYN)


async def test_source_ranges_are_counted_in_ipvs_mode_by_who_was_let_in_and_who_was_not() -> None:
    with site("ipvs") as cluster:
        balancer = spec_of(cluster, "guarded").status.rest["loadBalancer"]["ingress"][0]["ip"]
        before = counted(cluster, "node2")
        assert connect(cluster, "far", balancer) == "TimeoutError"
        dropped, size = since(before, cluster, "node2", "KUBE-SOURCE-RANGES-FIREWALL -j DROP")
        assert (dropped > 1, size) == (True, dropped * SYN), "the SYN is sent again"
        guard = "KUBE-PROXY-FIREWALL -m comment", "-j KUBE-SOURCE-RANGES-FIREWALL"
        assert since(before, cluster, "node2", *guard) == (dropped, size)
        assert connect(cluster, "node/node2", balancer) == "TimeoutError"
        kept, size = since(
            before, cluster, "node2", "KUBE-IPVS-OUT-FILTER", f"--vaddr {balancer} ", "-j DROP"
        )
        assert (kept > 1, size) == (True, kept * SYN), "it comes from the balancer's own address"
        await cluster.apply(GUARDED.replace("203.0.113.0/24", "10.244.0.0/16, 192.168.10.12/32"))
        before = counted(cluster, "node2")
        assert connect(cluster, "far", balancer) == "ok"
        assert connect(cluster, "node/node2", balancer) == "ok"
        assert since(before, cluster, "node2", "KUBE-SOURCE-RANGES-FIREWALL -j DROP") == (0, 0)
        let_in, _ = since(before, cluster, "node2", "KUBE-SOURCE-RANGES-FIREWALL", "SOURCE-CIDR ", "RETURN")
        assert let_in >= 3


async def test_counters_of_a_refusal_begin_again_when_its_service_changes() -> None:
    with site("iptables") as cluster:
        address = spec_of(cluster, "nobody").spec.cluster_ip
        assert connect(cluster, "far", address) == "ConnectionRefusedError"
        await cluster.apply(NOBODY.replace("app: none", "app: web"))
        rules = counted(cluster, "node2")
        assert not [rule for rule in rules if "nobody" in rule and "REJECT" in rule]
        assert not [rule for rule, amount in rules.items() if "nobody" in rule and amount != (0, 0)]


async def test_nftables_mode_has_no_counters() -> None:
    with site("nftables") as cluster:
        assert NETWORK_TABLES["iptables-counters"](cluster, node_host("node2")) == ""
        assert "counter" not in NETWORK_TABLES["nftables"](cluster, node_host("node2"))
