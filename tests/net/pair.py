"""Two TCP connections facing each other on virtual time, over a line that loses, doubles and reorders.

``Talk`` runs both programs: each writes its chunks as the send buffer has room, then closes; each takes what
arrives, at its own pace. The line treats the n-th segment as the n-th ``Fate`` says and is perfect after
the last one, so that every talk comes to an end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.net.receive_buffer import MODULUS
from netsim.net.tcp import (
    CloseCalled,
    Command,
    Connection,
    Event,
    OpenCalled,
    PathMtuLearnt,
    ReadCalled,
    SegmentArrived,
    SendSegment,
    Wake,
    WriteCalled,
)
from netsim.net.tcp_states import State
from netsim.wire.tcp import ACK, RST, SYN, Tcp, render_flags

LINE_DELAY = 0.01
MAX_LOST_SYNS = 4  # fewer than any side repeats its SYN
EVENT_LIMIT = 100_000


class Fate(NamedTuple):
    """What happens to one segment: how many copies arrive (0: it is lost), and how late."""

    copies: int = 1
    late: float = 0.0


class Plan(NamedTuple):
    """What one side does. ``pace`` is the seconds between two reads of at most ``bite`` bytes."""

    chunks: tuple[bytes, ...] = ()
    bite: int = 1 << 20
    pace: float = 0.0
    mss: int = 1000
    isn: int = 0
    smaller_mss: int | None = None  # learnt from ICMP at ``shrink_at``
    shrink_at: float = 0.05


class Side:
    """One connection and its program."""

    def __init__(self, name: str, plan: Plan, ports: tuple[int, int]) -> None:
        self.name = name
        self.plan = plan
        self.connection = Connection(*ports, isn=plan.isn, mss=plan.mss)
        self.left = list(plan.chunks)
        self.got = bytearray()
        self.opened = False
        self.reading = False
        self.armed: float | None = None


class Talk:
    """Run it with ``run``; ``walk`` then tells what crossed the line."""

    def __init__(self, client: Plan, server: Plan, fates: Sequence[Fate] = ()) -> None:
        self.client = Side("client", client, (40000, 80))
        self.server = Side("server", server, (80, 40000))
        self.now = 0.0
        self.sizes: list[tuple[float, int]] = []  # of the payloads sent, by time
        self._fates = list(fates)
        self._next_fate = 0
        self._lost_syns = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._said: list[str] = []

    @property
    def walk(self) -> str:
        return "\n".join(self._said[-200:])

    def run(self) -> Talk:
        for side in (self.client, self.server):
            if side.plan.smaller_mss is not None:
                event = PathMtuLearnt(side.plan.smaller_mss)
                self._call(side.plan.shrink_at, self._feeder(side, event))
        self.client.opened = True
        self._feed(self.client, OpenCalled())
        while self._heap and self._count < EVENT_LIMIT:
            self.now, _, call = heapq.heappop(self._heap)
            call()
        return self

    def _call(self, when: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, call))

    def _feeder(self, side: Side, event: Event) -> Callable[[], None]:
        return lambda: self._feed(side, event)

    def _feed(self, side: Side, event: Event) -> None:
        self._do(side, side.connection.feed(event, self.now))

    def _expire(self, side: Side) -> None:
        side.armed = None
        self._do(side, side.connection.expire(self.now))

    def _do(self, side: Side, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, SendSegment):
                self._send(side, command.segment, command.cause.text)
            elif command is Wake.READABLE and not side.reading:
                side.reading = True
                self._call(self.now + side.plan.pace, lambda: self._read(side))
            elif command in (Wake.CONNECTED, Wake.WRITABLE):
                self._call(self.now, lambda: self._write(side))
        deadline = side.connection.deadline()
        if deadline is not None and (side.armed is None or deadline < side.armed):
            side.armed = deadline
            self._call(deadline, lambda: self._expire(side))

    def _write(self, side: Side) -> None:
        while side.left and side.connection.writable:
            self._feed(side, WriteCalled(side.left.pop(0)))
        if not side.left and not side.connection.closing:
            self._feed(side, CloseCalled())

    def _read(self, side: Side) -> None:
        side.reading = False
        side.got += side.connection.take(side.plan.bite)
        self._feed(side, ReadCalled())
        if side.connection.received and not side.reading:
            side.reading = True
            self._call(self.now + side.plan.pace, lambda: self._read(side))

    def _send(self, side: Side, segment: Tcp, why: str) -> None:
        fate = Fate()
        if self._next_fate < len(self._fates):
            fate = self._fates[self._next_fate]
            self._next_fate += 1
        if fate.copies == 0 and segment.flags & SYN:
            self._lost_syns += 1
            if self._lost_syns > MAX_LOST_SYNS:
                fate = Fate()
        self.sizes.append((self.now, len(segment.payload)))
        self._said.append(
            f"{self.now:9.4f} {side.name} {render_flags(segment.flags)} seq={segment.sequence} "
            f"ack={segment.acknowledgement} win={segment.window} {len(segment.payload)} bytes "
            f"x{fate.copies} +{fate.late:g}s  {why}"
        )
        for copy in range(fate.copies):
            when = self.now + LINE_DELAY + fate.late * (copy + 1)
            self._call(when, lambda: self._arrive(side, segment))

    def _arrive(self, origin: Side, segment: Tcp) -> None:
        side = self.server if origin is self.client else self.client
        fresh = not side.opened and segment.flags & (SYN | ACK) == SYN
        if fresh or not side.connection.ended:
            side.opened = True
            self._feed(side, SegmentArrived(segment))
        elif not segment.flags & RST:
            self._send(side, _refusal(segment), "no such connection")


def _refusal(segment: Tcp) -> Tcp:
    length = len(segment.payload) + bool(segment.flags & SYN)
    if segment.flags & ACK:
        return Tcp(segment.destination_port, segment.source_port, segment.acknowledgement, 0, RST, 0)
    number = (segment.sequence + length) % MODULUS
    return Tcp(segment.destination_port, segment.source_port, 0, number, RST | ACK, 0)


def ended_well(talk: Talk) -> str:
    """Empty, or what is wrong at the end of a talk."""
    for side, other in ((talk.client, talk.server), (talk.server, talk.client)):
        if side.connection.state is not State.CLOSED or side.connection.failure is not None:
            return f"the {side.name} is {side.connection.state.value}, {side.connection.failure}"
        if side.got != b"".join(other.plan.chunks):
            return f"the {side.name} got {len(side.got)} bytes that are not those sent"
    return ""
