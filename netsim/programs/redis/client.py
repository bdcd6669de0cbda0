"""The client's side of Redis: a connection that sends commands and waits for their replies."""

from __future__ import annotations

from netsim.base.cause import Cause
from netsim.programs.host import Host, Stream
from netsim.programs.http import connect_any, resolve_name
from netsim.programs.redis.resp import Reply, ReplyParser, encode_command
from netsim.programs.waiting import Deadline


class ConnectionEnded(ConnectionError):
    """The server closed the connection where a reply should have come."""


class Client:
    """One connection. Raises what ``Stream`` raises, ConnectionEnded, and WireError for what is not RESP."""

    def __init__(self, host: Host, stream: Stream) -> None:
        self._host = host
        self._stream = stream
        self._parser = ReplyParser()

    async def ask(self, *words: bytes, cause: Cause, timeout: float | None = None) -> Reply:
        """One command's reply."""
        deadline = Deadline(self._host, timeout)
        await self._stream.write(encode_command(*words), cause=cause)
        while (reply := self._parser.next()) is None:
            data = await self._stream.read(timeout=deadline.left())
            if not data:
                raise ConnectionEnded("Server closed the connection")
            self._parser.feed(data)
        return reply[0]

    def close(self) -> None:
        self._stream.close()


async def open_client(host: Host, name: str, port: int, *, cause: Cause, timeout: float | None) -> Client:
    """Connect to a Redis by name or address; LookupFailed, or what ``Host.connect`` raises."""
    addresses = await resolve_name(host, name)
    return Client(host, await connect_any(host, addresses, port, timeout=timeout, cause=cause))
