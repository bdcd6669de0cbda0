"""A Kubernetes node in the kernel: a network namespace with a device to Pods and one to everything else.

The test holds their other ends. It sends packets from there, or as the node itself, and watches what leaves
by either device, what the node's own programs would get, and what is refused. Nothing resolves addresses (the
devices are without ARP), and no one answers but the test: the namespace at the other ends has no addresses. A
packet that has gone through after others, by the same processor, says that these are through.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from ipaddress import ip_address, ip_interface
from types import TracebackType
from typing import NamedTuple, Self

from tests.kernel.namespace import Namespace
from tests.kernel.packets import (
    ETHERNET,
    ICMP,
    ICMP6,
    PROTOCOLS,
    UDP,
    Ip,
    Packet,
    Unreachable,
    build,
    frame,
    read,
    read_segment,
)

UPLINK = "eth0"
OWN = ""  # in place of a device: the node's own programs
ETH_P_ALL = 3  # linux/if_ether.h
NETLINK_NETFILTER, NLMSG_HEADER = 12, 16  # linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK = 1, 4
CT_DELETE = 1 << 8 | 2  # linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
IPV6_PKTINFO = struct.Struct("16sI")
STRANGERS: Mapping[int, Ip] = {4: ip_address("203.0.113.254"), 6: ip_address("2001:db8:ff::fe")}
DISCARD = 9
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PATIENCE = 5000  # milliseconds for one packet to go through, on a machine with much else to do
BUFFER = 4 << 20
PARAMETERS = {
    "ipv4__ip_forward": 1,
    "ipv4__icmp_ratelimit": 0,
    "ipv4__icmp_ratemask": 0,
    "ipv4__conf__all__rp_filter": 0,
    "ipv4__conf__default__rp_filter": 0,
    "ipv4__conf__all__send_redirects": 0,
    "ipv4__conf__default__send_redirects": 0,
    "ipv6__conf__all__forwarding": 1,
    "ipv6__conf__default__accept_ra": 0,
    "ipv6__icmp__ratelimit": 0,
}


class Seen(NamedTuple):
    """A packet at a device of the node, or (OWN) that its own programs have got."""

    device: str
    packet: Packet | Unreachable


class NodeAddresses(NamedTuple):
    """What a node has: ``own`` as ``192.0.2.11/24``, ``pods`` as the networks of its Pods."""

    own: tuple[str, ...]
    pods: tuple[str, ...]
    pod_device: str = "cni0"


class KernelNode:
    """The node. Enter it as a context; everything is gone when that is left."""

    def __init__(self, addresses: NodeAddresses, parameters: Mapping[str, int]) -> None:
        self._addresses = addresses
        self._parameters = parameters
        self._stack = ExitStack()
        self._tokens = 0
        self._devices: dict[str, socket.socket] = {}
        self._macs: dict[str, bytes] = {}
        self._own: dict[int, socket.socket] = {}
        self._receivers: list[tuple[socket.socket, int, int]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {min(before)})
            stack.callback(os.sched_setaffinity, 0, before)
            self.namespace, self._outside = Namespace(), Namespace()
            stack.callback(self.namespace.close)
            stack.callback(self._outside.close)
            self._lay()
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pods(self) -> str:
        """The device to Pods."""
        return self._addresses.pod_device

    def owns(self, address: Ip) -> bool:
        """Whether an address is the node's own."""
        own = [ip_interface(text).ip for text in self._addresses.own]
        return address.is_loopback or address in own

    # --- how it is made -------------------------------------------------------------------------------

    def _lay(self) -> None:
        self._outside.set(ipv6__conf__all__disable_ipv6=1, ipv6__conf__default__disable_ipv6=1)
        self.namespace.set(**PARAMETERS)
        lines = ["link set lo up"]
        for device in (UPLINK, self.pods):
            lines += [
                f"link add {device} type veth peer name {device} netns {self._outside.path}",
                f"link set {device} arp off up",
            ]
        lines += [f"address add {text} dev {UPLINK} {_nodad(text)}" for text in self._addresses.own]
        for text in self._addresses.pods:
            gateway = f"{ip_interface(text).ip + 1}/{ip_interface(text).network.prefixlen}"
            lines.append(f"address add {gateway} dev {self.pods} {_nodad(text)}")
        lines += [f"route add default dev {UPLINK}", f"route add ::/0 dev {UPLINK}"]
        self.namespace.run("ip", "-batch", "-", stdin="\n".join(lines), others=(self._outside,))
        ends = "\n".join(f"link set {device} arp off promisc on up" for device in (UPLINK, self.pods))
        self._outside.run("ip", "-batch", "-", stdin=ends)
        self.namespace.set(**self._parameters)

    def _open(self, stack: ExitStack) -> None:
        with self._outside.entered():
            for device in (UPLINK, self.pods):
                self._devices[device] = stack.enter_context(_tap(device))
        with self.namespace.entered():
            for device in (UPLINK, self.pods):
                self._macs[device] = _mac_of(device)
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            self._conntrack = stack.enter_context(netlink)
            self._loopback = stack.enter_context(_tap("lo"))
            for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
                raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
                self._own[version] = stack.enter_context(raw)
                for protocol in (*PROTOCOLS.values(), ICMP if version == 4 else ICMP6):
                    receiver = stack.enter_context(socket.socket(family, socket.SOCK_RAW, protocol))
                    self._receivers.append((_prepared(receiver), version, protocol))

    def load(self, *argv: str, stdin: str) -> None:
        """Load rules with a command that reads them."""
        self.namespace.run(*argv, stdin=stdin)

    def forget_connections(self) -> None:
        """Empty its conntrack table (``conntrack -F``, as a message of ctnetlink).

        A connection whose addresses and ports are another's by now would get a port of its own.
        """
        body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        head = struct.pack("=IHHII", NLMSG_HEADER + len(body), CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
        self._conntrack.send(head + body)
        (error,) = struct.unpack_from("=i", self._conntrack.recv(1024), NLMSG_HEADER)
        assert error == 0, os.strerror(-error)

    # --- packets --------------------------------------------------------------------------------------

    def token(self) -> int:
        """Of one more connection."""
        self._tokens += 1
        return self._tokens

    def send(self, packets: Iterable[Packet], device: str) -> list[Seen]:
        """Give the node packets that come by a device, or (OWN) let it send them; what is seen of them."""
        version = 4
        for packet in packets:
            version = packet.target.version
            self._put(packet, device)
        seen: list[Seen] = []
        for _ in range(2):  # what was refused at the end of its way still has the way back
            seen += self._until_through(version, device)
        return seen

    def _put(self, packet: Packet, device: str) -> None:
        data = build(packet)
        if device != OWN:
            self._devices[device].send(frame(data, self._macs[device], self._macs[device]))
            return
        with suppress(PermissionError):  # what a rule refuses in OUTPUT, the sender is told
            self._own[packet.target.version].sendto(data, (str(packet.target), 0))

    def _until_through(self, version: int, device: str) -> Iterator[Seen]:
        """What is seen until a packet to a stranger, sent last, is."""
        stranger = STRANGERS[version]
        source = stranger - 1 if device != OWN else self._source(version)
        last = Packet(UDP, source, DISCARD, stranger, DISCARD, self.token())
        self._put(last, device)
        waiting = True
        while waiting:
            ready, _, _ = select.select([self._devices[UPLINK]], [], [], PATIENCE / 1000)
            assert ready, "the node forwards nothing any more"
            for seen in self._drain():
                if isinstance(seen.packet, Packet) and seen.packet.target == stranger:
                    waiting = waiting and seen.packet.token != last.token
                else:
                    yield seen

    def _source(self, version: int) -> Ip:
        """An address of the node's own."""
        return next(
            address
            for address in (ip_interface(text).ip for text in self._addresses.own)
            if address.version == version
        )

    def _drain(self) -> Iterator[Seen]:
        """All that has come."""
        for device, tap in (*self._devices.items(), ("lo", self._loopback)):
            for data in _frames(tap):
                packet = read(data)
                # What is on the loopback device is on its way, but what refuses it has been decided.
                if packet is not None and (device != "lo" or isinstance(packet, Unreachable)):
                    yield Seen(device if device != "lo" else OWN, packet)
        for receiver, version, protocol in self._receivers:
            for source, target, segment in _segments(receiver, version):
                packet = read_segment(protocol, source, target, segment)
                if packet is not None:
                    yield Seen(OWN, packet)


def _nodad(text: str) -> str:
    return "nodad" if ":" in text else ""


def _tap(device: str) -> socket.socket:
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind((device, ETH_P_ALL))
    return _prepared(tap)


def _prepared(made: socket.socket) -> socket.socket:
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return made


def _mac_of(device: str) -> bytes:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as asking:
        asking.bind((device, 0))
        return bytes(asking.getsockname()[4])


def _frames(tap: socket.socket) -> Iterator[bytes]:
    """The IP packets that a tap has got, but for those that it has seen going out at its own end."""
    while True:
        try:
            data, (_, ethertype, kind, *_rest) = tap.recvfrom(65535)
        except BlockingIOError:
            return
        if kind != socket.PACKET_OUTGOING and ethertype in (0x0800, 0x86DD):
            yield data[ETHERNET:]


def _segments(receiver: socket.socket, version: int) -> Iterator[tuple[Ip, Ip, bytes]]:
    """Source, destination and transport segment of what a raw socket has got."""
    while True:
        try:
            data, ancillary, _, sender = receiver.recvmsg(65535, 64)
        except BlockingIOError:
            return
        if version == 4:
            length = (data[0] & 15) * 4
            yield ip_address(data[12:16]), ip_address(data[16:20]), data[length:]
        else:
            (target, _) = IPV6_PKTINFO.unpack(ancillary[0][2])
            yield ip_address(sender[0]), ip_address(target), data
