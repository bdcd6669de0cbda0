"""Runs the controllers: events in, writes out, until nothing is left to do.

The work queue is first in, first out, holds each piece of work once, and never takes its order from a set:
the same store and the same changes give the same writes in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netsim.base.errors import ConvergenceError
from netsim.controllers.controller import Controller, Create, Delete, Outcome, Remove, Update, Wait, Write
from netsim.controllers.events import TELLS, Change
from netsim.objects.meta import Object, ObjectRef
from netsim.store.admission import admitted
from netsim.store.store import Store

# A piece of work that comes back this often within one step is a loop of controllers that undo each other.
MOST_ROUNDS = 10_000


class _Work(NamedTuple):
    controller: int  # position in the list of controllers
    subject: ObjectRef


class Manager:
    """Steps a list of controllers over one store."""

    __slots__ = ("_concerned", "_controllers", "_deadlines", "_queue", "_store", "_waits", "_watch")

    def __init__(self, store: Store, controllers: Sequence[Controller]) -> None:
        self._store = store
        self._controllers = tuple(controllers)
        self._watch = store.watch()
        self._queue: dict[_Work, None] = {}
        self._deadlines: dict[_Work, float] = {}
        self._waits: dict[_Work, Sequence[Wait]] = {}
        self._concerned: dict[str, list[int]] = {}

    def step(self, now: float) -> bool:
        """Do all that is to be done at ``now``; says whether anything was written."""
        wrote = False
        rounds: dict[_Work, int] = {}
        self._queue.update({work: None for work, at in self._deadlines.items() if at <= now})
        self._enqueue_events()
        while self._queue:
            work = next(iter(self._queue))
            del self._queue[work]
            rounds[work] = rounds.get(work, 0) + 1
            if rounds[work] > MOST_ROUNDS:
                raise ConvergenceError(now, [f"{work.subject}: controllers undo each other's writes"])
            outcome = self._controllers[work.controller].reconcile(work.subject, self._store, now)
            self._note(work, outcome)
            for write in outcome.writes:
                wrote = self._apply(work, write, now) or wrote
            for told in outcome.reports:
                self._store.events.record(
                    told.about, told.reason, told.message, by=told.by, now=now, warning=told.warning
                )
            self._enqueue_events()
        return wrote

    @property
    def idle(self) -> bool:
        """Whether a ``step`` before the next deadline would find nothing to do."""
        return not self._queue and not self._watch

    def deadline(self) -> float | None:
        """The virtual second at which ``step`` is to be called although nothing has changed, or None."""
        return min(self._deadlines.values(), default=None)

    def waits(self) -> list[Wait]:
        """What is not as it should be, in the order of the controllers, then of their work."""
        ordered = sorted(self._waits.items(), key=lambda item: item[0].controller)
        return [wait for _, waits in ordered for wait in waits]

    def waiting(self) -> list[str]:
        """``waits`` as lines."""
        return [str(wait) for wait in self.waits()]

    # --- how

    def _enqueue_events(self) -> None:
        for event in self._watch.drain():
            for position in self._positions(event.object.kind):
                for subject in self._controllers[position].subjects(event, self._store):
                    self._queue[_Work(position, subject)] = None

    def _positions(self, kind: str) -> Iterable[int]:
        """The controllers that want the events of a kind."""
        found = self._concerned.get(kind)
        if found is None:
            wanting = (i for i, c in enumerate(self._controllers) if not c.kinds or kind in c.kinds)
            found = self._concerned[kind] = list(wanting)
        return found

    def _note(self, work: _Work, outcome: Outcome) -> None:
        if outcome.deadline is not None:
            self._deadlines[work] = outcome.deadline
        else:
            self._deadlines.pop(work, None)
        if outcome.waits:
            self._waits[work] = outcome.waits
        else:
            self._waits.pop(work, None)

    def _apply(self, work: _Work, write: Write, now: float) -> bool:
        """Write, and tell of it; what another controller was quicker to delete is passed over."""
        store, revision = self._store, self._store.revision
        before: Object | None = None
        after: Object | None = None
        match write:
            case Create(obj):
                if not store.terminating(obj.metadata.namespace):
                    after = store.create(admitted(obj), now)
            case Update(obj):
                before = store.find_ref(obj.ref)
                after = store.update(obj)
            case Delete(ref) | Remove(ref):
                before = store.find_ref(ref)
                if before is None:
                    return False
                if isinstance(write, Remove):
                    store.remove(ref)
                else:
                    store.delete(ref, now)
        if store.revision == revision:
            return False
        tell = TELLS.get(self._controllers[work.controller].name)
        if tell is not None:
            tell(Change(store.find_ref(work.subject), before, after, now), store.events)
        return True
