"""The sim plane: applies a plan, carries frames over links, and keeps time.

A host is a row (its plan entries) until something reaches it; then a ``Stack`` is built from the row. A
broadcast question for somebody else's address does not count as reaching it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from netsim.base.address import BROADCAST, Mac, render_ip
from netsim.base.errors import GaveUp, PlanError, UsageError
from netsim.base.rng import Rng
from netsim.base.rule_counts import RuleCounts
from netsim.capture.record import PacketRecord, Recorder
from netsim.net.conntrack import Conntrack, Flow
from netsim.net.device import LOOPBACK
from netsim.net.fib import Route
from netsim.net.packet import Frame
from netsim.net.stack import Stack
from netsim.net.tables import Tables
from netsim.plan.delta import BUILD_ORDER, Delta
from netsim.plan.entries import (
    Address,
    Announcement,
    Entry,
    Host,
    HostName,
    Interface,
    Key,
    Link,
    Port,
    Scope,
    VirtualServer,
)
from netsim.planes.sim.faults import PlacedFault, WireFaults
from netsim.planes.sim.host import SimHost
from netsim.planes.sim.placing import SCOPED, Scoped, give, give_scoped, take, take_scoped
from netsim.planes.sim.scheduler import Handle, Scheduler, SimTask
from netsim.programs.host import Host as ProgramHost
from netsim.programs.host import NeighbourView
from netsim.wire import ndp

if TYPE_CHECKING:
    from netsim.net.ipvs import ConnectionRow, ServiceRow

T = TypeVar("T")
_RANK = {kind: rank for rank, kind in enumerate(BUILD_ORDER)}
PUMP_LIMIT = 86400.0  # virtual seconds that one call may take
_ARP_TARGET = slice(38, 42)
_ARP = b"\x08\x06"


class _Row:
    """One host: its plan entries and, once it was reached, its stack."""

    __slots__ = ("armed", "entries", "host", "sim", "stack", "timer", "views")

    def __init__(self, host: Host, sim: SimHost) -> None:
        self.host = host
        self.sim = sim
        self.views: list[SimHost] = []
        self.entries: dict[Key, Entry] = {}
        self.stack: Stack | None = None
        self.armed: float | None = None
        self.timer: Handle | None = None


class _Flight(NamedTuple):
    """Frames that arrive at one time, as one event: a switch floods a frame to a thousand ports. ``sequence``
    is the event's number; as long as it is the last, nothing can come between its frames and one more."""

    when: float
    sequence: int
    frames: list[tuple[Port, Frame]]

    def is_joined(self, when: float, sequence: int) -> bool:
        """Whether a frame that arrives at ``when`` may be one more."""
        return when == self.when and sequence == self.sequence


