"""What a plane must do for the rooms above it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from netsim.plan.delta import Delta
from netsim.plan.entries import HostName
from netsim.programs.host import Host, Task

T = TypeVar("T")


class Call(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Plane(Protocol):
    """A network that follows a plan, and hosts on which programs run."""

    @property
    def now(self) -> float:
        """Seconds since the plane began: virtual in the sim plane."""

    def apply(self, delta: Delta) -> None:
        """Change the network; programs on removed hosts are cancelled."""

    def host(self, name: HostName) -> Host:
        """The host of that name; UsageError when the plan has none."""

    def view(self, name: HostName, hostname: str) -> Host:
        """The host once more, with files, processes and a hostname of its own, as each Pod has them."""

    def close_view(self, view: Host) -> None:
        """Stop what runs in a view and forget it."""

    def start(self, host: Host, program: Callable[[Host], Coroutine[Any, Any, T]], title: str) -> Task[T]:
        """Run a coroutine on a host as a process; ``title`` is its command line."""

    def call_at(self, when: float, call: Callable[[], None], *, background: bool = False) -> Call:
        """Call at a time of the plane. ``background``: ``pump`` does not wait for what it does."""

    def pump(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let time pass until the coroutine has its result."""

    def pump_until(self, reached: Callable[[], bool], limit: float) -> bool:
        """Let time pass until ``reached`` is true or the plane's time is ``limit``; says which."""

    def stop(self) -> None:
        """Cancel every program on every host."""
