"""The receiving half of TCP by itself: against a model that knows which bytes have come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netsim.net.receive_buffer import MODULUS, WINDOW, ReceiveBuffer, distance


def text(start: int, length: int) -> bytes:
    """The bytes of the stream at an offset."""
    return bytes((start + index) * 7 % 251 for index in range(length))


@given(
    first=st.integers(0, MODULUS - 1),
    steps=st.lists(
        st.one_of(
            st.tuples(st.integers(-50, 400), st.integers(0, 120)),  # a segment: offset from next, length
            st.tuples(st.just(None), st.integers(1, 200)),  # the program takes that much
        ),
        max_size=40,
    ),
)
def test_what_is_ready_is_the_stream_without_gaps(first: int, steps: list[tuple[int | None, int]]) -> None:
    buffer, taken, come = ReceiveBuffer(), 0, set[int]()
    buffer.next = first
    for offset, length in steps:
        if offset is None:
            del buffer.ready[:length]
            taken = distance(first, buffer.next) - len(buffer.ready)
            continue
        start = distance(first, buffer.next) + offset
        if start < 0:
            continue
        before = len(buffer.ready)
        grown = buffer.put((first + start) % MODULUS, text(start, length))
        come |= set(range(start, start + length))
        assert grown is (len(buffer.ready) > before)
        ahead = taken + len(buffer.ready)
        assert bytes(buffer.ready) == text(taken, len(buffer.ready))
        assert set(range(ahead)) <= come and ahead not in come
        assert distance(first, buffer.next) == ahead


def test_no_byte_is_kept_that_does_not_fit_the_window() -> None:
    buffer = ReceiveBuffer()
    assert not buffer.put(WINDOW - 10, b"e" * 100)
    assert not buffer.put(WINDOW, b"late")
    assert buffer.put(0, b"s" * WINDOW)
    assert len(buffer.ready) == WINDOW == buffer.next and buffer.window == 0
    buffer = ReceiveBuffer()
    buffer.put(WINDOW - 10, b"e" * 100)
    buffer.put(0, b"s" * (WINDOW - 10))
    assert len(buffer.ready) == WINDOW == buffer.next


def test_a_segment_is_acceptable_when_any_of_it_may_be_in_the_window() -> None:
    """RFC 9293 section 3.10.7.4, table 6."""
    buffer = ReceiveBuffer()
    buffer.next = 1000
    for sequence, length, acceptable in [
        (1000, 0, True), (1000 + WINDOW - 1, 0, True), (1000 + WINDOW, 0, False), (999, 0, False),
        (1000, 5, True), (995, 5, False), (995, 6, True), (1000 + WINDOW - 1, 5, True),
        (1000 + WINDOW, 5, False),
    ]:  # fmt: skip
        assert buffer.acceptable(sequence, length) is acceptable, (sequence, length)
    buffer.put(1000, bytes(WINDOW))
    full = 1000 + WINDOW
    assert buffer.acceptable(full, 0) and buffer.acceptable(full, 5)
    assert not buffer.acceptable(full + 1, 0) and not buffer.acceptable(full - 1, 0)


def test_distances_are_signed_and_wrap_around() -> None:
    assert distance(5, 8) == 3 and distance(8, 5) == -3
    assert distance(MODULUS - 1, 2) == 3 and distance(2, MODULUS - 1) == -3
