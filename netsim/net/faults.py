"""Fault rules of a wire: which frames are lost or late, and what is said of them.

A plane asks the rules of a wire for each frame that enters it, in their order; the first that has a verdict
has the last word. Where a rule stands, and from when to when, is not its business. The model is Linux's netem
on one end of a wire (net/sched/sch_netem.c): what is late is overtaken by what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias

from netsim.base.cause import Cause, Stage
from netsim.base.rng import Rng
from netsim.net.packet import Frame
from netsim.plan.entries import Port

Matches: TypeAlias = Callable[[Port, Frame], bool]
"""Whether a rule concerns a frame that leaves an interface."""


class Direction(Enum):
    """Seen from the end of the wire that the rule names."""

    IN = "in"
    OUT = "out"
    BOTH = "both"


class Fault(NamedTuple):
    """What goes wrong. ``name`` is what readers are told; ``loss`` is the part that is lost, from 0 to 1;
    ``delay`` are seconds for what is not; ``limit`` is how many frames suffer at most, None: all of them."""

    name: str
    loss: float = 0.0
    delay: float = 0.0
    direction: Direction = Direction.BOTH
    limit: int | None = None


class Verdict(NamedTuple):
    """What becomes of a frame: ``delay`` None says that it is lost."""

    delay: float | None
    cause: Cause


class FaultRule:
    """A fault in force: ``suffered`` is how many frames it has harmed."""

    __slots__ = ("_lost", "_matches", "_rng", "fault", "suffered")

    def __init__(self, fault: Fault, rng: Rng, matches: Matches | None = None) -> None:
        self.fault = fault
        self.suffered = 0
        self._matches = matches
        self._rng = rng
        self._lost = Verdict(None, Cause(Stage.FAULT, f"lost on {fault.name}"))

    def judge(self, sender: Port, frame: Frame, *, outbound: bool) -> Verdict | None:
        """The verdict over a frame, None when the rule has nothing against it.

        ``outbound``: it leaves the end of the wire that the rule names. Only a frame that could be lost costs
        a throw of the dice.
        """
        fault = self.fault
        if fault.limit is not None and self.suffered >= fault.limit:
            return None
        if fault.direction is not Direction.BOTH and outbound is not (fault.direction is Direction.OUT):
            return None
        if self._matches is not None and not self._matches(sender, frame):
            return None
        if fault.loss and (fault.loss >= 1.0 or self._rng.random() < fault.loss):
            self.suffered += 1
            return self._lost
        if not fault.delay:
            return None
        self.suffered += 1
        return Verdict(fault.delay, Cause(Stage.FAULT, f"{fault.delay:g} s late on {fault.name}"))
