"""The host protocol on the sim plane: programs' calls become socket calls of a ``net.Stack``."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from netsim.base.address import IpAddress, IpNetwork, Mac, ip_from_packed, render_ip
from netsim.base.cause import Cause, Stage
from netsim.base.errors import HostGone
from netsim.base.rng import Rng
from netsim.net import tcp as engine
from netsim.net.fib import Route
from netsim.net.sockets import EchoSocket, Socket, TcpListener, TcpSocket, UdpSocket
from netsim.net.tcp_states import Failure, State
from netsim.plan.entries import HostName
from netsim.planes.sim.scheduler import Signal, SimTask, Trap
from netsim.programs.host import (
    LEARNT_METRIC,
    Datagram,
    EchoReply,
    Endpoint,
    InterfaceView,
    NeighbourView,
    ProbeReply,
    RouteView,
)
from netsim.resolver.commands import Libc

if TYPE_CHECKING:
    from netsim.net.stack import Stack
    from netsim.planes.sim.plane import SimPlane

T = TypeVar("T")
_FIRST_PID = 1


class SimHost:
    """One host as its programs see it. ``hostname`` may differ from the plan's name for it."""

    def __init__(self, plane: SimPlane, name: HostName, rng: Rng) -> None:
        self.hostname = name.rsplit("/", 1)[-1]
        self.libc = Libc.GLIBC
        self.files: dict[str, str] = {}
        self.rng = rng
        self._plane = plane
        self.plan_name = name
        self._waiting: dict[Socket, list[Signal]] = {}
        self._processes: dict[int, tuple[str, SimTask[Any]]] = {}
        self._next_pid = _FIRST_PID
        self._tasks: dict[SimTask[Any], None] = {}
        self._open: dict[_Closable, SimTask[Any] | None] = {}  # sockets, and the processes that have them
        self.gone = False

    # --- processes -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.hostname

    def now(self) -> float:
        return self._plane.now

    async def sleep(self, seconds: float, *, background: bool = False) -> None:
        signal = Signal()
        scheduler = self._plane.scheduler
        scheduler.call_at(scheduler.now + max(0.0, seconds), signal.set, background=background)
        await signal

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> SimTask[T]:
        """Run a coroutine beside the others of its program; it ends with that at the latest."""
        return self._keep(self._plane.scheduler.spawn(coroutine, name))

    def process(self, coroutine: Coroutine[Any, Any, T], title: str) -> SimTask[T]:
        """Run a coroutine as a process that ``ps`` shows. What it leaves open is closed when it ends."""
        task = self._keep(self._plane.scheduler.start(coroutine, title))
        pid = self._next_pid
        self._processes[pid] = (title, task)
        self._next_pid += 1
        task.finished.on_set(partial(self._processes.pop, pid, None))
        task.finished.on_set(partial(self._close_left, task))
        return task

    def _keep(self, task: SimTask[T]) -> SimTask[T]:
        self._tasks[task] = None
        task.finished.on_set(partial(self._tasks.pop, task, None))
        return task

    def stop(self) -> None:
        """Cancel everything that runs here and close what it leaves open; the host cannot be used again."""
        for task in list(self._tasks):
            task.cancel()
        self._close_left(None)
        self.gone = True
        for waiting in self._waiting.values():
            for signal in waiting:
                signal.set(ConnectionAbortedError(errno.ECONNABORTED, f"{self.hostname} is gone"))

    def _close_left(self, process: SimTask[Any] | None) -> None:
        """Close what a process that is over had open, or all that is open, as the kernel does.

        A connection with unread data is reset (RFC 2525 section 2.17, Linux tcp_close).
        """
        for socket, owner in list(self._open.items()):
            if process is not None and owner is not process:
                continue
            if isinstance(socket, SimStream) and socket.unread:
                socket.abort()
            else:
                socket.close()

    def processes(self) -> tuple[tuple[int, str], ...]:
        return tuple((pid, title) for pid, (title, _) in self._processes.items())

    def trap(self) -> Trap:
        running = self._plane.scheduler.running
        if running is None or running.process is None:
            return Trap()  # nobody terminates what is no process
        if running.process.trap is None:
            running.process.trap = Trap()
        return running.process.trap

    # --- waiting on sockets --------------------------------------------------------------------------

    def woken(self, socket: Socket) -> None:
        """Something happened on a socket: whoever waits looks again."""
        for signal in self._waiting.get(socket, ()):
            signal.set()

    async def _until(self, socket: Socket, ready: Callable[[], bool], timeout: float | None) -> None:
        """Wait until ``ready``; TimeoutError after ``timeout`` seconds."""
        scheduler = self._plane.scheduler
        end = None if timeout is None else scheduler.now + timeout
        while not ready():
            signal = Signal()
            waiting = self._waiting.setdefault(socket, [])
            waiting.append(signal)
            timer = None
            if end is not None:
                timer = scheduler.call_at(end, partial(signal.set, TimeoutError("timed out")))
            try:
                await signal
            finally:
                if timer is not None:
                    timer.cancel()
                waiting.remove(signal)
                if not waiting:
                    self._waiting.pop(socket, None)

    def stack(self) -> Stack:
        if self.gone:
            raise HostGone(f"{self.hostname} does not run any more")
        return self._plane.stack(self.plan_name)

    def opened(self, socket: _Closable) -> None:
        """A program has a new socket."""
        running = self._plane.scheduler.running
        self._open[socket] = running.process if running is not None else None

    def closed(self, socket: _Closable) -> bool:
        """The program closes a socket; False when it is closed already, by it or with the host."""
        was_open = socket in self._open
        self._open.pop(socket, None)
        return was_open

    def flush(self) -> None:
        """Hand what the stack has produced to the wires and to waiting programs."""
        self._plane.flush(self.plan_name)

    # --- sockets -------------------------------------------------------------------------------------

    async def udp(
        self, port: int = 0, *, address: IpAddress | None = None, remote: Endpoint | None = None
    ) -> SimUdpSocket:
        sockets = self.stack().at(self.now())
        peer = (remote.address.packed, remote.port) if remote is not None else None
        return SimUdpSocket(self, sockets.bind(port, _packed(address), peer))

    async def listen(self, port: int, *, address: IpAddress | None = None) -> SimListener:
        cause = Cause(Stage.PROGRAM, f"server on port {port}/tcp")
        sockets = self.stack().at(self.now())
        return SimListener(self, sockets.listen(port, _packed(address), cause))

    async def connect(
        self, remote: Endpoint, *, timeout: float | None = None, cause: Cause | None = None
    ) -> SimStream:
        why = cause or Cause(Stage.PROGRAM, f"connect to {remote}")
        sockets = self.stack().at(self.now())
        socket = sockets.connect(remote.address.packed, remote.port, why, self.now())
        self.flush()
        connection = socket.connection
        try:
            await self._until(socket, lambda: connection.state is not State.SYN_SENT, timeout)
        finally:
            if connection.state is State.SYN_SENT and not self.gone:
                self.feed(socket, engine.AbortCalled())
        if connection.failure is not None:
            raise _error_of(socket)
        return SimStream(self, socket)

    def feed(self, socket: TcpSocket, event: engine.Event) -> None:
        """Give a connection an event from its program."""
        self.stack().at(self.now()).feed(socket, event, self.now())
        self.flush()

    async def ping(
        self,
        address: IpAddress,
        *,
        sequence: int,
        size: int = 56,
        ttl: int = 64,
        timeout: float = 1.0,
        df: bool = False,
    ) -> EchoReply:
        started = self.now()
        sockets = self.stack().at(started)
        cause = Cause(Stage.PROGRAM, f"ping {address}, request {sequence}")
        socket = sockets.echo(
            address.packed, sequence=sequence, size=size, ttl=ttl, dont_fragment=df, cause=cause
        )
        self.flush()
        try:
            await self._until(socket, lambda: socket.answer is not None, timeout)
        finally:
            sockets.echo_close(socket)
        return _echo_reply(socket, self.now() - started)

    async def probe(self, remote: Endpoint, *, ttl: int, timeout: float = 1.0) -> ProbeReply:
        started = self.now()
        sockets = self.stack().at(started)
        peer = (remote.address.packed, remote.port)
        socket = sockets.bind(0, None, peer)
        cause = Cause(Stage.PROGRAM, f"traceroute to {remote.address}, TTL {ttl}")
        sockets.udp_send(socket, bytes(32), peer, (cause,), ttl=ttl)
        self.flush()
        try:
            await self._until(socket, lambda: bool(socket.problems), timeout)
        finally:
            sockets.udp_close(socket)
        problem = socket.problems[0]
        return ProbeReply(problem.kind, ip_from_packed(problem.source), self.now() - started)

    async def received(self, socket: UdpSocket, timeout: float | None) -> Datagram:
        """The next datagram of a socket; ConnectionRefusedError for an ICMP error about it."""
        await self._until(socket, lambda: bool(socket.inbox) or socket.refused, timeout)
        if socket.refused:
            socket.refused = False
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        got = socket.inbox.popleft()
        return Datagram(
            got.data,
            Endpoint(ip_from_packed(got.source), got.source_port),
            Endpoint(ip_from_packed(got.destination), socket.port),
            got.notes,
        )

    async def accepted(self, listener: TcpListener) -> TcpSocket:
        await self._until(listener, lambda: bool(listener.backlog), None)
        return listener.backlog.popleft()

    async def until(self, socket: TcpSocket, ready: Callable[[], bool], timeout: float | None) -> None:
        await self._until(socket, ready, timeout)

    # --- what tools show -----------------------------------------------------------------------------

    def listening(self) -> tuple[tuple[str, Endpoint], ...]:
        sockets = self.stack().sockets
        return tuple((p, Endpoint(ip_from_packed(a), port)) for p, a, port in sockets.listening())

    def interfaces(self) -> tuple[InterfaceView, ...]:
        return tuple(
            InterfaceView(
                device.index,
                device.name,
                device.kind.value if device.kind is not None else "loopback",
                Mac(device.mac),
                device.mtu,
                tuple(f"{render_ip(address)}/{length}" for address, length in self.stack().addresses(device)),
                device.master or "",
                self._plane.peer_index(self.plan_name, device.name),
            )
            for device in self.stack().links.devices.values()
        )

    def routes(self, family: int = 4) -> tuple[RouteView, ...]:
        return tuple(_route_view(route) for route in self._plane.routes(self.plan_name, family))

    def neighbours(self) -> tuple[NeighbourView, ...]:
        return self._plane.neighbours(self.plan_name)

    # --- routes of programs --------------------------------------------------------------------------

    def route_to(self, address: IpAddress, *, without: str = "") -> RouteView | None:
        found = self.stack().route_without(address.packed, without)
        return _route_view(found) if found is not None else None

    def install_route(
        self, prefix: IpNetwork, *, via: IpAddress, device: str, protocol: str, cause: Cause
    ) -> None:
        network, length, bits = int(prefix.network_address), prefix.prefixlen, prefix.max_prefixlen
        self.stack().learnt_in(bits).add(
            Route(network, length, device, via.packed, False, None, protocol, LEARNT_METRIC, cause, bits)
        )

    def remove_route(self, prefix: IpNetwork, *, protocol: str) -> None:
        learnt = self.stack().learnt_in(prefix.max_prefixlen)
        network, length = int(prefix.network_address), prefix.prefixlen
        for route in learnt.exact(network, length):
            if route.protocol == protocol:
                learnt.remove(network, length, route.metric)


