"""SCTP's common header, and its rewriting by NAT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.wire import ipv4, sctp

PORTS = st.integers(0, 65535)
A, B, C = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 0, 0, 3])


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        pytest.param(b"123456789", 0xE3069283, id="the check value of CRC-32/ISCSI"),
        pytest.param(bytes(32), 0x8A9136AA, id="RFC 3720 B.4: zeros"),
        pytest.param(b"\xff" * 32, 0x62A8AB43, id="RFC 3720 B.4: ones"),
        pytest.param(bytes(range(32)), 0x46DD794E, id="RFC 3720 B.4: ascending"),
    ],
)
def test_crc32c(data: bytes, crc: int) -> None:
    assert sctp.crc32c(data) == crc


@given(PORTS, PORTS, st.integers(0, 2**32 - 1), st.binary(max_size=40))
def test_what_is_built_is_read(source: int, destination: int, tag: int, chunks: bytes) -> None:
    packet = sctp.build(source, destination, tag, chunks)
    assert sctp.parse(packet) == sctp.Sctp(source, destination, tag, chunks)


@pytest.mark.parametrize("packet", [b"", bytes(11), sctp.build(1, 2, 3, b"chunk")[:-1]])
def test_cut_packets_are_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        sctp.parse(packet)


@given(PORTS, PORTS, st.binary(max_size=40))
def test_nat_leaves_a_packet_that_verifies(source: int, destination: int, chunks: bytes) -> None:
    packet = ipv4.build(A, B, sctp.SCTP, sctp.build(5000, 80, 7, chunks))
    got = ipv4.parse(ipv4.rewrite(packet, destination=C, source_port=source, destination_port=destination))
    assert got.destination == C
    assert sctp.parse(got.payload) == sctp.Sctp(source, destination, 7, chunks)
