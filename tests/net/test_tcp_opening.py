"""One TCP connection opens. Sequence numbers are relative: 0 is each side's SYN."""

from __future__ import annotations

import pytest

from netsim.net.receive_buffer import WINDOW
from netsim.net.tcp import (
    DEFAULT_MSS,
    FALLBACK_RTO,
    INITIAL_RTO,
    SYN_RETRIES,
    SYNACK_RETRIES,
    Wake,
)
from netsim.net.tcp_states import Failure, State
from netsim.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.net.dialogue import (
    MSS,
    Dialogue,
    Step,
    at,
    becomes,
    closes,
    ends,
    is_silent,
    opens,
    reads,
    script,
    sees,
    sends,
    wakes,
    writes,
)
from tests.net.ways import (
    ACCEPTING,
    CONNECTED,
    OPENING,
)

# --- opening ---------------------------------------------------------------------------------------------


def test_a_client_opens_with_its_mss_and_acknowledges_the_answer() -> None:
    script(
        Dialogue(),
        [
            opens(),
            sends(SYN, seq=0, mss=MSS, window=WINDOW, why="open the connection"),
            becomes(State.SYN_SENT),
            sees(SYN | ACK, seq=0, ack=1),
            wakes(Wake.CONNECTED),
            becomes(State.ESTABLISHED),
            sends(ACK, seq=1, ack=1, why="handshake complete"),
            is_silent(1000.0),
        ],
    )


def test_a_server_is_connected_only_when_its_syn_is_acknowledged() -> None:
    script(
        Dialogue(),
        [
            sees(SYN, seq=0),
            wakes(),
            sends(SYN | ACK, seq=0, ack=1, mss=MSS),
            becomes(State.SYN_RECEIVED),
            sees(ACK, seq=1, ack=1),
            wakes(Wake.CONNECTED),
            becomes(State.ESTABLISHED),
            is_silent(1000.0),
        ],
    )


def test_data_with_the_last_ack_of_the_handshake_is_taken() -> None:
    script(
        Dialogue(),
        [
            *ACCEPTING,
            sees(ACK | PSH, seq=1, ack=1, data=b"hello"),
            wakes(Wake.CONNECTED, Wake.READABLE),
            sends(ACK, seq=1, ack=6),
            reads(b"hello"),
        ],
    )


def test_segments_are_as_long_as_the_smaller_of_both_mss() -> None:
    script(
        Dialogue(mss=1400),
        [
            opens(),
            sends(SYN, mss=1400),
            sees(SYN | ACK, seq=0, ack=1, mss=600),
            sends(ACK),
            writes(b"x" * 700),
            sends(ACK, seq=1, data=b"x" * 600),
            sends(ACK | PSH, seq=601, data=b"x" * 100),
        ],
    )


def test_a_peer_that_names_no_mss_gets_536_bytes() -> None:
    from netsim.net.tcp import SegmentArrived
    from netsim.wire.tcp import Tcp

    dialogue = script(Dialogue(), OPENING)
    dialogue.feed(SegmentArrived(Tcp(80, 40000, dialogue.peer_isn, dialogue.isn + 1, SYN | ACK, WINDOW)))
    script(dialogue, [sends(ACK), writes(b"x" * 600), sends(ACK, data=b"x" * DEFAULT_MSS), sends(ACK | PSH)])


def test_data_written_before_the_connection_stands_is_sent_after() -> None:
    script(
        Dialogue(),
        [
            *OPENING,
            writes(b"early"),
            sees(SYN | ACK, seq=0, ack=1),
            sends(ACK, seq=1, ack=1),
            sends(ACK | PSH, seq=1, ack=1, data=b"early"),
        ],
    )


def test_a_server_closed_before_the_handshake_is_over_finishes_after_it() -> None:
    script(
        Dialogue(),
        [
            *ACCEPTING,
            closes(),
            becomes(State.SYN_RECEIVED),
            sees(ACK, seq=1, ack=1),
            sends(FIN | ACK, seq=1, ack=1),
            becomes(State.FIN_WAIT_1),
        ],
    )


