"""The BGP daemon of nodes and routers: ``net.bgp.Speaker`` on a host's sockets and routing table.

The adapter opens and accepts connections on port 179, carries bytes, keeps the timer, and puts the routes
that the speaker learns into the host's table, each through the gateway that leads to its BGP next hop. It
decides nothing. The cluster holds a ``Control`` for each daemon, says through it what is wanted, and looks
at the speaker's state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from errno import EADDRINUSE
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from typing import assert_never

from netsim.base.address import IpAddress, IpNetwork
from netsim.base.cause import Cause, Stage
from netsim.net.bgp.events import (
    BytesArrived,
    CloseConnection,
    Command,
    Connection,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    InstallRoute,
    NextHopResolved,
    OpenConnection,
    Originated,
    RemoveRoute,
    SendBytes,
    Started,
)
from netsim.net.bgp.settings import SpeakerSettings
from netsim.net.bgp.speaker import Speaker
from netsim.programs.bgp_control import Control
from netsim.programs.errands import Errands
from netsim.programs.host import Endpoint, Host, Invocation, Listener, RouteView, Stream, Task
from netsim.wire.bgp import PORT

PROTOCOL = "bird"
"""What ``ip route`` prints as the origin of routes that BIRD has installed (RTPROT_BIRD)."""
ANY = IPv4Address("0.0.0.0")
"""Where a speaker of IPv4 routes waits for its peers. Calico runs a second BIRD for those of IPv6."""
MOST_TOLD = 3
"""Of messages that leave together, so many are told in the packet's notes."""
SCAN_TIME = 10.0
"""Seconds after which the ways to next hops are looked up again, when the daemon does something (BIRD's
device protocol: "scan time")."""


async def bgp(host: Host, start: Invocation) -> int:
    """Run until cancelled; 1 when port 179 is taken. ``start.services``: ``control`` is its Control.

    Killed, it leaves its routes behind, as BIRD does; the next one takes them away when it starts.
    """
    control: Control = start.services["control"]
    settings = control.settings
    try:
        listeners = [await host.listen(PORT, address=address) for address in settings.listens or (ANY,)]
    except OSError as error:
        if error.errno != EADDRINUSE:
            raise
        return 1
    for route in host.routes(settings.family):
        if route.protocol == PROTOCOL:
            host.remove_route(_prefix_of(route, settings.family), protocol=PROTOCOL)
    daemon = _Daemon(host, settings, control.progressed)
    control.runs(daemon)
    try:
        await daemon.run(listeners, control.prefixes)
    finally:
        control.runs(None)
    return 0


def way_to(host: Host, next_hop: IpAddress) -> tuple[IpAddress, str] | None:
    """The gateway and interface that lead to a next hop, by routes that the daemon did not learn."""
    route = host.route_to(next_hop, without=PROTOCOL)
    if route is None:
        return None
    return ip_address(route.via) if route.via else next_hop, route.device


def _prefix_of(route: RouteView, family: int) -> IpNetwork:
    everything = "0.0.0.0/0" if family == 4 else "::/0"
    return ip_network(everything if route.destination == "default" else route.destination)


def _joined(causes: Sequence[Cause]) -> Cause:
    """One cause for messages that leave together: what the first ones say."""
    if len(causes) == 1:
        return causes[0]
    more = f"; and {len(causes) - MOST_TOLD} more" if len(causes) > MOST_TOLD else ""
    return Cause(causes[0].stage, "; ".join(cause.text for cause in causes[:MOST_TOLD]) + more)


