"""DNS servers on a host: the adapter that CoreDNS and the public resolver outside the cluster share.

Both are machines (``clusterdns.server``, ``programs.dns_records``) behind one adapter, which reads UDP and
TCP, carries the questions upstream, and decides nothing. What a query means is not for here; what CoreDNS's
process does besides is in ``programs.coredns``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import Any, Protocol, TypeAlias, assert_never

from netsim.base.cause import Cause
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.server import (
    AskUpstream,
    Command,
    Event,
    Exit,
    QueryArrived,
    Rebind,
    SendReply,
    UpstreamReplied,
    UpstreamTimedOut,
)
from netsim.programs.dns_records import StaticResolver
from netsim.programs.host import Endpoint, Host, Invocation, Listener, Stream, Task, UdpSocket
from netsim.programs.waiting import Deadline, forever

READ_TIMEOUT = 3.0
"""Seconds in which a connection's first query must be there (coredns core/dnsserver/server.go)."""
IDLE_TIMEOUT = 10.0
"""Seconds in which the next query must be there; then the connection is closed."""


async def upstream(host: Host, start: Invocation) -> int:
    """The public resolver on the gateway.

    ``start.services``: ``records`` maps names to their addresses.
    """
    return await Service(host, StaticResolver(start.services["records"])).run()


_Body: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
"""What a task is made of: a function, so that a task that never began leaves no coroutine behind."""


class _Machine(Protocol):
    """What the adapter needs of a server."""

    @property
    def ports(self) -> Sequence[int]: ...

    def feed(self, event: Event, now: float) -> Sequence[Command]: ...

    def deadline(self) -> float | None: ...

    def expire(self, now: float) -> Sequence[Command]: ...

    def waits_for(self, token: int) -> bool: ...

    def owes(self, query: QueryArrived) -> bool: ...


class _Port:
    """A port that is served: its sockets, and the tasks that read them."""

    def __init__(self, socket: UdpSocket) -> None:
        self.socket = socket
        self.listener: Listener | None = None
        self.tasks: list[Task[None]] = []

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.socket.close()
        if self.listener is not None:
            self.listener.close()


