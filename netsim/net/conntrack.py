"""Connection tracking and address translation for one host (Linux nf_conntrack and nf_nat).

A ``Flow`` has the tuple as the first packet had it and the tuple that a reply will have; NAT is nothing
but a reply tuple that is not the mirror of the original one. A flow counts from the moment its first
packet has left the last hook (``confirm``), as in Linux: a packet dropped before leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from netsim.base.address import render_ip
from netsim.base.cause import Cause
from netsim.base.rng import Rng
from netsim.net.conntrack_tuple import Tuple
from netsim.wire import icmp, icmp6, ipv6
from netsim.wire.ipv4 import ICMP, TCP, UDP
from netsim.wire.sctp import SCTP
from netsim.wire.tcp import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from netsim.net.ipvs import Connection

# Linux nf_conntrack_proto_{tcp,udp,icmp}.c, with kube-proxy's --conntrack-tcp-timeout-established (24 h)
# and --conntrack-tcp-timeout-close-wait (1 h).
UDP_TIMEOUT = 30.0
UDP_STREAM_TIMEOUT = 120.0
UDP_STREAM_AFTER = 2.0  # a flow that still talks then is a stream
ICMP_TIMEOUT = 30.0
OTHER_TIMEOUT = 600.0
TCP_UNANSWERED = 300.0  # nf_conntrack_tcp_timeout_unacknowledged: a picked-up connection with one side only
# nf_conntrack_standalone.c: what a machine of more than 4 GB takes by itself.
LIMIT = 262144
GC_INTERVAL = 60.0  # GC_SCAN_INTERVAL_MAX
# nf_nat_core.c: source ports are picked from 1024-65535 when the original one is 1024 or above.
NAT_PORTS = (1024, 65535)
NAT_PORT_TRIES = 128


class TcpState(Enum):
    """The states that ``conntrack -L`` prints for TCP."""

    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT = "FIN_WAIT"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"
    CLOSE = "CLOSE"


TCP_TIMEOUTS = {
    TcpState.SYN_SENT: 120.0,
    TcpState.SYN_RECV: 60.0,
    TcpState.ESTABLISHED: 86400.0,
    TcpState.FIN_WAIT: 120.0,
    TcpState.CLOSE_WAIT: 3600.0,
    TcpState.LAST_ACK: 30.0,
    TcpState.TIME_WAIT: 120.0,
    TcpState.CLOSE: 10.0,
}

_OVER = (TcpState.TIME_WAIT, TcpState.CLOSE)
# tcp_can_early_drop: what the garbage collector takes from a full table.
_CLOSING = (TcpState.FIN_WAIT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, *_OVER)

# (state, flag, is a reply) -> next state, after nf_conntrack_proto_tcp.c's table; other pairs stay.
NEXT: dict[tuple[TcpState, int, bool], TcpState] = {
    (TcpState.SYN_SENT, SYN | ACK, True): TcpState.SYN_RECV,
    (TcpState.SYN_RECV, ACK, False): TcpState.ESTABLISHED,
    (TcpState.SYN_RECV, FIN, False): TcpState.FIN_WAIT,
    (TcpState.SYN_RECV, FIN, True): TcpState.FIN_WAIT,
    (TcpState.ESTABLISHED, FIN, False): TcpState.FIN_WAIT,
    (TcpState.ESTABLISHED, FIN, True): TcpState.FIN_WAIT,
    (TcpState.FIN_WAIT, ACK, True): TcpState.CLOSE_WAIT,
    (TcpState.FIN_WAIT, ACK, False): TcpState.CLOSE_WAIT,
    (TcpState.FIN_WAIT, FIN, True): TcpState.LAST_ACK,
    (TcpState.FIN_WAIT, FIN, False): TcpState.LAST_ACK,
    (TcpState.CLOSE_WAIT, FIN, True): TcpState.LAST_ACK,
    (TcpState.CLOSE_WAIT, FIN, False): TcpState.LAST_ACK,
    (TcpState.LAST_ACK, ACK, False): TcpState.TIME_WAIT,
    (TcpState.LAST_ACK, ACK, True): TcpState.TIME_WAIT,
}


class Flow:
    """One tracked connection. ``why_destination`` and ``why_source`` are the causes of its NAT.

    ``assured`` is conntrack's word for a connection that both sides have really used. ``translations``
    holds what ``netfilter`` has told of its rewrites, by (of the destination, of a reply).
    """

    __slots__ = (
        "assured", "confirmed", "connection", "expires", "original", "reply", "seen_reply", "started",
        "tcp_state", "translations", "why_destination", "why_source",
    )  # fmt: skip

    def __init__(self, original: Tuple, started: float) -> None:
        self.original = original
        self.reply = original.inverse()
        self.started = started
        self.confirmed = False
        self.seen_reply = False
        self.assured = False
        self.tcp_state: TcpState | None = None
        self.expires = 0.0
        self.why_destination: Cause | None = None
        self.why_source: Cause | None = None
        self.translations: dict[tuple[bool, bool], Cause] = {}
        self.connection: Connection | None = None  # that of IPVS, which then chose the destination

    def translated(self, *, reply: bool) -> Tuple:
        """How a packet of this direction looks once both its addresses are rewritten."""
        return (self.original if reply else self.reply).inverse()


class Statistics:
    """What ``conntrack -S`` counts, as far as it counts anything here."""

    __slots__ = ("drop", "early_drop", "insert_failed", "invalid")

    def __init__(self) -> None:
        self.invalid = 0  # packets that belong to no flow and may begin none
        self.insert_failed = 0  # first packets whose tuple another one has taken meanwhile
        self.drop = 0  # packets lost to that, or to a full table
        self.early_drop = 0  # flows that had to make room for new ones


class Conntrack:
    """The table of one host. ``limit`` is net.netfilter.nf_conntrack_max."""

    __slots__ = ("_flows", "_relief_at", "_rng", "_size", "_sweep_at", "_swept_at", "limit", "statistics")

    def __init__(self, rng: Rng) -> None:
        self.limit = LIMIT
        self.statistics = Statistics()
        self._flows: dict[Tuple, tuple[Flow, bool]] = {}
        self._size = 0
        self._rng = rng
        self._sweep_at = 0.0
        self._swept_at = -1.0
        self._relief_at: float | None = None

    def __len__(self) -> int:
        """How many flows there are, as ``conntrack -C`` prints."""
        return self._size

    def __iter__(self) -> Iterator[Flow]:
        """Confirmed flows, oldest first."""
        return (flow for flow, reply in self._flows.values() if not reply)

    def track(self, key: Tuple, flags: int, now: float) -> tuple[Flow, bool] | None:
        """The flow that a packet belongs to or begins, moved on by it, and whether it is a reply.

        None for a packet that is INVALID: a TCP segment or an echo reply of no known flow. A SYN over
        the remains of a closed connection begins a new flow.
        """
        found = self.find(key, now)
        if found is not None and found[0].tcp_state in _OVER and flags & (SYN | ACK | RST | FIN) == SYN:
            self.forget(found[0])
            found = None
        if found is None:
            if not _begins(key, flags):
                self.statistics.invalid += 1
                return None
            found = Flow(key, now), False
        if flags & RST and not found[0].seen_reply:
            # tcp_packet: a connection that is refused leaves nothing behind.
            self.forget(found[0])
        self._refresh(*found, flags, now)
        return found

    def begin(self, key: Tuple, now: float) -> Flow:
        """A new flow of a UDP packet that did not see the flow of another one with the same tuple."""
        flow = Flow(key, now)
        self._refresh(flow, False, 0, now)
        return flow

    def find(self, key: Tuple, now: float) -> tuple[Flow, bool] | None:
        """The flow of a packet and whether the packet is in reply direction."""
        found = self._flows.get(key)
        if found is not None and found[0].expires <= now:
            self.forget(found[0])
            return None
        return found

    def confirm(self, flow: Flow, now: float) -> bool:
        """Enter a new flow; False when another packet of the same tuple was quicker."""
        if self.find(flow.original, now) is not None or self.find(flow.reply, now) is not None:
            self.statistics.insert_failed += 1
            self.statistics.drop += 1
            return False
        if now >= self._sweep_at:
            self._sweep(now)
        flow.confirmed = True
        self._flows[flow.original] = (flow, False)
        self._flows[flow.reply] = (flow, True)
        self._size += 1
        return True

    def forget(self, flow: Flow) -> None:
        """Delete a flow, as ``conntrack -D`` does; nothing happens to another one that has its tuple now."""
        found = self._flows.get(flow.original)
        if found is not None and found[0] is flow:
            del self._flows[flow.original]
            self._flows.pop(flow.reply, None)
            self._size -= 1

    def forget_connection(self, connection: Connection) -> None:
        """Delete the flow of a connection of IPVS that is over."""
        found = self._flows.get(connection.asked)
        if found is not None and found[0].connection is connection:
            self.forget(found[0])

    def has_room(self, now: float) -> bool:
        """Whether one more flow may begin. A full table gives up the oldest flow that is not assured.

        Where there is none, the new flow's packet is lost ("nf_conntrack: table full, dropping packet"),
        and the garbage collector takes assured connections that are closing when it next comes by.
        Source: nf_conntrack_core.c, __nf_conntrack_alloc, early_drop and gc_worker.
        """
        if self._size < self.limit:
            return True
        if self._swept_at != now:
            self._sweep(now)
        if self._relief_at is not None and self._relief_at <= now:
            self._relief_at = None
            for flow in [flow for flow in self if flow.tcp_state in _CLOSING]:
                self.forget(flow)
        if self._size < self.limit:
            return True
        victim = next((flow for flow in self if not flow.assured), None)
        if victim is not None:
            self.forget(victim)
            self.statistics.early_drop += 1
            return True
        if self._relief_at is None:
            self._relief_at = now + GC_INTERVAL
        self.statistics.drop += 1
        return False

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + GC_INTERVAL
        self._swept_at = now
        for flow in [flow for flow in self if flow.expires <= now]:
            self.forget(flow)

    def free_source(self, reply: Tuple, now: float, *, fully_random: bool) -> Tuple:
        """A reply tuple that nobody uses, found by changing the port that replies will be sent to.

        ``fully_random`` starts with a random port (NF_NAT_RANGE_PROTO_RANDOM_FULLY).
        """
        if not fully_random and self.find(reply, now) is None:
            return reply
        for _ in range(NAT_PORT_TRIES):
            candidate = reply._replace(destination_port=self._rng.between(*NAT_PORTS))
            if self.find(candidate, now) is None:
                return candidate
        return reply

    @staticmethod
    def _refresh(flow: Flow, reply: bool, flags: int, now: float) -> None:
        """A packet of the flow passed: move its state and push its expiry.

        What it does depends on whether there was a reply before it.
        """
        protocol = flow.original.protocol
        if protocol == TCP:
            _refresh_tcp(flow, reply, flags, now)
        elif protocol == UDP:
            flow.assured = flow.assured or (flow.seen_reply and now > flow.started + UDP_STREAM_AFTER)
            flow.expires = now + (UDP_STREAM_TIMEOUT if flow.assured else UDP_TIMEOUT)
        else:
            flow.expires = now + (ICMP_TIMEOUT if protocol in (ICMP, ipv6.ICMPV6) else OTHER_TIMEOUT)
        flow.seen_reply = flow.seen_reply or reply


def _refresh_tcp(flow: Flow, reply: bool, flags: int, now: float) -> None:
    """nf_conntrack_tcp_packet: a SYN that is sent again does not make an attempt live longer."""
    before = flow.tcp_state
    state = _tcp_state(flow, reply=reply, flags=flags)
    seconds = TCP_TIMEOUTS[state]
    if not flow.seen_reply:
        if before is state is TcpState.SYN_SENT:
            return
        if state is TcpState.ESTABLISHED:
            seconds = min(seconds, TCP_UNANSWERED)
    elif state is TcpState.ESTABLISHED and before in (TcpState.SYN_RECV, TcpState.ESTABLISHED):
        flow.assured = True
    flow.expires = now + seconds


def _begins(key: Tuple, flags: int) -> bool:
    """Whether a packet may be the first of a flow: not an answer, not an end."""
    if key.protocol == TCP:
        return not flags & (RST | FIN) and flags & (SYN | ACK) in (SYN, ACK)
    return key.protocol not in (ICMP, ipv6.ICMPV6) or not key.destination_port


def _tcp_state(flow: Flow, *, reply: bool, flags: int) -> TcpState:
    state = flow.tcp_state
    if state is None:  # an ACK picks up a connection that began before (nf_conntrack_tcp_loose)
        state = TcpState.SYN_SENT if flags & SYN else TcpState.ESTABLISHED
    elif flags & RST:
        state = TcpState.CLOSE
    elif flags & SYN:
        state = NEXT.get((state, flags & (SYN | ACK), reply), state)
    elif flags & FIN:
        state = NEXT.get((state, FIN, reply), state)
    elif flags & ACK:
        state = NEXT.get((state, ACK, reply), state)
    flow.tcp_state = state
    return state


_ECHOES = {
    ICMP: (icmp.ECHO_REQUEST, icmp.ECHO_REPLY),
    ipv6.ICMPV6: (icmp6.ECHO_REQUEST, icmp6.ECHO_REPLY),
}
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", SCTP: "sctp", ipv6.ICMPV6: "icmpv6"}


def render_conntrack(flows: Iterator[Flow], now: float) -> str:
    """The text of ``conntrack -L``."""
    return "".join(f"{_line(flow, now)}\n" for flow in flows if flow.expires > now)


def _line(flow: Flow, now: float) -> str:
    protocol = flow.original.protocol
    name = NAMES.get(protocol, "unknown")
    state = f"{flow.tcp_state.value} " if flow.tcp_state is not None else ""
    unreplied = "" if flow.seen_reply else "[UNREPLIED] "
    assured = "[ASSURED] " if flow.assured else ""
    asks, answers = _direction(flow.original, reply=False), _direction(flow.reply, reply=True)
    return (
        f"{name:<8} {protocol} {int(flow.expires - now)} {state}{asks} {unreplied}{answers} "
        f"{assured}mark=0 use=1"
    )


def _direction(item: Tuple, *, reply: bool) -> str:
    addresses = f"src={render_ip(item.source)} dst={render_ip(item.destination)}"
    if item.protocol in _ECHOES:
        identifier = item.source_port or item.destination_port
        return f"{addresses} type={_ECHOES[item.protocol][reply]} code=0 id={identifier}"
    if item.protocol in (TCP, UDP, SCTP):
        return f"{addresses} sport={item.source_port} dport={item.destination_port}"
    return addresses


def render_statistics(counted: Statistics) -> str:
    """The text of ``conntrack -S`` on a machine with one processor; Linux counts no more in found and insert
    what these words once meant."""
    return (
        f"cpu=0   \tfound=0 invalid={counted.invalid} insert=0 insert_failed={counted.insert_failed} "
        f"drop={counted.drop} early_drop={counted.early_drop} error=0 search_restart=0 clash_resolve=0 "
        "chaintoolong=0 \n"
    )
