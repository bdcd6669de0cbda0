"""All that goes on with one neighbour: the session that connects, those that came in, and their collisions.

Both sides may connect at once. Then each has two connections, and RFC 4271 section 6.8 says which one stays:
that which the side with the higher BGP identifier opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, assert_never

from netsim.base.rng import Rng
from netsim.net.bgp import session as fsm
from netsim.net.bgp.events import (
    BytesArrived,
    CloseConnection,
    Connection,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    OpenConnection,
    SendBytes,
    Started,
    Stopped,
)
from netsim.net.bgp.session import Session
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings
from netsim.net.bgp.states import State
from netsim.wire import bgp
from netsim.wire import bgp_errors as errors
from netsim.wire.bgp_errors import ErrorCode

ERROR_FORGET = 300.0  # BIRD's "error forget time": the wait after an error is short again

PeerEvent: TypeAlias = (
    Started | Stopped | ConnectionOpened | ConnectionFailed | ConnectionClosed | BytesArrived
)


class PeerUp(NamedTuple):
    """The session is Established."""

    session: Session


class PeerDown(NamedTuple):
    """The session that was Established is over."""


PeerOutput: TypeAlias = (
    OpenConnection | SendBytes | CloseConnection | PeerUp | PeerDown | fsm.UpdateArrived | fsm.RefreshAsked
)


class Peer:
    """One neighbour. ``since`` is when it was last established, or stopped being so."""

    def __init__(self, own: SpeakerSettings, settings: PeerSettings, rng: Rng) -> None:
        self.settings = settings
        self.since = 0.0
        self._own = own
        self._rng = rng
        self._primary = Session(own, settings, rng)
        self._incoming: dict[Connection, Session] = {}
        self._running = False
        self._problem = ""
        self._delay = own.timers.connect_delay
        self._restart_at: float | None = None
        self._error_wait = 0.0
        self._last_error: float | None = None
        self._out: list[PeerOutput] = []

    @property
    def state(self) -> State:
        """The state of the session that got furthest."""
        return max((session.state for session in self._sessions()), key=lambda state: state.progress)

    @property
    def established(self) -> Session | None:
        """The session over which routes are exchanged."""
        for session in self._sessions():
            if session.state is State.ESTABLISHED:
                return session
        return None

    @property
    def problem(self) -> str:
        """Why it is not Established, or was not a moment ago, in BIRD's words; empty when all is well."""
        return "" if self.established is not None else self._problem

    def feed(self, event: PeerEvent, now: float) -> Sequence[PeerOutput]:
        """Take one event; returns what to do, and what happened, in order."""
        match event:
            case BytesArrived(connection, data):
                self._tell(connection, fsm.Received(data), now)
            case ConnectionOpened():
                self._opened(event, now)
            case ConnectionFailed(connection, reason) | ConnectionClosed(connection, reason):
                self._tell(connection, fsm.Lost(reason), now)
            case Started():
                self._running = True
                self._rest(now)
            case Stopped():
                self._stop(errors.ADMINISTRATIVE_SHUTDOWN, now)
            case _:
                assert_never(event)
        return self._drain()

    def remove(self, now: float) -> Sequence[PeerOutput]:
        """The neighbour is no longer one."""
        self._stop(errors.PEER_DECONFIGURED, now)
        return self._drain()

    def deadline(self) -> float | None:
        """When ``expire`` wants to be called, None while nothing is waited for."""
        times = [session.deadline() for session in self._sessions()]
        return min((time for time in (*times, self._restart_at) if time is not None), default=None)

    def expire(self, now: float) -> Sequence[PeerOutput]:
        """A session's timer has come, or the wait after an error is over."""
        if self._restart_at is not None and now >= self._restart_at:
            self._restart_at = None
            self._run(self._primary, fsm.Started(0.0), now)
        for session in list(self._sessions()):
            deadline = session.deadline()
            if deadline is not None and now >= deadline:
                self._handle(session, session.expire(now), now)
        return self._drain()

    # --- sessions ------------------------------------------------------------------------------------

    def _sessions(self) -> Iterator[Session]:
        yield self._primary
        yield from self._incoming.values()

    def _tell(self, connection: Connection, event: fsm.SessionEvent, now: float) -> None:
        """Give an event to the session of a connection; of one that was given up nobody cares."""
        session = self._incoming.get(connection)
        if session is None and self._primary.connection == connection:
            session = self._primary
        if session is not None:
            self._run(session, event, now)

    def _opened(self, event: ConnectionOpened, now: float) -> None:
        connection = event.connection
        connected = fsm.Connected(connection, event.local)
        if not connection.incoming:
            if self._primary.connection == connection and self._primary.state is State.CONNECT:
                self._run(self._primary, connected, now)
            else:
                self._out.append(CloseConnection(connection))
        elif not self._running or self._restart_at is not None:
            self._out.append(CloseConnection(connection))  # Idle refuses (RFC 4271 section 8.2.2)
        else:
            session = Session(self._own, self.settings, self._rng, incoming=True)
            self._incoming[connection] = session
            self._run(session, connected, now)

    def _run(self, session: Session, event: fsm.SessionEvent, now: float) -> None:
        self._handle(session, session.feed(event, now), now)

    def _handle(self, session: Session, outputs: Sequence[fsm.Output], now: float) -> None:
        for output in outputs:
            match output:
                case fsm.OpenArrived(message):
                    self._judge(session, message, now)
                case fsm.Established():
                    self.since = now
                    self._out.append(PeerUp(session))
                case fsm.Down(error, was_established):
                    self._down(error, was_established, now)
                case _:
                    self._out.append(output)
        self._problem = session.problem or self._problem
        if session.incoming and session.connection is None:
            self._incoming = {key: kept for key, kept in self._incoming.items() if kept is not session}
        if session.connection is None:
            self._rest(now)

    # --- collisions ----------------------------------------------------------------------------------

    def _judge(self, session: Session, message: bgp.Open, now: float) -> None:
        """An OPEN has come and is right: close all connections but one (RFC 4271 section 6.8).

        What is Established stays. While we only try to connect there is no collision, and no need to go on.
        """
        rivals = [other for other in self._sessions() if other is not session]
        for other in rivals:
            confirmed = other.state is State.OPEN_CONFIRM
            if other.state is State.ESTABLISHED or (confirmed and not self._prefers(session, other, message)):
                self._run(session, _COLLIDED, now)
                return
        for other in rivals:
            if other.state is State.OPEN_CONFIRM:
                self._run(other, _COLLIDED, now)
            elif other.state in (State.ACTIVE, State.CONNECT):
                self._run(other, fsm.Ended(), now)
        self._run(session, fsm.OpenAccepted(), now)

    def _prefers(self, session: Session, other: Session, message: bgp.Open) -> bool:
        """Whether the connection whose OPEN has come just now is the better one.

        Equal identifiers: the higher AS decides (RFC 6286 section 2.3). Two from one side: that side gave
        the older one up.
        """
        if session.incoming == other.incoming:
            return True
        ours = (self._own.identifier.packed, self._own.asn)
        return session.incoming == (ours < (message.identifier, message.asn))

    # --- beginning and ending ------------------------------------------------------------------------

    def _down(self, error: bool, was_established: bool, now: float) -> None:
        timers = self._own.timers
        self._delay = timers.connect_delay if was_established else timers.connect_retry
        if was_established:
            self.since = now
            self._out.append(PeerDown())
        if error:
            self._wait(now)

    def _wait(self, now: float) -> None:
        """After an error nothing happens for a while (RFC 4271 section 8.1.1, IdleHoldTime)."""
        timers = self._own.timers
        recent = self._last_error is not None and now - self._last_error < ERROR_FORGET
        self._error_wait = (
            min(self._error_wait * 2, timers.longest_error_wait) if recent else timers.error_wait
        )
        self._last_error = now
        self._restart_at = now + self._error_wait
        if self._primary.state in (State.ACTIVE, State.CONNECT):
            self._run(self._primary, fsm.Ended(), now)

    def _rest(self, now: float) -> None:
        """Begin anew when nothing is left that could become a session, after an error not at once."""
        accepted = any(session.connection is not None for session in self._incoming.values())
        if accepted or self._primary.state is not State.IDLE:
            self._restart_at = None
        elif self._running and self._restart_at is None:
            self._run(self._primary, fsm.Started(self._delay), now)

    def _stop(self, subcode: int, now: float) -> None:
        self._running = False
        self._restart_at = None
        for session in list(self._sessions()):
            self._run(session, fsm.Ended(ErrorCode.CEASE, subcode), now)

    def _drain(self) -> Sequence[PeerOutput]:
        out, self._out = self._out, []
        return out


_COLLIDED = fsm.Ended(ErrorCode.CEASE, errors.COLLISION)