class _Connection:
    """One client's TCP connection. It closes when the client is done and nothing is owed."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.owed = 0
        self.ended = False
        self._outbox: list[tuple[bytes, Cause]] = []
        self._writing = False

    async def send(self, data: bytes, cause: Cause) -> None:
        """Write one message whole, whoever else writes."""
        self._outbox.append((len(data).to_bytes(2, "big") + data, cause))
        if self._writing:
            return
        self._writing = True
        try:
            while self._outbox:
                frame, why = self._outbox.pop(0)
                await self.stream.write(frame, cause=why)
        except OSError:
            self._outbox.clear()  # the client is gone
        finally:
            self._writing = False
        self.close_if_done()

    def close_if_done(self) -> None:
        if self.ended and not self.owed and not self._writing:
            self.stream.close()


class Service:
    """Runs one machine on a host's sockets, at one address or at all. A subclass adds what the same process
    does beside it."""

    def __init__(self, host: Host, machine: _Machine, address: IPv4Address | None = None) -> None:
        self._host = host
        self._machine = machine
        self._address = address
        self._ports: dict[int, _Port] = {}
        self._tasks: dict[int, Task[Any]] = {}
        self._started = 0
        self._alarm: float | None = None

    async def run(self) -> int:
        """Serve until cancelled; what was started ends with it."""
        try:
            await self._open()
            await self._serve()
        finally:
            for task in list(self._tasks.values()):
                task.cancel()
            for port in self._ports.values():
                port.close()
        return 0

    async def _serve(self) -> None:
        await forever(self._host)

    async def _open(self) -> None:
        """Listen on the machine's ports, and on no others."""
        for port in [port for port in self._ports if port not in self._machine.ports]:
            self._ports.pop(port).close()
        for port in self._machine.ports:
            if port in self._ports:
                continue
            socket = await self._host.udp(port, address=self._address)
            opened = self._ports[port] = _Port(socket)
            listener = opened.listener = await self._host.listen(port, address=self._address)
            opened.tasks.append(self._start(f"dns: port {port}/udp", partial(self._serve_udp, socket, port)))
            opened.tasks.append(
                self._start(f"dns: port {port}/tcp", partial(self._serve_tcp, listener, port))
            )

    def _start(self, name: str, body: _Body) -> Task[None]:
        self._started += 1
        task = self._tasks[self._started] = self._host.spawn(self._run_task(self._started, body), name)
        return task

    async def _run_task(self, number: int, body: _Body) -> None:
        try:
            await body()
        finally:
            self._tasks.pop(number, None)

    async def _feed(self, event: Event) -> None:
        await self._obey(self._machine.feed(event, self._host.now()))

    async def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case SendReply(query, data, cause):
                    await query.tag(data, cause)
                case AskUpstream():
                    self._start(f"dns: ask {command.upstream}", partial(self._ask, command))
                case Rebind():
                    await self._open()
                case Exit():
                    self._exit(command)
                case _:
                    assert_never(command)
        deadline = self._machine.deadline()
        if deadline is not None and (self._alarm is None or deadline < self._alarm):
            self._alarm = deadline
            self._start("dns: timer", partial(self._wake, deadline))

    def _exit(self, command: Exit) -> None:
        """The machine wants its process to end; only CoreDNS's does."""

    async def _wake(self, deadline: float) -> None:
        """In the background, for plugins look after things for ever: the reload plugin every 30 s."""
        await self._host.sleep(deadline - self._host.now(), background=True)
        if self._alarm == deadline:
            self._alarm = None
        await self._obey(self._machine.expire(self._host.now()))

    # --- clients ---

    async def _serve_udp(self, socket: UdpSocket, port: int) -> None:
        async def answer(client: Endpoint, data: bytes, cause: Cause) -> None:
            try:
                await socket.send(data, client, cause=cause)
            except OSError:
                return  # no way back to the client

        while True:
            try:
                datagram = await socket.recv()
            except ConnectionRefusedError:
                continue  # an earlier reply found its client gone
            client = datagram.source
            reply = partial(answer, client)
            event = QueryArrived(datagram.data, client.address, Transport.UDP, port, reply, client.port)
            await self._feed(event)

    async def _serve_tcp(self, listener: Listener, port: int) -> None:
        while True:
            stream = await listener.accept()
            self._start(f"dns: {stream.peer}/tcp", partial(self._converse, _Connection(stream), port))

    async def _converse(self, connection: _Connection, port: int) -> None:
        """Read queries until the client ends, breaks off or is silent. A slow answer holds up no other."""
        client = connection.stream.peer
        inlet = _Frames(connection.stream)
        timeout = READ_TIMEOUT
        while True:
            try:
                data = await inlet.read(Deadline(self._host, timeout))
            except OSError:
                break
            if data is None:
                break
            await self._query(connection, data, client, port)
            timeout = IDLE_TIMEOUT
        connection.ended = True
        connection.close_if_done()

    async def _query(self, connection: _Connection, data: bytes, client: Endpoint, port: int) -> None:
        late = False

        async def answer(reply: bytes, cause: Cause) -> None:
            if late:
                connection.owed -= 1
            await connection.send(reply, cause)

        event = QueryArrived(data, client.address, Transport.TCP, port, answer, client.port)
        await self._feed(event)
        if self._machine.owes(event):
            late = True
            connection.owed += 1

    # --- upstreams ---

    async def _ask(self, command: AskUpstream) -> None:
        """Carry one question upstream and feed what comes of it."""

        async def take(data: bytes) -> bool:
            await self._feed(UpstreamReplied(command.token, data))
            return not self._machine.waits_for(command.token)

        try:
            await carry(self._host, command, take)
        except TimeoutError:
            await self._feed(UpstreamTimedOut(command.token))
        except OSError as error:
            await self._feed(UpstreamTimedOut(command.token, (error.strerror or str(error)).lower()))


Take: TypeAlias = Callable[[bytes], Coroutine[Any, Any, bool]]


async def carry(host: Host, question: AskUpstream, take: Take) -> None:
    """Ask an upstream from a host. ``take`` is given what comes back, until it says that it has its answer.

    Raises TimeoutError when that is not within the question's timeout, and OSError.
    """
    ask = _ask_udp if question.transport is Transport.UDP else _ask_tcp
    upstream = Endpoint(question.upstream.address, question.upstream.port)
    await ask(host, upstream, question, Deadline(host, question.timeout), take)


async def _ask_udp(
    host: Host, upstream: Endpoint, question: AskUpstream, deadline: Deadline, take: Take
) -> None:
    socket = await host.udp(remote=upstream)
    try:
        await socket.send(question.data, cause=question.cause)
        while not await take((await socket.recv(timeout=deadline.left())).data):
            pass
    finally:
        socket.close()


async def _ask_tcp(
    host: Host, upstream: Endpoint, question: AskUpstream, deadline: Deadline, take: Take
) -> None:
    stream = await host.connect(upstream, timeout=deadline.left(), cause=question.cause)
    try:
        await stream.write(len(question.data).to_bytes(2, "big") + question.data, cause=question.cause)
        inlet = _Frames(stream)
        while (data := await inlet.read(deadline)) is not None:
            if await take(data):
                return
        raise OSError(0, "EOF")
    finally:
        stream.close()


class _Frames:
    """Messages of a stream, each behind its length (RFC 1035 section 4.2.2)."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def read(self, deadline: Deadline) -> bytes | None:
        """The next message; None when the stream ends before it is whole."""
        while len(self._buffer) < 2 or len(self._buffer) < 2 + int.from_bytes(self._buffer[:2], "big"):
            got = await self._stream.read(timeout=deadline.left())
            if not got:
                return None
            self._buffer += got
        end = 2 + int.from_bytes(self._buffer[:2], "big")
        message, self._buffer = self._buffer[2:end], self._buffer[end:]
        return message
