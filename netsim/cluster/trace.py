"""The walk of one connection, told from its packets: names, choices, hops, envelopes, and the way back.

``HostHandle.trace`` records every interface while one TCP connection is opened and closed; ``Trace`` groups
what was seen by packet and prints each decision once, with its reason. Nothing is asked of the tables
afterwards: what is printed is what the packets' notes say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.cause import Note
from netsim.capture.dissect import summarize
from netsim.capture.record import PacketRecord, Recorder
from netsim.cluster.hosts import Connection, Target, try_connect
from netsim.plan.entries import Port
from netsim.resolver.commands import Lookup
from netsim.wire import dns

if TYPE_CHECKING:
    from netsim.cluster.hosts import HostHandle

ARP = b"\x08\x06"
TEARDOWN_SECONDS = 1.0  # how long the closing handshake may take to be part of the walk


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


class Trace(NamedTuple):
    """One connection explained. ``names`` say what readers call each address."""

    origin: str
    target: Target
    connection: Connection
    journeys: tuple[Journey, ...]
    names: Mapping[bytes, str]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The walk as text."""
        yield f"{self.origin} connects to {self.target}"
        lookup = self.connection.lookup
        if lookup is not None:
            yield ""
            yield from _lookup_lines(lookup)
        for journey in self.journeys:
            yield ""
            yield from self._journey_lines(journey)
        yield ""
        result = self.connection
        yield f"result: {result.result} — {result.detail}, after {_milliseconds(result.elapsed)}"

    def _journey_lines(self, journey: Journey) -> Iterator[str]:
        first = journey.first
        yield f"{_milliseconds(first.time)}  {summarize(first.data, self.names)}"
        seen: set[Note] = set()
        for record in journey.records:
            for note in record.notes:
                if note not in seen:
                    seen.add(note)
                    yield f"    {note.where:<18} {note.cause}"
            direction = "out" if record.outbound else "in"
            yield f"    {'':<18} {direction:>3} {record.port}"


def trace(handle: HostHandle, target: Target, *, timeout: float) -> Trace:
    """Open one connection from the host with every interface tapped."""
    cluster = handle.cluster
    recorder = Recorder()
    with cluster.plane.recording(recorder):
        connection = cluster.pump(try_connect(handle.host, target, timeout=timeout, env=handle.env))
        cluster.advance(TEARDOWN_SECONDS)
    return Trace(handle.title, target, connection, journeys_of(recorder.records), cluster.names())


def journeys_of(records: Sequence[PacketRecord]) -> tuple[Journey, ...]:
    """Records grouped by packet, in the order in which the packets started; ARP is left out."""
    groups: dict[int, list[PacketRecord]] = {}
    for record in records:
        if record.data[12:14] != ARP:
            groups.setdefault(record.serial, []).append(record)
    return tuple(Journey(serial, tuple(group)) for serial, group in groups.items())


def _lookup_lines(lookup: Lookup) -> Iterator[str]:
    yield f"resolve {lookup.name}: {len(lookup.queries)} queries"
    for query in lookup.queries:
        kind = dns.TYPE_NAMES.get(query.qtype, str(query.qtype))
        answers = f" {', '.join(query.answers)}" if query.answers else ""
        yield (
            f"    {_milliseconds(query.sent_at)}  {kind:<4} {query.name} @{query.server}: "
            f"{query.outcome.value}{answers}"
        )
    if lookup.error is not None:
        yield f"    {lookup.error.name}: {lookup.error.value}"
    else:
        yield f"    {lookup.name} is {', '.join(str(address) for address in lookup.addresses)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"


__all__ = ["Journey", "Port", "Trace", "journeys_of", "trace"]
