"""One way into each state of a TCP connection, as steps of a dialogue."""

from __future__ import annotations

from netsim.net.tcp_states import State
from netsim.wire.tcp import ACK, FIN, SYN
from tests.net.dialogue import (
    Step,
    closes,
    opens,
    sees,
    sends,
)

# Every state by one way into it. Own and peer's next sequence number are 1 while nobody has finished.
OPENING = [opens(), sends(SYN, seq=0)]
CONNECTED = [*OPENING, sees(SYN | ACK, seq=0, ack=1), sends(ACK, seq=1, ack=1)]
ACCEPTING = [sees(SYN, seq=0), sends(SYN | ACK, seq=0, ack=1)]
ACCEPTED = [*ACCEPTING, sees(ACK, seq=1, ack=1)]
FINISHED_FIRST = [*CONNECTED, closes(), sends(FIN | ACK, seq=1, ack=1)]
FINISHED_SECOND = [*CONNECTED, sees(FIN | ACK, seq=1, ack=1), sends(ACK, seq=1, ack=2)]
WAYS: dict[State, list[Step]] = {
    State.SYN_SENT: OPENING,
    State.SYN_RECEIVED: ACCEPTING,
    State.ESTABLISHED: CONNECTED,
    State.FIN_WAIT_1: FINISHED_FIRST,
    State.FIN_WAIT_2: [*FINISHED_FIRST, sees(ACK, seq=1, ack=2)],
    State.CLOSE_WAIT: FINISHED_SECOND,
    State.CLOSING: [*FINISHED_FIRST, sees(FIN | ACK, seq=1, ack=1), sends(ACK, seq=2, ack=2)],
    State.LAST_ACK: [*FINISHED_SECOND, closes(), sends(FIN | ACK, seq=1, ack=2)],
    State.TIME_WAIT: [*FINISHED_FIRST, sees(FIN | ACK, seq=1, ack=2), sends(ACK, seq=2, ack=2)],
}
LIVE = list(WAYS)
SYNCHRONISED = [state for state in LIVE if state not in (State.SYN_SENT, State.SYN_RECEIVED)]


def next_from_peer(state: State) -> int:
    """The sequence number that the connection waits for, having come by ``WAYS``."""
    finished = state in (State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT)
    return 2 if finished else 1