class SimPlane:
    """All hosts, links and time of one simulation."""

    def __init__(self, rng: Rng) -> None:
        self.scheduler = Scheduler()
        self._rng = rng
        self._rows: dict[HostName, _Row] = {}
        self._groups: dict[Scope, Tables] = {}
        self._entries: dict[Key, Entry] = {}
        self._wires: dict[tuple[str, str], tuple[Port, float]] = {}
        self._recorders: list[Recorder] = []
        self._faults = WireFaults()
        self._serials = 0
        self._flight = _Flight(-1.0, -1, [])

    @property
    def now(self) -> float:
        return self.scheduler.now

    @property
    def entries(self) -> Mapping[Key, Entry]:
        """The plan as it was applied."""
        return self._entries

    # --- the plan ------------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> None:
        """Change the network. Entries of a host that goes with the same delta go silently with it."""
        leaving = {key[1] for key in delta.remove if key[0] == "host"}
        for key in delta.remove:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self._remove(entry, host_leaves=len(key) > 1 and key[1] in leaving)
        for entry in sorted(delta.put, key=lambda entry: _RANK[entry.key[0]]):
            old = self._entries.get(entry.key)
            self._entries[entry.key] = entry
            self._put(entry, old)

    def _put(self, entry: Entry, old: Entry | None) -> None:
        match entry:
            case Host():
                self._put_host(entry)
            case Link():
                self._wires[entry.a.host, entry.a.interface] = (entry.b, entry.latency)
                self._wires[entry.b.host, entry.b.interface] = (entry.a, entry.latency)
                self._faults.wires_changed()
            case Interface() | Address():
                row = self._row(entry.host)
                row.entries[entry.key] = entry
                if row.stack is not None:
                    give(row.stack, entry)
            case Announcement():
                self._put_announcement(entry, old)
            case _ if isinstance(entry, SCOPED):
                self._put_scoped(entry, old)

    def _put_host(self, entry: Host) -> None:
        row = self._rows.get(entry.name)
        if row is None:
            sim = SimHost(self, entry.name, self._rng.derive(f"host {entry.name}"))
            self._rows[entry.name] = _Row(entry, sim)
            return
        if row.host.groups != entry.groups:
            raise PlanError(f"host {entry.name} cannot change its groups while it stands")
        row.host = entry
        if row.stack is not None:
            row.stack.put_host(entry)

    def _put_announcement(self, entry: Announcement, old: Entry | None) -> None:
        """A host that is to announce an address has something to say from now on: it is a row no more."""
        self._row(entry.host).entries[entry.key] = entry
        stack = self.stack(entry.host)
        stack.put_announcement(entry)
        if old is None:
            stack.announce(entry, self.now)
            self.flush(entry.host)

    def _put_scoped(self, entry: Scoped, old: Entry | None) -> None:
        if entry.on.startswith("@"):
            tables = self._groups.setdefault(entry.on, Tables())
        else:
            row = self._row(HostName(entry.on))
            row.entries[entry.key] = entry
            if row.stack is None:
                return
            tables = row.stack.tables
        if old is not None and not isinstance(entry, VirtualServer):
            take_scoped(tables, old)
        give_scoped(tables, entry)

    def _remove(self, entry: Entry, *, host_leaves: bool) -> None:
        match entry:
            case Host():
                row = self._rows[entry.name]
                for sim in (row.sim, *row.views):
                    sim.stop()
                del self._rows[entry.name]
                if row.timer is not None:
                    row.timer.cancel()
            case Link():
                self._wires.pop((entry.a.host, entry.a.interface), None)
                self._wires.pop((entry.b.host, entry.b.interface), None)
                self._faults.wires_changed()
            case Interface() | Address() | Announcement():
                row_or_none = self._rows.get(entry.host)
                if row_or_none is not None and not host_leaves:
                    row_or_none.entries.pop(entry.key, None)
                    if row_or_none.stack is not None:
                        take(row_or_none.stack, entry)
            case _ if isinstance(entry, SCOPED):
                self._remove_scoped(entry)

    def _remove_scoped(self, entry: Scoped) -> None:
        if entry.on.startswith("@"):
            take_scoped(self._groups[entry.on], entry)
            return
        row = self._rows.get(HostName(entry.on))
        if row is not None:
            row.entries.pop(entry.key, None)
            if row.stack is not None:
                take_scoped(row.stack.tables, entry)

    # --- hosts ---------------------------------------------------------------------------------------

    def _row(self, name: HostName) -> _Row:
        row = self._rows.get(name)
        if row is None:
            raise UsageError(f"there is no host {name}")
        return row

    def host(self, name: HostName) -> ProgramHost:
        """The host as programs see it."""
        return self._row(name).sim

    def view(self, name: HostName, hostname: str) -> SimHost:
        """Another set of files and processes on a host's stack, as a hostNetwork Pod has on its node."""
        row = self._row(name)
        sim = SimHost(self, name, row.sim.rng.derive(f"view {hostname}"))
        sim.hostname = hostname
        row.views.append(sim)
        return sim

    def close_view(self, view: ProgramHost) -> None:
        """Stop what runs in a view and forget it."""
        assert isinstance(view, SimHost)
        view.stop()
        row = self._rows.get(view.plan_name)
        if row is not None and view in row.views:
            row.views.remove(view)

    def start(
        self, host: ProgramHost, program: Callable[[ProgramHost], Coroutine[Any, Any, T]], title: str
    ) -> SimTask[T]:
        """Run a coroutine on a host, or a view of it, as a process; ``title`` is its command line."""
        assert isinstance(host, SimHost)
        return host.process(program(host), title)

    def stack(self, name: HostName) -> Stack:
        """The host's stack, built from its row on first use."""
        row = self._row(name)
        if row.stack is None:
            shared = [self._groups.setdefault(group, Tables()) for group in row.host.groups]
            stack = Stack(row.host, shared, row.sim.rng.derive("stack"), self._serial)
            for entry in sorted(row.entries.values(), key=lambda entry: _RANK[entry.key[0]]):
                if isinstance(entry, Interface | Address | Announcement):
                    give(stack, entry)
                else:
                    give_scoped(stack.tables, entry)
            row.stack = stack
        return row.stack

    def _serial(self) -> int:
        self._serials += 1
        return self._serials

    def stop(self) -> None:
        """Cancel every program on every host."""
        for row in self._rows.values():
            for sim in (row.sim, *row.views):
                sim.stop()

    # --- frames --------------------------------------------------------------------------------------

    def flush(self, name: HostName) -> None:
        """Carry away what a stack has emitted, wake its sockets' programs, and re-arm its timer."""
        row = self._rows.get(name)
        if row is not None and row.stack is not None:
            self._drain(name, row, row.stack)

    def _drain(self, name: HostName, row: _Row, stack: Stack) -> None:
        links, sockets, faults = stack.links, stack.sockets, self._faults.placed
        while links.emitted or sockets.woken:
            emitted, links.emitted = links.emitted, []
            for device, outbound, frame in emitted:
                late: float | None = 0.0
                if faults and outbound:
                    frame, late = self._judged(row, device, frame)
                if self._recorders:
                    self._record(name, device, outbound, frame)
                if outbound and late is not None:
                    self._carry(name, device, frame, late)
            woken, sockets.woken = sockets.woken, []
            for socket in woken:
                for sim in (row.sim, *row.views):
                    sim.woken(socket)
        if stack.netfilter.lost:
            self._tell_lost(name, stack)
        self._arm(name, row, stack)

    def _judged(self, row: _Row, device: str, frame: Frame) -> tuple[Frame, float | None]:
        """What the fault rules make of a frame that enters a wire; see ``WireFaults.judge``."""
        wire = self._wires.get((row.host.name, device))
        if wire is None:
            return frame, 0.0
        return self._faults.judge(row.host.title, Port(row.host.name, device), wire[0], frame)

    def _tell_lost(self, name: HostName, stack: Stack) -> None:
        """Let captures say of packets that a rule or a fault dropped inside of a host why they end there."""
        for packet in stack.netfilter.lost:
            for recorder in self._recorders:
                recorder.amend(name, packet.serial, packet.notes, self.now)
        stack.netfilter.lost.clear()

    def _carry(self, name: HostName, device: str, frame: Frame, late: float) -> None:
        scheduler, wire = self.scheduler, self._wires.get((name, device))
        if wire is None:
            if device == LOOPBACK:
                scheduler.call_at(scheduler.now, partial(self._arrive, name, LOOPBACK, frame))
            return
        port, latency = wire
        when = scheduler.now + latency + late
        if latency and self._flight.is_joined(when, scheduler.sequence):
            self._flight.frames.append((port, frame))
            return
        frames = [(port, frame)]
        scheduler.call_at(when, partial(self._land, frames))
        self._flight = _Flight(when, scheduler.sequence, frames)

    def _land(self, frames: Iterable[tuple[Port, Frame]]) -> None:
        for port, frame in frames:
            self._arrive(*port, frame)

    def _arrive(self, name: HostName, device: str, frame: Frame) -> None:
        row = self._rows.get(name)
        if row is None:
            return
        if self._recorders:
            self._record(name, device, False, frame)
        stack = row.stack
        if stack is None:
            if _is_for_another(row, device, frame.data) and not self._shares(row, frame.data):
                return
            stack = self.stack(name)
        elif stack.links.ignores(device, frame.data):
            return
        stack.receive(device, frame, self.scheduler.now)
        self._drain(name, row, stack)

    def _shares(self, row: _Row, data: bytes) -> bool:
        """Whether a question is for an address that the host shares with its groups."""
        return data[12:14] == _ARP and any(
            ("interface", row.host.name, self._groups[group].addresses.get(data[_ARP_TARGET], ""))
            in row.entries
            for group in row.host.groups
            if group in self._groups
        )

    def _arm(self, name: HostName, row: _Row, stack: Stack) -> None:
        deadline = stack.deadline()
        if deadline is None or (row.armed is not None and row.armed <= deadline):
            return
        if row.timer is not None:
            row.timer.cancel()
        row.armed = deadline
        row.timer = self.scheduler.call_at(deadline, partial(self._expire, name, row, stack))

    def _expire(self, name: HostName, row: _Row, stack: Stack) -> None:
        row.armed = None
        stack.expire(self.scheduler.now)
        self._drain(name, row, stack)

    # --- faults --------------------------------------------------------------------------------------

    def put_fault(self, placed: PlacedFault) -> None:
        """Let a fault rule stand on its wires, behind those that stand there."""
        self._faults.put(placed)

    def remove_fault(self, placed: PlacedFault) -> None:
        """Take it back; what is late by it still comes late."""
        self._faults.remove(placed)

    # --- captures ------------------------------------------------------------------------------------

    @contextmanager
    def recording(self, recorder: Recorder) -> Iterator[Recorder]:
        """Feed a recorder while the block runs."""
        self._recorders.append(recorder)
        try:
            yield recorder
        finally:
            self._recorders.remove(recorder)

    def _record(self, name: HostName, device: str, outbound: bool, frame: Frame) -> None:
        record = PacketRecord(
            self.scheduler.now, Port(name, device), outbound, frame.data, frame.notes, frame.serial
        )
        for recorder in self._recorders:
            recorder.record(record)

    def call_at(self, when: float, call: Callable[[], None], *, background: bool = False) -> Handle:
        """Call at a virtual time; the handle cancels. ``background``: no ``pump`` waits for what it does."""
        return self.scheduler.call_at(max(when, self.now), call, background=background)

    # --- time ----------------------------------------------------------------------------------------

    def pump(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let virtual time pass until the coroutine has its result.

        GaveUp when nothing will ever give it one, or a virtual day has not. Ctrl-C reaches the coroutine as
        KeyboardInterrupt where it waits, so that it can say what it has; then this raises it.
        """
        task = self.scheduler.spawn(coroutine, "pump")
        task.watch()
        try:
            ended = self.scheduler.run(lambda: task.done, self.now + PUMP_LIMIT, foreground=True)
        except KeyboardInterrupt as interrupt:
            task.interrupt(interrupt)
            raise
        finally:
            if not task.done:
                task.cancel()
        if not ended:
            raise GaveUp(self.now, asleep=self.scheduler.idle)
        return task.result()

    def pump_until(self, reached: Callable[[], bool], limit: float) -> bool:
        if self.scheduler.run(reached, limit):
            return True
        self.scheduler.now = max(self.now, limit)
        return reached()

    # --- what tables show ----------------------------------------------------------------------------

    def peer_index(self, name: HostName, device: str) -> int | None:
        """The interface index at the other end of a veth pair, as ``ip addr`` prints ``@if``."""
        wire = self._wires.get((name, device))
        if wire is None:
            return None
        peer = self._rows.get(wire[0].host)
        if peer is None:
            return None
        if peer.stack is not None:
            found = peer.stack.links.devices.get(wire[0].interface)
            return found.index if found is not None else None
        names = [entry.name for entry in peer.entries.values() if isinstance(entry, Interface)]
        return names.index(wire[0].interface) + 2

    def routes(self, name: HostName, family: int = 4) -> list[Route]:
        """The host's own routes and its groups', without those that its own ones override."""
        return self.stack(name).routes(family)

    def neighbours(self, name: HostName) -> tuple[NeighbourView, ...]:
        """Dynamic and permanent neighbours, by address, those of IPv4 first."""
        row, stack = self._row(name), self.stack(name)
        found = [
            (entry.address, NeighbourView(
                render_ip(entry.address), entry.device, Mac(entry.mac) if entry.mac else None,
                entry.state.value, entry.router,
            ))
            for entry in stack.links.neighbours.entries(self.now)
        ]  # fmt: skip
        for tables in (stack.tables, *(self._groups[group] for group in row.host.groups)):
            found += [
                (address, NeighbourView(render_ip(address), device, Mac(mac), "PERMANENT"))
                for (device, address), (mac, _) in tables.neighbours.items()
                if not stack.is_local(address)
            ]
        found.sort(key=lambda item: (len(item[0]), item[0], item[1].device))
        return tuple(view for _, view in found)

    def forwarding_entries(self, name: HostName) -> tuple[tuple[Mac, str, str], ...]:
        """VXLAN entries as ``bridge fdb`` shows them: (MAC, device, destination), by device and MAC."""
        row, stack = self._row(name), self.stack(name)
        found: dict[tuple[str, bytes], bytes] = {}
        for tables in (*(self._groups[group] for group in row.host.groups), stack.tables):
            found.update({key: destination for key, (destination, _) in tables.fdb.items()})
        return tuple(
            (Mac(mac), device, render_ip(destination))
            for (device, mac), destination in sorted(found.items())
            if not stack.is_local(destination)
        )

    def learnt_entries(self, name: HostName) -> tuple[tuple[Mac, str, str], ...]:
        """What bridges have learnt: (MAC, port, bridge), by bridge and MAC."""
        devices = self.stack(name).links.devices.values()
        return tuple(
            (Mac(mac), port, device.name)
            for device in devices
            for mac, (port, _) in sorted(device.learnt.items())
        )

    def virtual_services(self, name: HostName) -> list[ServiceRow]:
        """What IPVS has on the host, with its connections there."""
        return self.stack(name).netfilter.virtual_services(self.now)

    def virtual_connections(self, name: HostName) -> list[ConnectionRow]:
        """The connections through IPVS on the host, and which clients it remembers."""
        return self.stack(name).netfilter.virtual_connections(self.now)

    def rule_counts(self, name: HostName, family: int = 4) -> RuleCounts:
        """How often the host's tables nat and filter were asked, and for what."""
        return self.stack(name).netfilter.rule_counts(family)

    def tracked(self, name: HostName) -> Conntrack | None:
        """The host's connection table; None as long as nothing has reached it."""
        stack = self._row(name).stack
        return stack.netfilter.conntrack if stack is not None else None

    def flows(self, name: HostName) -> Iterator[Flow]:
        """The host's connection-tracking entries, oldest first."""
        return iter(self.stack(name).netfilter.conntrack)


def _is_for_another(row: _Row, device: str, data: bytes) -> bool:
    """Whether a frame is one that this row would not look at: another's MAC, or asking for its address."""
    entries = row.entries
    interface = entries.get(("interface", row.host.name, device))
    if not isinstance(interface, Interface) or interface.master:
        return False
    if ndp.is_group(data[:6]):
        if ndp.kind_of_frame(data) != ndp.SOLICITATION:
            return True
        target = ndp.target_of_frame(data)
    elif data[:6] != BROADCAST:
        return data[:6] != interface.mac
    elif data[12:14] != _ARP:
        return False
    else:
        target = data[_ARP_TARGET]
    return not any(
        isinstance(entry, Address) and entry.address.ip.packed == target for entry in entries.values()
    )
