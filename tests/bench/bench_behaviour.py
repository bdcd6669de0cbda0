"""Figures about the emulated cluster: where 3,000 connections land, and what a rolling update loses.

``make bench`` prints them for each Pod network and kube-proxy mode, with the CPU time that they took. With
one seed they are the same on every machine. The tests of books and topologies hold what must be true.
"""

from __future__ import annotations

import time
from collections import Counter

from netsim.checks.balance import split
from netsim.checks.report import run_checks
from netsim.cluster import run
from tests.conftest import ROOT, Combination
from tests.topologies.test_rolling_update import REQUESTS, a_hundred_replicas

BOOK = ROOT / "tests" / "books" / "hello-deploy.yaml"
REPLICAS = 10
CONNECTIONS = 3000


async def test_where_connections_to_ten_replicas_land(combination: Combination) -> None:
    began = time.process_time()
    reached: list[str] = []
    with run(BOOK, **combination._asdict()) as cluster:
        client = cluster.external("www.example.com")
        for _ in range(CONNECTIONS):
            reply = await client.get("http://192.168.10.11:30001/")
            reached.append(reply.text.partition("this request: ")[2].partition("<")[0])
    found = split(list(Counter(reached).values()))
    turn = reached[:REPLICAS]
    in_turn = len(set(turn)) == REPLICAS and reached == turn * (CONNECTIONS // REPLICAS)
    spent = time.process_time() - began
    print(
        f"\n{'-'.join(combination)}: {sorted(Counter(reached).values())}, chi-square {found.statistic:.2f}, "
        f"p = {found.probability:.3f}, {'in exact turn' if in_turn else 'not in turn'}; {spent:.1f} s"
    )
    assert found.equal


def test_what_an_update_of_a_hundred_replicas_loses(combination: Combination) -> None:
    began = time.process_time()
    with run(a_hundred_replicas(), **combination._asdict()) as cluster:
        report = run_checks(cluster)
        asked = [check.arguments.get("count") == REQUESTS for check in cluster.topology.checks]
    lost = [str(found.observed) for found, counts in zip(report.checks, asked, strict=True) if counts]
    spent = time.process_time() - began
    print(f"\n{'-'.join(combination)}: of {REQUESTS} set right, then not: {', '.join(lost)}; {spent:.1f} s")
    assert report.failed == 0
