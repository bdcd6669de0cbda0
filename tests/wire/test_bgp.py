"""BGP messages: what is built is read back, in however many pieces; four-octet numbers over old sessions."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.wire import bgp
from netsim.wire.bgp_attributes import (
    AS_SEQUENCE,
    AS_SET,
    AS_TRANS,
    Aggregator,
    PathAttributes,
    Prefix,
    Segment,
    build_attributes,
    parse_attributes,
    path_length,
    prefix_from_network,
    render_path,
)
from tests.wire.bgp_values import as_paths, asns, attributes, messages, opens, prefixes, updates

NEXT_HOP = bytes([192, 168, 10, 11])
ROUTE = PathAttributes(0, (Segment(AS_SEQUENCE, (64512,)),), NEXT_HOP)


def prefix(text: str) -> Prefix:
    return prefix_from_network(IPv4Network(text))


def read(data: bytes, *, four_octet: bool = True) -> list[bgp.Message]:
    frames, rest = bgp.split(data)
    assert rest == b""
    return [bgp.parse(frame, four_octet=four_octet) for frame in frames]


@given(messages())
def test_a_message_is_read_as_it_was_built(message: bgp.Message) -> None:
    assert read(bgp.build(message)) == [message]


@given(messages(long=False))
def test_so_it_is_in_a_session_of_two_octet_numbers(message: bgp.Message) -> None:
    assert read(bgp.build(message, four_octet=False), four_octet=False) == [message]


@given(attributes())
def test_long_as_numbers_survive_a_session_of_two_octet_ones(path: PathAttributes) -> None:
    got = parse_attributes(build_attributes(path, False), False).path
    assert got.aggregator == path.aggregator
    assert got.as_path is not None and path.as_path is not None
    assert render_path(got.as_path) == render_path(path.as_path)


@given(st.lists(messages(), max_size=4), st.data())
def test_a_stream_is_cut_where_its_messages_end_however_it_comes_in(
    sent: list[bgp.Message], data: st.DataObject
) -> None:
    stream = b"".join(bgp.build(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    got: list[bgp.Message] = []
    buffer = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames, buffer = bgp.split(buffer + stream[start:end])
        got += [bgp.parse(frame) for frame in frames]
    assert (got, buffer) == (sent, b"")


def test_the_bytes_of_an_update() -> None:
    update = bgp.Update((prefix("10.1.0.0/16"),), ROUTE, (prefix("10.244.1.0/24"), prefix("0.0.0.0/0")))
    assert bgp.build(update).hex(" ") == (
        "ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff 00 33 02 "
        "00 03 10 0a 01 "
        "00 14 40 01 01 00 40 02 06 02 01 00 00 fc 00 40 03 04 c0 a8 0a 0b "
        "18 0a f4 01 00"
    )


def test_an_open_of_a_long_as_number_says_as_trans() -> None:
    message = bgp.standard_open(4200000001, 90, bytes([10, 0, 0, 1]))
    assert (message.my_as, message.asn) == (AS_TRANS, 4200000001)
    assert message.four_octet and message.speaks(4) and message.route_refresh
    assert read(bgp.build(message)) == [message]


def test_an_open_without_capabilities_is_an_old_speakers() -> None:
    message = bgp.Open(64512, 90, bytes([10, 0, 0, 1]))
    assert (message.asn, message.four_octet, message.route_refresh) == (64512, False, False)
    assert message.speaks(4)
    assert not message._replace(capabilities=(bgp.multiprotocol(2, 1),)).speaks(4)


def test_bits_behind_a_prefixs_length_mean_nothing() -> None:
    path = build_attributes(ROUTE, True)
    body = b"\0\0" + len(path).to_bytes(2, "big") + path + bytes([20, 10, 1, 0xFF])
    message = bgp.parse(bgp.Frame(bgp.UPDATE, body))
    assert isinstance(message, bgp.Update)
    assert [str(found) for found in message.announced] == ["10.1.240.0/20"]
    assert message.announced[0].network == IPv4Network("10.1.240.0/20")


def test_ipv4_prefixes_in_multiprotocol_attributes_count_as_any_others() -> None:
    reach = bytes([0x80, 14, 13, 0, 1, 1, 4, *NEXT_HOP, 0, 24, 10, 244, 1])
    unreach = bytes([0x80, 15, 7, 0, 1, 1, 24, 10, 244, 2])
    rest = build_attributes(ROUTE._replace(next_hop=None), True)
    field = rest + reach + unreach
    body = b"\0\0" + len(field).to_bytes(2, "big") + field
    assert bgp.parse(bgp.Frame(bgp.UPDATE, body)) == bgp.Update(
        (prefix("10.244.2.0/24"),), ROUTE, (prefix("10.244.1.0/24"),)
    )


def test_families_that_nobody_agreed_on_are_passed_over() -> None:
    reach = bytes([0x80, 14, 21, 0, 2, 1, 16, *bytes(16), 0])
    unreach = bytes([0x80, 15, 3, 0, 2, 1])
    field = reach + unreach
    body = b"\0\0" + len(field).to_bytes(2, "big") + field
    assert bgp.parse(bgp.Frame(bgp.UPDATE, body)) == bgp.Update()


@pytest.mark.parametrize(
    ("short", "long", "joined"),
    [
        ("100 23456 23456", "70000 70001", "100 70000 70001"),
        ("23456 23456", "70000 70001", "70000 70001"),
        ("23456", "70000 70001", "23456"),  # the shorter AS_PATH is the newer one
        ("100 {200 300} 23456", "70000", "100 {200 300} 70000"),
        ("100", "", "100"),
    ],
)
def test_as4_path_takes_the_tail_of_as_path(short: str, long: str, joined: str) -> None:
    old = build_attributes(ROUTE._replace(as_path=path_of(short)), False)
    value = build_attributes(ROUTE._replace(as_path=path_of(long)), True)[7:-7]
    field = old + bytes([0xC0, 17, len(value)]) + value
    got = parse_attributes(field, False).path.as_path
    assert got is not None
    assert render_path(got) == joined


def path_of(text: str) -> tuple[Segment, ...]:
    """``100 {200 300} 400`` as segments."""
    segments = []
    for index, part in enumerate(text.replace("}", "{").split("{")):
        numbers = tuple(int(word) for word in part.split())
        if numbers:
            segments.append(Segment(AS_SET if index % 2 else AS_SEQUENCE, numbers))
    return tuple(segments)


def test_who_aggregates_anew_leaves_the_as4_attributes_behind() -> None:
    path = ROUTE._replace(as_path=path_of("100 23456"), aggregator=Aggregator(100, NEXT_HOP))
    field = build_attributes(path, False)
    as4 = bytes([0xC0, 17, 6, 2, 1]) + (70000).to_bytes(4, "big")
    as4 += bytes([0xC0, 18, 8]) + (70000).to_bytes(4, "big") + NEXT_HOP
    assert parse_attributes(field + as4, False).path == path


@pytest.mark.parametrize("value", [b"\2", b"\2\2\0\1\x11\x70", b"\7\1\0\1\x11\x70", b"\2\0", b"\2\1\0\0\0\0"])
def test_as4_attributes_that_make_no_sense_are_passed_over(value: bytes) -> None:
    path = ROUTE._replace(as_path=path_of("100 23456"))
    field = build_attributes(path, False) + bytes([0xC0, 17, len(value)]) + value
    assert parse_attributes(field, False).path == path


@given(as_paths(asns))
def test_a_set_counts_for_one_hop(path: tuple[Segment, ...]) -> None:
    hops = sum(1 if segment.kind == AS_SET else len(segment.asns) for segment in path)
    assert path_length(path) == hops


@given(updates(), st.lists(prefixes, max_size=2000).map(tuple))
def test_an_update_of_many_prefixes_becomes_as_few_messages_as_hold_them(
    update: bgp.Update, many: tuple[Prefix, ...]
) -> None:
    big = update._replace(withdrawn=update.withdrawn + many)
    if update.announced:
        big = big._replace(announced=update.announced + many)
    datas = bgp.build_updates(big)
    assert all(len(data) <= bgp.MAX_LENGTH for data in datas)
    assert all(len(data) > bgp.MAX_LENGTH - 600 for data in datas[1:-1] if data[19:21] == b"\0\0")
    got = [message for data in datas for message in read(data)]
    assert all(isinstance(message, bgp.Update) for message in got)
    parts = [message for message in got if isinstance(message, bgp.Update)]
    assert tuple(p for part in parts for p in part.withdrawn) == big.withdrawn
    assert tuple(p for part in parts for p in part.announced) == big.announced
    assert all(part.attributes == big.attributes for part in parts if part.announced)


def test_prefixes_whose_attributes_leave_no_room_are_withdrawn() -> None:
    path = ROUTE._replace(as_path=(Segment(AS_SEQUENCE, (64512,) * 255),) * 4)
    update = bgp.Update((), path, (prefix("10.0.0.0/8"),))
    assert [read(data) for data in bgp.build_updates(update)] == [[bgp.Update((prefix("10.0.0.0/8"),))]]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (bgp.standard_open(64512, 90, NEXT_HOP), "OPEN from AS 64512, identifier 192.168.10.11"),
        (bgp.Keepalive(), "KEEPALIVE"),
        (bgp.RouteRefresh(1, 1), "ROUTE-REFRESH"),
        (bgp.Notification(6, 2), "NOTIFICATION Administrative shutdown"),
        (bgp.Notification(4, 9), "NOTIFICATION Hold timer expired"),
        (bgp.Notification(99, 1), "NOTIFICATION Unknown error 99.1"),
        (bgp.Update(), "UPDATE End-of-RIB"),
        (
            bgp.Update((prefix("10.1.0.0/16"),), ROUTE, (prefix("10.2.0.0/16"),)),
            "UPDATE withdraws 10.1.0.0/16; announces 10.2.0.0/16 via 192.168.10.11, AS path 64512",
        ),
        (
            bgp.Update(tuple(prefix(f"10.{number}.0.0/16") for number in range(6))),
            "UPDATE withdraws 10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16 and 3 more",
        ),
        (
            bgp.Update((), ROUTE._replace(as_path=()), (prefix("10.2.0.0/16"),)),
            "UPDATE announces 10.2.0.0/16 via 192.168.10.11, AS path empty",
        ),
    ],
)
def test_a_message_in_one_line(message: bgp.Message, text: str) -> None:
    assert bgp.describe(message) == text


@given(opens)
def test_the_as_of_an_open_is_its_capabilitys(message: bgp.Open) -> None:
    (read_back,) = read(bgp.build(message))
    assert isinstance(read_back, bgp.Open)
    long = [c for c in message.capabilities if c.code == bgp.FOUR_OCTET_AS]
    assert read_back.asn == (int.from_bytes(long[0].value, "big") if long else message.my_as)
