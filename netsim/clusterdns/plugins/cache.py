"""cache: answers and denials kept for a while.

``cache [TTL] [ZONES...]`` with ``success``, ``denial``, ``prefetch``, ``serve_stale``,
``serve_stale_policy``, ``servfail``, ``disable``, ``keepttl``. Sources: coredns ``plugin/cache/setup.go``,
``handler.go``, ``cache.go``.

Every reply that passes has all its TTLs set to one value, kept or not. Nothing is thrown away when an object
changes: a denial outlives the creation of the Service.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

from netsim.base.errors import CorefileError
from netsim.clusterdns.caching import Item, Key, Shelf, with_ttl
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Signal, Steps, WaitFor
from netsim.clusterdns.corefile import Controller, duration, integer
from netsim.clusterdns.grounds import Sheet
from netsim.clusterdns.metrics import (
    CACHE_ENTRIES,
    CACHE_EVICTIONS,
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_PREFETCHES,
    CACHE_REQUESTS,
    CACHE_STALE,
    Family,
)
from netsim.clusterdns.names import absolute, longest_zone
from netsim.clusterdns.responses import (
    MINIMUM_TTL,
    Kind,
    answers_question,
    kept_kind,
    kind_of,
    lowest_ttl,
    storable,
)
from netsim.wire.dns import Message, Rcode

MAXIMUM_TTL = 3600
MAXIMUM_DENIAL_TTL = 1800
MAXIMUM_SERVFAIL_TTL = 300.0  # RFC 2308 section 7.1
CAPACITY = 10000
STALE_FOR = 3600.0
MAXIMUM_STALE_TTL = 0xFFFFFFFF
MAXIMUM_RECHECK = 300.0

_AUTHENTIC = Message._fields.index("authentic")
_DENIALS = (Kind.NAME_ERROR, Kind.NO_DATA, Kind.SERVER_ERROR)


class Settings(NamedTuple):
    """The options. TTLs and times are seconds; 0 is off for ``prefetch``, ``stale_for``, ``verify_timeout``
    and ``recheck``."""

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
    verify_timeout: float = 0.0
    stale_ttl: int = 0
    recheck: float = 0.0
    prefer_positive: bool = False
    success_except: tuple[str, ...] = ()
    denial_except: tuple[str, ...] = ()
    keep_ttl: bool = False


class Cache:
    """The handler."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        self._settings = settings
        self._clock = setup.process.clock
        self._metrics = setup.process.metrics
        self._label = ",".join(settings.zones)
        self._spawn = setup.process.spawn
        self._grounds = setup.process.grounds
        self._successes = Shelf(settings.success_capacity, setup.rng.derive("success"))
        self._denials = Shelf(settings.denial_capacity, setup.rng.derive("denial"))
        self._lookups: dict[tuple[int, str], Sheet] = {}

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        settings = self._settings
        if "." not in settings.zones and not longest_zone(settings.zones, request.lower):
            return (yield from following(request))
        key = (request.lower, request.qtype, request.qclass, request.do, request.message.checking_disabled)
        now = self._clock.now
        item = self._find(request, key, now)
        if item is None:
            return (yield from self._refresh(request, key, following))
        left = item.remaining(now)
        if left > 0 and not settings.prefetch:
            self._grounds.ages(item.stored, (self, key))
        else:
            self._grounds.varies()  # it counts, or refreshes
        if left > 0:
            if self._wants_prefetch(item, now):
                self._refresh_beside(request, key, following, item)
            ttl = item.ttl if settings.keep_ttl else left
            return Outcome(f"cache hit, {int(now - item.stored)} s old", item.reply(request, ttl))
        if settings.verify:
            fresh = yield from self._verify(request, key, following, item)
            if fresh is not None:
                return fresh
        else:
            self._refresh_beside(request, key, following, item)
        self._count(CACHE_STALE, request)
        ttl = settings.stale_ttl or (item.ttl if settings.keep_ttl else 0)
        cause = f"stale cache hit, {int(now - item.stored)} s old (serve_stale)"
        return Outcome(cause, item.reply(request, ttl))

    def _count_lookup(self, request: Request, kind: str) -> None:
        """Count a look into the cache: a hit of a kind, or, with none, a miss."""
        port = request.ports[1]
        sheet = self._lookups.get((port, kind))
        if sheet is None:
            server = request.server
            found = (CACHE_HITS, (server, kind, self._label, "")) if kind else None
            place = (server, self._label, "")
            counts = (CACHE_REQUESTS, place, 1.0), (*(found or (CACHE_MISSES, place)), 1.0)
            sheet = self._lookups[port, kind] = Sheet(counts)
        self._metrics.take(sheet)

    def _count(self, family: Family, request: Request) -> None:
        self._metrics.add(family, (request.server, self._label, ""))

    def _count_type(self, family: Family, request: Request, kind: str) -> None:
        self._metrics.add(family, (request.server, kind, self._label, ""))

    def _find(self, request: Request, key: Key, now: float) -> Item | None:
        """The item to answer with, fresh or stale (getIfNotStale)."""
        success, denial = self._successes.get(key), self._denials.get(key)
        if success is None and denial is None:
            self._count_lookup(request, "")
            return None
        if self._settings.prefer_positive and success is not None:
            good = self._usable(success.good, now)
            if good is not None:
                self._count_lookup(request, "success")
                return good
        denial = self._usable(denial, now)
        success = self._usable(success, now)
        if denial is not None and (denial.message.rcode != Rcode.SERVFAIL or success is None):
            self._count_lookup(request, "denial")
            return denial
        self._count_lookup(request, "" if success is None else "success")
        return success

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
        return outcome if message is outcome.message else outcome._replace(message=message)

    def _keep(self, request: Request, key: Key, message: Message, beside: bool) -> Message:
        """Set the message's TTLs and store it if it may be stored; gives the message for the client.

        A success that was fetched beside the queries is the newest state, and ends a denial of the same name.
        """
        settings = self._settings
        kind = kept_kind(message)
        if kind in (Kind.NAME_ERROR, Kind.NO_DATA):
            ttl = lowest_ttl(message, kind, settings.denial_ttl)
            ttl = min(max(ttl, settings.denial_minimum), settings.denial_ttl)
        elif kind is Kind.SERVER_ERROR:
            ttl = int(settings.servfail_ttl)
        else:
            ttl = lowest_ttl(message, kind, settings.success_ttl)
            ttl = min(max(ttl, settings.success_minimum), settings.success_ttl)
        message = with_ttl(message, ttl)
        denies = kind in _DENIALS
        if longest_zone(settings.denial_except if denies else settings.success_except, request.lower):
            return message
        self._grounds.varies()  # kept here, it is another answer the next time
        if storable(message, kind) and ttl > 0 and request.matches(message):
            self._store(request, key, Item(message, self._clock.now, ttl), beside, denies)
        return message

    def _store(self, request: Request, key: Key, item: Item, beside: bool, denies: bool) -> None:
        settings = self._settings
        before = self._successes.get(key)
        if not denies and item.good is None and settings.prefer_positive and before is not None:
            item.good = before.good
        shelf, name = (self._denials, "denial") if denies else (self._successes, "success")
        evicted = shelf.put(key, item)
        if evicted is not None:
            self._count_type(CACHE_EVICTIONS, request, name)
        self._grounds.forget((self, changed) for changed in (key, evicted) if changed is not None)
        replaces = item.good is item if settings.prefer_positive else beside
        if not denies and replaces:
            self._denials.remove(key)
        for kept, title in ((self._successes, "success"), (self._denials, "denial")):
            self._metrics.set(CACHE_ENTRIES, (request.server, title, self._label, ""), float(len(kept)))

    # --- stale and soon stale items ---

    def _verify(self, request: Request, key: Key, following: Follow, item: Item) -> Steps[Outcome | None]:
        """Ask before a stale item is served; None when only it is left (RFC 8767)."""
        recheck, timeout = self._settings.recheck, self._settings.verify_timeout
        if recheck > 0 and not item.begin_refresh(self._clock.now):
            return None
        if timeout == 0:
            fresh = yield from self._replace(request, key, following)
            if recheck > 0:
                item.end_refresh(self._clock.now, recheck, fresh is not None)
            return fresh
        signal = Signal()
        self._spawn(self._verify_beside(request, key, following, item, signal))
        in_time = yield WaitFor(signal, timeout)
        fetched: Outcome | None = signal.value if in_time else None
        for kept in (self._successes.get(key), self._denials.get(key)):
            if fetched is not None and kept is not None and kept.message is fetched.message:
                return fetched._replace(message=kept.reply(request, kept.ttl))  # a hit of what was fetched
        return fetched

    def _verify_beside(
        self, request: Request, key: Key, following: Follow, item: Item, signal: Signal
    ) -> Steps[None]:
        fresh = yield from self._replace(request, key, following, beside=True)
        if self._settings.recheck > 0:
            item.end_refresh(self._clock.now, self._settings.recheck, fresh is not None)
        signal.fire(fresh)

    def _replace(
        self, request: Request, key: Key, following: Follow, *, beside: bool = False
    ) -> Steps[Outcome | None]:
        """A complete answer in the place of a stale one, or None (verifyStaleResponseWriter)."""
        outcome = yield from following(_wanting_ad(request))
        message = outcome.message
        if message is None or message.truncated or not request.matches(message):
            return None
        if self._settings.prefer_positive:
            kept = self._keep(request, key, message, beside)
            return outcome._replace(message=kept) if answers_question(message) else None
        if message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return None
        if kind_of(message) in (Kind.OTHER_ERROR, Kind.META):
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
        if item.begin_refresh(self._clock.now):
            self._spawn(self._prefetch(request, key, following, item))

    def _prefetch(self, request: Request, key: Key, following: Follow, item: Item) -> Steps[None]:
        asked = self._clock.now
        stale = item.remaining(asked) <= 0
        self._count(CACHE_PREFETCHES, request)
        refreshed = True
        if stale:
            fresh = yield from self._replace(request, key, following, beside=True)
            refreshed = fresh is not None
        else:
            yield from self._refresh(request, key, following, beside=True)
        item.end_refresh(self._clock.now, self._settings.recheck if stale else 0.0, refreshed)
        kept = self._denials.get(key) or self._successes.get(key)
        if refreshed and kept is not None:
            kept.last_hit, kept.hits = asked, item.hits


