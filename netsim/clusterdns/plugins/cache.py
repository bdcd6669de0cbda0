"""cache: answers and denials kept for a while.

Built: ``cache [TTL] [ZONES...]`` with ``success``, ``denial``, ``prefetch``, ``serve_stale [DURATION]
[immediate|verify]``, ``servfail``, ``disable``, ``keepttl``. Refused as not built yet: the verify timeout,
response TTL and recheck of ``serve_stale``, and ``serve_stale_policy``. Sources: coredns
``plugin/cache/setup.go``, ``handler.go``, ``cache.go``, ``item.go``, ``plugin/pkg/cache/cache.go``.

Every reply that passes has all its TTLs set to one value, kept or not. Nothing is thrown away when an object
changes: a denial outlives the creation of the Service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import ceil
from typing import Any, NamedTuple

from netsim.base.errors import CorefileError
from netsim.base.rng import Rng
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.clock import Clock
from netsim.clusterdns.corefile import Controller, duration, integer
from netsim.clusterdns.names import absolute, longest_zone
from netsim.clusterdns.responses import MINIMUM_TTL, Kind, kind_of, lowest_ttl, storable
from netsim.wire.dns import Message, Rcode, Record

MAXIMUM_TTL = 3600
MAXIMUM_DENIAL_TTL = 1800
MAXIMUM_SERVFAIL_TTL = 300.0  # RFC 2308 section 7.1
CAPACITY = 10000
STALE_FOR = 3600.0

_SHARDS = 256
_DENIALS = (Kind.NAME_ERROR, Kind.NO_DATA, Kind.SERVER_ERROR)

Key = tuple[str, int, int, bool, bool]
"""Lower-case name, type, class, DO, CD."""


class Settings(NamedTuple):
    """The options. TTLs and times are seconds; ``prefetch`` 0 and ``stale_for`` 0 are off."""

    zones: tuple[str, ...]
    success_capacity: int = CAPACITY
    success_ttl: int = MAXIMUM_TTL
    success_minimum: int = MINIMUM_TTL
    denial_capacity: int = CAPACITY
    denial_ttl: int = MAXIMUM_DENIAL_TTL
    denial_minimum: int = MINIMUM_TTL
    servfail_ttl: float = float(MINIMUM_TTL)
    prefetch: int = 0
    prefetch_within: float = 60.0
    prefetch_percentage: int = 10
    stale_for: float = 0.0
    verify: bool = False
    success_except: tuple[str, ...] = ()
    denial_except: tuple[str, ...] = ()
    keep_ttl: bool = False


class Item:
    """One kept response."""

    __slots__ = ("_shown", "hits", "last_hit", "message", "refreshing", "stored", "ttl")

    def __init__(self, message: Message, stored: float, ttl: int) -> None:
        self.message = message
        self.stored = stored
        self.ttl = ttl
        self.hits = 0
        self.last_hit = float("-inf")
        self.refreshing = False
        self._shown: tuple[int, Message] | None = None

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

    def put(self, key: Key, item: Item) -> None:
        if key not in self._items:
            if len(self._order) >= self._capacity:
                position = self._rng.below(len(self._order))
                del self._items[self._order[position]]
                self._order[position] = key
            else:
                self._order.append(key)
        self._items[key] = item

    def remove(self, key: Key) -> None:
        if self._items.pop(key, None) is not None:
            self._order.remove(key)


def with_ttl(message: Message, ttl: int) -> Message:
    """The message with every TTL set, and without the sender's OPT record, which is hop by hop."""
    records = chain(message.answers, message.authority, message.additional)
    if message.edns is None and all(record.ttl == ttl for record in records):
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


