"""Fragments: put together in any order, never wrongly, and forgotten after 30 seconds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.net.reassembly import MAX_QUEUES, Reassembly, Reassembly6
from netsim.wire import ipv4, ipv6
from tests.net.network import through_a_router, two_hosts, two_nodes

A6, B6 = (bytes.fromhex("fd00") + bytes(13) + bytes([number]) for number in (1, 2))
A, B = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"


def packet(payload: bytes, number: int = 7, source: bytes = A) -> bytes:
    return ipv4.build(source, B, ipv4.UDP, payload, identification=number, dont_fragment=False)


def piece(payload: bytes, offset: int, *, more: bool, number: int = 7) -> bytes:
    return ipv4.build(
        A, B, ipv4.UDP, payload, identification=number, dont_fragment=False, more_fragments=more,
        fragment_offset=offset,
    )  # fmt: skip


@given(
    payload=st.binary(min_size=50, max_size=3000),
    mtu=st.integers(60, 1500),
    order=st.randoms(use_true_random=False),
    repeats=st.integers(0, 5),
)
def test_pieces_in_any_order_and_number_make_the_packet(
    payload: bytes, mtu: int, order: Random, repeats: int
) -> None:
    """The last copy of each piece completes it, whatever came before."""
    pieces = ipv4.fragment(packet(payload), mtu)
    extra = [order.choice(pieces) for _ in range(repeats)]
    arriving = [*pieces, *extra]
    order.shuffle(arriving)
    reassembly, wholes = Reassembly(), []
    for data in arriving:
        whole = reassembly.add(data, 0.0)
        if whole is not None:
            wholes.append(ipv4.parse(whole.data))
            assert whole.largest == max(map(len, pieces))
            break
    assert [whole.payload for whole in wholes] == [payload]
    assert not wholes[0].more_fragments and wholes[0].fragment_offset == 0


@given(
    payload=st.binary(min_size=50, max_size=3000),
    mtu=st.integers(60, 1500),
    order=st.randoms(use_true_random=False),
)
def test_those_of_ipv6_too(payload: bytes, mtu: int, order: Random) -> None:
    data = ipv6.build(A6, B6, ipv4.UDP, payload, hop_limit=9)
    pieces = ipv6.fragment(data, mtu, 7)
    assert all(len(piece) <= mtu for piece in pieces)
    order.shuffle(pieces)
    reassembly = Reassembly6()
    *rest, last = [reassembly.add(piece, 0.0) for piece in pieces]
    assert last == (data, max(map(len, pieces))) and not any(rest)


def test_pieces_of_two_packets_do_not_mix() -> None:
    reassembly = Reassembly()
    one, two = packet(b"1" * 100, 1), packet(b"2" * 100, 2)
    other = packet(b"3" * 100, 1, source=b"\x0a\x00\x00\x09")
    pieces = [ipv4.fragment(data, 68) for data in (one, two, other)]
    got = [reassembly.add(data, 0.0) for row in zip(*pieces, strict=True) for data in row]
    assert [ipv4.parse(whole.data).payload[:1] for whole in got if whole] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece(b"a" * 96, 0, more=True), piece(b"b" * 96, 48, more=True)],  # overlaps behind
        [piece(b"a" * 96, 48, more=True), piece(b"b" * 96, 0, more=True)],  # overlaps before
        [piece(b"a" * 96, 0, more=True), piece(b"b" * 96, 0, more=True)],  # the same place, other bytes
        [piece(b"a" * 96, 96, more=True), piece(b"b" * 48, 0, more=False)],  # something behind the end
        [piece(b"a" * 8, 96, more=False), piece(b"b" * 8, 200, more=False)],  # two ends
        [piece(b"a" * 8, 96, more=False), piece(b"b" * 8, 200, more=True)],
        [piece(b"a" * 8, 65528, more=False)],  # ends behind 65,535
        [piece(b"a" * 7, 0, more=True)],  # not a multiple of 8 and not the end
    ],
)
def test_pieces_that_contradict_each_other_drop_the_packet(pieces: list[bytes]) -> None:
    reassembly = Reassembly()
    assert [reassembly.add(data, 0.0) for data in pieces] == [None] * len(pieces)
    wholes = [reassembly.add(data, 0.0) for data in ipv4.fragment(packet(b"x" * 200), 120)]
    assert wholes[-1] and ipv4.parse(wholes[-1].data).payload == b"x" * 200  # nothing of the old ones is left


@pytest.mark.parametrize(
    ("reassembly", "pieces", "timeout"),
    [
        (Reassembly(), ipv4.fragment(packet(b"x" * 100), 100), 30.0),
        (Reassembly6(), ipv6.fragment(ipv6.build(A6, B6, 17, b"x" * 60), 100, 7), 60.0),
    ],
    ids=["ipv4", "ipv6"],
)
def test_pieces_are_forgotten_after_their_time(
    reassembly: Reassembly, pieces: list[bytes], timeout: float
) -> None:
    first, last = pieces
    assert reassembly.add(first, 0.0) is None
    assert reassembly.add(last, timeout) is None
    assert reassembly.add(first, timeout + 1) is not None


def test_there_is_a_limit_to_unfinished_packets() -> None:
    reassembly = Reassembly()
    for number in range(MAX_QUEUES + 1):
        reassembly.add(piece(b"x" * 8, 0, more=True, number=number), 0.0)
    assert reassembly.add(piece(b"y", 8, more=False, number=0), 0.0) is None
    assert reassembly.add(piece(b"y", 8, more=False, number=MAX_QUEUES), 0.0) is not None


def test_a_large_ping_is_cut_and_put_together() -> None:
    net = two_hosts()
    assert net.ping("a", "10.0.0.2", size=5000) == "reply from 10.0.0.2"
    assert max(len(data) for data in net.seen("a/eth0")) == 1514


def test_a_router_cuts_for_a_smaller_link() -> None:
    net = through_a_router(far_mtu=600)
    assert net.ping("a", "10.0.1.1", size=1400) == "reply from 10.0.1.1"
    assert max(len(data) for data in net.seen("b/eth0", outbound=False)) == 596 + 14  # 8-byte steps
    assert max(len(data) for data in net.seen("router/eth0", outbound=False)) == 1442
    # The router has no rules and tracks nothing: it passes the pieces of the answer on as they are.
    assert max(len(data) for data in net.seen("a/eth0", outbound=False)) == 596 + 14


def test_a_router_that_tracks_puts_the_pieces_together_first() -> None:
    """nf_defrag_ipv4: conntrack wants whole packets; the way out cuts them again as it needs."""
    net = through_a_router(far_mtu=600)
    net.service("10.9.9.9:80", ["10.0.1.1:80"])
    assert net.ping("a", "10.0.1.1", size=1400) == "reply from 10.0.1.1"
    assert max(len(data) for data in net.seen("a/eth0", outbound=False)) == 1442


def test_vxlan_envelopes_are_cut_on_a_small_underlay() -> None:
    """DF is unset outside by default, so that the Pods' packets arrive whatever the underlay's MTU is."""
    net = two_nodes(underlay_mtu=1000)
    assert net.ping("p", "10.244.2.2", size=1400, df=True) == "reply from 10.244.2.2"
    outside = net.packets("n1/eth0", outbound=True)
    assert [p.fragment_offset for p in outside if p.protocol == ipv4.UDP] == [0, 976]
    assert not any(p.dont_fragment for p in outside)


def test_vxlan_envelopes_under_way_at_once_do_not_mix() -> None:
    net = two_nodes(underlay_mtu=1000)
    net.ping("p", "10.244.2.2", size=1400)
    net.ping("p", "10.244.2.3", size=1400)
    numbers = [p.identification for p in net.packets("n1/eth0", outbound=True) if p.protocol == ipv4.UDP]
    assert len(numbers) == 4 and len(set(numbers)) == 2
