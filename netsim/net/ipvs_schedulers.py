"""IPVS schedulers: which real server gets a new connection (Linux net/netfilter/ipvs/ip_vs_*.c).

``net.ipvs`` has one scheduler per virtual service and host, tells it when the list of servers changes, and
asks it with each new connection. The list is the kernel's: the server that was added last comes first. A
server of weight 0 takes no new connection. No server is ever overloaded (IP_VS_DEST_F_OVERLOAD): kube-proxy
sets no thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import gcd
from typing import NamedTuple, Protocol

from netsim.plan.entries import Schedule

ACTIVE_COST = 256  # ip_vs.h, ip_vs_dest_conn_overhead: (activeconns << 8) + inactconns
HASH_BITS = 8  # CONFIG_IP_VS_SH_TAB_BITS and _DH_TAB_BITS
GOLDEN_RATIO_32 = 0x61C88647  # linux/hash.h
MAGLEV_SIZE = 4093  # ip_vs_mh.c, primes[CONFIG_IP_VS_MH_TAB_INDEX - 8] with its default 12
MAGLEV_BITS = 6  # IP_VS_MH_TAB_BITS
MAGLEV_KEYS = (2654435761, 2654446892)  # generate_hash_secret
_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


class Counted(NamedTuple):
    """What went through a virtual service or a real server; bytes are those of IP packets."""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0


class Counters:
    """A ``Counted`` that grows (struct ip_vs_counters); "in" is what clients send."""

    __slots__ = Counted._fields

    def __init__(self) -> None:
        self.connections = self.in_packets = self.out_packets = self.in_bytes = self.out_bytes = 0

    def add(self, size: int, *, reply: bool) -> None:
        """Count a packet (ip_vs_in_stats, ip_vs_out_stats)."""
        if reply:
            self.out_packets += 1
            self.out_bytes += size
        else:
            self.in_packets += 1
            self.in_bytes += size

    def read(self) -> Counted:
        return Counted(*(getattr(self, name) for name in Counted._fields))


class Server:
    """A real server of a virtual service on one host, with the connections that it has there."""

    __slots__ = (
        "active", "address", "available", "counters", "inactive", "label", "last_weight", "port", "weight",
    )  # fmt: skip

    def __init__(self, address: bytes, port: int, label: str = "", weight: int = 1) -> None:
        self.address = address
        self.port = port
        self.label = label
        self.weight = weight
        self.last_weight = weight  # the last one that was not 0
        self.active = 0
        self.inactive = 0
        self.available = True  # False once it is deleted
        self.counters = Counters()

    @property
    def connections(self) -> int:
        return self.active + self.inactive


class Opening(NamedTuple):
    """What hashing schedulers look at: the client's address and port, and the address that it asked."""

    source: bytes
    source_port: int
    destination: bytes


class Scheduler(Protocol):
    """See the module's docstring; ``changed`` is also called once at the beginning, with nothing before."""

    def changed(self, before: Sequence[Server], after: Sequence[Server]) -> None: ...

    def pick(self, servers: Sequence[Server], opening: Opening) -> Server | None: ...


class RoundRobin:
    """rr: the next one after the last (ip_vs_rr.c)."""

    def __init__(self) -> None:
        self._last: Server | None = None  # None is the head of the list

    def changed(self, before: Sequence[Server], after: Sequence[Server]) -> None:
        """Where the last one was deleted, the one before it takes its place (ip_vs_rr_del_dest).

        What one change brings is added, at the head, before it deletes (kube-proxy's syncEndpoint).
        """
        last = self._last
        if last is None or last in after:
            return
        earlier = before[: before.index(last)] if last in before else ()
        newcomers = [server for server in after if server not in before]
        left = (server for server in (*reversed(earlier), *reversed(newcomers)) if server in after)
        self._last = next(left, None)

    def pick(self, servers: Sequence[Server], opening: Opening) -> Server | None:
        start = servers.index(self._last) + 1 if self._last is not None else 0
        for server in (*servers[start:], *servers[:start]):
            if server.weight > 0:
                self._last = server
                return server
        return None


