"""The topology of the rolling update, with a hundred Pods and a thousand requests."""

from __future__ import annotations

import re

import pytest

from netsim.checks.report import render_report, run_checks
from netsim.cluster import run
from tests.conftest import ROOT

FILE = ROOT / "topologies" / "rolling-update.yaml"
REPLICAS, REQUESTS = 100, 1000
TRAFFIC = r"(      at: {at}\n      get: .*\n      count: )(\d+)(\n      every: )(\d+)ms\n"


def with_more_requests(text: str, at: str) -> str:
    """The file with a thousand requests in the time in which the check at ``at`` sends fewer."""

    def more(found: re.Match[str]) -> str:
        seconds = int(found[2]) * int(found[4]) / 1000
        return f"{found[1]}{REQUESTS}{found[3]}{round(1000 * seconds / REQUESTS)}ms\n"

    changed, count = re.subn(TRAFFIC.format(at=at), more, text)
    assert count == 1
    return changed


def a_hundred_replicas() -> str:
    """The file with a hundred replicas of each, and a thousand requests during each one's update."""
    text, count = re.subn(r"replicas: 20\n", f"replicas: {REPLICAS}\n", FILE.read_text(encoding="utf-8"))
    assert count == 2
    return with_more_requests(with_more_requests(text, "5s"), "65s")


@pytest.mark.timeout(300)  # 2,000 requests, each with its lookup, and some 250 Pods that start
def test_a_hundred_replicas_under_a_thousand_requests() -> None:
    """None is lost when readiness and grace are set right, and some when they are not."""
    with run(a_hundred_replicas()) as cluster:
        asked = [check for check in cluster.topology.checks if check.arguments["get"] and check.at in (5, 65)]
        assert [(check.arguments["count"], check.expect["lost"]) for check in asked] == [(REQUESTS, 0)] * 2
        assert [check.negate for check in asked] == [False, True]
        report = run_checks(cluster)
        assert report.failed == 0, render_report(report)
