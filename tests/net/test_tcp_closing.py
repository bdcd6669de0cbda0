"""A TCP connection closes or is ended, and the table of its states. Numbers are relative: 0 is the SYN."""

from __future__ import annotations

from itertools import product

import pytest

from netsim.net.receive_buffer import WINDOW
from netsim.net.tcp import (
    TIME_WAIT_SECONDS,
    Wake,
)
from netsim.net.tcp_states import NEXT, Failure, State
from netsim.net.tcp_states import Step as Move
from netsim.wire.tcp import ACK, FIN, PSH, RST, SYN
from tests.net.dialogue import (
    Dialogue,
    Step,
    aborts,
    at,
    becomes,
    closes,
    ends,
    forgets,
    hears_error,
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
    ACCEPTED,
    CONNECTED,
    FINISHED_FIRST,
    OPENING,
    SYNCHRONISED,
    WAYS,
    next_from_peer,
)

# --- closing ---------------------------------------------------------------------------------------------


def test_who_finishes_first_waits_in_time_wait() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            closes(),
            sends(FIN | ACK, seq=1, ack=1),
            becomes(State.FIN_WAIT_1),
            sees(ACK, seq=1, ack=2),
            becomes(State.FIN_WAIT_2),
            is_silent(10_000),
            sees(FIN | ACK, seq=1, ack=2),
            wakes(Wake.READABLE),
            sends(ACK, seq=2, ack=2, why="FIN received"),
            becomes(State.TIME_WAIT),
            is_silent(10_000 + TIME_WAIT_SECONDS - 0.001),
            becomes(State.TIME_WAIT),
            is_silent(10_000 + TIME_WAIT_SECONDS),
            wakes(Wake.ENDED),
            ends(None),
        ],
    )


def test_a_fin_with_the_ack_of_ours_leads_straight_to_time_wait() -> None:
    script(
        Dialogue(),
        [*FINISHED_FIRST, sees(FIN | ACK, seq=1, ack=2), sends(ACK, seq=2, ack=2), becomes(State.TIME_WAIT)],
    )


def test_who_finishes_second_is_done_with_the_ack_of_its_fin() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(FIN | ACK, seq=1, ack=1),
            wakes(Wake.READABLE),
            sends(ACK, seq=1, ack=2),
            becomes(State.CLOSE_WAIT),
            writes(b"still"),
            sends(ACK | PSH, seq=1, ack=2, data=b"still"),
            closes(),
            sends(FIN | ACK, seq=6, ack=2),
            becomes(State.LAST_ACK),
            sees(ACK, seq=2, ack=6),
            becomes(State.LAST_ACK),
            sees(ACK, seq=2, ack=7),
            wakes(Wake.WRITABLE, Wake.ENDED),
            ends(None),
        ],
    )


def test_both_finish_at_once() -> None:
    script(
        Dialogue(),
        [
            *FINISHED_FIRST,
            sees(FIN | ACK, seq=1, ack=1),
            sends(ACK, seq=2, ack=2),
            becomes(State.CLOSING),
            sees(ACK, seq=2, ack=2),
            becomes(State.TIME_WAIT),
            is_silent(TIME_WAIT_SECONDS),
            ends(None),
        ],
    )


def test_reading_goes_on_after_closing() -> None:
    script(
        Dialogue(),
        [
            *FINISHED_FIRST,
            sees(ACK, seq=1, ack=1, data=b"more"),
            sends(ACK, seq=2, ack=5),
            reads(b"more"),
            sees(ACK, seq=5, ack=2, data=b"and more"),
            sends(ACK, seq=2, ack=13),
            reads(b"and more"),
        ],
    )


def test_a_fin_waits_behind_the_data() -> None:
    script(
        Dialogue(),
        [
            *OPENING,
            sees(SYN | ACK, seq=0, ack=1, window=4),
            sends(ACK),
            writes(b"abcdef"),
            sends(ACK, data=b"abcd"),
            closes(),
            becomes(State.ESTABLISHED),
            sees(ACK, seq=1, ack=5, window=100),
            sends(ACK | PSH, seq=5, data=b"ef"),
            sends(FIN | ACK, seq=7),
            becomes(State.FIN_WAIT_1),
        ],
    )


def test_a_fin_is_taken_only_after_the_data_before_it() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(FIN | ACK, seq=4, ack=1, data=b"def"),
            wakes(),
            sends(ACK, seq=1, ack=1),
            becomes(State.ESTABLISHED),
            sees(ACK, seq=1, ack=1, data=b"abc"),
            wakes(Wake.READABLE, Wake.READABLE),
            sends(ACK, seq=1, ack=8),
            becomes(State.CLOSE_WAIT),
            reads(b"abcdef"),
        ],
    )


