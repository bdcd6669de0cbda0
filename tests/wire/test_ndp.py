"""Neighbour discovery's messages, against scapy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    in6_getnsma,
    in6_getnsmac,
)

from netsim.base.address import render_ip, render_mac
from netsim.base.errors import WireError
from netsim.wire import icmp6, ipv6, ndp
from tests.wire.strategies import macs

ADDRESSES = st.binary(min_size=16, max_size=16).filter(lambda address: address[0] != 0xFF and any(address))
A, B = (bytes.fromhex("fd00") + bytes(13) + bytes([number]) for number in (1, 2))
MAC = bytes.fromhex("02 00 00 00 00 07")


@given(ADDRESSES, ADDRESSES, st.none() | macs)
def test_a_question_is_what_scapy_makes_of_it(source: bytes, target: bytes, mac: bytes | None) -> None:
    group = ndp.solicited_node(target)
    assert group == in6_getnsma(target)
    assert render_mac(ndp.group_mac(group)) == in6_getnsmac(group)
    message = ndp.Ndp(ndp.SOLICITATION, target, mac)
    packet = ndp.build(source, group, message)
    made = IPv6(src=render_ip(source), dst=render_ip(group), hlim=255) / ICMPv6ND_NS(tgt=render_ip(target))
    if mac is not None:
        made /= ICMPv6NDOptSrcLLAddr(lladdr=render_mac(mac))
    assert packet == bytes(made)
    assert ndp.parse(ipv6.parse(packet)) == message


@given(ADDRESSES, ADDRESSES, st.none() | macs, st.booleans(), st.booleans(), st.booleans())
def test_and_so_is_an_answer(
    source: bytes, destination: bytes, mac: bytes | None, router: bool, solicited: bool, override: bool
) -> None:
    message = ndp.Ndp(ndp.ADVERTISEMENT, source, mac, router, solicited, override)
    packet = ndp.build(source, destination, message)
    made = IPv6(src=render_ip(source), dst=render_ip(destination), hlim=255) / ICMPv6ND_NA(
        tgt=render_ip(source), R=router, S=solicited, O=override
    )
    if mac is not None:
        made /= ICMPv6NDOptDstLLAddr(lladdr=render_mac(mac))
    assert packet == bytes(made)
    assert ndp.parse(ipv6.parse(packet)) == message


def test_other_options_are_skipped() -> None:
    question = ICMPv6ND_NS(tgt=render_ip(B)) / ICMPv6NDOptMTU() / ICMPv6NDOptSrcLLAddr(lladdr=render_mac(MAC))
    packet = bytes(IPv6(src=render_ip(A), dst=render_ip(B), hlim=255) / question)
    assert ndp.parse(ipv6.parse(packet)) == ndp.Ndp(ndp.SOLICITATION, B, MAC)


def wrong(
    *, kind: int = ndp.SOLICITATION, code: int = 0, flags: int = 0, body: bytes = B, hops: int = 255,
    source: bytes = A, destination: bytes = B, damage: bool = False,
) -> bytes:  # fmt: skip
    data = icmp6.build(source, destination, kind, code, flags << 24, body)
    if damage:
        data = data[:2] + bytes([data[2] ^ 1]) + data[3:]
    return ipv6.build(source, destination, ipv6.ICMPV6, data, hop_limit=hops)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(wrong(hops=254), id="from behind a router"),
        pytest.param(wrong(damage=True), id="checksum"),
        pytest.param(wrong(code=1), id="code"),
        pytest.param(wrong(body=B[:15]), id="too short"),
        pytest.param(wrong(body=ndp.ALL_NODES), id="a group as target"),
        pytest.param(wrong(body=B + b"\x01\x00" + MAC), id="option of length 0"),
        pytest.param(wrong(body=B + b"\x01\x02" + MAC), id="option that is cut"),
        pytest.param(wrong(body=B + b"\x01"), id="option of one byte"),
        pytest.param(wrong(source=ndp.UNSPECIFIED), id="nobody asks by unicast"),
        pytest.param(
            wrong(
                source=ndp.UNSPECIFIED, destination=ndp.solicited_node(B), body=B + b"\x01\x01" + MAC
            ),
            id="nobody has a MAC",
        ),
        pytest.param(
            wrong(kind=ndp.ADVERTISEMENT, destination=ndp.ALL_NODES, flags=0x40), id="answer to a group"
        ),
        pytest.param(wrong(kind=icmp6.ECHO_REQUEST), id="something else"),
        pytest.param(ipv6.build(A, B, ipv6.ICMPV6, b"\x87", hop_limit=255), id="no message"),
    ],
)  # fmt: skip
def test_what_the_rfc_forbids_is_refused(packet: bytes) -> None:
    """RFC 4861 sections 7.1.1 and 7.1.2."""
    with pytest.raises(WireError):
        ndp.parse(ipv6.parse(packet))


def test_nobody_may_ask_in_the_group_whether_the_address_is_free() -> None:
    group = ndp.solicited_node(B)
    packet = ndp.build(ndp.UNSPECIFIED, group, ndp.Ndp(ndp.SOLICITATION, B))
    assert ndp.parse(ipv6.parse(packet)).target == B


@given(ADDRESSES, macs)
def test_a_frame_tells_its_target_by_its_place(target: bytes, mac: bytes) -> None:
    group = ndp.solicited_node(target)
    frame = ndp.group_mac(group) + mac + b"\x86\xdd" + ndp.build(A, group, ndp.Ndp(ndp.SOLICITATION, target))
    assert (ndp.kind_of_frame(frame), ndp.target_of_frame(frame)) == (ndp.SOLICITATION, target)
    assert ndp.asks_in_group(frame[:6], target) and ndp.is_group(frame[:6])
    assert ndp.kind_of_frame(frame[:60]) == 0 == ndp.kind_of_frame(frame[:12] + b"\x08\x00" + frame[14:])
