"""IPVS on one host: virtual services, their real servers, and connections (Linux net/netfilter/ipvs).

``Netfilter`` asks here, at LOCAL_IN and LOCAL_OUT, where a connection goes. Which virtual services there are
is in ``Tables``, shared by all hosts of a group; here is what differs by host: the scheduler's place in the
list, and the connections. A service that no packet of this host asked for has no state.

Forwarding is NAT ("Masq"), with connection tracking (net.ipv4.vs.conntrack = 1) and expire_nodest_conn = 1,
as kube-proxy sets them. Not here: thresholds, one-packet scheduling, synchronisation.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from math import ceil
from typing import NamedTuple

from netsim.base.address import render_endpoint
from netsim.net.conntrack_tuple import Tuple
from netsim.net.ipvs_persistence import Persistence, Template
from netsim.net.ipvs_schedulers import SCHEDULERS, Counted, Counters, Opening, Server
from netsim.net.tables import Service, ServiceKey
from netsim.plan.entries import Schedule
from netsim.wire.ipv4 import TCP, UDP
from netsim.wire.tcp import ACK, FIN, RST, SYN

UDP_TIMEOUT = 300.0  # ip_vs_proto_udp.c, udp_timeouts
CONNECTION_TABLE = 4096  # ip_vs_conn.c, 1 << CONFIG_IP_VS_TAB_BITS (12)
VERSION = "1.2.1"  # IP_VS_VERSION_CODE
_PROTOCOLS = {TCP: "TCP", UDP: "UDP", 132: "SCTP"}

_SUFFIXES = ((10**8, 1, ""), (10**9, 10**3, "K"), (10**11, 10**6, "M"), (10**14, 10**9, "G"))


class State(Enum):
    """The states of a TCP connection (ip_vs.h). Those of secure_tcp and FTP do not occur."""

    NONE = "NONE"
    ESTABLISHED = "ESTABLISHED"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    FIN_WAIT = "FIN_WAIT"
    TIME_WAIT = "TIME_WAIT"
    CLOSE = "CLOSE"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"


_NO, _ES, _SS, _SR, _FW, _TW, _CL, _CW, _LA = State
TCP_TIMEOUTS = {
    _NO: 2.0, _ES: 900.0, _SS: 120.0, _SR: 60.0, _FW: 120.0, _TW: 120.0, _CL: 10.0, _CW: 60.0, _LA: 30.0,
}  # fmt: skip
ACTIVE = frozenset({_ES, _SS, _SR})
"""States that count as active (ip_vs_proto_tcp.c, tcp_state_active_table)."""

# ip_vs_proto_tcp.c, tcp_states: (is a reply, flag) -> the next state by the state, in State's order.
_TRANSITIONS: dict[tuple[bool, int], tuple[State, ...]] = {
    (False, SYN): (_SR, _ES, _ES, _SR, _SR, _SR, _SR, _SR, _SR),
    (False, FIN): (_CL, _CW, _SS, _TW, _TW, _TW, _CL, _CW, _LA),
    (False, ACK): (_CL, _ES, _SS, _ES, _FW, _TW, _CL, _CW, _CL),
    (False, RST): (_CL, _CL, _CL, _SR, _CL, _CL, _CL, _CL, _LA),
    (True, SYN): (_SS, _ES, _SS, _SR, _SS, _SS, _SS, _SS, _SS),
    (True, FIN): (_TW, _FW, _SS, _TW, _FW, _TW, _CL, _TW, _LA),
    (True, ACK): (_ES, _ES, _SS, _ES, _FW, _TW, _CL, _CW, _LA),
    (True, RST): (_CL, _CL, _SS, _CL, _CL, _TW, _CL, _CL, _CL),
}
NEXT = {
    (state, reply, flag): after
    for (reply, flag), row in _TRANSITIONS.items()
    for state, after in zip(State, row, strict=True)
}


class Connection:
    """A connection through a virtual service; ``asked`` is its flow's original tuple."""

    __slots__ = ("armed", "asked", "expires", "server", "service", "state", "template")

    def __init__(self, asked: Tuple, server: Server, service: Counters) -> None:
        self.asked = asked
        self.server = server
        self.service = service  # what its virtual service has counted
        self.state = State.NONE
        self.expires = 0.0
        self.armed = 0.0  # when it will be looked at, at the latest
        self.template: Template | None = None


class Choice(NamedTuple):
    """A new connection, and how its server came to it: the scheduler, and its place in the list, from 1; or
    because the client had it before (``persistent``)."""

    connection: Connection
    scheduler: str
    place: int
    servers: Sequence[Server]
    persistent: bool = False


class ServerRow(NamedTuple):
    """A line of ``ipvsadm -Ln``."""

    address: bytes
    port: int
    weight: int
    active: int
    inactive: int
    counted: Counted = Counted()