class Cache:
    """The handler."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        self._settings = settings
        self._clock: Clock = setup.process.clock
        self._spawn = setup.process.spawn
        self._successes = Shelf(settings.success_capacity, setup.rng.derive("success"))
        self._denials = Shelf(settings.denial_capacity, setup.rng.derive("denial"))

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        settings = self._settings
        if not longest_zone(settings.zones, request.lower):
            return (yield from following(request))
        query = request.message
        do = query.edns is not None and query.edns.do
        key = (request.lower, request.qtype, request.qclass, do, query.checking_disabled)
        now = self._clock.now
        item = self._find(key, now)
        if item is None:
            return (yield from self._refresh(request, key, following))
        left = item.remaining(now)
        if left <= 0 and settings.verify:
            fresh = yield from self._verify(request, key, following)
            if fresh is not None:
                return fresh
        if (left <= 0 and not settings.verify) or (left > 0 and self._wants_prefetch(item, now)):
            self._refresh_beside(request, key, following, item)
        ttl = item.ttl if settings.keep_ttl else max(left, 0)
        age = f"{int(now - item.stored)} s old"
        cause = f"cache hit, {age}" if left > 0 else f"stale cache hit, {age} (serve_stale)"
        return Outcome(cause, item.reply(request, ttl))

    def _find(self, key: Key, now: float) -> Item | None:
        denial = self._usable(self._denials.get(key), now)
        if denial is not None and denial.message.rcode != Rcode.SERVFAIL:
            return denial
        return self._usable(self._successes.get(key), now) or denial

    def _usable(self, item: Item | None, now: float) -> Item | None:
        if item is None:
            return None
        left = item.remaining(now)
        return item if left > 0 or -left < int(self._settings.stale_for) else None

    # --- misses ---

    def _refresh(
        self, request: Request, key: Key, following: Follow, *, beside: bool = False
    ) -> Steps[Outcome]:
        """Ask the rest of the chain, with AD set, and keep what it writes."""
        onward = request if request.message.authentic else _wanting_ad(request)
        outcome = yield from following(onward)
        if outcome.message is None:
            return outcome
        message = self._keep(onward, key, outcome.message, beside)
        if not key[3] and not request.message.authentic and message.authentic:
            message = message._replace(authentic=False)  # RFC 6840 section 5.7
        return outcome._replace(message=message)

    def _keep(self, request: Request, key: Key, message: Message, beside: bool) -> Message:
        """Set the message's TTLs and store it if it may be stored; gives the message for the client.

        A success that was fetched beside the queries is the newest state, and ends a denial of the same name.
        """
        settings = self._settings
        kind = kind_of(message)
        keep = storable(message, kind)
        if kind in (Kind.NAME_ERROR, Kind.NO_DATA):
            ttl = lowest_ttl(message, kind, settings.denial_ttl)
            ttl = min(max(ttl, settings.denial_minimum), settings.denial_ttl)
        elif kind is Kind.SERVER_ERROR:
            ttl = int(settings.servfail_ttl)
        else:
            ttl = lowest_ttl(message, kind, settings.success_ttl)
            ttl = min(max(ttl, settings.success_minimum), settings.success_ttl)
        message = with_ttl(message, ttl)
        if keep and ttl > 0 and request.matches(message):
            denies = kind in _DENIALS
            if not longest_zone(settings.denial_except if denies else settings.success_except, request.lower):
                shelf = self._denials if denies else self._successes
                shelf.put(key, Item(message, self._clock.now, ttl))
                if beside and not denies:
                    self._denials.remove(key)
        return message

    # --- stale and soon stale items ---

    def _verify(
        self, request: Request, key: Key, following: Follow, *, beside: bool = False
    ) -> Steps[Outcome | None]:
        """Try to replace a stale item before it is served; None when only it is left (RFC 8767)."""
        outcome = yield from following(_wanting_ad(request))
        message = outcome.message
        if message is None or message.truncated or message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return None
        if kind_of(message) in (Kind.OTHER_ERROR, Kind.META) or not request.matches(message):
            return None
        return outcome._replace(message=self._keep(request, key, message, beside))

    def _wants_prefetch(self, item: Item, now: float) -> bool:
        settings = self._settings
        if settings.prefetch <= 0:
            return False
        item.hits = 1 if item.last_hit < now - settings.prefetch_within else item.hits + 1
        item.last_hit = now
        threshold = ceil(settings.prefetch_percentage / 100 * item.ttl)
        return item.hits >= settings.prefetch and item.remaining(now) <= threshold

    def _refresh_beside(self, request: Request, key: Key, following: Follow, item: Item) -> None:
        if not item.refreshing:
            item.refreshing = True
            self._spawn(self._prefetch(request, key, following, item))

    def _prefetch(self, request: Request, key: Key, following: Follow, item: Item) -> Steps[None]:
        asked = self._clock.now
        if item.remaining(asked) <= 0:
            fresh = yield from self._verify(request, key, following, beside=True)
            refreshed = fresh is not None
        else:
            yield from self._refresh(request, key, following, beside=True)
            refreshed = True
        item.refreshing = False
        kept = self._denials.get(key) or self._successes.get(key)
        if refreshed and kept is not None:
            kept.last_hit, kept.hits = asked, item.hits


def _wanting_ad(request: Request) -> Request:
    return request.with_message(request.message._replace(authentic=True))


# --- the Corefile --------------------------------------------------------------------------------------


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``cache [TTL] [ZONES...] { … }``."""
    c.next()
    words = c.arguments()
    ttl = None
    if words and words[0].lstrip("+-").isdecimal():
        ttl = _positive(words.pop(0))
    settings = Settings(c.origins(words))
    if ttl is not None:
        settings = settings._replace(success_ttl=ttl, denial_ttl=ttl)
    while c.next_in_block():
        settings = _OPTIONS.get(c.value, _unknown)(c, settings)
    c.done()
    return [Cache(setup, settings)]


