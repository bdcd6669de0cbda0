"""The fields of packets by Wireshark's names."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from netsim.base.errors import UsageError
from netsim.checks.fields import FIELDS, Value, equal, values
from netsim.wire import arp, dns, ethernet, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp, vxlan

A_MAC, B_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
A, B, NODE1, NODE2 = (bytes(map(int, text.split("."))) for text in
                      ("10.244.1.2", "10.244.2.2", "192.168.10.11", "192.168.10.12"))  # fmt: skip
MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


def frame(packet: bytes, ethertype: int = ethernet.ETHERTYPE_IPV4) -> bytes:
    return ethernet.build(B_MAC, A_MAC, ethertype, packet)


def over_udp(source_port: int, destination_port: int, payload: bytes) -> bytes:
    segment = udp.build(A, B, source_port, destination_port, payload)
    return frame(ipv4.build(A, B, ipv4.UDP, segment, ttl=63, dont_fragment=False))


def over_tcp(segment: tcp.Tcp) -> bytes:
    return frame(ipv4.build(A, B, ipv4.TCP, tcp.build(A, B, segment)))


SYN = over_tcp(tcp.Tcp(40000, 80, 1, 0, tcp.SYN, 65535, 1410))
RST = over_tcp(tcp.Tcp(80, 40000, 0, 2, tcp.RST | tcp.ACK, 0))
FIN = over_tcp(tcp.Tcp(80, 40000, 0, 2, tcp.FIN | tcp.ACK, 0))
GET = over_tcp(tcp.Tcp(40000, 80, 1, 2, tcp.PSH | tcp.ACK, 9, None, b"GET /a HTTP/1.1\r\n\r\n"))
FOUND = over_tcp(tcp.Tcp(80, 40000, 1, 2, tcp.PSH | tcp.ACK, 9, None, b"HTTP/1.1 200 OK\r\n\r\n"))
ASK = over_udp(40000, 53, dns.query(7, "ent.dev.svc.cluster.local.", dns.A))
_QUESTION = dns.Question("ent.dev.svc.cluster.local.", dns.A)
_ANSWERS = (
    dns.Record(_QUESTION.name, dns.A, dns.IN, 30, B),
    dns.Record(_QUESTION.name, dns.AAAA, dns.IN, 30, bytes(16)),
)
_MESSAGE = dns.Message(7, response=True, questions=(_QUESTION,), answers=_ANSWERS)
TELL = over_udp(53, 40000, dns.build(_MESSAGE))
WHO_HAS = frame(arp.build(arp.Arp(arp.REQUEST, A_MAC, A, bytes(6), B)), ethernet.ETHERTYPE_ARP)
PIECE = frame(ipv4.build(A, B, ipv4.UDP, bytes(16), dont_fragment=False, more_fragments=True))
TOO_BIG = frame(ipv4.build(A, B, ipv4.ICMP, icmp.build_error(3, 4, ASK[14:], 1450)))
_envelope = udp.build(NODE1, NODE2, 50000, 8472, vxlan.build(1, SYN))
TUNNELLED = frame(ipv4.build(NODE1, NODE2, ipv4.UDP, _envelope, dont_fragment=False))

A6, B6 = (IPv6Address(text).packed for text in ("fd00::2", "fd00::3"))
GROUP = ndp.solicited_node(B6)
SOLICITATION = frame(ndp.build(A6, GROUP, ndp.Ndp(ndp.SOLICITATION, B6, A_MAC)), ethernet.ETHERTYPE_IPV6)
ADVERTISEMENT = frame(ndp.build(B6, A6, ndp.Ndp(ndp.ADVERTISEMENT, B6, A_MAC)), ethernet.ETHERTYPE_IPV6)
LARGE6 = ipv6.build(A6, B6, ipv4.UDP, bytes(1400))
PIECE6 = frame(ipv6.fragment(LARGE6, 1280, 7)[0], ethernet.ETHERTYPE_IPV6)
_error = icmp6.build_error(B6, A6, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, LARGE6, 1280)
TOO_BIG6 = frame(ipv6.build(B6, A6, ipv6.ICMPV6, _error), ethernet.ETHERTYPE_IPV6)

EXAMPLES: dict[str, tuple[bytes, list[Value]]] = {
    "eth.src": (TUNNELLED, [MAC, MAC]),
    "eth.dst": (WHO_HAS, [OTHER_MAC]),
    "arp.opcode": (WHO_HAS, [1]),
    "arp.src.proto_ipv4": (WHO_HAS, ["10.244.1.2"]),
    "arp.dst.proto_ipv4": (WHO_HAS, ["10.244.2.2"]),
    "ip.src": (TUNNELLED, ["192.168.10.11", "10.244.1.2"]),
    "ip.dst": (TUNNELLED, ["192.168.10.12", "10.244.2.2"]),
    "ip.addr": (SYN, ["10.244.1.2", "10.244.2.2"]),
    "ip.ttl": (ASK, [63]),
    "ip.proto": (TUNNELLED, [17, 6]),
    "ip.flags.df": (TUNNELLED, [0, 1]),
    "ip.flags.mf": (PIECE, [1]),
    "ipv6.src": (SOLICITATION, ["fd00::2"]),
    "ipv6.dst": (SOLICITATION, ["ff02::1:ff00:3"]),
    "ipv6.addr": (ADVERTISEMENT, ["fd00::3", "fd00::2"]),
    "ipv6.hlim": (ADVERTISEMENT, [255]),
    "ipv6.nxt": (SOLICITATION, [58]),
    "ipv6.fraghdr.more": (PIECE6, [1]),
    "icmpv6.type": (SOLICITATION, [135]),
    "icmpv6.code": (TOO_BIG6, [0]),
    "icmpv6.mtu": (TOO_BIG6, [1280]),
    "icmpv6.nd.ns.target_address": (SOLICITATION, ["fd00::3"]),
    "icmpv6.nd.na.target_address": (ADVERTISEMENT, ["fd00::3"]),
    "icmp.type": (TOO_BIG, [3]),
    "icmp.code": (TOO_BIG, [4]),
    "icmp.mtu": (TOO_BIG, [1450]),
    "udp.srcport": (ASK, [40000]),
    "udp.dstport": (TUNNELLED, [8472]),
    "udp.port": (ASK, [40000, 53]),
    "tcp.srcport": (SYN, [40000]),
    "tcp.dstport": (TUNNELLED, [80]),
    "tcp.port": (SYN, [40000, 80]),
    "tcp.flags.syn": (SYN, [1]),
    "tcp.flags.ack": (SYN, [0]),
    "tcp.flags.fin": (FIN, [1]),
    "tcp.flags.reset": (RST, [1]),
    "tcp.options.mss_val": (SYN, [1410]),
    "vxlan.vni": (TUNNELLED, [1]),
    "dns.qry.name": (ASK, ["ent.dev.svc.cluster.local"]),
    "dns.qry.type": (ASK, [1]),
    "dns.flags.response": (ASK, [0]),
    "dns.flags.rcode": (TELL, [0]),
    "dns.a": (TELL, ["10.244.2.2"]),
    "dns.aaaa": (TELL, ["::"]),
    "http.request.line": (GET, ["GET /a HTTP/1.1"]),
    "http.response.line": (FOUND, ["HTTP/1.1 200 OK"]),
}


def test_every_field_has_an_example() -> None:
    assert set(EXAMPLES) == set(FIELDS)


@pytest.mark.parametrize("field", EXAMPLES)
def test_a_field_has_its_values_outermost_first(field: str) -> None:
    packet, expected = EXAMPLES[field]
    assert values(packet, field) == expected


@pytest.mark.parametrize("field", [name for name in FIELDS if not name.startswith("eth.")])
def test_a_packet_without_the_header_has_no_value(field: str) -> None:
    other = SYN if field.startswith("arp.") else WHO_HAS
    assert values(other, field) == []


@pytest.mark.parametrize(
    ("packet", "field"),
    [
        (RST, "tcp.options.mss_val"),
        (ASK, "dns.flags.rcode"),
        (GET, "http.response.line"),
        (FOUND, "http.request.line"),
    ],
)
def test_what_the_header_does_not_say_has_no_value(packet: bytes, field: str) -> None:
    assert values(packet, field) == []


def test_an_unknown_field_is_refused_with_what_comes_near() -> None:
    with pytest.raises(UsageError, match=r"there is no field ip.tll\n  hint: did you mean ip.ttl"):
        values(SYN, "ip.tll")


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [
        (63, 63, True),
        (63, "63", True),
        (63, 64, False),
        ("ent.dev.svc.cluster.local", "Ent.dev.svc.cluster.local.", True),
        ("10.244.1.2", "10.244.1.20", False),
    ],
)
def test_values_are_compared_as_people_mean_them(value: Value, wanted: Value, same: bool) -> None:
    assert equal(value, wanted) is same
