"""One TCP connection as a machine: events in, segments and notices out (RFC 9293).

``Stack`` feeds it and sends its segments; ``tests/net/test_tcp_pair.py`` lets two of them talk. Modelled:
the handshake, MSS, cumulative acknowledgement, reassembly, retransmission with back-off (RFC 6298 with
Linux's bounds), fast retransmit after three duplicate ACKs, the receive window with probes, FIN, RST and
challenge ACKs (RFC 5961), TIME-WAIT. Left out: simultaneous open, congestion control, SACK, window scaling,
timestamps, urgent data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias, assert_never

from netsim.base.cause import Cause, Stage
from netsim.net.receive_buffer import MODULUS, WINDOW, ReceiveBuffer, distance
from netsim.net.tcp_states import NEXT, Failure, State, Step
from netsim.wire.tcp import ACK, FIN, PSH, RST, SYN, Tcp

INITIAL_RTO = 1.0  # RFC 6298 section 2.1; Linux TCP_TIMEOUT_INIT
FALLBACK_RTO = 3.0  # RFC 6298 section 5.7: after a handshake that gave no measurement
MIN_RTO = 0.2  # Linux TCP_RTO_MIN
MAX_RTO = 120.0  # Linux TCP_RTO_MAX
SYN_RETRIES = 6  # net.ipv4.tcp_syn_retries: gives up after 127 s
SYNACK_RETRIES = 5  # net.ipv4.tcp_synack_retries
DATA_RETRIES = 15  # net.ipv4.tcp_retries2, also the zero window probes that go unanswered
TIME_WAIT_SECONDS = 60.0  # Linux TCP_TIMEWAIT_LEN
SEND_BUFFER = 262144
DEFAULT_MSS = 536  # RFC 9293 section 3.7.1, for a peer that sends no MSS option
DUPLICATE_ACKS = 3  # RFC 5681 section 3.2

_RECEIVING = (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2)
_SENDING = (State.ESTABLISHED, State.CLOSE_WAIT)
_BOTH_FINISHED = (State.CLOSING, State.LAST_ACK, State.TIME_WAIT)


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
    """Whether sequence number ``a`` comes before ``b`` (RFC 9293 section 3.4)."""
    return distance(a, b) > 0


def _length(segment: Tcp) -> int:
    """SEG.LEN: what a segment takes of the sequence space, but for SYN, which is looked at before."""
    return len(segment.payload) + bool(segment.flags & FIN)


class Connection:
    """One end of one connection. ``mss`` is what this end can take, from its interface's MTU; ``default_mss``
    what a peer that does not say can."""

    def __init__(
        self, local_port: int, remote_port: int, *, isn: int, mss: int, default_mss: int = DEFAULT_MSS
    ) -> None:
        self.local_port = local_port
        self.remote_port = remote_port
        self.state = State.CLOSED
        self.failure: Failure | None = None
        self.peer_finished = False
        self.closing = False
        self._own_mss = mss
        self._mss = self._default_mss = default_mss
        self._inbound = ReceiveBuffer()
        self._advertised = WINDOW
        self._peer_fin: int | None = None
        self._send_next = isn
        self._unacknowledged = isn
        self._unsent = bytearray()
        self._flight: deque[_Sent] = deque()
        self._fin_sequence: int | None = None
        self._peer_window = 0
        self._window_from = (0, 0)  # SND.WL1, SND.WL2: the segment that told the window
        self._rto = INITIAL_RTO
        self._smoothed: float | None = None
        self._variation = 0.0
        self._retries = 0
        self._probes = 0
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
                if self.failure is None and not self.closing:
                    self._unsent += data
                    self._push(now)
            case ReadCalled():
                self._window_update()
            case OpenCalled():
                self._step(Step.SYN_SENT)
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
            self._end(Step.QUIET)
        elif self._flight:
            self._retransmit(now)
        elif self._unsent:
            self._probe(now)
        return self._drain()

    @property
    def received(self) -> bytearray:
        """What came in order and the program has not taken yet."""
        return self._inbound.ready

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

    def may_reopen(self, segment: Tcp) -> bool:
        """Whether a new connection may take this one's place: its SYN is past all that TIME-WAIT guards.

        RFC 9293 section 3.10.7.4, "TIME-WAIT STATE", MAY-2; Linux tcp_timewait_state_process.
        """
        return self.state is State.TIME_WAIT and _before(self._inbound.next, segment.sequence)

    # --- segments in ---------------------------------------------------------------------------------

    def _segment(self, segment: Tcp, now: float) -> None:
        """RFC 9293 section 3.10.7, in its order but for RFC 5961's: RST and SYN before the window."""
        if self.state is State.CLOSED:
            self._first_syn(segment, now)
        elif self.state is State.SYN_SENT:
            self._syn_answer(segment, now)
        elif segment.flags & RST:
            self._reset(segment)
        elif segment.flags & SYN:
            self._repeated_syn(segment, now)
        elif not segment.flags & ACK:
            return
        elif not self._inbound.acceptable(segment.sequence, _length(segment)):
            self._unacceptable(segment, now)
        elif self._acknowledged(segment, now):
            if segment.payload or segment.flags & FIN:
                self._accept(segment, now)
            self._push(now)

    def _first_syn(self, segment: Tcp, now: float) -> None:
        if segment.flags & (SYN | ACK | RST) != SYN:
            return
        self._step(Step.SYN_ARRIVED)
        self._learn_peer(segment)
        self._transmit(SYN | ACK, b"", now, "accept the connection")

    def _syn_answer(self, segment: Tcp, now: float) -> None:
        """RFC 9293 section 3.10.7.3. A lone SYN (simultaneous open) is left out."""
        if not segment.flags & ACK:
            return
        if segment.acknowledgement != self._send_next:
            if not segment.flags & RST:
                self._send_reset(segment, "this ACK answers no SYN of ours")
        elif segment.flags & RST:
            self._fail(Failure.REFUSED)
        elif segment.flags & SYN:
            self._step(Step.SYN_ACK_ARRIVED)
            self._learn_peer(segment)
            self._clear_flight(segment.acknowledgement, now)
            self._acknowledge("handshake complete")
            self._established(now)

    def _established(self, now: float) -> None:
        if self._smoothed is None:
            self._rto = FALLBACK_RTO
        self._out.append(Wake.CONNECTED)
        self._push(now)

    def _repeated_syn(self, segment: Tcp, now: float) -> None:
        first = (segment.sequence + 1) % MODULUS == self._inbound.next
        if self.state is State.SYN_RECEIVED and first and not segment.flags & ACK:
            self._resend_first(now, "SYN came again: our SYN,ACK was lost")
        else:
            self._acknowledge("SYN inside a connection: challenge ACK (RFC 5961)")

    def _learn_peer(self, segment: Tcp) -> None:
        self._inbound.next = (segment.sequence + 1) % MODULUS
        self._peer_window = segment.window
        self._window_from = (segment.sequence, segment.acknowledgement)
        self._mss = min(self._own_mss, segment.mss or self._default_mss)

    def _reset(self, segment: Tcp) -> None:
        """RFC 5961 section 3.2: only an RST at the very next number is believed."""
        if segment.sequence == self._inbound.next:
            if self.state in _BOTH_FINISHED:
                self._end(Step.RESET)
            else:
                self._fail(Failure.RESET)
        elif self._inbound.acceptable(segment.sequence, 0):
            self._acknowledge("RST not at the next sequence number: challenge ACK (RFC 5961)")

    def _unacceptable(self, segment: Tcp, now: float) -> None:
        """Old, or far ahead: say what is expected. In TIME-WAIT it is the peer's FIN once more."""
        if self.state is State.TIME_WAIT and segment.flags & FIN:
            self._deadline = now + TIME_WAIT_SECONDS
        self._acknowledge("segment outside the window: say again what is expected")

    def _acknowledged(self, segment: Tcp, now: float) -> bool:
        """Take the segment's acknowledgement; False when there is nothing more in it for us."""
        number = segment.acknowledgement
        if self.state is State.SYN_RECEIVED:
            if number != self._send_next:
                self._send_reset(segment, "this ACK does not complete the handshake")
                return False
            self._step(Step.HANDSHAKE_ACKED)
            self._take_window(segment)
            self._clear_flight(number, now)
            self._established(now)
            return True
        if _before(self._send_next, number):
            self._acknowledge("ACK for data not sent")
            return False
        same_window = segment.window == self._peer_window
        self._take_window(segment)
        if _before(self._unacknowledged, number):
            self._clear_flight(number, now)
            self._out.append(Wake.WRITABLE)
            if self._fin_sequence is not None and _before(self._fin_sequence, number):
                return self._fin_acknowledged(now)
        elif number == self._unacknowledged and same_window and not _length(segment):
            self._duplicate(now)
        return True

    def _take_window(self, segment: Tcp) -> None:
        """Believe the window of the newest segment only (RFC 9293 section 3.10.7.4, SND.WL1 and SND.WL2)."""
        sequence, acknowledgement = self._window_from
        newer = distance(sequence, segment.sequence)
        if newer < 0 or (newer == 0 and _before(segment.acknowledgement, acknowledgement)):
            return
        self._window_from = (segment.sequence, segment.acknowledgement)
        self._peer_window = segment.window
        if self._unsent and not self._flight:
            self._retries = 0
            if self._peer_window:
                self._probes, self._deadline = 0, None

    def _duplicate(self, now: float) -> None:
        """RFC 5681 section 2 and 3.2."""
        if self._flight:
            self._duplicates += 1
            if self._duplicates == DUPLICATE_ACKS:
                self._resend_first(now, "three duplicate ACKs: fast retransmit")

    def _fin_acknowledged(self, now: float) -> bool:
        self._fin_sequence = None
        if self.state is State.LAST_ACK:
            self._end(Step.FIN_ACKED)
            return False
        self._step(Step.FIN_ACKED)
        if self.state is State.TIME_WAIT:
            self._deadline = now + TIME_WAIT_SECONDS
        return True

    def _accept(self, segment: Tcp, now: float) -> None:
        """Put the segment's bytes and FIN in their place, and acknowledge."""
        if segment.flags & FIN:
            self._peer_fin = (segment.sequence + len(segment.payload)) % MODULUS
        if self.state in _RECEIVING:
            if self._inbound.put(segment.sequence, segment.payload):
                self._out.append(Wake.READABLE)
            if self._peer_fin == self._inbound.next:
                self._take_fin(now)
        self._acknowledge("data received" if segment.payload else "FIN received")

    def _take_fin(self, now: float) -> None:
        self.peer_finished = True
        self._inbound.next = (self._inbound.next + 1) % MODULUS
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
            in_flight = distance(self._unacknowledged, self._send_next)
            size = min(self._mss, len(self._unsent), self._peer_window - in_flight)
            if size <= 0:
                if self._deadline is None:
                    self._deadline = now + self._rto
                return
            payload = bytes(self._unsent[:size])
            del self._unsent[:size]
            self._transmit(ACK | (0 if self._unsent else PSH), payload, now, "data")
        if self.closing:
            self._fin_sequence = self._send_next
            self._transmit(FIN | ACK, b"", now, "close the connection")
            self._step(Step.FIN_SENT)

    def _transmit(self, flags: int, payload: bytes, now: float, why: str) -> None:
        sent = _Sent(self._send_next, flags, payload, now)
        self._flight.append(sent)
        self._send_next = (self._send_next + sent.length) % MODULUS
        self._emit(sent, why)
        if self._deadline is None:
            self._deadline = now + self._rto

    def _emit(self, sent: _Sent, why: str) -> None:
        self._advertised = self._inbound.window
        self._out.append(
            SendSegment(
                Tcp(
                    self.local_port,
                    self.remote_port,
                    sent.sequence,
                    self._inbound.next if sent.flags & ACK else 0,
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

    def _send_reset(self, segment: Tcp, why: str) -> None:
        """<SEQ=SEG.ACK><CTL=RST>: the peer speaks of a connection that is not this one."""
        self._emit(_Sent(segment.acknowledgement, RST, b"", 0.0), why)

    def _window_update(self) -> None:
        """Tell a peer that last heard of a window too small to be worth using that there is room again.

        RFC 9293 section 3.8.6.2.2: once a segment or half the buffer has become free.
        """
        worth = min(self._own_mss, WINDOW // 2)
        if self.state in _RECEIVING and self._advertised < worth <= self._inbound.window:
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
        """Make the peer repeat its window, in case the update was lost (Linux tcp_xmit_probe_skb).

        The probe is an ACK at a sequence number that is over, which the peer must answer. An answer that
        still says zero keeps the connection, however long it goes on (RFC 9293 section 3.8.6.1).
        """
        self._retries += 1
        if self._retries > DATA_RETRIES:
            self._fail(Failure.TIMED_OUT)
            return
        self._probes += 1
        self._emit(_Sent((self._send_next - 1) % MODULUS, ACK, b"", 0.0), "zero window: probe")
        self._deadline = now + min(self._rto * 2**self._probes, MAX_RTO)

    def _clear_flight(self, number: int, now: float) -> None:
        self._unacknowledged = number
        self._duplicates = 0
        measured: float | None = None
        while self._flight:
            first = self._flight[0]
            end = (first.sequence + first.length) % MODULUS
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
        sent.payload = sent.payload[distance(sent.sequence, number) :]
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
        """Send again in smaller pieces what was too large (RFC 1191 section 6.4)."""
        if mss >= self._mss:
            return
        self._mss = mss
        if all(len(sent.payload) <= mss for sent in self._flight):
            return
        flight, self._flight = self._flight, deque()
        for sent in flight:
            for offset in range(0, max(1, len(sent.payload)), mss):
                piece = _Sent(
                    (sent.sequence + offset) % MODULUS,
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
        if self.closing or self.state is State.CLOSED:
            return
        if self.state is State.SYN_SENT:
            self._fail(Failure.ABORTED)
            return
        self.closing = True
        self._push(now)

    def _abort(self) -> None:
        if self.state is State.CLOSED:
            return
        if self.state in _BOTH_FINISHED:
            self._end(Step.RESET)
            return
        if self.state is not State.SYN_SENT:
            reset = _Sent(self._send_next, RST | ACK, b"", 0.0)
            self._emit(reset, "the program gave the connection up")
        self._fail(Failure.ABORTED)

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self._end(Step.RESET)

    def _end(self, step: Step) -> None:
        self._step(step)
        self._deadline = None
        self._flight.clear()
        self._unsent.clear()
        self._out.append(Wake.ENDED)

    def _step(self, step: Step) -> None:
        self.state = NEXT[self.state, step]

    def _drain(self) -> Sequence[Command]:
        out, self._out = self._out, []
        return out