def _wanting_ad(request: Request) -> Request:
    message = request.message
    return request.with_message(Message._make((*message[:_AUTHENTIC], True, *message[_AUTHENTIC + 1 :])))


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
    stale = False
    while c.next_in_block():
        stale = stale or c.value == "serve_stale"
        settings = _OPTIONS.get(c.value, _unknown)(c, settings)
    c.done()
    if settings.prefer_positive and not stale:
        raise CorefileError("serve_stale_policy requires serve_stale")
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
    """``serve_stale [DURATION [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]]``."""
    words = c.arguments()
    if len(words) > 5:
        raise c.argument_error()
    stale_for = duration(words[0]) if words else STALE_FOR
    if stale_for < 0:
        raise CorefileError("invalid negative duration for serve_stale")
    mode = words[1].lower() if len(words) > 1 else "immediate"
    if mode not in ("immediate", "verify"):
        raise CorefileError(f"invalid value for serve_stale refresh mode: {mode}")
    more = words[2:]
    if mode == "immediate" and len(more) > 2:
        raise c.argument_error()
    timeout = 0.0
    if mode == "verify" and more:
        timeout = _named_duration("verify timeout", more.pop(0))
        if timeout < 0:
            raise CorefileError("invalid negative timeout for serve_stale verify")
    return settings._replace(
        stale_for=stale_for,
        verify=mode == "verify",
        verify_timeout=timeout,
        stale_ttl=_stale_ttl(more[0]) if more else 0,
        recheck=_recheck(more[1]) if len(more) > 1 else 0.0,
    )


