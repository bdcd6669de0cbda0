"""Layer 4 of a host: UDP and TCP sockets, ICMP echo, and who is woken when something arrives.

A plane calls in (bind, connect, send …), takes the sockets in ``woken`` and resumes the programs that
wait on them. Sockets hold packed addresses; the plane's host adapter gives programs address objects.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netsim.base.address import render_endpoint
from netsim.base.cause import Cause, Notes, Stage, probe_of
from netsim.base.rng import Rng
from netsim.net import tcp as engine
from netsim.net.conntrack_tuple import Tuple, tuple_from_packet
from netsim.net.family import ANY, ANY6, IPV6, Family, Header, Message, family_of
from netsim.net.packet import Packet
from netsim.net.tcp import Connection, SegmentArrived, SendSegment, Wake
from netsim.net.tcp_states import Failure
from netsim.wire import icmp, ipv4, tcp, udp

EPHEMERAL_PORTS = (32768, 60999)  # net.ipv4.ip_local_port_range


class Received(NamedTuple):
    """One datagram in a UDP socket's queue."""

    data: bytes
    source: bytes
    source_port: int
    destination: bytes
    notes: Notes


class Problem(NamedTuple):
    """An ICMP error about something this host sent: what it says, who says it."""

    kind: str
    source: bytes
    ttl: int


@dataclass(slots=True, eq=False)
class UdpSocket:
    """``remote`` is set on connected sockets. ``problems`` is filled as with IP_RECVERR."""

    local: bytes
    port: int
    remote: tuple[bytes, int] | None = None
    inbox: deque[Received] = field(default_factory=deque)
    problems: deque[Problem] = field(default_factory=deque)
    refused: bool = False
    closed: bool = False


@dataclass(slots=True, eq=False)
class TcpSocket:
    """One connection and its addresses; ``cause`` is why it exists, ``probe`` the kubelet's probe that it is
    part of."""

    local: bytes
    remote: bytes
    connection: Connection
    ip: Family
    cause: Cause
    listener: TcpListener | None = None
    probe: Cause | None = None
    armed: float | None = None
    problem: Problem | None = None
    accepted: bool = False

    def deadline(self) -> float | None:
        return self.connection.deadline()


@dataclass(slots=True, eq=False)
class TcpListener:
    local: bytes
    port: int
    cause: Cause
    backlog: deque[TcpSocket] = field(default_factory=deque)
    closed: bool = False


@dataclass(slots=True, eq=False)
class EchoSocket:
    """One outstanding ICMP echo: its answer, or the error that came instead."""

    ip: Family
    identifier: int
    sequence: int
    answer: tuple[str, bytes, int, int] | None = None  # kind, source, TTL, size


Socket = UdpSocket | TcpSocket | TcpListener | EchoSocket


class Lower(NamedTuple):
    """What layer 4 asks of the layers below it."""

    send: Callable[[bytes, Iterable[Cause]], None]  # a packet of this host, and why
    source_for: Callable[[bytes], bytes | None]  # the address this host uses towards another, None: no route
    mtu_for: Callable[[bytes], int]
    learn_mtu: Callable[[bytes, int], None]  # ICMP says that the path to there takes no more than so much
    arm: Callable[[object], None]