class ConnectionRow(NamedTuple):
    """A line of ``ipvsadm -Lnc``; without a source port it is what is remembered of a client."""

    asked: Tuple
    server: Server
    state: str
    seconds: float


class ServiceRow(NamedTuple):
    """A virtual service and its lines; ``persistent`` is for how many seconds, 0: it is not."""

    protocol: int
    address: bytes
    port: int
    scheduler: str
    flags: str
    servers: tuple[ServerRow, ...]
    persistent: int = 0
    counted: Counted = Counted()


class _VirtualService:
    """The state of one virtual service on this host."""

    def __init__(self, service: Service) -> None:
        self.servers: list[Server] = []
        self.counters = Counters()
        self.forsaken = False  # whether a server with connections has been deleted
        self._idle_since: dict[Server, float] = {}
        self._known: Service | None = None
        self._drain = 0.0
        self._scheduler = SCHEDULERS[service.schedule]()
        self.follow(service, 0.0)

    def follow(self, service: Service, now: float) -> None:
        """Take over what has changed in the shared table since the last time.

        A server that is gone from it is deleted; with ``drain``, it stays with weight 0 as long as it has
        connections here, and is looked at every ``drain`` seconds.
        """
        if service is self._known:
            self._dismiss(now)
            return
        self._known = service
        self._drain = service.drain
        before = self.servers
        standing = {(server.address, server.port): server for server in before}
        wanted: list[Server] = []
        for backend in service.backends:
            server = standing.pop((backend.address, backend.port), None)
            if server is None:
                server = Server(backend.address, backend.port, backend.label)
            server.label, server.weight, server.last_weight = backend.label, backend.weight, backend.weight
            self._idle_since.pop(server, None)
            wanted.append(server)
        left = [server for server in standing.values() if self._stays(server)]
        self.servers = _in_place(before, wanted, left)
        self._scheduler.changed(before, self.servers)
        self._dismiss(now)

    def _stays(self, server: Server) -> bool:
        if server in self._idle_since or (self._drain and server.connections):
            server.weight = 0
            return True
        server.available = False
        self.forsaken = self.forsaken or bool(server.connections)
        return False

    def became_idle(self, server: Server, now: float) -> None:
        """The last connection to a server has gone."""
        if server.weight == 0 and server.available:
            self._idle_since[server] = now

    def _dismiss(self, now: float) -> None:
        """Delete the servers without weight and connections that a look at them has found since."""
        for server, since in tuple(self._idle_since.items()):
            if now < ceil(since / self._drain) * self._drain:
                continue
            del self._idle_since[server]
            before, self.servers = self.servers, [other for other in self.servers if other is not server]
            server.available = False
            self._scheduler.changed(before, self.servers)

    def close(self) -> None:
        """The service is gone, and its servers with it."""
        for server in self.servers:
            server.available = False
        self.forsaken = True

    def pick(self, opening: Opening) -> Server | None:
        return self._scheduler.pick(self.servers, opening)


def _in_place(before: list[Server], wanted: list[Server], left: list[Server]) -> list[Server]:
    """The new list; what is left of the old one stands behind what it stood behind, newcomers before all."""
    if not left:
        return wanted
    staying, known = frozenset(wanted), frozenset(before)
    behind: dict[Server | None, list[Server]] = {None: []}
    anchor: Server | None = None
    for server in before:
        if server in staying:
            anchor = server
        elif server in left:
            behind.setdefault(anchor, []).append(server)
    newcomers = [server for server in wanted if server not in known]
    servers = [*newcomers, *behind[None]]
    for server in wanted:
        if server in known:
            servers += [server, *behind.get(server, ())]
    return servers


