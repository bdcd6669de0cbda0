"""Comparing clusters: what differs is found and explained, and nothing that is only called otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from netsim.base.errors import UsageError
from netsim.cluster.diff import Comparison, Side, Variant, Wanted, compare, opened
from netsim.cluster.diff.grouping import chosen
from netsim.cluster.diff.outcome import Aspect, Landed, Outcome, aspects, together
from netsim.cluster.diff.subjects import ClientKey, Destination, Dial, How, Kind, survey
from tests.conftest import ROOT

TOPOLOGIES = ROOT / "topologies"
SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: shell, image: ubuntu, tty: true, stdin: true}]}
"""
TOPOLOGY = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {{name: shop}}
spec: {spec}
---
"""
IPTABLES = Variant("iptables", (SHOP,), proxy_mode="iptables")
IPVS = Variant("ipvs", (SHOP,), proxy_mode="ipvs")
EVERYTHING = Wanted()


@contextmanager
def clusters(*variants: Variant, seeds: Sequence[int] = (1, 1)) -> Iterator[list[Side]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(opened(variant, seed=seed))
            for variant, seed in zip(variants, seeds, strict=True)
        ]


def compared(before: str | Variant, after: str | Variant, wanted: Wanted = EVERYTHING) -> Comparison:
    """Two texts, or two variants."""
    pair = [Variant("file", (one,)) if isinstance(one, str) else one for one in (before, after)]
    with clusters(*pair) as sides:
        [comparison] = compare(sides, wanted)
        return comparison


def found(comparison: Comparison) -> dict[tuple[Kind, str], set[tuple[str, str, str]]]:
    """Of each kind and Service that differ in anything: in what, and how."""
    differing: dict[tuple[Kind, str], set[tuple[str, str, str]]] = {}
    for difference in comparison.differences:
        for destination in (to for block in difference.blocks for to in block.destinations):
            said = {(aspect.name, aspect.before, aspect.after) for aspect in difference.aspects}
            differing.setdefault((destination.kind, destination.of), set()).update(said)
    return differing


def askers(comparison: Comparison, kind: Kind) -> set[str]:
    return {
        str(client)
        for difference in comparison.differences
        for block in difference.blocks
        if any(destination.kind is kind for destination in block.destinations)
        for client in block.clients
    }


# --- what is only called otherwise -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["guestbook", "load-balancer", "statefulset-peers", "two-racks", "broken"])
def test_another_seed_gives_other_names_and_addresses_and_no_difference(name: str) -> None:
    variant = Variant(name, (TOPOLOGIES / f"{name}.yaml",))
    with clusters(variant, variant, seeds=(1, 2)) as sides:
        [comparison] = compare(sides)
        assert comparison.differences == ()
        assert comparison.alike
        assert comparison.pairs > 150


def test_a_comparison_is_the_same_every_time() -> None:
    assert compared(IPTABLES, IPVS) == compared(IPTABLES, IPVS)


# --- variants of one file --------------------------------------------------------------------------------


def test_ipvs_refuses_what_iptables_does_not_know() -> None:
    comparison = compared(IPTABLES, IPVS)
    services = ("default/kubernetes", "default/web", "kube-system/kube-dns")
    ports = {("result", "network unreachable", "refused by ICMP")}
    pings = {("result", "ICMP net-unreachable", "ICMP port-unreachable")}
    assert found(comparison) == {
        **{(Kind.OTHER_PORT, service): ports for service in services},
        **{(Kind.PING, service): pings for service in services},
    }
    assert {client.partition(" on ")[0] for client in askers(comparison, Kind.PING)} == {
        "default/client", "deploy/default/web", "deploy/kube-system/coredns",
        "node/control", "node/node1", "node/node2",
    }  # fmt: skip


def test_the_reasons_come_from_the_packets_of_both() -> None:
    wanted = Wanted(destinations=["svc/default/web"])
    comparison = compared(IPTABLES, IPVS, wanted)
    port, _ = comparison.differences
    passed_on, refused = (line.partition(": ")[2] for line in port.before)
    assert passed_on.startswith(
        "no rule of kube-proxy takes it; forwarded: default via 192.168.10.1 dev eth0"
    )
    assert refused.startswith("network unreachable: no route to 10.96.")
    assert [line.partition(": ")[2] for line in port.after] == [
        "port unreachable: KUBE-IPVS-FILTER: to an address of kube-ipvs0, and to no Service port: REJECT"
    ]


def test_the_pod_networks_differ_in_their_envelopes_alone() -> None:
    comparison = compared(
        Variant("overlay", (SHOP,), network="overlay"), Variant("bgp", (SHOP,), network="bgp")
    )
    said = {
        (aspect.name, aspect.before, aspect.after)
        for difference in comparison.differences
        for aspect in difference.aspects
    }
    assert said == {("path", "vxlan", "none")}
    assert (Kind.CLUSTER_IP, "default/web:80") in found(comparison)


def test_of_three_variants_each_is_compared_with_the_first() -> None:
    with clusters(IPTABLES, IPVS, IPTABLES, seeds=(1, 1, 1)) as sides:
        comparisons = compare(sides)
    assert [comparison.after for comparison in comparisons] == ["ipvs", "iptables"]
    assert [comparison.alike for comparison in comparisons] == [False, True]


# --- changes of a file -----------------------------------------------------------------------------------


def test_a_selector_that_matches_nobody() -> None:
    comparison = compared(SHOP, SHOP.replace("selector: {app: web}, ports", "selector: {app: wbe}, ports"))
    refused = {("result", "ok", "refused by ICMP")}
    assert found(comparison) == {
        (Kind.NAME, "default/web:80"): refused,
        (Kind.CLUSTER_IP, "default/web:80"): refused,
    }
    assert "has no endpoints: REJECT" in comparison.differences[0].after[0]


def test_another_number_of_replicas_is_another_set_of_targets() -> None:
    comparison = compared(SHOP, SHOP.replace("replicas: 2", "replicas: 3"))
    targets = {("targets", "deploy/default/web (2 Pods)", "deploy/default/web (3 Pods)")}
    assert found(comparison)[Kind.CLUSTER_IP, "default/web:80"] == targets


def test_pods_that_are_elsewhere_in_the_other_cluster_are_told_of() -> None:
    comparison = compared(SHOP, SHOP.replace("replicas: 2", "replicas: 1"))
    assert comparison.notes == (
        "file: deploy/default/web is on node1, where the other has none: not asked from there",
    )
    assert (comparison.only_before, comparison.only_after) == ((), ())


def test_a_service_that_is_called_otherwise() -> None:
    comparison = compared(SHOP, SHOP.replace("kind: Service\nmetadata: {name: web}", RENAMED))
    assert comparison.only_before == ("Service default/web:80",)
    assert comparison.only_after == ("Service default/shop:80",)
    unknown = "Name or service not known"
    assert found(comparison) == {
        (Kind.NAME, "default/web:80"): {
            ("answer", "the ClusterIP of default/web", unknown),
            ("queries", "2", "8"),
            ("result", "ok", "unresolved"),
        },
        (Kind.NAME, "default/shop:80"): {
            ("answer", unknown, "the ClusterIP of default/shop"),
            ("queries", "8", "2"),
            ("result", "unresolved", "ok"),
        },
    }


RENAMED = "kind: Service\nmetadata: {name: shop}"


def test_clients_that_the_other_has_not() -> None:
    comparison = compared(SHOP, SHOP.replace("metadata: {name: client}", "metadata: {name: visitor}"))
    assert (comparison.only_before, comparison.only_after) == (
        ("client default/client",),
        ("client default/visitor",),
    )


def test_ndots_changes_what_a_name_costs() -> None:
    after = SHOP.replace(
        "{containers: [{name: shell",
        "{dnsConfig: {options: [{name: ndots, value: '1'}]}, containers: [{name: shell",
    )
    comparison = compared(
        SHOP, after, Wanted(clients=["default/client"], destinations=["kube-system/kube-dns"])
    )
    [difference] = comparison.differences
    assert [(one.name, one.before, one.after) for one in difference.aspects] == [("queries", "4", "6")]
    assert len(difference.before[0]) < len(difference.after[0])


def test_the_source_that_a_host_outside_sees() -> None:
    with_nat, without = (TOPOLOGY.format(spec=f"{{networking: {{natOutgoing: {word}}}}}") for word in ON_OFF)
    comparison = compared(
        with_nat + SHOP, without + SHOP, Wanted(clients=["default/client"], destinations=["example.com:80"])
    )
    aspect = Aspect("source", "the client's node", "the client", "outside the cluster")
    assert aspect in [aspect for difference in comparison.differences for aspect in difference.aspects]


ON_OFF = ("true", "false")


def test_changes_and_faults_do_not_happen() -> None:
    path = TOPOLOGIES / "blue-green.yaml"
    with clusters(Variant("before", (path,)), Variant("after", (path,))) as sides:
        [comparison] = compare(sides)
        assert comparison.alike
        assert comparison.notes == tuple(
            f"{title}: the state at convergence; 2 changes and faults did not happen"
            for title in ("before", "after")
        )
        assert all(side.cluster.now > 20 for side in sides)


# --- who stands for whom ---------------------------------------------------------------------------------


def test_replicas_on_one_node_ask_once() -> None:
    with clusters(Variant("a", (SHOP.replace("replicas: 2", "replicas: 6"),)), seeds=(1,)) as [side]:
        clients = {key: client.pods for key, client in survey(side.cluster).clients.items()}
    assert {key: pods for key, pods in clients.items() if key.who == "deploy/default/web"} == {
        ClientKey("deploy/default/web", "node1"): 3,
        ClientKey("deploy/default/web", "node2"): 3,
    }


def test_a_large_cluster_has_representatives_and_says_so() -> None:
    with clusters(Variant("a", (TOPOLOGIES / "guestbook.yaml",)), seeds=(1,)) as [side]:
        surveys = [survey(side.cluster)] * 2
        whole = chosen(surveys, EVERYTHING)
        sizes = []
        for limit in (whole.size, whole.size - 1, 300, 200):
            pairs = chosen(surveys, EVERYTHING, limit)
            sizes.append(pairs.size)
            assert bool(pairs.notes) is (pairs.size < whole.size)
    assert (whole.notes, sizes[0]) == ((), whole.size)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert [note.partition(" of ")[0].partition(" are ")[0] for note in pairs.notes] == [
        "one Pod", "node ports", "one node", "one Pod",
    ]  # fmt: skip


def test_the_more_pairs_there_are_the_less_often_each_is_asked() -> None:
    with clusters(Variant("a", (SHOP,)), seeds=(1,)) as [side]:
        found = survey(side.cluster)
        few = chosen([found, found], EVERYTHING)
        more = {
            Destination(Kind.CLUSTER_IP, f"default/web-{number}:80"): Dial(How.TCP, "10.96.0.1", 443)
            for number in range(400)
        }
        crowded = found._replace(destinations={**found.destinations, **more})
        many = chosen([crowded, crowded], EVERYTHING)
    assert (few.tries, few.notes) == (24, ())
    assert 2 <= many.tries < 24
    assert many.notes[-1].startswith(f"each pair is asked {many.tries} times at most")


def test_patterns_choose_clients_and_destinations() -> None:
    wanted = Wanted(
        clients=["deploy/default/*", "node/node1"], destinations=["default/web", "example.com:80"]
    )
    with clusters(Variant("a", (SHOP,)), seeds=(1,)) as [side]:
        pairs = chosen([survey(side.cluster)] * 2, wanted)
    assert {str(key) for key in pairs.clients} == {
        "deploy/default/web on node1",
        "deploy/default/web on node2",
        "node/node1",
    }
    assert {key.of for key in pairs.destinations} == {"default/web", "default/web:80", "example.com:80"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(clients=["default/cleint"]), "no client is called default/cleint"),
        (Wanted(clients=["deploy/web"]), "no client is called deploy/web"),
        (Wanted(destinations=["default/wbe:80"]), "no destination is called default/wbe:80"),
        (Wanted(destinations=["svc/web"]), "no destination is called svc/web"),
        (Wanted(destinations=["svc/web:80"]), "no destination is called svc/web:80"),
        (Wanted(destinations=["svc/default/wbe"]), "no destination is called svc/default/wbe"),
    ],
)
def test_a_pattern_that_means_nobody_is_refused(wanted: Wanted, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        compared(SHOP, SHOP, wanted)
    assert re.match(r"did you mean (default|deploy/default)/", refused.value.hint)


# --- outcomes --------------------------------------------------------------------------------------------

WEB = (("deploy/web", 2),)
NEAR = Landed("deploy/web", "on the same node", "the client", "none")
FAR = Landed("deploy/web", "on another node", "the client", "vxlan")
SEEN = Outcome(("ok",), WEB, (FAR, NEAR), complete=True)


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (SEEN, SEEN, []),
        (SEEN, SEEN._replace(landed=(NEAR,), complete=False), []),
        (SEEN, SEEN._replace(landed=(FAR._replace(encapsulation="none"),)), ["path"]),
        (SEEN, SEEN._replace(landed=(NEAR._replace(source="node/node1"),)), ["source"]),
        (SEEN, SEEN._replace(targets=(("deploy/web", 3),)), ["targets"]),
        (SEEN, SEEN._replace(targets=(("deploy/web", 0),)), []),
        (SEEN, SEEN._replace(targets=(("deploy/other", 0),), complete=False), []),
        (SEEN, SEEN._replace(results=("ok", "refused by RST")), ["result"]),
        (SEEN._replace(complete=False), SEEN._replace(results=("ok", "refused by RST")), []),
        (SEEN._replace(complete=False), Outcome(("timeout",), complete=False), ["result"]),
        (Outcome(answer="a", queries=("x",)), Outcome(answer="b", queries=("x",)), ["answer"]),
        (Outcome(answer="a", queries=("x",)), Outcome(answer="a", queries=("x", "y")), ["queries"]),
    ],
)
def test_outcomes_differ_as_far_as_they_were_seen(
    before: Outcome, after: Outcome, names: Sequence[str]
) -> None:
    assert [aspect.name for aspect in aspects(before, after)] == names
    assert [aspect.name for aspect in aspects(after, before)] == names


def test_each_way_is_told_by_itself() -> None:
    name, result = Aspect("answer", "a", "b"), Aspect("result", "ok", "timeout")
    way, other = Aspect("path", "vxlan", "none", "near"), Aspect("path", "vxlan", "none", "far")
    assert together([name, result, way, other]) == [(name, result), (way,), (other,)]
    assert together([way]) == [(way,)]


PUBLISHED_IN_IPV6 = """
apiVersion: v1
kind: Service
metadata: {name: published}
spec: {selector: {app: web}, ports: [{port: 80}], externalIPs: ["2001:db8:1::1"], ipFamilies: [IPv6]}
"""


def test_a_dual_stack_cluster_is_asked_over_both_families(tmp_path: Path) -> None:
    path, more = str(TOPOLOGIES / "dual-stack.yaml"), tmp_path / "published.yaml"
    more.write_text(PUBLISHED_IN_IPV6)
    variants = [Variant(mode, (path, str(more)), proxy_mode=mode) for mode in ("iptables", "ipvs")]
    with clusters(*variants) as sides:
        asked = survey(sides[0].cluster)
        assert {kind for kind in Kind if kind.name.endswith("6")} <= {to.kind for to in asked.destinations}
        for to, dial in asked.destinations.items():
            assert (":" in dial.host) is (to.kind.name.endswith("6") or to.kind is Kind.EXTERNAL_IP)
        assert Kind.EXTERNAL_IP in {to.kind for to in asked.destinations}
        inside = [client for client in asked.clients.values() if client.node]
        assert {len(client.addresses) for client in inside} == {2}
        [comparison] = compare(sides, EVERYTHING)
    pings = {
        to.kind
        for difference in comparison.differences
        for block in difference.blocks
        for to in block.destinations
    }
    assert pings == {Kind.PING, Kind.PING6, Kind.OTHER_PORT, Kind.OTHER_PORT6}


def test_a_destination_says_what_it_is() -> None:
    assert str(Destination(Kind.NODE_PORT, "prod/web:80", "node1")) == "the node port of prod/web:80 on node1"
