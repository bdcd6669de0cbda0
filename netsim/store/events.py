"""The Events of a cluster: what its components tell about objects, as ``kubectl events`` shows it.

Controllers (through their ``Manager``) and kubelets ``record``; ``listed`` makes core/v1 Events of what is
kept. They stand beside the store's objects: an Event wakes no controller, and is nothing that a cluster has
to settle. What is told again is counted, told too often it is passed over, and it is forgotten after an hour,
as by client-go ``tools/record/events_cache.go`` and the API server's ``--event-ttl``.
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.base.address import uid_from_name
from netsim.objects.core import Event, ObjectReference
from netsim.objects.meta import Object, ObjectMeta

NORMAL, WARNING = "Normal", "Warning"
TIME_TO_LIVE = 3600.0  # kube-apiserver --event-ttl
MOST_SIMILAR = 10  # defaultAggregateMaxEvents: so many texts of one reason, the others are combined
SIMILAR_WITHIN = 600.0  # defaultAggregateIntervalInSeconds
BURST = 25  # defaultSpamBurst: so many at once by one component about one object
SECONDS_PER_EVENT = 300.0  # 1 / defaultSpamQPS: then one in so many seconds
MOST_KEPT = 20_000  # netsim's own: the oldest go, so that a long run does not grow without end
CLUSTER_SCOPED = "default"  # the namespace of Events about objects that have none
EPOCH_NANOSECONDS = 1_767_225_600 * 10**9  # codec.EPOCH, for names, which end in the time


class Reporter(NamedTuple):
    """Who tells: a component, and the node on which it runs where it is one of many."""

    component: str
    host: str = ""


class _Subject(NamedTuple):
    kind: str
    api_version: str
    namespace: str
    name: str
    uid: str


class _Similar(NamedTuple):
    """What an Event has in common with those that differ in their text alone."""

    reporter: Reporter
    uid: str
    field: str
    type: str
    reason: str


class _Key(NamedTuple):
    """What is told again when it is told again; ``message`` None when many texts are combined."""

    similar: _Similar
    message: str | None


class _Series:
    """One Event. ``seen`` is how often it happened; what was passed over shows with the next that was not."""

    __slots__ = ("about", "count", "first", "last", "message", "number", "seen")

    def __init__(self, number: int, about: _Subject, message: str, now: float) -> None:
        self.number = number
        self.about = about
        self.message = message
        self.first = self.last = now
        self.seen = self.count = 0


class _Bucket:
    """A token bucket (client-go util/flowcontrol): full at first."""

    __slots__ = ("at", "tokens")

    def __init__(self, now: float) -> None:
        self.at = now
        self.tokens = float(BURST)

    def take(self, now: float) -> bool:
        self.tokens = min(self.tokens + (now - self.at) / SECONDS_PER_EVENT, BURST)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class EventLog:
    """All Events of one cluster. Times are virtual seconds."""

    __slots__ = ("_buckets", "_number", "_series", "_texts")

    def __init__(self) -> None:
        self._number = 0
        self._series: dict[_Key, _Series] = {}
        self._texts: dict[_Similar, tuple[float, tuple[str, ...]]] = {}
        self._buckets: dict[tuple[Reporter, str], _Bucket] = {}

    def __len__(self) -> int:
        return len(self._series)

    def record(
        self,
        about: Object,
        reason: str,
        message: str,
        *,
        by: Reporter,
        now: float,
        warning: bool = False,
        field: str = "",
    ) -> None:
        """Note that something happened to an object, or to a part of it (``spec.containers{web}``)."""
        meta = about.metadata
        similar = _Similar(by, meta.uid, field, WARNING if warning else NORMAL, reason)
        key = self._combined(similar, message, now)
        series = self._series.get(key)
        if series is None:
            self._number += 1
            subject = _Subject(about.kind, about.api_version, meta.namespace, meta.name, meta.uid)
            series = self._series[key] = _Series(self._number, subject, message, now)
            self._make_room()
        series.seen += 1
        bucket = self._buckets.get((by, meta.uid))
        if bucket is None:
            bucket = self._buckets[by, meta.uid] = _Bucket(now)
        if bucket.take(now):
            series.count, series.last = series.seen, now
            if key.message is None:
                series.message = f"(combined from similar events): {message}"

    def _combined(self, similar: _Similar, message: str, now: float) -> _Key:
        """EventAggregate: after ten different texts within ten minutes, one Event stands for the rest."""
        last, texts = self._texts.get(similar, (now, ()))
        if now - last > SIMILAR_WITHIN:
            texts = ()
        if message not in texts:
            texts = (*texts, message)
        combined = len(texts) >= MOST_SIMILAR
        self._texts[similar] = (now, texts[1:] if combined else texts)
        return _Key(similar, None if combined else message)

    def _make_room(self) -> None:
        while len(self._series) > MOST_KEPT:
            self._drop(next(iter(self._series)))

    def _drop(self, key: _Key) -> None:
        del self._series[key]
        self._texts.pop(key.similar, None)
        self._buckets.pop((key.similar.reporter, key.similar.uid), None)

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and its Events with it."""
        for key in [key for key, series in self._series.items() if series.about.namespace == namespace]:
            self._drop(key)

    def listed(self, now: float, namespace: str | None = None) -> list[Event]:
        """Those of a namespace, or (None) of all, that are not forgotten yet; the newest stands last."""
        held = sorted(self._series.items(), key=lambda item: (item[1].last, item[1].number))
        events = (_event(key, series) for key, series in held if series.count and _is_kept(series, now))
        return [event for event in events if namespace in (None, event.metadata.namespace)]


def _is_kept(series: _Series, now: float) -> bool:
    return now - series.last < TIME_TO_LIVE


def _event(key: _Key, series: _Series) -> Event:
    similar, about, reporter = key.similar, series.about, key.similar.reporter
    where = {"apiVersion": about.api_version}
    if similar.field:
        where["fieldPath"] = similar.field
    moment = EPOCH_NANOSECONDS + int(series.first * 10**9) + series.number  # no two have one name
    name, namespace = f"{about.name}.{moment:x}", about.namespace or CLUSTER_SCOPED
    source = {"component": reporter.component}
    if reporter.host:
        source["host"] = reporter.host
    return Event(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid_from_name(f"Event {namespace}/{name}"),
            creation_timestamp=series.first,
        ),
        involved_object=ObjectReference(about.kind, about.namespace, about.name, about.uid, rest=where),
        reason=similar.reason,
        message=series.message,
        first_timestamp=series.first,
        last_timestamp=series.last,
        count=series.count,
        type=similar.type,
        reporting_component=reporter.component,
        reporting_instance=reporter.host,
        rest={"source": source},
    )
