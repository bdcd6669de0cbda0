"""Dynamic neighbour entries: who has which MAC, and packets that wait for an answer (Linux neigh).

One table serves ARP and the neighbour discovery of IPv6. States and timers follow ``neighbour.c`` with its
defaults: three requests one second apart, then FAILED; an entry is REACHABLE for 30 s, then STALE; a STALE
one that is used is asked after 5 s later, by unicast, and stays in use until three probes went unanswered.
Left out: confirmation by TCP progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from netsim.base.cause import Cause, probe_of
from netsim.net.packet import Packet

RETRANS = 1.0  # net.ipv4.neigh.*.retrans_time_ms
SOLICITS = 3  # mcast_solicit, ucast_solicit
REACHABLE_SECONDS = 30.0  # base_reachable_time_ms
DELAY_SECONDS = 5.0  # delay_first_probe_time
QUEUE_LIMIT = 100  # unres_qlen


class State(Enum):
    """The words of ``ip neigh``."""

    INCOMPLETE = "INCOMPLETE"
    REACHABLE = "REACHABLE"
    STALE = "STALE"
    DELAY = "DELAY"
    PROBE = "PROBE"
    FAILED = "FAILED"


class Told(Enum):
    """What a message about a neighbour was to this host."""

    ASKED_US = "a question for an address of ours"
    ANSWERED_US = "an answer to us"
    OVERHEARD = "neither"


@dataclass(slots=True)
class Entry:
    """One address on one device."""

    device: str
    address: bytes
    state: State = State.INCOMPLETE
    mac: bytes | None = None
    confirmed_at: float = 0.0
    solicits: int = 0
    retry_at: float | None = None
    armed: float | None = None
    queue: list[Packet] = field(default_factory=list)
    router: bool = False  # it has said so, in an advertisement
    probe: Cause | None = None  # the kubelet's, if it is asked because of one

    def deadline(self) -> float | None:
        return self.retry_at


@dataclass(slots=True)
class Solicit:
    """Ask for the address: by broadcast, or straight at ``target`` when an old MAC is checked."""

    entry: Entry
    target: bytes | None


class Neighbours:
    """A host's dynamic entries. It says when to ask; ``Links`` sends the question."""

    __slots__ = ("_arm", "_entries", "_fail", "_send", "_solicit")

    def __init__(
        self,
        *,
        send: Callable[[Packet, str, bytes], None],
        solicit: Callable[[Solicit, float], None],
        fail: Callable[[Packet], None],
        arm: Callable[[object], None],
    ) -> None:
        self._entries: dict[tuple[str, bytes], Entry] = {}
        self._send = send
        self._solicit = solicit
        self._fail = fail
        self._arm = arm

    def entries(self, now: float) -> list[Entry]:
        """All entries, with REACHABLE ones shown STALE once their time is over."""
        for entry in self._entries.values():
            if entry.state is State.REACHABLE and now > entry.confirmed_at + REACHABLE_SECONDS:
                entry.state = State.STALE
        return sorted(self._entries.values(), key=lambda entry: (entry.address, entry.device))

    def knows(self, device: str, address: bytes) -> bool:
        """Whether there is an entry, in whatever state."""
        return (device, address) in self._entries

    def resolve(self, packet: Packet, device: str, address: bytes, now: float) -> bytes | None:
        """The MAC to use now; None when the packet was queued until an answer comes."""
        entry = self._entries.get((device, address))
        if entry is None or entry.state is State.FAILED:
            entry = self._entries[device, address] = Entry(device, address)
        if entry.mac is None:
            entry.probe = probe_of(packet.notes)
            entry.queue.append(packet)
            del entry.queue[:-QUEUE_LIMIT]
            if entry.retry_at is None:
                self._ask(entry, now)
            return None
        if entry.state is State.REACHABLE and now > entry.confirmed_at + REACHABLE_SECONDS:
            entry.state = State.STALE
        if entry.state is State.STALE:
            entry.state = State.DELAY
            entry.probe = probe_of(packet.notes)
            entry.solicits = 0
            entry.retry_at = now + DELAY_SECONDS
            self._arm(entry)
        return entry.mac

    def heard(self, device: str, address: bytes, mac: bytes, now: float, told: Told) -> None:
        """An ARP message told where an address is (arp_process, neigh_update).

        Only a question to us makes a new entry, and only an answer to us confirms an old one; from
        anything else a new MAC is believed, for the time being.
        """
        entry = self._entries.get((device, address))
        if entry is None:
            if told is not Told.ASKED_US:
                return
            entry = self._entries[device, address] = Entry(device, address)
        elif entry.mac == mac and told is not Told.ANSWERED_US:
            return
        entry.mac = mac
        entry.confirmed_at = now
        entry.state = State.REACHABLE if told is Told.ANSWERED_US else State.STALE
        entry.retry_at = None
        queue, entry.queue = entry.queue, []
        for packet in queue:
            self._send(packet, device, mac)

    def advertised(
        self, device: str, address: bytes, mac: bytes | None, now: float,
        *, solicited: bool, override: bool, router: bool,
    ) -> None:  # fmt: skip
        """A neighbour advertisement told it (RFC 4861 section 7.2.5; ndisc_recv_na, neigh_update).

        One without a MAC confirms the known one; one that may not override makes a known other one doubtful.
        """
        entry = self._entries.get((device, address))
        if entry is None or entry.state is State.FAILED:
            return
        told = mac or entry.mac
        if told is None:
            return
        if entry.mac not in (None, told) and not override:
            if entry.state is State.REACHABLE:
                entry.state = State.STALE
            return
        entry.router = router
        self.heard(device, address, told, now, Told.ANSWERED_US if solicited else Told.OVERHEARD)

    def expire(self, entry: Entry, now: float) -> None:
        """No answer within the retransmission time: ``deadline`` has come."""
        if entry.state is State.DELAY:
            entry.state = State.PROBE
        if entry.solicits < SOLICITS:
            self._ask(entry, now)
            return
        entry.state = State.FAILED
        entry.mac = None
        entry.retry_at = None
        queue, entry.queue = entry.queue, []
        for packet in queue:
            self._fail(packet)

    def _ask(self, entry: Entry, now: float) -> None:
        entry.solicits += 1
        entry.retry_at = now + RETRANS
        self._arm(entry)
        self._solicit(Solicit(entry, entry.mac), now)

    def flush(self, device: str) -> None:
        """The device is gone."""
        for key in [key for key in self._entries if key[0] == device]:
            del self._entries[key]