def test_a_fin_that_does_not_fit_the_window_is_taken_when_it_comes_again() -> None:
    script(
        Dialogue(mss=65496),
        [
            *CONNECTED,
            sees(ACK, seq=1, ack=1, data=b"r" * (WINDOW - 2)),
            sends(ACK, window=2),
            sees(FIN | ACK, seq=WINDOW - 1, ack=1, data=b"abcd"),
            sends(ACK, ack=WINDOW + 1, window=0),
            becomes(State.ESTABLISHED),
            reads(b"r" * (WINDOW - 2) + b"ab"),
            sends(ACK, window=WINDOW),
            sees(FIN | ACK, seq=WINDOW - 1, ack=1, data=b"abcd"),
            sends(ACK, ack=WINDOW + 4),
            becomes(State.CLOSE_WAIT),
            reads(b"cd"),
        ],
    )


def test_a_lost_fin_is_repeated() -> None:
    script(
        Dialogue(),
        [
            *FINISHED_FIRST,
            at(10),
            sends(FIN | ACK, seq=1),
            sees(ACK, seq=1, ack=2),
            becomes(State.FIN_WAIT_2),
        ],
    )


def test_a_repeated_fin_is_acknowledged_again_and_restarts_time_wait() -> None:
    script(
        Dialogue(),
        [
            *WAYS[State.TIME_WAIT],
            is_silent(50),
            sees(FIN | ACK, seq=1, ack=2),
            sends(ACK, seq=2, ack=2),
            is_silent(50 + TIME_WAIT_SECONDS - 0.001),
            becomes(State.TIME_WAIT),
            is_silent(50 + TIME_WAIT_SECONDS),
            ends(None),
        ],
    )


def test_an_old_ack_does_not_restart_time_wait() -> None:
    script(
        Dialogue(),
        [
            *WAYS[State.TIME_WAIT],
            is_silent(50),
            sees(ACK, seq=1, ack=2),
            sends(ACK, seq=2, ack=2),
            is_silent(TIME_WAIT_SECONDS),
            ends(None),
        ],
    )


@pytest.mark.parametrize("state", [State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT])
def test_nothing_is_taken_after_the_peers_fin(state: State) -> None:
    dialogue = Dialogue()
    flight = 1 if state in (State.CLOSING, State.CLOSE_WAIT, State.LAST_ACK) else 2
    script(
        dialogue,
        [*WAYS[state], sees(FIN | ACK, seq=2, ack=flight, data=b"late"), sends(ACK, ack=2), becomes(state)],
    )
    assert not dialogue.connection.received


def test_closing_twice_is_closing_once() -> None:
    script(Dialogue(), [*FINISHED_FIRST, closes(), closes(), writes(b"late"), becomes(State.FIN_WAIT_1)])


def test_closing_before_the_answer_gives_up() -> None:
    script(Dialogue(), [*OPENING, closes(), wakes(Wake.ENDED), ends(Failure.ABORTED)])


# --- resets and errors -----------------------------------------------------------------------------------


def test_a_reset_of_the_syn_is_a_refusal() -> None:
    script(Dialogue(), [*OPENING, sees(RST | ACK, seq=0, ack=1), wakes(Wake.ENDED), ends(Failure.REFUSED)])


@pytest.mark.parametrize("reset", [sees(RST, seq=0), sees(RST | ACK, seq=0, ack=7)])
def test_a_reset_that_does_not_acknowledge_the_syn_is_ignored(reset: Step) -> None:
    script(Dialogue(), [*OPENING, reset, becomes(State.SYN_SENT)])


@pytest.mark.parametrize(
    "state", [State.SYN_RECEIVED, State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT]
)
def test_a_reset_at_the_next_number_ends_the_connection(state: State) -> None:
    reset = sees(RST, seq=next_from_peer(state))
    script(Dialogue(), [*WAYS[state], becomes(state), reset, wakes(Wake.ENDED), ends(Failure.RESET)])


@pytest.mark.parametrize("state", [State.CLOSING, State.LAST_ACK, State.TIME_WAIT])
def test_a_reset_when_both_have_finished_is_no_failure(state: State) -> None:
    """RFC 9293 section 3.10.7.4, third check: enter CLOSED, delete the TCB, and return."""
    script(Dialogue(), [*WAYS[state], becomes(state), sees(RST, seq=2), wakes(Wake.ENDED), ends(None)])


@pytest.mark.parametrize("state", SYNCHRONISED)
def test_a_reset_elsewhere_in_the_window_is_challenged(state: State) -> None:
    """RFC 5961 section 3.2."""
    steps = [sees(RST, seq=500), sends(ACK, ack=next_from_peer(state), why="RFC 5961"), becomes(state)]
    script(Dialogue(), [*WAYS[state], *steps])


@pytest.mark.parametrize(("state", "seq"), list(product(SYNCHRONISED, [-100, WINDOW + 1000])))
def test_a_reset_outside_the_window_is_ignored(state: State, seq: int) -> None:
    script(Dialogue(), [*WAYS[state], sees(RST, seq=seq), becomes(state)])


