"""Whatever bytes come, a codec reads them or raises WireError: nothing else, and nothing silently wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.wire import arp, ethernet, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp, vxlan

A = bytes([10, 244, 1, 2])
B = bytes([10, 244, 2, 2])
MAC = bytes([2, 0, 0, 0, 0, 1])

UDP_SEGMENT = udp.build(A, B, 1000, 53, b"query")
TCP_SEGMENT = tcp.build(A, B, tcp.Tcp(1000, 80, 1, 2, tcp.SYN, 64240, 1460, b"data"))
PACKET = ipv4.build(A, B, ipv4.UDP, UDP_SEGMENT)
ERROR = ipv4.build(B, A, ipv4.ICMP, icmp.build_error(icmp.UNREACHABLE, icmp.PORT, PACKET))
ECHO = icmp.build_echo(icmp.ECHO_REQUEST, 1, 2, b"ping")

A6, B6 = bytes([0xFD]) + bytes(14) + b"\1", bytes([0xFD]) + bytes(14) + b"\2"
PACKET6 = ipv6.build(A6, B6, ipv4.UDP, udp.build(A6, B6, 1000, 53, b"query"))
ERROR6 = ipv6.build(
    B6, A6, ipv6.ICMPV6, icmp6.build_error(B6, A6, icmp.UNREACHABLE, icmp.PORT, PACKET6)
)  # fmt: skip
ECHO6 = icmp6.build_echo(A6, B6, icmp6.ECHO_REQUEST, 1, 2, b"ping")
QUESTION = ndp.build(A6, B6, ndp.Ndp(ndp.SOLICITATION, B6, MAC))
PIECE = ipv6.fragment(ipv6.build(A6, B6, ipv4.UDP, bytes(100)), 80, 7)[0]


def quoted_nat(packet: bytes) -> bytes:
    return ipv4.rewrite_quoted(packet, source=B, source_port=1, destination=A, destination_port=2)


def nat(packet: bytes) -> bytes:
    return ipv4.rewrite(packet, source=B, source_port=1, destination=A, destination_port=2)


READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "ethernet": (ethernet.parse, ethernet.build(MAC, MAC, ethernet.ETHERTYPE_IPV4, PACKET)),
    "arp": (arp.parse, arp.build(arp.Arp(arp.REQUEST, MAC, A, bytes(6), B))),
    "ipv4": (ipv4.parse, PACKET),
    "ipv4 unverified": (lambda data: ipv4.parse(data, verify=False), PACKET),
    "rewrite": (nat, PACKET),
    "rewrite_quoted": (quoted_nat, ERROR),
    "trim": (ipv4.trim, PACKET),
    "decrement_ttl": (ipv4.decrement_ttl, PACKET),
    "fragment": (lambda data: ipv4.fragment(data, 28), PACKET),
    "icmp": (icmp.parse, ECHO),
    "icmp unverified": (lambda data: icmp.parse(data, verify=False), ECHO),
    "udp": (udp.parse, UDP_SEGMENT),
    "udp verified": (lambda data: udp.parse(data, ipv4.pseudo_header(A, B, 17, len(data))), UDP_SEGMENT),
    "tcp": (tcp.parse, TCP_SEGMENT),
    "tcp verified": (lambda data: tcp.parse(data, ipv4.pseudo_header(A, B, 6, len(data))), TCP_SEGMENT),
    "ipv6": (ipv6.parse, PACKET6),
    "ipv6 fragment": (lambda data: ipv6.parse_fragment(ipv6.parse(data)), PIECE),
    "icmp6": (icmp6.parse, ECHO6),
    "icmp6 verified": (
        lambda data: icmp6.parse(data, ipv6.pseudo_header(A6, B6, ipv6.ICMPV6, len(data))),
        ECHO6,
    ),
    "ndp": (lambda data: ndp.parse(ipv6.parse(data)), QUESTION),
    "vxlan": (vxlan.parse, vxlan.build(1, b"frame")),
}


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_damaged_bytes_raise_nothing_but_wire_error(name: str, data: st.DataObject) -> None:
    read, sound = READERS[name]
    read(sound)
    cut = sound[: data.draw(st.integers(0, len(sound)))]
    patch = data.draw(st.binary(max_size=12))
    at = data.draw(st.integers(0, len(cut)))
    for damaged in (cut, cut[:at] + patch + cut[at + len(patch) :], data.draw(st.binary(max_size=80))):
        try:
            read(damaged)
        except WireError as error:
            assert error.header and str(error).startswith(f"{error.header}: ")


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (ethernet.parse, bytes(13), "ethernet: 13 bytes are too few for a 14-byte header"),
        (arp.parse, bytes(27), "arp: 27 bytes are too few for a message of 28"),
        (arp.parse, bytes(28), "arp: hardware type 0, protocol 0x0000 is not IPv4 on Ethernet"),
        (ipv4.parse, b"", "ipv4: 0 bytes are too few for a 20-byte header"),
        (ipv4.parse, b"\x60" + bytes(39), "ipv4: version 6, not 4"),
        (ipv4.parse, b"\x44" + PACKET[1:], "ipv4: header length 16 in a packet of 33 bytes"),
        (ipv4.parse, PACKET[:-1], "ipv4: total length 33 in a packet of 32 bytes"),
        (ipv4.parse, PACKET[:8] + b"\1" + PACKET[9:], "ipv4: wrong header checksum"),
        (icmp.parse, bytes(8), "icmp: wrong checksum"),
        (icmp.parse, ECHO[:-1] + b"!", "icmp: wrong checksum"),
        (udp.parse, bytes(7), "udp: 7 bytes are too few for an 8-byte header"),
        (udp.parse, bytes(8), "udp: length 0 in a segment of 8 bytes"),
        (READERS["udp verified"][0], UDP_SEGMENT[:-1] + b"!", "udp: wrong checksum"),
        (tcp.parse, bytes(19), "tcp: 19 bytes are too few for a 20-byte header"),
        (tcp.parse, bytes(20), "tcp: header length 0 in a segment of 20 bytes"),
        (READERS["tcp verified"][0], TCP_SEGMENT[:-1] + b"!", "tcp: wrong checksum"),
        (ipv6.parse, bytes(39), "ipv6: 39 bytes are too few for a 40-byte header"),
        (ipv6.parse, PACKET6[:-1], "ipv6: length 53 in a packet of 52 bytes"),
        (READERS["ipv6 fragment"][0], PIECE[:4] + b"\0\7" + PIECE[6:], "ipv6: a fragment header that is cut"),
        (icmp6.parse, bytes(7), "icmp6: 7 bytes are too few for an 8-byte header"),
        (READERS["icmp6 verified"][0], ECHO6[:-1] + b"!", "icmp6: wrong checksum"),
        (READERS["ndp"][0], ERROR6, "ndp: ICMPv6 type 1 is no message about neighbours"),
        (vxlan.parse, bytes(7), "vxlan: 7 bytes are too few for an 8-byte header"),
        (vxlan.parse, bytes(8), "vxlan: the flag that says that the VNI is valid is not set"),
    ],
)
def test_the_error_says_what_is_wrong(read: Callable[[bytes], object], data: bytes, message: str) -> None:
    with pytest.raises(WireError) as caught:
        read(data)
    assert str(caught.value) == message


def test_bytes_behind_a_datagrams_end_are_dropped() -> None:
    data = UDP_SEGMENT + b"padding"
    assert udp.parse(data, ipv4.pseudo_header(A, B, ipv4.UDP, len(data))).payload == b"query"


@pytest.mark.parametrize(
    "options",
    [b"\x01\x01\x02\x04", b"\x02\x00\x05\xb4", b"\x08\x0a\0\0", b"\x00\x02\x04\x05", b"\x02\x03\x05\0"],
)
def test_tcp_options_that_make_no_sense_are_ignored(options: bytes) -> None:
    segment = TCP_SEGMENT[:20] + options + b"data"
    assert tcp.parse(segment) == tcp.Tcp(1000, 80, 1, 2, tcp.SYN, 64240, None, b"data")


@given(
    cut=st.integers(0, len(PACKET)), patch=st.binary(max_size=4), at=st.integers(0, 20),
    tail=st.binary(max_size=9),
)  # fmt: skip
def test_trimming_accepts_what_parsing_accepts_and_drops_padding(
    cut: int, patch: bytes, at: int, tail: bytes
) -> None:
    damaged = PACKET[:at] + patch + PACKET[at + len(patch) : cut] + tail
    try:
        header = ipv4.parse(damaged)
    except WireError as refused:
        with pytest.raises(WireError) as raised:
            ipv4.trim(damaged)
        assert str(raised.value) == str(refused)
    else:
        assert ipv4.trim(damaged).endswith(header.payload) and ipv4.parse(ipv4.trim(damaged)) == header


def test_trimming_leaves_a_packet_without_padding_as_it_is() -> None:
    assert ipv4.trim(PACKET) is PACKET and ipv4.trim(PACKET + bytes(13)) == PACKET
