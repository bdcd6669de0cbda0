"""Hosts in memory for the tests of programs that speak to each other: no packets, no latency, virtual time.

``Network.run`` drives one coroutine to its result while everything that it waits for happens; a task that
dies with an error ends the run with that error.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Coroutine, MutableMapping
from functools import partial
from ipaddress import IPv4Address
from typing import Any, TypeVar

from netsim.base.address import Mac
from netsim.base.cause import Cause
from netsim.base.rng import Rng
from netsim.planes.sim.scheduler import Scheduler, Signal, SimTask, Trap
from netsim.programs.host import Datagram, Endpoint, InterfaceView

T = TypeVar("T")


class Network:
    """The hosts, by address, and their clock."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.hosts: dict[IPv4Address, MemoryHost] = {}

    def host(self, address: str, *, resolv_conf: str = "") -> MemoryHost:
        host = MemoryHost(self, IPv4Address(address))
        host.files["/etc/resolv.conf"] = resolv_conf
        self.hosts[host.address] = host
        return host

    def run(self, coroutine: Coroutine[Any, Any, T], limit: float = 1000.0) -> T:
        task = self.scheduler.spawn(coroutine, "test")
        assert self.scheduler.run(lambda: task.done, self.scheduler.now + limit), "nothing more happens"
        self.scheduler.run(lambda: False, self.scheduler.now)  # what the end of the coroutine set off
        return task.result()

    async def until(self, ready: Callable[[], bool], waiting: list[Signal], timeout: float | None) -> None:
        end = None if timeout is None else self.scheduler.now + timeout
        while not ready():
            signal = Signal()
            waiting.append(signal)
            timer = None
            if end is not None:
                timer = self.scheduler.call_at(end, partial(signal.set, TimeoutError("timed out")))
            try:
                await signal
            finally:
                if timer is not None:
                    timer.cancel()


def wake(waiting: list[Signal]) -> None:
    signals = waiting[:]
    waiting.clear()
    for signal in signals:
        signal.set()


def _check_family(remote: Endpoint | None) -> None:
    """The hosts have IPv4 addresses only."""
    if remote is not None and remote.address.version == 6:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


class MemoryHost:
    """A host with one address."""

    def __init__(self, network: Network, address: IPv4Address) -> None:
        self.network = network
        self.address = address
        self.name = f"host-{address}"
        self.rng = Rng(1).derive(str(address))
        self.files: MutableMapping[str, str] = {}
        self.sockets: dict[int, MemoryUdp] = {}
        self.listeners: dict[int, MemoryListener] = {}
        self.tasks: list[SimTask[Any]] = []
        self.causes: list[Cause] = []
        self.streams: list[MemoryStream] = []
        self.sigterm = Trap()
        self._next_port = 40000

    def now(self) -> float:
        return self.network.scheduler.now

    async def sleep(self, seconds: float, *, background: bool = False) -> None:
        signal = Signal()
        due = self.now() + max(0.0, seconds)
        self.network.scheduler.call_at(due, signal.set, background=background)
        await signal

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> SimTask[T]:
        task = self.network.scheduler.spawn(coroutine, name)
        self.tasks.append(task)
        return task

    def trap(self) -> Trap:
        """SIGTERM; a test sets its signal."""
        return self.sigterm

    def interfaces(self) -> tuple[InterfaceView, ...]:
        return (
            InterfaceView(1, "lo", "loopback", Mac(bytes(6)), 65536, ("127.0.0.1/8",), "", None),
            InterfaceView(2, "eth0", "veth", Mac(bytes(6)), 1500, (f"{self.address}/24",), "", None),
        )

    def running(self) -> list[str]:
        return [task.name for task in self.tasks if not task.done]

    def port(self, wanted: int) -> int:
        self._next_port += 1
        return wanted or self._next_port

    async def udp(
        self, port: int = 0, *, address: IPv4Address | None = None, remote: Endpoint | None = None
    ) -> MemoryUdp:
        _check_family(remote)
        number = self.port(port)
        if number in self.sockets:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self.sockets[number] = MemoryUdp(self, number, remote)
        return self.sockets[number]

    async def listen(self, port: int, *, address: IPv4Address | None = None) -> MemoryListener:
        self.listeners[port] = MemoryListener(self, port)
        return self.listeners[port]

    async def connect(
        self, remote: Endpoint, *, timeout: float | None = None, cause: Cause | None = None
    ) -> MemoryStream:
        _check_family(remote)
        there = self.network.hosts.get(remote.address)
        if there is None:
            await self.sleep(timeout or 0)
            raise TimeoutError("timed out")
        listener = there.listeners.get(remote.port)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        near = MemoryStream(self, Endpoint(self.address, self.port(0)), remote)
        far = MemoryStream(there, remote, near.local)
        near.other, far.other = far, near
        self.streams.append(near)
        listener.backlog.append(far)
        wake(listener.waiting)
        return near


class MemoryUdp:
    """A UDP socket; datagrams arrive at once."""

    def __init__(self, host: MemoryHost, port: int, remote: Endpoint | None) -> None:
        self.host = host
        self.local = Endpoint(host.address, port)
        self.remote = remote
        self.inbox: deque[Datagram] = deque()
        self.refused = False
        self.waiting: list[Signal] = []

    async def send(self, data: bytes, to: Endpoint | None = None, *, cause: Cause | None = None) -> None:
        target = to or self.remote
        assert target is not None
        if cause is not None:
            self.host.causes.append(cause)
        there = self.host.network.hosts.get(target.address)
        if there is None:
            return
        socket = there.sockets.get(target.port)
        if socket is None:
            self.refused = self.remote is not None
            wake(self.waiting)
            return
        socket.inbox.append(Datagram(data, self.local, target, ()))
        wake(socket.waiting)

    async def recv(self, *, timeout: float | None = None) -> Datagram:
        await self.host.network.until(lambda: bool(self.inbox) or self.refused, self.waiting, timeout)
        if self.refused:
            self.refused = False
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return self.inbox.popleft()

    def close(self) -> None:
        self.host.sockets.pop(self.local.port, None)


class MemoryListener:
    """A listening TCP socket."""

    def __init__(self, host: MemoryHost, port: int) -> None:
        self.host = host
        self.local = Endpoint(host.address, port)
        self.backlog: deque[MemoryStream] = deque()
        self.waiting: list[Signal] = []

    async def accept(self) -> MemoryStream:
        await self.host.network.until(lambda: bool(self.backlog), self.waiting, None)
        return self.backlog.popleft()

    def close(self) -> None:
        self.host.listeners.pop(self.local.port, None)


class MemoryStream:
    """One end of a TCP connection."""

    def __init__(self, host: MemoryHost, local: Endpoint, peer: Endpoint) -> None:
        self.host = host
        self.local = local
        self.peer = peer
        self.other: MemoryStream
        self.unread = b""
        self.finished = False  # the other end sends no more
        self.broken = False
        self.closed = False
        self.waiting: list[Signal] = []

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        await self.host.network.until(
            lambda: bool(self.unread) or self.finished or self.broken, self.waiting, timeout
        )
        if self.broken:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        data, self.unread = self.unread[:limit], self.unread[limit:]
        return data

    async def write(self, data: bytes, *, cause: Cause | None = None) -> None:
        if self.broken or self.closed:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if cause is not None:
            self.host.causes.append(cause)
        self.other.unread += data
        wake(self.other.waiting)

    def close(self) -> None:
        self.closed = True
        self.other.finished = True
        wake(self.other.waiting)

    def abort(self) -> None:
        self.closed = True
        self.other.broken = True
        wake(self.other.waiting)
