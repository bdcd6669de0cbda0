"""The Internet checksum against the textbook loop, and its incremental update against recomputation."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from netsim.wire.checksum import checksum_of_sum, incremental, internet_checksum, word_sum


def textbook(data: bytes) -> int:
    """RFC 1071, section 4.1, as written there in C."""
    if len(data) % 2:
        data += b"\0"
    total = sum((data[at] << 8) + data[at + 1] for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0xFFFF),
        (b"\0\0", 0xFFFF),
        (b"\xff\xff", 0),
        (b"\x80\0\x7f\xff", 0),
        (b"\x01", 0xFEFF),
        (bytes.fromhex("0001f203f4f5f6f7"), 0x220D),  # RFC 1071's example
        (bytes.fromhex("4500003c1c4640004006 0000 ac100a63ac100a0c"), 0xB1E6),
    ],
)
def test_known_checksums(data: bytes, checksum: int) -> None:
    assert internet_checksum(data) == checksum == textbook(data)


@given(st.binary(max_size=2000))
def test_the_checksum_is_the_textbook_one(data: bytes) -> None:
    assert internet_checksum(data) == textbook(data)


@given(st.lists(st.binary(max_size=40).filter(lambda piece: len(piece) % 2 == 0)), st.binary(max_size=41))
def test_the_sums_of_pieces_add_up(pieces: list[bytes], last: bytes) -> None:
    total = sum(word_sum(piece) for piece in [*pieces, last])
    assert checksum_of_sum(total) == textbook(b"".join([*pieces, last]))


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=60), st.data())
def test_an_incremental_update_equals_recomputation(before: bytes, old: bytes, data: st.DataObject) -> None:
    before = before[: len(before) & ~1]
    new = data.draw(st.binary(min_size=len(old), max_size=len(old)))
    assume(any(before) or (any(old) and any(new)))
    assert incremental(textbook(before + old), old, new) == textbook(before + new)


def test_an_incremental_update_to_a_sum_of_all_ones_gives_0() -> None:
    """RFC 1624, section 4: the example on which the method of RFC 1141 fails (0xDD2F, 0x5555 → 0x3285)."""
    assert incremental(0xDD2F, bytes.fromhex("5555"), bytes.fromhex("3285")) == 0