class Sockets:
    """All sockets of one host."""

    def __init__(self, rng: Rng, lower: Lower) -> None:
        self.woken: list[Socket] = []
        self._rng = rng
        self._lower = lower
        self._udp: dict[int, list[UdpSocket]] = {}
        self._listeners: dict[int, list[TcpListener]] = {}
        self._connections: dict[tuple[bytes, int, bytes, int], TcpSocket] = {}
        self._echoes: dict[tuple[int, int, int], EchoSocket] = {}
        self._identification = rng.below(1 << 16)

    # --- UDP -----------------------------------------------------------------------------------------

    def bind(self, port: int, local: bytes | None, remote: tuple[bytes, int] | None) -> UdpSocket:
        """Bind a UDP socket; OSError as bind(2) and connect(2) raise it."""
        address = local or ANY6
        if remote is not None:
            source = self._lower.source_for(remote[0])
            if source is None:
                raise OSError(errno.ENETUNREACH, "Network is unreachable")
            address = local or source
        self._check_own(address)
        bound = port or self._free_port(lambda p: p in self._udp)
        for other in self._udp.get(bound, ()):
            if _overlap(address, other.local):
                raise OSError(errno.EADDRINUSE, "Address already in use")
        socket = UdpSocket(address, bound, remote)
        self._udp.setdefault(bound, []).append(socket)
        return socket

    def udp_send(
        self, socket: UdpSocket, data: bytes, to: tuple[bytes, int], causes: Iterable[Cause],
        *, ttl: int = ipv4.DEFAULT_TTL, source: bytes | None = None,
    ) -> None:  # fmt: skip
        """Send one datagram; raises ConnectionRefusedError for an ICMP error that came before."""
        if socket.refused:
            socket.refused = False
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        address, port = to
        ip = family_of(address)
        _check_size(ip, len(data))
        if source is not None:
            own: bytes | None = source
        elif socket.local in ip.wildcards:
            own = self._lower.source_for(address)
        else:
            own = socket.local
            if len(own) != len(address):
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        if own is None:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        segment = udp.build(own, address, socket.port, port, data)
        self._lower.send(
            ip.build(
                own, address, ipv4.UDP, segment, ttl=ttl, identification=self.next_identification(),
                dont_fragment=len(segment) + ip.header_length <= self._lower.mtu_for(address),
            ),
            causes,
        )  # fmt: skip

    def udp_close(self, socket: UdpSocket) -> None:
        if not socket.closed:
            socket.closed = True
            left = [other for other in self._udp[socket.port] if other is not socket]
            if left:
                self._udp[socket.port] = left
            else:
                del self._udp[socket.port]

    def udp_in(self, packet: Packet, header: Header, message: udp.Udp) -> bool:
        """Deliver a datagram; False when no socket wants it."""
        socket = self._udp_socket(packet.ip, header, message)
        if socket is None:
            return False
        socket.inbox.append(
            Received(message.payload, header.source, message.source_port, header.destination, packet.notes)
        )
        self.woken.append(socket)
        return True

    def _udp_socket(self, ip: Family, header: Header, message: udp.Udp) -> UdpSocket | None:
        """The socket that is connected to the sender, else the one that is bound to the port."""
        best: UdpSocket | None = None
        for socket in self._udp.get(message.destination_port, ()):
            if socket.local != header.destination and socket.local not in ip.wildcards:
                continue
            if socket.remote is not None:
                if socket.remote == (header.source, message.source_port):
                    return socket
            else:
                best = socket
        return best

    # --- TCP -----------------------------------------------------------------------------------------

    def listen(self, port: int, local: bytes | None, cause: Cause) -> TcpListener:
        address = local or ANY6
        self._check_own(address)
        bound = port or self._free_port(lambda p: p in self._listeners)
        for other in self._listeners.get(bound, ()):
            if _overlap(address, other.local):
                raise OSError(errno.EADDRINUSE, "Address already in use")
        listener = TcpListener(address, bound, cause)
        self._listeners.setdefault(bound, []).append(listener)
        return listener

    def listener_close(self, listener: TcpListener) -> None:
        """Close it, and reset what was not accepted yet (Linux inet_csk_listen_stop)."""
        if listener.closed:
            return
        listener.closed = True
        left = [other for other in self._listeners[listener.port] if other is not listener]
        if left:
            self._listeners[listener.port] = left
        else:
            del self._listeners[listener.port]
        for socket in [s for s in self._connections.values() if s.listener is listener]:
            if not socket.accepted or socket in listener.backlog:
                self._do(socket, socket.connection.feed(engine.AbortCalled(), 0.0))
        listener.backlog.clear()

    def connect(self, remote: bytes, port: int, cause: Cause, now: float) -> TcpSocket:
        """Start a handshake; OSError ENETUNREACH when there is no route."""
        local = self._lower.source_for(remote)
        if local is None:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        own = self._free_port(lambda p: (local, p, remote, port) in self._connections)
        ip = family_of(remote)
        connection = self._connection(ip, remote, own, port)
        probe = cause if cause.stage is Stage.PROBE else None
        socket = TcpSocket(local, remote, connection, ip, cause, probe=probe)
        self._connections[local, own, remote, port] = socket
        self.feed(socket, engine.OpenCalled(), now)
        return socket

    def feed(self, socket: TcpSocket, event: engine.Event, now: float) -> None:
        """Give the connection an event and do what it answers."""
        self._do(socket, socket.connection.feed(event, now))

    def expire(self, socket: TcpSocket, now: float) -> None:
        self._do(socket, socket.connection.expire(now))

    def _do(self, socket: TcpSocket, commands: Sequence[engine.Command]) -> None:
        for command in commands:
            if isinstance(command, SendSegment):
                causes = (socket.probe or socket.cause, command.cause)
                self._send_segment(socket.ip, socket.local, socket.remote, command.segment, causes)
            else:
                self._woken(socket, command)
        self._lower.arm(socket)

    def _woken(self, socket: TcpSocket, wake: Wake) -> None:
        listener = socket.listener
        if wake is Wake.CONNECTED and listener is not None and not socket.accepted:
            socket.accepted = True
            listener.backlog.append(socket)
            self.woken.append(listener)
        if wake is Wake.ENDED:
            connection = socket.connection
            key = (socket.local, connection.local_port, socket.remote, connection.remote_port)
            if self._connections.get(key) is socket:
                del self._connections[key]
        self.woken.append(socket)

    def _send_segment(
        self, ip: Family, source: bytes, destination: bytes, segment: tcp.Tcp, causes: Iterable[Cause]
    ) -> None:
        self._lower.send(
            ip.build(
                source,
                destination,
                ipv4.TCP,
                tcp.build(source, destination, segment),
                identification=self.next_identification(),
            ),
            causes,
        )

    def tcp_in(self, packet: Packet, header: Header, segment: tcp.Tcp, now: float) -> None:
        """Deliver a segment to its connection, a SYN to its listener, and answer the rest with RST."""
        key = (header.destination, segment.destination_port, header.source, segment.source_port)
        socket = self._connections.get(key)
        opens = segment.flags & (tcp.SYN | tcp.ACK | tcp.RST) == tcp.SYN
        if opens and (socket is None or socket.connection.may_reopen(segment)):
            socket = self._accepting(packet, header, segment) or socket
        if socket is not None:
            self.feed(socket, SegmentArrived(segment), now)
        elif not segment.flags & tcp.RST:
            self._refuse(packet, header, segment)

    def _accepting(self, packet: Packet, header: Header, segment: tcp.Tcp) -> TcpSocket | None:
        ip = packet.ip
        for listener in self._listeners.get(segment.destination_port, ()):
            if listener.local == header.destination or listener.local in ip.wildcards:
                break
        else:
            return None
        connection = self._connection(ip, header.source, segment.destination_port, segment.source_port)
        probe = probe_of(packet.notes)
        socket = TcpSocket(
            header.destination, header.source, connection, ip, listener.cause, listener, probe=probe
        )
        key = (header.destination, segment.destination_port, header.source, segment.source_port)
        self._connections[key] = socket
        return socket

    def _refuse(self, packet: Packet, header: Header, segment: tcp.Tcp) -> None:
        """RFC 9293 section 3.10.7.1: what no socket wants is answered with RST."""
        acknowledged = bool(segment.flags & tcp.ACK)
        length = len(segment.payload) + bool(segment.flags & tcp.SYN) + bool(segment.flags & tcp.FIN)
        reset = tcp.Tcp(
            segment.destination_port,
            segment.source_port,
            segment.acknowledgement if acknowledged else 0,
            0 if acknowledged else (segment.sequence + length) % (1 << 32),
            tcp.RST if acknowledged else tcp.RST | tcp.ACK,
            0,
            None,
            b"",
        )
        where = render_endpoint(header.destination, segment.destination_port)
        why = f"no process listens on {where}/tcp: RST" if segment.flags & tcp.SYN else (
            f"no connection {where} <- {render_endpoint(header.source, segment.source_port)}: RST"
        )  # fmt: skip
        cause, probe = Cause(Stage.SOCKET, why), probe_of(packet.notes)
        causes = (cause,) if probe is None else (probe, cause)
        self._send_segment(packet.ip, header.destination, header.source, reset, causes)

    # --- ICMP ----------------------------------------------------------------------------------------

    def echo(
        self, remote: bytes, *, sequence: int, size: int, ttl: int, dont_fragment: bool, cause: Cause
    ) -> EchoSocket:
        """Send an ICMP echo request with ``size`` bytes of payload."""
        ip = family_of(remote)
        _check_size(ip, size)
        source = self._lower.source_for(remote)
        if source is None:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        if ip is IPV6 and dont_fragment and self._too_long(ip, remote, size):
            raise OSError(errno.EMSGSIZE, "Message too long")
        identifier = self._rng.between(1, 0xFFFF)
        socket = EchoSocket(ip, identifier, sequence)
        self._echoes[ip.number, identifier, sequence] = socket
        payload = bytes(index & 0xFF for index in range(size))
        message = ip.build_echo(source, remote, ip.echo_request, identifier, sequence, payload)
        self._lower.send(
            ip.build(
                source, remote, ip.icmp_protocol, message, ttl=ttl, dont_fragment=dont_fragment,
                identification=self.next_identification(),
            ),
            (cause,),
        )  # fmt: skip
        return socket

    def _too_long(self, ip: Family, remote: bytes, size: int) -> bool:
        """Whether an echo with so much payload would have to be cut (rawv6_send_hdrinc, ip6_append_data)."""
        return ip.header_length + icmp.HEADER_LENGTH + size > self._lower.mtu_for(remote)

    def echo_close(self, socket: EchoSocket) -> None:
        self._echoes.pop((socket.ip.number, socket.identifier, socket.sequence), None)

    def echo_reply(self, packet: Packet, message: Message) -> None:
        socket = self._echoes.get((packet.family, message.identifier, message.sequence))
        if socket is not None and socket.answer is None:
            size = icmp.HEADER_LENGTH + len(message.payload)
            socket.answer = ("reply", packet.source, packet.ttl, size)
            self.woken.append(socket)

    def error_in(self, packet: Packet, message: Message, now: float) -> None:
        """An ICMP error: hand it to the socket whose packet it quotes."""
        ip, quoted = packet.ip, message.payload
        if len(quoted) < ip.header_length + 8:
            return
        sent = tuple_from_packet(quoted)
        if sent is None or len(sent.source) != len(packet.source):
            return
        kind = "ttl-exceeded" if message.type == ip.time_exceeded else ip.problems.get(
            (message.type, message.code), "host-unreachable"
        )  # fmt: skip
        problem = Problem(kind, packet.source, packet.ttl)
        if kind == "fragmentation-needed":
            self._lower.learn_mtu(sent.destination, max(message.mtu, ip.least_path_mtu))
        if sent.protocol == ipv4.UDP:
            self._udp_problem(sent, problem)
        elif sent.protocol == ipv4.TCP:
            self._tcp_problem(ip, sent, problem, now)
        elif sent.protocol == ip.icmp_protocol:
            self._echo_problem(ip, quoted, problem)

    def _udp_problem(self, sent: Tuple, problem: Problem) -> None:
        for socket in self._udp.get(sent.source_port, ()):
            if socket.remote == (sent.destination, sent.destination_port):
                socket.problems.append(problem)
                # Linux udp_err: only "fatal" codes reach a connected socket without IP_RECVERR.
                socket.refused = socket.refused or problem.kind in (
                    "port-unreachable", "protocol-unreachable",
                )  # fmt: skip
                self.woken.append(socket)

    def _tcp_problem(self, ip: Family, sent: Tuple, problem: Problem, now: float) -> None:
        key = (sent.source, sent.source_port, sent.destination, sent.destination_port)
        socket = self._connections.get(key)
        if socket is None:
            return
        if problem.kind == "fragmentation-needed":
            self.feed(socket, engine.PathMtuLearnt(self._mss(ip, sent.destination)), now)
        else:
            socket.problem = problem
            refused = problem.kind in ("port-unreachable", "protocol-unreachable")
            failure = Failure.REFUSED if refused else Failure.UNREACHABLE
            self.feed(socket, engine.ErrorArrived(failure), now)

    def _echo_problem(self, ip: Family, quoted: bytes, problem: Problem) -> None:
        start = ip.header_length_of(quoted)
        identifier = int.from_bytes(quoted[start + 4 : start + 6], "big")
        sequence = int.from_bytes(quoted[start + 6 : start + 8], "big")
        socket = self._echoes.get((ip.number, identifier, sequence))
        if socket is not None and socket.answer is None:
            socket.answer = (problem.kind, problem.source, problem.ttl, 0)
            self.woken.append(socket)

    # --- the whole -----------------------------------------------------------------------------------

    def listening(self) -> list[tuple[str, bytes, int]]:
        """Unconnected UDP sockets and TCP listeners: (protocol, address, port), by port."""
        found = [("tcp", s.local, s.port) for sockets in self._listeners.values() for s in sockets]
        found += [
            ("udp", s.local, s.port) for sockets in self._udp.values() for s in sockets if s.remote is None
        ]
        return sorted(found, key=lambda item: (item[2], item[0], item[1]))

    def _free_port(self, taken: Callable[[int], bool]) -> int:
        low, high = EPHEMERAL_PORTS
        count = high - low + 1
        start = self._rng.below(count)
        for offset in range(count):
            port = low + (start + offset) % count
            if not taken(port):
                return port
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    def _isn(self) -> int:
        return self._rng.below(1 << 32)

    def _connection(self, ip: Family, remote: bytes, local_port: int, remote_port: int) -> Connection:
        return Connection(
            local_port, remote_port, isn=self._isn(), mss=self._mss(ip, remote),
            default_mss=ip.default_mss,
        )  # fmt: skip

    def _mss(self, ip: Family, remote: bytes) -> int:
        return self._lower.mtu_for(remote) - ip.header_length - tcp.HEADER_LENGTH

    def _check_own(self, address: bytes) -> None:
        if address not in (ANY, ANY6) and self._lower.source_for(address) != address:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    def next_identification(self) -> int:
        """The identification of this host's next packet, by which its fragments are told from others'."""
        self._identification = (self._identification + 1) & 0xFFFF
        return self._identification


def _overlap(one: bytes, other: bytes) -> bool:
    """Whether two sockets bound to one port could both be meant by a packet."""
    return one == other or ANY6 in (one, other) or (ANY in (one, other) and len(one) == len(other))


def _check_size(ip: Family, size: int) -> None:
    """What fits behind a UDP or ICMP header."""
    if size > ip.largest_payload - icmp.HEADER_LENGTH:
        raise OSError(errno.EMSGSIZE, "Message too long")
