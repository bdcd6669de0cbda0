"""How often the nat table of one host was asked: once for each connection (Linux nf_nat_inet_fn).

Only a connection's first packet goes through the table. Connections alike are counted together, by the
virtual server that they are to; one that changes, whose rules kube-proxy then writes anew, begins again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from netsim.base.nat_counts import Amount, NatCounts, Opened
from netsim.net.conntrack import Tuple
from netsim.net.tables import ServerChoice, Service, ServiceKey

_Alike = tuple[str, bytes, tuple[bytes, int] | None, bool]  # device, source, endpoint, known


class Passed(Enum):
    """How a connection's first packet left the table."""

    DELIVERED = "INPUT"
    MARKED = "POSTROUTING, with the mark for masquerading"
    UNMARKED = "POSTROUTING"


class NatCounters:
    """What is counted on one host. Of what is to no virtual server, its own destinations are told apart."""

    def __init__(self, is_local: Callable[[bytes], bool]) -> None:
        self._is_local = is_local
        self._opened: dict[ServiceKey, tuple[Service | None, dict[_Alike, list[int]]]] = {}
        self._before: dict[tuple[str, int], list[int]] = {}
        self._passed: dict[tuple[Passed, int], list[int]] = {}

    def open(
        self, asked: Tuple, device: str, size: int, service: Service | None = None,
        choice: ServerChoice | None = None, *, known: bool = False,
    ) -> None:  # fmt: skip
        """A first packet came by a device (empty: the host's own), and was given to a choice of a server."""
        source, destination = asked.source, asked.destination
        if service is not None:
            key = asked.protocol, destination, asked.destination_port
        else:
            source = bytes(len(source))
            key = 0, destination if self._is_local(destination) else source, 0
        found = self._opened.get(key)
        if found is None or found[0] is not service:
            if found is not None:
                self._fold(found[1], len(destination))
            found = self._opened[key] = service, {}
        alike = device, source, (choice.address, choice.port) if choice is not None else None, known
        _add(found[1].setdefault(alike, [0, 0]), 1, size)

    def _fold(self, counted: dict[_Alike, list[int]], length: int) -> None:
        for (device, *_), (packets, size) in counted.items():
            _add(self._before.setdefault((device, length), [0, 0]), packets, size)

    def leave(self, passed: Passed, length: int, size: int) -> None:
        """A first packet, with addresses of this length, left the table."""
        _add(self._passed.setdefault((passed, length), [0, 0]), 1, size)

    def read(self, length: int, now_at: Callable[[Tuple], Service | None]) -> NatCounts:
        """All of the family whose addresses have this length in bytes; ``now_at``: which server is where."""
        nobody = bytes(length)
        opened = [
            Opened(device, 0, nobody, nobody, 0, None, False, Amount(*counted), False, False, False)
            for (device, size), counted in self._before.items()
            if size == length
        ]
        for (protocol, destination, port), (service, counts) in self._opened.items():
            if len(destination) != length:
                continue
            asked = Tuple(protocol, nobody, 0, destination, port)
            current = service is None or now_at(asked) is service
            for (device, source, endpoint, known), counted in counts.items():
                whose = self._is_local(source), self._is_local(destination)
                amount = Amount(*counted)
                what = (device, protocol, source, destination, port, endpoint, known, amount)
                opened.append(Opened(*what, *whose, current))
        left = (Amount(*self._passed.get((passed, length), (0, 0))) for passed in Passed)
        return NatCounts(opened, *left)


def _add(counted: list[int], packets: int, size: int) -> None:
    counted[0] += packets
    counted[1] += size
