"""The walk of one connection, told from its packets: names, choices, hops, envelopes, and the way back.

``HostHandle.trace`` records every interface while one TCP connection is opened and closed; ``Trace`` follows
each packet by its serial. What is printed is what the packets' notes say: no table is asked afterwards. The
first packet that takes a way is told hop by hop, a later one on the same way in one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.cause import Note, Stage
from netsim.capture.dissect import summarize
from netsim.capture.record import PacketRecord, Recorder
from netsim.cluster.connection import Connection, Target, try_connect
from netsim.plan.entries import Host
from netsim.resolver.commands import Lookup
from netsim.wire import dns

if TYPE_CHECKING:
    from netsim.cluster.hosts import HostHandle

ARP = b"\x08\x06"
TEARDOWN_SECONDS = 1.0  # how long the closing handshake may take to be part of the walk
_CHOICES = (Stage.SERVICE, Stage.NAT, Stage.FILTER, Stage.FAULT, Stage.ICMP, Stage.DNS)


class Journey(NamedTuple):
    """One packet from where it starts to where it ends: every interface that it crossed, in order."""

    serial: int
    records: tuple[PacketRecord, ...]

    @property
    def first(self) -> PacketRecord:
        return self.records[0]

    @property
    def notes(self) -> tuple[Note, ...]:
        """All that happened to it, as its last sighting tells."""
        return max((record.notes for record in self.records), key=len)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it crossed, in order."""
        return tuple(dict.fromkeys(str(record.port.host) for record in self.records))

    @property
    def way(self) -> tuple[str, ...]:
        """The interfaces that it crossed, in order."""
        return tuple(str(record.port) for record in self.records)


class Trace(NamedTuple):
    """One connection explained.

    ``names`` say what readers call each address, ``titles`` what they call each host; ``resolv_conf`` is the
    file that the resolver read.
    """

    origin: str
    target: Target
    connection: Connection
    journeys: tuple[Journey, ...]
    names: Mapping[bytes, str]
    titles: Mapping[str, str]
    resolv_conf: str

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The walk as text."""
        yield f"{self.origin} connects to {self.target}"
        lookup = self.connection.lookup
        if lookup is not None:
            yield ""
            yield from _lookup_lines(lookup, self.resolv_conf)
        yield ""
        yield "packets"
        told: dict[tuple[str, ...], int] = {}
        for number, journey in enumerate(self.journeys, 1):
            yield f"  #{number:<3} {_clock(journey.first.time)}  {summarize(journey.first.data, self.names)}"
            if journey.way in told:
                yield from self._again(journey, told[journey.way])
            else:
                told[journey.way] = number
                yield from self._hops(journey)
        yield ""
        yield f"result: {self.connection.result} ({self.connection.detail})"

    def _hops(self, journey: Journey) -> Iterator[str]:
        """Every decision and every interface, host by host."""
        told = 0
        here = ""
        for record in journey.records:
            for where, cause in record.notes[told:]:
                yield f"       {'' if where == here else where:<22} {cause.stage.value:<8} {cause.text}"
                here = where
            told = len(record.notes)
            where = self.titles.get(record.port.host, record.port.host)
            arrow = "->" if record.outbound else "<-"
            yield f"       {'' if where == here else where:<22} {arrow:<8} {record.port.interface}"
            here = where

    def _again(self, journey: Journey, number: int) -> Iterator[str]:
        """One line for a way that was told before, and what was decided on it."""
        yield f"       {'':<22} the same way as #{number}"
        for where, cause in journey.notes:
            if cause.stage in _CHOICES:
                yield f"       {where:<22} {cause.stage.value:<8} {cause.text}"


def trace(handle: HostHandle, target: Target, *, timeout: float) -> Trace:
    """Open one connection from the host with every interface tapped."""
    cluster = handle.cluster
    recorder = Recorder()
    with cluster.plane.recording(recorder):
        connection = cluster.pump(try_connect(handle.host, target, timeout=timeout, env=handle.env))
        cluster.advance(TEARDOWN_SECONDS)
    return Trace(
        handle.title,
        target,
        connection,
        journeys_of(recorder.records),
        cluster.names(),
        {entry.name: entry.title for entry in cluster.plan if isinstance(entry, Host)},
        handle.host.files.get("/etc/resolv.conf", ""),
    )


def journeys_of(records: Sequence[PacketRecord]) -> tuple[Journey, ...]:
    """Records grouped by packet, in the order in which the packets started; ARP is left out."""
    groups: dict[int, list[PacketRecord]] = {}
    for record in records:
        if record.data[12:14] != ARP:
            groups.setdefault(record.serial, []).append(record)
    return tuple(Journey(serial, tuple(group)) for serial, group in groups.items())


def _lookup_lines(lookup: Lookup, resolv_conf: str) -> Iterator[str]:
    yield f"resolve {lookup.name}"
    for line in resolv_conf.splitlines():
        yield f"  /etc/resolv.conf: {line}"
    for number, query in enumerate(lookup.queries, 1):
        kind = dns.TYPE_NAMES.get(query.qtype, str(query.qtype))
        answers = f" {', '.join(query.answers)}" if query.answers else ""
        yield (
            f"  query {number}  {_clock(query.sent_at)}  {kind:<4} {query.name} @{query.server}: "
            f"{query.outcome.value}{answers}"
        )
    if lookup.error is not None:
        yield f"  {lookup.error.name}: {lookup.error.value}"
    else:
        yield f"  {lookup.name} is {', '.join(str(address) for address in lookup.addresses)}"


def _clock(seconds: float) -> str:
    """Virtual seconds with microseconds."""
    return f"{seconds:.6f}"
