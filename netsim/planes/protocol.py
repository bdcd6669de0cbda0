"""What a plane must do for the rooms above it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from netsim.plan.delta import Delta
from netsim.plan.entries import HostName
from netsim.programs.host import Host, Task

T = TypeVar("T")


class Plane(Protocol):
    """A network that follows a plan, and hosts on which programs run."""

    @property
    def now(self) -> float:
        """Seconds since the plane began: virtual in the sim plane."""

    def apply(self, delta: Delta) -> None:
        """Change the network; programs on removed hosts are cancelled."""

    def host(self, name: HostName) -> Host:
        """The host of that name; UsageError when the plan has none."""

    def start(self, name: HostName, program: Callable[[Host], Coroutine[Any, Any, T]], title: str) -> Task[T]:
        """Run a coroutine on a host as a process; ``title`` is its command line."""

    def pump(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let time pass until the coroutine has its result."""

    def pump_until(self, reached: Callable[[], bool], limit: float) -> bool:
        """Let time pass until ``reached`` is true or the plane's time is ``limit``; says which."""
