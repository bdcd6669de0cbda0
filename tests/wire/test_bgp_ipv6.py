"""IPv6 routes in BGP: MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760, RFC 2545), with scapy as the judge."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import bgp as scapy_bgp

from netsim.wire import bgp
from netsim.wire.bgp_attributes import AS_SEQUENCE, PathAttributes, Prefix, Segment, prefix_from_network
from netsim.wire.bgp_errors import BgpError
from tests.wire.bgp_values import attributes

NEXT_HOP = IPv6Address("fd00:192:168:10::11").packed
ROUTE = PathAttributes(0, (Segment(AS_SEQUENCE, (64512,)),), NEXT_HOP)


def prefix(text: str) -> Prefix:
    return prefix_from_network(IPv6Network(text))


def _prefix(number: int, length: int) -> Prefix:
    return prefix_from_network(IPv6Network((number, length), strict=False))


# scapy takes a prefix of no octets for the number that ADD-PATH puts before one.
_local = st.builds(
    lambda low, length: _prefix(0xFD << 120 | low, length), st.integers(0, 2**120 - 1), st.integers(8, 128)
)
local_prefixes = st.lists(_local, max_size=8).map(tuple)
prefixes = st.lists(st.builds(_prefix, st.integers(0, 2**128 - 1), st.integers(0, 128)), max_size=8).map(
    tuple
)


def read(data: bytes, family: int = 6) -> list[bgp.Message]:
    frames, rest = bgp.split(data)
    assert rest == b""
    return [bgp.parse(frame, family=family) for frame in frames]


def together(messages: list[bgp.Message]) -> bgp.Update:
    """The prefixes of several UPDATEs, with the attributes of the last."""
    updates = [message for message in messages if isinstance(message, bgp.Update)]
    withdrawn = tuple(one for update in updates for one in update.withdrawn)
    announced = tuple(one for update in updates for one in update.announced)
    path = next((update.attributes for update in reversed(updates) if update.announced), PathAttributes())
    return bgp.Update(withdrawn, path, announced)


@given(withdrawn=prefixes, announced=prefixes, path=attributes())
def test_an_update_is_read_as_it_was_built(
    withdrawn: tuple[Prefix, ...], announced: tuple[Prefix, ...], path: PathAttributes
) -> None:
    path = path._replace(next_hop=NEXT_HOP)
    update = bgp.Update(withdrawn, path if announced else PathAttributes(), announced)
    data = bgp.build_updates(update)
    assert together(read(b"".join(data))) == update
    if withdrawn or announced:
        assert read(bgp.build(update)) == [update]


def test_more_prefixes_than_one_message_holds_are_split() -> None:
    many = tuple(prefix(f"fd00:10:{number:x}::/64") for number in range(1000))
    messages = bgp.build_updates(bgp.Update(many, ROUTE, many))
    assert len(messages) > 4
    assert max(map(len, messages)) <= bgp.MAX_LENGTH
    assert together(read(b"".join(messages))) == bgp.Update(many, ROUTE, many)


def test_the_bytes_of_one_route() -> None:
    data = bgp.build(bgp.Update((), ROUTE, (prefix("fd00:10:244:1::/64"),)))
    assert data[19:].hex(" ") == (
        "00 00 00 2e "  # nothing withdrawn; 46 octets of attributes
        "80 0e 1e 00 02 01 10 fd 00 01 92 01 68 00 10 00 00 00 00 00 00 00 11 00 "
        "40 fd 00 00 10 02 44 00 01 "
        "40 01 01 00 40 02 06 02 01 00 00 fc 00"
    )


@given(withdrawn=local_prefixes, announced=local_prefixes)
def test_scapy_reads_the_same(withdrawn: tuple[Prefix, ...], announced: tuple[Prefix, ...]) -> None:
    for update in (bgp.Update((), ROUTE, announced), bgp.Update(withdrawn)):
        for data in bgp.build_updates(update):
            seen = scapy_bgp.BGPHeader(data)[scapy_bgp.BGPUpdate]
            found = {attribute.type_code: attribute.attribute for attribute in seen.path_attr}
            if update.announced:
                reached = found[14]
                assert (reached.afi, reached.safi, reached.nh_v6_addr) == (2, 1, "fd00:192:168:10::11")
                assert [IPv6Network(item.prefix) for item in reached.nlri] == [
                    one.network for one in announced
                ]
            else:
                gone = found[15].afi_safi_specific.withdrawn_routes
                assert [IPv6Network(item.prefix) for item in gone] == [one.network for one in withdrawn]


def test_a_session_passes_over_the_other_family() -> None:
    six = bgp.build(bgp.Update((), ROUTE, (prefix("fd00:10:244:1::/64"),)))
    assert [m.announced for m in read(six, family=4) if isinstance(m, bgp.Update)] == [()]
    four = bgp.Update((), ROUTE._replace(next_hop=bytes([192, 168, 10, 11])), (Prefix(bytes(4), 0),))
    assert [m.announced for m in read(bgp.build(four)) if isinstance(m, bgp.Update)] == [()]


def test_the_link_local_half_of_a_next_hop_is_not_taken() -> None:
    """RFC 2545 section 3: 32 octets, where both ends are on one link."""
    both = NEXT_HOP + IPv6Address("fe80::1").packed
    data = bgp.build(bgp.Update((), ROUTE._replace(next_hop=both), (prefix("fd00::/16"),)))
    (update,) = read(data)
    assert isinstance(update, bgp.Update)
    assert (update.attributes.next_hop, update.announced) == (NEXT_HOP, (prefix("fd00::/16"),))


@pytest.mark.parametrize("next_hop", [bytes(4), bytes(15), IPv6Address("ff02::1").packed])
def test_a_wrong_next_hop_is_refused(next_hop: bytes) -> None:
    data = bgp.build(bgp.Update((), ROUTE._replace(next_hop=next_hop or b""), (prefix("fd00::/16"),)))
    frames, _ = bgp.split(data)
    with pytest.raises(BgpError):
        bgp.parse(frames[0], family=6)


def test_an_open_says_which_family_it_speaks() -> None:
    for family, other in ((4, 6), (6, 4)):
        message = bgp.standard_open(64512, 90, bytes([192, 168, 10, 11]), family)
        assert (message.speaks(family), message.speaks(other)) == (True, False)
    silent = bgp.Open(64512, 90, bytes([192, 168, 10, 11]))
    assert (silent.speaks(4), silent.speaks(6)) == (True, False)
