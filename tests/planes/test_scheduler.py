"""Virtual time: what runs when, and how tasks wait, end and are ended."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import UsageError
from netsim.planes.sim.scheduler import Scheduler, Signal, Trap


def run(scheduler: Scheduler) -> None:
    """Until nothing is left to happen."""
    scheduler.run(lambda: False)


async def waiting(signal: Signal, log: list[str], name: str) -> str:
    try:
        await signal
        log.append(f"{name} goes on")
        return name
    finally:
        log.append(f"{name} ends")


@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0]), max_size=30))
def test_events_happen_by_time_and_at_one_time_in_the_order_in_which_they_were_put(
    times: list[float],
) -> None:
    scheduler, happened = Scheduler(), list[tuple[float, int]]()
    for number, time in enumerate(times):
        scheduler.call_at(time, lambda number=number: happened.append((scheduler.now, number)))  # type: ignore[misc]
    run(scheduler)
    assert happened == sorted((time, number) for number, time in enumerate(times))


def test_what_is_put_while_something_happens_comes_after_it_at_the_same_time() -> None:
    scheduler, log = Scheduler(), list[str]()

    def first() -> None:
        log.append("first")
        scheduler.call_at(scheduler.now, lambda: log.append("third"))

    scheduler.call_at(1.0, first)
    scheduler.call_at(1.0, lambda: log.append("second"))
    run(scheduler)
    assert log == ["first", "second", "third"] and scheduler.now == 1.0


def test_a_cancelled_call_does_not_happen_and_does_not_move_the_clock() -> None:
    scheduler, log = Scheduler(), list[str]()
    scheduler.call_at(5.0, lambda: log.append("never")).cancel()
    scheduler.call_at(1.0, lambda: log.append("once"))
    run(scheduler)
    assert log == ["once"] and scheduler.now == 1.0


def test_a_run_ends_when_its_goal_is_reached_or_its_limit_comes_first() -> None:
    scheduler, log = Scheduler(), list[int]()
    for time in (1, 2, 3):
        scheduler.call_at(time, lambda time=time: log.append(time))  # type: ignore[misc]
    assert scheduler.run(lambda: len(log) == 1)
    assert not scheduler.run(lambda: len(log) == 3, limit=2.0)
    assert log == [1, 2] and scheduler.now == 2.0
    assert scheduler.run(lambda: True, limit=0.0)


def test_a_task_waits_for_a_signal_and_gives_its_result() -> None:
    scheduler, signal, log = Scheduler(), Signal(), list[str]()
    task = scheduler.spawn(waiting(signal, log, "task"), "task")
    run(scheduler)
    assert log == []
    signal.set()
    signal.set()
    run(scheduler)
    assert task.result() == "task" and log == ["task goes on", "task ends"]


def test_a_signal_that_is_set_already_does_not_make_anyone_wait() -> None:
    scheduler, signal, log = Scheduler(), Signal(), list[str]()
    signal.set()
    task = scheduler.spawn(waiting(signal, log, "task"), "task")
    run(scheduler)
    assert task.done


def test_who_asks_a_signal_that_is_set_is_called_at_once() -> None:
    signal, log = Signal(), list[str]()
    signal.on_set(lambda: log.append("before"))
    signal.set()
    signal.on_set(lambda: log.append("after"))
    assert log == ["before", "after"]


def test_a_signal_with_an_error_raises_it_where_it_is_awaited() -> None:
    scheduler, signal, log = Scheduler(), Signal(), list[str]()
    task = scheduler.spawn(waiting(signal, log, "task"), "task")
    task.watch()
    run(scheduler)
    signal.set(TimeoutError("late"))
    run(scheduler)
    assert isinstance(task.error, TimeoutError) and log == ["task ends"]


def test_waiting_tasks_go_on_in_the_order_in_which_they_waited() -> None:
    scheduler, signal, log = Scheduler(), Signal(), list[str]()
    for name in "abc":
        scheduler.spawn(waiting(signal, log, name), name)
    scheduler.call_at(1.0, signal.set)
    run(scheduler)
    assert [line for line in log if line.endswith("on")] == ["a goes on", "b goes on", "c goes on"]


def test_a_cancelled_task_runs_its_finally_blocks_at_once() -> None:
    scheduler, log = Scheduler(), list[str]()
    task = scheduler.spawn(waiting(Signal(), log, "task"), "task")
    run(scheduler)
    task.cancel()
    task.cancel()
    assert task.done and task.cancelled and log == ["task ends"]
    with pytest.raises(UsageError, match="task was stopped before it had a result"):
        task.result()


def test_a_task_that_is_cancelled_before_its_first_step_never_begins() -> None:
    scheduler, log = Scheduler(), list[str]()
    scheduler.spawn(waiting(Signal(), log, "task"), "task").cancel()
    run(scheduler)
    assert log == []


def test_a_task_that_cancels_itself_ends_where_it_next_waits() -> None:
    scheduler, log = Scheduler(), list[str]()

    async def work() -> None:
        try:
            task.cancel()
            log.append("goes on")
            await Signal()
            log.append("never")
        finally:
            log.append("ends")

    task = scheduler.spawn(work(), "task")
    run(scheduler)
    assert log == ["goes on", "ends"] and task.done


def test_a_task_that_cancels_itself_and_then_ends_has_ended() -> None:
    scheduler = Scheduler()

    async def work() -> None:
        task.cancel()

    task = scheduler.spawn(work(), "task")
    run(scheduler)
    assert task.done and task.error is None


def test_an_error_that_nobody_joins_ends_the_run() -> None:
    scheduler = Scheduler()

    async def work() -> None:
        raise ValueError("broken")

    for name in ("one", "another"):
        scheduler.spawn(work(), name)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            run(scheduler)
    run(scheduler)


def test_an_error_in_a_finally_block_of_a_cancelled_task_ends_the_run_too() -> None:
    scheduler = Scheduler()

    async def work() -> None:
        try:
            await Signal()
        finally:
            raise ValueError("broken on the way out")

    task = scheduler.spawn(work(), "task")
    run(scheduler)
    task.cancel()
    assert task.done
    scheduler.call_at(1.0, lambda: None)
    with pytest.raises(ValueError, match="on the way out"):
        run(scheduler)


def test_a_joined_error_is_raised_in_who_joins() -> None:
    scheduler, seen = Scheduler(), list[str]()

    async def fails() -> None:
        await signal
        raise ValueError("broken")

    async def joins() -> None:
        try:
            await task.join()
        except ValueError as error:
            seen.append(str(error))

    signal = Signal()
    task = scheduler.spawn(fails(), "fails")
    scheduler.spawn(joins(), "joins")
    scheduler.call_at(1.0, signal.set)
    run(scheduler)
    assert seen == ["broken"]


def test_a_task_may_be_joined_twice_and_after_its_end() -> None:
    scheduler, got = Scheduler(), list[str]()

    async def gives() -> str:
        return "result"

    async def joins() -> None:
        got.append(await task.join())

    task = scheduler.spawn(gives(), "gives")
    scheduler.spawn(joins(), "one")
    run(scheduler)
    scheduler.spawn(joins(), "two")
    run(scheduler)
    assert got == ["result", "result"]


# --- programs --------------------------------------------------------------------------------------------


def program(scheduler: Scheduler, log: list[str], ends: Callable[[], Signal]) -> Signal:
    """A program that spawns a child, which spawns a grandchild; it ends with the signal returned."""
    stop = Signal()

    async def child() -> None:
        scheduler.spawn(waiting(ends(), log, "grandchild"), "grandchild")
        await waiting(ends(), log, "child")

    async def main() -> None:
        scheduler.spawn(child(), "child")
        await waiting(stop, log, "program")

    scheduler.start(main(), "program")
    run(scheduler)
    return stop


def test_what_a_program_spawned_ends_with_it() -> None:
    scheduler, log = Scheduler(), list[str]()
    stop = program(scheduler, log, Signal)
    stop.set()
    run(scheduler)
    assert log == ["program goes on", "program ends", "child ends", "grandchild ends"]


def test_what_a_program_spawned_may_outlive_its_spawner_but_not_the_program() -> None:
    scheduler, log, signals = Scheduler(), list[str](), list[Signal]()

    def keep() -> Signal:
        signals.append(Signal())
        return signals[-1]

    stop = program(scheduler, log, keep)
    signals[-1].set()  # the child's
    run(scheduler)
    assert log == ["child goes on", "child ends"]
    stop.set()
    run(scheduler)
    assert log[-1] == "grandchild ends"


def test_a_program_started_by_a_program_is_its_own() -> None:
    scheduler, log = Scheduler(), list[str]()

    async def main() -> None:
        scheduler.start(waiting(Signal(), log, "other"), "other")

    scheduler.start(main(), "main")
    run(scheduler)
    assert log == []


def test_a_program_forgets_children_that_have_ended() -> None:
    scheduler = Scheduler()

    async def nothing() -> None:
        return

    async def main() -> None:
        for _ in range(5):
            await scheduler.spawn(nothing(), "child").join()
        await Signal()

    task = scheduler.start(main(), "main")
    run(scheduler)
    assert task.children == {}


def test_an_interrupt_while_a_coroutine_runs_ends_it_once() -> None:
    scheduler = Scheduler()

    async def busy() -> None:
        raise KeyboardInterrupt

    task = scheduler.spawn(busy(), "busy")
    with pytest.raises(KeyboardInterrupt):
        scheduler.run(lambda: task.done)
    assert task.done
    task.interrupt(KeyboardInterrupt())


# --- the background, and SIGTERM


def test_nothing_is_waited_for_when_only_the_background_is_left() -> None:
    scheduler, log = Scheduler(), list[str]()

    def again() -> None:
        log.append(f"{scheduler.now:g}")
        scheduler.call_at(scheduler.now + 1.0, again, background=True)

    scheduler.call_at(1.0, again, background=True)
    scheduler.call_at(2.5, lambda: log.append("last"))
    assert not scheduler.run(lambda: False, 100.0, foreground=True)
    assert log == ["1", "2", "last"]
    assert scheduler.idle
    assert not scheduler.run(lambda: False, 4.5)
    assert log[3:] == ["3", "4"]


def test_a_cancelled_call_keeps_nobody_waiting_for_ever() -> None:
    scheduler = Scheduler()
    scheduler.call_at(5.0, lambda: None).cancel()
    scheduler.call_at(math.inf, lambda: None)
    scheduler.call_at(1.0, lambda: None, background=True)
    assert scheduler.idle
    assert not scheduler.run(lambda: False, 100.0, foreground=True)


def test_sigterm_ends_a_program_without_a_trap() -> None:
    scheduler, log = Scheduler(), list[str]()
    task = scheduler.start(waiting(Signal(), log, "program"), "program")
    scheduler.run(lambda: False)
    task.terminate()
    assert task.done and log == ["program ends"]


def test_sigterm_only_sets_off_the_trap_of_one_that_has_it() -> None:
    scheduler, log = Scheduler(), list[str]()
    trap = Trap()

    async def program() -> str:
        await trap.wait()
        log.append("drains")
        return "done"

    task = scheduler.start(program(), "program")
    task.trap = trap
    run(scheduler)
    assert not task.done
    task.terminate()
    task.terminate()
    run(scheduler)
    assert (task.result(), log) == ("done", ["drains"])