class Ipvs:
    """The virtual services that this host was asked for, and the connections through them."""

    def __init__(self) -> None:
        self._services: dict[ServiceKey, _VirtualService] = {}
        self._connections: dict[Tuple, Connection] = {}
        self._expiries: list[tuple[float, int, Connection]] = []
        self._serial = 0
        self._persistence = Persistence()
        self._forsaken = False  # whether a server with connections has been deleted

    @property
    def known(self) -> int:
        """How many virtual services have been asked for."""
        return len(self._services)

    def has_expired(self, now: float) -> bool:
        """Whether ``expire`` has something to look at."""
        return bool(self._expiries) and self._expiries[0][0] <= now

    def expire(self, now: float) -> Iterator[Connection]:
        """Forget the connections whose time is over; their flows are for connection tracking to forget."""
        while self._expiries and self._expiries[0][0] <= now:
            when, _, connection = heapq.heappop(self._expiries)
            if self._connections.get(connection.asked) is not connection or connection.armed != when:
                continue
            if connection.expires > now:
                self._arm(connection)
                continue
            self._unbind(connection, connection.expires)
            yield connection

    def find(self, asked: Tuple, flags: int) -> Connection | None:
        """The connection that a packet to a virtual service belongs to.

        A SYN over one in TIME_WAIT, or over one whose server takes no more, begins a new one (ip_vs_in with
        conn_reuse_mode 1 and expire_nodest_conn).
        """
        connection = self._connections.get(asked)
        if connection is None:
            return None
        if flags & SYN and (connection.state is State.TIME_WAIT or connection.server.weight == 0):
            self._unbind(connection, connection.expires)
            return None
        return connection

    def follow_changed(
        self, keys: Iterable[ServiceKey] | None, now_at: Callable[[Tuple], Service | None], now: float
    ) -> None:
        """Take over what has become of these virtual services (None: of all); ``now_at`` says which is where.

        Connections to servers that are deleted are to expire now (net.ipv4.vs.expire_nodest_conn; since Linux
        5.9 without waiting for a packet: commit 04231e52d355, "ipvs: queue delayed work to expire no
        destination connections").
        """
        for key in tuple(self._services) if keys is None else keys:
            if key in self._services:
                protocol, address, port = key
                asked = Tuple(protocol, bytes(len(address)), 0, address, port)
                self.follow(now_at(asked), asked, now)
        if not self._forsaken:
            return
        self._forsaken = False
        for connection in self._connections.values():
            if not connection.server.available:
                connection.expires = now
                self._arm(connection)

    def follow(self, service: Service | None, asked: Tuple, now: float) -> None:
        """Take over what has become of the virtual service of a packet; None: it is no more."""
        key = (asked.protocol, asked.destination, asked.destination_port)
        known = self._services.get(key)
        if known is None:
            return
        if service is not None:
            known.follow(service, now)
        else:
            known.close()
            del self._services[key]
        self._forsaken = self._forsaken or known.forsaken
        known.forsaken = False

    def schedule(self, service: Service, asked: Tuple, now: float) -> Choice | None:
        """Begin a connection with the server that the scheduler picks; None: no server takes it."""
        key = (asked.protocol, asked.destination, asked.destination_port)
        state = self._services.get(key)
        if state is None:
            state = self._services[key] = _VirtualService(service)
        template = self._persistence.find(asked, now) if service.affinity is not None else None
        persistent = template is not None
        opening = Opening(asked.source, asked.source_port, asked.destination)
        server = template.server if template is not None else state.pick(opening)
        if server is None:
            return None
        if template is None and service.affinity is not None:
            template = self._persistence.remember(asked, server, service.affinity.seconds, now)
        connection = self._connections[asked] = Connection(asked, server, state.counters)
        server.counters.connections += 1
        state.counters.connections += 1
        if template is not None:
            connection.template = template
            template.used(now)
        server.inactive += 1
        connection.expires = now + TCP_TIMEOUTS[State.NONE]
        self._arm(connection)
        place = state.servers.index(server) + 1
        return Choice(connection, service.schedule.value, place, state.servers, persistent)

    @staticmethod
    def count(connection: Connection, size: int, *, reply: bool) -> None:
        """A packet of the connection, or an ICMP error about one, passed; ``size`` is the IP packet's."""
        if connection.server.available:
            connection.server.counters.add(size, reply=reply)
            connection.service.add(size, reply=reply)

    def seen(self, connection: Connection, flags: int, now: float, *, reply: bool) -> None:
        """A packet of the connection passed (ip_vs_set_state)."""
        if connection.asked.protocol != TCP:
            connection.expires = now + UDP_TIMEOUT
            if reply and connection.template is not None:
                connection.template.assured = True
            return
        before = connection.state
        flag = next((flag for flag in (RST, SYN, FIN, ACK) if flags & flag), 0)
        after = connection.state = NEXT[before, reply, flag] if flag else State.CLOSE
        connection.expires = now + TCP_TIMEOUTS[after]
        if after is State.ESTABLISHED and connection.template is not None:
            connection.template.assured = True
        if (before in ACTIVE) is not (after in ACTIVE):
            step = 1 if after in ACTIVE else -1
            connection.server.active += step
            connection.server.inactive -= step
        if connection.expires < connection.armed:
            self._arm(connection)

    def row(self, service: Service, key: ServiceKey, now: float) -> ServiceRow:
        """The virtual service as ``ipvsadm`` lists it; call ``expire`` before."""
        protocol, address, port = key
        state = self._services.get(key)
        if state is not None:
            state.follow(service, now)
            servers = [
                ServerRow(s.address, s.port, s.weight, s.active, s.inactive, s.counters.read())
                for s in state.servers
            ]
            counted = state.counters.read()
        else:
            counted = Counted()
            servers = [ServerRow(b.address, b.port, b.weight, 0, 0) for b in service.backends]
        flags = "mh-port" if service.schedule is Schedule.MH else ""
        seconds = int(service.affinity.seconds) if service.affinity is not None else 0
        scheduler = service.schedule.value
        return ServiceRow(protocol, address, port, scheduler, flags, tuple(servers), seconds, counted)

    def connections(self, now: float) -> Iterator[ConnectionRow]:
        """All connections, then what is remembered of clients; call ``expire`` before."""
        for asked, connection in self._connections.items():
            state = connection.state.value if asked.protocol == TCP else _PROTOCOLS[asked.protocol]
            yield ConnectionRow(asked, connection.server, state, connection.expires - now)
        for (protocol, client, address, port), template in self._persistence:
            if template.stands(now):
                asked = Tuple(protocol, client, 0, address, port)
                left = max(0.0, template.expires - now)
                state = "ASSURED" if template.assured else State.NONE.value
                yield ConnectionRow(asked, template.server, state, left)

    def _arm(self, connection: Connection) -> None:
        self._serial += 1
        connection.armed = connection.expires
        heapq.heappush(self._expiries, (connection.expires, self._serial, connection))

    def _unbind(self, connection: Connection, now: float) -> None:
        asked, server = connection.asked, connection.server
        del self._connections[asked]
        if connection.template is not None:
            connection.template.released(now)
        if connection.state in ACTIVE:
            server.active -= 1
        else:
            server.inactive -= 1
        state = self._services.get((asked.protocol, asked.destination, asked.destination_port))
        if state is not None and not server.connections:
            state.became_idle(server, now)


