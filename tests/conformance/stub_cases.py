"""stub-cases.json: one lookup of a C library or of Go against an emulated server, in virtual time.

``CLIENTS`` says which resolver runs the cases of which libc; the rest is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Interface
from typing import Any, NamedTuple

from netsim.base.rng import Rng
from netsim.resolver import glibc, golang, hosts, musl, resolvconf
from netsim.resolver.commands import Family, GoError
from netsim.resolver.order import Client
from tests.conformance.case import Case, Difference, compare
from tests.conformance.stub_server import Network, Sent, drive

Json = Mapping[str, Any]

HOSTS = "127.0.0.1\tlocalhost\n10.244.1.5\tweb-0\n"
ADDRESS = IPv4Interface("10.244.1.5/24")
SEEDS = 16
"""A lookup with chance in it (glibc's first server with rotate, the order of Go's goroutines) is tried from
this many seeds until one gives an observed order."""

_FAMILIES = {"both": Family.UNSPEC, "inet": Family.INET, "inet6": Family.INET6}


class Result(NamedTuple):
    """What a lookup gave its caller. ``flags`` are the properties of Go's error; others leave them out."""

    addresses: Sequence[str]
    error: str | None
    flags: Mapping[str, bool] | None = None


class Run(NamedTuple):
    """All lookups of a case: their results, what was sent, and the seconds that it took."""

    results: Sequence[Result]
    sent: Sequence[Sent]
    elapsed: float


def with_glibc(case: Json, seed: int) -> Run:
    """getaddrinfo of glibc, as often as the case says, in one process."""
    env = case.get("env", {})
    conf = resolvconf.parse(
        case["resolv_conf"],
        hostname=case.get("hostname", "web-0"),
        res_options=env.get("RES_OPTIONS", ""),
        localdomain=env.get("LOCALDOMAIN"),
    )
    client = Client((ADDRESS,), case.get("client_ipv6") != "disabled")
    setup = glibc.Setup(conf, hosts.parse(case.get("hosts", HOSTS)), client, glibc.Process(), Rng(seed))
    network = Network(case)
    results = []
    for _ in range(case.get("repeat", 1)):
        machine = glibc.getaddrinfo(
            case["name"],
            setup,
            network.now,
            family=_FAMILIES[case["family"]],
            addrconfig="ADDRCONFIG" in case.get("flags", ""),
        )
        lookup = drive(machine, network)
        error = None if lookup.error is None else lookup.error.name
        results.append(Result([str(address) for address in lookup.addresses], error))
    return Run(results, network.sent, network.now)


def with_musl(case: Json, seed: int) -> Run:
    """getaddrinfo of musl; version 1.2.3 stands for those before 1.2.4."""
    client = Client((ADDRESS,), case.get("client_ipv6") != "disabled")
    setup = musl.Setup(
        musl.parse(case["resolv_conf"]),
        hosts.parse(case.get("hosts", HOSTS)),
        client,
        Rng(seed),
        old=case["version"] == "1.2.3",
    )
    network = Network(case)
    results = []
    for _ in range(case.get("repeat", 1)):
        lookup = drive(
            musl.getaddrinfo(case["name"], setup, network.now, family=_FAMILIES[case["family"]]), network
        )
        error = None if lookup.error is None else lookup.error.name
        results.append(Result([str(address) for address in lookup.addresses], error))
    return Run(results, network.sent, network.now)


def with_go(case: Json, seed: int) -> Run:
    """LookupIP of Go, as often as the case says, in one process."""
    client = Client((ADDRESS,), case.get("client_ipv6") != "disabled")
    conf = golang.parse(case["resolv_conf"], hostname=case.get("hostname", "web-0"))
    lines = hosts.parse(case.get("hosts", HOSTS))
    setup = golang.Setup(conf, lines, client, golang.Process(), Rng(seed))
    network = Network(case)
    results = []
    for _ in range(case.get("repeat", 1)):
        machine = golang.lookup_ip(case["name"], setup, network.now, family=_FAMILIES[case["family"]])
        lookup = drive(machine, network)
        addresses = [str(address) for address in lookup.addresses]
        flags = None
        if isinstance(lookup.error, GoError):
            flags = {
                "IsNotFound": lookup.error.is_not_found,
                "IsTemporary": lookup.error.is_temporary,
                "IsTimeout": lookup.error.is_timeout,
            }
        results.append(Result(addresses, None if lookup.error is None else lookup.error.name, flags))
    return Run(results, network.sent, network.now)