@pytest.mark.parametrize("state", SYNCHRONISED)
def test_a_syn_inside_a_connection_is_challenged(state: State) -> None:
    steps = [sees(SYN, seq=700), sends(ACK, ack=next_from_peer(state), why="challenge"), becomes(state)]
    script(Dialogue(), [*WAYS[state], *steps])


def test_received_data_stays_readable_after_a_reset() -> None:
    script(
        Dialogue(),
        [
            *CONNECTED,
            sees(ACK, seq=1, ack=1, data=b"last words"),
            sends(ACK),
            sees(RST, seq=11),
            ends(Failure.RESET),
            reads(b"last words"),
        ],
    )


@pytest.mark.parametrize(
    "state", [State.SYN_RECEIVED, State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT]
)
def test_giving_up_a_connection_resets_it(state: State) -> None:
    own = 2 if state in (State.FIN_WAIT_1, State.FIN_WAIT_2) else 1
    reset = sends(RST | ACK, seq=own, ack=next_from_peer(state))
    script(Dialogue(), [*WAYS[state], aborts(), reset, wakes(Wake.ENDED), ends(Failure.ABORTED)])


def test_giving_up_an_attempt_is_silent() -> None:
    script(Dialogue(), [*OPENING, aborts(), ends(Failure.ABORTED)])


@pytest.mark.parametrize("state", [State.CLOSING, State.LAST_ACK, State.TIME_WAIT])
def test_giving_up_when_both_have_finished_is_silent_and_no_failure(state: State) -> None:
    """RFC 9293 section 3.10.5: respond to the ABORT with an ok indication, delete the TCB."""
    script(Dialogue(), [*WAYS[state], aborts(), ends(None)])


@pytest.mark.parametrize("first", [sees(RST, seq=1), aborts()])
def test_the_first_failure_is_the_one_that_counts(first: Step) -> None:
    dialogue = script(Dialogue(), [*CONNECTED, first, forgets()])
    failure = dialogue.connection.failure
    script(dialogue, [aborts(), wakes(), closes(), wakes(), writes(b"x"), wakes(), ends(failure)])


@pytest.mark.parametrize("state", [State.SYN_SENT, State.SYN_RECEIVED])
@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.UNREACHABLE])
def test_an_icmp_error_ends_an_attempt(state: State, failure: Failure) -> None:
    script(Dialogue(), [*WAYS[state], hears_error(failure), wakes(Wake.ENDED), ends(failure)])


@pytest.mark.parametrize("state", SYNCHRONISED)
def test_an_icmp_error_does_not_end_a_connection(state: State) -> None:
    """RFC 1122 section 4.2.3.9: a soft error."""
    script(Dialogue(), [*WAYS[state], hears_error(Failure.UNREACHABLE), becomes(state)])


# --- the table -------------------------------------------------------------------------------------------


def test_every_way_leads_where_it_says() -> None:
    for state, steps in WAYS.items():
        script(Dialogue(), [*steps, becomes(state)])


def test_every_transition_of_the_table_is_taken_by_some_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no dialogue reaches stands in the table for nothing."""
    from netsim.net import tcp

    taken: set[tuple[State, Move]] = set()

    class Watched(dict[tuple[State, Move], State]):
        def __getitem__(self, pair: tuple[State, Move]) -> State:
            taken.add(pair)
            return super().__getitem__(pair)

    monkeypatch.setattr(tcp, "NEXT", Watched(NEXT))
    for state, steps in WAYS.items():
        script(Dialogue(), [*steps, becomes(state)])
        script(Dialogue(), [*steps, aborts(), forgets()])
    script(Dialogue(), [*ACCEPTED, becomes(State.ESTABLISHED)])
    script(Dialogue(), [*WAYS[State.CLOSING], sees(ACK, seq=2, ack=2), becomes(State.TIME_WAIT)])
    script(Dialogue(), [*WAYS[State.FIN_WAIT_2], sees(FIN | ACK, seq=1, ack=2), sends(ACK)])
    script(Dialogue(), [*WAYS[State.LAST_ACK], sees(ACK, seq=2, ack=2), ends(None)])
    script(Dialogue(), [*WAYS[State.TIME_WAIT], is_silent(TIME_WAIT_SECONDS), ends(None)])
    assert taken == set(NEXT)


@pytest.mark.parametrize("pair", [pair for pair in product(State, Move) if pair not in NEXT])
def test_an_unknown_pair_raises(pair: tuple[State, Move]) -> None:
    state, move = pair
    connection = Dialogue().connection
    connection.state = state
    with pytest.raises(KeyError):
        connection._step(move)
    assert connection.state is state


def test_opening_twice_raises() -> None:
    with pytest.raises(KeyError):
        script(Dialogue(), [*CONNECTED, opens()])
