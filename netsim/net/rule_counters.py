"""How often the tables nat and filter of one host were asked (Linux nf_nat_inet_fn, ipt_do_table).

Only a connection's first packet goes through the nat table; each goes through the filter table. Packets alike
are counted together; those that have to do with a virtual server, by the server. One that changes, whose
rules kube-proxy then writes anew, begins again. What rules make of them is found out by who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from netsim.base.rule_counts import Amount, Came, NatCounts, Opened, RuleCounts, State
from netsim.net.conntrack import Flow
from netsim.net.conntrack_tuple import Tuple, tuple_from_packet
from netsim.net.device import LOOPBACK
from netsim.net.tables import ServerChoice, Service, ServiceKey, is_loopback
from netsim.plan.entries import Hook

if TYPE_CHECKING:
    from netsim.net.packet import Packet

_Alike = tuple[str, bytes, tuple[bytes, int] | None, bool]  # device, source, endpoint, known
_Coming: TypeAlias = tuple[int, int, bytes, int]  # state, protocol, destination, port
NowAt: TypeAlias = Callable[[Tuple], Service | None]
"""Which virtual server is where."""
_NEW, _KNOWN, _INVALID = range(3)
_SOMEWHERE: dict[int, _Coming] = {4: (_KNOWN, 0, bytes(4), 0), 6: (_KNOWN, 0, bytes(16), 0)}
_STATES = (State.NEW, State.KNOWN, State.INVALID)


class Passed(Enum):
    """How a connection's first packet left the nat table."""

    DELIVERED = "INPUT"
    MARKED = "POSTROUTING, with the mark for masquerading"
    UNMARKED = "POSTROUTING"
    LOOPED = "POSTROUTING, through IPVS to a server that is its own client"


class NatCounters:
    """The nat table. Of what is to no virtual server, the host's own destinations are told apart."""

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
            nobody = bytes(len(source))
            key = 0, destination if self._is_local(destination) else nobody, 0
            source = source if is_loopback(source) else nobody
        found = self._opened.get(key)
        if found is None or found[0] is not service:
            if found is not None:
                self._fold(found[1], len(destination))
            found = self._opened[key] = service, {}
        alike = device, source, choice[:2] if choice is not None else None, known
        counted = found[1].get(alike)
        if counted is None:
            found[1][alike] = [1, size]
        else:
            counted[0] += 1
            counted[1] += size

    def _fold(self, counted: dict[_Alike, list[int]], length: int) -> None:
        for (device, *_), (packets, size) in counted.items():
            _add(self._before.setdefault((device, length), [0, 0]), packets, size)

    def leave(self, passed: Passed, length: int, size: int) -> None:
        """A first packet, with addresses of this length, left the table."""
        _add(self._passed.setdefault((passed, length), [0, 0]), 1, size)

    def read(self, length: int, now_at: NowAt) -> NatCounts:
        """All of the family whose addresses have this length in bytes."""
        nobody = bytes(length)
        opened = [
            Opened(device, 0, nobody, nobody, 0, None, False, Amount(*counted), False, False, False)
            for (device, size), counted in self._before.items()
            if size == length
        ]
        for (protocol, destination, port), (service, counts) in self._opened.items():
            if len(destination) != length:
                continue
            current = service is None or now_at(Tuple(protocol, nobody, 0, destination, port)) is service
            for (device, source, endpoint, known), counted in counts.items():
                whose = self._is_local(source), self._is_local(destination)
                amount = Amount(*counted)
                what = (device, protocol, source, destination, port, endpoint, known, amount)
                opened.append(Opened(*what, *whose, current))
        left = (Amount(*self._passed.get((passed, length), (0, 0))) for passed in Passed)
        return NatCounts(opened, *left)