def _named_duration(what: str, word: str) -> float:
    try:
        return duration(word)
    except CorefileError as error:
        raise CorefileError(f"invalid serve_stale {what}: {error.message}") from None


def _stale_ttl(word: str) -> int:
    seconds = _named_duration("response TTL", word)
    if seconds < 0:
        raise CorefileError("invalid negative response TTL for serve_stale")
    if seconds != int(seconds):
        raise CorefileError("serve_stale response TTL must be a whole number of seconds")
    if seconds > MAXIMUM_STALE_TTL:
        raise CorefileError("serve_stale response TTL exceeds the DNS TTL range")
    return int(seconds)


def _recheck(word: str) -> float:
    seconds = _named_duration("failure recheck", word)
    if seconds < 0:
        raise CorefileError("invalid negative failure recheck for serve_stale")
    if seconds > MAXIMUM_RECHECK:
        raise CorefileError("serve_stale failure recheck cannot exceed 5 minutes")
    return seconds


def _stale_policy(c: Controller, settings: Settings) -> Settings:
    if settings.prefer_positive:
        raise CorefileError("serve_stale_policy can only be specified once")
    word = c.one_argument()
    if word.lower() != "prefer_positive":
        raise CorefileError(f"invalid serve_stale_policy: {word}")
    return settings._replace(prefer_positive=True)


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
