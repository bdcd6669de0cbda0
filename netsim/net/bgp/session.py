"""One finite state machine of RFC 4271 section 8, with at most one TCP connection at a time.

``peer.Peer`` has one that connects, and one for each connection that came in. A session does not know of
the others: when an OPEN has come and is right, it says ``OpenArrived`` and waits for the verdict on the
collision (``OpenAccepted`` or ``Ended``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, assert_never

from netsim.base.address import IpAddress, render_ip
from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.net.bgp.events import CloseConnection, Connection, OpenConnection, SendBytes
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings
from netsim.net.bgp.states import NEXT, State, Step
from netsim.wire import bgp
from netsim.wire import bgp_errors as errors
from netsim.wire.bgp_errors import BgpError, ErrorCode, error_text

OPEN_HOLD_TIME = 240.0  # RFC 4271 section 8.2.2: "a hold timer value of 4 minutes is suggested"
JITTER = 0.25  # RFC 4271 section 10: timers are multiplied by 0.75 to 1.0

_STEPS = {
    bgp.OPEN: Step.OPEN,
    bgp.UPDATE: Step.UPDATE,
    bgp.KEEPALIVE: Step.KEEPALIVE,
    bgp.ROUTE_REFRESH: Step.REFRESH,
}
_UNEXPECTED = {
    State.OPEN_SENT: errors.UNEXPECTED_IN_OPEN_SENT,
    State.OPEN_CONFIRM: errors.UNEXPECTED_IN_OPEN_CONFIRM,
    State.ESTABLISHED: errors.UNEXPECTED_IN_ESTABLISHED,
}
_KEEPALIVE = bgp.build(bgp.Keepalive())


class Started(NamedTuple):
    """The session may begin; it tries to connect after ``delay`` seconds unless the peer is passive."""

    delay: float


class Connected(NamedTuple):
    """The TCP connection stands."""

    connection: Connection
    local: IpAddress


class Lost(NamedTuple):
    """The attempt failed, or the connection is gone; ``reason`` is empty when the peer closed it."""

    reason: str


class Received(NamedTuple):
    """Bytes came in."""

    data: bytes


class OpenAccepted(NamedTuple):
    """The OPEN that came collides with no better connection."""


class Ended(NamedTuple):
    """End the session; a peer that is connected hears why, without a code it hears nothing."""

    code: int = 0
    subcode: int = 0


SessionEvent: TypeAlias = Started | Connected | Lost | Received | OpenAccepted | Ended


class OpenArrived(NamedTuple):
    """The peer's OPEN is right; is there a collision?"""

    message: bgp.Open


class Established(NamedTuple):
    """Routes may be exchanged."""


class UpdateArrived(NamedTuple):
    """The peer announces or withdraws routes."""

    update: bgp.Update


class RefreshAsked(NamedTuple):
    """The peer wants all routes once more."""


class Down(NamedTuple):
    """The session is Idle again; ``error`` when it is for a protocol error of either side."""

    error: bool
    was_established: bool


Output: TypeAlias = (
    OpenConnection
    | SendBytes
    | CloseConnection
    | OpenArrived
    | Established
    | UpdateArrived
    | RefreshAsked
    | Down
)


