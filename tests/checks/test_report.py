"""Runs of several checks: values, JSON and text; what cannot be carried out; ``at`` and ``not``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netsim.base.errors import Source
from netsim.checks.report import CheckResult, Report, render_report, render_value, run_check, run_checks
from netsim.checks.walk import PACKETS, WIDTH, walk
from netsim.cluster import Cluster, run
from netsim.objects.topology import Check
from tests.checks.shop import SHOP, Judge, open_shop, read_check, read_checks
from tests.conftest import Golden

ROOT = Path(__file__).resolve().parents[2]

FAILING = """\
- name: the shop answers from dev
  from: dev/jump
  connect: shop.prod:8080
  count: 20
  expect: {reached: [dev/far], balanced: true, encapsulation: none, source: node/node1}
- name: a Pod that does not listen refuses
  from: dev/jump
  get: http://deaf.prod/
  expect: {status: 200, body: welcome}
- name: a Service without endpoints is rejected by the node
  from: dev/jump
  connect: empty.prod:80
- name: a short name finds the shop
  from: dev/jump
  resolve: shop
  expect: {addresses: [svc/prod/shop]}
- name: the name costs two queries
  from: dev/jump
  resolve: shop.prod
  expect: {queries: [shop.prod.svc.cluster.local A, shop.prod.svc.cluster.local AAAA], within: 1ms}
- name: nobody is there
  from: dev/jump
  ping: 192.168.10.99
- name: nothing comes back
  from: dev/jump
  connect: 10.244.9.9:80
- name: a server that is none
  from: dev/jump
  query: {name: shop.prod.svc.cluster.local, server: dev/far}
- from: dev/jump
  exec: [sh, -c, 'echo one; echo two; ls /nothing']
  expect: {stdout: three}
- table: {node: node1, show: proxy}
  expect: {contains: prod/shop:http cluster IP on port 81, lacks: prod/empty has no endpoints}
- capture: {on: node1/eth0, filter: vxlan}
  during: {from: dev/jump, connect: 'dev/far:8080'}
  expect: {count: 2, fields: {vxlan.vni: 7}}
- name: the Pod is written wrongly
  from: dev/jmp
  connect: shop.prod:8080
- name: never
  from: dev/jump
  connect: shop.prod:8080
  expect: {not: {result: ok}}
- name: this one is right
  from: dev/jump
  resolve: shop.prod
  expect: {addresses: [svc/prod/shop]}
"""


def report_of(cluster: Cluster, text: str) -> Report:
    """The report of these checks."""
    cluster.topology = cluster.topology._replace(checks=read_checks(text))
    return run_checks(cluster)


def test_the_text_of_failed_checks(golden: Golden) -> None:
    golden("failed.txt", render_report(report_of(open_shop(), FAILING)))


def test_the_json_of_a_failed_check(golden: Golden) -> None:
    text = "{name: a Service without endpoints, from: dev/jump, connect: '10.96.1.3:80'}"
    document = report_of(open_shop(), f"- {text}\n").to_json()
    golden("failed.json", f"{json.dumps(document, indent=2, ensure_ascii=False)}\n")


def test_a_report_counts_and_says_where_it_comes_from() -> None:
    report = report_of(
        open_shop(),
        "- {name: good, from: dev/jump, resolve: shop.prod}\n- {name: bad, from: dev/jump, resolve: shop}\n",
    )
    assert [check.name for check in report.checks] == ["good", "bad"]
    assert (report.passed, report.failed) == (1, 1)
    assert (report.topology, report.seed, report.converged_at) == ("shop", 1, 1.0)
    assert render_report(report).splitlines()[-1] == (
        "1 of 2 checks passed, 1 failed (shop, seed 1, converged at 1 s)"
    )


def test_json_has_the_agreed_keys_and_survives_the_way_through_text() -> None:
    document = report_of(open_shop(), FAILING).to_json()
    assert list(document) == ["topology", "seed", "converged_at", "passed", "failed", "checks"]
    for check in document["checks"]:
        assert list(check) == ["name", "passed", "expected", "observed", "walk"]
        assert bool(check["walk"]) <= (not check["passed"])
    assert json.loads(json.dumps(document)) == document


def test_a_topology_without_checks_has_an_empty_report() -> None:
    with run(SHOP) as cluster:
        report = run_checks(cluster)
    assert (report.passed, report.failed, report.checks) == (0, 0, ())
    assert render_report(report) == "no checks (shop, seed 1, converged at 1 s)\n"


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_two_runs_give_the_same_report_whatever_the_hash_seed(hash_seed: str) -> None:
    program = (
        "import json\n"
        "from tests.checks.test_report import FAILING, report_of, open_shop\n"
        "print(json.dumps(report_of(open_shop(), FAILING).to_json()))\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert json.loads(there.stdout) == report_of(open_shop(), FAILING).to_json()


def test_another_seed_gives_other_packets() -> None:
    walks = set()
    for seed in (1, 2):
        with run(SHOP, seed=seed) as cluster:
            walks.add(report_of(cluster, FAILING).checks[0].walk)
    assert len(walks) == 2


# --- not, at, and what cannot be done --------------------------------------------------------------------


@pytest.mark.parametrize("expect", ["{queries: 4}", "{queries: 3}", "{queries: 4, error: EAI_AGAIN}"])
def test_not_turns_the_verdict_on_all_keys_together_round(judged: Judge, expect: str) -> None:
    plain = judged(f"{{from: dev/jump, resolve: shop.prod, expect: {expect}}}")
    negated = judged(f"{{from: dev/jump, resolve: shop.prod, expect: {{not: {expect}}}}}")
    assert plain.passed is not negated.passed
    assert negated.expected == {"not": plain.expected}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{from: dev/nobody, resolve: shop}", 'pods "nobody" not found in namespace dev'),
        ("{from: dev/jump, resolve: shop.prod, expect: {addresses: [svc/prod/nope]}}", 'services "nope"'),
        ("{from: dev/jump, connect: 'dev/nobody:80'}", 'pods "nobody" not found'),
        ("{from: dev/jump, connect: 'one:80', expect: {path: [fw9]}}", 'pods "fw9" not found'),
        ("{from: dev/jump, ping: deploy/dev/nope}", 'deploy "nope" not found'),
        ("{capture: {on: node9/eth0}, during: {from: dev/jump, ping: dev/far}}", "no interface node9/eth0"),
        ("{capture: {on: node1/eth9}, during: {from: dev/jump, ping: dev/far}}", "no interface eth9"),
        (
            "{capture: {on: node1/eth0, filter: port}, during: {from: dev/jump, ping: dev/far}}",
            "filter 'port'",
        ),
        ("{capture: {on: node1/eth0}, during: {from: dev/nobody, ping: dev/far}}", 'pods "nobody"'),
        (
            "{capture: {on: node1/eth0}, during: {from: dev/jump, ping: dev/far}, "
            "expect: {fields: {ip.dest: 10.1.1.1}}}",
            "no field ip.dest\n  hint: did you mean ip.dst",
        ),
        (
            "{capture: {on: node1/eth0}, during: {from: dev/jump, ping: dev/far, expect: {not: {lost: 0}}}}",
            "the check that makes the packets failed, with result: ok, lost: 0",
        ),
        (
            "{capture: {on: node1/eth0}, during: {at: 0s, from: dev/jump, ping: dev/far}}",
            "cannot begin at 0 s",
        ),
    ],
)
@pytest.mark.parametrize("negate", [False, True])
def test_what_cannot_be_carried_out_has_failed_with_the_reason(
    shop: Cluster, text: str, reason: str, negate: bool
) -> None:
    result = run_check(shop, read_check(text)._replace(negate=negate))
    assert not result.passed
    assert reason in result.observed["detail"]


def test_a_pod_that_does_not_run_is_a_reason_and_not_a_crash() -> None:
    never = """
