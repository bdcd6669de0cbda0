"""What travels: frames on wires, and packets inside a host (Linux's skb)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netsim.base.cause import Cause, Notes
from netsim.net.family import IPV4, IPV6, Family
from netsim.wire import icmp, icmp6, ipv4, ipv6

if TYPE_CHECKING:
    from netsim.net.conntrack import Flow
    from netsim.plan.entries import Action


_ERRORS = (icmp.UNREACHABLE, icmp.TIME_EXCEEDED)
_ERROR_TYPES = tuple(bytes([kind]) for kind in _ERRORS)


class Frame(NamedTuple):
    """An Ethernet frame and the notes it has collected.

    ``serial`` is given where the packet starts and stays with it over hops, NAT and encapsulation, so
    that a reader can follow one packet through many captures.
    """

    data: bytes
    notes: Notes
    serial: int


class Packet:
    """A packet inside a host, between two interfaces or between an interface and a socket.

    This class is for IPv4, ``Packet6`` for IPv6.

    ``marked`` is kube-proxy's masquerade mark; ``flow`` its connection-tracking entry, ``reply`` whether
    it travels in the entry's reply direction; ``device`` the interface it came in by, empty when this
    host made it; ``prerouted`` whether the bridge has run the PREROUTING hook already; ``hooked`` whether
    the hooks are to be run at all; ``related`` whether it is an ICMP error about a packet of the flow;
    ``refusal`` what a virtual server that did not take it has said, which the filter rules then do.
    """

    __slots__ = (
        "data", "device", "flow", "hooked", "marked", "notes", "prerouted", "refusal", "related", "reply",
        "serial",
    )  # fmt: skip

    def __init__(self, data: bytes, notes: Notes, serial: int, device: str = "") -> None:
        self.data = data
        self.notes = notes
        self.serial = serial
        self.device = device
        self.marked = False
        self.flow: Flow | None = None
        self.reply = False
        self.related = False
        self.refusal: tuple[Action, Cause] | None = None
        self.prerouted = False
        self.hooked = False

    def pieces(self, mtu: int) -> list[Packet]:
        """The packet itself, or what it is cut into where it does not fit and may be cut."""
        if len(self.data) <= mtu or self.exceeds(mtu):
            return [self]
        cut = ipv4.fragment(self.data, mtu)
        return [Packet(data, self.notes, self.serial, self.device) for data in cut]

    def exceeds(self, mtu: int) -> bool:
        """Whether the packet does not fit and must not be cut here."""
        return len(self.data) > mtu and bool(self.data[6] & 0x40)

    family = 4
    ip: Family = IPV4
    ethertype = b"\x08\x00"
    _rewrite = staticmethod(ipv4.rewrite)

    def sound(self) -> None:
        """Cut the packet to its length; WireError if its header is wrong."""
        self.data = ipv4.trim(self.data)

    def joined(self, whole: bytes, largest: int) -> None:
        """The packet is the whole from now on; the largest of its pieces had so many bytes."""
        self.data = whole

    def hop(self) -> None:
        """One hop less to live."""
        self.data = ipv4.decrement_ttl(self.data)

    def rewritten(
        self,
        *,
        source: bytes | None = None,
        destination: bytes | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
    ) -> bytes:
        """NAT: the packet with other addresses and ports."""
        return self._rewrite(
            self.data,
            source=source,
            destination=destination,
            source_port=source_port,
            destination_port=destination_port,
        )

    @property
    def quoted(self) -> bytes | None:
        """The packet inside an ICMP error, or None for anything else."""
        start = self.header_length
        if self.protocol != ipv4.ICMP or len(self.data) < start + 28 or self.data[start] not in _ERRORS:
            return None
        if not 0x45 <= self.data[start + 8] <= 0x4F:  # version 4, a header of 20 to 60 bytes
            return None
        return self.data[start + 8 :]

    @property
    def is_icmp_error(self) -> bool:
        """Whether it is an ICMP error, cut or not."""
        start = self.header_length
        return self.protocol == ipv4.ICMP and self.data[start : start + 1] in _ERROR_TYPES

    @property
    def source(self) -> bytes:
        return self.data[12:16]

    @property
    def destination(self) -> bytes:
        return self.data[16:20]

    @property
    def protocol(self) -> int:
        return self.data[9]

    @property
    def ttl(self) -> int:
        return self.data[8]

    @property
    def header_length(self) -> int:
        return (self.data[0] & 0x0F) * 4

    @property
    def is_fragment(self) -> bool:
        """Whether it is one piece of several (more fragments, or an offset)."""
        return bool((self.data[6] & 0x3F) | self.data[7])


class Packet6(Packet):
    """An IPv6 packet; what stands behind its header is its payload, extension headers too.

    Its sender may cut it, and who has put it together to look at it; then ``largest`` is the size of the
    largest piece that it came in (Linux ``frag_max_size``), 0 otherwise.
    """

    __slots__ = ("largest",)

    def __init__(self, data: bytes, notes: Notes, serial: int, device: str = "") -> None:
        super().__init__(data, notes, serial, device)
        self.largest = 0

    family = 6
    ip = IPV6
    ethertype = b"\x86\xdd"
    _rewrite = staticmethod(ipv6.rewrite)
    header_length = ipv6.HEADER_LENGTH  # the same for each packet

    def sound(self) -> None:
        self.data = ipv6.trim(self.data)

    def hop(self) -> None:
        self.data = ipv6.decrement_hop_limit(self.data)

    def joined(self, whole: bytes, largest: int) -> None:
        self.data, self.largest = whole, largest

    def exceeds(self, mtu: int) -> bool:
        """ip6_pkt_too_big. Of its own, a host cuts all but TCP segments: there the connection is told."""
        if len(self.data) <= mtu:
            return False
        return not 0 < self.largest <= mtu if self.device else self.protocol == ipv4.TCP

    def pieces(self, mtu: int) -> list[Packet]:
        """ip6_fragment: as small as they came."""
        limit = min(mtu, self.largest or mtu)
        if len(self.data) <= limit or self.exceeds(mtu):
            return [self]
        cut = ipv6.fragment(self.data, limit, self.serial & 0xFFFFFFFF)
        return [Packet6(data, self.notes, self.serial, self.device) for data in cut]

    @property
    def is_fragment(self) -> bool:
        return self.data[6] == ipv6.FRAGMENT

    @property
    def quoted(self) -> bytes | None:
        if self.protocol != ipv6.ICMPV6 or len(self.data) < 96 or self.data[40] not in icmp6.ERRORS:
            return None
        return self.data[48:] if self.data[48] >> 4 == 6 else None

    @property
    def is_icmp_error(self) -> bool:
        return self.protocol == ipv6.ICMPV6 and self.data[40:41] < b"\x80"

    @property
    def source(self) -> bytes:
        return self.data[8:24]

    @property
    def destination(self) -> bytes:
        return self.data[24:40]

    @property
    def protocol(self) -> int:
        return self.data[6]

    @property
    def ttl(self) -> int:
        return self.data[7]