class SimUdpSocket:
    """A UDP socket of a program."""

    def __init__(self, host: SimHost, socket: UdpSocket) -> None:
        self._host = host
        self._socket = socket
        host.opened(self)

    @property
    def local(self) -> Endpoint:
        return Endpoint(ip_from_packed(self._socket.local), self._socket.port)

    async def send(self, data: bytes, to: Endpoint | None = None, *, cause: Cause | None = None) -> None:
        target = (to.address.packed, to.port) if to is not None else self._socket.remote
        if target is None:
            raise OSError(errno.EDESTADDRREQ, "Destination address required")
        sockets = self._host.stack().at(self._host.now())
        causes = (cause,) if cause is not None else ()
        sockets.udp_send(self._socket, data, target, causes)
        self._host.flush()

    async def recv(self, *, timeout: float | None = None) -> Datagram:
        return await self._host.received(self._socket, timeout)

    def close(self) -> None:
        if self._host.closed(self):
            self._host.stack().sockets.udp_close(self._socket)


class SimStream:
    """A TCP connection of a program."""

    def __init__(self, host: SimHost, socket: TcpSocket) -> None:
        self._host = host
        self._socket = socket
        host.opened(self)

    @property
    def local(self) -> Endpoint:
        return Endpoint(ip_from_packed(self._socket.local), self._socket.connection.local_port)

    @property
    def unread(self) -> bool:
        """Whether data has come that the program did not take."""
        return bool(self._socket.connection.received)

    @property
    def peer(self) -> Endpoint:
        return Endpoint(ip_from_packed(self._socket.remote), self._socket.connection.remote_port)

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        connection = self._socket.connection
        await self._host.until(
            self._socket,
            lambda: bool(connection.received) or connection.peer_finished or connection.ended,
            timeout,
        )
        if connection.received:
            data = connection.take(limit)
            self._host.feed(self._socket, engine.ReadCalled())
            return data
        if connection.failure is not None and not connection.peer_finished:
            raise _error_of(self._socket)
        return b""

    async def write(self, data: bytes, *, cause: Cause | None = None) -> None:
        connection = self._socket.connection
        if connection.failure is not None:
            raise _error_of(self._socket)
        if connection.ended or connection.closing:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        if cause is not None:
            self._socket.cause = cause
        self._host.feed(self._socket, engine.WriteCalled(data))
        await self._host.until(self._socket, lambda: connection.writable or connection.ended, None)

    def close(self) -> None:
        if self._host.closed(self):
            self._host.feed(self._socket, engine.CloseCalled())

    def abort(self) -> None:
        self._host.closed(self)
        if not self._host.gone:
            self._host.feed(self._socket, engine.AbortCalled())