CLIENTS: dict[str, Callable[[Json, int], Run]] = {"glibc": with_glibc, "musl": with_musl, "go": with_go}


def cases(content: Sequence[Json]) -> Iterator[Case]:
    """One case per lookup; those of a libc without a client fail."""
    counts: dict[str, int] = {}
    for case in content:
        group = f"{case['libc']}-{case['version']}"
        counts[group] = counts.get(group, 0) + 1
        yield Case(f"{group}/{counts[group]}", case["id"], partial(_run, case))


def _run(case: Json) -> list[Difference]:
    client = CLIENTS[case["libc"]]
    if case["expect"].get("deterministic", True) and case["libc"] != "go":
        return judge(case, client(case, 1))
    found: list[Difference] = []
    for seed in range(SEEDS):
        found = judge(case, client(case, seed))
        if not found:
            break
    return found


# --- judging -------------------------------------------------------------------------------------------


def judge(case: Json, run: Run) -> list[Difference]:
    """Where a run differs from the case."""
    expected = case["expect"]
    found = _judge_queries(expected, [list(sent[:3]) for sent in run.sent])
    found += _judge_result(expected, run.results[-1])
    for number, (wanted, result) in enumerate(zip(expected.get("each", ()), run.results, strict=False), 1):
        for difference in _judge_result({**expected, **wanted}, result):
            found.append(difference._replace(what=f"lookup {number}: {difference.what}"))
    if "transport" in expected:
        found += compare("transports", expected["transport"], [sent.transport for sent in run.sent])
    if "times_ms" in expected and expected.get("deterministic", True):
        found += _judge_times(expected, run)
    return found


def _judge_queries(expected: Json, got: list[list[str]]) -> list[Difference]:
    if not expected.get("deterministic", True):
        known = got in expected["observed_variants"]
        return [] if known else [Difference("queries", expected["observed_variants"], got)]
    if expected["ordered"]:
        return compare("queries", expected["queries"], got)
    groups = expected.get("groups") or [expected["queries"]]
    found, start = [], 0
    for group in groups:
        part = got[start : start + len(group)]
        start += len(group)
        found += compare("queries of a group", sorted(group), sorted(part))
    return found + compare("queries after the last group", [], got[start:])


def _judge_result(expected: Json, result: Result) -> list[Difference]:
    in_order = expected.get("ordered", True) or "groups" in expected
    order = list if in_order else sorted
    found = compare("addresses", order(expected["addresses"]), order(result.addresses))
    found += compare("error", expected["error"], result.error)
    if "go_flags" in expected:
        found += compare("properties of the error", expected["go_flags"], result.flags)
    return found


def _judge_times(expected: Json, run: Run) -> list[Difference]:
    start = run.sent[0].time if run.sent else 0.0
    got = [round((sent.time - start) * 1000) for sent in run.sent]
    pairs = [*zip(expected["times_ms"], got, strict=False), (expected["elapsed_ms"], run.elapsed * 1000)]
    if all(_agrees(wanted, measured) for wanted, measured in pairs):
        return []
    both = ([*expected["times_ms"], expected["elapsed_ms"]], [*got, round(run.elapsed * 1000)])
    return [Difference("times and the end, ms", *both)]


def _agrees(wanted: float, measured: float) -> bool:
    """Virtual time against measured time: within the larger of 5 % and 200 ms."""
    return abs(wanted - measured) <= max(0.05 * wanted, 200)
