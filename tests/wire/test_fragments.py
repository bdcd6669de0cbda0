"""Fragments carry the original, whole, within the MTU."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet
from scapy.packet import Raw

from netsim.base.errors import WireError
from netsim.wire import ipv4

A = bytes([10, 244, 1, 2])
B = bytes([10, 244, 2, 2])


def joined(pieces: Iterable[bytes]) -> bytes:
    """The datagram's payload from its fragments, each checked for its place."""
    payload = b""
    parsed = [ipv4.parse(piece) for piece in pieces]
    for number, piece in enumerate(parsed):
        assert piece.fragment_offset == len(payload)
        assert piece.more_fragments is (number < len(parsed) - 1)
        assert (piece.identification, piece.protocol, piece.ttl) == (77, ipv4.UDP, 9)
        payload += piece.payload
    return payload


def datagram(payload: bytes) -> bytes:
    return ipv4.build(A, B, ipv4.UDP, payload, identification=77, ttl=9, dont_fragment=False)


@given(st.binary(min_size=1, max_size=4000), st.integers(28, 1500), st.integers(28, 1500))
def test_fragments_of_fragments_join_to_the_original(payload: bytes, mtu: int, smaller: int) -> None:
    pieces = [
        again for piece in ipv4.fragment(datagram(payload), mtu) for again in ipv4.fragment(piece, smaller)
    ]
    assert max(map(len, pieces)) <= min(mtu, smaller)
    assert joined(pieces) == payload


def test_fragments_are_those_of_scapy() -> None:
    packet = datagram(bytes(3000))
    theirs = inet.fragment(inet.IP(packet), fragsize=1480)
    assert ipv4.fragment(packet, 1500) == [bytes(piece) for piece in theirs]


def test_what_fits_is_not_touched() -> None:
    packet = datagram(bytes(80))
    assert ipv4.fragment(packet, 100) == [packet]


def test_only_the_first_fragment_keeps_an_option_that_is_not_copied() -> None:
    options = [inet.IPOption_RR(routers=["1.2.3.4"]), inet.IPOption_Router_Alert()]
    built = inet.IP(src="10.0.0.1", dst="10.0.0.2", proto=99, options=options) / Raw(bytes(range(100)))
    pieces = [inet.IP(piece) for piece in ipv4.fragment(bytes(built), 90)]
    names = [[type(option).__name__ for option in piece.options] for piece in pieces]
    alert = "IPOption_Router_Alert"
    assert names[0] == ["IPOption_RR", alert, "IPOption_EOL"]
    assert names[1] == ["IPOption_NOP"] * 7 + [alert, "IPOption_EOL"]
    assert b"".join(ipv4.parse(bytes(piece)).payload for piece in pieces) == bytes(range(100))


def test_an_mtu_without_room_for_eight_bytes_is_refused() -> None:
    with pytest.raises(WireError, match="MTU of 27"):
        ipv4.fragment(datagram(bytes(80)), 27)
