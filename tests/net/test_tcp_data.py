"""One TCP connection carries data. Sequence numbers are relative: 0 is each side's SYN."""

from __future__ import annotations

import pytest

from netsim.net.receive_buffer import WINDOW
from netsim.net.tcp import (
    DATA_RETRIES,
    MAX_RTO,
    MIN_RTO,
    Wake,
)
from netsim.net.tcp_states import Failure, State
from netsim.wire.tcp import ACK, FIN, PSH, SYN
from tests.net.dialogue import (
    Dialogue,
    Step,
    at,
    becomes,
    closes,
    ends,
    is_silent,
    learns_mtu,
    reads,
    script,
    sees,
    sends,
    wakes,
    writes,
)
from tests.net.ways import (
    CONNECTED,
    OPENING,
)

# --- data ------------------------------------------------------------------------------------------------


def test_the_last_segment_of_a_write_pushes() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"a" * 2500),
            sends(ACK, seq=1, data=b"a" * 1000),
            sends(ACK, seq=1001, data=b"a" * 1000),
            sends(ACK | PSH, seq=2001, data=b"a" * 500),
            sees(ACK, seq=1, ack=2501),
            wakes(Wake.WRITABLE),
            is_silent(1000),
        ],
    )


def test_data_is_acknowledged_and_given_to_the_program_in_order() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK | PSH, seq=1, ack=1, data=b"one"),
            wakes(Wake.READABLE),
            sends(ACK, seq=1, ack=4, why="data received"),
            sees(ACK | PSH, seq=4, ack=1, data=b"two"),
            sends(ACK, seq=1, ack=7),
            reads(b"onet", 4),
            reads(b"wo"),
        ],
    )


def test_early_data_waits_for_the_gap_to_fill() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK, seq=7, ack=1, data=b"three"),
            wakes(),
            sends(ACK, seq=1, ack=1),
            sees(ACK, seq=4, ack=1, data=b"two"),
            sends(ACK, seq=1, ack=1),
            sees(ACK, seq=1, ack=1, data=b"one"),
            wakes(Wake.READABLE),
            sends(ACK, seq=1, ack=12),
            reads(b"onetwothree"),
        ],
    )


def test_overlapping_segments_give_every_byte_once() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK, seq=5, ack=1, data=b"efgh"),
            sends(ACK, ack=1),
            sees(ACK, seq=5, ack=1, data=b"efghijkl"),
            sends(ACK, ack=1),
            sees(ACK, seq=7, ack=1, data=b"gh"),
            sends(ACK, ack=1),
            sees(ACK, seq=1, ack=1, data=b"abcdef"),
            sends(ACK, ack=13),
            sees(ACK, seq=3, ack=1, data=b"cdefghijklmn"),
            sends(ACK, ack=15),
            reads(b"abcdefghijklmn"),
        ],
    )


def test_a_repeated_segment_is_acknowledged_again_and_not_delivered_again() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK | PSH, seq=1, ack=1, data=b"one"),
            sends(ACK, ack=4),
            sees(ACK | PSH, seq=1, ack=1, data=b"one"),
            wakes(),
            sends(ACK, ack=4, why="outside the window"),
            reads(b"one"),
        ],
    )


def test_an_ack_for_data_not_sent_is_answered_and_ignored() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK, seq=1, ack=50, data=b"x"),
            sends(ACK, seq=1, ack=1, why="not sent"),
            reads(b""),
            becomes(State.ESTABLISHED),
        ],
    )


def test_a_segment_without_ack_is_ignored() -> None:
    script(Dialogue(), [*CONNECTED, sees(PSH, seq=1, data=b"x"), reads(b"")])


def test_sequence_numbers_wrap_around() -> None:
    dialogue = Dialogue(isn=2**32 - 3, peer_isn=2**32 - 2)
    script(
        dialogue,
        [
            *CONNECTED,
            writes(b"0123456789" * 150),
            sends(ACK, seq=1, data=b"0123456789" * 100),
            sends(ACK | PSH, seq=1001),
            sees(ACK, seq=4, ack=1001, data=b"def"),
            sends(ACK, seq=1501, ack=1),
            sees(ACK, seq=1, ack=1501, data=b"abc"),
            sends(ACK, seq=1501, ack=7),
            reads(b"abcdef"),
            sees(FIN | ACK, seq=7, ack=1501),
            sends(ACK, ack=8),
            closes(),
            sends(FIN | ACK, seq=1501, ack=8),
            sees(ACK, seq=8, ack=1502),
            ends(None),
        ],
    )
    assert dialogue.isn + 1501 > 2**32