class _Link:
    """One open connection, and what waits to be written to it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.outbox: list[tuple[bytes, Cause]] = []
        self.writing = False
        self.ended = False


class _Daemon:
    """The adapter. ``feed`` may be called by tasks of the program and by the cluster alike."""

    def __init__(self, host: Host, settings: SpeakerSettings, progressed: Callable[[], None]) -> None:
        self.speaker = Speaker(settings, host.rng.derive("bgp"))
        self._host = host
        self._progressed = progressed
        self._links: dict[Connection, _Link] = {}
        self._dialling: dict[Connection, Task[None]] = {}
        self._errands = Errands(host, "bgp")
        self._commands: deque[Command] = deque()
        self._performing = False
        self._accepted = 0
        self._routes: dict[IpNetwork, InstallRoute] = {}
        self._ways: dict[IpAddress, tuple[IpAddress, str] | None] = {}
        self._scanned = 0.0

    async def run(self, listeners: Sequence[Listener], prefixes: Iterable[IpNetwork]) -> None:
        """Speak until cancelled; what was started ends with it."""
        try:
            for prefix in prefixes:
                self.feed(Originated(prefix))
            self.feed(Started())
            for listener in listeners[1:]:
                self._errands.start("accept", partial(self._accept, listener))
            await self._accept(listeners[0])
        finally:
            for listener in listeners:
                listener.close()
            self._errands.cancel()
            for link in self._links.values():
                link.stream.close()

    async def _accept(self, listener: Listener) -> None:
        while True:
            stream = await listener.accept()
            self._accepted += 1
            self._opened(Connection(stream.peer.address, True, self._accepted), stream)

    def feed(self, event: Event) -> None:
        """Tell the speaker, and do what it asks for."""
        self._perform(self.speaker.feed(event, self._host.now()))

    def _perform(self, commands: Sequence[Command]) -> None:
        """Do as told, in order: what comes of doing so is done after it."""
        self._commands.extend(commands)
        if self._performing:
            return
        self._performing = True
        while self._commands:
            self._obey(self._commands.popleft())
        self._performing = False
        self._errands.wake(self.speaker.deadline(), self._expire, background=True)
        self._progressed()

    def _obey(self, command: Command) -> None:
        match command:
            case SendBytes(connection, data, cause):
                self._send(connection, data, cause)
            case InstallRoute():
                self._install(command)
            case RemoveRoute(prefix):
                self._remove(prefix)
            case OpenConnection(connection):
                body = partial(self._dial, connection)
                self._dialling[connection] = self._errands.start(f"dial {connection}", body)
            case CloseConnection(connection):
                self._hang_up(connection)
            case _:
                assert_never(command)

    # --- time ----------------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = self._host.now()
        if now - self._scanned >= SCAN_TIME:
            self._scan(now)
        self._perform(self.speaker.expire(now))

    # --- connections ---------------------------------------------------------------------------------

    async def _dial(self, connection: Connection) -> None:
        remote = Endpoint(connection.peer, PORT)
        cause = Cause(Stage.PROGRAM, f"BGP connects to {connection.peer}")
        try:
            stream = await self._host.connect(remote, cause=cause)
        except OSError as error:
            self._dialling.pop(connection, None)
            self.feed(ConnectionFailed(connection, error.strerror or str(error)))
            return
        self._dialling.pop(connection, None)
        self._opened(connection, stream)

    def _opened(self, connection: Connection, stream: Stream) -> None:
        self._links[connection] = _Link(stream)
        self._errands.start(f"read {connection}", partial(self._read, connection, self._links[connection]))
        self.feed(ConnectionOpened(connection, stream.local.address))

    async def _read(self, connection: Connection, link: _Link) -> None:
        """Carry what the peer says. What it says after we hung up is read, too, and dropped."""
        reason = ""
        while True:
            try:
                data = await link.stream.read()
            except OSError as error:
                data, reason = b"", error.strerror or str(error)
            if not data:
                break
            if not link.ended:
                self.feed(BytesArrived(connection, data))
        link.stream.close()
        if not link.ended:
            self._forget(connection)
            self.feed(ConnectionClosed(connection, reason))

    def _send(self, connection: Connection, data: bytes, cause: Cause) -> None:
        link = self._links[connection]
        link.outbox.append((data, cause))
        if not link.writing:
            link.writing = True
            self._errands.start(f"write {connection}", partial(self._write, link))

    async def _write(self, link: _Link) -> None:
        """All messages that wait, in one go; then the end, if we hung up."""
        try:
            while link.outbox:
                messages, link.outbox = link.outbox, []
                data = b"".join(data for data, _ in messages)
                await link.stream.write(data, cause=_joined([cause for _, cause in messages]))
        except OSError:
            link.outbox.clear()  # the reader finds out as well
        link.writing = False
        if link.ended:
            link.stream.close()

    def _hang_up(self, connection: Connection) -> None:
        task = self._dialling.pop(connection, None)
        if task is not None:
            task.cancel()
        link = self._links.get(connection)
        if link is not None:
            self._forget(connection)
            if not link.writing:
                link.stream.close()

    def _forget(self, connection: Connection) -> None:
        self._links.pop(connection).ended = True

    # --- routes --------------------------------------------------------------------------------------

    def _install(self, route: InstallRoute) -> None:
        """Through the gateway that leads to the next hop; without one, the speaker chooses anew."""
        self._routes[route.prefix] = route
        if route.next_hop not in self._ways:
            self._ways[route.next_hop] = way_to(self._host, route.next_hop)
        self._put(route)
        if self._ways[route.next_hop] is None:
            self.feed(NextHopResolved(route.next_hop, None))

    def _put(self, route: InstallRoute) -> None:
        way = self._ways[route.next_hop]
        if way is None:
            self._host.remove_route(route.prefix, protocol=PROTOCOL)
            return
        gateway, device = way
        self._host.install_route(
            route.prefix, via=gateway, device=device, protocol=PROTOCOL, cause=route.cause
        )

    def _remove(self, prefix: IpNetwork) -> None:
        del self._routes[prefix]
        self._host.remove_route(prefix, protocol=PROTOCOL)

    def _scan(self, now: float) -> None:
        """Look at the host's other routes again, and follow where they lead now."""
        self._scanned = now
        for next_hop, before in list(self._ways.items()):
            way = way_to(self._host, next_hop)
            if way == before:
                continue
            self._ways[next_hop] = way
            for route in list(self._routes.values()):
                if route.next_hop == next_hop:
                    self._put(route)
            self.feed(NextHopResolved(next_hop, None if way is None else 0))
