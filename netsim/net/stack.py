"""One host: layer 2, IP and sockets put together, as in one Linux network namespace.

A plane builds it from plan entries, calls ``receive`` and the socket methods, and after every call takes
what is in ``links.emitted`` and ``sockets.woken`` and re-arms ``deadline``. Input, forwarding and output
follow Linux's ip_input.c, ip_forward.c and ip_output.c, and so their IPv6 counterparts, with the netfilter
hooks in their places.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from netsim.base.address import render_endpoint, render_ip
from netsim.base.cause import Cause, Note, Stage, probe_of
from netsim.base.errors import PlanError, WireError
from netsim.base.rng import Rng
from netsim.net.device import LOOPBACK, Device
from netsim.net.family import Header, Message, family_of
from netsim.net.fib import Fib, Route, connected_route
from netsim.net.links import BRIDGE_ON, DROP, ROUTE, Links, Upper
from netsim.net.neighbour import Entry as NeighbourEntry
from netsim.net.netfilter import Netfilter, Verdict
from netsim.net.packet import Frame, Packet, Packet6
from netsim.net.reassembly import Reassembly, Reassembly6
from netsim.net.services import Addresses
from netsim.net.sockets import Lower, Sockets, TcpSocket
from netsim.net.tables import Tables, is_loopback
from netsim.plan.entries import Address, Announcement, Host, Interface
from netsim.wire import icmp, icmp6, ipv4, tcp, udp

PATH_MTU_SECONDS = 600.0  # net.ipv4.route.mtu_expires
_LOCAL = Route(0, 0, LOOPBACK, None, False, None, "kernel", 0, Cause(Stage.ROUTE, "this host's own address"))
_NO_ANSWER = {
    4: Cause(Stage.NEIGHBOUR, "nobody answered ARP for the next hop"),
    6: Cause(Stage.NDP, "nobody answered neighbour solicitations for the next hop"),
}


class Stack:
    """A host's network stack. ``tables`` are its own; ``shared`` are its groups', looked at after them."""

    def __init__(self, host: Host, shared: Sequence[Tables], rng: Rng, serial: Callable[[], int]) -> None:
        self.name = host.name
        self.title = host.title
        self.tables = Tables()
        self._all_tables = (self.tables, *shared)
        self._serial = serial
        addresses = Addresses(
            self._masquerade_address, lambda: tuple(self._local), self.is_own, self.is_local
        )
        self.netfilter = Netfilter(self.title, self._all_tables, rng, addresses)
        self.links = Links(
            self.title,
            self._all_tables,
            Upper(
                self._packet_in, self._bridged, self._no_neighbour, self._tunnel, serial, self._arm,
                self.is_local,
            ),
        )  # fmt: skip
        self.sockets = Sockets(
            rng.derive("sockets"),
            Lower(self.send, self.source_for, self._mtu_for, self._learn_mtu, self._arm),
        )
        self._reassembly = {4: Reassembly(), 6: Reassembly6()}
        self._local: dict[bytes, None] = {}
        self._shared_addresses = tuple(tables.addresses for tables in self._all_tables)
        self._connected, self._connected6 = Fib(), Fib(128)
        self._learnt = {32: Fib(), 128: Fib(128)}
        self._fibs = (self._connected, *(tables.fib for tables in self._all_tables), self._learnt[32])
        self._fibs6 = (self._connected6, *(tables.fib6 for tables in self._all_tables), self._learnt[128])
        self._route_cache: dict[bytes, tuple[Route, Note] | None] = {}
        self._route_version = -1
        self._path_mtu: dict[bytes, tuple[int, float]] = {}
        self._timers: list[tuple[float, int, TcpSocket | NeighbourEntry]] = []
        self._timer_sequence = 0
        self._now = 0.0
        self.forwarding = False
        self.put_host(host)

    # --- what the plan puts --------------------------------------------------------------------------

    def put_host(self, host: Host) -> None:
        self.forwarding = host.forwarding
        self.links.bridge_netfilter = host.bridge_netfilter
        self.links.forwarding = host.forwarding

    def put_interface(self, entry: Interface) -> None:
        self.links.put_device(entry)
        self._route_cache.clear()

    def remove_interface(self, name: str) -> None:
        """Its addresses go with it."""
        self.links.remove_device(name)
        self._addresses_changed()

    def put_address(self, entry: Address) -> None:
        device = self._device(entry)
        address = (entry.address.ip.packed, entry.address.network.prefixlen)
        if address not in device.addresses:
            device.addresses.append(address)
            self._addresses_changed()

    def remove_address(self, entry: Address) -> None:
        device = self.links.devices.get(entry.interface)
        address = (entry.address.ip.packed, entry.address.network.prefixlen)
        if device is not None and address in device.addresses:
            device.addresses.remove(address)
            self._addresses_changed()

    def put_announcement(self, entry: Announcement) -> None:
        self._device(entry).announced[entry.address.packed] = None

    def remove_announcement(self, entry: Announcement) -> None:
        device = self.links.devices.get(entry.interface)
        if device is not None:
            device.announced.pop(entry.address.packed, None)

    def announce(self, entry: Announcement, now: float) -> None:
        """Say unasked that the address is here."""
        self._now = now
        self.links.announce(entry.interface, entry.address.packed, now)

    def _device(self, entry: Address | Announcement) -> Device:
        device = self.links.devices.get(entry.interface)
        if device is None:
            raise PlanError(f"{' '.join(entry.key)}: the host has no interface {entry.interface}")
        return device

    def _addresses_changed(self) -> None:
        """Local addresses and connected routes follow from what stands on the interfaces.

        Of two addresses in one network the first brings the route, as its ``src``.
        """
        self._local.clear()
        self._connected.clear()
        self._connected6.clear()
        self._route_cache.clear()
        self.netfilter.addresses_changed()
        standing = set()
        for device in self.links.devices.values():
            for packed, length in device.addresses:
                self._local[packed] = None
                bits = len(packed) * 8
                network = int.from_bytes(packed, "big") >> (bits - length) << (bits - length)
                if device.name != LOOPBACK and length < bits and (network, length, bits) not in standing:
                    standing.add((network, length, bits))
                    connected = self._connected if bits == 32 else self._connected6
                    connected.add(connected_route(network, length, device.name, packed))

    def addresses(self, device: Device) -> Iterator[tuple[bytes, int]]:
        """What ``ip addr`` lists for an interface: its own addresses, and those that it shares and that are
        on no other."""
        yield from device.addresses
        for shared in self._shared_addresses:
            for address, interface in shared.items():
                if interface == device.name and address not in self._local:
                    yield address, len(address) * 8

    def learnt_in(self, bits: int) -> Fib:
        """Routes that programs put, for addresses of so many bits; the plan's to the same prefix win."""
        return self._learnt[bits]

    def routes(self, family: int = 4) -> list[Route]:
        """What ``ip route`` lists: of routes to one prefix, those of the first table that has any."""
        found: list[Route] = []
        covered: set[tuple[int, int]] = set()
        for fib in self._fibs if family == 4 else self._fibs6:
            new = [r for r in fib.routes() if r.device in self.links.devices]
            found += [route for route in new if (route.network, route.length) not in covered]
            covered.update((route.network, route.length) for route in new)
        return sorted(found, key=lambda route: (route.network, route.length, route.metric))

    # --- the machine ---------------------------------------------------------------------------------

    def receive(self, device: str, frame: Frame, now: float) -> None:
        """A frame arrived on a device."""
        self._now = now
        self.links.receive(device, frame, now)

    def at(self, now: float) -> Sockets:
        """The sockets, with the stack's time set: every call from a program goes through here."""
        self._now = now
        return self.sockets

    def deadline(self) -> float | None:
        """When ``expire`` wants to be called."""
        return self._timers[0][0] if self._timers else None

    def expire(self, now: float) -> None:
        """Let everything happen whose time has come."""
        self._now = now
        while self._timers and self._timers[0][0] <= now:
            when, _, target = heapq.heappop(self._timers)
            if target.armed == when:
                target.armed = None
            deadline = target.deadline()
            if deadline is None:
                continue
            if deadline > now:
                self._arm(target)
            elif isinstance(target, TcpSocket):
                self.sockets.expire(target, now)
            else:
                self.links.neighbours.expire(target, now)

    def _arm(self, target: object) -> None:
        assert isinstance(target, (TcpSocket, NeighbourEntry))
        deadline = target.deadline()
        if deadline is not None and (target.armed is None or deadline < target.armed):
            target.armed = deadline
            self._timer_sequence += 1
            heapq.heappush(self._timers, (deadline, self._timer_sequence, target))

    # --- routing -------------------------------------------------------------------------------------

    def is_own(self, address: bytes) -> bool:
        return address in self._local or is_loopback(address)

    def is_local(self, address: bytes) -> bool:
        """Whether an address is this host's own, or one that it shares and has the interface for."""
        if address in self._local or is_loopback(address):
            return True
        for shared in self._shared_addresses:
            if address in shared and shared[address] in self.links.devices:
                return True
        return False

    def route(self, destination: bytes) -> tuple[Route, Note] | None:
        """The route to an address and the note that says so; None when there is none."""
        version = 0
        for fib in self._fibs:
            version += fib.version
        for fib in self._fibs6:
            version += fib.version
        if version != self._route_version:
            self._route_cache.clear()
            self._route_version = version
        if destination in self._route_cache:
            return self._route_cache[destination]
        found = self._longest(destination)
        result = None
        if found is not None:
            result = (found, Note(self.title, Cause(Stage.ROUTE, f"{found} ({found.cause.text})")))
        self._route_cache[destination] = result
        return result

    def route_without(self, destination: bytes, protocol: str) -> Route | None:
        """The route to an address if there were none of a protocol."""
        return self._longest(destination, protocol)

    def _longest(self, destination: bytes, without: str = "") -> Route | None:
        best: Route | None = None
        if len(destination) == 16 and destination[0] == 0xFF:
            return None  # there are no groups but those of neighbour discovery
        number = int.from_bytes(destination, "big")
        for fib in self._fibs if len(destination) == 4 else self._fibs6:
            found = fib.lookup(number, self.links.devices, without)
            if found is not None and (best is None or found.length > best.length):
                best = found
        return best

    def source_for(self, destination: bytes) -> bytes | None:
        """The source address that this host would choose (RFC 1122 section 3.3.4.3, ip route get).

        For IPv6, of RFC 6724 only rule 8: the interface's address that has most leading bits in common.
        """
        if self.is_local(destination):
            return destination
        found = self.route(destination)
        if found is None:
            return None
        route = found[0]
        if route.source is not None:
            return route.source
        if route.bits == 128 and (nearest := self.links.devices[route.device].nearest(destination)):
            return nearest
        return self._masquerade_address(route.device, 4 if route.bits == 32 else 6)

    def _masquerade_address(self, device_name: str, family: int) -> bytes | None:
        """The address that a packet leaves an interface with (Linux inet_select_addr).

        That of the loopback is for this host's eyes only, so on ``lo`` too it is another interface's.
        """
        device = self.links.devices[device_name]
        primary = device.primary_of(family)
        if primary is not None and device.name != LOOPBACK:
            return primary
        others = (d.primary_of(family) for d in self.links.devices.values() if d.name != LOOPBACK)
        return next((address for address in others if address is not None), None)

    def _mtu_for(self, destination: bytes) -> int:
        """The largest packet that a program may send there whole: the path's, as far as it is known."""
        found = None if self.is_local(destination) else self.route(destination)
        return self._path_mtu_of(destination, found[0].device if found is not None else LOOPBACK)

    def _path_mtu_of(self, destination: bytes, device: str) -> int:
        mtu = self.links.devices[device].mtu
        learnt = self._path_mtu.get(destination)
        if learnt is None:
            return mtu
        if learnt[1] <= self._now:
            del self._path_mtu[destination]
            return mtu
        return min(mtu, learnt[0])

    def _learn_mtu(self, destination: bytes, mtu: int) -> None:
        """ICMP "fragmentation needed" told it (RFC 1191)."""
        if mtu < self._mtu_for(destination):
            self._path_mtu[destination] = (mtu, self._now + PATH_MTU_SECONDS)

    # --- packets in ----------------------------------------------------------------------------------

    def _packet_in(self, packet: Packet, now: float) -> None:
        """ip_rcv: check, PREROUTING, then deliver here or forward."""
        if not packet.prerouted:
            if not self._sound(packet, now):
                return
            if packet.hooked and self.netfilter.prerouting(packet, now) is Verdict.DROP:
                return
        if packet.device != LOOPBACK and self._is_martian(packet):
            return
        if self.is_local(packet.destination):
            self._deliver(packet, now)
        elif self.forwarding:
            self._forward(packet, now, self.netfilter.forward)

    def _is_martian(self, packet: Packet) -> bool:
        """Whether a packet from a wire has an address that only we have (ip_route_input_slow).

        With route_localnet, replies to what left with a loopback address and was translated come in; new
        connections do not (the kubelet's KUBE-FIREWALL, "block incoming localnet connections"). IPv6 knows no
        such parameter (ip6_rcv_core).
        """
        if is_loopback(packet.destination):
            let_in = packet.family == 4 and self._sysctl("route_localnet")
            if let_in and not packet.reply:
                self.netfilter.block_localnet(packet)
            if not let_in or not packet.reply:
                return True
        return self.is_local(packet.source)

    def _sysctl(self, name: str) -> int:
        """A parameter of net.ipv4.conf.all; 0 unless the plan sets it."""
        return next((tables.sysctls[name] for tables in self._all_tables if name in tables.sysctls), 0)

    def _sound(self, packet: Packet, now: float) -> bool:
        """Whether a packet's header is right. It is cut to its length, and whole where that is wanted.

        Fragments wait for each other at their destination, and where conntrack looks at them.
        """
        packet.hooked = self.netfilter.active
        try:
            packet.sound()
            if packet.is_fragment and (packet.hooked or self.is_local(packet.destination)):
                found = self._reassembly[packet.family].add(packet.data, now)
                if found is None:
                    return False
                packet.joined(found.data, found.largest)
        except WireError:
            return False
        return True

    def _bridged(self, packet: Packet, up: bool, now: float) -> str:
        """br_netfilter: run the IP hooks over a bridged packet and say where it goes on."""
        if not self._sound(packet, now):
            return DROP
        before = packet.destination
        if packet.hooked and self.netfilter.prerouting(packet, now) is Verdict.DROP:
            return DROP
        packet.prerouted = True
        if packet.destination == before:
            return ROUTE if up else self._bridge_on(packet, now)
        found = self.route(packet.destination)
        on_bridge = found is not None and found[0].device == packet.device and found[0].via is None
        if self.is_local(packet.destination) or not on_bridge:
            return ROUTE
        return self._bridge_on(packet, now)

    def _bridge_on(self, packet: Packet, now: float) -> str:
        if not packet.hooked:
            return BRIDGE_ON
        verdict = self.netfilter.forward(packet, packet.device)
        if verdict is Verdict.REJECT:
            self.icmp_error(packet, icmp.UNREACHABLE, icmp.PORT)
        if verdict is not Verdict.ACCEPT:
            return DROP
        accepted = self.netfilter.postrouting(packet, packet.device, now) is Verdict.ACCEPT
        return BRIDGE_ON if accepted else DROP

    def _deliver(self, packet: Packet, now: float) -> None:
        """ip_local_deliver: INPUT, then the transport protocol."""
        if packet.hooked:
            verdict = self.netfilter.input(packet, now)
            if verdict is Verdict.REJECT:
                self.icmp_error(packet, icmp.UNREACHABLE, icmp.PORT)
            if verdict is Verdict.RESEND:
                self._forward(packet, now, self.netfilter.resend)
            if verdict is not Verdict.ACCEPT:
                return
        ip = packet.ip
        header = ip.parse(packet.data)
        if header.protocol not in ip.transports:
            self._note(packet, Cause(Stage.SOCKET, f"nobody speaks protocol {header.protocol} here"))
            self.icmp_error(packet, icmp.UNREACHABLE, icmp.PROTOCOL)
            return
        match ip.transport(header):
            case tcp.Tcp() as segment:
                self.sockets.tcp_in(packet, header, segment, now)
            case udp.Udp() as message:
                self._udp_in(packet, header, message, now)
            case icmp.Icmp() | icmp6.Icmp6() as message:
                self._icmp_in(packet, message, now)

    def _udp_in(self, packet: Packet, header: Header, message: udp.Udp, now: float) -> None:
        if self.links.decapsulate(packet, message.destination_port, message.payload, now):
            return
        if not self.sockets.udp_in(packet, header, message):
            where = render_endpoint(header.destination, message.destination_port)
            self._note(packet, Cause(Stage.SOCKET, f"no process listens on {where}/udp"))
            self.icmp_error(packet, icmp.UNREACHABLE, icmp.PORT)

    def _icmp_in(self, packet: Packet, message: Message, now: float) -> None:
        ip = packet.ip
        if message.type == ip.echo_request:
            source, target = packet.destination, packet.source
            reply = ip.build_echo(
                source, target, ip.echo_reply, message.identifier, message.sequence, message.payload
            )
            self.send(
                self._own_packet(source, target, ip.icmp_protocol, reply),
                (Cause(Stage.ICMP, "the kernel answers the echo request"),),
            )
        elif message.type == ip.echo_reply:
            self.sockets.echo_reply(packet, message)
        elif message.type in ip.errors:
            self.sockets.error_in(packet, message, now)

    # --- forwarding ----------------------------------------------------------------------------------

    def _forward(self, packet: Packet, now: float, hook: Callable[[Packet, str], Verdict]) -> None:
        """ip_forward: route, TTL, MTU, FORWARD, POSTROUTING; likewise ip_vs_nat_xmit, with another hook."""
        found = self.route(packet.destination)
        if found is None:
            self._note(packet, Cause(Stage.ROUTE, f"no route to {render_ip(packet.destination)}"))
            self.icmp_error(packet, icmp.UNREACHABLE, icmp.NET)
            return
        route, note = found
        packet.notes += (note,)
        if packet.ttl <= 1:
            self._note(packet, Cause(Stage.ICMP, "TTL reached 0 here"))
            self.icmp_error(packet, icmp.TIME_EXCEEDED, 0)
            return
        mtu = self.links.devices[route.device].mtu
        if self._too_large(packet, mtu):
            return
        packet.hop()
        if packet.hooked:
            verdict = hook(packet, route.device)
            if verdict is Verdict.REJECT:
                self.icmp_error(packet, icmp.UNREACHABLE, icmp.PORT)
            if verdict is not Verdict.ACCEPT:
                return
        self._leave(packet, route, mtu, now)

    def _too_large(self, packet: Packet, mtu: int) -> bool:
        """Whether a packet does not fit and must not be cut; then its sender has been told."""
        if len(packet.data) <= mtu or not packet.exceeds(mtu):
            return False
        why = "DF is set" if packet.family == 4 else "only its sender may cut an IPv6 packet"
        self._note(packet, Cause(Stage.ICMP, f"{len(packet.data)} bytes do not fit MTU {mtu}, {why}"))
        self.icmp_error(packet, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, mtu=mtu)
        return True

    def _leave(self, packet: Packet, route: Route, mtu: int, now: float) -> None:
        """POSTROUTING, fragments, and down to layer 2."""
        device = self.links.devices[route.device]
        if packet.hooked:
            verdict = self.netfilter.postrouting(packet, route.device, now)
            if verdict is not Verdict.ACCEPT:
                return
        next_hop = route.via if route.via is not None else packet.destination
        for piece in packet.pieces(mtu):
            self.links.send(piece, device, next_hop, now)

    # --- packets of this host's own ------------------------------------------------------------------

    def send(self, data: bytes, causes: Iterable[Cause]) -> None:
        """ip_local_out, as a raw socket has it: OUTPUT, route (again after DNAT), POSTROUTING."""
        notes = tuple(Note(self.title, cause) for cause in causes)
        make = Packet if data[0] >> 4 == 4 else Packet6
        self._originate(make(data, notes, self._serial()))

    def _originate(self, packet: Packet) -> None:
        packet.hooked = self.netfilter.active
        if packet.hooked:
            verdict = self.netfilter.output(packet, self._now)
            if verdict is Verdict.REJECT:
                self.icmp_error(packet, icmp.UNREACHABLE, icmp.PORT)
            if verdict is not Verdict.ACCEPT:
                return
        route = _LOCAL
        if not self.is_local(packet.destination):
            found = self.route(packet.destination)
            if found is None:
                self._note(packet, Cause(Stage.ROUTE, f"no route to {render_ip(packet.destination)}"))
                self.icmp_error(packet, icmp.UNREACHABLE, icmp.NET)
                return
            route, note = found
            packet.notes += (note,)
        mtu = self._path_mtu_of(packet.destination, route.device)
        if not self._too_large(packet, mtu):
            self._leave(packet, route, mtu, self._now)

    def _tunnel(self, device: Device, data: bytes, frame: Frame, remote: bytes, port: int) -> None:
        """Send a VXLAN envelope (udp_tunnel_xmit_skb): through OUTPUT and POSTROUTING, DF unset."""
        plan = device.plan.vxlan if device.plan is not None else None
        assert plan is not None
        local = plan.local.packed
        segment = udp.build(local, remote, port, plan.port, data)
        packet = self._own_packet(local, remote, ipv4.UDP, segment)
        make = Packet if len(local) == 4 else Packet6
        self._originate(make(packet, frame.notes, frame.serial))

    def _own_packet(self, source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
        """A packet that the kernel itself makes; it may be fragmented on its way."""
        number = self.sockets.next_identification()
        return family_of(source).build(
            source, destination, protocol, payload, identification=number, dont_fragment=False
        )

    def _no_neighbour(self, packet: Packet) -> None:
        self._note(packet, _NO_ANSWER[packet.family])
        self.icmp_error(packet, icmp.UNREACHABLE, icmp.HOST)

    def icmp_error(self, packet: Packet, kind: int, code: int, *, mtu: int = 0) -> None:
        """icmp_send: tell the packet's source, unless the packet is an ICMP error, a later fragment (IPv4) or
        to a group (IPv6)."""
        if packet.is_icmp_error:
            return
        if packet.data[6] & 0x1F or packet.data[7] if packet.family == 4 else packet.destination[0] == 0xFF:
            return
        target = packet.source
        own = self.is_local(packet.destination)
        source = packet.destination if own else self.source_for(target)
        if source is None or not any(target):
            return
        why = packet.notes[-1].cause.text if packet.notes else "error"
        error = packet.ip.build_error(source, target, kind, code, packet.data, mtu)
        data = self._own_packet(source, target, packet.ip.icmp_protocol, error)
        note = Note(self.title, Cause(Stage.ICMP, f"{_error_name(kind, code)}: {why}"))
        marks = packet.notes[:1] if probe_of(packet.notes) is not None else ()
        answer = type(packet)(data, (*marks, note), self._serial())
        answer.flow, answer.reply = packet.flow, not packet.reply  # nf_ct_attach
        answer.related = True
        self._originate(answer)

    def _note(self, packet: Packet, cause: Cause) -> None:
        packet.notes += (Note(self.title, cause),)


def _error_name(kind: int, code: int) -> str:
    if kind == icmp.TIME_EXCEEDED:
        return "time exceeded"
    names = {
        icmp.NET: "network unreachable",
        icmp.HOST: "host unreachable",
        icmp.PROTOCOL: "protocol unreachable",
        icmp.PORT: "port unreachable",
        icmp.FRAGMENTATION_NEEDED: "fragmentation needed",
    }
    return names[code]
