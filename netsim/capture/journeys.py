"""A packet's way, put together from its records: whoever tells of a packet begins here.

``Recorder`` keeps records in the order of time, those of many packets mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netsim.base.cause import Note
from netsim.capture.record import PacketRecord
from netsim.wire import ndp

ARP, IPV6 = b"\x08\x06", b"\x86\xdd"


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


def about_neighbours(frame: bytes) -> bool:
    """Whether a frame is ARP, or IPv6's neighbour discovery."""
    kind = frame[12:14]
    return kind == ARP or (kind == IPV6 and bool(ndp.kind_of_frame(frame)))


def journeys_of(records: Sequence[PacketRecord]) -> tuple[Journey, ...]:
    """Records grouped by packet, in the order in which the packets started; the questions and answers about
    neighbours are left out."""
    groups: dict[int, list[PacketRecord]] = {}
    for record in records:
        if not about_neighbours(record.data):
            groups.setdefault(record.serial, []).append(record)
    return tuple(Journey(serial, tuple(group)) for serial, group in groups.items())
