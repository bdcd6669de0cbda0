"""Layer 2 of a host: devices, ARP and neighbour discovery, bridging (with br_netfilter) and VXLAN.

``Stack`` hands packets down with a next hop and gets packets and frames handed up; frames for wires leave
through ``emitted``, which a plane drains.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from netsim.base.address import BROADCAST, ZERO_MAC, render_ip, render_mac
from netsim.base.cause import Cause, Note, Notes, Stage, probe_of
from netsim.base.errors import WireError
from netsim.net.device import BRIDGE_AGEING, LOOPBACK, Device, loopback
from netsim.net.neighbour import Neighbours, Solicit, Told
from netsim.net.packet import Frame, Packet, Packet6
from netsim.net.tables import Tables
from netsim.plan.entries import Interface, InterfaceKind, Vxlan
from netsim.wire import arp, ethernet, ipv6, ndp, vxlan
from netsim.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4

# Linux udp_flow_src_port: a hash of the inner flow, scaled into net.ipv4.ip_local_port_range.
VXLAN_SOURCE_PORTS = (32768, 60999)
_IPV4 = ETHERTYPE_IPV4.to_bytes(2, "big")
_ARP = ETHERTYPE_ARP.to_bytes(2, "big")
_ARP_SENDER, _ARP_TARGET = slice(28, 32), slice(38, 42)  # the protocol addresses, in an Ethernet frame


class Emitted(NamedTuple):
    """A frame seen on a device. ``outbound`` frames of wires and of ``lo`` are to be delivered."""

    device: str
    outbound: bool
    frame: Frame


class Upper(NamedTuple):
    """What layer 2 asks of the layers above it."""

    packet_in: Callable[[Packet, float], None]  # a packet for this host's IP layer
    bridged: Callable[[Packet, bool, float], str]  # br_netfilter: what to do with a bridged packet
    unreachable: Callable[[Packet], None]  # no neighbour answered for this packet
    tunnel: Callable[[Device, bytes, Frame, bytes, int], None]  # send an encapsulated frame
    serial: Callable[[], int]
    arm: Callable[[object], None]
    is_local: Callable[[bytes], bool]


BRIDGE_ON, ROUTE, DROP = "bridge", "route", "drop"


class Links:
    """The devices of one host and what happens on them."""

    def __init__(self, title: str, tables: Sequence[Tables], upper: Upper) -> None:
        self.devices: dict[str, Device] = {LOOPBACK: loopback()}
        self.emitted: list[Emitted] = []
        self.neighbours = Neighbours(
            send=self._send_resolved, solicit=self._solicit, fail=upper.unreachable, arm=upper.arm
        )
        self.bridge_netfilter = False
        self.forwarding = False
        self._tunnels: dict[str, Vxlan] = {}
        self._title = title
        self._tables = tables
        self._upper = upper
        self._next_index = 2
        self._now = 0.0

    # --- devices -------------------------------------------------------------------------------------

    def put_device(self, plan: Interface) -> None:
        """Add an interface, or change one in place."""
        device = self.devices.get(plan.name)
        if device is None:
            device = Device(self._next_index, plan.name, plan.kind, bytes(plan.mac), plan.mtu)
            self._next_index += 1
            if plan.kind is InterfaceKind.BRIDGE:
                device.ports = [port.name for port in self.devices.values() if port.master == plan.name]
            self.devices[plan.name] = device
        elif device.master is not None and device.master != plan.master:
            self._leave_bridge(device)
        device.plan, device.kind, device.mac, device.mtu = plan, plan.kind, bytes(plan.mac), plan.mtu
        if plan.vxlan is not None:
            self._tunnels[plan.name] = plan.vxlan
        bridge = self.devices.get(plan.master or "")
        if bridge is not None and plan.name not in bridge.ports:
            bridge.ports.append(plan.name)

    def remove_device(self, name: str) -> None:
        device = self.devices.pop(name, None)
        if device is not None:
            self._leave_bridge(device)
            self._tunnels.pop(name, None)
            self.neighbours.flush(name)

    def _leave_bridge(self, device: Device) -> None:
        bridge = self.devices.get(device.master or "")
        if bridge is not None:
            bridge.ports.remove(device.name)
            bridge.learnt = {m: seen for m, seen in bridge.learnt.items() if seen[0] != device.name}

    # --- frames in -----------------------------------------------------------------------------------

    def receive(self, name: str, frame: Frame, now: float) -> None:
        """A frame came in from a wire, or around through ``lo``."""
        self._now = now
        device = self.devices.get(name)
        if device is None:
            return
        if device.master is None:
            self._frame_in(device, frame, now)
            return
        bridge = self.devices.get(device.master)
        if bridge is not None:
            self._bridge_in(bridge, device, frame, now)

    def ignores(self, name: str, data: bytes) -> bool:
        """Whether a frame is talk about neighbours that are none of ours: most that a flood brings."""
        if not data[0] & 1:  # not to a group
            return False
        device = self.devices.get(name)
        if device is None or device.master is not None:
            return False
        if ndp.is_group(data[:6]):
            return not _listens(device, data[:6])
        if data[12:14] != _ARP or len(data) < _ARP_TARGET.stop:
            return False
        if self.neighbours.knows(name, data[_ARP_SENDER]):
            return False
        target = data[_ARP_TARGET]
        return target not in device.announced and not self._upper.is_local(target)

    def _frame_in(self, device: Device, frame: Frame, now: float) -> None:
        """A frame for this host itself, if its destination says so."""
        data = frame.data
        destination = data[:6]
        if device.name != LOOPBACK and destination not in (device.mac, BROADCAST):
            if _listens(device, destination) and ndp.kind_of_frame(data):
                self._ndp_in(device, frame, now)
            return
        kind = data[12:14]
        if kind == _IPV4:
            self._upper.packet_in(Packet(data[14:], frame.notes, frame.serial, device.name), now)
        elif kind == Packet6.ethertype:
            if ndp.kind_of_frame(data):
                self._ndp_in(device, frame, now)
            else:
                self._upper.packet_in(Packet6(data[14:], frame.notes, frame.serial, device.name), now)
        elif kind == _ARP:
            self._arp_in(device, data[14:], frame, now)

    def _arp_in(self, device: Device, data: bytes, frame: Frame, now: float) -> None:
        try:
            message = arp.parse(data)
        except WireError:
            return
        told = Told.OVERHEARD
        if self._answers_for(message.target_ip, device):
            told = Told.ANSWERED_US if message.operation == arp.REPLY else Told.ASKED_US
        self.neighbours.heard(device.name, message.sender_ip, message.sender_mac, now, told)
        asked = message.operation == arp.REQUEST
        if told is not Told.ASKED_US and not (asked and message.target_ip in device.announced):
            return
        reply = arp.Arp(arp.REPLY, device.mac, message.target_ip, message.sender_mac, message.sender_ip)
        why = f"{render_ip(message.target_ip)} is at {render_mac(device.mac)}"
        self._arp_out(device, message.sender_mac, reply, why, probe_of(frame.notes))

    def _answers_for(self, address: bytes, device: Device) -> bool:
        """net.ipv4.conf.all.arp_ignore: 0 for any address of this host, 1 for those of this interface."""
        if self._sysctl("arp_ignore"):
            return any(address == own for own, _ in device.addresses)
        return self._upper.is_local(address)

    def _sysctl(self, name: str) -> int:
        return next((tables.sysctls[name] for tables in self._tables if name in tables.sysctls), 0)

    def announce(self, name: str, address: bytes, now: float) -> None:
        """Tell the wire unasked that an address is here, by a request and by a reply (RFC 5227 section 3).

        An announcer sends both, as some hosts believe only the one or the other (MetalLB
        internal/layer2/arp.go, Gratuitous). An IPv6 address is advertised to all nodes (ndp.go).
        """
        self._now = now
        device = self.devices[name]
        if len(address) == 16:
            message = ndp.Ndp(ndp.ADVERTISEMENT, address, device.mac, self.forwarding, override=True)
            packet = self._ndp_packet(device, address, ndp.ALL_NODES, message, None)
            self._send_resolved(packet, name, ndp.ALL_NODES_MAC)
            return
        for operation in (arp.REQUEST, arp.REPLY):
            question = arp.Arp(operation, device.mac, address, BROADCAST, address)
            why = f"{render_ip(address)} is at {render_mac(device.mac)} now"
            self._arp_out(device, BROADCAST, question, why, None)

    def _arp_out(
        self, device: Device, destination: bytes, message: arp.Arp, why: str, probe: Cause | None
    ) -> None:
        data = ethernet.build(destination, device.mac, ETHERTYPE_ARP, arp.build(message))
        notes = self._notes(Cause(Stage.NEIGHBOUR, why), probe)
        self._frame_out(device, Frame(data, notes, self._upper.serial()))

    def _notes(self, why: Cause, probe: Cause | None) -> Notes:
        note = Note(self._title, why)
        return (note,) if probe is None else (Note(self._title, probe), note)

    def _solicit(self, solicit: Solicit, now: float) -> None:
        self._now = now
        entry = solicit.entry
        device = self.devices.get(entry.device)
        if device is None:
            return
        if len(entry.address) == 16:
            self._solicit6(solicit, device, now)
            return
        own = device.primary  # with arp_announce = 0 the waiting packet's source, if it is ours
        source = entry.queue[-1].source if entry.queue else b""
        if source and not self._sysctl("arp_announce") and self._upper.is_local(source):
            own = source
        if own is None:
            return
        message = arp.Arp(arp.REQUEST, device.mac, own, ZERO_MAC, entry.address)
        why = f"who has {render_ip(entry.address)}? next hop on {device.name}"
        self._arp_out(device, solicit.target or BROADCAST, message, why, entry.probe)

    # --- neighbour discovery -------------------------------------------------------------------------

    def _ndp_in(self, device: Device, frame: Frame, now: float) -> None:
        """ndisc_rcv. Unlike ARP's, questions are answered for addresses of this very interface only.

        An answer to a question in a group may override what the asker knows; one to a question by unicast
        only confirms it, and does not repeat the MAC (ndisc_recv_ns). Who asks without an address wants to
        have this one, and hears with all nodes that it is taken.
        """
        try:
            packet = ipv6.parse(frame.data[14:])
            message = ndp.parse(packet)
        except WireError:
            return
        target, asker = message.target, packet.source
        own = any(address == target for address, _ in device.addresses)
        if message.type == ndp.ADVERTISEMENT:
            if not own:
                self.neighbours.advertised(
                    device.name, target, message.mac, now,
                    solicited=message.solicited, override=message.override, router=message.router,
                )  # fmt: skip
            return
        if not (own or target in device.announced):
            return
        if asker == ndp.UNSPECIFIED:
            self.announce(device.name, target, now)
            return
        in_group = packet.destination[0] == 0xFF
        answer = ndp.Ndp(
            ndp.ADVERTISEMENT, target, device.mac if in_group else None,
            self.forwarding, solicited=True, override=own and in_group,
        )  # fmt: skip
        reply = self._ndp_packet(device, target, asker, answer, probe_of(frame.notes))
        if not own:
            self._send_resolved(reply, device.name, message.mac or frame.data[6:12])
            return
        if message.mac is not None:
            self.neighbours.heard(device.name, asker, message.mac, now, Told.ASKED_US)
        self.send(reply, device, asker, now)

    def _solicit6(self, solicit: Solicit, device: Device, now: float) -> None:
        """ndisc_solicit: from the waiting packet's source, if that stands on the interface.

        Else the kernel takes the interface's link-local address, which is another one here; if need be one
        of another interface.
        """
        entry = solicit.entry
        source: bytes | None = entry.queue[-1].source if entry.queue else None
        if not any(address == source for address, _ in device.addresses):
            near = (device, *(other for other in self.devices.values() if other.name != LOOPBACK))
            source = next((own for own in map(_primary6, near) if own is not None), None)
        if source is None:
            return
        group = ndp.solicited_node(entry.address)
        target = entry.address if solicit.target is not None else group
        message = ndp.Ndp(ndp.SOLICITATION, entry.address, device.mac)
        packet = self._ndp_packet(device, source, target, message, entry.probe)
        self._send_resolved(packet, device.name, solicit.target or ndp.group_mac(group))

    def _ndp_packet(
        self, device: Device, source: bytes, destination: bytes, message: ndp.Ndp, probe: Cause | None
    ) -> Packet6:
        target = render_ip(message.target)
        why = f"who has {target}? next hop on {device.name}"
        if message.type == ndp.ADVERTISEMENT:
            why = f"{target} is at {render_mac(device.mac)}{'' if message.solicited else ' now'}"
        data = ndp.build(source, destination, message)
        return Packet6(data, self._notes(Cause(Stage.NDP, why), probe), self._upper.serial())

    # --- packets out ---------------------------------------------------------------------------------

    def send(self, packet: Packet, device: Device, next_hop: bytes, now: float) -> None:
        """Send an IP packet to a neighbour, asking first who has the address where nobody knows."""
        self._now = now
        if device.name == LOOPBACK:
            self._send_resolved(packet, LOOPBACK, ZERO_MAC)
            return
        for tables in self._tables:
            known = tables.neighbours.get((device.name, next_hop))
            if known is not None:
                self._send_resolved(packet, device.name, known[0])
                return
        mac = self.neighbours.resolve(packet, device.name, next_hop, now)
        if mac is not None:
            self._send_resolved(packet, device.name, mac)

    def _send_resolved(self, packet: Packet, name: str, mac: bytes) -> None:
        device = self.devices.get(name)
        if device is not None:
            data = mac + device.mac + packet.ethertype + packet.data
            self._frame_out(device, Frame(data, packet.notes, packet.serial))

    def _frame_out(self, device: Device, frame: Frame) -> None:
        """Send a frame through a device of any kind."""
        self.emitted.append(Emitted(device.name, True, frame))
        if device.kind is InterfaceKind.BRIDGE:
            self._bridge_out(device, None, frame)
        elif device.kind is InterfaceKind.VXLAN:
            self._encapsulate(device, frame)

    # --- bridging ------------------------------------------------------------------------------------

    def _bridge_in(self, bridge: Device, port: Device, frame: Frame, now: float) -> None:
        bridge.learnt[frame.data[6:12]] = (port.name, now)
        if self.bridge_netfilter:
            kind = frame.data[12:14]
            if kind == _IPV4 or (kind == Packet6.ethertype and not ndp.kind_of_frame(frame.data)):
                make = Packet if kind == _IPV4 else Packet6
                packet = make(frame.data[14:], frame.notes, frame.serial, bridge.name)
                self._bridge_filtered(bridge, port, frame, packet, now)
                return
        destination = frame.data[:6]
        if destination == bridge.mac or destination[0] & 1:
            self.emitted.append(Emitted(bridge.name, False, frame))
            self._frame_in(bridge, frame, now)
        if destination != bridge.mac:
            self._bridge_out(bridge, port, frame)

    def _bridge_filtered(
        self, bridge: Device, port: Device, frame: Frame, packet: Packet, now: float
    ) -> None:
        """A bridged IP packet passes the IP hooks (br_netfilter_hooks.c, bridge-nf-call-iptables=1 and, for
        IPv6, bridge-nf-call-ip6tables=1).

        Where DNAT turned it to a Pod on this very bridge, Linux bridges it there without routing it.
        """
        before = packet.destination
        up = frame.data[:6] == bridge.mac
        decision = self._upper.bridged(packet, up, now)
        if decision == DROP:
            return
        if decision == ROUTE:
            rebuilt = Frame(frame.data[:14] + packet.data, packet.notes, packet.serial)
            self.emitted.append(Emitted(bridge.name, False, rebuilt))
            self._upper.packet_in(packet, now)
            return
        # Tracking may have put the packet together.
        for piece in packet.pieces(bridge.mtu):
            mac: bytes | None = frame.data[:6]
            if piece.destination != before:
                mac = self.neighbours.resolve(piece, bridge.name, piece.destination, now)
            if mac is not None:
                data = mac + frame.data[6:14] + piece.data
                self._bridge_out(bridge, port, Frame(data, piece.notes, piece.serial))

    def _bridge_out(self, bridge: Device, origin: Device | None, frame: Frame) -> None:
        """Send a frame out of the learnt port, or out of all but the one it came in by.

        A port drops what is larger than its MTU without a word (is_skb_forwardable).
        """
        target = self._learnt_port(bridge, frame.data[:6])
        for name in bridge.ports if target is None else (target,):
            port = self.devices[name]
            fits = len(frame.data) <= port.mtu + ethernet.HEADER_LENGTH
            if fits and (port is not origin or port.hairpin):
                self.emitted.append(Emitted(name, True, frame))

    def _learnt_port(self, bridge: Device, mac: bytes) -> str | None:
        seen = bridge.learnt.get(mac)
        if seen is None:
            return None
        if self._now - seen[1] > BRIDGE_AGEING:
            del bridge.learnt[mac]
            return None
        return seen[0]

    # --- VXLAN ---------------------------------------------------------------------------------------

    def _encapsulate(self, device: Device, frame: Frame) -> None:
        """RFC 7348 section 4.1, with a static forwarding table and no learning, as flannel sets it."""
        plan = device.plan
        assert plan is not None and plan.vxlan is not None
        for tables in self._tables:
            known = tables.fdb.get((device.name, frame.data[:6]))
            if known is not None:
                break
        else:
            return  # no forwarding entry: VXLAN drops the frame
        remote, cause = known
        low, high = VXLAN_SOURCE_PORTS
        port = low + zlib.crc32(_flow_bytes(frame.data)) % (high - low + 1)
        notes = (*frame.notes, Note(self._title, _envelope_put_on(plan.vxlan.vni, remote, cause)))
        data = vxlan.build(plan.vxlan.vni, frame.data)
        self._upper.tunnel(device, data, Frame(frame.data, notes, frame.serial), remote, port)

    def decapsulate(self, packet: Packet, port: int, payload: bytes, now: float) -> bool:
        """Take a UDP payload that may be a VXLAN packet; False when no VXLAN device wants it.

        A device listens in the family of its own address (vxlan_sock_add).
        """
        if not self._tunnels:
            return False
        listening = [
            (name, settings.vni)
            for name, settings in self._tunnels.items()
            if settings.port == port and settings.local.version == packet.family
        ]
        if not listening:
            return False
        try:
            message = vxlan.parse(payload)
        except WireError:
            return True
        for name, vni in listening:
            if message.vni == vni:
                note = Note(self._title, _envelope_taken_off(vni))
                inner = Frame(message.frame, (*packet.notes, note), packet.serial)
                self.emitted.append(Emitted(name, False, inner))
                self._frame_in(self.devices[name], inner, now)
        return True


@lru_cache(maxsize=4096)
def _envelope_put_on(vni: int, remote: bytes, cause: Cause) -> Cause:
    return Cause(Stage.ENCAP, f"VXLAN vni {vni} to VTEP {render_ip(remote)}: {cause.text}")


@lru_cache(maxsize=64)
def _envelope_taken_off(vni: int) -> Cause:
    return Cause(Stage.ENCAP, f"VXLAN vni {vni}: envelope taken off")


def _listens(device: Device, group: bytes) -> bool:
    """Whether an interface is in the group of a MAC: all nodes', or that of one of its addresses."""
    if group == ndp.ALL_NODES_MAC:
        return True
    return any(ndp.asks_in_group(group, address) for address in device.all_addresses())


def _primary6(device: Device) -> bytes | None:
    return device.primary_of(6)


def _flow_bytes(frame: bytes) -> bytes:
    """What identifies the inner flow: addresses, protocol and ports of an IP packet, else the MACs."""
    if frame[12:14] == Packet6.ethertype:
        return frame[20:21] + frame[22:58]
    if frame[12:14] != _IPV4:
        return frame[:12]
    start = 14 + (frame[14] & 0x0F) * 4
    return frame[23:24] + frame[26:34] + frame[start : start + 4]
