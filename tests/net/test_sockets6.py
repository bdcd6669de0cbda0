"""IPv6 sockets: UDP, TCP and echo, both families at one socket, and what ICMPv6 errors do to them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

import pytest

from netsim.net.packet import Frame
from netsim.plan.entries import Action, Hook, HostName
from netsim.programs.host import Endpoint
from netsim.wire import ethernet, icmp6, ipv4, ipv6, tcp, udp
from tests.net.network import Network, dual_stack, endpoint, mac_of, through_a_router, two_hosts, v6

A, B, FAR = v6("10.0.0.1"), v6("10.0.0.2"), v6("10.0.1.1")
ROUTER = v6("10.0.0.254")


def to(text: str) -> Endpoint:
    return Endpoint(*endpoint(text))


def segments(net: Network, port: str, *, outbound: bool) -> list[tcp.Tcp]:
    packets = [p for p in net.packets6(port, outbound=outbound) if p.protocol == ipv4.TCP]
    return [tcp.parse(p.payload) for p in packets]


def messages(net: Network, port: str, kind: int) -> list[ipv6.Ipv6]:
    """The ICMPv6 messages of a type that crossed an interface."""
    packets = [p for p in net.packets6(port) if p.protocol == ipv6.ICMPV6]
    return [packet for packet in packets if packet.payload[0] == kind]


def put_on_the_wire(net: Network, port: str, packet: bytes) -> None:
    """A packet comes in there."""
    host, _, device = port.partition("/")
    frame = ethernet.build(mac_of(port), mac_of("x"), ethernet.ETHERTYPE_IPV6, packet)
    net.stack(host).receive(device, Frame(frame, (), 0), net.now)
    net.plane.flush(HostName(host))


# --- talk ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [ipv4.TCP, ipv4.UDP], ids=["tcp", "udp"])
@pytest.mark.parametrize(
    ("make", "target"),
    [
        pytest.param(two_hosts, B, id="on one wire"),
        pytest.param(through_a_router, FAR, id="through a router"),
        pytest.param(partial(through_a_router, mtu=1300, far_mtu=1280), FAR, id="small MTUs"),
    ],
)
def test_a_server_answers_who_it_sees(make: Callable[[], Network], target: str, protocol: int) -> None:
    net = dual_stack(make())
    net.serve("b", 80, protocol=protocol)
    ask = net.ask if protocol == ipv4.TCP else net.ask_udp
    assert ask("a", f"[{target}]:80").startswith(f"b sees [{A}]:")


def test_a_segment_holds_twenty_bytes_less() -> None:
    net = dual_stack(two_hosts())
    net.serve("b", 80)
    net.ask("a", f"[{B}]:80")
    net.ask("a", "10.0.0.2:80")
    syns = [s for s in segments(net, "a/eth0", outbound=True) if s.flags & tcp.SYN]
    old = [tcp.parse(p.payload) for p in net.packets("a/eth0", outbound=True) if p.protocol == ipv4.TCP]
    assert [s.mss for s in syns] == [1440]
    assert [s.mss for s in old if s.flags & tcp.SYN] == [1460]


def test_a_peer_that_names_no_mss_gets_1220_bytes() -> None:
    """RFC 9293 section 3.7.1."""
    net = dual_stack(two_hosts())
    source, destination = ip_address(B).packed, ip_address(A).packed

    async def serve() -> None:
        stream = await (await net.programs("a").listen(80)).accept()
        await stream.write(bytes(3000))

    net.plane.start(net.programs("a"), lambda host: serve(), "server")
    net.neighbour("a", "eth0", B, mac_of("x"))
    net.wait(0)
    for number, flags in ((1, tcp.SYN), (2, tcp.ACK)):
        answers = segments(net, "a/eth0", outbound=True)
        ack = answers[-1].sequence + 1 if answers else 0
        segment = tcp.Tcp(9, 80, number, ack, flags, 9000)
        packet = ipv6.build(source, destination, ipv4.TCP, tcp.build(source, destination, segment))
        put_on_the_wire(net, "a/eth0", packet)
    net.wait(0.1)
    sizes = [len(s.payload) for s in segments(net, "a/eth0", outbound=True) if s.payload]
    assert sizes == [1220, 1220, 560]


def test_a_socket_without_an_address_takes_both_families() -> None:
    """``::`` with net.ipv6.bindv6only = 0; the peer is shown as what it is."""
    net = dual_stack(two_hosts())
    for protocol, ask in ((ipv4.TCP, net.ask), (ipv4.UDP, net.ask_udp)):
        net.serve("b", 80, protocol=protocol)
        assert ask("a", f"[{B}]:80").startswith(f"b sees [{A}]:")
        assert ask("a", "10.0.0.2:80").startswith("b sees 10.0.0.1:")
    assert [str(end) for _, end in net.programs("b").listening()] == ["[::]:80", "[::]:80"]


@pytest.mark.parametrize(
    ("bound", "by_ipv4", "by_ipv6"),
    [
        ("::", True, True),
        ("0.0.0.0", True, False),
        ("10.0.0.2", True, False),
        (B, False, True),
    ],
)
def test_an_address_decides_whom_a_listener_hears(bound: str, by_ipv4: bool, by_ipv6: bool) -> None:
    net = dual_stack(two_hosts())

    async def heard(target: str) -> bool:
        try:
            stream = await net.programs("a").connect(to(target), timeout=5)
        except ConnectionRefusedError:
            return False
        stream.abort()
        return True

    async def talk() -> tuple[bool, bool]:
        listener = await net.programs("b").listen(80, address=ip_address(bound))
        try:
            return await heard("10.0.0.2:80"), await heard(f"[{B}]:80")
        finally:
            listener.close()

    assert net.run(talk()) == (by_ipv4, by_ipv6)


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        (None, None, False),
        (None, "0.0.0.0", False),
        (None, B, False),
        ("0.0.0.0", "10.0.0.2", False),
        ("0.0.0.0", B, True),
        ("10.0.0.2", B, True),
        ("::1", B, True),
        (B, B, False),
    ],
)
def test_two_sockets_share_a_port_if_no_packet_is_for_both(
    first: str | None, second: str | None, fits: bool
) -> None:
    net = dual_stack(two_hosts())

    async def bind() -> None:
        host = net.programs("b")
        for address in (first, second):
            await host.udp(53, address=ip_address(address) if address else None)
            await host.listen(53, address=ip_address(address) if address else None)

    if fits:
        net.run(bind())
        return
    with pytest.raises(OSError, match="Address already in use"):
        net.run(bind())


def test_nobody_binds_to_an_address_of_another() -> None:
    net = dual_stack(two_hosts())
    with pytest.raises(OSError, match="Cannot assign requested address"):
        net.run(net.programs("a").listen(80, address=ip_address(B)))


def test_a_socket_of_one_family_sends_nothing_to_the_other() -> None:
    net = dual_stack(two_hosts())

    async def send() -> None:
        socket = await net.programs("a").udp(address=ip_address("10.0.0.1"))
        await socket.send(b"x", to(f"[{B}]:53"))

    with pytest.raises(OSError) as caught:
        net.run(send())
    assert caught.value.errno == errno.EAFNOSUPPORT


def test_a_connection_knows_both_its_ends() -> None:
    net = dual_stack(two_hosts())

    async def talk() -> tuple[str, str, str]:
        listener = await net.programs("b").listen(80)
        stream = await net.programs("a").connect(to(f"[{B}]:80"))
        accepted = await listener.accept()
        return str(stream.local.address), str(stream.peer), str(accepted.local)

    assert net.run(talk()) == (A, f"[{B}]:80", f"[{B}]:80")


def test_the_loopback_has_its_own_address() -> None:
    net = two_hosts()
    net.serve("a", 80)
    assert net.ask("a", "[::1]:80").startswith("a sees [::1]:")
    assert net.ping("a", "::1") == "reply from ::1"
    assert net.seen("a/eth0") == []


def test_a_packet_from_a_wire_with_the_loopback_address_is_dropped() -> None:
    net = dual_stack(two_hosts())
    for source, destination in ((B, "::1"), ("::1", A), (A, A)):
        pair = ip_address(source).packed, ip_address(destination).packed
        request = icmp6.build_echo(*pair, icmp6.ECHO_REQUEST, 1, 1, b"")
        put_on_the_wire(net, "a/eth0", ipv6.build(*pair, ipv6.ICMPV6, request))
    assert net.seen("a/eth0", outbound=True) == [] == net.seen("a/lo")


def test_there_are_no_groups() -> None:
    net = dual_stack(through_a_router())
    assert net.ping("a", "ff02::1") == "Network is unreachable"
    pair = ip_address(A).packed, ip_address("ff0e::1").packed
    request = icmp6.build_echo(*pair, icmp6.ECHO_REQUEST, 1, 1, b"")
    put_on_the_wire(net, "router/eth0", ipv6.build(*pair, ipv6.ICMPV6, request))
    net.wait(5)
    assert net.seen("router/eth0", outbound=True) == [] == net.seen("router/eth1")


# --- echo ------------------------------------------------------------------------------------------------


def test_a_ping_is_answered_with_its_hop_limit() -> None:
    net = dual_stack(through_a_router())

    async def ping() -> tuple[str, str, int, int]:
        reply = await net.programs("a").ping(ip_address(FAR), sequence=3, size=100)
        return reply.kind, str(reply.source), reply.ttl, reply.size

    assert net.run(ping()) == ("reply", FAR, 63, 108)


def test_a_ping_that_may_not_be_cut_and_does_not_fit_is_not_sent() -> None:
    net = dual_stack(two_hosts())
    assert net.ping("a", B, size=1452, df=True) == f"reply from {B}"
    assert net.ping("a", B, size=1453, df=True) == "Message too long"
    assert net.ping("a", B, size=1453) == f"reply from {B}"


def test_one_identifier_in_both_families_is_two_pings() -> None:
    net = dual_stack(two_hosts())
    sockets = net.stack("a").sockets
    assert net.ping("a", B) == f"reply from {B}" and net.ping("a", "10.0.0.2") == "reply from 10.0.0.2"
    assert sockets._echoes == {}


# --- errors ----------------------------------------------------------------------------------------------


def test_errors_reach_whoever_asked() -> None:
    net = dual_stack(through_a_router())
    net.route("router", v6("10.9.0.0") + "/96", "eth1", v6("10.0.1.99"))
    assert net.ask("a", f"[{FAR}]:80") == "refused"  # RST
    assert net.ask_udp("a", f"[{FAR}]:80") == "refused"  # port unreachable
    assert net.ping("a", "fd09::1") == f"net-unreachable from {ROUTER}"
    assert net.ask("a", "[fd09::1]:80") == "Network is unreachable"
    assert net.ping("a", v6("10.9.0.1")) == f"host-unreachable from {ROUTER}"
    assert net.ask("a", f"[{v6('10.9.0.1')}]:80") == "No route to host"
    assert net.ping("a", FAR, ttl=1) == f"ttl-exceeded from {ROUTER}"
    kinds = {(p.payload[0], p.payload[1]) for p in net.packets6("a/eth0") if p.protocol == ipv6.ICMPV6}
    assert kinds >= {
        (icmp6.UNREACHABLE, icmp6.PORT),
        (icmp6.UNREACHABLE, icmp6.NO_ROUTE),
        (icmp6.UNREACHABLE, icmp6.ADDRESS),
        (icmp6.TIME_EXCEEDED, 0),
    }


def test_without_a_route_nothing_is_sent() -> None:
    net = dual_stack(two_hosts())
    for outcome in (net.ask("a", "[fd09::1]:80"), net.ask_udp("a", "[fd09::1]:80"), net.ping("a", "fd09::1")):
        assert outcome == "Network is unreachable"
    assert net.seen("a/eth0") == []


def test_a_neighbour_that_does_not_answer_is_unreachable() -> None:
    net = dual_stack(two_hosts())
    assert net.ask("a", f"[{v6('10.0.0.9')}]:80") == "No route to host"
    assert net.now == pytest.approx(3.0)


def test_a_probe_hears_of_routers_and_of_the_end() -> None:
    net = dual_stack(through_a_router())

    async def probe(ttl: int) -> tuple[str, str]:
        reply = await net.programs("a").probe(to(f"[{FAR}]:33434"), ttl=ttl)
        return reply.kind, str(reply.source)

    assert net.run(probe(1)) == ("ttl-exceeded", ROUTER)
    assert net.run(probe(2)) == ("port-unreachable", FAR)


@pytest.mark.parametrize("ask", ["ask", "ask_udp"])
def test_a_firewall_refuses_with_port_unreachable(ask: str) -> None:
    net = dual_stack(through_a_router())
    net.rule("router", Hook.FORWARD, Action.REJECT, family=6)
    net.serve("b", 80)
    net.serve("b", 80, protocol=ipv4.UDP)
    assert getattr(net, ask)("a", f"[{FAR}]:80") == "refused"
    assert getattr(net, ask)("a", "10.0.1.1:80").startswith("b sees")
    (error,) = messages(net, "a/eth0", icmp6.UNREACHABLE)
    assert (error.source, error.payload[1]) == (ip_address(ROUTER).packed, icmp6.PORT)


def test_a_protocol_that_nobody_speaks_is_a_parameter_problem() -> None:
    net = dual_stack(two_hosts())
    net.ping("a", B)
    put_on_the_wire(net, "a/eth0", ipv6.build(ip_address(B).packed, ip_address(A).packed, 99, b"x" * 20))
    (error,) = messages(net, "a/eth0", icmp6.PARAMETER_PROBLEM)
    assert error.payload[1] == icmp6.UNKNOWN_NEXT_HEADER and error.payload[4:8] == bytes([0, 0, 0, 6])


def test_damage_is_dropped_in_silence() -> None:
    """A UDP checksum of 0 is damage, too: RFC 8200 section 8.1."""
    net = dual_stack(two_hosts())
    net.serve("a", 80, protocol=ipv4.UDP)
    net.wait(0)
    source, destination = ip_address(B).packed, ip_address(A).packed
    datagram = udp.build(source, destination, 9, 80, b"who")
    segment = tcp.build(source, destination, tcp.Tcp(9, 80, 1, 0, tcp.SYN, 1000))
    echo = icmp6.build_echo(source, destination, icmp6.ECHO_REQUEST, 1, 1, b"x")
    for protocol, payload in (
        (ipv4.UDP, datagram[:6] + b"\0\0" + datagram[8:]),
        (ipv4.UDP, datagram[:-1] + b"x"),
        (ipv4.TCP, segment[:-1] + b"x"),
        (ipv6.ICMPV6, echo[:-1] + b"y"),
        (ipv6.ICMPV6, echo[:5]),
        (ipv6.FRAGMENT, b"\x11"),
    ):
        put_on_the_wire(net, "a/eth0", ipv6.build(source, destination, protocol, payload))
    net.wait(1)
    assert net.seen("a/eth0", outbound=True) == []


# --- sizes -----------------------------------------------------------------------------------------------


async def upload(net: Network, target: str, size: int) -> int:
    """How many bytes of so many reach ``b``."""
    listener = await net.programs("b").listen(80)
    stream = await net.programs("a").connect(to(target), timeout=5)
    accepted = await listener.accept()
    await stream.write(bytes(size))
    stream.close()
    got = 0
    while data := await accepted.read(timeout=60):
        got += len(data)
    return got


def test_a_connection_learns_the_mtu_of_its_path() -> None:
    """RFC 8201."""
    net = dual_stack(through_a_router(far_mtu=1280))
    net.host("c")
    net.wire("c/eth0", "b/eth1")
    net.change(("interface", "b", "eth0"), mtu=1500)  # b says nothing of the small MTU
    assert net.run(upload(net, f"[{FAR}]:80", 20_000)) == 20_000
    errors = messages(net, "a/eth0", icmp6.PACKET_TOO_BIG)
    assert errors and {int.from_bytes(e.payload[4:8], "big") for e in errors} == {1280}
    assert max(len(p.payload) for p in net.packets6("b/eth0", outbound=False)) == 1240


def test_nothing_below_1280_is_believed() -> None:
    net = dual_stack(through_a_router())
    stack = net.stack("a")
    net.ping("a", FAR)
    source, destination = ip_address(ROUTER).packed, ip_address(A).packed
    about = ipv6.build(ip_address(A).packed, ip_address(FAR).packed, ipv4.UDP, bytes(1400))
    error = icmp6.build(source, destination, icmp6.PACKET_TOO_BIG, 0, 600, about[:1000])
    put_on_the_wire(net, "a/eth0", ipv6.build(source, destination, ipv6.ICMPV6, error))
    assert stack._mtu_for(ip_address(FAR).packed) == 1280


async def echoed(net: Network, size: int) -> int:
    """How many bytes of a datagram come back from ``b``."""
    server = await net.programs("b").udp(53)
    client = await net.programs("a").udp(remote=to(f"[{FAR}]:53"))
    try:
        await client.send(bytes(size))
        got = await server.recv(timeout=5)
        await server.send(got.data, got.source)
        return len((await client.recv(timeout=5)).data)
    finally:
        server.close()
        client.close()


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("size", [1452, 1453, 4000, 65527])
def test_a_large_datagram_is_cut_by_its_sender_only(size: int, tracked: bool) -> None:
    """Conntrack puts pieces together on the way, and they go on as they came (frag_max_size)."""
    net = dual_stack(through_a_router())
    if tracked:
        net.service("[fd00:96::1]:80", [])
    assert net.run(echoed(net, size)) == size
    sent = [len(p.payload) for p in net.packets6("a/eth0", outbound=True) if p.hop_limit != 255]
    arrived = [len(p.payload) for p in net.packets6("b/eth0", outbound=False) if p.hop_limit != 255]
    assert sent == arrived and max(sent) <= 1460
    assert (len(sent) > 1) is (size > 1452)


def test_what_fits_nowhere_is_refused() -> None:
    net = dual_stack(through_a_router())
    with pytest.raises(OSError, match="Message too long"):
        net.run(echoed(net, 65528))


def test_pieces_that_are_too_large_for_the_next_wire_are_told_to_their_sender() -> None:
    net = dual_stack(through_a_router(far_mtu=1280))
    net.change(("interface", "b", "eth0"), mtu=1500)
    with pytest.raises(TimeoutError):
        net.run(echoed(net, 4000))
    assert messages(net, "a/eth0", icmp6.PACKET_TOO_BIG)
    assert net.run(echoed(net, 4000)) == 4000
    assert max(len(p.payload) for p in net.packets6("b/eth0", outbound=False)) <= 1240


# --- which address ---------------------------------------------------------------------------------------


def test_the_source_is_the_address_most_like_the_destination() -> None:
    """RFC 6724 section 5, rule 8."""
    net = dual_stack(through_a_router())
    net.address("a/eth0", "fd01::1/64", "fd02::1/64")
    net.address("router/eth0", "fd01::254/64")
    net.route("a", "fd02:0:0:9::/64", "eth0", ROUTER)
    stack = net.stack("a")

    def source_for(text: str) -> str | None:
        found = stack.source_for(ip_address(text).packed)
        return str(ip_address(found)) if found else None

    assert source_for(FAR) == A
    assert source_for("fd01::9") == "fd01::1"
    assert source_for("fd02:0:0:9::9") == "fd02::1"
    assert source_for("fd01:0:0:1::9") == "fd01::1"
    assert source_for("fd01::1") == "fd01::1"