---
apiVersion: v1
kind: Pod
metadata: {name: pending, namespace: dev}
spec:
  nodeSelector: {disk: none}
  containers: [{name: a, image: busybox}]
"""
    with run(SHOP + never) as cluster:
        for text in ("{from: dev/pending, resolve: shop}", "{from: dev/jump, ping: dev/pending}"):
            result = run_check(cluster, read_check(text))
            assert not result.passed
            assert "Pending" in result.observed["detail"] or "does not run" in result.observed["detail"]


def at(seconds: str, name: str) -> str:
    return f"- {{name: {name}, at: {seconds}, from: dev/jump, exec: [date, +%s]}}\n"


def test_at_counts_from_convergence_and_checks_wait_for_their_time() -> None:
    cluster = open_shop()
    text = at("20s", "late") + "- {name: now, from: dev/jump, exec: [hostname]}\n" + at("5s", "early")
    report = report_of(cluster, text)
    assert [check.name for check in report.checks] == ["late", "now", "early"]
    assert report.failed == 0
    assert cluster.now == pytest.approx(cluster.converged_at + 20, abs=0.1)


def test_a_check_whose_time_was_taken_by_others_says_so() -> None:
    text = (
        "- {name: slow, at: 1s, from: dev/jump, connect: '10.244.9.9:80', expect: {result: timeout}}\n"
        + at("2s", "missed")
    )
    slow, missed = report_of(open_shop(), text).checks
    assert slow.passed
    assert not missed.passed
    assert missed.observed == {"detail": "cannot begin at 2 s: what came before it took until 11 s"}


def test_a_check_may_be_run_by_hand(shop: Cluster) -> None:
    check = read_check("{name: mine, from: dev/jump, ping: dev/far}")
    assert isinstance(check, Check)
    result = run_check(shop, check)
    assert (result.name, result.passed, result.walk) == ("mine", True, ())
    assert result.observed == {"result": "ok"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, "b"], "c": True}, "{a: [1, b], c: true}"),
        (None, "none"),
        ([], "[]"),
        (("x",), "[x]"),
        (False, "false"),
        (0.5, "0.5"),
    ],
)
def test_values_are_written_as_people_write_them(value: object, text: str) -> None:
    assert render_value(value) == text


def test_a_walk_is_short_and_tells_what_went_wrong_the_oldest_packet_first() -> None:
    results = report_of(open_shop(), FAILING).checks
    for result in results:
        packets = [line for line in result.walk if line[:1].isdigit()]
        assert len(packets) <= PACKETS
        assert all(len(line) <= WIDTH + 2 for line in result.walk if line.startswith("  node "))
        times = [float(line.split()[0]) for line in packets]
        assert times == sorted(times)
    told = {result.name: "\n".join(result.walk) for result in results}
    assert "[RST, ACK]" in told["a Pod that does not listen refuses"]
    assert "Port unreachable" in told["a Service without endpoints is rejected by the node"]
    assert "Who has 192.168.10.99?" in told["nobody is there"]
    assert "(4 times)" in told["nothing comes back"]


def test_a_lookup_that_should_have_worked_says_so() -> None:
    check = CheckResult("x", False, {"error": None}, {"error": "EAI_NONAME"}, (), Source("-", 1, 1))
    text = render_report(Report("t", 1, 1.0, (check,)))
    assert "expected  error: none (the name resolves)\n" in text
    assert "observed  error: EAI_NONAME\n" in text


def test_a_walk_without_packets_is_empty() -> None:
    assert walk([], {}) == ()
