"""The DNS servers: CoreDNS in its Pods, and the public resolver outside the cluster.

Both are machines (``clusterdns.server``, ``programs.dns_records``) behind one adapter, which reads UDP and
TCP, carries the questions upstream, and decides nothing. What a query means is not for here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from errno import EADDRINUSE, ENETUNREACH
from functools import partial
from ipaddress import IPv4Address, ip_address
from typing import Any, Protocol, TypeAlias, assert_never

from netsim.base.cause import Cause
from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Page, Transport
from netsim.clusterdns.server import (
    AskUpstream,
    Command,
    Event,
    QueryArrived,
    SendReply,
    Server,
    UpstreamReplied,
    UpstreamTimedOut,
)
from netsim.programs.dns_records import StaticResolver
from netsim.programs.host import Endpoint, Host, Invocation, Listener, Stream, Task, UdpSocket
from netsim.programs.http_server import Handler, Response
from netsim.programs.servers import serve_ports
from netsim.programs.waiting import Deadline, forever

COREFILE = "/etc/coredns/Corefile"
TERMINATION_LOG = "/dev/termination-log"
"""Where a container leaves its last words for the kubelet (terminationMessagePath)."""

READ_TIMEOUT = 3.0
"""Seconds in which a connection's first query must be there (coredns core/dnsserver/server.go)."""
IDLE_TIMEOUT = 10.0
"""Seconds in which the next query must be there; then the connection is closed."""


async def coredns(host: Host, start: Invocation) -> int:
    """CoreDNS's image. A Corefile that CoreDNS would refuse ends it with exit code 1.

    ``start.services``: ``zone`` is the cluster's KubernetesZone, ``corefile`` the Corefile's text. Upstreams
    come from the Corefile and the host's /etc/resolv.conf, ``{$NAME}`` from the container's environment.
    """
    try:
        server = Server(
            start.services["corefile"],
            start.services["zone"],
            host.rng.derive("coredns"),
            files=host.files,
            env=start.env,
            addresses=_own_addresses(host, start),
            name=COREFILE,
        )
    except CorefileError as error:
        host.files[TERMINATION_LOG] = f"{error.message}\n"
        return 1
    service = _Service(host, server, beside=partial(_serve_pages, host, server.pages))
    try:
        return await service.run()
    except OSError as error:
        if error.errno != EADDRINUSE:
            raise
        host.files[TERMINATION_LOG] = "Listen: bind: address already in use\n"
        return 1


async def _serve_pages(host: Host, pages: Sequence[Page]) -> int:
    """What the plugins serve over HTTP, on each of their ports."""

    def handler(port: int) -> Handler:
        texts = {page.path: page.text for page in pages if page.port == port}
        missing = Response("404 page not found\n", 404)
        return lambda request: Response(texts[request.path]) if request.path in texts else missing

    return await serve_ports(host, {page.port: handler(page.port) for page in pages}, "coredns")


async def upstream(host: Host, start: Invocation) -> int:
    """The public resolver on the gateway.

    ``start.services``: ``records`` maps names to their addresses.
    """
    return await _Service(host, StaticResolver(start.services["records"])).run()


def _own_addresses(host: Host, start: Invocation) -> Sequence[str]:
    if start.identity.pod_ip:
        return (start.identity.pod_ip,)
    addresses = (cidr.partition("/")[0] for view in host.interfaces() for cidr in view.addresses)
    return [address for address in addresses if not ip_address(address).is_loopback]


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


