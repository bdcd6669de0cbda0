"""In which order a dual-stack client gets the addresses of a name: each library by its own policy."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address

import pytest

from netsim.resolver.order import Client, ordered, ordered_by_cares, ordered_by_go, ordered_by_musl

POD = Client((IPv4Interface("10.244.1.5/24"),), ipv6=True, addresses6=(IPv6Interface("fd00:10:244:1::5/64"),))
GLOBAL = Client((IPv4Interface("192.0.2.5/24"),), ipv6=True, addresses6=(IPv6Interface("2001:db8:1::5/64"),))
SINGLE = Client((IPv4Interface("10.244.1.5/24"),))
ORDERS = {"glibc": ordered, "musl": ordered_by_musl, "go": ordered_by_go, "c-ares": ordered_by_cares}

V4, ULA, PUBLIC = "10.96.0.50", "fd00:10:96::50", "2001:db8:2::80"


def in_order(library: str, client: Client, *texts: str) -> list[str]:
    found = ORDERS[library](map(ip_address, texts), client)
    return [str(address) for address in found]


@pytest.mark.parametrize(
    ("library", "first"), [("glibc", ULA), ("musl", V4), ("go", V4), ("c-ares", V4)], ids=list(ORDERS)
)
def test_a_unique_local_address_comes_before_ipv4_in_glibc_alone(library: str, first: str) -> None:
    assert in_order(library, POD, V4, ULA)[0] == in_order(library, POD, ULA, V4)[0] == first


@pytest.mark.parametrize("library", ORDERS)
def test_a_global_address_comes_before_ipv4(library: str) -> None:
    assert in_order(library, GLOBAL, "203.0.113.80", PUBLIC) == [PUBLIC, "203.0.113.80"]


@pytest.mark.parametrize("library", ORDERS)
def test_what_the_client_has_no_address_for_comes_last(library: str) -> None:
    assert in_order(library, SINGLE, ULA, V4) == [V4, ULA]
    assert in_order(library, SINGLE, PUBLIC, V4) == [V4, PUBLIC]


@pytest.mark.parametrize("library", ORDERS)
def test_a_label_that_the_source_has_not_puts_an_address_behind_ipv4(library: str) -> None:
    """Rule 5: from a unique local address to the internet."""
    assert in_order(library, POD, PUBLIC, "203.0.113.80") == ["203.0.113.80", PUBLIC]


@pytest.mark.parametrize("library", ORDERS)
def test_of_two_ipv6_addresses_the_nearer_one_is_first(library: str) -> None:
    """Rule 9, for the Pods of a headless Service."""
    far, near = "fd00:10:244:9::7", "fd00:10:244:1::7"
    assert in_order(library, POD, far, near) == [near, far]


def test_go_does_not_look_into_the_host_part() -> None:
    close, first = "fd00:10:244:1::4", "fd00:10:244:1:ffff::9"
    assert in_order("go", POD, first, close) == [first, close]
    assert in_order("glibc", POD, first, close) == [close, first]


@pytest.mark.parametrize("library", ORDERS)
def test_the_loopback_address_is_first(library: str) -> None:
    assert in_order(library, SINGLE, "127.0.0.1", "::1") == ["::1", "127.0.0.1"]


@pytest.mark.parametrize("library", ORDERS)
def test_equals_keep_the_server_s_order(library: str) -> None:
    for given in (["10.96.0.1", "10.96.0.2"], ["10.96.0.2", "10.96.0.1"]):
        assert in_order(library, POD, *given) == given