class FilterCounters:
    """The filter table. What is to the host itself is told apart by where to; what only passes, by its state
    alone, unless a virtual server refuses it."""

    def __init__(self) -> None:
        self._passing: dict[tuple[str, int, int, bool], list[int]] = {}
        self._coming: dict[_Coming, list[int]] = {}
        self._refused: dict[tuple[str, Tuple], tuple[Service | None, list[int]]] = {}
        self._before: dict[tuple[str, int], list[int]] = {}

    def passes(self, chain: str, packet: Packet) -> None:
        """A packet came to FORWARD, or to OUTPUT."""
        flow = packet.flow
        if flow is None:
            state = _INVALID
        else:
            state = _KNOWN if flow.seen_reply or packet.reply or packet.related else _NEW
        key = chain, packet.family, state, packet.marked
        counted = self._passing.get(key)
        if counted is None:
            counted = self._passing[key] = [0, 0]
        counted[0] += 1
        counted[1] += len(packet.data)

    def comes(self, packet: Packet, flow: Flow | None, reply: bool) -> None:
        """A packet of a flow came to INPUT, and no virtual server refuses it.

        Where a reply goes is of no account: kube-proxy has no rule for the port of a client. Without a flow
        it is INVALID; but one through ``lo`` has ended its flow, and was of it.
        """
        if flow is None:
            asked = tuple_from_packet(packet.data) if packet.device != LOOPBACK else None
            kind = (
                (_INVALID, asked.protocol, asked.destination, asked.destination_port)
                if asked is not None
                else _SOMEWHERE[packet.family]
            )
        elif reply or packet.related:
            kind = _SOMEWHERE[packet.family]
        elif flow.connection is None:
            protocol, at, port, _, _ = flow.reply
            kind = _KNOWN if flow.seen_reply else _NEW, protocol, at, port
        else:
            protocol, _, _, at, port = flow.original
            kind = _KNOWN if flow.seen_reply else _NEW, protocol, at, port
        counted = self._coming.get(kind)
        if counted is None:
            self._coming[kind] = [1, len(packet.data)]
        else:
            counted[0] += 1
            counted[1] += len(packet.data)

    def refuse(self, chain: str, packet: Packet, asked: Tuple, service: Service | None) -> None:
        """A packet that is new came to a chain, and is refused there: by a virtual server, or by the
        kubelet's rule against what is to a loopback address and comes from a wire."""
        key = chain, asked._replace(source_port=0)
        found = self._refused.get(key)
        if found is None or found[0] is not service:
            if found is not None:
                _add(self._before.setdefault((chain, packet.family), [0, 0]), *found[1])
            found = self._refused[key] = service, [0, 0]
        _add(found[1], 1, len(packet.data))

    def read(self, length: int, now_at: NowAt, is_local: Callable[[bytes], bool]) -> list[Came]:
        """All of the family whose addresses have this length in bytes."""
        return list(self._read(length, 4 if length == 4 else 6, now_at, is_local))

    def _read(
        self, length: int, family: int, now_at: NowAt, is_local: Callable[[bytes], bool]
    ) -> Iterator[Came]:
        nobody = bytes(length)
        for (chain, of, state, marked), counted in self._passing.items():
            if of == family:
                what = (_STATES[state], marked, 0, nobody, nobody, 0, False)
                yield Came(chain, *what, Amount(*counted), current=True)
        for (code, protocol, at, port), counted in self._coming.items():
            if len(at) == length:
                source = at if is_loopback(at) else nobody  # no other comes there
                what = (_STATES[code], False, protocol, source, at, port, True)
                yield Came(Hook.INPUT.value, *what, Amount(*counted), current=True)
        for (chain, of), counted in self._before.items():
            if of == family:
                what = (State.NEW, False, 0, nobody, nobody, 0, False)
                yield Came(chain, *what, Amount(*counted), current=False)
        for (chain, asked), (service, counted) in self._refused.items():
            at = asked.destination
            if len(at) == length:
                where = (asked.protocol, asked.source, at, asked.destination_port, is_local(at))
                yield Came(chain, State.NEW, False, *where, Amount(*counted), now_at(asked) is service)


class RuleCounters:
    """Both tables of one host."""

    def __init__(self, is_local: Callable[[bytes], bool]) -> None:
        self.nat = NatCounters(is_local)
        self.filter = FilterCounters()
        self._is_local = is_local

    def read(self, family: int, now_at: NowAt) -> RuleCounts:
        """All of one family of addresses."""
        length = 4 if family == 4 else 16
        return RuleCounts(self.nat.read(length, now_at), self.filter.read(length, now_at, self._is_local))


def _add(counted: list[int], packets: int, size: int) -> None:
    counted[0] += packets
    counted[1] += size
