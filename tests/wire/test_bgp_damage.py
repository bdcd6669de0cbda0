"""Malformed BGP messages: each is refused with the NOTIFICATION that RFC 4271 section 6 demands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.wire import bgp
from netsim.wire.bgp_attributes import AS_SEQUENCE, PathAttributes, Segment, build_attributes
from netsim.wire.bgp_errors import BgpError, error_text
from tests.wire.bgp_damaged import (
    AS_PATH,
    CASES,
    NEXT_HOP,
    NLRI,
    ORIGIN,
    message,
    open_message,
    update,
    with_attribute,
)
from tests.wire.bgp_values import messages

ROUTE = PathAttributes(0, (Segment(AS_SEQUENCE, (64512,)),), bytes([192, 168, 10, 11]))


def read(data: bytes) -> None:
    while True:
        frames, data = bgp.split(data)
        if not frames:
            return
        for frame in frames:
            bgp.parse(frame)


def test_what_the_cases_are_made_of_is_sound() -> None:
    read(open_message() + update(ORIGIN + AS_PATH + NEXT_HOP) + with_attribute(b""))


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_its_own_notification(name: str) -> None:
    data, code, subcode, quoted = CASES[name]
    with pytest.raises(BgpError) as caught:
        read(data)
    error = caught.value
    assert (error.code, error.subcode, error.data) == (code, subcode, quoted), str(error)
    assert error.header == "bgp" and str(error).startswith(f"bgp: {error_text(code, subcode)}: ")


def test_messages_before_a_wrong_header_count() -> None:
    frames, rest = bgp.split(bgp.build(bgp.Keepalive()) + b"\0")
    assert (frames, rest) == ([bgp.Frame(bgp.KEEPALIVE, b"")], b"\0")


@given(st.binary(max_size=80))
def test_random_bytes_raise_nothing_but_bgp_errors(data: bytes) -> None:
    for damaged in (data, bgp.MARKER + data, bgp.MARKER + bytes([0, 19 + len(data)]) + data):
        try:
            read(damaged)
        except BgpError as error:
            assert error.code == 1 or len(damaged) >= 19


@given(messages(), st.booleans(), st.data())
def test_damaged_messages_raise_nothing_but_a_length_error_or_their_types(
    sent: bgp.Message, four_octet: bool, data: st.DataObject
) -> None:
    frame = bgp.split(bgp.build(sent))[0][0]
    cut = frame.body[: data.draw(st.integers(0, len(frame.body)))]
    at = data.draw(st.integers(0, len(cut)))
    patch = data.draw(st.binary(max_size=12))
    damaged = cut[:at] + patch + cut[at + len(patch) :]
    try:
        frames, _ = bgp.split(message(frame.kind, damaged))
        bgp.parse(frames[0], four_octet=four_octet)
    except BgpError as error:
        assert (error.code, error.subcode) == (1, 2) or error.code == frame.kind + 1


@given(st.binary(max_size=120), st.booleans())
def test_random_attributes_raise_nothing_but_update_errors(field: bytes, four_octet: bool) -> None:
    body = b"\0\0" + len(field).to_bytes(2, "big") + field + NLRI
    try:
        bgp.parse(bgp.Frame(bgp.UPDATE, body), four_octet=four_octet)
    except BgpError as error:
        assert error.code == 3 and error.subcode in range(1, 12)
    sound = build_attributes(ROUTE, four_octet) + field
    body = b"\0\0" + len(sound).to_bytes(2, "big") + sound + NLRI
    try:
        bgp.parse(bgp.Frame(bgp.UPDATE, body), four_octet=four_octet)
    except BgpError as error:
        assert error.code == 3 and error.subcode != 3
