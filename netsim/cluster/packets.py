"""Captured packets in a user's hand: records, and a pcapng beside which stands a Wireshark profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from netsim.capture.record import PacketRecord, Recorder
from netsim.plan.delta import Plan
from netsim.plan.entries import Host, Port


class Packets:
    """What ``Cluster.capture`` yields; it fills while the block runs."""

    def __init__(self, recorder: Recorder, plan: Plan, names: Callable[[], Mapping[bytes, str]]) -> None:
        self._recorder = recorder
        self._plan = plan
        self._names = names

    @property
    def records(self) -> Sequence[PacketRecord]:
        """The packets so far, in the order in which they were seen."""
        return self._recorder.records

    def __repr__(self) -> str:
        interfaces = {record.port for record in self.records}
        return f"<Packets: {len(self)} at {len(interfaces)} interfaces>"

    def __len__(self) -> int:
        return len(self._recorder.records)

    def save(
        self, target: str | Path | BinaryIO, *, where: Callable[[PacketRecord], bool] | None = None
    ) -> int:
        """Write a pcapng with interface names, address names and the reason for each packet.

        ``target`` is a path or an open binary file. ``where`` chooses packets; returns how many were written.
        """
        from netsim.capture.pcapng import write_pcapng

        chosen = self.records if where is None else [record for record in self.records if where(record)]
        write_pcapng(target, chosen, self._names(), self._interfaces())
        return len(chosen)

    def _interfaces(self) -> dict[Port, str]:
        """The interfaces that were tapped, with the title of their host."""
        titles = {entry.name: entry.title for entry in self._plan if isinstance(entry, Host)}
        ports = dict.fromkeys(record.port for record in self.records)
        return {port: f"{port.interface} of {titles.get(port.host, port.host)}" for port in ports}
