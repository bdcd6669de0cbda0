"""What travels: frames on wires, and packets inside a host (Linux's skb)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netsim.base.cause import Cause, Notes
from netsim.wire import ipv4

if TYPE_CHECKING:
    from netsim.net.conntrack import Flow
    from netsim.plan.entries import Action


class Frame(NamedTuple):
    """An Ethernet frame and the notes it has collected.

    ``serial`` is given where the packet starts and stays with it over hops, NAT and encapsulation, so
    that a reader can follow one packet through many captures.
    """

    data: bytes
    notes: Notes
    serial: int


class Packet:
    """An IPv4 packet inside a host, between two interfaces or between an interface and a socket.

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
        """The packet itself, or what it is cut into where it does not fit."""
        if len(self.data) <= mtu:
            return [self]
        cut = ipv4.fragment(self.data, mtu)
        return [Packet(data, self.notes, self.serial, self.device) for data in cut]

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

    @property
    def dont_fragment(self) -> bool:
        return bool(self.data[6] & 0x40)
