"""The manager: order, deadlines, and what it does about controllers that never agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from netsim.base.errors import ConvergenceError
from netsim.base.rng import Rng
from netsim.controllers.controller import Create, Delete, Outcome, Remove, Update, Wait
from netsim.controllers.manager import Manager
from netsim.objects.core import ConfigMap, Namespace
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import Store, StoreEvent


def config(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="dev"), data=data)


class Recording:
    """Notes what it is asked about, and answers with the outcomes given, in order."""

    kinds = (ConfigMap.kind,)

    def __init__(self, *outcomes: Outcome, name: str = "recording") -> None:
        self.name = name
        self.asked: list[tuple[str, float]] = []
        self._outcomes = list(outcomes)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        return [event.object.ref]

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        self.asked.append((subject.name, now))
        return self._outcomes.pop(0) if self._outcomes else Outcome()


def test_work_is_done_once_and_first_in_first_out() -> None:
    store, controller = Store(Rng(1)), Recording()
    manager = Manager(store, [controller])
    for name in ("c", "a", "b"):
        store.create(config(name), 0)
    store.update(config("c", x="1"))
    assert not manager.idle
    assert manager.step(1.0) is False
    assert controller.asked == [("c", 1.0), ("a", 1.0), ("b", 1.0)]
    assert manager.idle


def test_a_manager_begins_with_what_exists() -> None:
    store, controller = Store(Rng(1)), Recording()
    store.create(config("a"), 0)
    Manager(store, [controller]).step(0.0)
    assert controller.asked == [("a", 0.0)]


def test_events_of_kinds_that_nobody_wants_are_passed_over() -> None:
    store, controller = Store(Rng(1)), Recording()
    store.create(Namespace(metadata=ObjectMeta(name="dev")), 0)
    Manager(store, [controller]).step(0.0)
    assert controller.asked == []


def test_writes_are_looked_at_within_the_same_step() -> None:
    store = Store(Rng(1))
    controller = Recording(Outcome([Create(config("made")), Update(config("a", x="1"))]))
    manager = Manager(store, [controller])
    store.create(config("a"), 0)
    assert manager.step(0.0) is True
    assert [name for name, _ in controller.asked] == ["a", "made", "a"]
    assert manager.step(0.0) is False


def test_deletes_of_what_is_gone_are_passed_over() -> None:
    store = Store(Rng(1))
    ref = config("a").ref
    controller = Recording(Outcome([Remove(ref), Delete(ref), Remove(ref)]))
    manager = Manager(store, [controller])
    store.create(config("a"), 0)
    manager.step(0.0)
    assert store.find_ref(ref) is None


def test_nothing_is_created_in_a_namespace_that_is_being_deleted() -> None:
    store = Store(Rng(1))
    store.create(Namespace(metadata=ObjectMeta(name="dev")), 0)
    store.delete(ObjectRef("Namespace", "", "dev"), 0)
    manager = Manager(store, [Recording(Outcome([Create(config("made"))]))])
    store.create(config("a"), 0)
    assert manager.step(0.0) is False
    assert store.find_ref(config("made").ref) is None


def test_deadlines_bring_a_subject_back_and_are_then_forgotten() -> None:
    store = Store(Rng(1))
    controller = Recording(Outcome(deadline=9.0), Outcome(deadline=4.0))
    manager = Manager(store, [controller])
    store.create(config("a"), 0)
    store.create(config("b"), 0)
    manager.step(0.0)
    assert manager.deadline() == 4.0
    manager.step(3.9)
    assert len(controller.asked) == 2
    manager.step(4.0)
    assert controller.asked[2:] == [("b", 4.0)]
    assert manager.deadline() == 9.0
    store.remove(config("a").ref)
    manager.step(5.0)
    assert manager.deadline() is None


def test_waits_are_listed_by_controller_and_vanish_when_they_are_over() -> None:
    store = Store(Rng(1))
    ref = config("a").ref
    first = Recording(Outcome(waits=[Wait(ref, "no address")]), name="first")
    second = Recording(Outcome(waits=[Wait(ref, "no rest", blocked=False)]), name="second")
    manager = Manager(store, [second, first])
    store.create(config("a"), 0)
    manager.step(0.0)
    assert manager.waiting() == ["ConfigMap dev/a: no rest", "ConfigMap dev/a: no address"]
    store.update(config("a", x="1"))
    manager.step(0.0)
    assert manager.waiting() == []


def test_controllers_that_undo_each_other_are_named() -> None:
    class Flipping(Recording):
        def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
            held = reader.get(ConfigMap, subject.name, subject.namespace)
            return Outcome([Update(replace(held, data={"x": "" if held.data.get("x") else "1"}))])

    store = Store(Rng(1))
    manager = Manager(store, [Flipping()])
    store.create(config("a"), 0)
    with pytest.raises(ConvergenceError, match="ConfigMap dev/a: controllers undo each other's writes"):
        manager.step(0.0)