def render_ipvsadm(services: Iterable[ServiceRow]) -> str:
    """The text of ``ipvsadm -Ln``, which sorts services and servers by address, IPv4 first (ipvsadm.c,
    libipvs.c)."""
    lines = [
        f"IP Virtual Server version {VERSION} (size={CONNECTION_TABLE})",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
    ]
    for service in sorted(services, key=_rank):
        flags = f" ({service.flags})" if service.flags else ""
        flags += f" persistent {service.persistent}" if service.persistent else ""
        where = render_endpoint(service.address, service.port)
        lines.append(f"{_PROTOCOLS[service.protocol]:<5}{where} {service.scheduler}{flags}")
        for server in sorted(service.servers):
            at = render_endpoint(server.address, server.port)
            lines.append(
                f"  -> {at:<28} {'Masq':<7} {server.weight:<6} {server.active:<10} {server.inactive:<10}"
            )
    return "".join(f"{line}\n" for line in lines)


def render_ipvsadm_stats(services: Iterable[ServiceRow]) -> str:
    """The text of ``ipvsadm -Ln --stats`` (ipvsadm.c, print_title, print_service_entry)."""
    lines = [
        f"IP Virtual Server version {VERSION} (size={CONNECTION_TABLE})",
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
        "  -> RemoteAddress:Port",
    ]
    for service in sorted(services, key=_rank):
        where = f"{_PROTOCOLS[service.protocol]:<5}{render_endpoint(service.address, service.port)}"
        lines.append(f"{where:<33}{_numbers(service.counted)}")
        for server in sorted(service.servers):
            at = render_endpoint(server.address, server.port)
            lines.append(f"  -> {at:<28}{_numbers(server.counted)}")
    return "".join(f"{line}\n" for line in lines)


def _rank(row: ServiceRow) -> tuple[int, int, bytes, int]:
    return len(row.address), row.protocol, row.address, row.port


def render_ipvsadm_connections(rows: Iterable[ConnectionRow]) -> str:
    """The text of ``ipvsadm -Lnc`` (ipvsadm.c, print_conn), the oldest first."""
    lines = [
        "IPVS connection entries",
        "pro expire state       source             virtual            destination",
    ]
    for asked, server, state, seconds in rows:
        minutes, rest = divmod(int(seconds), 60)
        source, virtual, destination = (
            render_endpoint(address, port)
            for address, port in (
                (asked.source, asked.source_port),
                (asked.destination, asked.destination_port),
                (server.address, server.port),
            )
        )
        lines.append(
            f"{_PROTOCOLS[asked.protocol]:<3} {minutes:02}:{rest:02}  {state:<11} "
            f"{source:<18} {virtual:<18} {destination}"
        )
    return "".join(f"{line}\n" for line in lines)


def _numbers(counted: Counted) -> str:
    return "".join(_large(number) for number in counted)


def _large(number: int) -> str:
    """A number in nine columns, cut off and with a suffix from 100 million on (print_largenum)."""
    for limit, unit, suffix in _SUFFIXES:
        if number < limit:
            return f"{number // unit:>8}{suffix}" if suffix else f"{number:>9}"
    return f"{number // 10**12:>8}T"
