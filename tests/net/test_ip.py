"""IP on a host: forwarding, TTL, ICMP errors and whose address they bear, MTU, local delivery."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address

import pytest

from netsim.net.family import IPV4
from netsim.net.packet import Frame
from netsim.plan.entries import Action, Hook, HostName, Match
from netsim.programs.host import Endpoint
from netsim.programs.host import Host as ProgramHost
from netsim.wire import ethernet, icmp, ipv4, tcp, udp
from tests.net.network import Network, mac_of, through_a_router, two_hosts

A, B, FAR = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02", b"\x0a\x00\x01\x01"


def inject(net: Network, port: str, packet: bytes, *, to: str | None = None) -> None:
    """A frame arrives at an interface, addressed to it unless said otherwise."""
    host, _, device = port.rpartition("/")
    frame = ethernet.build(mac_of(to or port), mac_of("outside"), ethernet.ETHERTYPE_IPV4, packet)
    net.plane._arrive(HostName(host), device, Frame(frame, (), 0))
    net.wait(0.1)


def errors(net: Network, port: str, *, outbound: bool = True) -> list[tuple[int, int, str, str]]:
    """The ICMP errors at an interface: type, code, from, to."""
    found = []
    for packet in net.packets(port, outbound=outbound):
        if packet.protocol == ipv4.ICMP:
            message = icmp.parse(packet.payload)
            if message.type not in (icmp.ECHO_REQUEST, icmp.ECHO_REPLY):
                ends = str(IPv4Address(packet.source)), str(IPv4Address(packet.destination))
                found.append((message.type, message.code, *ends))
    return found


# --- neighbours on one wire ------------------------------------------------------------------------------


def test_two_hosts_on_a_wire_talk() -> None:
    net = two_hosts()
    net.serve("b", 80)
    net.serve("b", 53, protocol=ipv4.UDP)
    assert net.ask("a", "10.0.0.2:80").startswith("b sees 10.0.0.1:")
    assert net.ask_udp("a", "10.0.0.2:53", port=5000) == "b sees 10.0.0.1:5000 asking who"
    assert net.ping("a", "10.0.0.2") == "reply from 10.0.0.2"


def test_a_host_talks_to_itself_over_lo() -> None:
    net = two_hosts()
    net.serve("a", 80)
    for target in ("10.0.0.1", "127.0.0.1", "127.9.9.9"):
        assert net.ask("a", f"{target}:80").startswith(f"a sees {target}:")
        assert net.ping("a", target, size=10_000) == f"reply from {target}"
    assert net.seen("a/lo") and not net.seen("a/eth0")


def test_a_frame_for_another_mac_is_not_looked_at() -> None:
    net = two_hosts()
    packet = ipv4.build(A, B, ipv4.UDP, udp.build(A, B, 1, 2, b""))
    inject(net, "b/eth0", packet, to="somebody")
    assert net.stack("b").sockets.woken == [] and errors(net, "b/eth0") == []


@pytest.mark.parametrize(
    ("source", "destination"), [(B, B), (b"\x7f\x00\x00\x01", B), (A, b"\x7f\x00\x00\x01")]
)
def test_a_packet_with_an_address_that_only_the_host_itself_has_is_dropped(
    source: bytes, destination: bytes
) -> None:
    """A martian (Linux fib_validate_source)."""
    net = two_hosts()
    packet = ipv4.build(source, destination, ipv4.UDP, udp.build(source, destination, 1, 2, b""))
    inject(net, "b/eth0", packet)
    assert net.seen("b/eth0", outbound=True) == [] and net.seen("b/lo") == []


def test_damaged_packets_are_dropped_without_a_word() -> None:
    net = two_hosts()
    good = ipv4.build(A, B, ipv4.UDP, udp.build(A, B, 1, 2, b"payload"))
    for damaged in (
        good[:10],
        b"\x00" * 20,
        good[:10] + bytes([good[10] ^ 1]) + good[11:],  # the header's checksum
        good[:-1] + b"!",  # the datagram's
        good[:-3],  # cut short
    ):
        inject(net, "b/eth0", damaged)
    assert net.seen("b/eth0", outbound=True) == []
    inject(net, "b/eth0", good + b"\x00\x00")  # Ethernet's padding does no harm
    assert [error[:2] for error in errors(net, "b/eth0")] == [(icmp.UNREACHABLE, icmp.PORT)]


def test_an_unknown_protocol_is_answered_with_protocol_unreachable() -> None:
    net = two_hosts()
    net.ping("a", "10.0.0.2")
    inject(net, "b/eth0", ipv4.build(A, B, 132, b"SCTP-ish"))
    assert errors(net, "b/eth0") == [(icmp.UNREACHABLE, icmp.PROTOCOL, "10.0.0.2", "10.0.0.1")]


# --- forwarding ------------------------------------------------------------------------------------------


def test_a_router_forwards_and_counts_the_hop() -> None:
    net = through_a_router()
    net.serve("b", 80)
    assert net.ask("a", "10.0.1.1:80").startswith("b sees 10.0.0.1:")
    assert {packet.ttl for packet in net.packets("b/eth0", outbound=False)} == {63}


def test_a_router_does_not_carry_padding_on() -> None:
    net = through_a_router()
    net.ping("a", "10.0.1.1")
    with net.forgetting():
        packet = ipv4.build(A, FAR, ipv4.UDP, udp.build(A, FAR, 1, 2, b"x"))
        inject(net, "router/eth0", packet + bytes(17))
        (forwarded,) = net.seen("router/eth1", outbound=True)
        assert len(forwarded) == 14 + len(packet)


def test_a_host_that_does_not_forward_drops() -> None:
    net = through_a_router()
    net.change(("host", "router"), forwarding=False)
    assert net.ping("a", "10.0.1.1") == "timeout"
    assert net.ping("a", "10.0.1.254") == "reply from 10.0.1.254"


def test_a_ttl_that_runs_out_is_told_by_the_router_with_its_near_address() -> None:
    net = through_a_router()
    assert net.ping("a", "10.0.1.1", ttl=1) == "ttl-exceeded from 10.0.0.254"
    assert net.ping("a", "10.0.1.1", ttl=2) == "reply from 10.0.1.1"


def test_a_connection_whose_ttl_runs_out_fails() -> None:
    """Linux tcp_v4_err: ICMP_TIME_EXCEEDED is EHOSTUNREACH for who is still connecting."""
    net = through_a_router()
    net.host("loop", forwarding=True)
    net.wire("router/eth2", "loop/eth0")
    net.address("router/eth2", "10.0.2.1/24")
    net.address("loop/eth0", "10.0.2.2/24")
    net.route("router", "10.9.0.0/16", "eth2", "10.0.2.2")
    net.route("loop", "default", "eth0", "10.0.2.1")
    assert net.ask("a", "10.9.0.1:80") == "No route to host"


def test_no_route_is_network_unreachable_even_on_the_last_hop() -> None:
    net = through_a_router()
    for ttl in (64, 1):
        assert net.ping("a", "10.7.7.7", ttl=ttl) == "net-unreachable from 10.0.0.254"
    assert net.ask("a", "10.7.7.7:80") == "Network is unreachable"


def test_without_any_route_the_call_fails_at_once() -> None:
    net = two_hosts()
    for outcome in (net.ask("a", "10.7.7.7:80"), net.ask_udp("a", "10.7.7.7:53"), net.ping("a", "10.7.7.7")):
        assert outcome == "Network is unreachable"
    assert net.now == 0.0


def test_errors_about_errors_are_not_sent() -> None:
    net = through_a_router()
    net.ping("a", "10.0.1.1")
    quote = ipv4.build(FAR, A, ipv4.UDP, bytes(8))
    error = icmp.build_error(icmp.UNREACHABLE, icmp.PORT, quote)
    for ttl, target in ((1, FAR), (64, b"\x0a\x07\x07\x07")):
        inject(net, "router/eth0", ipv4.build(A, target, ipv4.ICMP, error, ttl=ttl))
    assert errors(net, "router/eth0") == []
    inject(net, "router/eth0", ipv4.build(A, FAR, ipv4.ICMP, b"", ttl=1))  # no type to look at
    inject(net, "router/eth0", ipv4.build(A, FAR, ipv4.UDP, bytes(8), ttl=1))
    assert [error[:2] for error in errors(net, "router/eth0")] == [(icmp.TIME_EXCEEDED, 0)] * 2


def test_an_error_is_sent_about_the_first_fragment_only() -> None:
    """RFC 1122 section 3.2.2."""
    net = through_a_router()
    net.change(("host", "router"), forwarding=True)
    net.ping("a", "10.0.1.1")
    first, *later = ipv4.fragment(ipv4.build(A, FAR, ipv4.UDP, bytes(3000), ttl=1, dont_fragment=False), 1500)
    for piece in later:
        inject(net, "router/eth0", piece)
    assert errors(net, "router/eth0") == []
    inject(net, "router/eth0", first)
    assert len(errors(net, "router/eth0")) == 1


def test_a_quote_holds_the_packet_as_it_came() -> None:
    net = through_a_router()
    net.ping("a", "10.0.1.1", ttl=1)
    (sent,) = [p for p in net.packets("a/eth0", outbound=True) if p.protocol == ipv4.ICMP]
    (error,) = [p for p in net.packets("a/eth0", outbound=False) if p.protocol == ipv4.ICMP]
    quoted = ipv4.parse(icmp.parse(error.payload).payload)
    assert quoted == sent and quoted.ttl == 1


# --- refusals --------------------------------------------------------------------------------------------


def test_nobody_listening_is_refused() -> None:
    net = two_hosts()
    assert net.ask("a", "10.0.0.2:80") == "refused"
    assert net.ask_udp("a", "10.0.0.2:53") == "refused"
    assert errors(net, "b/eth0") == [(icmp.UNREACHABLE, icmp.PORT, "10.0.0.2", "10.0.0.1")]


def test_a_refusal_bears_the_address_that_was_asked() -> None:
    net = two_hosts()
    net.address("b/eth0", "10.0.0.3/24")
    assert net.ask_udp("a", "10.0.0.3:53") == "refused"
    assert errors(net, "b/eth0") == [(icmp.UNREACHABLE, icmp.PORT, "10.0.0.3", "10.0.0.1")]


def test_an_unconnected_udp_socket_hears_of_no_refusal() -> None:
    net = two_hosts()

    async def ask() -> bytes:
        socket = await net.programs("a").udp()
        await socket.send(b"who", Endpoint(IPv4Address("10.0.0.2"), 53))
        return (await socket.recv(timeout=3)).data

    with pytest.raises(TimeoutError):
        net.run(ask())
    assert len(errors(net, "a/eth0", outbound=False)) == 1


def test_a_connected_udp_socket_hears_of_a_refusal_when_it_sends_again() -> None:
    net = two_hosts()

    async def ask() -> None:
        host = net.programs("a")
        socket = await host.udp(remote=Endpoint(IPv4Address("10.0.0.2"), 53))
        await socket.send(b"who")
        await host.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            await socket.send(b"who")
        await socket.send(b"who")  # the error was told once
        await host.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            await socket.recv(timeout=1)

    net.run(ask())


def test_a_router_that_rejects_is_heard_by_who_asked() -> None:
    net = through_a_router()
    net.serve("b", 80)
    net.rule("router", Hook.FORWARD, Action.REJECT)
    assert net.ask("a", "10.0.1.1:80") == "refused"
    assert net.ask_udp("a", "10.0.1.1:53") == "refused"
    assert net.ping("a", "10.0.1.1") == "port-unreachable from 10.0.0.254"
    assert net.seen("b/eth0") == []


def test_a_router_that_drops_is_not_heard() -> None:
    net = through_a_router()
    net.serve("b", 80)
    net.rule("router", Hook.FORWARD, Action.DROP)
    assert net.ask("a", "10.0.1.1:80", timeout=5) == "timeout"


def test_a_host_that_rejects_its_own_packets_hears_it_itself() -> None:
    net = two_hosts()
    net.serve("b", 80)
    net.rule("a", Hook.OUTPUT, Action.REJECT, Match(protocol=ipv4.TCP))
    assert net.ask("a", "10.0.0.2:80") == "refused"
    assert net.seen("a/eth0") == []


def test_input_rules_stand_before_the_sockets() -> None:
    net = two_hosts()
    net.serve("b", 80)
    net.rule("b", Hook.INPUT, Action.REJECT)
    assert net.ask("a", "10.0.0.2:80") == "refused"
    net.change(("rule", "b", "INPUT", "rule"), action=Action.DROP)
    assert net.ask("a", "10.0.0.2:80", timeout=3) == "timeout"
    net.change(("rule", "b", "INPUT", "rule"), action=Action.ACCEPT)
    assert net.ask("a", "10.0.0.2:80").startswith("b sees")


# --- MTU -------------------------------------------------------------------------------------------------


def test_a_packet_that_must_not_be_cut_brings_fragmentation_needed() -> None:
    net = through_a_router(far_mtu=1400)
    assert net.ping("a", "10.0.1.1", size=1372, df=True) == "reply from 10.0.1.1"
    assert net.ping("a", "10.0.1.1", size=1373, df=True) == "fragmentation-needed from 10.0.0.254"
    (error,) = [p for p in net.packets("a/eth0", outbound=False) if p.source == b"\x0a\x00\x00\xfe"]
    assert icmp.parse(error.payload).mtu == 1400


def test_what_was_learnt_of_a_path_holds_for_ten_minutes() -> None:
    net = through_a_router(far_mtu=1400)
    net.ping("a", "10.0.1.1", size=1400, df=True)
    with net.forgetting():
        assert net.ping("a", "10.0.1.1", size=1400, df=True) == "fragmentation-needed from 10.0.0.1"
        assert net.seen("a/eth0") == []
    net.wait(600)
    assert net.ping("a", "10.0.1.1", size=1400, df=True) == "fragmentation-needed from 10.0.0.254"


def test_a_packet_too_large_for_the_own_interface_fails_at_home() -> None:
    net = two_hosts()
    assert net.ping("a", "10.0.0.2", size=1473, df=True) == "fragmentation-needed from 10.0.0.1"
    assert net.seen("a/eth0") == []


def test_a_path_mtu_only_shrinks_and_never_below_552() -> None:
    net = through_a_router(far_mtu=300)
    stack = net.stack("a")
    for told, known in ((1400, 1400), (1000, 1000), (1300, 1000)):
        stack._learn_mtu(FAR, told)
        assert stack._mtu_for(FAR) == known
    net.ping("a", "10.0.1.1", size=900, df=True)
    assert stack._mtu_for(FAR) == IPV4.least_path_mtu


def test_udp_finds_a_smaller_path_mtu() -> None:
    """Linux IP_PMTUDISC_WANT: the first datagram is lost, the next ones are cut to fit the path."""
    net = through_a_router(far_mtu=1000)
    net.serve("b", 53, protocol=ipv4.UDP)

    async def ask() -> list[int]:
        socket = await net.programs("a").udp(remote=Endpoint(IPv4Address("10.0.1.1"), 53))
        got = []
        for _ in range(2):
            await socket.send(b"x" * 1400)
            try:
                got.append(len((await socket.recv(timeout=1)).data))
            except TimeoutError:
                got.append(0)
        return got

    assert net.run(ask()) == [0, len("b sees 10.0.0.1:00000 asking ") + 1400]
    sizes = [len(data) - 14 for data in net.seen("a/eth0", outbound=True) if data[12:14] == b"\x08\x00"]
    assert sizes[0] == 1428 and max(sizes[1:]) <= 1000


@pytest.mark.parametrize("filtered", [False, True])
def test_tcp_finds_a_smaller_path_mtu_unless_icmp_is_filtered(filtered: bool) -> None:
    """The classic black hole: the handshake fits, the first full segment does not, and nobody is told."""
    net = through_a_router(far_mtu=1000)
    net.change(("interface", "b", "eth0"), mtu=1500)  # so that its MSS does not tell
    if filtered:
        net.rule("a", Hook.INPUT, Action.DROP, Match(protocol=ipv4.ICMP))

    async def receive() -> None:
        stream = await (await host.listen(80)).accept()
        while data := await stream.read():
            got.extend(data)

    async def send() -> None:
        stream = await net.programs("a").connect(Endpoint(IPv4Address("10.0.1.1"), 80))
        await stream.write(b"x" * 20_000)
        stream.close()

    got, host = bytearray(), net.programs("b")
    net.plane.start(host, lambda _: receive(), "server")
    net.run(send())
    net.wait(60)
    assert len(got) == (0 if filtered else 20_000)


def test_the_mss_of_a_connection_is_that_of_its_interfaces() -> None:
    net = two_hosts(mtu=1450)
    net.serve("b", 80)
    net.ask("a", "10.0.0.2:80")
    assert [mss for mss in map(mss_of, net.packets("a/eth0")) if mss] == [1410, 1410]


def test_a_datagram_may_be_65507_bytes_long() -> None:
    net = two_hosts()
    assert net.ping("a", "10.0.0.2", size=65507) == "reply from 10.0.0.2"
    assert net.ping("a", "10.0.0.2", size=65508) == "Message too long"

    async def send(size: int) -> None:
        socket = await net.programs("a").udp()
        await socket.send(bytes(size), Endpoint(IPv4Address("10.0.0.2"), 53))

    net.run(send(65507))
    with pytest.raises(OSError, match="Message too long") as raised:
        net.run(send(65508))
    assert raised.value.errno == errno.EMSGSIZE


def test_large_answers_do_not_mix_with_each_other() -> None:
    """Echo replies are cut as well, and told apart by their identification."""
    net = two_hosts()

    async def flood(host: ProgramHost) -> list[str]:
        tasks = [
            host.spawn(host.ping(IPv4Address("10.0.0.2"), sequence=n, size=4000 + n), f"ping {n}")
            for n in range(5)
        ]
        return [(await task.join()).kind for task in tasks]

    assert net.run(flood(net.programs("a"))) == ["reply"] * 5
    fragments = [p for p in net.packets("a/eth0", outbound=False) if p.more_fragments or p.fragment_offset]
    assert len(fragments) == 15 and len({p.identification for p in fragments}) == 5


def mss_of(packet: ipv4.Ipv4) -> int | None:
    return tcp.parse(packet.payload).mss if packet.protocol == ipv4.TCP else None
