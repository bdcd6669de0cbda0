"""Who has which MAC: questions, answers, queues, and how entries age (Linux neighbour.c)."""

from __future__ import annotations

import pytest

from netsim.net.neighbour import QUEUE_LIMIT, State
from netsim.net.packet import Frame
from netsim.plan.entries import HostName
from netsim.programs.host import Endpoint
from netsim.wire import arp, ethernet, icmp, ipv4
from tests.net.network import Network, endpoint, mac_of, through_a_router, two_hosts
from tests.net.test_ip import errors


def questions(net: Network, port: str) -> list[tuple[bool, str]]:
    """The ARP questions that left an interface: by broadcast?, for whom."""
    found = []
    for data in net.seen(port, outbound=True):
        frame = ethernet.parse(data)
        if frame.ethertype == ethernet.ETHERTYPE_ARP:
            message = arp.parse(frame.payload)
            if message.operation == arp.REQUEST:
                found.append((frame.destination == b"\xff" * 6, ".".join(map(str, message.target_ip))))
    return found


def askers(net: Network, port: str) -> set[str]:
    frames = [ethernet.parse(data) for data in net.seen(port, outbound=True)]
    messages = [arp.parse(frame.payload) for frame in frames if frame.ethertype == ethernet.ETHERTYPE_ARP]
    return {".".join(map(str, message.sender_ip)) for message in messages}


def state(net: Network, host: str, address: str) -> str:
    views = net.programs(host).neighbours()
    return next((view.state for view in views if view.address == address), "")


def claim(net: Network, port: str, address: str, mac: str, *, reply_to: str = "") -> None:
    """Somebody on the wire at ``port`` says that the address is at the MAC named ``mac``."""
    host, _, device = port.rpartition("/")
    packed = bytes(map(int, address.split(".")))
    if reply_to:
        asker = bytes(map(int, reply_to.split(".")))
        message = arp.Arp(arp.REPLY, mac_of(mac), packed, mac_of(port), asker)
    else:
        message = arp.Arp(arp.REQUEST, mac_of(mac), packed, bytes(6), packed)
    frame = ethernet.build(b"\xff" * 6, mac_of(mac), ethernet.ETHERTYPE_ARP, arp.build(message))
    net.plane._arrive(HostName(host), device, Frame(frame, (), 0))


def test_one_question_serves_all_packets_that_wait() -> None:
    net = two_hosts()

    async def flood() -> int:
        host = net.programs("a")
        socket = await host.udp(5000)
        for number in range(10):
            await socket.send(bytes([number]), Endpoint(*endpoint("10.0.0.2:53")))
        await host.sleep(1)
        return 0

    net.run(flood())
    assert questions(net, "a/eth0") == [(True, "10.0.0.2")]
    arrived = [p.payload[8] for p in net.packets("b/eth0", outbound=False) if p.protocol == ipv4.UDP]
    assert arrived == list(range(10))


def test_the_queue_keeps_the_newest_packets() -> None:
    net = two_hosts()

    async def flood() -> None:
        socket = await net.programs("a").udp(5000)
        for number in range(QUEUE_LIMIT + 5):
            await socket.send(bytes([number]), Endpoint(*endpoint("10.0.0.2:53")))

    net.run(flood())
    net.wait(1)
    arrived = [p.payload[8] for p in net.packets("b/eth0", outbound=False) if p.protocol == ipv4.UDP]
    assert arrived == list(range(5, QUEUE_LIMIT + 5))


def test_nobody_answering_is_host_unreachable_after_three_questions() -> None:
    net = two_hosts()
    assert net.ask("a", "10.0.0.9:80") == "No route to host"
    assert net.now == pytest.approx(3.0)
    assert questions(net, "a/eth0") == [(True, "10.0.0.9")] * 3
    assert state(net, "a", "10.0.0.9") == "FAILED"
    assert net.ping("a", "10.0.0.9") == "host-unreachable from 10.0.0.1"
    assert questions(net, "a/eth0") == [(True, "10.0.0.9")] * 6  # a failed entry is asked after anew


def test_a_router_tells_that_nobody_answers() -> None:
    net = through_a_router()
    assert net.ping("a", "10.0.1.99") == "host-unreachable from 10.0.0.254"
    assert net.ask("a", "10.0.1.99:80") == "No route to host"
    assert (icmp.UNREACHABLE, icmp.HOST, "10.0.0.254", "10.0.0.1") in errors(net, "router/eth0")


def test_whoever_is_asked_knows_who_asked() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    assert questions(net, "b/eth0") == []
    assert (state(net, "a", "10.0.0.2"), state(net, "b", "10.0.0.1")) == ("REACHABLE", "DELAY")


def test_an_entry_is_used_for_thirty_seconds_and_checked_by_unicast_when_it_is_old() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    net.wait(31)
    assert state(net, "a", "10.0.0.2") == "STALE"
    with net.forgetting():
        net.ping("a", "10.0.0.2")
        assert state(net, "a", "10.0.0.2") == "DELAY" and questions(net, "a/eth0") == []
        net.wait(5.5)
        assert questions(net, "a/eth0") == [(False, "10.0.0.2")]
        assert state(net, "a", "10.0.0.2") == "REACHABLE"


