"""The states of a BGP session, and the table of its transitions (RFC 4271 section 8.2.2).

``session.Session`` moves along ``NEXT`` and nowhere else. A message whose step is not in the table for the
current state is a finite state machine error, which ends the session.

::

    Idle ──start──► Active ◄──fails── Connect ◄──┐ retry
                      │ └────retry────► │ └──────┘
                      └─connected─┬─────┘
                                  ▼
                               OpenSent ──OPEN──► OpenConfirm ──KEEPALIVE──► Established ◄┐ KEEPALIVE, UPDATE,
                                  │ fails: Active      │ fails: Idle            │    └────┘ ROUTE-REFRESH
    every error, NOTIFICATION, stop: Idle
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """RFC 4271 section 8.2.2, in the order of progress; ``value`` is the word that BIRD prints."""

    IDLE = "Idle"
    ACTIVE = "Active"
    CONNECT = "Connect"
    OPEN_SENT = "OpenSent"
    OPEN_CONFIRM = "OpenConfirm"
    ESTABLISHED = "Established"

    @property
    def progress(self) -> int:
        return _PROGRESS[self]


_PROGRESS = {state: number for number, state in enumerate(State)}


class Step(Enum):
    """What moves a session; the numbers are the events of RFC 4271 section 8.1."""

    STARTED = "started"  # 3 to 7
    RETRY = "ConnectRetryTimer expired"  # 9
    CONNECTED = "TCP connection established"  # 16, 17
    FAILED = "TCP connection failed or closed"  # 18
    OPEN = "OPEN arrived"  # 19
    KEEPALIVE = "KEEPALIVE arrived"  # 26
    UPDATE = "UPDATE arrived"  # 27
    REFRESH = "ROUTE-REFRESH arrived"  # RFC 2918
    ENDED = "stopped or in error"  # 2, 8, 10, 21 to 25, 28


NEXT: dict[tuple[State, Step], State] = {
    (State.IDLE, Step.STARTED): State.ACTIVE,
    (State.ACTIVE, Step.RETRY): State.CONNECT,
    (State.ACTIVE, Step.CONNECTED): State.OPEN_SENT,
    (State.CONNECT, Step.RETRY): State.CONNECT,
    (State.CONNECT, Step.CONNECTED): State.OPEN_SENT,
    (State.CONNECT, Step.FAILED): State.ACTIVE,
    (State.OPEN_SENT, Step.OPEN): State.OPEN_CONFIRM,
    (State.OPEN_SENT, Step.FAILED): State.ACTIVE,
    (State.OPEN_CONFIRM, Step.KEEPALIVE): State.ESTABLISHED,
    (State.OPEN_CONFIRM, Step.FAILED): State.IDLE,
    (State.ESTABLISHED, Step.KEEPALIVE): State.ESTABLISHED,
    (State.ESTABLISHED, Step.UPDATE): State.ESTABLISHED,
    (State.ESTABLISHED, Step.REFRESH): State.ESTABLISHED,
    (State.ESTABLISHED, Step.FAILED): State.IDLE,
}
NEXT |= {(state, Step.ENDED): State.IDLE for state in State if state is not State.IDLE}
