"""The counters of the nat table's rules, from connections that a host has seen."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netsim.base.rule_counts import Amount, NatCounts, Opened, RuleCounts
from netsim.proxy.render_iptables import endpoint_chain, render_counters, render_iptables, service_chain
from netsim.proxy.service_port import ServicePort
from tests.proxy.test_render_iptables import PLACE, SETTINGS, port_called


def seen_from(client: str, target: str | None, *, known: bool = False, current: bool = True) -> NatCounts:
    """Two connections to 10.96.0.20:80 that came in by eth0, of 100 bytes in all."""
    endpoint = (IPv4Address(target).packed, 8080) if target is not None else None
    opened = Opened(
        "eth0", 6, IPv4Address(client).packed, IPv4Address("10.96.0.20").packed, 80, endpoint, known,
        Amount(2, 100), from_local=False, to_local=False, current=current,
    )  # fmt: skip
    return NatCounts([opened], Amount(), Amount(), Amount())


def nat_counters(port: ServicePort, seen: NatCounts) -> str:
    text = render_counters([port], SETTINGS, PLACE, (), RuleCounts(seen, []))
    return text[text.index("*nat") :]


COUNTED = port_called("default/web", "TCP", "10.244.1.2:8080", "10.244.1.3:8080", "10.244.1.4:8080")


@pytest.mark.parametrize(
    ("port", "seen", "counted"),
    [
        (COUNTED, seen_from("10.244.1.9", "10.244.1.2"), ["SERVICES", "SVC/1", "2/1"]),
        (COUNTED, seen_from("10.244.1.9", "10.244.1.4"), ["SERVICES", "SVC/3", "4/1"]),
        (COUNTED, seen_from("10.244.1.3", "10.244.1.3"), ["MARK", "SERVICES", "SVC/2", "3/0", "3/1"]),
        (COUNTED, seen_from("203.0.113.7", "10.244.1.3"), ["MARK", "SERVICES", "SVC/0", "SVC/2", "3/1"]),
        (COUNTED, seen_from("203.0.113.7", "10.244.1.3", current=False), []),
        (
            COUNTED._replace(affinity=60),
            seen_from("10.244.1.9", "10.244.1.3", known=True),
            ["SERVICES", "SVC/2", "3/1"],
        ),
        (COUNTED._replace(affinity=60), seen_from("10.244.1.9", "10.244.1.3"), ["SERVICES", "SVC/5", "3/1"]),
    ],
    ids=[
        "the first endpoint", "the last endpoint", "the client itself", "from outside",
        "a Service that changed", "an endpoint that the client had", "the first time of a client",
    ],
)  # fmt: skip
def test_a_rule_counts_what_it_matched(port: ServicePort, seen: NatCounts, counted: list[str]) -> None:
    text = nat_counters(port, seen)
    names = {"KUBE-SERVICES": "SERVICES", "KUBE-MARK-MASQ": "MARK", service_chain(port): "SVC"}
    names |= {endpoint_chain(port, f"10.244.1.{last}:8080"): str(last) for last in (2, 3, 4)}
    numbers: dict[str, int] = {}
    found = []
    for line in text.splitlines():
        if not line.startswith("["):
            continue
        amount, _, chain = line.split()[:3]
        number = numbers[chain] = numbers.get(chain, -1) + 1
        if amount == "[2:100]" and chain in names:
            name = names[chain]
            found.append(name if name.isalpha() and name != "SVC" else f"{name}/{number}")
        else:
            assert amount == "[0:0]" or chain == "PREROUTING"
    assert sorted(found) == sorted(counted)
    assert ":PREROUTING ACCEPT [0:0]" in text, "a DNAT is the end of it"


def test_what_leaves_is_counted_by_its_mark() -> None:
    seen = NatCounts([], Amount(1, 60), Amount(2, 120), Amount(3, 180))
    lines = nat_counters(COUNTED, seen).splitlines()
    assert ":INPUT ACCEPT [1:60]" in lines
    assert ":POSTROUTING ACCEPT [3:180]" in lines
    counters = [line.split()[0] for line in lines if "-A KUBE-POSTROUTING" in line]
    assert counters == ["[3:180]", "[2:120]", "[2:120]"], (
        "RETURN without the mark; MARK and MASQUERADE with it"
    )


def test_the_rules_are_those_that_are_printed_without_counters() -> None:
    counted = render_counters([COUNTED], SETTINGS, PLACE, (), RuleCounts(NatCounts([]), []))
    assert counted.replace("[0:0] -A", "-A") == render_iptables([COUNTED], SETTINGS, PLACE)
    assert counted.count("[0:0] -A") == counted.count("-A ") > 30
