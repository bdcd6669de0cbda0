"""The log of Events: what is counted, combined, passed over and forgotten, as by client-go."""

from __future__ import annotations

import pytest

from netsim.objects.core import Event, Namespace, Node, Pod
from netsim.objects.meta import Object, ObjectMeta
from netsim.store import events
from netsim.store.events import EventLog, Reporter
from netsim.store.store import Store

KUBELET = Reporter("kubelet", "node1")
WEB = Pod(metadata=ObjectMeta(name="web", namespace="prod", uid="1"))


def told(log: EventLog, *times: float, about: Object = WEB, message: str = "Readiness probe failed") -> None:
    for now in times:
        log.record(about, "Unhealthy", message, by=KUBELET, now=now, warning=True)


def counts(found: list[Event]) -> list[tuple[str, int, float | None, float | None]]:
    return [(e.message, e.count, e.first_timestamp, e.last_timestamp) for e in found]


def test_what_is_told_again_is_counted() -> None:
    log = EventLog()
    told(log, 1.0, 2.0, 5.0)
    assert counts(log.listed(5.0)) == [("Readiness probe failed", 3, 1.0, 5.0)]


def test_the_newest_stands_last() -> None:
    log = EventLog()
    told(log, 1.0, message="a")
    told(log, 2.0, message="b")
    told(log, 3.0, message="a")
    assert [event.message for event in log.listed(3.0)] == ["b", "a"]


def test_after_ten_texts_of_one_reason_one_event_stands_for_the_rest() -> None:
    log = EventLog()
    for number in range(13):
        told(log, float(number), message=f"text {number}")
    found = log.listed(13.0)
    assert [event.message for event in found[:-1]] == [f"text {number}" for number in range(9)]
    assert counts(found)[-1] == ("(combined from similar events): text 12", 4, 9.0, 12.0)


def test_texts_far_apart_in_time_are_not_combined() -> None:
    log = EventLog()
    times = [number * (events.SIMILAR_WITHIN + 1) for number in range(3)]
    for number, now in enumerate(times * 4):
        told(log, now, message=f"text {number}")
    assert not [event for event in log.listed(times[-1]) if event.message.startswith("(combined")]


def test_more_than_25_at_once_about_one_object_are_passed_over_and_show_with_the_next_that_is_not() -> None:
    log = EventLog()
    told(log, *([0.0] * 30))
    assert counts(log.listed(0.0)) == [("Readiness probe failed", 25, 0.0, 0.0)]
    told(log, events.SECONDS_PER_EVENT)
    assert counts(log.listed(300.0)) == [("Readiness probe failed", 31, 0.0, 300.0)]


def test_one_object_that_is_told_of_too_often_silences_no_other() -> None:
    log = EventLog()
    told(log, *([0.0] * 30))
    other = Pod(metadata=ObjectMeta(name="other", namespace="prod", uid="2"))
    told(log, 0.0, about=other)
    assert [event.involved_object.name for event in log.listed(0.0)] == ["web", "other"]


def test_an_event_is_forgotten_an_hour_after_it_was_told_last() -> None:
    log = EventLog()
    told(log, 0.0, 100.0)
    assert log.listed(100.0 + events.TIME_TO_LIVE - 1)
    assert log.listed(100.0 + events.TIME_TO_LIVE) == []


def test_the_oldest_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_KEPT", 3)
    log = EventLog()
    pods = [Pod(metadata=ObjectMeta(name=f"p{n}", namespace="prod", uid=str(n))) for n in range(5)]
    for pod in pods:
        told(log, 1.0, about=pod)
    assert [event.involved_object.name for event in log.listed(1.0)] == ["p2", "p3", "p4"]
    assert len(log) == 3


def test_what_is_told_of_a_node_is_in_the_default_namespace() -> None:
    log = EventLog()
    told(log, 1.0, about=Node(metadata=ObjectMeta(name="node1", uid="n")))
    assert [event.metadata.namespace for event in log.listed(1.0)] == ["default"]
    assert log.listed(1.0, "prod") == []


def test_no_two_events_have_one_name() -> None:
    log = EventLog()
    for number in range(5):
        told(log, 1.0, message=f"text {number}")
    names = [event.metadata.name for event in log.listed(1.0)]
    assert len(set(names)) == 5
    assert all(name.startswith("web.") for name in names)


def test_events_go_with_their_namespace_and_are_no_change_of_the_store() -> None:
    store = Store()
    namespace = store.create(Namespace(metadata=ObjectMeta(name="prod")), 0.0)
    pod = store.create(Pod(metadata=ObjectMeta(name="web", namespace="prod")), 0.0)
    watch = store.watch()
    watch.drain()
    revision = store.revision
    told(store.events, 1.0, about=pod)
    assert (store.revision, bool(watch)) == (revision, False)
    assert len(store.events.listed(1.0)) == 1
    store.remove(namespace.ref)
    assert store.events.listed(1.0) == []