def _positive(word: str) -> int:
    value = integer(word)
    if value <= 0:
        raise CorefileError(f"cache TTL can not be zero or negative: {value}")
    return value


def _unknown(c: Controller, settings: Settings) -> Settings:
    raise c.argument_error()


def _capacity(c: Controller, settings: Settings) -> Settings:
    """``success|denial CAPACITY [TTL] [MINTTL]``."""
    which = c.value
    words = c.arguments()
    if not words:
        raise c.argument_error()
    fields: dict[str, Any] = {f"{which}_capacity": integer(words[0])}
    if len(words) > 1:
        fields[f"{which}_ttl"] = _positive(words[1])
    if len(words) > 2:
        minimum = integer(words[2])
        if minimum < 0:
            raise CorefileError(f"cache min TTL can not be negative: {minimum}")
        fields[f"{which}_minimum"] = minimum
    return settings._replace(**fields)


def _prefetch(c: Controller, settings: Settings) -> Settings:
    """``prefetch AMOUNT [DURATION [PERCENTAGE%]]``."""
    words = c.arguments()
    if not 0 < len(words) <= 3:
        raise c.argument_error()
    amount = integer(words[0])
    if amount < 0:
        raise CorefileError(f"prefetch amount should be positive: {amount}")
    settings = settings._replace(prefetch=amount)
    if len(words) > 1:
        settings = settings._replace(prefetch_within=duration(words[1]))
    if len(words) > 2:
        if not words[2].endswith("%"):
            raise CorefileError(f"last character of percentage should be `%`, but is: '{words[2][-1:]}'")
        percentage = integer(words[2][:-1])
        if not 10 <= percentage <= 90:
            raise CorefileError(f"percentage should fall in range [10, 90]: {percentage}")
        settings = settings._replace(prefetch_percentage=percentage)
    return settings


def _serve_stale(c: Controller, settings: Settings) -> Settings:
    """``serve_stale [DURATION] [immediate|verify]``."""
    words = c.arguments()
    if len(words) > 5:
        raise c.argument_error()
    stale_for = duration(words[0]) if words else STALE_FOR
    if stale_for < 0:
        raise CorefileError("invalid negative duration for serve_stale")
    mode = words[1].lower() if len(words) > 1 else "immediate"
    if mode not in ("immediate", "verify"):
        raise CorefileError(f"invalid value for serve_stale refresh mode: {mode}")
    if len(words) > 2:
        raise c.error(f"netsim does not build '{words[2]}' after 'serve_stale DURATION {mode}' yet")
    return settings._replace(stale_for=stale_for, verify=mode == "verify")


def _stale_policy(c: Controller, settings: Settings) -> Settings:
    raise c.error("netsim does not build the option 'serve_stale_policy' of cache yet")


def _servfail(c: Controller, settings: Settings) -> Settings:
    seconds = duration(c.one_argument())
    if seconds < 0:
        raise CorefileError("invalid negative ttl for servfail")
    if seconds > MAXIMUM_SERVFAIL_TTL:
        raise CorefileError("caching SERVFAIL responses over 5 minutes is not permitted")
    return settings._replace(servfail_ttl=seconds)


def _disable(c: Controller, settings: Settings) -> Settings:
    """``disable success|denial [ZONES...]``; a second line replaces the first."""
    words = c.arguments()
    if not words:
        raise c.argument_error()
    if words[0] not in ("success", "denial"):
        raise CorefileError('cache type for disable must be "success" or "denial"')
    zones = tuple(absolute(word).lower() for word in words[1:]) or (".",)
    changed: dict[str, Any] = {f"{words[0]}_except": zones}
    return settings._replace(**changed)


def _keep_ttl(c: Controller, settings: Settings) -> Settings:
    c.no_argument()
    return settings._replace(keep_ttl=True)


_OPTIONS = {
    "success": _capacity,
    "denial": _capacity,
    "prefetch": _prefetch,
    "serve_stale": _serve_stale,
    "serve_stale_policy": _stale_policy,
    "servfail": _servfail,
    "disable": _disable,
    "keepttl": _keep_ttl,
}
