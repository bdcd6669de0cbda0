"""IPv6 frames: their layers and lines, and the words of filters that let them through."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from netsim.capture.dissect import layers, summarize
from netsim.capture.filter import parse_filter
from netsim.capture.record import PacketRecord, packet_from_record
from netsim.wire import dns, ethernet, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp
from tests.capture.sample import JUMP, NODE1, NODE2, mac, tunnelled

A, B, ROUTER = (IPv6Address(text).packed for text in ("fd00::2", "fd00::3", "fd00::1"))
BOTH = "fd00::2 → fd00::3"


def frame(packet: bytes, *, to: bytes = mac(1)) -> bytes:
    return ethernet.build(to, mac(2), ethernet.ETHERTYPE_IPV6, packet)


def carrying(protocol: int, payload: bytes, source: bytes = A, destination: bytes = B) -> bytes:
    return frame(ipv6.build(source, destination, protocol, payload))


def message(kind: int, code: int, rest: int, payload: bytes, source: bytes = ROUTER) -> bytes:
    return carrying(ipv6.ICMPV6, icmp6.build(source, A, kind, code, rest, payload), source, A)


GROUP = ndp.solicited_node(B)
SYN = carrying(ipv4.TCP, tcp.build(A, B, tcp.Tcp(40000, 80, 7, 0, tcp.SYN, 64800, 1440)))
QUERY = carrying(ipv4.UDP, udp.build(A, B, 5353, 53, dns.query(0x1234, "ent.", dns.AAAA)))
QUESTION = frame(
    ndp.build(A, GROUP, ndp.Ndp(ndp.SOLICITATION, B, mac(2))), to=ndp.group_mac(GROUP)
)  # fmt: skip
ANSWER = frame(ndp.build(B, A, ndp.Ndp(ndp.ADVERTISEMENT, B, mac(3), solicited=True, override=True)))
CONFIRMED = frame(ndp.build(B, A, ndp.Ndp(ndp.ADVERTISEMENT, B, router=True, solicited=True)))
ECHO = carrying(ipv6.ICMPV6, icmp6.build_echo(A, B, icmp6.ECHO_REQUEST, 1, 2, b"ping"))
PIECES = ipv6.fragment(ipv6.build(A, B, ipv4.UDP, bytes(3000)), 1500, 0xBEEF)
ABOUT = SYN[14:]
REFUSED = frame(
    ipv6.build(ROUTER, A, ipv6.ICMPV6, icmp6.build_error(ROUTER, A, icmp.UNREACHABLE, icmp.PORT, ABOUT))
)

LINES = [
    (QUESTION, "fd00::2 → ff02::1:ff00:3 ICMPv6 Neighbor Solicitation for fd00::3 from 02:00:00:00:00:02"),
    (ANSWER, "fd00::3 → fd00::2 ICMPv6 Neighbor Advertisement fd00::3 (sol, ovr) is at 02:00:00:00:00:03"),
    (CONFIRMED, "fd00::3 → fd00::2 ICMPv6 Neighbor Advertisement fd00::3 (rtr, sol)"),
    (SYN, f"{BOTH} TCP 40000 → 80 [SYN] Seq=7 Win=64800 Len=0 MSS=1440"),
    (QUERY, f"{BOTH} DNS Standard query 0x1234 AAAA ent"),
    (tunnelled(SYN), f"192.168.10.11 → 192.168.10.12 VXLAN vni 1 [{summarize(SYN)}]"),
    (ECHO, f"{BOTH} ICMPv6 Echo (ping) request id=0x0001, seq=2, hop limit=64"),
    (
        carrying(ipv6.ICMPV6, icmp6.build_echo(A, B, icmp6.ECHO_REPLY, 1, 2, b"")),
        f"{BOTH} ICMPv6 Echo (ping) reply id=0x0001, seq=2, hop limit=64",
    ),
    (
        REFUSED,
        f"fd00::1 → fd00::2 ICMPv6 Destination Unreachable (Port unreachable) for [{BOTH} TCP 40000 → 80]",
    ),
    (
        message(icmp6.PACKET_TOO_BIG, 0, 1280, ABOUT),
        f"fd00::1 → fd00::2 ICMPv6 Packet Too Big, MTU 1280 for [{BOTH} TCP 40000 → 80]",
    ),
    (
        message(icmp6.TIME_EXCEEDED, 0, 0, ECHO[14:]),
        f"fd00::1 → fd00::2 ICMPv6 Time Exceeded (hop limit exceeded in transit) for [{BOTH} ICMPv6]",
    ),
    (
        message(icmp6.PARAMETER_PROBLEM, icmp6.UNKNOWN_NEXT_HEADER, 6, ipv6.build(A, B, 99, b"")),
        "fd00::1 → fd00::2 ICMPv6 Parameter Problem (unrecognized Next Header type encountered) "
        f"for [{BOTH} protocol 99]",
    ),
    (
        message(icmp6.UNREACHABLE, icmp6.ADDRESS, 0, b"short"),
        "fd00::1 → fd00::2 ICMPv6 Destination Unreachable (Address unreachable) "
        "for [malformed: ipv6: version 7, not 6]",
    ),
    (message(130, 0, 0, b""), "fd00::1 → fd00::2 ICMPv6 Type 130, code 0"),
    (frame(PIECES[0]), f"{BOTH} IPv6 Fragmented IP protocol (proto=UDP, off=0, id=0x0000beef, more to come)"),
    (frame(PIECES[-1]), f"{BOTH} IPv6 Fragmented IP protocol (proto=UDP, off=2896, id=0x0000beef, the last)"),
    (carrying(99, b"data"), f"{BOTH} next header 99 4 bytes"),
    (SYN[:-1] + b"!", f"{BOTH} TCP [malformed tcp: wrong checksum]"),
    (
        carrying(ipv6.ICMPV6, ANSWER[54:], B, A),
        "fd00::3 → fd00::2 ICMPv6 [malformed ndp: hop limit 64: it comes from behind a router]",
    ),
]


@pytest.mark.parametrize(("data", "line"), LINES, ids=[line for _, line in LINES])
def test_the_line_of_a_frame(data: bytes, line: str) -> None:
    assert str(summarize(data)) == line


def test_names_stand_for_the_addresses_they_know() -> None:
    names = {A: "pod dev/jump", B: "svc dev/ent", ROUTER: "node node1"}
    assert str(summarize(REFUSED, names)).startswith("node node1 → pod dev/jump ICMPv6 ")
    assert str(summarize(REFUSED, names)).endswith("for [pod dev/jump → svc dev/ent TCP 40000 → 80]")
    assert "Solicitation for svc dev/ent from" in str(summarize(QUESTION, names))


def test_layers_are_those_of_the_packet() -> None:
    assert [type(layer) for layer in layers(QUERY)] == [ethernet.Ethernet, ipv6.Ipv6, udp.Udp, dns.Message]
    assert [type(layer) for layer in layers(ANSWER)] == [ethernet.Ethernet, ipv6.Ipv6, ndp.Ndp]
    assert [type(layer) for layer in layers(tunnelled(ECHO))][-2:] == [ipv6.Ipv6, icmp6.Icmp6]
    assert layers(frame(PIECES[1]))[-1] == ipv6.Fragment(ipv4.UDP, 1448, True, 0xBEEF, bytes(1448))


FRAMES = {
    "question": QUESTION, "answer": ANSWER, "syn": SYN, "query": QUERY, "echo": ECHO,
    "tunnel": tunnelled(SYN),
    "ipv4": ethernet.build(mac(1), mac(2), 0x0800, ipv4.build(NODE1, NODE2, ipv4.UDP, b"")),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ip6", {"question", "answer", "syn", "query", "echo", "tunnel"}),
        ("ip", {"ipv4", "tunnel"}),
        ("icmp6", {"question", "answer", "echo"}),
        ("ndp", {"question", "answer"}),
        ("icmp or arp", set()),
        ("host fd00::3", {"question", "answer", "syn", "query", "echo", "tunnel"}),
        ("host fd00::3 and not (tcp or ndp)", {"query", "echo"}),
        ("ip6 and port 80", {"syn", "tunnel"}),
    ],
)
def test_a_filter_lets_through(text: str, shown: set[str]) -> None:
    wanted = parse_filter(text)
    found = set()
    for name, data in FRAMES.items():
        if wanted.matches(packet_from_record(PacketRecord(0.0, JUMP, True, data, (), 1))):
            found.add(name)
    assert found == shown
