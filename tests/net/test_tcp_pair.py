"""Two TCP connections facing each other: whatever the line does, all bytes arrive, in order, exactly once."""

from __future__ import annotations

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from netsim.net.receive_buffer import WINDOW
from tests.net.pair import Fate, Plan, Talk, ended_well

# At most nine in a row are lost: a sender gives up after fifteen.
FATES = st.lists(
    st.one_of(
        st.just(Fate()),
        st.builds(Fate, st.integers(1, 3), st.sampled_from([0.0, 0.003, 0.05, 0.5])),
        st.just(Fate(copies=0)),
    ),
    max_size=60,
).filter(lambda fates: _losses_in_a_row(fates) < 10)
ISNS = st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 3000, 2**32 - 1))
CHUNKS = st.lists(st.binary(min_size=1, max_size=2500), max_size=4).map(tuple)


def _losses_in_a_row(fates: list[Fate]) -> int:
    longest = row = 0
    for fate in fates:
        row = row + 1 if fate.copies == 0 else 0
        longest = max(longest, row)
    return longest


def plans() -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        chunks=CHUNKS,
        bite=st.sampled_from([7, 400, 1 << 20]),
        pace=st.sampled_from([0.0, 0.02]),
        mss=st.sampled_from([100, 536, 1460]),
        isn=ISNS,
        smaller_mss=st.sampled_from([None, 64, 512]),
        shrink_at=st.sampled_from([0.015, 0.05, 0.3]),
    )


@given(client=plans(), server=plans(), fates=FATES)
def test_whatever_the_line_does_all_bytes_arrive_in_order_exactly_once(
    client: Plan, server: Plan, fates: list[Fate]
) -> None:
    talk = Talk(client, server, fates).run()
    note(talk.walk)
    assert ended_well(talk) == ""


@given(text=st.binary(max_size=300), fates=FATES, isn=ISNS)
def test_byte_by_byte_writes_arrive(text: bytes, fates: list[Fate], isn: int) -> None:
    bytes_alone = tuple(bytes([byte]) for byte in text)
    talk = Talk(Plan(bytes_alone, isn=isn), Plan(bytes_alone, bite=1), fates).run()
    note(talk.walk)
    assert ended_well(talk) == ""


@pytest.mark.parametrize("lost", range(12))
def test_any_one_segment_may_be_lost(lost: int) -> None:
    fates = [Fate()] * lost + [Fate(copies=0)]
    talk = Talk(Plan((b"question",)), Plan((b"answer",)), fates).run()
    assert ended_well(talk) == "", talk.walk


def test_a_perfect_line_carries_each_thing_once() -> None:
    talk = Talk(Plan((b"question",)), Plan((b"answer",))).run()
    assert ended_well(talk) == "", talk.walk
    # SYN; SYN,ACK; ACK; then each side's data and FIN, each acknowledged: the server writes with the ACK.
    assert len(talk.walk.splitlines()) == 3 + 2 * 2 + 2 * 2, talk.walk


def test_a_slow_reader_holds_the_writer_back() -> None:
    data = bytes(range(256)) * 1200
    writer = Plan((data,), mss=1460)
    talk = Talk(writer, Plan(bite=5000, pace=0.3, mss=1460)).run()
    assert len(data) > 4 * WINDOW
    assert ended_well(talk) == "", talk.walk
    assert talk.now >= 0.3 * (len(data) - WINDOW) / 5000
    assert "zero window: probe" in talk.walk


def test_a_lost_window_update_does_not_stall_the_writer() -> None:
    data = b"w" * (WINDOW + 5000)
    told = Talk(Plan((data,), mss=1460), Plan(bite=WINDOW, pace=3.0, mss=1460)).run()
    update = next(n for n, line in enumerate(told._said) if "window opened" in line)
    fates = [Fate()] * update + [Fate(copies=0)]
    talk = Talk(Plan((data,), mss=1460), Plan(bite=WINDOW, pace=3.0, mss=1460), fates).run()
    assert ended_well(talk) == "", talk.walk
    assert "window opened" in talk._said[update] and " x0 " in talk._said[update]
    assert any("probe" in line for line in talk._said[update:])


def test_after_the_path_mtu_shrank_segments_are_small() -> None:
    talk = Talk(Plan((b"m" * 200_000,), mss=1460, smaller_mss=500, shrink_at=0.045), Plan(mss=1460)).run()
    assert ended_well(talk) == "", talk.walk
    assert max(size for time, size in talk.sizes if time < 0.045) == 1460
    assert max(size for time, size in talk.sizes if time >= 0.045) == 500