# --- retransmission of data ------------------------------------------------------------------------------


def test_lost_data_is_repeated_with_a_doubling_timeout() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"x"),
            sends(ACK | PSH, seq=1),
            is_silent(MIN_RTO - 0.001),
            at(MIN_RTO),
            sends(ACK | PSH, seq=1, data=b"x", why="retransmission 1"),
            is_silent(3 * MIN_RTO - 0.001),
            at(3 * MIN_RTO),
            sends(ACK | PSH, seq=1, why="retransmission 2"),
            sees(ACK, seq=1, ack=2),
            is_silent(1000),
        ],
    )


def test_data_that_nobody_acknowledges_ends_the_connection() -> None:
    repeats: list[Step] = []
    for number in range(1, DATA_RETRIES + 1):
        repeats += [at(1e6), sends(ACK | PSH, seq=1, why=f"retransmission {number}")]
    dialogue = script(
        Dialogue(),
        [*CONNECTED, writes(b"x"), sends(ACK | PSH), *repeats, at(1e6), ends(Failure.TIMED_OUT)],
    )
    # Linux's Documentation/networking/ip-sysctl.rst: tcp_retries2 = 15 is 924.6 seconds at the least.
    quickest = sum(min(MIN_RTO * 2**n, MAX_RTO) for n in range(DATA_RETRIES + 1))
    assert dialogue.now >= 924.6 and quickest == pytest.approx(924.6)


def test_the_timeout_follows_the_measured_round_trip() -> None:
    """RFC 6298 section 2.2: SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR = 3 R."""
    script(
        Dialogue(),
        [
            *OPENING,
            at(0.5),
            sees(SYN | ACK, seq=0, ack=1),
            sends(ACK),
            writes(b"x"),
            sends(ACK | PSH),
            is_silent(0.5 + 3 * 0.5 - 0.001),
            at(2.0),
            sends(ACK | PSH, why="retransmission 1"),
        ],
    )


def test_an_ack_of_repeated_data_is_no_measurement() -> None:
    """Karn's algorithm, RFC 6298 section 3: the doubled timeout stays."""
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"x"),
            sends(ACK | PSH, seq=1),
            at(0.2),
            sends(ACK | PSH, seq=1),
            sees(ACK, seq=1, ack=2),
            writes(b"y"),
            sends(ACK | PSH, seq=2),
            is_silent(0.2 + 0.399),
            at(0.2 + 0.4),
            sends(ACK | PSH, seq=2),
        ],
    )


def test_three_duplicate_acks_bring_the_missing_segment_at_once() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"x" * 4000),
            *[sends(ACK, seq=1 + 1000 * n) for n in range(3)],
            sends(ACK | PSH, seq=3001),
            sees(ACK, seq=1, ack=1),
            sees(ACK, seq=1, ack=1),
            sees(ACK, seq=1, ack=1),
            sends(ACK, seq=1, data=b"x" * 1000, why="fast retransmit"),
            sees(ACK, seq=1, ack=1),
            sees(ACK, seq=1, ack=4001),
            is_silent(1000),
        ],
    )


def test_what_is_no_duplicate_ack_does_not_count_as_one() -> None:
    """RFC 5681 section 2: outstanding data, no data, no FIN, the same window, the greatest number so far."""
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"x" * 3000),
            *[sends(ACK, seq=1 + 1000 * n) for n in range(2)],
            sends(ACK | PSH, seq=2001),
            sees(ACK, seq=1, ack=1001),
            *[sees(ACK, seq=1, ack=1) for _ in range(5)],  # old ones, overtaken
            *[sees(ACK, seq=1, ack=1001, window=WINDOW - n) for n in range(1, 5)],  # window updates
            *[step for n in range(4) for step in
              (sees(ACK, seq=1 + n, ack=1001, data=b"d", window=WINDOW - 4), sends(ACK, ack=2 + n))],
            is_silent(0.199),
        ],
    )  # fmt: skip


def test_a_partial_ack_leaves_the_rest_of_the_segment_to_be_repeated() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"abcdef"),
            sends(ACK | PSH, seq=1),
            sees(ACK, seq=1, ack=4),
            at(1),
            sends(ACK | PSH, seq=4, data=b"def"),
        ],
    )


# --- windows ---------------------------------------------------------------------------------------------


