"""A Host on this machine's loopback interface and clock, so that netsim's programs meet real ones.

Only what servers and clients over TCP need: ``tests/interop`` alone waits in real time, and for as short as
the other side allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from ipaddress import IPv4Address
from typing import Any

from netsim.base.cause import Cause
from netsim.base.rng import Rng
from netsim.programs.host import Endpoint


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class LoopbackTask:
    """An asyncio task under the name that programs know."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    async def join(self) -> Any:
        return await self._task

    def cancel(self) -> None:
        self._task.cancel()


class LoopbackStream:
    """An asyncio connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.local = _endpoint(writer.get_extra_info("sockname"))
        self.peer = _endpoint(writer.get_extra_info("peername"))

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        return await asyncio.wait_for(self._reader.read(limit), timeout)

    async def write(self, data: bytes, *, cause: Cause | None = None) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


class LoopbackListener:
    """A listening socket; connections wait in a queue."""

    def __init__(self, port: int) -> None:
        self.local = Endpoint(IPv4Address("127.0.0.1"), port)
        self._waiting: asyncio.Queue[LoopbackStream] = asyncio.Queue()
        self.server: asyncio.Server | None = None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._waiting.put_nowait(LoopbackStream(reader, writer))

    async def accept(self) -> LoopbackStream:
        return await self._waiting.get()

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


class LoopbackHost:
    """The host; ``close`` ends what runs on it."""

    name = "loopback"

    def __init__(self) -> None:
        self.rng = Rng(1)
        self.files: dict[str, str] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        timer = loop.call_later(seconds, lambda: over.done() or over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> LoopbackTask:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.append(task)
        return LoopbackTask(task)

    async def listen(self, port: int, *, address: IPv4Address | None = None) -> LoopbackListener:
        listener = LoopbackListener(port)
        listener.server = await asyncio.start_server(listener.connected, "127.0.0.1", port)
        return listener

    async def connect(
        self, remote: Endpoint, *, timeout: float | None = None, cause: Cause | None = None
    ) -> LoopbackStream:
        connecting = asyncio.open_connection(str(remote.address), remote.port)
        return LoopbackStream(*await asyncio.wait_for(connecting, timeout))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task


def _endpoint(address: tuple[str, int]) -> Endpoint:
    return Endpoint(IPv4Address(address[0]), address[1])
