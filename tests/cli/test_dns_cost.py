"""``netsim dns cost``: what a lookup costs each library, measured, and what would change it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.dns_cost import Report, corefile_with_autopath, measure
from netsim.clusterdns.corefile import default_corefile
from netsim.resolver.commands import Libc
from tests.cli.conftest import TWO_NAMESPACES, Call
from tests.conftest import Golden

LIBCS = (Libc.GLIBC, Libc.MUSL, Libc.GO)


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    async def measured(cluster: Cluster) -> list[Report]:
        return await measure(cluster, "dev/jump", NAMES, LIBCS)

    with run(TWO_NAMESPACES) as cluster:
        measuring = measured(cluster)
        try:
            measuring.send(None)
        except StopIteration as done:
            return {report.name: report for report in done.value}
    raise AssertionError("measuring waits for an event loop")


# The table of what a lookup costs under the kubelet's resolv.conf: three search domains, ndots:5.
COSTS = {
    "ent": (2, 2, 2),
    "ent.prod": (4, 4, 4),
    "ent.prod.svc": (6, 6, 6),
    "ent.prod.svc.cluster.local": (8, 8, 8),
    "ent.prod.svc.cluster.local.": (2, 2, 2),
    "example.com": (8, 8, 8),
    "www.example.com": (8, 8, 8),
    "missing": (8, 8, 8),
    "web-0.nope.dev.svc.cluster.local": (8, 2, 8),
}
NAMES = tuple(COSTS)


@pytest.mark.parametrize("name", NAMES)
def test_each_library_sends_what_its_source_says_and_every_query_comes_to_coredns(
    reports: dict[str, Report], name: str
) -> None:
    costs = reports[name].as_is
    assert tuple(len(cost.lookup.queries) for cost in costs) == COSTS[name]
    assert [cost.packets for cost in costs] == [2 * len(cost.lookup.queries) for cost in costs]
    assert [cost.reached for cost in costs] == [len(cost.lookup.queries) for cost in costs]


@pytest.mark.parametrize("name", ["ent.prod", "www.example.com"])
def test_autopath_answers_the_first_question_and_the_node_cache_keeps_all_on_the_node(
    reports: dict[str, Report], name: str
) -> None:
    variants = {variant.title: variant.costs for variant in reports[name].variants}
    assert [len(cost.lookup.queries) for cost in variants["autopath"]] == [2, 2, 2]
    assert all(cost.lookup.error is None for cost in variants["autopath"])
    assert [cost.reached for cost in variants["node-local cache"]] == [0, 0, 0]
    assert [len(cost.lookup.queries) for cost in variants["node-local cache"]] == list(COSTS[name])


def test_with_one_dot_enough_musl_never_searches(reports: dict[str, Report]) -> None:
    ndots = next(variant for variant in reports["ent.prod"].variants if variant.title == "ndots:1")
    glibc, musl, go = ndots.costs
    assert (glibc.lookup.error, go.lookup.error) == (None, None)
    assert musl.lookup.error is not None
    assert len(musl.lookup.queries) == 2


def test_a_corefile_gets_autopath_once_and_verified_pods() -> None:
    changed = corefile_with_autopath(default_corefile("cluster.local"))
    assert "    autopath @kubernetes\n    kubernetes cluster.local" in changed
    assert "pods verified" in changed
    assert "pods insecure" not in changed
    assert corefile_with_autopath(changed) == changed


def test_a_corefile_without_the_option_pods_gets_it() -> None:
    plain = ".:53 {\n  kubernetes a.b\n}\n"
    block = ".:53 {\n  kubernetes a.b {\n    ttl 5\n  }\n}\n"
    head = ".:53 {\n  autopath @kubernetes\n  kubernetes a.b {\n      pods verified\n"
    assert corefile_with_autopath(plain) == f"{head}  }}\n}}\n"
    assert corefile_with_autopath(block) == f"{head}    ttl 5\n  }}\n}}\n"


def test_the_text_says_it_all(call: Call, golden: Golden) -> None:
    golden(
        "dns-cost.txt", call("dns", "cost", "-f", TWO_NAMESPACES, "dev/jump", "ent.prod", "missing").stdout
    )


def test_json_has_every_query(call: Call) -> None:
    said = call("dns", "cost", "-f", TWO_NAMESPACES, "dev/jump", "ent", "--libc", "go", "-o", "json").stdout
    document: list[dict[str, Any]] = json.loads(said)
    lookup = document[0]["lookups"][0]
    assert (document[0]["name"], lookup["libc"], lookup["packets"]) == ("ent", "go", 4)
    assert {query["type"] for query in lookup["queries"]} == {"A", "AAAA"}
    assert {variant["title"] for variant in document[0]["variants"]} >= {"ent.", "ndots:1", "autopath"}


def test_a_pod_that_is_not_there_and_a_missing_name_are_explained(call: Call) -> None:
    assert "did you mean dev/jump?" in call("dns", "cost", "-f", TWO_NAMESPACES, "dev/jmp", "ent").stderr
    assert "Missing argument 'NAME...'" in call("dns", "cost", "-f", TWO_NAMESPACES, "dev/jump").stderr