class SimListener:
    """A listening TCP socket of a program."""

    def __init__(self, host: SimHost, listener: TcpListener) -> None:
        self._host = host
        self._listener = listener
        host.opened(self)

    @property
    def local(self) -> Endpoint:
        return Endpoint(ip_from_packed(self._listener.local), self._listener.port)

    async def accept(self) -> SimStream:
        return SimStream(self._host, await self._host.accepted(self._listener))

    def close(self) -> None:
        if self._host.closed(self):
            self._host.stack().at(self._host.now()).listener_close(self._listener)
            self._host.flush()


_Closable: TypeAlias = SimUdpSocket | SimStream | SimListener


def _packed(address: IpAddress | None) -> bytes | None:
    return address.packed if address is not None else None


def _error_of(socket: TcpSocket) -> OSError:
    """The exception for a failed connection; its note says who refused it and how."""
    failure, problem = socket.connection.failure, socket.problem
    if failure is Failure.REFUSED:
        error: OSError = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        how = f"ICMP {problem.kind} from {render_ip(problem.source)}" if problem else (
            f"RST from {render_ip(socket.remote)}"
        )  # fmt: skip
        error.add_note(how)
        return error
    if failure is Failure.UNREACHABLE:
        network = problem is not None and problem.kind == "net-unreachable"
        code = errno.ENETUNREACH if network else errno.EHOSTUNREACH
        return OSError(code, "Network is unreachable" if network else "No route to host")
    if failure is Failure.TIMED_OUT:
        return TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    if failure is Failure.ABORTED:
        return ConnectionAbortedError(errno.ECONNABORTED, "Connection aborted")
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def _echo_reply(socket: EchoSocket, elapsed: float) -> EchoReply:
    assert socket.answer is not None
    kind, source, ttl, size = socket.answer
    return EchoReply(kind, ip_from_packed(source), socket.sequence, size, ttl, elapsed)


def _route_view(route: Route) -> RouteView:
    prefix = f"{render_ip(route.network.to_bytes(route.bits // 8, 'big'))}/{route.length}"
    return RouteView(
        "default" if route.length == 0 else prefix,
        render_ip(route.via) if route.via is not None else "",
        route.device,
        route.protocol,
        "link" if route.via is None else "global",
        render_ip(route.source) if route.source is not None else "",
        route.onlink,
        route.metric,
    )
