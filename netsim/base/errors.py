"""Every error that netsim raises on purpose, in one tree.

::

    NetsimError
    ├── UsageError          you called netsim wrongly (an unknown Pod name, a bad option)
    ├── ManifestError       the files are wrong; holds one Problem per mistake, all of a file at once
    ├── ConvergenceError    the cluster did not settle; names what waits for what
    ├── WireError           bytes that are not a valid header or message (a peer is wrong)
    └── PlanError           two owners claim one plan entry, or an entry refers to nothing

Network outcomes that a program sees (refused, timed out, unreachable) are Python's own ``OSError``
family, as on a real host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class NetsimError(Exception):
    """Base of all errors that netsim raises on purpose."""


class UsageError(NetsimError):
    """netsim was called wrongly; ``hint`` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value was written: a file (``-`` for text given in memory), line and column from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, or one warning, about one field of one object in one file."""

    source: Source
    message: str
    field: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.source}: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ManifestError(NetsimError):
    """The input files are wrong. ``problems`` lists every mistake found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ConvergenceError(NetsimError):
    """The cluster did not settle in the virtual time allowed; ``waiting`` names what waits for what."""

    def __init__(self, now: float, waiting: Sequence[str]) -> None:
        listed = "\n".join(f"  - {line}" for line in waiting)
        super().__init__(f"not converged after {now:g} virtual seconds; waiting for:\n{listed}")
        self.now = now
        self.waiting = tuple(waiting)


class WireError(NetsimError):
    """Bytes that are not what their protocol allows: ``header`` names the codec that refused them."""

    def __init__(self, header: str, message: str) -> None:
        super().__init__(f"{header}: {message}")
        self.header = header


class PlanError(NetsimError):
    """A plan entry contradicts the plan: claimed by two owners, or referring to what is not there."""
