"""A small Redis: strings and counters over RESP 2, enough to be connected to and asked.

Commands come as RESP arrays (redis-cli, client libraries) or inline (telnet, nc). Nothing expires,
persists or replicates.
"""

from __future__ import annotations

from collections.abc import Callable

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Host, Invocation, Stream
from netsim.programs.ports import port_to_open
from netsim.programs.servers import option

PORT = 6379
LINE_LIMIT = 65536
"""Octets of an inline command or a length line that Redis accepts (PROTO_INLINE_MAX_SIZE)."""
BULK_LIMIT = 1 << 20

Store = dict[bytes, bytes]


class _Reader:
    """Commands off a stream, each a list of words."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def _line(self) -> bytes | None:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_LIMIT:
                raise WireError("RESP", "too big inline request")
            data = await self._stream.read()
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.removesuffix(b"\r")

    async def _bulk(self) -> bytes | None:
        line = await self._line()
        if line is None:
            return None
        if not line.startswith(b"$"):
            raise WireError("RESP", f"expected '$', got '{chr(line[0]) if line else ' '}'")
        length = _number(line[1:], BULK_LIMIT, "invalid bulk length")
        while len(self._buffer) < length + 2:
            data = await self._stream.read()
            if not data:
                return None
            self._buffer += data
        word, self._buffer = self._buffer[:length], self._buffer[length + 2 :]
        return word

    async def command(self) -> list[bytes] | None:
        """The next command, or None when the client is gone; raises WireError for what is not RESP."""
        line = await self._line()
        if line is None or not line.startswith(b"*"):
            return None if line is None else line.split()
        words = []
        for _ in range(_number(line[1:], LINE_LIMIT, "invalid multibulk length")):
            word = await self._bulk()
            if word is None:
                return None
            words.append(word)
        return words


def _number(text: bytes, limit: int, complaint: str) -> int:
    if not text.isdigit() or int(text) > limit:
        raise WireError("RESP", complaint)
    return int(text)


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def _increment(store: Store, key: bytes) -> bytes:
    try:
        value = int(store.get(key, b"0")) + 1
    except ValueError:
        return b"-ERR value is not an integer or out of range\r\n"
    store[key] = b"%d" % value
    return b":%d\r\n" % value


def _set(store: Store, key: bytes, value: bytes) -> bytes:
    store[key] = value
    return b"+OK\r\n"


def _delete(store: Store, *keys: bytes) -> bytes:
    return b":%d\r\n" % sum(store.pop(key, None) is not None for key in keys)


def _ping(store: Store, *message: bytes) -> bytes:
    return _bulk(message[0]) if message else b"+PONG\r\n"


COMMANDS: dict[bytes, tuple[Callable[..., bytes], int, int]] = {
    b"PING": (_ping, 0, 1),
    b"ECHO": (lambda store, message: _bulk(message), 1, 1),
    b"SET": (_set, 2, 2),
    b"GET": (lambda store, key: _bulk(store.get(key)), 1, 1),
    b"INCR": (_increment, 1, 1),
    b"DEL": (_delete, 1, LINE_LIMIT),
    b"QUIT": (lambda store: b"+OK\r\n", 0, LINE_LIMIT),
}
"""Command → what answers it, and how many arguments it takes at least and at most."""


def answer(store: Store, words: list[bytes]) -> bytes:
    """The RESP reply to one command, with Redis's wording of errors."""
    name, arguments = words[0].upper(), words[1:]
    if name not in COMMANDS:
        asked, *rest = (word.decode("latin-1") for word in words)
        shown = "".join(f"'{word}' " for word in rest)
        return f"-ERR unknown command '{asked}', with args beginning with: {shown}\r\n".encode()
    execute, least, most = COMMANDS[name]
    if not least <= len(arguments) <= most:
        lower = name.decode().lower()
        return f"-ERR wrong number of arguments for '{lower}' command\r\n".encode()
    return execute(store, *arguments)


async def redis(host: Host, start: Invocation) -> int:
    """redis-server on port 6379, or on ``--port``; OSError when the port is taken or none."""
    store: Store = {}
    listener = await host.listen(port_to_open(option(start.args, "port") or str(PORT)))
    try:
        while True:
            host.spawn(_serve(await listener.accept(), store), "redis-server: client")
    finally:
        listener.close()


async def _serve(stream: Stream, store: Store) -> None:
    reader = _Reader(stream)
    try:
        while (words := await reader.command()) is not None:
            if words:
                name = words[0].upper().decode("latin-1")
                cause = Cause(Stage.PROGRAM, f"redis answers {name[:20]}")
                await stream.write(answer(store, words), cause=cause)
                if name == "QUIT":
                    return
    except WireError as error:
        await _refuse(stream, error)
    except OSError:
        return  # the client is gone
    finally:
        stream.close()


async def _refuse(stream: Stream, error: WireError) -> None:
    cause = Cause(Stage.PROGRAM, "redis answers a protocol error")
    try:
        await stream.write(f"-ERR Protocol error: {error}\r\n".encode(), cause=cause)
    except OSError:
        return
