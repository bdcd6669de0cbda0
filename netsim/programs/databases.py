"""Databases of which only the door is there: they listen, stay up, and greet as their protocols do.

What a probe, a port check or a client's first step needs is answered; whoever goes on to log in or to ask is
told, in the protocol's own error, that netsim holds no data. memcached, which is little more than its
protocol, really keeps what it is given. Without a word of their own, others just keep connections open.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Host, Invocation, Program, Stream
from netsim.programs.servers import CANNOT_BIND
from netsim.programs.waiting import forever

NO_DATA = "netsim: this is the port of a database, without a database behind it"

MYSQL_PORT, POSTGRES_PORT, MEMCACHED_PORT = 3306, 5432, 11211

Talk = Callable[[Stream], Awaitable[None]]
"""One connection, from its first byte to its last; OSError and WireError end it."""


def door(server: str, ports: tuple[int, ...], talk: Callable[[], Talk]) -> Program:
    """A program that talks on each of its ports; ``talk`` is called once per start, and holds its state."""

    async def run(host: Host, start: Invocation) -> int:
        try:
            listeners = [await host.listen(port) for port in ports]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return CANNOT_BIND
        conversation = talk()

        async def serve(index: int) -> None:
            listener = listeners[index]
            try:
                while True:
                    stream = await listener.accept()
                    host.spawn(_hold(stream, conversation), f"{server}: client")
            finally:
                listener.close()

        for index in range(len(ports)):
            host.spawn(serve(index), server)
        await forever(host)
        return 0

    return run


async def _hold(stream: Stream, talk: Talk) -> None:
    try:
        await talk(stream)
    except (OSError, WireError):
        return  # the client is gone, or speaks something else
    finally:
        stream.close()


async def _write(stream: Stream, data: bytes, why: str) -> None:
    await stream.write(data, cause=Cause(Stage.PROGRAM, why))


class Bytes:
    """A stream's bytes in the portions that a protocol needs; ConnectionAbortedError at the end."""

    def __init__(self, stream: Stream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._unread = b""

    async def exactly(self, count: int) -> bytes:
        """That many octets; raises WireError when they are more than the limit."""
        if not 0 <= count <= self._limit:
            raise WireError("TCP", f"a message of {count} octets")
        while len(self._unread) < count:
            await self._more()
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    async def line(self) -> bytes:
        """A line without its end."""
        while b"\n" not in self._unread:
            if len(self._unread) > self._limit:
                raise WireError("TCP", "a line without an end")
            await self._more()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.removesuffix(b"\r")

    async def _more(self) -> None:
        data = await self._stream.read()
        if not data:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the client has closed the connection")
        self._unread += data


# --- those without a word of their own -------------------------------------------------------------------


async def listen_on(stream: Stream) -> None:
    """Read and say nothing, until the client closes."""
    while await stream.read():
        pass


def silent(server: str, *ports: int) -> Program:
    """A program that keeps connections open on its ports and says nothing."""
    return door(server, ports, lambda: listen_on)


# --- MySQL -----------------------------------------------------------------------------------------------

MYSQL_VERSION = b"8.4.0-netsim"
MYSQL_CAPABILITIES = 0x0008_8201  # LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH
MYSQL_UNKNOWN_ERROR = 1105  # ER_UNKNOWN_ERROR, SQLSTATE HY000


def _mysql_packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def mysql_handshake() -> bytes:
    """Protocol::HandshakeV10, with a scramble that is no secret: nobody can log in."""
    low, high = (
        (MYSQL_CAPABILITIES & 0xFFFF).to_bytes(2, "little"),
        (MYSQL_CAPABILITIES >> 16).to_bytes(2, "little"),
    )
    head = b"\x0a" + MYSQL_VERSION + b"\0" + (1).to_bytes(4, "little") + b"netsim!!" + b"\0"
    tail = low + b"\xff" + (2).to_bytes(2, "little") + high + b"\x15" + bytes(10) + b"netsim!!net!\0"
    return _mysql_packet(0, head + tail + b"caching_sha2_password\0")


def mysql_error(number: int) -> bytes:
    """ERR_Packet, which ends the connection."""
    code = MYSQL_UNKNOWN_ERROR.to_bytes(2, "little")
    return _mysql_packet(number, b"\xff" + code + b"#HY000" + NO_DATA.encode())


async def _mysql(stream: Stream) -> None:
    await _write(stream, mysql_handshake(), "mysqld greets")
    data = Bytes(stream, 1 << 24)
    head = await data.exactly(4)
    await data.exactly(int.from_bytes(head[:3], "little"))
    await _write(stream, mysql_error(head[3] + 1 & 0xFF), "mysqld refuses the login")


mysql = door("mysqld", (MYSQL_PORT,), lambda: _mysql)


# --- PostgreSQL ------------------------------------------------------------------------------------------

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
"""Codes in place of a protocol version, to which ``N`` is the answer of a server without (protocol-flow)."""
POSTGRES_LONGEST_START = 10000
"""MAX_STARTUP_PACKET_LENGTH."""


def postgres_error() -> bytes:
    """ErrorResponse: FATAL, feature_not_supported."""
    fields = (b"SFATAL", b"VFATAL", b"C0A000", b"M" + NO_DATA.encode())
    body = b"".join(field + b"\0" for field in fields) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


async def _postgres(stream: Stream) -> None:
    data = Bytes(stream, POSTGRES_LONGEST_START)
    while True:
        length = int.from_bytes(await data.exactly(4), "big")
        body = await data.exactly(length - 4)
        if int.from_bytes(body[:4], "big") not in (SSL_REQUEST, GSS_REQUEST):
            break
        await _write(stream, b"N", "postgres does not encrypt")
    await _write(stream, postgres_error(), "postgres refuses the session")


postgres = door("postgres", (POSTGRES_PORT,), lambda: _postgres)


# --- memcached -------------------------------------------------------------------------------------------

MEMCACHED_ITEM_LIMIT = 1 << 20
"""Octets of a value: memcached's item_size_max."""


def _memcached() -> Talk:
    """The text protocol (memcached's doc/protocol.txt): get, set, delete, version, quit."""
    store: dict[bytes, tuple[bytes, bytes]] = {}

    async def talk(stream: Stream) -> None:
        data = Bytes(stream, MEMCACHED_ITEM_LIMIT + 2)
        while (words := (await data.line()).split()) != [b"quit"]:
            match words:
                case [b"get", *keys] if keys:
                    found = ((key, *store[key]) for key in keys if key in store)
                    items = [b"VALUE %b %b %d\r\n%b\r\n" % (k, flags, len(v), v) for k, flags, v in found]
                    reply = b"".join(items) + b"END\r\n"
                case [b"set", key, flags, _, size] if size.isdigit():
                    store[key] = flags, (await data.exactly(int(size) + 2))[:-2]
                    reply = b"STORED\r\n"
                case [b"delete", key]:
                    reply = b"NOT_FOUND\r\n" if store.pop(key, None) is None else b"DELETED\r\n"
                case [b"version"]:
                    reply = b"VERSION 1.6.0-netsim\r\n"
                case _:
                    reply = b"ERROR\r\n"
            await _write(stream, reply, "memcached answers")

    return talk


memcached = door("memcached", (MEMCACHED_PORT,), _memcached)


# --- those that say nothing ------------------------------------------------------------------------------

rabbitmq = silent("rabbitmq", 5672)
kafka = silent("kafka", 9092)
cassandra = silent("cassandra", 9042)
zookeeper = silent("zookeeper", 2181)