def test_an_old_entry_that_nobody_confirms_fails_after_three_probes() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    net.wait(31)
    net.remove(("link", "a/eth0", "b/eth0"))
    with net.forgetting():
        assert net.ping("a", "10.0.0.2") == "timeout"
        net.wait(4)
        assert questions(net, "a/eth0") == [(False, "10.0.0.2")] * 3
        assert state(net, "a", "10.0.0.2") == "FAILED"


def test_a_permanent_neighbour_is_never_asked_after() -> None:
    net = two_hosts()
    net.neighbour("a", "eth0", "10.0.0.2", mac_of("b/eth0"))
    net.neighbour("b", "eth0", "10.0.0.1", mac_of("a/eth0"))
    assert net.ping("a", "10.0.0.2") == "reply from 10.0.0.2"
    assert questions(net, "a/eth0") == [] == questions(net, "b/eth0")
    assert state(net, "a", "10.0.0.2") == "PERMANENT"


def test_a_question_from_a_known_neighbour_does_not_make_it_stale() -> None:
    """neigh_update: the same MAC, told less surely, changes nothing."""
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    claim(net, "a/eth0", "10.0.0.2", "b/eth0")
    assert state(net, "a", "10.0.0.2") == "REACHABLE"


def test_an_announcement_moves_a_known_neighbour_and_makes_no_new_one() -> None:
    """Gratuitous ARP, RFC 5944 section 4.6; arp_accept = 0."""
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    claim(net, "a/eth0", "10.0.0.2", "elsewhere")
    claim(net, "a/eth0", "10.0.0.3", "elsewhere")
    views = {view.address: view for view in net.programs("a").neighbours()}
    assert views["10.0.0.2"].mac == mac_of("elsewhere") and views["10.0.0.2"].state == "STALE"
    assert "10.0.0.3" not in views


def test_an_answer_that_nobody_asked_for_makes_no_entry() -> None:
    net = two_hosts()
    claim(net, "a/eth0", "10.0.0.3", "elsewhere", reply_to="10.0.0.1")
    assert state(net, "a", "10.0.0.3") == ""


def test_only_the_owner_of_an_address_answers() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.9")
    assert net.seen("b/eth0", outbound=True) == []


def test_entries_go_with_their_interface() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    net.ask("a", "10.0.0.9:80", timeout=0.5)  # leaves a question open
    net.remove(("address", "a", "eth0", "10.0.0.1/24"), ("interface", "a", "eth0"))
    assert net.programs("a").neighbours() == ()
    net.wait(10)


def test_a_question_bears_the_source_of_the_packet_that_waits_if_it_is_ours() -> None:
    """arp_solicit with arp_announce = 0."""
    net = through_a_router()
    net.interface("router/eth2")
    net.address("router/eth2", "10.8.0.1/24")
    net.route("router", "10.9.0.0/16", "eth2")
    net.interface("a/eth1")
    net.route("a", "10.8.0.0/16", "eth1")
    assert net.ping("a", "10.8.0.1") == "host-unreachable from 10.0.0.1"
    assert net.ping("a", "10.9.0.1") == "host-unreachable from 10.0.0.254"
    assert askers(net, "a/eth1") == {"10.0.0.1"}  # eth1 has no address of its own
    assert askers(net, "router/eth2") == {"10.8.0.1"}  # the packet's source is not the router's


def test_without_any_address_nobody_is_asked() -> None:
    net = through_a_router()
    net.interface("router/eth2")
    net.route("router", "10.9.0.0/16", "eth2")
    assert net.ping("a", "10.9.0.1") == "host-unreachable from 10.0.0.254"
    assert net.seen("router/eth2") == []


def test_damaged_arp_is_ignored() -> None:
    net = two_hosts()
    for payload in (b"", b"\x00" * 28):
        frame = ethernet.build(b"\xff" * 6, mac_of("x"), ethernet.ETHERTYPE_ARP, payload)
        net.stack("a").receive("eth0", Frame(frame, (), 0), 0.0)
    net.stack("a").receive("eth9", Frame(b"", (), 0), 0.0)
    assert net.plane._rows[HostName("a")].stack is not None and net.programs("a").neighbours() == ()


def test_the_states_are_those_of_ip_neigh() -> None:
    assert {state.value for state in State} == {
        "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED",
    }  # fmt: skip


def test_an_entry_learnt_while_it_was_asked_for_is_checked_in_its_own_time() -> None:
    net = two_hosts()
    net.remove(("link", "a/eth0", "b/eth0"))

    async def send() -> None:
        socket = await net.programs("a").udp(5000)
        await socket.send(b"x", Endpoint(*endpoint("10.0.0.2:53")))
        await net.programs("a").sleep(0.5)
        claim(net, "a/eth0", "10.0.0.2", "b/eth0")
        await socket.send(b"x", Endpoint(*endpoint("10.0.0.2:53")))

    net.run(send())
    with net.forgetting():
        net.wait(4.9)
        assert questions(net, "a/eth0") == []
        net.wait(0.2)
        assert questions(net, "a/eth0") == [(False, "10.0.0.2")]
