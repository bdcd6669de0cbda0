"""One TCP connection as a machine: events in, segments and notices out (RFC 9293).

``Stack`` feeds it and sends its segments; ``tests/net/test_tcp.py`` lets two of them talk. Modelled: the
handshake, MSS, cumulative acknowledgement, reassembly, retransmission with back-off (RFC 6298 with
Linux's bounds), fast retransmit after three duplicate ACKs, the receive window with probes, FIN, RST and
TIME-WAIT. Left out: congestion control, SACK, window scaling, timestamps, urgent data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias, assert_never

from netsim.base.cause import Cause, Stage
from netsim.wire.tcp import ACK, FIN, PSH, RST, SYN, Tcp

INITIAL_RTO = 1.0  # RFC 6298 section 2.1; Linux TCP_TIMEOUT_INIT
MIN_RTO = 0.2  # Linux TCP_RTO_MIN
MAX_RTO = 120.0  # Linux TCP_RTO_MAX
SYN_RETRIES = 6  # net.ipv4.tcp_syn_retries: gives up after 127 s
SYNACK_RETRIES = 5  # net.ipv4.tcp_synack_retries
DATA_RETRIES = 15  # net.ipv4.tcp_retries2
TIME_WAIT_SECONDS = 60.0  # Linux TCP_TIMEWAIT_LEN
WINDOW = 65535  # no window scaling, so this is the most that a header can say
SEND_BUFFER = 262144
DEFAULT_MSS = 536  # RFC 9293 section 3.7.1, for a peer that sends no MSS option
DUPLICATE_ACKS = 3  # RFC 5681 section 3.2
_MODULUS = 1 << 32


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

    SYN_ARRIVED = "SYN arrived"
    SYN_ACK_ARRIVED = "SYN,ACK arrived"
    HANDSHAKE_ACKED = "ACK of our SYN arrived"
    FIN_SENT = "FIN sent"
    FIN_ARRIVED = "FIN arrived"
    FIN_ACKED = "ACK of our FIN arrived"
    RESET = "reset or failed"
    QUIET = "TIME-WAIT over"


NEXT: dict[tuple[State, Step], State] = {
    (State.CLOSED, Step.SYN_ARRIVED): State.SYN_RECEIVED,
    (State.SYN_SENT, Step.SYN_ACK_ARRIVED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Step.HANDSHAKE_ACKED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Step.FIN_SENT): State.FIN_WAIT_1,
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

_RECEIVING = (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2)
_SENDING = (State.ESTABLISHED, State.CLOSE_WAIT)


class Failure(Enum):
    """Why a connection ended without both sides closing it."""

    REFUSED = "connection refused"
    RESET = "connection reset by peer"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    ABORTED = "aborted here"


class OpenCalled(NamedTuple):
    """The program asked for a connection."""


class WriteCalled(NamedTuple):
    """The program queued bytes."""

    data: bytes


class CloseCalled(NamedTuple):
    """The program will write no more."""


class AbortCalled(NamedTuple):
    """The program gave the connection up."""


class ReadCalled(NamedTuple):
    """The program took bytes out of the receive buffer, so the window may have opened."""


class SegmentArrived(NamedTuple):
    """A segment of this connection came in."""

    segment: Tcp


class ErrorArrived(NamedTuple):
    """An ICMP error about this connection came in: a hard one ends an attempt to connect."""

    failure: Failure


class PathMtuLearnt(NamedTuple):
    """ICMP said that segments must be smaller (RFC 1191)."""

    mss: int


Event: TypeAlias = (
    OpenCalled
    | WriteCalled
    | CloseCalled
    | AbortCalled
    | ReadCalled
    | SegmentArrived
    | ErrorArrived
    | PathMtuLearnt
)


class SendSegment(NamedTuple):
    """Send this segment; ``cause`` says why."""

    segment: Tcp
    cause: Cause


class Wake(Enum):
    """Tell the program that something it may wait for happened."""

    CONNECTED = "connected"
    READABLE = "readable"
    WRITABLE = "writable"
    ENDED = "ended"


Command: TypeAlias = SendSegment | Wake


@dataclass(slots=True)
class _Sent:
    """A segment in flight."""

    sequence: int
    flags: int
    payload: bytes
    sent_at: float
    retried: bool = False

    @property
    def length(self) -> int:
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)


def _before(a: int, b: int) -> bool:
    """Whether sequence number ``a`` comes before ``b`` (RFC 9293 section 3.4, modulo 2**32)."""
    return a != b and (b - a) % _MODULUS < 1 << 31


class Connection:
    """One end of one connection. ``mss`` is what this end can take, from its interface's MTU."""

    def __init__(self, local_port: int, remote_port: int, *, isn: int, mss: int) -> None:
        self.local_port = local_port
        self.remote_port = remote_port
        self.state = State.CLOSED
        self.failure: Failure | None = None
        self.received = bytearray()
        self.peer_finished = False
        self._own_mss = mss
        self._mss = DEFAULT_MSS
        self._send_next = isn
        self._unacknowledged = isn
        self._receive_next = 0
        self._peer_window = 0
        self._advertised = WINDOW
        self._unsent = bytearray()
        self._flight: deque[_Sent] = deque()
        self._ahead: dict[int, bytes] = {}
        self._closing = False
        self._fin_sequence: int | None = None
        self._peer_fin: int | None = None
        self._rto = INITIAL_RTO
        self._smoothed: float | None = None
        self._variation = 0.0
        self._retries = 0
        self._deadline: float | None = None
        self._duplicates = 0
        self._out: list[Command] = []

    # --- the machine ---------------------------------------------------------------------------------

    def feed(self, event: Event, now: float) -> Sequence[Command]:
        """Take one event; returns what to do, in order."""
        match event:
            case SegmentArrived(segment):
                self._segment(segment, now)
            case WriteCalled(data):
                if self.failure is None and not self._closing:
                    self._unsent += data
                    self._push(now)
            case ReadCalled():
                self._window_update()
            case OpenCalled():
                self.state = State.SYN_SENT
                self._transmit(SYN, b"", now, "open the connection")
            case CloseCalled():
                self._close(now)
            case AbortCalled():
                self._abort()
            case ErrorArrived(failure):
                if self.state in (State.SYN_SENT, State.SYN_RECEIVED):
                    self._fail(failure)
            case PathMtuLearnt(mss):
                self._shrink(mss, now)
            case _:
                assert_never(event)
        return self._drain()

    def deadline(self) -> float | None:
        """When ``expire`` wants to be called, None while nothing is waited for."""
        return self._deadline

    def expire(self, now: float) -> Sequence[Command]:
        """The deadline has come: retransmit, probe, give up, or end TIME-WAIT."""
        if self._deadline is None or now < self._deadline:
            return ()
        self._deadline = None
        if self.state is State.TIME_WAIT:
            self._step(Step.QUIET)
            self._out.append(Wake.ENDED)
        elif self._flight:
            self._retransmit(now)
        elif self._unsent and self._peer_window == 0:
            self._probe(now)
        return self._drain()

    @property
    def writable(self) -> bool:
        """Whether the send buffer has room."""
        return len(self._unsent) < SEND_BUFFER

    @property
    def ended(self) -> bool:
        return self.state is State.CLOSED

    def take(self, limit: int) -> bytes:
        """Take up to ``limit`` received bytes; follow with ``ReadCalled``."""
        data = bytes(self.received[:limit])
        del self.received[:limit]
        return data

    # --- segments in ---------------------------------------------------------------------------------

    def _segment(self, segment: Tcp, now: float) -> None:
        if self.state is State.CLOSED:
            self._first_syn(segment, now)
        elif segment.flags & RST:
            self._reset(segment)
        elif self.state is State.SYN_SENT:
            self._syn_answer(segment, now)
        elif segment.flags & SYN:
            self._repeated_syn(segment, now)
        elif segment.flags & ACK:
            if not self._acknowledged(segment, now):
                return
            if segment.payload or segment.flags & FIN:
                self._accept(segment, now)
            self._push(now)

    def _first_syn(self, segment: Tcp, now: float) -> None:
        if not segment.flags & SYN or segment.flags & (ACK | RST):
            return
        self._step(Step.SYN_ARRIVED)
        self._learn_peer(segment)
        self._transmit(SYN | ACK, b"", now, "accept the connection")

    def _syn_answer(self, segment: Tcp, now: float) -> None:
        if not (segment.flags & SYN and segment.flags & ACK):
            return
        if segment.acknowledgement != self._send_next:
            return
        self._step(Step.SYN_ACK_ARRIVED)
        self._learn_peer(segment)
        self._clear_flight(segment.acknowledgement, now)
        self._acknowledge("handshake complete")
        self._out.append(Wake.CONNECTED)
        self._push(now)

    def _repeated_syn(self, segment: Tcp, now: float) -> None:
        if self.state is State.SYN_RECEIVED and segment.flags & (SYN | ACK) == SYN:
            self._resend_first(now, "SYN came again: our SYN,ACK was lost")
        else:
            self._acknowledge("SYN inside a connection: challenge ACK (RFC 5961)")

    def _learn_peer(self, segment: Tcp) -> None:
        self._receive_next = (segment.sequence + 1) % _MODULUS
        self._peer_window = segment.window
        self._mss = min(self._own_mss, segment.mss or DEFAULT_MSS)

    def _reset(self, segment: Tcp) -> None:
        if self.state is State.SYN_SENT:
            if segment.flags & ACK and segment.acknowledgement == self._send_next:
                self._fail(Failure.REFUSED)
        elif (segment.sequence - self._receive_next) % _MODULUS < WINDOW:
            self._fail(Failure.RESET)

    def _acknowledged(self, segment: Tcp, now: float) -> bool:
        """Take the segment's acknowledgement; False when the connection is over with it."""
        number = segment.acknowledgement
        if _before(self._send_next, number):
            self._acknowledge("ACK for data not sent")
            return False
        if self.state is State.SYN_RECEIVED and number == self._send_next:
            self._step(Step.HANDSHAKE_ACKED)
            self._out.append(Wake.CONNECTED)
        advanced = _before(self._unacknowledged, number)
        duplicate = not advanced and not segment.payload and segment.window == self._peer_window
        self._peer_window = segment.window
        if advanced:
            self._clear_flight(number, now)
            self._out.append(Wake.WRITABLE)
            if self._fin_sequence is not None and _before(self._fin_sequence, number):
                return self._fin_acknowledged(now)
        elif duplicate and self._flight and not segment.flags & FIN:
            self._duplicates += 1
            if self._duplicates == DUPLICATE_ACKS:
                self._resend_first(now, "three duplicate ACKs: fast retransmit")
        return True

    def _fin_acknowledged(self, now: float) -> bool:
        self._fin_sequence = None
        self._step(Step.FIN_ACKED)
        if self.state is State.TIME_WAIT:
            self._deadline = now + TIME_WAIT_SECONDS
        elif self.state is State.CLOSED:
            self._deadline = None
            self._out.append(Wake.ENDED)
            return False
        return True

    def _accept(self, segment: Tcp, now: float) -> None:
        """Put the segment's bytes and FIN in their place, and acknowledge."""
        if segment.flags & FIN:
            self._peer_fin = (segment.sequence + len(segment.payload)) % _MODULUS
        if segment.payload and self.state in _RECEIVING:
            self._ahead.setdefault(segment.sequence, segment.payload)
            self._assemble()
        if self._peer_fin is not None and self._peer_fin == self._receive_next:
            self._take_fin(now)
        elif self.state is State.TIME_WAIT:
            self._deadline = now + TIME_WAIT_SECONDS
        self._acknowledge("data received" if segment.payload else "FIN received")

    def _assemble(self) -> None:
        grown = False
        while self._ahead:
            start = min(self._ahead, key=lambda s: (s - self._receive_next + (1 << 31)) % _MODULUS)
            if _before(self._receive_next, start):
                break
            payload = self._ahead.pop(start)
            fresh = payload[(self._receive_next - start) % _MODULUS :]
            room = WINDOW - len(self.received)
            if fresh and room > 0:
                self.received += fresh[:room]
                self._receive_next = (self._receive_next + min(len(fresh), room)) % _MODULUS
                grown = True
        if grown:
            self._out.append(Wake.READABLE)

    def _take_fin(self, now: float) -> None:
        if self.peer_finished:
            return
        self.peer_finished = True
        self._receive_next = (self._receive_next + 1) % _MODULUS
        self._step(Step.FIN_ARRIVED)
        self._out.append(Wake.READABLE)
        if self.state is State.TIME_WAIT:
            self._deadline = now + TIME_WAIT_SECONDS

    # --- segments out --------------------------------------------------------------------------------

    def _push(self, now: float) -> None:
        """Send what the window allows, then the FIN that waits behind it."""
        if self.state not in _SENDING:
            return
        while self._unsent:
            in_flight = (self._send_next - self._unacknowledged) % _MODULUS
            size = min(self._mss, len(self._unsent), self._peer_window - in_flight)
            if size <= 0:
                if self._deadline is None:
                    self._deadline = now + self._rto
                return
            payload = bytes(self._unsent[:size])
            del self._unsent[:size]
            self._transmit(ACK | (0 if self._unsent else PSH), payload, now, "data")
        if self._closing:
            self._fin_sequence = self._send_next
            self._transmit(FIN | ACK, b"", now, "close the connection")
            self._step(Step.FIN_SENT)

    def _transmit(self, flags: int, payload: bytes, now: float, why: str) -> None:
        sent = _Sent(self._send_next, flags, payload, now)
        self._flight.append(sent)
        self._send_next = (self._send_next + sent.length) % _MODULUS
        self._emit(sent, why)
        if self._deadline is None:
            self._deadline = now + self._rto

    def _emit(self, sent: _Sent, why: str) -> None:
        self._advertised = max(0, WINDOW - len(self.received))
        self._out.append(
            SendSegment(
                Tcp(
                    self.local_port,
                    self.remote_port,
                    sent.sequence,
                    self._receive_next if sent.flags & ACK else 0,
                    sent.flags,
                    self._advertised,
                    self._own_mss if sent.flags & SYN else None,
                    sent.payload,
                ),
                Cause(Stage.SOCKET, why),
            )
        )

    def _acknowledge(self, why: str) -> None:
        self._emit(_Sent(self._send_next, ACK, b"", 0.0), why)

    def _window_update(self) -> None:
        """Tell a peer that last heard of a window smaller than a segment that there is room again."""
        room = WINDOW - len(self.received)
        if self.state in _RECEIVING and self._advertised < self._own_mss <= room:
            self._assemble()
            self._acknowledge("window opened")

    def _resend_first(self, now: float, why: str) -> None:
        sent = self._flight[0]
        sent.retried = True
        sent.sent_at = now
        self._emit(sent, why)
        self._deadline = now + self._rto

    def _retransmit(self, now: float) -> None:
        self._retries += 1
        limit = {State.SYN_SENT: SYN_RETRIES, State.SYN_RECEIVED: SYNACK_RETRIES}.get(
            self.state, DATA_RETRIES
        )
        if self._retries > limit:
            self._fail(Failure.TIMED_OUT)
            return
        self._rto = min(self._rto * 2, MAX_RTO)
        self._resend_first(now, f"no ACK: retransmission {self._retries}")

    def _probe(self, now: float) -> None:
        """Send one byte into a closed window, so that a lost window update cannot stall us."""
        payload = bytes(self._unsent[:1])
        del self._unsent[:1]
        self._rto = min(self._rto * 2, MAX_RTO)
        self._transmit(ACK | PSH, payload, now, "zero window: probe")

    def _clear_flight(self, number: int, now: float) -> None:
        self._unacknowledged = number
        self._duplicates = 0
        measured: float | None = None
        while self._flight:
            first = self._flight[0]
            end = (first.sequence + first.length) % _MODULUS
            if _before(number, end):
                if _before(first.sequence, number):
                    self._trim(first, number)
                break
            self._flight.popleft()
            measured = None if first.retried else now - first.sent_at
        if measured is not None:
            self._measure(measured)
        self._retries = 0
        self._deadline = now + self._rto if self._flight else None

    @staticmethod
    def _trim(sent: _Sent, number: int) -> None:
        sent.payload = sent.payload[(number - sent.sequence) % _MODULUS :]
        sent.sequence = number

    def _measure(self, sample: float) -> None:
        """RFC 6298 section 2."""
        if self._smoothed is None:
            self._smoothed, self._variation = sample, sample / 2
        else:
            self._variation = 0.75 * self._variation + 0.25 * abs(self._smoothed - sample)
            self._smoothed = 0.875 * self._smoothed + 0.125 * sample
        self._rto = min(max(self._smoothed + max(0.001, 4 * self._variation), MIN_RTO), MAX_RTO)

    def _shrink(self, mss: int, now: float) -> None:
        if mss >= self._mss:
            return
        self._mss = mss
        if any(len(sent.payload) > mss for sent in self._flight):
            flight, self._flight = self._flight, deque()
            for sent in flight:
                for offset in range(0, max(1, len(sent.payload)), mss):
                    piece = _Sent(
                        (sent.sequence + offset) % _MODULUS,
                        sent.flags,
                        sent.payload[offset : offset + mss],
                        now,
                        retried=True,
                    )
                    self._flight.append(piece)
                    self._emit(piece, f"path MTU is smaller: resend in segments of {mss} bytes")
            self._deadline = now + self._rto

    # --- ends ----------------------------------------------------------------------------------------

    def _close(self, now: float) -> None:
        if self._closing or self.state is State.CLOSED:
            return
        if self.state is State.SYN_SENT:
            self._fail(Failure.ABORTED)
            return
        self._closing = True
        self._push(now)

    def _abort(self) -> None:
        if self.state not in (State.CLOSED, State.SYN_SENT, State.TIME_WAIT):
            reset = _Sent(self._send_next, RST | ACK, b"", 0.0)
            self._emit(reset, "the program gave the connection up")
        self._fail(Failure.ABORTED)

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self.state = State.CLOSED
        self._deadline = None
        self._flight.clear()
        self._unsent.clear()
        self._out.append(Wake.ENDED)

    def _step(self, step: Step) -> None:
        self.state = NEXT[self.state, step]

    def _drain(self) -> Sequence[Command]:
        out, self._out = self._out, []
        return out
