"""Addresses for which a host answers ARP without having them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netsim.base.address import BROADCAST
from netsim.base.errors import PlanError
from netsim.plan.entries import Announcement, HostName, InterfaceKind
from netsim.wire import arp, ethernet
from tests.net.network import CAUSE, OWNER, Network, mac_of

ADDRESS = "10.0.0.100"


def three_on_a_wire() -> Network:
    """``a`` 10.0.0.1, ``b`` 10.0.0.2 and ``c`` 10.0.0.3 on one switch."""
    net = Network()
    net.host("switch")
    net.interface("switch/br0", kind=InterfaceKind.BRIDGE)
    for number, name in enumerate("abc", 1):
        net.host(name, forwarding=True)
        net.interface(f"switch/{name}", master="br0")
        net.wire(f"{name}/eth0", f"switch/{name}")
        net.address(f"{name}/eth0", f"10.0.0.{number}/24")
    return net


def announce(net: Network, host: str, address: str = ADDRESS) -> None:
    net.put(Announcement(HostName(host), "eth0", IPv4Address(address), OWNER, CAUSE))


def arps(net: Network, port: str, *, outbound: bool) -> list[arp.Arp]:
    frames = [ethernet.parse(data) for data in net.seen(port, outbound=outbound)]
    return [arp.parse(frame.payload) for frame in frames if frame.ethertype == ethernet.ETHERTYPE_ARP]


def test_a_host_answers_for_what_it_announces() -> None:
    net = three_on_a_wire()
    announce(net, "b")
    net.wait(1)
    with net.forgetting():
        net.ping("a", ADDRESS)
    (answer,) = [one for one in arps(net, "a/eth0", outbound=False) if one.operation == arp.REPLY]
    assert (answer.sender_ip, answer.sender_mac) == (IPv4Address(ADDRESS).packed, mac_of("b/eth0"))
    assert net.packets("b/eth0", outbound=False), "the packet comes to who answered"


def test_the_address_is_none_of_the_hosts_own() -> None:
    net = three_on_a_wire()
    announce(net, "b")
    assert not net.stack("b").is_local(IPv4Address(ADDRESS).packed)
    assert net.ping("a", ADDRESS) != f"reply from {ADDRESS}"


def test_who_asks_is_not_noted_by_the_announcer() -> None:
    """An announcer in user space answers, and the kernel's table stays as it was: later b must ask for a."""
    net = three_on_a_wire()
    announce(net, "b")
    net.ping("a", ADDRESS)
    asked = [one.target_ip[3] for one in arps(net, "b/eth0", outbound=True) if one.sender_ip[3] == 2]
    assert asked == [100, 100, 100, 1]


def test_it_begins_with_a_request_and_a_reply_to_everybody() -> None:
    net = three_on_a_wire()
    announce(net, "b")
    net.wait(1)
    told = arps(net, "c/eth0", outbound=False)
    packed = IPv4Address(ADDRESS).packed
    assert [(one.operation, one.sender_ip, one.target_ip) for one in told] == [
        (arp.REQUEST, packed, packed),
        (arp.REPLY, packed, packed),
    ]
    assert {one.sender_mac for one in told} == {mac_of("b/eth0")}
    assert all(data[:6] == BROADCAST for data in net.seen("c/eth0", outbound=False))


def test_whoever_knew_the_old_place_believes_the_new_one() -> None:
    net = three_on_a_wire()
    announce(net, "b")
    net.ping("a", ADDRESS)
    net.remove(("announcement", "b", "eth0", ADDRESS))
    announce(net, "c")
    net.wait(1)
    with net.forgetting():
        net.ping("a", ADDRESS)
    assert net.packets("c/eth0", outbound=False)
    assert not net.packets("b/eth0", outbound=False)


def test_after_it_is_taken_away_nobody_answers() -> None:
    net = three_on_a_wire()
    announce(net, "b")
    net.remove(("announcement", "b", "eth0", ADDRESS))
    net.wait(1)
    assert net.ping("a", ADDRESS) == "host-unreachable from 10.0.0.1"


def test_an_unchanged_announcement_is_not_repeated() -> None:
    net = three_on_a_wire()
    announce(net, "b")
    net.wait(1)
    with net.forgetting():
        announce(net, "b")
        net.wait(1)
    assert net.seen("c/eth0") == []


def test_it_needs_an_interface() -> None:
    net = three_on_a_wire()
    with pytest.raises(PlanError, match="the host has no interface eth9"):
        net.put(Announcement(HostName("b"), "eth9", IPv4Address(ADDRESS), OWNER, CAUSE))
