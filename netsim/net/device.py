"""A network interface at run time, and a host's set of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netsim.plan.entries import Interface, InterfaceKind

LOOPBACK = "lo"
LOOPBACK_MTU = 65536
BRIDGE_AGEING = 300.0  # Linux bridge ageing_time


@dataclass(slots=True)
class Device:
    """One interface. ``addresses`` are (packed address, prefix length), the first being primary;
    ``announced`` are others for which it answers ARP."""

    index: int
    name: str
    kind: InterfaceKind | None  # None is the loopback
    mac: bytes
    mtu: int
    plan: Interface | None = None
    addresses: list[tuple[bytes, int]] = field(default_factory=list)
    announced: dict[bytes, None] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)  # of a bridge, in the order in which they came
    learnt: dict[bytes, tuple[str, float]] = field(default_factory=dict)  # of a bridge: MAC -> port, time

    @property
    def master(self) -> str | None:
        return self.plan.master if self.plan is not None else None

    @property
    def hairpin(self) -> bool:
        return self.plan is not None and self.plan.hairpin

    @property
    def primary(self) -> bytes | None:
        """The address that this interface's packets leave with."""
        return self.primary_of(4)

    def all_addresses(self) -> Iterator[bytes]:
        """Those for which it answers a neighbour's question."""
        yield from (address for address, _ in self.addresses)
        yield from self.announced

    def primary_of(self, family: int) -> bytes | None:
        """That of IPv4 packets, or of IPv6 ones."""
        size = 4 if family == 4 else 16
        return next((address for address, _ in self.addresses if len(address) == size), None)

    def nearest(self, destination: bytes) -> bytes | None:
        """Of its IPv6 addresses the one with most leading bits like the destination's, counted within its
        prefix; the first of several (RFC 6724 section 5, rule 8; Linux ipv6_get_saddr_eval)."""
        wanted, best, most = int.from_bytes(destination, "big"), None, -1
        for address, length in self.addresses:
            if len(address) == 16:
                differing = (int.from_bytes(address, "big") ^ wanted).bit_length()
                common = min(128 - differing, length)
                if common > most:
                    best, most = address, common
        return best


def loopback() -> Device:
    """``lo``, as every network namespace has it."""
    own = [(b"\x7f\x00\x00\x01", 8), (bytes(15) + b"\x01", 128)]
    return Device(1, LOOPBACK, None, bytes(6), LOOPBACK_MTU, addresses=own)
