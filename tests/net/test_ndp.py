"""Who has which MAC in IPv6: questions to groups, answers, entries, announcements (RFC 4861, ndisc.c)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from netsim.base.cause import Cause, Stage
from netsim.net.packet import Frame
from netsim.plan.entries import Announcement, HostName, InterfaceKind
from netsim.wire import ethernet, icmp6, ipv6, ndp
from tests.net.network import CAUSE, OWNER, Network, mac_of

A, B, C = "fd00::1", "fd00::2", "fd00::3"


def three_on_a_switch(*, filtered: bool = False) -> Network:
    """``a``, ``b`` and ``c``, fd00::1 to ::3."""
    net = Network()
    net.host("switch", bridge_netfilter=filtered, node=True)
    net.interface("switch/br0", kind=InterfaceKind.BRIDGE)
    for name, address in (("a", A), ("b", B), ("c", C)):
        net.host(name)
        net.interface(f"switch/{name}", master="br0")
        net.wire(f"{name}/eth0", f"switch/{name}")
        net.address(f"{name}/eth0", f"{address}/64")
    return net


def packed(address: str) -> bytes:
    return IPv6Address(address).packed


def say(net: Network, target: str, *, source: str = A, host: str = "a", wait: float = 0.5) -> None:
    """One echo request, and time for its answer."""
    message = icmp6.build_echo(packed(source), packed(target), icmp6.ECHO_REQUEST, 7, 1, b"ping")
    stack = net.stack(host)
    stack.at(net.now)
    stack.send(
        ipv6.build(packed(source), packed(target), ipv6.ICMPV6, message), (Cause(Stage.PROGRAM, "ping"),)
    )
    net.plane.flush(HostName(host))
    net.wait(wait)


def messages(net: Network, port: str, *, outbound: bool | None = None) -> list[tuple[bytes, ndp.Ndp]]:
    """Neighbour discovery that crossed an interface: the destination MAC, and the message."""
    frames = [data for data in net.seen(port, outbound=outbound) if ndp.kind_of_frame(data)]
    return [(data[:6], ndp.parse(ipv6.parse(data[14:]))) for data in frames]


def icmps(net: Network, port: str, *, outbound: bool) -> list[int]:
    """The types of the other ICMPv6 messages."""
    types = [p.payload[0] for p in net.packets6(port, outbound=outbound) if p.protocol == ipv6.ICMPV6]
    return [kind for kind in types if kind not in (ndp.SOLICITATION, ndp.ADVERTISEMENT)]


def state(net: Network, host: str, address: str) -> str:
    views = net.programs(host).neighbours()
    return next((view.state for view in views if view.address == address), "")


def tell(net: Network, message: ndp.Ndp, *, source: str = B, destination: str = A) -> None:
    """Somebody on a's wire says this to ``a``."""
    packet = ndp.build(packed(source), packed(destination), message)
    frame = ethernet.build(mac_of("a/eth0"), mac_of("x"), ethernet.ETHERTYPE_IPV6, packet)
    net.stack("a").receive("eth0", Frame(frame, (), 0), net.now)
    net.plane.flush(HostName("a"))


# --- questions and answers -------------------------------------------------------------------------------


def test_the_first_packet_waits_for_one_question_and_its_answer() -> None:
    net = three_on_a_switch()
    say(net, B)
    group = ndp.solicited_node(packed(B))
    question = ndp.Ndp(ndp.SOLICITATION, packed(B), mac_of("a/eth0"))
    answer = ndp.Ndp(ndp.ADVERTISEMENT, packed(B), mac_of("b/eth0"), solicited=True, override=True)
    assert messages(net, "a/eth0") == [(ndp.group_mac(group), question), (mac_of("a/eth0"), answer)]
    assert icmps(net, "a/eth0", outbound=False) == [icmp6.ECHO_REPLY]
    sent = next(p for p in net.packets6("a/eth0", outbound=True) if p.protocol == ipv6.ICMPV6)
    assert (sent.source, sent.destination, sent.hop_limit) == (packed(A), group, 255)


def test_the_question_reaches_every_port_and_only_its_target_answers() -> None:
    net = three_on_a_switch()
    say(net, B)
    assert [message.type for _, message in messages(net, "c/eth0", outbound=False)] == [ndp.SOLICITATION]
    assert messages(net, "c/eth0", outbound=True) == []


def test_who_was_not_asked_stays_a_row() -> None:
    net = three_on_a_switch()
    say(net, B)
    assert net.plane._rows[HostName("b")].stack is not None
    assert net.plane._rows[HostName("c")].stack is None


def test_whoever_is_asked_knows_who_asked() -> None:
    net = three_on_a_switch()
    say(net, B)
    assert [m.type for _, m in messages(net, "b/eth0", outbound=True)] == [ndp.ADVERTISEMENT]
    assert (state(net, "a", B), state(net, "b", A)) == ("REACHABLE", "DELAY")


