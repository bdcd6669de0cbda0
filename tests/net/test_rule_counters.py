"""What a host's nat table has seen, after connections through it."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rule_counts import Amount, NatCounts
from netsim.plan.entries import HostName
from tests.net.network import SERVICE, Network, one_node

PODS = {"p": "10.244.1.2", "q": "10.244.1.3", "r": "10.244.1.4"}


def balanced(names: str = "qr") -> Network:
    net = one_node()
    for name in PODS:
        net.serve(name, 8080)
    net.route("node", "10.96.0.0/16", "cni0")
    listed(net, names)
    return net


def listed(net: Network, names: str) -> None:
    net.service(SERVICE, [f"{PODS[name]}:8080" for name in names])


def counts(net: Network) -> NatCounts:
    return net.plane.rule_counts(HostName("node")).nat


def packets(net: Network) -> Counter[str]:
    """Connections by the Pod that they were given to, or a dash."""
    names = {IPv4Address(address).packed: name for name, address in PODS.items()}
    found: Counter[str] = Counter()
    for one in counts(net).opened:
        found[names[one.endpoint[0]] if one.endpoint is not None else "-"] += one.amount.packets
    return found


@given(st.lists(st.sampled_from(["p", "q", "node"]), min_size=1, max_size=8))
def test_the_counters_of_the_endpoints_sum_up_to_the_connections_made(clients: list[str]) -> None:
    net = balanced("pqr")
    answers = Counter(net.ask(client, SERVICE)[0] for client in clients)
    assert packets(net) == answers
    opened = counts(net).opened
    assert sum(one.amount.packets for one in opened if not one.device) == clients.count("node")
    assert all(one.amount.size == 44 * one.amount.packets for one in opened), "SYNs alone"


def test_what_leaves_is_marked_where_it_is_masqueraded() -> None:
    net = balanced("q")
    net.ask("p", SERVICE)
    assert counts(net)[1:] == (Amount(), Amount(), Amount(1, 44), Amount())
    net.ask("q", SERVICE)
    assert counts(net)[1:] == (Amount(), Amount(1, 44), Amount(1, 44), Amount()), "a server that asks itself"


def test_a_ping_is_counted_once_and_to_no_endpoint() -> None:
    net = balanced()
    net.ping("p", "10.244.1.1", size=56)
    (one,) = counts(net).opened
    assert (one.endpoint, one.to_local, one.amount) == (None, True, Amount(1, 84))
    assert counts(net).delivered == Amount(1, 84)


def test_a_service_that_changes_is_counted_anew() -> None:
    net = balanced("q")
    net.ask("p", SERVICE)
    listed(net, "r")
    assert [one.current for one in counts(net).opened] == [False]
    net.ask("p", SERVICE)
    opened = counts(net).opened
    assert sorted((one.current, one.amount.packets) for one in opened) == [(False, 1), (True, 1)]
    listed(net, "q")
    net.ask("p", SERVICE)
    opened = counts(net).opened
    assert sorted((one.current, one.amount.packets) for one in opened) == [(False, 2), (True, 1)]
