"""The fault rules that stand in a sim plane, and the wires that they stand on.

A rule names one end of a wire by a question (``Names``), as Pods and their wires come and go while it stands;
the answers are kept until a wire is laid or taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from netsim.base.cause import Note
from netsim.net.faults import FaultRule
from netsim.net.packet import Frame
from netsim.plan.entries import Port

Names: TypeAlias = Callable[[Port, Port], bool]
"""Whether a rule names the first of these as its end of the wire to the second."""


class PlacedFault(NamedTuple):
    """A rule and the wires that it stands on."""

    rule: FaultRule
    names: Names


class WireFaults:
    """All rules that are ``placed``, in the order in which they began."""

    __slots__ = ("_known", "placed")

    def __init__(self) -> None:
        self.placed: list[PlacedFault] = []
        self._known: dict[Port, tuple[tuple[FaultRule, bool], ...]] = {}

    def put(self, placed: PlacedFault) -> None:
        self.placed.append(placed)
        self._known.clear()

    def remove(self, placed: PlacedFault) -> None:
        self.placed.remove(placed)
        self._known.clear()

    def wires_changed(self) -> None:
        """Ask again which wires the rules stand on."""
        self._known.clear()

    def judge(self, title: str, sender: Port, receiver: Port, frame: Frame) -> tuple[Frame, float | None]:
        """The frame, with the note of the host ``title`` if a rule has something against it; and by how many
        seconds it is late, None when it is lost."""
        rules = self._known.get(sender)
        if rules is None:
            rules = self._known[sender] = tuple(self._rules_between(sender, receiver))
        for rule, outbound in rules:
            verdict = rule.judge(sender, frame, outbound=outbound)
            if verdict is not None:
                return frame._replace(notes=(*frame.notes, Note(title, verdict.cause))), verdict.delay
        return frame, 0.0

    def _rules_between(self, sender: Port, receiver: Port) -> list[tuple[FaultRule, bool]]:
        """The rules for what one end sends to the other, each with whether it names the sending end."""
        found = []
        for rule, names in self.placed:
            outbound = names(sender, receiver)
            if outbound or names(receiver, sender):
                found.append((rule, outbound))
        return found
