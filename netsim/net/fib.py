"""Routes by longest prefix, as one host holds them or as a group of hosts shares them."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from netsim.base.address import render_ip
from netsim.base.cause import Cause, Stage


def _masks(bits: int) -> tuple[int, ...]:
    return tuple(((1 << bits) - 1) ^ ((1 << (bits - length)) - 1) for length in range(bits + 1))


_MASKS = {bits: _masks(bits) for bits in (32, 128)}


class Route(NamedTuple):
    """One route. ``network`` is an integer, ``via`` and ``source`` are packed addresses or None."""

    network: int
    length: int
    device: str
    via: bytes | None
    onlink: bool
    source: bytes | None
    protocol: str
    metric: int
    cause: Cause
    bits: int = 32

    def __str__(self) -> str:
        prefix = f"{render_ip(self.network.to_bytes(self.bits // 8, 'big'))}/{self.length}"
        destination = "default" if self.length == 0 else prefix
        via = f" via {render_ip(self.via)}" if self.via is not None else ""
        return f"{destination}{via} dev {self.device}"


class Fib:
    """A forwarding table: the longest prefix wins, and among routes to one prefix the lowest metric."""

    __slots__ = ("_by_length", "_lengths", "_masks", "version")

    def __init__(self, bits: int = 32) -> None:
        self._masks = _MASKS[bits]
        self._by_length: dict[int, dict[int, list[Route]]] = {}
        self._lengths: list[int] = []
        self.version = 0

    def add(self, route: Route) -> None:
        """Add a route; one with the same prefix and metric replaces it."""
        self.remove(route.network, route.length, route.metric)
        routes = self._by_length.setdefault(route.length, {}).setdefault(route.network, [])
        routes.append(route)
        routes.sort(key=lambda r: r.metric)
        self._changed()

    def remove(self, network: int, length: int, metric: int) -> None:
        """Take a route away; nothing happens when it is not there."""
        prefixes = self._by_length.get(length, {})
        routes = prefixes.get(network, [])
        kept = [route for route in routes if route.metric != metric]
        if len(kept) == len(routes):
            return
        if kept:
            prefixes[network] = kept
        else:
            del prefixes[network]
            if not prefixes:
                del self._by_length[length]
        self._changed()

    def clear(self) -> None:
        """Take all routes away."""
        self._by_length.clear()
        self._changed()

    def _changed(self) -> None:
        self._lengths = sorted(self._by_length, reverse=True)
        self.version += 1

    def lookup(self, destination: int, devices: Container[str], without: str = "") -> Route | None:
        """The best route for ``destination``, an integer address, among those through ``devices``.

        Routes of the protocol ``without`` are passed over. A shared table has routes through interfaces that
        not every host has; on Linux such a route cannot stand on a host without the interface.
        """
        for length in self._lengths:
            for route in self._by_length[length].get(destination & self._masks[length], ()):
                if route.device in devices and route.protocol != without:
                    return route
        return None

    def exact(self, network: int, length: int) -> list[Route]:
        """The routes to one prefix, by metric."""
        return self._by_length.get(length, {}).get(network, [])

    def routes(self) -> list[Route]:
        """All routes, by prefix and metric, as ``ip route`` lists them."""
        return sorted(
            (route for prefixes in self._by_length.values() for rs in prefixes.values() for route in rs),
            key=lambda route: (route.network, route.length, route.metric),
        )


def connected_route(network: int, length: int, device: str, source: bytes) -> Route:
    """The route that an address brings with it (``proto kernel scope link``)."""
    cause = Cause(Stage.ROUTE, f"connected: {render_ip(source)}/{length} stands on {device}")
    return Route(network, length, device, None, False, source, "kernel", 0, cause, len(source) * 8)