def test_no_more_is_sent_than_the_window_allows() -> None:
    script(
        Dialogue(),
        [
            *OPENING,
            sees(SYN | ACK, seq=0, ack=1, window=1500),
            sends(ACK),
            writes(b"x" * 2000),
            sends(ACK, seq=1, data=b"x" * 1000),
            sends(ACK, seq=1001, data=b"x" * 500),
            sees(ACK, seq=1, ack=1001, window=500),
            sees(ACK, seq=1, ack=1501, window=300),
            sends(ACK, seq=1501, data=b"x" * 300),
            sees(ACK, seq=1, ack=1801, window=1000),
            sends(ACK | PSH, seq=1801, data=b"x" * 200),
        ],
    )


def test_a_closed_window_is_probed_for_as_long_as_the_peer_answers() -> None:
    """RFC 9293 section 3.8.6.1 MUST-37: the connection stays open while the receiver answers probes."""
    probes: list[Step] = []
    for _ in range(2 * DATA_RETRIES):
        probes += [
            at(1e6),
            sends(ACK, seq=3, data=b"", why="zero window"),
            sees(ACK, seq=1, ack=4, window=0),
        ]
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"abc"),
            sends(ACK | PSH, seq=1),
            sees(ACK, seq=1, ack=4, window=0),
            writes(b"def"),
            is_silent(MIN_RTO - 0.001),
            *probes,
            becomes(State.ESTABLISHED),
            sees(ACK, seq=1, ack=4, window=1000),
            sends(ACK | PSH, seq=4, data=b"def"),
        ],
    )


def test_probes_back_off_and_are_given_up_when_nobody_answers() -> None:
    times = [MIN_RTO * (2**n - 1) for n in range(1, 5)]
    steps: list[Step] = []
    for time in times:
        steps += [is_silent(time - 0.001), at(time), sends(ACK, seq=0, why="probe")]
    steps += [step for _ in range(DATA_RETRIES - 4) for step in (at(1e6), sends(ACK, seq=0, why="probe"))]
    script(
        Dialogue(),
        [
            *OPENING,
            sees(SYN | ACK, seq=0, ack=1, window=0),
            sends(ACK),
            writes(b"x"),
            *steps,
            at(1e6),
            ends(Failure.TIMED_OUT),
        ],
    )


def test_after_the_window_opened_the_timeout_is_short_again() -> None:
    script(
        Dialogue(),
        [
            *OPENING,
            sees(SYN | ACK, seq=0, ack=1, window=0),
            sends(ACK),
            writes(b"x"),
            *[step for _ in range(5) for step in (at(1e6), sends(ACK, seq=0, why="probe"))],
            at(10.0),
            sees(ACK, seq=1, ack=1, window=100),
            sends(ACK | PSH, seq=1, data=b"x"),
            is_silent(10.199),
            at(10.2),
            sends(ACK | PSH, seq=1, data=b"x", why="retransmission 1"),
        ],
    )


def test_an_old_segment_does_not_change_the_window() -> None:
    """RFC 9293 section 3.10.7.4: SND.WL1 and SND.WL2 prevent using old segments to update the window."""
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"x" * 10),
            sends(ACK | PSH, seq=1),
            sees(ACK, seq=1, ack=11, window=5000),
            sees(ACK, seq=1, ack=6, window=0),
            writes(b"y"),
            sends(ACK | PSH, seq=11, data=b"y"),
        ],
    )


def test_a_segment_that_was_overtaken_does_not_change_the_window() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK, seq=4, ack=1, data=b"def", window=5000),
            sends(ACK, ack=1),
            sees(ACK, seq=1, ack=1, data=b"abc", window=0),
            sends(ACK, ack=7),
            writes(b"x"),
            sends(ACK | PSH, seq=1),
        ],
    )


def test_the_last_ack_of_the_handshake_tells_the_window_too() -> None:
    script(
        Dialogue(),
        [
            sees(SYN, seq=0, window=0),
            sends(SYN | ACK),
            writes(b"hello"),
            sees(ACK, seq=1, ack=1, window=100),
            sends(ACK | PSH, seq=1, data=b"hello"),
        ],
    )