def test_an_old_entry_is_checked_by_unicast_and_the_answer_does_not_repeat_the_mac() -> None:
    net = three_on_a_switch()
    say(net, B)
    net.wait(31)
    assert state(net, "a", B) == "STALE"
    with net.forgetting():
        say(net, B)
        assert state(net, "a", B) == "DELAY"
        net.wait(6)
        asked = [(to, m) for to, m in messages(net, "a/eth0", outbound=True) if m.type == ndp.SOLICITATION]
        assert asked == [(mac_of("b/eth0"), ndp.Ndp(ndp.SOLICITATION, packed(B), mac_of("a/eth0")))]
        answers = [m for _, m in messages(net, "a/eth0", outbound=False) if m.type == ndp.ADVERTISEMENT]
        assert answers == [ndp.Ndp(ndp.ADVERTISEMENT, packed(B), solicited=True)]
        assert state(net, "a", B) == "REACHABLE"


def test_nobody_answering_is_address_unreachable_after_three_questions() -> None:
    net = three_on_a_switch()
    say(net, "fd00::9", wait=4)
    asked = [to for to, m in messages(net, "a/eth0", outbound=True) if m.target == packed("fd00::9")]
    assert asked == [ndp.group_mac(ndp.solicited_node(packed("fd00::9")))] * 3
    assert state(net, "a", "fd00::9") == "FAILED"
    error = next(p for p in net.packets6("a/lo") if p.payload[0] == icmp6.UNREACHABLE)
    assert (error.source, error.payload[1]) == (packed(A), icmp6.ADDRESS)
    assert "nobody answered neighbour solicitations for the next hop" in net.reasons()


def test_an_address_of_another_interface_is_not_answered_for() -> None:
    """ipv6_get_ifaddr is strict, where ARP answers for any address of the host."""
    net = three_on_a_switch()
    net.interface("b/eth1")
    net.address("b/eth1", "fd00::99/128")
    say(net, "fd00::99", wait=4)
    assert messages(net, "a/eth0", outbound=False) == []


def test_a_permanent_neighbour_is_never_asked_after() -> None:
    net = three_on_a_switch()
    net.neighbour("a", "eth0", B, mac_of("b/eth0"))
    net.neighbour("b", "eth0", A, mac_of("a/eth0"))
    say(net, B)
    assert icmps(net, "a/eth0", outbound=False) == [icmp6.ECHO_REPLY]
    assert messages(net, "a/eth0") == []


def test_a_router_says_that_it_is_one() -> None:
    net = three_on_a_switch()
    net.change(("host", "b"), forwarding=True)
    say(net, B)
    assert [m.router for _, m in messages(net, "a/eth0", outbound=False)] == [True]


@pytest.mark.parametrize(("source", "asks_as"), [(A, A), ("fd09::1", A)], ids=["its", "another's"])
def test_a_question_bears_the_source_of_the_packet_that_waits_if_it_is_of_the_interface(
    source: str, asks_as: str
) -> None:
    net = three_on_a_switch()
    net.interface("a/eth1")
    net.address("a/eth1", "fd09::1/64")
    say(net, B, source=source)
    sources = [p.source for p in net.packets6("a/eth0", outbound=True) if p.hop_limit == 255]
    assert sources[0] == packed(asks_as)


def test_an_interface_without_an_address_asks_with_another_ones() -> None:
    net = three_on_a_switch()
    net.interface("a/eth1")
    net.route("a", "fd09::/64", "eth1")
    say(net, "fd09::1", wait=4)
    questions = [p for p in net.packets6("a/eth1", outbound=True) if p.payload[0] == ndp.SOLICITATION]
    assert [question.source for question in questions] == [packed(A)] * 3
    net.remove(("address", "a", "eth0", f"{A}/64"))
    with net.forgetting():
        say(net, "fd09::2", source="fd08::1", wait=4)
        assert net.seen("a/eth1") == []


# --- what an advertisement changes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mac", "solicited", "override", "state_then", "mac_then"),
    [
        ("x", True, True, "REACHABLE", "x"),
        ("x", False, True, "STALE", "x"),
        ("x", True, False, "STALE", "b/eth0"),
        ("x", False, False, "STALE", "b/eth0"),
        ("b/eth0", False, True, "REACHABLE", "b/eth0"),
        (None, True, False, "REACHABLE", "b/eth0"),
    ],
)  # fmt: skip
def test_an_advertisement_about_a_reachable_neighbour(
    mac: str | None, solicited: bool, override: bool, state_then: str, mac_then: str
) -> None:
    """RFC 4861 section 7.2.5."""
    net = three_on_a_switch()
    say(net, B)
    told = mac_of(mac) if mac else None
    tell(net, ndp.Ndp(ndp.ADVERTISEMENT, packed(B), told, True, solicited=solicited, override=override))
    (view,) = [view for view in net.programs("a").neighbours() if view.address == B]
    believed = override or mac != "x"
    assert (view.state, view.mac, view.router) == (state_then, mac_of(mac_then), believed)


@pytest.mark.parametrize("override", [False, True])
def test_one_that_may_not_override_changes_nothing_of_a_stale_entry(override: bool) -> None:
    net = three_on_a_switch()
    say(net, B)
    net.wait(31)
    assert state(net, "a", B) == "STALE"
    tell(net, ndp.Ndp(ndp.ADVERTISEMENT, packed(B), mac_of("x"), True, solicited=True, override=override))
    (view,) = [view for view in net.programs("a").neighbours() if view.address == B]
    expected = ("REACHABLE", mac_of("x")) if override else ("STALE", mac_of("b/eth0"))
    assert (view.state, view.mac, view.router) == (*expected, override)


