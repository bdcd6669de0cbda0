"""What the plugin ``cache`` keeps: responses on shelves of limited size.

Sources: coredns ``plugin/cache/item.go``, ``plugin/pkg/cache/cache.go``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from netsim.base.rng import Rng
from netsim.clusterdns.chain import Request
from netsim.clusterdns.responses import answers_question
from netsim.wire.dns import Message, Record

_SHARDS = 256

Key = tuple[str, int, int, bool, bool]
"""Lower-case name, type, class, DO, CD."""


class Item:
    """One kept response. ``good`` is the newest that answered the question: this one, or one before it."""

    __slots__ = (
        "_shown",
        "good",
        "hits",
        "last_hit",
        "message",
        "refreshing",
        "retry_after",
        "stored",
        "ttl",
    )

    def __init__(self, message: Message, stored: float, ttl: int) -> None:
        self.message = message
        self.stored = stored
        self.ttl = ttl
        self.hits = 0
        self.last_hit = float("-inf")
        self.refreshing = False
        self.retry_after = float("-inf")
        self.good: Item | None = self if answers_question(message) else None
        self._shown: tuple[int, Message] | None = None

    def begin_refresh(self, now: float) -> bool:
        """Whether to refresh it now: one refresh at a time, and none soon after one that failed."""
        if self.refreshing or now < self.retry_after:
            return False
        self.refreshing = True
        return True

    def end_refresh(self, now: float, recheck: float, refreshed: bool) -> None:
        """A refresh came to its end. ``recheck`` is for how many seconds a failure counts."""
        self.refreshing = False
        self.retry_after = now + recheck if recheck > 0 and not refreshed else float("-inf")

    def remaining(self, now: float) -> int:
        """Whole seconds until it expires; 0 and less is stale."""
        return self.ttl - int(now - self.stored)

    def reply(self, request: Request, ttl: int) -> Message:
        """The response for a later query. AA is always set; owner names keep their first spelling."""
        if self._shown is None or self._shown[0] != ttl:
            self._shown = (ttl, with_ttl(self.message, ttl))
        kept = self._shown[1]
        query = request.message
        wants_ad = query.authentic or (query.edns is not None and query.edns.do)
        return request.reply(
            kept.rcode,
            answers=kept.answers,
            authority=kept.authority,
            additional=kept.additional,
            authoritative=True,
            recursion_available=kept.recursion_available,
            authentic=kept.authentic and wants_ad,
        )


class Shelf:
    """A table of limited size that throws out a random item when it is full."""

    def __init__(self, capacity: int, rng: Rng) -> None:
        self._capacity = _SHARDS * max(capacity // _SHARDS, 4)
        self._rng = rng
        self._items: dict[Key, Item] = {}
        self._order: list[Key] = []

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Key) -> Item | None:
        return self._items.get(key)

    def put(self, key: Key, item: Item) -> Key | None:
        """Keep an item; the key of another that had to go for it."""
        gone: Key | None = None
        full = key not in self._items and len(self._order) >= self._capacity
        if key not in self._items:
            if full:
                position = self._rng.below(len(self._order))
                gone = self._order[position]
                del self._items[gone]
                self._order[position] = key
            else:
                self._order.append(key)
        self._items[key] = item
        return gone

    def remove(self, key: Key) -> None:
        if self._items.pop(key, None) is not None:
            self._order.remove(key)


def with_ttl(message: Message, ttl: int) -> Message:
    """The message with every TTL set, and without the sender's OPT record, which is hop by hop."""
    if message.edns is None:
        for record in chain(message.answers, message.authority, message.additional):
            if record.ttl != ttl:
                break
        else:
            return message
    return message._replace(
        answers=_set_ttl(message.answers, ttl),
        authority=_set_ttl(message.authority, ttl),
        additional=_set_ttl(message.additional, ttl),
        edns=None,
    )


def _set_ttl(records: Iterable[Record], ttl: int) -> tuple[Record, ...]:
    return tuple(
        record if record.ttl == ttl else Record(record.name, record.rtype, record.rclass, ttl, record.data)
        for record in records
    )
