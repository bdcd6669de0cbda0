"""Finished answers, by the bytes of their queries behind the id: what was asked before is not made again.

CoreDNS has nothing like it, and none of it shows: an answer is kept only if nothing in it varies
(``grounds``), is forgotten when something that it was read from changes, and counts in the metrics as if it
had been made anew. The work of forgetting is in proportion to the answers that rest on what has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias

from netsim.base.address import IpAddress
from netsim.base.cause import Cause
from netsim.clusterdns.grounds import Count, Grounds, Sheet
from netsim.clusterdns.metrics import Metrics
from netsim.clusterdns.zone import KubernetesZone

CAPACITY = 1 << 16
"""Answers that are kept; then the oldest goes first."""

ID = 2
"""Bytes of a message before what is remembered."""

Personal: TypeAlias = tuple[bytes, IpAddress]


class Tally:
    """How often answers were given again that all count the same, and how many such answers are kept."""

    __slots__ = ("answers", "counts", "hits")

    def __init__(self, counts: tuple[Count | Sheet, ...]) -> None:
        self.counts = counts
        self.hits = 0
        self.answers = 0


class Kept:
    """One answer. ``tail`` are its bytes behind the id, ``denial`` the zone's number if it shows a serial;
    ``since`` and ``age`` the whole seconds that have passed if it shows those."""

    __slots__ = ("age", "cause", "denial", "key", "keys", "shelf", "since", "tail", "tally")

    shelf: dict[Any, Kept]
    key: bytes | Personal

    def __init__(self, tail: bytes, cause: Cause, tally: Tally) -> None:
        self.tail = tail
        self.cause = cause
        self.tally = tally
        self.denial: int | None = None
        self.since: float | None = None
        self.age = 0
        self.keys: tuple[Hashable, ...] = ()

    def holds(self, denial: int, now: float) -> bool:
        """Whether it is still the answer."""
        if self.denial is not None and self.denial != denial:
            return False
        return self.since is None or int(now - self.since) == self.age


class Lane:
    """The answers to what comes in at one port, over one transport and family of addresses.

    ``steady`` holds those that are forgotten in time, whoever asks; ``other`` those with something to be
    looked at first: whether the zone's serial is still the same, how old it is, who asks.
    """

    __slots__ = ("_zone", "other", "steady")

    def __init__(self, zone: KubernetesZone) -> None:
        self._zone = zone
        self.steady: dict[bytes, Kept] = {}
        self.other: dict[bytes | Personal, Kept] = {}

    def find(self, data: bytes, client: IpAddress, now: float) -> Kept | None:
        """The answer to a query; it is counted."""
        tail = data[ID:]
        kept = self.steady.get(tail)
        if kept is None:
            if not self.other:
                return None
            kept = self.other.get(tail) or self.other.get((tail, client))
            if kept is None or not kept.holds(self._zone.denial, now):
                return None
        kept.tally.hits += 1
        return kept

    def recaller(self, now: Callable[[], float]) -> Callable[[bytes], bytes | None]:
        """A function that gives the reply to a query whoever asks, in the least time."""
        steady, other, zone = self.steady, self.other, self._zone

        def recall(data: bytes) -> bytes | None:
            kept = steady.get(data[ID:])
            if kept is None:
                kept = other.get(data[ID:])
                if kept is None or not kept.holds(zone.denial, now()):
                    return None
            kept.tally.hits += 1
            return data[:ID] + kept.tail

        return recall


class Memory:
    """The answers of one server. ``forget`` is the zone's to call."""

    def __init__(self, zone: KubernetesZone, metrics: Metrics, capacity: int = CAPACITY) -> None:
        self._zone = zone
        self._metrics = metrics
        self._capacity = capacity
        self._lanes: dict[tuple[int, bool, int], Lane] = {}
        self._order: OrderedDict[Kept, None] = OrderedDict()
        self._resting_on: dict[Hashable, Kept | set[Kept]] = {}
        self._tallies: dict[tuple[Count | Sheet, ...], Tally] = {}
        metrics.settle = self.settle
        zone.watchers.add(self)

    def __len__(self) -> int:
        return len(self._order)

    def lane(self, port: int, stream: bool, version: int) -> Lane:
        """``stream`` is TCP, ``version`` the client's of IP."""
        place = (port, stream, version)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(self._zone)
        return lane

    def keep(
        self,
        lane: Lane,
        grounds: Grounds,
        query: bytes,
        reply: bytes,
        client: IpAddress,
        cause: Cause,
        now: float,
    ) -> None:
        """Keep and count the reply to a query; ``grounds`` say that it lasts, and what it rests on."""
        tail = query[ID:]
        tally = self._tally(tuple(grounds.counts))
        tally.hits += 1
        kept = Kept(reply[ID:], cause, tally)
        kept.keys = tuple(dict.fromkeys(grounds.keys))
        kept.denial = self._zone.denial if grounds.denies else None
        if grounds.since is not None:
            kept.since, kept.age = grounds.since, int(now - grounds.since)
        looked_at = grounds.denies or grounds.personal or kept.since is not None
        self._put(
            lane.other if looked_at else lane.steady, kept, (tail, client) if grounds.personal else tail
        )
        for key in kept.keys:
            resting = self._resting_on.get(key)
            if resting is None:  # as on most Services and addresses: a set of one takes more than the answer
                self._resting_on[key] = kept
            elif isinstance(resting, Kept):
                self._resting_on[key] = {resting, kept}
            else:
                resting.add(kept)
        if len(self._order) > self._capacity:
            self._remove(next(iter(self._order)))

    def _put(self, shelf: dict[Any, Kept], kept: Kept, key: bytes | Personal) -> None:
        before = shelf.get(key)
        if before is not None:
            self._remove(before)
        shelf[key] = kept
        kept.shelf, kept.key = shelf, key
        self._order[kept] = None

    def _tally(self, counts: tuple[Count | Sheet, ...]) -> Tally:
        tally = self._tallies.get(counts)
        if tally is None:
            tally = self._tallies[counts] = Tally(counts)
        tally.answers += 1
        return tally

    def _remove(self, kept: Kept) -> None:
        del kept.shelf[kept.key]
        del self._order[kept]
        for key in kept.keys:
            resting = self._resting_on[key]
            if isinstance(resting, set):
                resting.discard(kept)
            if resting is kept or not resting:
                del self._resting_on[key]
        tally = kept.tally
        tally.answers -= 1
        if not tally.answers:
            self._count(tally)
            del self._tallies[tally.counts]

    def pass_on(self, grounds: Grounds) -> None:
        """Count an answer that is not kept."""
        for count in grounds.counts:
            self._metrics.count_again(count, 1)

    def forget(self, keys: Iterable[Hashable]) -> None:
        """What is in the zone under these keys is another thing now."""
        if not self._order:
            return
        for key in keys:
            resting = self._resting_on.get(key, ())
            for kept in (resting,) if isinstance(resting, Kept) else tuple(resting):
                self._remove(kept)

    def clear(self) -> None:
        """Forget everything: the server answers by other rules now."""
        for lane in self._lanes.values():
            lane.steady.clear()
            lane.other.clear()
        self._order.clear()
        self._resting_on.clear()
        self.settle()
        self._tallies.clear()

    def settle(self) -> None:
        """Count in the metrics what was answered from here since the last time."""
        for tally in self._tallies.values():
            self._count(tally)

    def _count(self, tally: Tally) -> None:
        hits, tally.hits = tally.hits, 0
        if hits:
            for count in tally.counts:
                self._metrics.count_again(count, hits)
