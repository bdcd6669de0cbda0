"""What the answer in the making rests on, for whoever wants to keep it.

While a query is answered, the zone notes here what it was asked, the metrics what they counted, and a plugin
whatever else its part depends on. A plugin that does not know of this is taken to give another answer every
time (``chain.compile_chain``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

Count = tuple[Any, ...]
"""A family of metrics, labels, an amount or observation: what ``Metrics`` takes again."""


class Sheet:
    """Counts that go together for every query of one kind. Each is one object, and equals no other: it is
    looked up for every query."""

    __slots__ = ("counts",)

    def __init__(self, counts: Iterable[Count]) -> None:
        self.counts = tuple(counts)


class Grounds:
    """One for a server: it makes one answer at a time, and an answer that must wait is never kept.

    ``keys`` name what was read of the zone, ``counts`` is what was counted. ``denies`` says that the answer
    shows the zone's serial, ``since`` that it shows how many whole seconds have passed from a time on.
    ``personal`` says that it is for this client's address alone. What is kept elsewhere than in the zone is
    read under a key of its own, and whoever changes it calls ``forget`` with that.
    """

    __slots__ = ("counts", "denies", "forget", "keys", "lasting", "personal", "since")

    def __init__(self) -> None:
        self.forget: Callable[[Iterable[Hashable]], None] = lambda keys: None
        self.since: float | None = None
        self.lasting = False
        self.denies = False
        self.personal = False
        self.keys: list[Hashable] = []
        self.counts: list[Count | Sheet] = []

    def begin(self) -> None:
        """A query has come: until something else is said, the same one would get the same answer."""
        self.lasting = True
        self.denies = self.personal = False
        self.since = None
        self.keys = []
        self.counts = []

    def end(self) -> bool:
        """It was answered, or waits; whether the answer lasts."""
        lasting, self.lasting = self.lasting, False
        return lasting

    def ages(self, since: float, key: Hashable) -> None:
        """It shows the whole seconds since a time, as what was found under ``key`` does."""
        if self.since not in (None, since):
            self.varies()  # the seconds of two do not change together
        self.since = since
        self.keys.append(key)

    def varies(self) -> None:
        """The same query may get another answer the next time, or do more than be answered."""
        self.lasting = False
