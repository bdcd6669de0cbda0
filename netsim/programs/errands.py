"""What an adapter of a machine has under way on its host: tasks, and one alarm for the machine's deadline."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from netsim.programs.host import Host, Task

Body: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""What a task is made of: a function, so that a task that never began leaves no coroutine behind."""


class Errands:
    """Tasks that end with their program at the latest: ``cancel`` ends them. ``title`` begins their names."""

    def __init__(self, host: Host, title: str) -> None:
        self._host = host
        self._title = title
        self._tasks: dict[int, Task[None]] = {}
        self._started = 0
        self._alarm: tuple[float, Task[None]] | None = None

    def start(self, what: str, body: Body) -> Task[None]:
        """Run a task, which is forgotten when it has ended."""
        self._started += 1
        number = self._started

        async def run() -> None:
            try:
                await body()
            finally:
                self._tasks.pop(number, None)

        task = self._tasks[number] = self._host.spawn(run(), f"{self._title}: {what}")
        return task

    def wake(self, deadline: float | None, ring: Callable[[], None], *, background: bool = False) -> None:
        """Call ``ring`` at the deadline. An earlier alarm stays in its place, and a later one goes; None asks
        for nothing."""
        if deadline is None or (self._alarm is not None and self._alarm[0] <= deadline):
            return
        if self._alarm is not None:
            self._alarm[1].cancel()

        async def wait() -> None:
            await self._host.sleep(deadline - self._host.now(), background=background)
            self._alarm = None
            ring()

        self._alarm = deadline, self.start("timer", wait)

    def cancel(self) -> None:
        """End all that is under way."""
        for task in list(self._tasks.values()):
            task.cancel()
