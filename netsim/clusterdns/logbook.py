"""What a CoreDNS writes to its standard output: the last lines, with their times.

The server and the plugins ``errors``, ``log``, ``reload`` and others write here; ``programs.dns`` shows it as
a file of the Pod. Source: coredns ``plugin/pkg/log``.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from netsim.clusterdns.clock import Clock

MAXIMUM_LINES = 1000


class LogLine(NamedTuple):
    """One line, and the virtual seconds at which it was written."""

    time: float
    text: str


class Logbook:
    """Bounded: the oldest lines go first. ``written`` counts all that there ever were."""

    def __init__(self, clock: Clock) -> None:
        self.lines: deque[LogLine] = deque(maxlen=MAXIMUM_LINES)
        self.written = 0
        self._clock = clock

    def line(self, text: str) -> None:
        """A line as it stands."""
        self.written += 1
        self.lines.append(LogLine(self._clock.now, text))

    def info(self, text: str) -> None:
        self.line(f"[INFO] {text}")

    def warning(self, text: str) -> None:
        self.line(f"[WARNING] {text}")

    def error(self, text: str) -> None:
        self.line(f"[ERROR] {text}")

    def render(self) -> str:
        """All lines that are left, one below the other."""
        return "".join(f"{line.text}\n" for line in self.lines)