def test_a_window_that_closes_again_is_probed_as_soon_as_the_first_time() -> None:
    script(
        Dialogue(),
        [
            *OPENING,
            sees(SYN | ACK, seq=0, ack=1, window=0),
            sends(ACK),
            writes(b"xy"),
            *[step for _ in range(6) for step in (at(1e6), sends(ACK, seq=0, why="probe"))],
            sees(ACK, seq=1, ack=1, window=1),
            sends(ACK, seq=1, data=b"x"),
            sees(ACK, seq=1, ack=2, window=0),
            is_silent(0.2 * 63 + 0.199),
            at(0.2 * 63 + 0.2),
            sends(ACK, seq=1, why="probe"),
            is_silent(0.2 * 63 + 0.2 + 0.399),
            at(0.2 * 63 + 0.2 + 0.4),
            sends(ACK, seq=1, why="probe"),
        ],
    )


def test_the_window_shrinks_with_what_is_unread_and_opens_when_it_is_read() -> None:
    big = b"r" * 1000
    fill: list[Step] = []
    for number in range(65):
        fill += [
            sees(ACK, seq=1 + 1000 * number, ack=1, data=big),
            sends(ACK, ack=1001 + 1000 * number, window=WINDOW - 1000 * (number + 1)),
        ]
    script(
        Dialogue(),
        [
            *CONNECTED,
            *fill,
            sees(ACK, seq=65001, ack=1, data=big),
            sends(ACK, ack=65001 + 535, window=0),
            sees(ACK, seq=65000, ack=1),
            sends(ACK, ack=65536, window=0, why="outside the window"),
            sees(ACK, seq=65536, ack=1, data=b"!"),
            sends(ACK, ack=65536, window=0),
            reads(b"r" * 999, 999),
            reads(b"r", 1),
            sends(ACK, ack=65536, window=1000, why="window opened"),
            sees(ACK, seq=65536, ack=1, data=b"!"),
            sends(ACK, ack=65537, window=999),
            reads(b"r" * 64535 + b"!"),
            sends(ACK, window=WINDOW, why="window opened"),
        ],
    )


def test_on_a_large_mtu_the_window_opens_with_half_the_buffer() -> None:
    script(
        Dialogue(mss=65496),
        [
            *CONNECTED,
            sees(ACK, seq=1, ack=1, data=b"r" * 65000),
            sends(ACK, window=535),
            reads(b"r" * 30000, 30000),
            reads(b"r" * 3000, 3000),
            sends(ACK, window=33535, why="window opened"),
            reads(b"r" * 32000),
        ],
    )


def test_an_ack_is_believed_although_the_window_is_closed() -> None:
    script(
        Dialogue(mss=65496),
        [
            *CONNECTED,
            sees(ACK, seq=1, ack=1, data=b"r" * WINDOW),
            sends(ACK, window=0),
            writes(b"abc"),
            sends(ACK | PSH, seq=1),
            sees(ACK, seq=1 + WINDOW, ack=4, data=b"!"),
            sends(ACK, seq=4, ack=1 + WINDOW, window=0),
            is_silent(1000),
        ],
    )


# --- path MTU --------------------------------------------------------------------------------------------


def test_a_smaller_path_mtu_sends_again_in_smaller_pieces() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"a" * 1000 + b"b" * 400),
            sends(ACK, seq=1, data=b"a" * 1000),
            sends(ACK | PSH, seq=1001, data=b"b" * 400),
            learns_mtu(600),
            sends(ACK, seq=1, data=b"a" * 600, why="path MTU"),
            sends(ACK, seq=601, data=b"a" * 400),
            sends(ACK | PSH, seq=1001, data=b"b" * 400),
            learns_mtu(600),
            learns_mtu(900),
            sees(ACK, seq=1, ack=1401),
            writes(b"c" * 601),
            sends(ACK, seq=1401, data=b"c" * 600),
            sends(ACK | PSH, seq=2001, data=b"c"),
        ],
    )


def test_a_smaller_path_mtu_repeats_nothing_that_fits() -> None:
    script(
        Dialogue(),
        [*CONNECTED, writes(b"a" * 100), sends(ACK | PSH), learns_mtu(600), closes(), sends(FIN | ACK)],
    )


def test_a_fin_in_flight_stays_one_fin_when_the_path_mtu_shrinks() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            writes(b"a" * 1000),
            sends(ACK | PSH, seq=1),
            closes(),
            sends(FIN | ACK, seq=1001),
            learns_mtu(700),
            sends(ACK | PSH, seq=1, data=b"a" * 700),
            sends(ACK | PSH, seq=701, data=b"a" * 300),
            sends(FIN | ACK, seq=1001, data=b""),
            sees(ACK, seq=1, ack=1002),
            becomes(State.FIN_WAIT_2),
        ],
    )
