"""TCP sockets of the operating system that carry messages behind their length (RFC 1035, section 4.2.2).

A server's clients are bounded in number and in time: one that sends nothing, half a message, or does not read
its replies is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]
Reply: TypeAlias = Callable[[bytes], None]
Handler: TypeAlias = Callable[[bytes, Address, Reply], None]

LENGTH = 2
READ_TIMEOUT = 3.0
"""Seconds in which a connection's first message must be there (coredns core/dnsserver/server.go)."""
IDLE_TIMEOUT = 10.0
"""Seconds in which the next one must be there, and in which a client must take its replies."""
MOST_CONNECTIONS = 1000
MOST_UNREAD = 1 << 20
"""Bytes of replies that a client may leave unread before it is cut off."""


class FramedServer:
    """Listens on an address; ``handler`` gets each message with the way to reply to it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def start(self, address: Address) -> None:
        """Listen; raises OSError when the address cannot be bound."""
        self._server = await asyncio.start_server(self._accept, *address)

    @property
    def address(self) -> Address:
        """Where it listens: the port that was chosen when 0 was asked for."""
        assert self._server is not None
        host, port, *_ = self._server.sockets[0].getsockname()
        return host, port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._conversations) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._conversations.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            writer.transport.abort()
        finally:
            self._conversations.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: Address = writer.get_extra_info("peername")[:2]

        def reply(data: bytes) -> None:
            if writer.transport.get_write_buffer_size() > MOST_UNREAD:
                writer.transport.abort()
            elif not writer.is_closing():
                writer.write(len(data).to_bytes(LENGTH, "big") + data)

        timeout = READ_TIMEOUT
        while True:
            async with asyncio.timeout(timeout):
                head = await reader.readexactly(LENGTH)
                data = await reader.readexactly(int.from_bytes(head, "big"))
            self._handler(data, client, reply)
            async with asyncio.timeout(IDLE_TIMEOUT):
                await writer.drain()
            timeout = IDLE_TIMEOUT

    async def close(self) -> None:
        """Stop listening, and end every conversation."""
        if self._server is not None:
            self._server.close()
        for task in [*self._conversations]:
            task.cancel()
        for task in [*self._conversations]:
            with suppress(asyncio.CancelledError):
                await task


async def ask(server: Address, data: bytes, timeout: float) -> bytes:
    """One message to a server and one back, on a connection of its own. Raises TimeoutError, or OSError."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(*server)
        try:
            writer.write(len(data).to_bytes(LENGTH, "big") + data)
            head = await reader.readexactly(LENGTH)
            return await reader.readexactly(int.from_bytes(head, "big"))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("EOF") from error
        finally:
            writer.close()
