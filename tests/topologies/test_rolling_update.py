"""The topology of the rolling update, with a hundred Pods and a thousand requests."""

from __future__ import annotations

from netsim.checks.report import render_report, run_checks
from netsim.cluster import run
from netsim.objects.manifest import load
from netsim.objects.topology import Check
from tests.conftest import ROOT

FILE = ROOT / "topologies" / "rolling-update.yaml"
REPLICAS, REQUESTS = 100, 1000


def is_traffic(check: Check) -> bool:
    """Whether requests come while something changes."""
    return "lost" in check.expect


def test_a_hundred_replicas_under_a_thousand_requests() -> None:
    text = FILE.read_text(encoding="utf-8").replace("replicas: 20\n", f"replicas: {REPLICAS}\n")
    assert text.count(f"replicas: {REPLICAS}\n") == 2
    traffic = [check for check in load([text]).topology.checks if is_traffic(check)]
    for check in traffic:
        count, every = check.arguments["count"], check.arguments["every"]
        old = f"count: {count}\n      every: {round(every * 1000)}ms\n"
        new = f"count: {REQUESTS}\n      every: {round(every * 1000) * count // REQUESTS}ms\n"
        text = text.replace(old, new)
    with run(text) as cluster:
        asked = [check for check in cluster.topology.checks if is_traffic(check)]
        assert [check.arguments["count"] for check in asked] == [REQUESTS] * len(traffic)
        assert [check.negate for check in asked] == [False, False, True], "hasty loses some"
        report = run_checks(cluster)
        assert report.failed == 0, render_report(report)