class _Service:
    """Runs one machine on a host's sockets, and what the same process does beside it."""

    def __init__(self, host: Host, machine: _Machine, *, beside: _Body | None = None) -> None:
        self._host = host
        self._machine = machine
        self._beside = beside
        self._sockets: list[UdpSocket | Listener] = []
        self._tasks: dict[int, Task[Any]] = {}
        self._started = 0
        self._alarm: float | None = None

    async def run(self) -> int:
        """Serve until cancelled; what was started ends with it."""
        try:
            for port in self._machine.ports:
                socket = await self._host.udp(port)
                self._sockets.append(socket)
                listener = await self._host.listen(port)
                self._sockets.append(listener)
                self._start(f"dns: port {port}/udp", partial(self._serve_udp, socket, port))
                self._start(f"dns: port {port}/tcp", partial(self._serve_tcp, listener, port))
            if self._beside is not None:
                self._start("dns: http", self._beside)
            await forever(self._host)
        finally:
            for task in list(self._tasks.values()):
                task.cancel()
            for opened in self._sockets:
                opened.close()
        return 0

    def _start(self, name: str, body: _Body) -> None:
        self._started += 1
        self._tasks[self._started] = self._host.spawn(self._run_task(self._started, body), name)

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
                case _:
                    assert_never(command)
        deadline = self._machine.deadline()
        if deadline is not None and (self._alarm is None or deadline < self._alarm):
            self._alarm = deadline
            self._start("dns: timer", partial(self._wake, deadline))

    async def _wake(self, deadline: float) -> None:
        await self._host.sleep(deadline - self._host.now())
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
            event = QueryArrived(datagram.data, client.address, Transport.UDP, port, partial(answer, client))
            await self._feed(event)

    async def _serve_tcp(self, listener: Listener, port: int) -> None:
        while True:
            stream = await listener.accept()
            self._start(f"dns: {stream.peer}/tcp", partial(self._converse, _Connection(stream), port))

    async def _converse(self, connection: _Connection, port: int) -> None:
        """Read queries until the client ends, breaks off or is silent. A slow answer holds up no other."""
        client = connection.stream.peer.address
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

    async def _query(self, connection: _Connection, data: bytes, client: IPv4Address, port: int) -> None:
        late = False

        async def answer(reply: bytes, cause: Cause) -> None:
            if late:
                connection.owed -= 1
            await connection.send(reply, cause)

        event = QueryArrived(data, client, Transport.TCP, port, answer)
        await self._feed(event)
        if self._machine.owes(event):
            late = True
            connection.owed += 1

    # --- upstreams ---

    async def _ask(self, command: AskUpstream) -> None:
        """Carry one question upstream and feed what comes of it."""
        ask = self._ask_udp if command.transport is Transport.UDP else self._ask_tcp
        try:
            await ask(command)
        except TimeoutError:
            await self._feed(UpstreamTimedOut(command.token))
        except OSError as error:
            await self._feed(UpstreamTimedOut(command.token, (error.strerror or str(error)).lower()))

    async def _ask_udp(self, command: AskUpstream) -> None:
        deadline = Deadline(self._host, command.timeout)
        socket = await self._host.udp(remote=_endpoint(command))
        try:
            await socket.send(command.data, cause=command.cause)
            while self._machine.waits_for(command.token):
                datagram = await socket.recv(timeout=deadline.left())
                await self._feed(UpstreamReplied(command.token, datagram.data))
        finally:
            socket.close()

    async def _ask_tcp(self, command: AskUpstream) -> None:
        deadline = Deadline(self._host, command.timeout)
        stream = await self._host.connect(_endpoint(command), timeout=deadline.left(), cause=command.cause)
        try:
            await stream.write(len(command.data).to_bytes(2, "big") + command.data, cause=command.cause)
            inlet = _Frames(stream)
            while self._machine.waits_for(command.token):
                data = await inlet.read(deadline)
                if data is None:
                    raise OSError(0, "EOF")
                await self._feed(UpstreamReplied(command.token, data))
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


def _endpoint(command: AskUpstream) -> Endpoint:
    address = command.upstream.address
    if not isinstance(address, IPv4Address):
        raise OSError(ENETUNREACH, "network is unreachable")  # hosts have IPv4 addresses only
    return Endpoint(address, command.upstream.port)
