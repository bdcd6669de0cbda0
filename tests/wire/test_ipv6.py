"""IPv6 headers, NAT rewrites and ICMPv6 errors, against scapy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from netsim.base.errors import WireError
from netsim.wire import icmp, icmp6, ipv6, sctp
from netsim.wire.ipv4 import TCP as TCP_NUMBER

ADDRESSES = st.binary(min_size=16, max_size=16)
PORTS = st.integers(0, 65535)
A, B = bytes(15) + b"\x01", bytes.fromhex("20010db8") + bytes(11) + b"\x02"


def checked(packet: bytes) -> bytes:
    """The packet as scapy makes it, checksums computed anew."""
    made = IPv6(packet)
    for layer in (TCP, UDP, ICMPv6EchoRequest, ICMPv6DestUnreach):
        if layer in made:
            field = "cksum" if layer in (ICMPv6EchoRequest, ICMPv6DestUnreach) else "chksum"
            delattr(made[layer], field)
            break
    return bytes(made)


@given(ADDRESSES, ADDRESSES, st.integers(0, 255), st.binary(max_size=60))
def test_what_is_built_is_read(source: bytes, destination: bytes, protocol: int, payload: bytes) -> None:
    packet = ipv6.build(source, destination, protocol, payload, hop_limit=9)
    assert ipv6.parse(packet + b"padding") == ipv6.Ipv6(source, destination, protocol, 9, payload)
    assert ipv6.parse(ipv6.decrement_hop_limit(packet)).hop_limit == 8


@pytest.mark.parametrize("packet", [b"", bytes(39), bytes(40), ipv6.build(A, B, 6, b"x")[:-1]])
def test_what_is_no_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        ipv6.trim(packet)


@pytest.mark.parametrize("layer", [TCP, UDP], ids=["tcp", "udp"])
@given(source=ADDRESSES, destination=ADDRESSES, sport=PORTS, dport=PORTS, payload=st.binary(max_size=20))
def test_nat_keeps_checksums_right(
    layer: type, source: bytes, destination: bytes, sport: int, dport: int, payload: bytes
) -> None:
    packet = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / layer(sport=1, dport=2) / Raw(payload))
    got = ipv6.rewrite(
        packet, source=source, destination=destination, source_port=sport, destination_port=dport
    )
    assert got == checked(got)
    assert (got[8:24], got[24:40]) == (source, destination)
    assert got[40:44] == sport.to_bytes(2, "big") + dport.to_bytes(2, "big")


@given(ADDRESSES, PORTS)
def test_an_echo_has_its_identifier_as_a_port(source: bytes, identifier: int) -> None:
    packet = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / ICMPv6EchoRequest(id=7, seq=3, data=b"abc"))
    got = ipv6.rewrite(packet, source=source, source_port=identifier)
    assert got == checked(got)
    assert int.from_bytes(got[44:46], "big") == identifier


@given(PORTS)
def test_sctp_has_no_pseudo_header(port: int) -> None:
    got = ipv6.rewrite(
        ipv6.build(A, B, sctp.SCTP, sctp.build(1, 2, 3, b"x")), source=B, destination_port=port
    )
    assert sctp.parse(ipv6.parse(got).payload) == sctp.Sctp(1, port, 3, b"x")


@given(ADDRESSES, PORTS)
def test_errors_verify_and_so_they_do_when_their_quote_is_rewritten(address: bytes, port: int) -> None:
    about = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=5, dport=80))
    error = ipv6.build(B, A, ipv6.ICMPV6, icmp6.build_error(B, A, icmp.UNREACHABLE, icmp.PORT, about))
    assert error == checked(error)
    assert error[40:42] == bytes([icmp6.UNREACHABLE, icmp6.PORT])
    back = ipv6.rewrite_quoted(error, destination=address, destination_port=port)
    assert back == checked(back)
    quoted = ipv6.parse(back[48:])
    assert (quoted.destination, quoted.protocol) == (address, TCP_NUMBER)
