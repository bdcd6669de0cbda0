"""The longest prefix wins, whatever was put and taken away before: against a table searched line by line."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from netsim.base.cause import Cause, Stage
from netsim.net.fib import Fib, Route
from tests.net.network import Network

CAUSE = Cause(Stage.ROUTE, "test")
ALL = ("eth0", "eth1")
# Few enough addresses that prefixes meet.
NUMBERS = st.builds(lambda high, low: high << 30 | low, st.integers(0, 3), st.integers(0, 7))
METRICS = st.integers(0, 2)


class Step(NamedTuple):
    add: bool
    network: int
    length: int
    metric: int
    device: str


def route(network: int, length: int, metric: int = 0, device: str = "eth0") -> Route:
    return Route(network, length, device, None, False, None, "static", metric, CAUSE)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    length = draw(st.sampled_from([0, 1, 2, 29, 30, 31, 32]))
    network = int(IPv4Network((draw(NUMBERS), length), strict=False).network_address)
    return Step(draw(st.booleans()), network, length, draw(METRICS), draw(st.sampled_from(ALL)))


Table = dict[tuple[int, int, int], Route]


def brute_force(table: Table, destination: int, devices: tuple[str, ...]) -> Route | None:
    fits = [
        r
        for r in table.values()
        if destination >> (32 - r.length) == r.network >> (32 - r.length) and r.device in devices
    ]
    return min(fits, key=lambda r: (-r.length, r.metric), default=None)


@given(st.lists(steps(), max_size=40), st.lists(NUMBERS, min_size=1, max_size=8))
def test_lookup_finds_what_a_search_of_the_whole_table_finds(changes: list[Step], asked: list[int]) -> None:
    fib, table = Fib(), Table()
    for add, network, length, metric, device in changes:
        if add:
            fib.add(route(network, length, metric, device))
            table[network, length, metric] = route(network, length, metric, device)
        else:
            fib.remove(network, length, metric)
            table.pop((network, length, metric), None)
    for destination in asked:
        for devices in (ALL, ("eth1",), ()):
            assert fib.lookup(destination, devices) == brute_force(table, destination, devices)
    assert fib.routes() == sorted(table.values(), key=lambda r: (r.network, r.length, r.metric))


def test_the_version_grows_with_every_change_and_with_no_other_call() -> None:
    fib = Fib()
    fib.add(route(0, 0))
    version = fib.version
    fib.remove(0, 8, 0)
    fib.lookup(1, ALL)
    assert fib.version == version
    fib.remove(0, 0, 0)
    assert fib.version > version and fib.lookup(1, ALL) is None


def test_a_hosts_own_route_wins_over_its_groups_for_the_same_prefix() -> None:
    net = Network()
    net.host("a", node=True)
    net.interface("a/eth0")
    net.interface("a/eth1")
    net.route("@nodes", "10.1.0.0/16", "eth0")
    net.route("a", "10.1.0.0/16", "eth1")
    net.route("@nodes", "10.1.2.0/24", "eth0")
    assert device(net, "10.1.9.9") == "eth1"
    assert device(net, "10.1.2.9") == "eth0"  # longer wins, whosever it is
    net.remove(("route", "a", "10.1.0.0/16", "0"))
    assert device(net, "10.1.9.9") == "eth0"


def test_an_addresses_own_network_wins_over_planned_routes_to_it() -> None:
    net = Network()
    net.host("a", node=True)
    net.interface("a/eth0")
    net.interface("a/eth1")
    net.route("@nodes", "10.1.0.0/24", "eth1")
    net.route("a", "10.1.0.0/24", "eth1")
    net.address("a/eth0", "10.1.0.1/24")
    assert device(net, "10.1.0.9") == "eth0"
    assert [str(route) for route in net.stack("a").routes()] == ["10.1.0.0/24 dev eth0"]


def test_a_groups_route_through_an_interface_that_the_host_lacks_is_not_there() -> None:
    net = Network()
    net.host("a", node=True)
    net.interface("a/eth0")
    net.route("a", "default", "eth0")
    net.route("@nodes", "10.1.0.0/16", "flannel.1")
    assert device(net, "10.1.0.9") == "eth0"
    assert [str(route) for route in net.stack("a").routes()] == ["default dev eth0"]
    net.interface("a/flannel.1")
    assert device(net, "10.1.0.9") == "flannel.1"
    net.remove(("interface", "a", "flannel.1"))
    assert device(net, "10.1.0.9") == "eth0"


def test_the_lowest_metric_wins_until_it_is_taken_away() -> None:
    net = Network()
    net.host("a")
    net.interface("a/eth0")
    net.interface("a/eth1")
    net.route("a", "default", "eth0", metric=100)
    net.route("a", "default", "eth1", metric=50)
    assert device(net, "9.9.9.9") == "eth1"
    net.remove(("route", "a", "0.0.0.0/0", "50"))
    assert device(net, "9.9.9.9") == "eth0"


def test_two_addresses_in_one_network_keep_the_route_until_both_are_gone() -> None:
    net = Network()
    net.host("a")
    net.interface("a/eth0")
    net.address("a/eth0", "10.0.0.1/24", "10.0.0.2/24", "10.0.0.2/32")
    assert source(net, "10.0.0.9") == "10.0.0.1"
    net.remove(("address", "a", "eth0", "10.0.0.1/24"))
    assert source(net, "10.0.0.9") == "10.0.0.2"
    assert not net.stack("a").is_local(packed("10.0.0.1"))
    net.remove(("address", "a", "eth0", "10.0.0.2/24"))
    assert net.stack("a").route(packed("10.0.0.9")) is None
    assert net.stack("a").is_local(packed("10.0.0.2"))
    net.remove(("address", "a", "eth0", "10.0.0.2/32"))
    assert not net.stack("a").is_local(packed("10.0.0.2"))


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def device(net: Network, destination: str) -> str | None:
    found = net.stack("a").route(packed(destination))
    return found[0].device if found is not None else None


def source(net: Network, destination: str) -> str | None:
    found = net.stack("a").source_for(packed(destination))
    return ".".join(map(str, found)) if found is not None else None
