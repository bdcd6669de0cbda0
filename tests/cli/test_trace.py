"""``netsim trace`` tells one connection."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import TWO_NAMESPACES, Call

FILE = ("-f", TWO_NAMESPACES)


def test_the_walk_across_namespaces(call: Call) -> None:
    result = call("trace", *FILE, "dev/jump", "ent.prod:8080")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "dev/jump connects to ent.prod:8080"
    assert lines[-1].startswith("result: ok (connected to 10.96.")
    for word in (
        "search list 1 of 3",
        "ndots",
        "DNAT",
        "picked at random among 3",
        "[SYN, ACK]",
        "flannel.1",
    ):
        assert word in result.stdout


def test_json_holds_the_same_walk(call: Call) -> None:
    walk = json.loads(call("trace", *FILE, "dev/jump", "ent.prod:8080", "-o", "json").stdout)
    assert (walk["origin"], walk["target"], walk["result"]) == ("dev/jump", "ent.prod:8080", "ok")
    assert [query["outcome"] for query in walk["queries"] if query["type"] == "A"] == ["NXDOMAIN", "NOERROR"]
    first = walk["packets"][0]
    assert first["hops"][0]["interface"] == "dev/jump/eth0"
    assert {reason["stage"] for reason in first["reasons"]} >= {"resolver", "nat", "route"}


def test_a_name_that_does_not_resolve_is_a_result(call: Call) -> None:
    result = call("trace", *FILE, "dev/jump", "ent.staging:8080")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("result: unresolved")


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("ent.prod:8080", "ok"),
        ("10.244.9.9:80", "timeout"),
        ("kube-dns.kube-system:9153", "ok"),
        ("192.168.10.12:81", "refused"),
        ("192.168.10.99:80", "unreachable"),
        ("nosuch:80", "unresolved"),
    ],
)
def test_the_exit_code_says_whether_there_was_a_connection(call: Call, target: str, result: str) -> None:
    called = call("trace", *FILE, "dev/jump", target, "-o", "json")
    assert json.loads(called.stdout)["result"] == result
    assert called.exit_code == (0 if result == "ok" else 1)


def test_the_summary_alone(call: Call) -> None:
    summary = call("trace", *FILE, "dev/jump", "ent.prod:8080", "--summary").stdout.splitlines()
    whole = call("trace", *FILE, "dev/jump", "ent.prod:8080").stdout.splitlines()
    assert whole[: len(summary)] == summary
    assert len(summary) <= 13


def test_a_target_without_a_port_is_wrong_input(call: Call) -> None:
    result = call("trace", *FILE, "dev/jump", "ent.prod")
    assert result.exit_code == 2
    assert result.stderr == "error: 'ent.prod' is not NAME:PORT\n  hint: write for example ent.prod:8080\n"


@pytest.mark.parametrize("target", ["fd00:10:96::10:53", "fd00:10:96::10", "[fd00:10:96::10]"])
def test_an_address_of_ipv6_stands_in_brackets(call: Call, target: str) -> None:
    result = call("trace", *FILE, "dev/jump", target)
    assert (result.exit_code, result.stdout) == (2, "")
    hint = "an IPv6 address stands in brackets before its port: [fd00:10:96::10]:53"
    assert result.stderr == f"error: {target!r} is not NAME:PORT\n  hint: {hint}\n"


def test_a_client_dials_what_is_in_dns(call: Call) -> None:
    result = call("trace", *FILE, "dev/jump", "svc/prod/ent:8080")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: svc/prod/ent is not a name in DNS\n  hint: write it as a ")


def test_another_seed_tells_another_walk(call: Call) -> None:
    def walk(seed: int) -> str:
        return call("trace", *FILE, "dev/jump", "ent.prod:8080", "--seed", seed).stdout

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)