def test_an_advertisement_makes_no_entry() -> None:
    net = three_on_a_switch()
    tell(net, ndp.Ndp(ndp.ADVERTISEMENT, packed(B), mac_of("x"), solicited=True, override=True))
    assert net.programs("a").neighbours() == ()


def test_one_without_a_mac_answers_no_open_question() -> None:
    net = three_on_a_switch()
    say(net, "fd00::9", wait=0.1)
    tell(net, ndp.Ndp(ndp.ADVERTISEMENT, packed("fd00::9"), solicited=True), source="fd00::9")
    assert state(net, "a", "fd00::9") == "INCOMPLETE"
    tell(net, ndp.Ndp(ndp.ADVERTISEMENT, packed("fd00::9"), mac_of("x"), solicited=True), source="fd00::9")
    assert state(net, "a", "fd00::9") == "REACHABLE"
    assert icmps(net, "a/eth0", outbound=True) == [icmp6.ECHO_REQUEST]


def test_who_wants_an_address_hears_that_it_is_taken() -> None:
    """RFC 4862 section 5.4.3, RFC 4861 section 7.2.4."""
    net = three_on_a_switch()
    tell(net, ndp.Ndp(ndp.SOLICITATION, packed(A)), source="::", destination="ff02::1:ff00:1")
    told = ndp.Ndp(ndp.ADVERTISEMENT, packed(A), mac_of("a/eth0"), override=True)
    assert messages(net, "a/eth0") == [(ndp.ALL_NODES_MAC, told)]
    with net.forgetting():
        tell(net, ndp.Ndp(ndp.SOLICITATION, packed(C)), source="::", destination="ff02::1:ff00:3")
        assert messages(net, "a/eth0") == []
    assert net.programs("a").neighbours() == ()


def test_damage_is_ignored() -> None:
    net = three_on_a_switch()
    net.stack("a")
    for packet in (b"", ndp.build(packed(B), packed(A), ndp.Ndp(ndp.SOLICITATION, packed(A), mac_of("x")))):
        frame = mac_of("a/eth0") + mac_of("x") + b"\x86\xdd" + packet[:7] + b"\x40" + packet[8:]
        net.stack("a").receive("eth0", Frame(frame, (), 0), 0.0)
    net.plane.flush(HostName("a"))
    assert net.programs("a").neighbours() == () and messages(net, "a/eth0", outbound=True) == []


# --- announcing ------------------------------------------------------------------------------------------

ANNOUNCED = "fd00::100"


def test_an_announcer_tells_all_nodes_and_answers_without_overriding() -> None:
    """MetalLB internal/layer2/ndp.go."""
    net = three_on_a_switch()
    net.put(Announcement(HostName("b"), "eth0", IPv6Address(ANNOUNCED), OWNER, CAUSE))
    net.wait(0.1)
    to, unasked = messages(net, "c/eth0", outbound=False)[0]
    assert (to, unasked) == (
        ndp.ALL_NODES_MAC,
        ndp.Ndp(ndp.ADVERTISEMENT, packed(ANNOUNCED), mac_of("b/eth0"), override=True),
    )
    with net.forgetting():
        say(net, ANNOUNCED)
        answers = [m for _, m in messages(net, "a/eth0", outbound=False) if m.type == ndp.ADVERTISEMENT]
    assert answers == [ndp.Ndp(ndp.ADVERTISEMENT, packed(ANNOUNCED), mac_of("b/eth0"), solicited=True)]
    assert state(net, "b", A) == "", "the kernel's table is not the announcer's"


def test_an_announcement_moves_the_address() -> None:
    net = three_on_a_switch()
    net.put(Announcement(HostName("b"), "eth0", IPv6Address(ANNOUNCED), OWNER, CAUSE))
    say(net, ANNOUNCED)
    net.put(Announcement(HostName("c"), "eth0", IPv6Address(ANNOUNCED), OWNER, CAUSE))
    net.wait(0.1)
    (view,) = [view for view in net.programs("a").neighbours() if view.address == ANNOUNCED]
    assert (view.state, view.mac) == ("STALE", mac_of("c/eth0"))


# --- netfilter on a bridge -------------------------------------------------------------------------------


def test_a_bridge_that_filters_tracks_packets_but_no_neighbour_discovery() -> None:
    """nf_conntrack_proto_icmpv6.c marks it untracked."""
    net = three_on_a_switch(filtered=True)
    net.service("[fd00:96::1]:80", [], on="switch")
    say(net, B)
    assert icmps(net, "a/eth0", outbound=False) == [icmp6.ECHO_REPLY]
    flows = list(net.stack("switch").netfilter.conntrack)
    assert [(flow.original.protocol, flow.original.source) for flow in flows] == [(ipv6.ICMPV6, packed(A))]
    assert net.stack("switch").netfilter.conntrack.statistics.invalid == 0
