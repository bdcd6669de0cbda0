"""The servers that a stub case describes, and the driver of a resolver machine that asks them.

Replies take milliseconds; time passes only while the machine waits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from heapq import heappop, heappush
from ipaddress import ip_address
from typing import Any, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.errors import WireError
from netsim.resolver.commands import (
    Arrived,
    Close,
    Command,
    Done,
    Event,
    Joined,
    Lookup,
    Open,
    Receive,
    Refused,
    Send,
    TimedOut,
    Together,
    Transport,
)
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode, Record

ROUND_TRIP = 0.001
TTL = 30

_TRUNCATED = ("TC", "TC-NOTCP")


class Sent(NamedTuple):
    """One query on the wire: name, type, server, ``udp`` or ``tcp``, and when."""

    name: str
    rtype: str
    server: str
    transport: str
    time: float


class Network:
    """A case's servers, what was sent to them, and the time."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.now = 0.0
        self.sent: list[Sent] = []
        self._case = case
        self._servers: list[IpAddress] = []

    def refuses(self, server: IpAddress, transport: Transport) -> bool:
        """Whether the server's port is closed."""
        closed = str(server) in self._case.get("closed_servers", ())
        return closed or (transport is Transport.TCP and bool(self._case.get("tcp_refuse")))

    def ask(self, server: IpAddress, transport: Transport, data: bytes) -> tuple[float, bytes] | None:
        """When a reply comes, and its bytes; None for silence."""
        try:
            query = dns.parse(data)
        except WireError:
            return None
        name, qtype, _ = query.questions[0]
        self.sent.append(Sent(name, dns.type_name(qtype), str(server), transport.value, self.now))
        zones = self._case.get("server_zones", {})
        zone = {key.lower(): entry for key, entry in zones.get(str(server), self._case["zone"]).items()}
        entry = zone.get(name.lower(), zone.get("*", {}))
        reply = self._reply(query, zone, transport)
        if reply is None:
            return None
        limit = dns.MAXIMUM_SIZE
        if transport is Transport.UDP:
            limit = dns.MINIMUM_UDP_SIZE if query.edns is None else query.edns.size
        at = self.now + self._round_trip(server) + entry.get("delay_ms", 0) / 1000
        data = dns.build(reply)
        if len(data) > limit:  # the servers of the observations put nothing into a truncated answer
            data = dns.build(reply._replace(truncated=True, answers=()))
        return at, data

    def _round_trip(self, server: IpAddress) -> float:
        """Of two servers that were asked together, the one asked first was heard twice before the other."""
        if server not in self._servers:
            self._servers.append(server)
        return ROUND_TRIP * (1 + 2 * self._servers.index(server))

    def _reply(self, query: Message, zone: Mapping[str, Any], transport: Transport) -> Message | None:
        name, qtype, _ = query.questions[0]
        answers = []
        entry = zone.get(name.lower(), zone.get("*"))
        while entry is not None and "CNAME" in entry:
            answers.append(Record(name, dns.CNAME, dns.IN, TTL, entry["CNAME"]))
            name = entry["CNAME"]
            entry = zone.get(name.lower(), zone.get("*"))
        rcode = self._case["zone_default"] if entry is None else entry.get("rcode", "NOERROR")
        if isinstance(rcode, dict):
            rcode = rcode.get(dns.type_name(qtype), "NOERROR")
        if rcode == "TIMEOUT" or (rcode == "TC-NOTCP" and transport is Transport.TCP):
            return None
        if rcode == "LAME":
            return dns.reply(query)
        full = dns.reply(query, authoritative=True, recursion_available=True)
        if rcode in _TRUNCATED and transport is Transport.UDP:
            return full._replace(truncated=True)
        if entry is not None and rcode in ("NOERROR", *_TRUNCATED):
            for text in entry.get(dns.type_name(qtype), ()):
                answers.append(Record(name, qtype, dns.IN, TTL, ip_address(text).packed))
        code = Rcode.NOERROR if rcode in _TRUNCATED else Rcode[rcode]
        return full._replace(rcode=code, answers=tuple(answers))


class _Socket:
    """A socket of the machine, with what will arrive at it."""

    def __init__(self, transport: Transport, peer: IpAddress | None) -> None:
        self.transport = transport
        self.peer = peer
        self.arrivals: list[tuple[float, int, IpAddress, bytes | None]] = []


class _Lane:
    """A machine that runs beside others: what it waits for, or its result."""

    def __init__(self, machine: Generator[Command, Event, Any]) -> None:
        self.machine = machine
        self.sockets: dict[int, _Socket] = {}
        self.waits: Receive | None = None
        self.until = 0.0
        self.result: Any = None
        self.ended = False

    def go_on(self, event: Event | None, network: Network) -> None:
        """Obey the machine until it waits or ends."""
        try:
            command = next(self.machine) if event is None else self.machine.send(event)
            while not isinstance(command, Receive):
                command = self.machine.send(_obey(command, self.sockets, network))
        except StopIteration as stop:
            self.result, self.ended = stop.value, True
        else:
            self.waits, self.until = command, network.now + command.timeout

    def due(self) -> float:
        """When what it waits for comes, or its patience ends."""
        assert self.waits is not None
        arrivals = self.sockets[self.waits.socket].arrivals
        return min(self.until, arrivals[0][0]) if arrivals else self.until


def drive(machine: Generator[Command, Event, Lookup], network: Network) -> Lookup:
    """Run a machine to its end."""
    (lookup,) = _together((machine,), network)
    assert isinstance(lookup, Lookup)
    return lookup


def _together(machines: Iterable[Generator[Command, Event, Any]], network: Network) -> tuple[Any, ...]:
    """Run machines side by side, on one clock."""
    lanes = [_Lane(machine) for machine in machines]
    for lane in lanes:
        lane.go_on(None, network)
    while waiting := [lane for lane in lanes if not lane.ended]:
        lane = min(waiting, key=_Lane.due)
        assert lane.waits is not None
        left = max(lane.until - network.now, 0.0)
        lane.go_on(_receive(lane.sockets[lane.waits.socket], left, network), network)
    return tuple(lane.result for lane in lanes)


def _obey(command: Command, sockets: dict[int, _Socket], network: Network) -> Event:
    match command:
        case Open(socket, transport, to):
            sockets[socket] = _Socket(transport, to)
            if transport is Transport.TCP and to is not None:
                network.now += ROUND_TRIP
                if network.refuses(to, transport):
                    return Refused(network.now)
        case Send(socket, messages, _, to):
            opened = sockets[socket]
            peer = opened.peer or to
            assert peer is not None
            for message in messages:
                _send(opened, peer, message, network)
        case Close(socket):
            del sockets[socket]
        case Together(machines):
            results = _together(machines, network)
            return Joined(network.now, results)
    return Done(network.now)


def _send(socket: _Socket, peer: IpAddress, message: bytes, network: Network) -> None:
    number = len(network.sent)
    got = network.ask(peer, socket.transport, message)
    if network.refuses(peer, socket.transport):
        heappush(socket.arrivals, (network.now + ROUND_TRIP, number, peer, None))
    elif got is not None:
        heappush(socket.arrivals, (got[0], number, peer, got[1]))


def _receive(socket: _Socket, timeout: float, network: Network) -> Event:
    if not socket.arrivals or socket.arrivals[0][0] > network.now + timeout:
        network.now += timeout
        return TimedOut(network.now)
    at, _, peer, data = heappop(socket.arrivals)
    network.now = max(network.now, at)
    return Refused(network.now) if data is None else Arrived(network.now, data, peer)
