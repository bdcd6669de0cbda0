"""Doing a thing as often as a check says: one after the other, or, with ``every``, at regular times.

``connect`` and ``get`` use this. At regular times the ways of the attempts may cross: who is slow to answer
holds up nobody else, as with many clients.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from netsim.cluster.landing import Openings
from netsim.objects.topology import Check
from netsim.programs.host import Host

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

T = TypeVar("T")
Attempting = Callable[[str, Openings], Coroutine[Any, Any, T]]
"""Begins one attempt. The text tells it from others that are under way: `` (no. 7)``, or nothing."""


def repeated(cluster: Cluster, host: Host, check: Check, attempt: Attempting[T]) -> tuple[T, ...]:
    """Let time pass until ``count`` attempts have ended; what became of each, in their order."""
    count: int = check.arguments.get("count", 1)
    every: float | None = check.arguments.get("every")
    openings = Openings()
    with cluster.plane.recording(openings):
        if every is None:
            return tuple([cluster.pump(attempt("", openings)) for _ in range(count)])

        def numbered(number: int) -> Coroutine[Any, Any, T]:
            return attempt(f" (no. {number + 1})", openings)

        return cluster.pump(_spread(host, count, every, numbered))


async def _spread(
    host: Host, count: int, every: float, attempt: Callable[[int], Coroutine[Any, Any, T]]
) -> tuple[T, ...]:
    began = host.now()
    tasks = []
    for number in range(count):
        await host.sleep(max(0.0, began + number * every - host.now()))
        tasks.append(host.spawn(attempt(number), "check"))
    return tuple([await task.join() for task in tasks])