class Session:
    """One FSM. ``problem`` says why the last connection ended or could not be had, in BIRD's words."""

    def __init__(self, own: SpeakerSettings, peer: PeerSettings, rng: Rng, *, incoming: bool = False) -> None:
        self.incoming = incoming
        self.state = State.ACTIVE if incoming else State.IDLE
        self.connection: Connection | None = None
        self.local = b""
        self.peer_open: bgp.Open | None = None
        self.hold_time = 0
        self.problem = ""
        self._own = own
        self._peer = peer
        self._rng = rng
        self._attempts = 0
        self._undecided = False
        self._buffer = b""
        self._frames: deque[bgp.Frame] = deque()
        self._retry_at: float | None = None
        self._hold_at: float | None = None
        self._keepalive_at: float | None = None
        self._out: list[Output] = []

    @property
    def four_octet(self) -> bool:
        """Whether AS numbers are four octets long in this session (RFC 6793 section 4.1)."""
        return self.peer_open is None or self.peer_open.four_octet

    # --- the machine ---------------------------------------------------------------------------------

    def feed(self, event: SessionEvent, now: float) -> Sequence[Output]:
        """Take one event; returns what to do, and what happened, in order."""
        match event:
            case Received(data):
                self._buffer += data
                self._read(now)
            case Started(delay):
                self._start(delay, now)
            case Connected(connection, local):
                self._connected(connection, local, now)
            case Lost(reason):
                self._lost(reason, now)
            case OpenAccepted():
                self._confirm(now)
                self._read(now)
            case Ended(code, subcode):
                self._stop(code, subcode, now)
            case _:
                assert_never(event)
        return self._drain()

    def send(self, data: bytes, text: str, now: float) -> SendBytes:
        """The command that sends one message; ``text`` says which. It counts as a sign of life."""
        assert self.connection is not None
        if self.hold_time and self.state is not State.OPEN_SENT:
            self._keepalive_at = now + self._jittered(self.hold_time / 3)
        return SendBytes(self.connection, data, Cause(Stage.PROGRAM, f"BGP to {self._peer.title}: {text}"))

    def deadline(self) -> float | None:
        """When ``expire`` wants to be called, None while nothing is waited for."""
        timers = (self._retry_at, self._hold_at, self._keepalive_at)
        return min((timer for timer in timers if timer is not None), default=None)

    def expire(self, now: float) -> Sequence[Output]:
        """A timer has come: the peer is silent, or is to hear from us, or is to be tried again."""
        if self._hold_at is not None and now >= self._hold_at:
            self._refuse(ErrorCode.HOLD_TIMER_EXPIRED, 0, b"", now)
        elif self._keepalive_at is not None and now >= self._keepalive_at:
            self._out.append(self.send(_KEEPALIVE, "KEEPALIVE", now))
        elif self._retry_at is not None and now >= self._retry_at:
            self._dial(now)
        return self._drain()

    # --- connecting ----------------------------------------------------------------------------------

    def _start(self, delay: float, now: float) -> None:
        self._step(Step.STARTED)
        if self._peer.passive:
            return
        if delay:
            self._retry_at = now + self._jittered(delay)
        else:
            self._dial(now)

    def _dial(self, now: float) -> None:
        """Try, in place of an attempt that has not come to anything in time."""
        if self.connection is not None:
            self._out.append(CloseConnection(self.connection))
        self._step(Step.RETRY)
        self._attempts += 1
        self.connection = Connection(self._peer.address, False, self._attempts)
        self._retry_at = now + self._jittered(self._own.timers.connect_retry)
        self._out.append(OpenConnection(self.connection))

    def _connected(self, connection: Connection, local: IpAddress, now: float) -> None:
        self._step(Step.CONNECTED)
        self.connection = connection
        self.local = local.packed
        self._retry_at = None
        self._hold_at = now + OPEN_HOLD_TIME
        own = self._own
        message = bgp.standard_open(own.asn, own.timers.hold_time, own.identifier.packed, own.family)
        self._out.append(self.send(bgp.build(message), bgp.describe(message), now))

    def _lost(self, reason: str, now: float) -> None:
        if reason:
            self.problem = f"Socket: {reason}"
        was_established = self.state is State.ESTABLISHED
        self._forget()
        self._step(Step.FAILED)
        if self.state is State.IDLE:
            self._out.append(Down(False, was_established))
        elif not self._peer.passive:
            self._retry_at = now + self._jittered(self._own.timers.connect_retry)

    # --- messages in ---------------------------------------------------------------------------------

    def _read(self, now: float) -> None:
        """Take the messages that are whole, up to one that needs a verdict, or ends the session."""
        while self.connection is not None and not self._undecided:
            try:
                if not self._frames:
                    frames, self._buffer = bgp.split(self._buffer)
                    if not frames:
                        return
                    self._frames.extend(frames)
                frame = self._frames.popleft()
                if frame.kind != bgp.NOTIFICATION:
                    self._check_expected(frame.kind)
                self._message(bgp.parse(frame, four_octet=self.four_octet, family=self._own.family), now)
            except BgpError as error:
                self._refuse(error.code, error.subcode, error.data, now)

    def _check_expected(self, kind: int) -> None:
        """RFC 4271 section 6.6, with the subcodes of RFC 6608."""
        if (self.state, _STEPS[kind]) not in NEXT:
            raise BgpError(
                ErrorCode.FSM, _UNEXPECTED[self.state], f"message type {kind}", data=bytes((kind,))
            )

    def _message(self, message: bgp.Message, now: float) -> None:
        match message:
            case bgp.Update():
                self._alive(Step.UPDATE, now)
                self._out.append(UpdateArrived(message))
            case bgp.Keepalive():
                arriving = self.state is State.OPEN_CONFIRM
                self._alive(Step.KEEPALIVE, now)
                if arriving:
                    self.problem = ""
                    self._out.append(Established())
            case bgp.Open():
                self._check_open(message)
                self.peer_open = message
                self._undecided = True
                self._out.append(OpenArrived(message))
            case bgp.RouteRefresh(afi, safi):
                self._step(Step.REFRESH)
                if bgp.multiprotocol(afi, safi) == bgp.UNICASTS[self._own.family]:  # or passed over: RFC 2918
                    self._out.append(RefreshAsked())
            case bgp.Notification(code):
                self.problem = f"Received: {message}"
                self._end(code != ErrorCode.CEASE)
            case _:
                assert_never(message)

    def _check_open(self, message: bgp.Open) -> None:
        """RFC 4271 section 6.2, what the codec cannot know; the identifier as RFC 6286 section 2.2 has it."""
        if message.asn != self._peer.asn:
            raise BgpError(
                ErrorCode.OPEN_MESSAGE,
                errors.BAD_PEER_AS,
                f"AS {message.asn}, not {self._peer.asn}",
                data=message.asn.to_bytes(4, "big"),
            )
        if message.identifier == self._own.identifier.packed and message.asn == self._own.asn:
            raise BgpError(ErrorCode.OPEN_MESSAGE, errors.BAD_IDENTIFIER, render_ip(message.identifier))
        if not message.speaks(self._own.family):
            wanted = bgp.UNICASTS[self._own.family]
            data = bytes((wanted.code, len(wanted.value))) + wanted.value
            missing = f"no IPv{self._own.family} unicast"
            raise BgpError(ErrorCode.OPEN_MESSAGE, errors.UNSUPPORTED_CAPABILITY, missing, data=data)

    def _confirm(self, now: float) -> None:
        """Answer the OPEN with KEEPALIVE; from now on the smaller hold time counts (section 4.2)."""
        assert self.peer_open is not None
        self._undecided = False
        self._step(Step.OPEN)
        self.hold_time = min(self._own.timers.hold_time, self.peer_open.hold_time)
        self._hold_at = now + self.hold_time if self.hold_time else None
        self._out.append(self.send(_KEEPALIVE, "KEEPALIVE", now))

    def _alive(self, step: Step, now: float) -> None:
        self._step(step)
        if self.hold_time:
            self._hold_at = now + self.hold_time

    # --- ends ----------------------------------------------------------------------------------------

    def _refuse(self, code: int, subcode: int, data: bytes, now: float) -> None:
        """End the session for an error of the peer's."""
        self.problem = f"BGP Error: {error_text(code, subcode)}"
        self._notify(bgp.Notification(code, subcode, data), now)
        self._end(True)

    def _stop(self, code: int, subcode: int, now: float) -> None:
        if self.state is State.IDLE:
            return
        if code:
            self._notify(bgp.Notification(code, subcode), now)
        self._end(False)

    def _notify(self, message: bgp.Notification, now: float) -> None:
        if self.state.progress >= State.OPEN_SENT.progress:
            self._out.append(self.send(bgp.build(message), bgp.describe(message), now))

    def _end(self, error: bool) -> None:
        was_established = self.state is State.ESTABLISHED
        if self.connection is not None:
            self._out.append(CloseConnection(self.connection))
        self._forget()
        self._step(Step.ENDED)
        self._out.append(Down(error, was_established))

    def _forget(self) -> None:
        """Nothing is left of the connection."""
        self.connection = None
        self.peer_open = None
        self.hold_time = 0
        self._undecided = False
        self._buffer = b""
        self._frames.clear()
        self._retry_at = self._hold_at = self._keepalive_at = None

    def _step(self, step: Step) -> None:
        self.state = NEXT[self.state, step]

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 - JITTER * self._rng.random())

    def _drain(self) -> Sequence[Output]:
        out, self._out = self._out, []
        return out
