"""Waiting: time limits that span several awaits, and waiting for ever."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from netsim.base.errors import UsageError
from netsim.programs.host import Host

T = TypeVar("T")


class Deadline:
    """One time limit for several waits, as ``curl -m`` has it. ``seconds`` None means no limit."""

    __slots__ = ("_host", "_until")

    def __init__(self, host: Host, seconds: float | None) -> None:
        self._host = host
        self._until = None if seconds is None else host.now() + seconds

    def left(self) -> float | None:
        """Seconds left for the next wait, None without a limit; raises TimeoutError when they are over."""
        if self._until is None:
            return None
        left = self._until - self._host.now()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


async def forever(host: Host) -> None:
    """Wait until the program is cancelled."""
    while True:
        await host.sleep(math.inf)


async def within(host: Host, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, or TimeoutError after ``seconds``: then it is cancelled where it waits."""
    if seconds is None:
        return await work
    task = host.spawn(work, "with a time limit")
    expired = False

    async def alarm() -> None:
        nonlocal expired
        await host.sleep(seconds)
        expired = True
        task.cancel()

    clock = host.spawn(alarm(), "time limit")
    try:
        return await task.join()
    except UsageError:
        if expired:
            raise TimeoutError("timed out") from None
        raise
    finally:
        clock.cancel()
        task.cancel()