class WeightedRoundRobin:
    """wrr: passes over the list with a falling weight that a server must have (ip_vs_wrr.c)."""

    def __init__(self) -> None:
        self._current: Server | None = None  # cl: None is the head of the list
        self._weight = 0  # cw
        self._greatest = 0  # mw
        self._step = 1  # di

    def changed(self, before: Sequence[Server], after: Sequence[Server]) -> None:
        """ip_vs_wrr_init_svc and ip_vs_wrr_dest_changed."""
        self._current = None
        self._step = gcd(*(server.weight for server in after)) or 1
        self._greatest = max((server.weight for server in after), default=0) - (self._step - 1)
        if not self._weight or self._weight > self._greatest:
            self._weight = self._greatest
        elif self._step > 1:
            self._weight = self._weight // self._step * self._step + 1

    def pick(self, servers: Sequence[Server], opening: Opening) -> Server | None:
        """A pass begins behind the last server; where none is heavy enough, a pass for less follows.

        Every weight between 0 and the greatest is asked for once, and then the servers up to the last one
        once more: more passes find nothing.
        """
        if self._greatest <= 0:
            return None
        start = servers.index(self._current) + 1 if self._current is not None else 0
        for _ in range(self._greatest // self._step + 2):
            for server in servers[start:]:
                if server.weight >= self._weight:
                    self._current = server
                    return server
            start = 0
            self._weight -= self._step
            if self._weight <= 0:
                self._weight = self._greatest
        self._current = None
        return None


class _Stateless:
    """The schedulers that look at nothing but weights and connection counts."""

    def __init__(self, choose: Callable[[Sequence[Server]], Server | None]) -> None:
        self._choose = choose

    def changed(self, before: Sequence[Server], after: Sequence[Server]) -> None:
        """Nothing is remembered."""

    def pick(self, servers: Sequence[Server], opening: Opening) -> Server | None:
        return self._choose([server for server in servers if server.weight > 0])


def least_connection(servers: Sequence[Server]) -> Server | None:
    """lc: the least overhead, the first of several (ip_vs_lc.c)."""
    return min(servers, key=_overhead, default=None)


def weighted_least_connection(servers: Sequence[Server]) -> Server | None:
    """wlc: the least overhead for its weight (ip_vs_wlc.c)."""
    return _least_per_weight(servers, _overhead)


def shortest_expected_delay(servers: Sequence[Server]) -> Server | None:
    """sed: the least (active + 1) for its weight (ip_vs_sed.c)."""
    return _least_per_weight(servers, lambda server: server.active + 1)


def never_queue(servers: Sequence[Server]) -> Server | None:
    """nq: the first without an active connection, or else as sed (ip_vs_nq.c)."""
    idle = (server for server in servers if not server.active)
    return next(idle, None) or shortest_expected_delay(servers)


def _overhead(server: Server) -> int:
    return ACTIVE_COST * server.active + server.inactive


def _least_per_weight(servers: Sequence[Server], cost: Callable[[Server], int]) -> Server | None:
    """Compared without fractions, as the kernel does: the first strict minimum of cost / weight."""
    least: Server | None = None
    for server in servers:
        if least is None or cost(least) * server.weight > cost(server) * least.weight:
            least = server
    return least


class _Hashing:
    """The schedulers with a table of slots, filled anew when the list changes.

    A slot whose server has weight 0 by now serves nobody: there is no fallback unless it is asked for.
    """

    def __init__(
        self,
        fill: Callable[[Sequence[Server]], Sequence[Server]],
        slot: Callable[[Opening], int],
    ) -> None:
        self._fill = fill
        self._slot = slot
        self._slots: Sequence[Server] = ()

    def changed(self, before: Sequence[Server], after: Sequence[Server]) -> None:
        self._slots = self._fill(after)

    def pick(self, servers: Sequence[Server], opening: Opening) -> Server | None:
        if not self._slots:
            return None
        server = self._slots[self._slot(opening)]
        return server if server.weight > 0 else None


def source_slots(servers: Sequence[Server]) -> list[Server]:
    """sh: 256 buckets in list order, each server as many in a row as it weighs (ip_vs_sh_reassign)."""
    row = [server for server in servers for _ in range(max(server.weight, 1))]
    return [row[bucket % len(row)] for bucket in range(1 << HASH_BITS)] if row else []


def destination_slots(servers: Sequence[Server]) -> list[Server]:
    """dh: 256 buckets in list order (ip_vs_dh_reassign)."""
    return [servers[bucket % len(servers)] for bucket in range(1 << HASH_BITS)] if servers else []


def maglev_slots(servers: Sequence[Server]) -> list[Server]:
    """mh: each server in turn takes the slot that it likes best of those left (ip_vs_mh_populate)."""
    common = gcd(*(server.last_weight for server in servers))
    if not common:
        return []
    heaviest = max(server.last_weight for server in servers) // common
    shift = max(heaviest.bit_length() - MAGLEV_BITS, 0)
    slots: list[Server | None] = [None] * MAGLEV_SIZE
    at = [_maglev_hash(server.address, server.port, 0) % MAGLEV_SIZE for server in servers]
    skip = [_maglev_hash(server.address, server.port, 1) % (MAGLEV_SIZE - 1) + 1 for server in servers]
    turns = [(s.last_weight // common >> shift) or int(s.last_weight != 0) for s in servers]
    left = MAGLEV_SIZE
    while left:
        for number, server in enumerate(servers):
            for _ in range(min(turns[number], left)):
                while slots[at[number]] is not None:
                    at[number] = (at[number] + skip[number]) % MAGLEV_SIZE
                slots[at[number]] = server
                left -= 1
    return [server for server in slots if server is not None]


def _folded(address: bytes) -> int:
    """An address as one word: of IPv6, its four words exclusive-or-ed (ip_vs_sh_hashkey and its like)."""
    value = 0
    for start in range(0, len(address), 4):
        value ^= int.from_bytes(address[start : start + 4], "big")
    return value


def _hash_32(value: int) -> int:
    """linux/hash.h: the upper bits of the product with the golden ratio."""
    return ((value & _MASK32) * GOLDEN_RATIO_32 & _MASK32) >> (32 - HASH_BITS)


def _maglev_hash(address: bytes, port: int, key: int) -> int:
    """ip_vs_mh_hashkey with offset 0."""
    word = MAGLEV_KEYS[key]
    return hsiphash_u32(port + _folded(address), (word, word))


def hsiphash_u32(value: int, key: tuple[int, int]) -> int:
    """hsiphash of a 32-bit value, as 64-bit kernels have it.

    It is SipHash-1-3, folded to 32 bits (lib/siphash.c, hsiphash_1u32).
    """
    v = [
        0x736F6D6570736575 ^ key[0],
        0x646F72616E646F6D ^ key[1],
        0x6C7967656E657261 ^ key[0],
        0x7465646279746573 ^ key[1],
    ]
    last = 4 << 56 | value & _MASK32
    v[3] ^= last
    _sip_round(v)
    v[0] ^= last
    v[2] ^= 0xFF
    for _ in range(3):
        _sip_round(v)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]) & _MASK32


def _sip_round(v: list[int]) -> None:
    """SIPROUND (linux/siphash.h)."""
    v[0] = v[0] + v[1] & _MASK64
    v[1] = _rotated(v[1], 13) ^ v[0]
    v[0] = _rotated(v[0], 32)
    v[2] = v[2] + v[3] & _MASK64
    v[3] = _rotated(v[3], 16) ^ v[2]
    v[0] = v[0] + v[3] & _MASK64
    v[3] = _rotated(v[3], 21) ^ v[0]
    v[2] = v[2] + v[1] & _MASK64
    v[1] = _rotated(v[1], 17) ^ v[2]
    v[2] = _rotated(v[2], 32)


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK64


def _by_source(opening: Opening) -> int:
    return _hash_32(_folded(opening.source))


def _by_destination(opening: Opening) -> int:
    return _hash_32(_folded(opening.destination))


def _by_source_and_port(opening: Opening) -> int:
    return _maglev_hash(opening.source, opening.source_port, 0) % MAGLEV_SIZE


SCHEDULERS: Mapping[Schedule, Callable[[], Scheduler]] = {
    Schedule.RR: RoundRobin,
    Schedule.WRR: WeightedRoundRobin,
    Schedule.LC: lambda: _Stateless(least_connection),
    Schedule.WLC: lambda: _Stateless(weighted_least_connection),
    Schedule.SED: lambda: _Stateless(shortest_expected_delay),
    Schedule.NQ: lambda: _Stateless(never_queue),
    Schedule.SH: lambda: _Hashing(source_slots, _by_source),
    Schedule.DH: lambda: _Hashing(destination_slots, _by_destination),
    Schedule.MH: lambda: _Hashing(maglev_slots, _by_source_and_port),
}
"""kube-proxy sets the flag mh-port, so that mh hashes the client's port, too."""
