"""The states of a TCP connection, and the table of its transitions (RFC 9293 section 3.3.2).

``tcp.Connection`` moves along ``NEXT`` and nowhere else: a pair that is not in it raises KeyError.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """RFC 9293 section 3.3.2; LISTEN is the listener's, not a connection's."""

    CLOSED = "CLOSED"
    SYN_SENT = "SYN_SENT"
    SYN_RECEIVED = "SYN_RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN_WAIT_1"
    FIN_WAIT_2 = "FIN_WAIT_2"
    CLOSE_WAIT = "CLOSE_WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"


class Step(Enum):
    """What moves a connection from one state to the next."""

    SYN_SENT = "SYN sent"
    SYN_ARRIVED = "SYN arrived"
    SYN_ACK_ARRIVED = "SYN,ACK arrived"
    HANDSHAKE_ACKED = "ACK of our SYN arrived"
    FIN_SENT = "FIN sent"
    FIN_ARRIVED = "FIN arrived"
    FIN_ACKED = "ACK of our FIN arrived"
    RESET = "reset or failed"
    QUIET = "TIME-WAIT over"


NEXT: dict[tuple[State, Step], State] = {
    (State.CLOSED, Step.SYN_SENT): State.SYN_SENT,
    (State.CLOSED, Step.SYN_ARRIVED): State.SYN_RECEIVED,
    (State.SYN_SENT, Step.SYN_ACK_ARRIVED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Step.HANDSHAKE_ACKED): State.ESTABLISHED,
    (State.ESTABLISHED, Step.FIN_SENT): State.FIN_WAIT_1,
    (State.ESTABLISHED, Step.FIN_ARRIVED): State.CLOSE_WAIT,
    (State.FIN_WAIT_1, Step.FIN_ACKED): State.FIN_WAIT_2,
    (State.FIN_WAIT_1, Step.FIN_ARRIVED): State.CLOSING,
    (State.FIN_WAIT_2, Step.FIN_ARRIVED): State.TIME_WAIT,
    (State.CLOSE_WAIT, Step.FIN_SENT): State.LAST_ACK,
    (State.CLOSING, Step.FIN_ACKED): State.TIME_WAIT,
    (State.LAST_ACK, Step.FIN_ACKED): State.CLOSED,
    (State.TIME_WAIT, Step.QUIET): State.CLOSED,
}
NEXT |= {(state, Step.RESET): State.CLOSED for state in State if state is not State.CLOSED}


class Failure(Enum):
    """Why a connection ended without both sides closing it."""

    REFUSED = "connection refused"
    RESET = "connection reset by peer"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    ABORTED = "aborted here"
