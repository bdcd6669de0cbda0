"""Virtual time: one heap of events, and coroutines that are stepped on it.

Events at one time run in the order in which they were put there, so a run depends on nothing but its
inputs. Coroutines await ``Signal`` objects only.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

from netsim.base.errors import UsageError

T = TypeVar("T")


class Signal:
    """Something that a task waits for, once."""

    __slots__ = ("_error", "_waiting", "set_")

    def __init__(self) -> None:
        self.set_ = False
        self._error: BaseException | None = None
        self._waiting: list[Callable[[], object]] = []

    def set(self, error: BaseException | None = None) -> None:
        """Wake whoever waits; with ``error``, by raising it there. A second call does nothing."""
        if self.set_:
            return
        self.set_ = True
        self._error = error
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def on_set(self, wake: Callable[[], object]) -> None:
        if self.set_:
            wake()
        else:
            self._waiting.append(wake)

    def __await__(self) -> Generator[Signal, None, None]:
        if not self.set_:
            yield self
        if self._error is not None:
            raise self._error


class Trap:
    """A program's trap for SIGTERM."""

    __slots__ = ("signal",)

    def __init__(self) -> None:
        self.signal = Signal()

    async def wait(self) -> None:
        await self.signal


class Handle:
    """A scheduled call that can be cancelled. ``background``: nobody waits for what it does."""

    __slots__ = ("background", "call")

    def __init__(self, call: Callable[[], None] | None, background: bool) -> None:
        self.call = call
        self.background = background

    def cancel(self) -> None:
        self.call = None


class SimTask(Generic[T]):
    """A coroutine on the heap. ``join`` gives its result; an error that nobody joins ends the run.

    ``process`` is the task of the program that it belongs to, itself for that task; its ``children`` are
    all others of the program, and end with it at the latest. None outside of programs.
    """

    def __init__(self, scheduler: Scheduler, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self.name = name
        self.done = False
        self.cancelled = False
        self.error: BaseException | None = None
        self.process: SimTask[Any] | None = None
        self.children: dict[SimTask[Any], None] = {}
        self.trap: Trap | None = None
        self.finished = Signal()
        self._scheduler = scheduler
        self._coroutine = coroutine
        self._result: T | None = None
        self._joined = False
        self._running = False
        scheduler.call_at(scheduler.now, self._step)

    def _step(self) -> None:
        if self.done:
            return
        outer, self._scheduler.running = self._scheduler.running, self
        self._running = True
        try:
            signal = self._coroutine.send(None)
        except StopIteration as stop:
            self._result = stop.value
            self._finish(None)
        except Exception as error:
            self._finish(error)
        except BaseException:  # Ctrl-C came while it ran, and ended it
            self.cancelled = True
            self._finish(None)
            raise
        else:
            self._running = False
            if self.cancelled:
                self._close()
            else:
                signal.on_set(self._wake)
        finally:
            self._running = False
            self._scheduler.running = outer

    def _wake(self) -> None:
        self._scheduler.call_at(self._scheduler.now, self._step)

    def _finish(self, error: BaseException | None) -> None:
        self.done = True
        self.error = error
        for child in list(self.children):
            child.cancel()
        self.finished.set()
        if error is not None and not self._joined:
            self._scheduler.failed(error)

    def cancel(self) -> None:
        """Close the coroutine where it waits, or where it next does; its children end with it."""
        if not (self.done or self.cancelled):
            self.cancelled = True
            if not self._running:
                self._close()

    def terminate(self) -> None:
        """SIGTERM: set the trap off, if the program has one, or else end it."""
        if self.trap is not None:
            self.trap.signal.set()
        else:
            self.cancel()

    def interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Raise it in the coroutine where it waits; whatever the coroutine does then, it is over."""
        if not (self.done or self._running):
            with suppress(StopIteration, KeyboardInterrupt):
                self._coroutine.throw(interrupt)

    def _close(self) -> None:
        try:
            self._coroutine.close()
        except Exception as error:
            self._finish(error)
        else:
            self._finish(None)

    def adopt(self, child: SimTask[Any]) -> None:
        """Make a task part of this program."""
        child.process = self
        self.children[child] = None
        child.finished.on_set(lambda: self.children.pop(child, None))

    async def join(self) -> T:
        self._joined = True
        await self.finished
        return self.result()

    def watch(self) -> None:
        """Somebody will look at ``error``; it does not end the run."""
        self._joined = True

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        if self.cancelled:
            raise UsageError(f"{self.name} was stopped before it had a result")
        return cast(T, self._result)


class Scheduler:
    """The heap. ``now`` is in virtual seconds since the plane began, ``sequence`` the number of the last
    event that was put there."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Handle]] = []
        self.sequence = 0
        self._foreground = 0  # handles in the heap that are not in the background, cancelled ones among them
        self._error: BaseException | None = None
        self.running: SimTask[Any] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is going to happen any more: who sleeps for ever does not count, nor what goes on
        in the background."""
        return not self._foreground or all(
            handle.call is None or handle.background or when == math.inf for when, _, handle in self._heap
        )

    def call_at(self, when: float, call: Callable[[], None], *, background: bool = False) -> Handle:
        """Call at a virtual time that is not in the past."""
        handle = Handle(call, background or when == math.inf)
        self._foreground += not handle.background
        self.sequence += 1
        heapq.heappush(self._heap, (when, self.sequence, handle))
        return handle

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> SimTask[T]:
        """A task of the program that is running, if one is."""
        task = SimTask(self, coroutine, name)
        if self.running is not None and self.running.process is not None:
            self.running.process.adopt(task)
        return task

    def start(self, coroutine: Coroutine[Any, Any, T], name: str) -> SimTask[T]:
        """The first task of a program."""
        task = SimTask(self, coroutine, name)
        task.process = task
        return task

    def failed(self, error: BaseException) -> None:
        """A task died and nobody waits for it: ``run`` raises its error."""
        if self._error is None:
            self._error = error

    def run(
        self, reached: Callable[[], bool], limit: float | None = None, *, foreground: bool = False
    ) -> bool:
        """Let events happen until ``reached``; False when the limit or the end of all events came first.

        ``foreground``: when nothing but the background is left, that is the end.
        """
        heap = self._heap
        while not reached():
            if not heap or (limit is not None and heap[0][0] > limit):
                return False
            if foreground and not self._foreground:
                return False
            when, _, handle = heapq.heappop(heap)
            self._foreground -= not handle.background
            call = handle.call
            if call is None:
                continue
            self.now = when
            call()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
        return True