def test_an_ack_that_answers_no_syn_of_ours_is_reset() -> None:
    """RFC 9293 section 3.5.1, figure 9: the other end still has the connection before the crash."""
    script(
        Dialogue(),
        [
            *OPENING,
            sees(ACK, seq=300, ack=100),
            sends(RST, seq=100, why="answers no SYN of ours"),
            becomes(State.SYN_SENT),
            at(INITIAL_RTO),
            sends(SYN, seq=0),
            sees(SYN | ACK, seq=0, ack=1),
            sends(ACK, seq=1, ack=1),
        ],
    )


def test_an_established_end_answers_a_syn_with_a_challenge() -> None:
    """The other half of figure 9."""
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(SYN, seq=12345),
            sends(ACK, seq=1, ack=1, why="challenge ACK"),
            sees(RST, seq=1),
            ends(Failure.RESET),
        ],
    )


def test_a_wrong_ack_does_not_complete_the_handshake() -> None:
    script(
        Dialogue(),
        [
            *ACCEPTING,
            sees(ACK | FIN, seq=1, ack=77, data=b"x"),
            sends(RST, seq=77, why="does not complete the handshake"),
            becomes(State.SYN_RECEIVED),
        ],
    )


def test_what_is_neither_syn_nor_ack_opens_nothing() -> None:
    for flags in (ACK, SYN | ACK, RST, FIN, FIN | ACK, 0):
        script(Dialogue(), [sees(flags, seq=0), becomes(State.CLOSED)])


@pytest.mark.parametrize("flags", [SYN, FIN, PSH, 0])
def test_a_client_ignores_what_has_no_ack(flags: int) -> None:
    script(Dialogue(), [*OPENING, sees(flags, seq=0), becomes(State.SYN_SENT)])


def test_an_ack_without_syn_does_not_open() -> None:
    script(Dialogue(), [*OPENING, sees(ACK, seq=0, ack=1), becomes(State.SYN_SENT)])


# --- retransmission of the handshake ---------------------------------------------------------------------


def test_a_syn_is_repeated_after_1_3_7_15_31_and_63_seconds_and_given_up_after_127() -> None:
    repeats: list[Step] = []
    for number in range(1, SYN_RETRIES + 1):
        repeats += [
            is_silent(2**number - 1.001),
            at(2**number - 1),
            sends(SYN, seq=0, why=f"retransmission {number}"),
        ]
    script(Dialogue(), [*OPENING, *repeats, is_silent(126.999), at(127), ends(Failure.TIMED_OUT)])


def test_a_server_repeats_its_answer_five_times_and_gives_up_after_63_seconds() -> None:
    repeats: list[Step] = []
    for number in range(1, SYNACK_RETRIES + 1):
        repeats += [at(2**number - 1), sends(SYN | ACK, seq=0, ack=1)]
    script(Dialogue(), [*ACCEPTING, *repeats, is_silent(62.999), at(63), ends(Failure.TIMED_OUT)])


def test_a_repeated_syn_is_answered_at_once() -> None:
    script(
        Dialogue(),
        [
            *ACCEPTING,
            at(0.5),
            sees(SYN, seq=0),
            sends(SYN | ACK, seq=0, ack=1, why="SYN came again"),
            sees(SYN, seq=9),
            sends(ACK, seq=1, ack=1, why="challenge"),
        ],
    )


def test_a_repeated_answer_is_acknowledged_again() -> None:
    script(Dialogue(), [*CONNECTED, sees(SYN | ACK, seq=0, ack=1), sends(ACK, seq=1, ack=1)])


def test_after_a_handshake_without_a_measurement_the_timeout_is_three_seconds() -> None:
    script(
        Dialogue(),
        [
            *OPENING,
            at(1),
            sends(SYN),
            sees(SYN | ACK, seq=0, ack=1),
            sends(ACK),
            writes(b"x"),
            sends(ACK | PSH, seq=1),
            is_silent(1 + FALLBACK_RTO - 0.001),
            at(1 + FALLBACK_RTO),
            sends(ACK | PSH, seq=1, why="retransmission 1"),
        ],
    )
