"""What a tap saw: records with their notes, and the same as a reader of a capture meets them.

Planes append a ``PacketRecord`` per frame and tapped interface to a ``Recorder``, while the simulation
runs; nothing is looked at or formatted before someone asks. ``CapturedPacket`` is the reader's view, the
same for a live record and for a packet read from a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from netsim.base.cause import Notes, probe_of
from netsim.plan.entries import Port


class PacketRecord(NamedTuple):
    """One frame at one interface: ``time`` in virtual seconds, ``data`` from the Ethernet header on.

    ``serial`` stays with a packet over hops, NAT and encapsulation, so that a reader can follow it.
    """

    time: float
    port: Port
    outbound: bool
    data: bytes
    notes: Notes
    serial: int = 0


class CapturedPacket(NamedTuple):
    """One packet of a capture. ``outbound`` None and ``serial`` 0 mean that the file does not say."""

    time: float
    interface: str
    outbound: bool | None
    data: bytes
    reasons: tuple[str, ...]
    serial: int = 0


class Recorder:
    """Holds the records of the tapped ports (None: of every port), in the order in which they come.

    The kubelet's probes are left out, both ways, unless ``probes`` asks for them.
    """

    __slots__ = ("_ports", "_probes", "records")

    def __init__(self, ports: Iterable[Port] | None = None, *, probes: bool = False) -> None:
        self._ports = None if ports is None else frozenset(ports)
        self._probes = probes
        self.records: list[PacketRecord] = []

    def __len__(self) -> int:
        return len(self.records)

    def record(self, record: PacketRecord) -> None:
        """Keep the record if its port is tapped."""
        if (self._ports is None or record.port in self._ports) and (
            self._probes or probe_of(record.notes) is None
        ):
            self.records.append(record)

    def amend(self, host: str, serial: int, notes: Notes, now: float) -> None:
        """Give the last record of a packet on a host the notes of what became of it there; the record is of
        this very instant."""
        for index in range(len(self.records) - 1, -1, -1):
            record = self.records[index]
            if record.time < now:
                return
            if record.serial == serial and record.port.host == host:
                self.records[index] = record._replace(notes=notes)
                return


def reasons_from_notes(notes: Notes) -> tuple[str, ...]:
    """One line per note, in reading order; a line that repeats the one before it is left out."""
    lines: list[str] = []
    for note in notes:
        line = " ".join(str(note).split())
        if not lines or lines[-1] != line:
            lines.append(line)
    return tuple(lines)


def packet_from_record(record: PacketRecord) -> CapturedPacket:
    """The reader's view of a live record."""
    time, port, outbound, data, notes, serial = record
    return CapturedPacket(time, str(port), outbound, data, reasons_from_notes(notes), serial)
