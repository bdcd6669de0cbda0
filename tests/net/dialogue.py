"""Dialogues with one TCP connection: what its program does, what it sees, what it sends.

A script is a list of steps. ``opens()``, ``writes(b"…")``, ``reads()``, ``closes()``, ``aborts()``,
``learns_mtu(…)`` and ``hears_error(…)`` are the program and the network below; ``sees(…)`` is a segment of
the peer; ``at(t)`` moves the clock and lets every timer before it run out. ``sends(…)`` is a segment that
the connection must have sent by then, ``wakes(…)`` a notice that its program must have got since the last
step, ``becomes(…)`` the state it must be in, ``ends(…)`` how it must have failed. What it sends must be
spelled out completely and in order: a segment that no ``sends`` takes fails the script.

Sequence numbers are relative, as Wireshark shows them: 0 is each side's SYN. A field of ``sends`` that is
not given is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from netsim.net.receive_buffer import MODULUS, WINDOW
from netsim.net.tcp import (
    AbortCalled,
    CloseCalled,
    Command,
    Connection,
    ErrorArrived,
    Event,
    OpenCalled,
    PathMtuLearnt,
    ReadCalled,
    SegmentArrived,
    SendSegment,
    Wake,
    WriteCalled,
)
from netsim.net.tcp_states import Failure, State
from netsim.wire.tcp import ACK, SYN, Tcp, render_flags

OWN_PORT, PEER_PORT = 40000, 80
MSS = 1000


class Dialogue:
    """A connection under test, the clock, and what was said so far."""

    def __init__(self, *, isn: int = 1_000_000, peer_isn: int = 2_000_000, mss: int = MSS) -> None:
        self.connection = Connection(OWN_PORT, PEER_PORT, isn=isn, mss=mss)
        self.isn, self.peer_isn = isn, peer_isn
        self.now = 0.0
        self.sent: list[SendSegment] = []
        self.woken: list[Wake] = []
        self.said: list[str] = []

    def feed(self, event: Event) -> None:
        self.woken.clear()
        self._take(self.connection.feed(event, self.now))

    def wait(self, until: float) -> None:
        """Let time pass, timer by timer, but not beyond the first that sends something."""
        self.woken.clear()
        while not self.sent:
            deadline = self.connection.deadline()
            if deadline is None or deadline > until:
                break
            self.now = deadline
            self._take(self.connection.expire(deadline))
        if not self.sent:
            self.now = until

    def _take(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, SendSegment):
                self.sent.append(command)
            else:
                self.woken.append(command)

    def show(self, segment: Tcp, *, own: bool) -> str:
        base, other = (self.isn, self.peer_isn) if own else (self.peer_isn, self.isn)
        ack = f" ack={(segment.acknowledgement - other) % MODULUS}" if segment.flags & ACK else ""
        data = f" {segment.payload!r}" if segment.payload else ""
        return (
            f"{render_flags(segment.flags)} seq={(segment.sequence - base) % MODULUS}{ack} "
            f"win={segment.window}{data}"
        )


class Step(NamedTuple):
    """One line of a script; ``run`` does it and raises AssertionError when it does not hold."""

    title: str
    run: Callable[[Dialogue], None]
    takes_sent: bool = False


def script(dialogue: Dialogue, steps: Iterable[Step]) -> Dialogue:
    """Run the steps; a failure prints the dialogue up to it."""
    for step in steps:
        try:
            if not step.takes_sent:
                _nothing_left(dialogue)
            step.run(dialogue)
        except AssertionError as error:
            said = "\n".join(dialogue.said)
            raise AssertionError(f"{said}\n>>> {step.title}\n{error}") from None
        dialogue.said.append(f"{dialogue.now:8.3f}  {step.title}")
    try:
        _nothing_left(dialogue)
    except AssertionError as error:
        raise AssertionError("\n".join([*dialogue.said, f">>> the end\n{error}"])) from None
    return dialogue


def _nothing_left(dialogue: Dialogue) -> None:
    left = [dialogue.show(sent.segment, own=True) for sent in dialogue.sent]
    assert not left, "it sent, and the script does not say so:\n  " + "\n  ".join(left)


def _event(title: str, event: Event) -> Step:
    return Step(title, lambda dialogue: dialogue.feed(event))


def opens() -> Step:
    return _event("opens", OpenCalled())


def writes(data: bytes) -> Step:
    return _event(f"writes {len(data)} bytes", WriteCalled(data))


def closes() -> Step:
    return _event("closes", CloseCalled())


def aborts() -> Step:
    return _event("aborts", AbortCalled())


def hears_error(failure: Failure) -> Step:
    return _event(f"hears that it is {failure.value}", ErrorArrived(failure))


def learns_mtu(mss: int) -> Step:
    return _event(f"learns of a maximum segment size of {mss}", PathMtuLearnt(mss))


def reads(expected: bytes, limit: int = 1 << 20) -> Step:
    """The program takes up to ``limit`` bytes, which must be these."""

    def run(dialogue: Dialogue) -> None:
        assert dialogue.connection.take(limit) == expected
        dialogue.feed(ReadCalled())

    return Step(f"reads {len(expected)} bytes", run)


def sees(
    flags: int, *, seq: int, ack: int = 0, data: bytes = b"", window: int = WINDOW, mss: int | None = None
) -> Step:
    """A segment of the peer arrives; a SYN has an MSS of 1000 unless it says another."""

    def run(dialogue: Dialogue) -> None:
        segment = Tcp(
            PEER_PORT,
            OWN_PORT,
            (dialogue.peer_isn + seq) % MODULUS,
            (dialogue.isn + ack) % MODULUS if flags & ACK else 0,
            flags,
            window,
            (mss or MSS) if flags & SYN else None,
            data,
        )
        dialogue.feed(SegmentArrived(segment))

    return Step(f"sees {render_flags(flags)} seq={seq} ack={ack} {len(data)} bytes, window {window}", run)


def sends(
    flags: int,
    *,
    seq: int | None = None,
    ack: int | None = None,
    data: bytes | None = None,
    window: int | None = None,
    mss: int | None = None,
    why: str = "",
) -> Step:
    """The next segment is this one; ``why`` must be part of its cause."""

    def run(dialogue: Dialogue) -> None:
        assert dialogue.sent, "it sent nothing"
        segment, cause = dialogue.sent.pop(0)
        shown = f"it sent {dialogue.show(segment, own=True)} mss={segment.mss}: {cause.text}"
        assert render_flags(segment.flags) == render_flags(flags), shown
        if seq is not None:
            assert (segment.sequence - dialogue.isn) % MODULUS == seq % MODULUS, shown
        if ack is not None:
            assert (segment.acknowledgement - dialogue.peer_isn) % MODULUS == ack % MODULUS, shown
        assert data is None or segment.payload == data, shown
        assert window is None or segment.window == window, shown
        assert mss is None or segment.mss == mss, shown
        assert why in cause.text, shown

    return Step(f"sends {render_flags(flags)} seq={seq} ack={ack} {why}", run, takes_sent=True)


def at(time: float) -> Step:
    """Until then, or until a timer makes it send something."""
    return Step(f"until {time:g} s", lambda dialogue: dialogue.wait(time))


def wakes(*expected: Wake) -> Step:
    """The last step woke the program for exactly this."""

    def run(dialogue: Dialogue) -> None:
        assert dialogue.woken == list(expected), f"it was woken for {dialogue.woken}"

    return Step(f"wakes its program: {', '.join(wake.value for wake in expected)}", run, takes_sent=True)


def becomes(state: State) -> Step:
    def run(dialogue: Dialogue) -> None:
        assert dialogue.connection.state is state, f"it is {dialogue.connection.state}"

    return Step(f"is {state.value}", run, takes_sent=True)


def ends(failure: Failure | None) -> Step:
    """The connection is over, with that failure or without one, and waits for nothing more."""

    def run(dialogue: Dialogue) -> None:
        assert dialogue.connection.ended, f"it is {dialogue.connection.state}"
        assert dialogue.connection.failure is failure, f"it says {dialogue.connection.failure}"
        assert dialogue.connection.deadline() is None

    return Step(f"ends: {failure.value if failure else 'well'}", run, takes_sent=True)


def is_silent(until: float) -> Step:
    """Time passes and nothing is sent."""

    def run(dialogue: Dialogue) -> None:
        dialogue.wait(until)
        _nothing_left(dialogue)

    return Step(f"is silent until {until:g} s", run)


def forgets() -> Step:
    """Whatever it sent does not matter here."""
    return Step("(sent what it sent)", lambda dialogue: dialogue.sent.clear(), takes_sent=True)
