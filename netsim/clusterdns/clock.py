"""The time that a DNS server's parts share."""

from __future__ import annotations


class Clock:
    """Virtual seconds, set by the server."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0
