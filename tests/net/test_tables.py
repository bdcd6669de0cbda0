"""Tables by themselves: what is put is found, changed and taken away again, and the versions tell."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from netsim.net.tables import Tables
from netsim.plan.entries import NODES, Action, Backend, Hook, Match, Rule, VirtualServer
from tests.net.network import CAUSE, OWNER

KEY = (6, bytes([10, 96, 0, 20]), 80)


def server(*backends: str) -> VirtualServer:
    found = tuple(Backend(IPv4Address(address), 8080, "pod x") for address in backends)
    return VirtualServer(NODES, 6, IPv4Address("10.96.0.20"), 80, "svc a/b", found, OWNER, CAUSE)


def rule(name: str, order: int) -> Rule:
    return Rule(NODES, Hook.FORWARD, order, name, Match(), Action.DROP, OWNER, CAUSE)


def test_a_virtual_server_is_found_as_it_was_put_last() -> None:
    tables = Tables()
    assert tables.service(KEY) is None
    tables.put_virtual(server("10.244.1.2"))
    first = tables.service(KEY)
    assert first is not None and first is tables.service(KEY)
    assert first.label == "svc a/b (10.96.0.20:80)"
    assert [backend.label for backend in first.backends] == ["10.244.1.2:8080 (pod x)"]
    tables.put_virtual(server("10.244.1.3", "10.244.1.4"))
    second = tables.service(KEY)
    assert second is not None and len(second.backends) == 2 and tables.filters
    tables.remove_virtual(server())
    assert tables.service(KEY) is None
    assert not tables.filters


def test_rules_stand_in_order_and_then_by_name() -> None:
    tables = Tables()
    for name, order in (("b", 2), ("c", 1), ("a", 2), ("d", 0)):
        tables.put_rule(rule(name, order))
    assert [r.name for r in tables.rules[Hook.FORWARD]] == ["d", "c", "a", "b"]
    tables.put_rule(rule("d", 9))
    tables.remove_rule(rule("c", 1))
    assert [r.name for r in tables.rules[Hook.FORWARD]] == ["a", "b", "d"]


def test_the_version_grows_with_every_change() -> None:
    tables, versions = Tables(), [0]
    changes: list[Callable[[], None]] = [
        lambda: tables.put_rule(rule("a", 1)),
        lambda: tables.put_virtual(server()),
        lambda: tables.put_virtual(server("10.244.1.2")),
        lambda: tables.remove_virtual(server()),
        lambda: tables.remove_rule(rule("a", 1)),
    ]
    for change in changes:
        change()
        versions.append(tables.version)
    assert versions == sorted(set(versions))
