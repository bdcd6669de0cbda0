"""Rewrites and forwarding patch a packet into exactly what building it anew would give."""

from __future__ import annotations

from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.wire import icmp, ipv4, tcp, udp
from tests.wire.strategies import addresses, longs, octets, payloads, segments, words

A = bytes([10, 244, 1, 2])
B = bytes([10, 96, 0, 10])
C = bytes([10, 244, 2, 7])
NODE = bytes([192, 168, 10, 11])


class Nat(TypedDict, total=False):
    """What ``rewrite`` can be asked for."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int


def udp_packet(source: bytes, destination: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    return ipv4.build(source, destination, ipv4.UDP, udp.build(source, destination, sport, dport, payload))


nats = st.fixed_dictionaries(
    {},
    optional={"source": addresses, "destination": addresses, "source_port": words, "destination_port": words},
)


@given(addresses, addresses, words, words, payloads, nats)
def test_rewritten_udp_equals_udp_built_so(
    source: bytes, destination: bytes, sport: int, dport: int, payload: bytes, nat: Nat
) -> None:
    wanted = udp_packet(
        nat.get("source", source),
        nat.get("destination", destination),
        nat.get("source_port", sport),
        nat.get("destination_port", dport),
        payload,
    )
    assert ipv4.rewrite(udp_packet(source, destination, sport, dport, payload), **nat) == wanted


@given(addresses, addresses, segments, nats)
def test_rewritten_tcp_equals_tcp_built_so(
    source: bytes, destination: bytes, segment: tcp.Tcp, nat: Nat
) -> None:
    new_source, new_destination = nat.get("source", source), nat.get("destination", destination)
    new_segment = segment._replace(
        source_port=nat.get("source_port", segment.source_port),
        destination_port=nat.get("destination_port", segment.destination_port),
    )
    packet = ipv4.build(source, destination, ipv4.TCP, tcp.build(source, destination, segment))
    wanted = ipv4.build(
        new_source, new_destination, ipv4.TCP, tcp.build(new_source, new_destination, new_segment)
    )
    assert ipv4.rewrite(packet, **nat) == wanted


@given(st.sampled_from([icmp.ECHO_REQUEST, icmp.ECHO_REPLY]), words, words, words, payloads)
def test_an_echos_port_is_its_identifier(
    type_: int, identifier: int, new_identifier: int, sequence: int, payload: bytes
) -> None:
    packet = ipv4.build(A, B, ipv4.ICMP, icmp.build_echo(type_, identifier, sequence, payload))
    wanted = ipv4.build(C, B, ipv4.ICMP, icmp.build_echo(type_, new_identifier, sequence, payload))
    assert ipv4.rewrite(packet, source=C, source_port=new_identifier) == wanted
    assert ipv4.rewrite(packet, source=C, destination_port=new_identifier) == wanted


def test_an_echo_reply_of_all_zeros_gets_the_checksum_of_zeros() -> None:
    packet = ipv4.build(A, B, ipv4.ICMP, icmp.build_echo(icmp.ECHO_REPLY, 7, 0, bytes(56)))
    rewritten = ipv4.rewrite(packet, source_port=0)
    assert ipv4.parse(rewritten).payload == icmp.build_echo(icmp.ECHO_REPLY, 0, 0, bytes(56))


def test_a_udp_checksum_of_0_stays_0() -> None:
    packet = bytearray(udp_packet(A, B, 1000, 53, b"query"))
    packet[26:28] = b"\0\0"
    rewritten = ipv4.rewrite(bytes(packet), destination=C, destination_port=5353)
    assert rewritten[26:28] == b"\0\0"
    assert (
        udp.parse(ipv4.parse(rewritten).payload, ipv4.pseudo_header(A, C, ipv4.UDP, 13)).destination_port
        == 5353
    )


def test_a_later_fragment_keeps_its_payload() -> None:
    first, *later = ipv4.fragment(ipv4.build(A, B, ipv4.UDP, bytes(range(200)), dont_fragment=False), 100)
    assert len(later) == 2
    for piece in later:
        rewritten = ipv4.rewrite(piece, destination=C, source_port=1, destination_port=2)
        assert ipv4.parse(rewritten) == ipv4.parse(piece)._replace(destination=C)
    assert ipv4.parse(ipv4.rewrite(first, source_port=0x0101)).payload[:2] == b"\1\1"


def test_fragments_rewritten_one_by_one_join_to_the_rewritten_datagram() -> None:
    packet = udp_packet(A, B, 1000, 53, bytes(range(256)) * 4)
    pieces = [
        ipv4.parse(ipv4.rewrite(p, destination=C, destination_port=5353)) for p in ipv4.fragment(packet, 300)
    ]
    assert len(pieces) > 2
    assert b"".join(piece.payload for piece in pieces) == udp.build(A, C, 1000, 5353, bytes(range(256)) * 4)


def test_other_protocols_get_other_addresses_only() -> None:
    packet = ipv4.build(A, B, 47, b"an encapsulated frame")
    assert ipv4.rewrite(packet, source=C, source_port=9) == ipv4.build(C, B, 47, b"an encapsulated frame")


def test_options_stay_in_front_of_the_ports() -> None:
    plain = udp_packet(A, B, 1000, 53, b"query")
    header = bytearray(plain[:20]) + b"\x94\x04\0\0"  # router alert
    header[0] = 0x46
    header[2:4] = (len(plain) + 4).to_bytes(2, "big")
    header[10:12] = b"\0\0"
    from_scratch = ipv4.rewrite(bytes(header) + plain[20:], destination=C, destination_port=54)
    assert from_scratch[20:24] == b"\x94\x04\0\0"
    assert ipv4.parse(from_scratch, verify=False).payload == udp.build(A, C, 1000, 54, b"query")


@pytest.mark.parametrize("protocol", [ipv4.UDP, ipv4.TCP])
@given(words, words, st.binary(max_size=900), nats)
def test_a_rewritten_quote_equals_the_error_about_the_rewritten_packet(
    protocol: int, sport: int, dport: int, payload: bytes, nat: Nat
) -> None:
    def packet(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
        if protocol == ipv4.UDP:
            return udp_packet(source, destination, source_port, destination_port, payload)
        segment = tcp.Tcp(source_port, destination_port, 1, 2, tcp.ACK, 500, None, payload)
        return ipv4.build(source, destination, ipv4.TCP, tcp.build(source, destination, segment))

    def error(about: bytes) -> bytes:
        return ipv4.build(NODE, A, ipv4.ICMP, icmp.build_error(icmp.UNREACHABLE, icmp.PORT, about))

    wanted = packet(
        nat.get("source", A),
        nat.get("destination", B),
        nat.get("source_port", sport),
        nat.get("destination_port", dport),
    )
    assert ipv4.rewrite_quoted(error(packet(A, B, sport, dport)), **nat) == error(wanted)


@given(segments, nats)
def test_a_quote_of_eight_bytes_keeps_a_right_icmp_checksum(segment: tcp.Tcp, nat: Nat) -> None:
    packet = ipv4.build(A, B, ipv4.TCP, tcp.build(A, B, segment))[:28]
    error = ipv4.build(NODE, A, ipv4.ICMP, icmp.build_error(icmp.TIME_EXCEEDED, 0, packet))
    quoted = icmp.parse(ipv4.parse(ipv4.rewrite_quoted(error, **nat)).payload).payload
    assert quoted == ipv4.rewrite(packet, **nat)
    assert quoted[24:28] == packet[24:28]


def test_an_errors_own_rewrite_leaves_its_quote_alone() -> None:
    message = icmp.build_error(icmp.UNREACHABLE, icmp.PORT, udp_packet(A, B, 1000, 53, b"query"))
    packet = ipv4.build(NODE, A, ipv4.ICMP, message)
    assert ipv4.rewrite(packet, source=B, source_port=53) == ipv4.build(B, A, ipv4.ICMP, message)


@given(octets.filter(bool), octets, words, longs)
def test_one_hop_equals_a_packet_built_with_a_smaller_ttl(
    ttl: int, tos: int, identification: int, tail: int
) -> None:
    def packet(ttl: int) -> bytes:
        payload = tail.to_bytes(4, "big")
        return ipv4.build(A, B, 99, payload, ttl=ttl, tos=tos, identification=identification)

    assert ipv4.decrement_ttl(packet(ttl)) == packet(ttl - 1)


def test_a_ttl_of_0_does_not_go_round() -> None:
    with pytest.raises(WireError, match="time to live of 0"):
        ipv4.decrement_ttl(ipv4.build(A, B, 99, b"", ttl=0))
