"""Debian's Redis judges ours: the same replies to the same commands, and each follows the other."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from netsim.base.rng import Rng
from netsim.programs.host import Invocation
from netsim.programs.redis import redis
from netsim.programs.redis.commands import COMMANDS
from netsim.programs.redis.resp import ReplyParser, encode, encode_command
from netsim.programs.shell import run_command

from .loopback import LoopbackHost, free_port

pytestmark = pytest.mark.needs("redis-server", "redis-cli")

PATIENCE = 20.0
"""Seconds that a test waits for what must come at last."""
POLL = 0.02


@asynccontextmanager
async def ours(*args: str) -> AsyncIterator[int]:
    """Our server on a free port of the loopback interface."""
    host, port = LoopbackHost(), free_port()
    host.spawn(redis(host, Invocation("redis", args=("--port", str(port), *args))), "redis")  # type: ignore[arg-type]  # a part of a Host
    await listening(port)
    try:
        yield port
    finally:
        await host.close()


@asynccontextmanager
async def real(folder: Path, *args: str) -> AsyncIterator[int]:
    """Debian's server, which keeps nothing on disk but what replication needs."""
    port = free_port()
    quiet = ("--save", "", "--bind", "127.0.0.1", "--dir", str(folder), "--loglevel", "warning")
    command = ["redis-server", "--port", str(port), *quiet, "--repl-diskless-sync-delay", "0", *args]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        await listening(port)
        yield port
    finally:
        process.kill()
        process.wait()


async def listening(port: int) -> None:
    async def answers() -> bool:
        try:
            return await ask(port, "PING") == b"+PONG\r\n"
        except OSError:
            return False

    await until(answers)


async def until(holds: Callable[[], Any]) -> None:
    host = LoopbackHost()
    deadline = host.now() + PATIENCE
    while not await holds():
        assert host.now() < deadline, "it never came to hold"
        await host.sleep(POLL)


async def replies(port: int, commands: list[tuple[bytes, ...]]) -> list[bytes]:
    """Each command's reply, as the bytes that our own codec makes of it again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parser, seen = ReplyParser(), []
    try:
        for command in commands:
            writer.write(encode_command(*command))
            while (reply := parser.next()) is None:
                data = await asyncio.wait_for(reader.read(65536), PATIENCE)
                assert data, f"hung up at {command}"
                parser.feed(data)
            seen.append(encode(reply[0]))
    finally:
        writer.close()
    return seen


async def ask(port: int, *words: str) -> bytes:
    (reply,) = await replies(port, [tuple(word.encode() for word in words)])
    return reply


async def both(
    folder: Path, commands: list[tuple[bytes, ...]]
) -> list[tuple[tuple[bytes, ...], bytes, bytes]]:
    """(command, our reply, the real one) of each command that is answered differently."""
    async with ours() as our_port, real(folder) as real_port:
        pairs = zip(await replies(our_port, commands), await replies(real_port, commands), strict=True)
        return [(command, *pair) for command, pair in zip(commands, pairs, strict=True) if pair[0] != pair[1]]


def words(line: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in line.split())


KEYS = ("a", "b", "l", "m", "n")
INTEGERS = ("0", "1", "-1", "2", "-3", "7", "01", "x", "9223372036854775807", "-9223372036854775808")
VALUES = ("v", "10", "-5", "", "two words", "\r\n", "é", "9223372036854775806")
SHAPES = (
    "SET k v", "SET k v", "SET k v NX", "SET k v XX", "SET k v GET", "SET k v NX GET", "SET k v FOO",
    "SETNX k v",
    "GET k", "GETSET k v", "MGET k k", "MSET k v k v", "MSET k v k", "STRLEN k", "APPEND k v", "INCR k",
    "DECR k",
    "INCRBY k i", "DECRBY k i", "LPUSH k v v", "RPUSH k v v v", "LPOP k", "RPOP k", "LPOP k i", "RPOP k i",
    "LLEN k", "LINDEX k i", "LRANGE k i i", "DEL k", "DEL k k", "UNLINK k", "EXISTS k k", "TYPE k", "DBSIZE",
    "KEYS k", "SELECT i", "ECHO v", "PING v", "CLIENT SETNAME k", "CLIENT GETNAME", "FLUSHDB", "FLUSHALL FOO",
)  # fmt: skip


def drawn(rng: Rng) -> tuple[bytes, ...]:
    """A command of one of the shapes, with keys, values and integers in their places."""
    choices = {"k": KEYS, "v": VALUES, "i": INTEGERS}
    shape = rng.choice(SHAPES).split(" ")
    return tuple((rng.choice(choices[word]) if word in choices else word).encode() for word in shape)


@pytest.mark.parametrize("seed", range(5))
async def test_both_answer_a_thousand_commands_alike(tmp_path: Path, seed: int) -> None:
    rng = Rng(seed)
    assert await both(tmp_path, [drawn(rng) for _ in range(1000)]) == []


ACTIVE = frozenset(
    {"quit", "psync", "sync", "replicaof", "slaveof", "info", "hello", "command", "keys", "role"}
)
"""Commands that hang up, start a replication, or tell of the server's own."""


async def test_both_complain_alike_of_too_few_and_too_many_arguments(tmp_path: Path) -> None:
    names = [name for name in COMMANDS if name not in ACTIVE]
    commands = [(name.encode(), *[b"x"] * count) for name in names for count in range(6)]
    assert await both(tmp_path, commands) == []


LINES = (
    "FLY", "fly me to the moon", "FLY " + "x" * 200, "GET", "CONFIG GET databases",
    "CONFIG GET DATA* port2",
    "CONFIG GET", "CLIENT FOO", "CLIENT ID x", "CLIENT SETNAME a\x01", "COMMAND FOO", "COMMAND COUNT x",
    "REPLCONF a", "REPLCONF a b", "REPLCONF listening-port x", "REPLCONF listening-port 1 capa eof",
    "REPLICAOF a", "REPLICAOF a x", "REPLICAOF a 70000", "REPLICAOF a -1", "REPLICAOF NO ONE",
    "HELLO 4", "HELLO x", "AUTH a", "AUTH default a", "AUTH nobody a", "AUTH a b c", "SELECT 16",
    "SELECT x",
    "INFO keyspace", "INFO nothing", "ROLE", "KEYS *", "FLUSHALL SYNC", "FLUSHALL ASYNC", "PSYNC x",
    "LPOP a b c", "SET k v NX XX", "LRANGE k 0 x",
)  # fmt: skip


async def test_both_answer_single_lines_alike(tmp_path: Path) -> None:
    assert await both(tmp_path, [words(line) for line in LINES]) == []


async def test_arities_flags_and_keys_of_all_commands_are_redis_own(tmp_path: Path) -> None:
    async def described(port: int) -> dict[Any, Any]:
        parser = ReplyParser()
        parser.feed(await ask(port, "COMMAND", "INFO", *COMMANDS))
        (entries,) = parser.next()  # type: ignore[misc]  # a whole reply
        data = {b"write", b"readonly", b"admin", b"no_auth"}
        return {e[0]: (e[1], data & {flag.text.lstrip(b"+") for flag in e[2]}, *e[3:6]) for e in entries}  # type: ignore[union-attr, index]  # an array of arrays

    async with ours() as our_port, real(tmp_path) as real_port:
        assert await described(our_port) == await described(real_port)


RAW_LINES = (b"SET a 'it\\'s'\r\nGET a\n", b'SET a "x\\x41\\n"\r\nGET a\r\n', b'GET "a\r\n', b"GET 'a'b\r\n",
             b"*1\r\nGET\r\n", b"*1\r\n$-5\r\n", b"*x\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
             b"\r\n\r\nPING\r\n",
             b"*0\r\n*-1\r\nPING\r\n", b"*1\r\n$4\r\nQUIT\r\nPING\r\n")  # fmt: skip


async def test_both_read_the_wire_alike(tmp_path: Path) -> None:
    async def said(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data + b"QUIT\r\n")
        text = await asyncio.wait_for(reader.read(-1), PATIENCE)
        writer.close()
        return text

    async with ours() as our_port, real(tmp_path) as real_port:
        for data in RAW_LINES:
            assert await said(our_port, data) == await said(real_port, data), data


CONTENT = [
    *(("SET", f"string{number}", value) for number, value in enumerate(
        ("", "x", "0", "-1", "127", "40000", "-3000000000", "9223372036854775807", "a" * 100, "ab" * 20000))),
    *(("RPUSH", "short", value) for value in ("a", "1", "-1", "4095", "-4096", "70000", "3000000000",
    "x" * 70)),
    ("RPUSH", "long", *(f"element {number}" for number in range(3000))),
    ("RPUSH", "huge", "y" * 5000, "z" * 20000, "w" * 70000),
    ("RPUSH", "integers", *(str(number * number * number * 977) for number in range(-300, 300))),
]  # fmt: skip


async def contents(port: int) -> dict[str, bytes]:
    """Every key's value."""
    names = {name for _, name, *_ in CONTENT} | {"later", "list"}
    values = {}
    for name in sorted(names):
        kind = await ask(port, "TYPE", name)
        values[name] = await (
            ask(port, "LRANGE", name, "0", "-1") if kind == b"+list\r\n" else ask(port, "GET", name)
        )
    return values


async def follows(leader: int, follower: int) -> None:
    """The follower has what the leader has, gets what comes later, and takes nothing from others."""

    async def is_equal() -> bool:
        up = b"master_link_status:up" in await ask(follower, "INFO", "replication")
        return up and await contents(follower) == await contents(leader)

    await until(is_equal)
    for line in (
        "SET later 1",
        "INCR later",
        "LPUSH list a b c",
        "RPOP list",
        "DEL short",
        "APPEND string1 y",
    ):
        await ask(leader, *line.split())
    await until(is_equal)
    assert (await ask(follower, "SET", "later", "x")).startswith(b"-READONLY ")
    await ask(leader, "FLUSHALL")

    async def is_empty() -> bool:
        return await ask(follower, "DBSIZE") == b":0\r\n"

    await until(is_empty)


async def filled(port: int) -> None:
    for command in CONTENT:
        await ask(port, *command)


async def test_the_real_one_follows_ours(tmp_path: Path) -> None:
    async with ours() as leader:
        await filled(leader)
        async with real(tmp_path, "--replicaof", "127.0.0.1", str(leader)) as follower:
            await follows(leader, follower)
            assert b"role:slave" in await ask(follower, "INFO", "replication")
            assert b"connected_slaves:1" in await ask(leader, "INFO", "replication")


@pytest.mark.parametrize("diskless", ["yes", "no"])
@pytest.mark.parametrize("compression", ["yes", "no"])
async def test_ours_follows_the_real_one(tmp_path: Path, diskless: str, compression: str) -> None:
    options = ("--repl-diskless-sync", diskless, "--rdbcompression", compression)
    async with real(tmp_path, *options) as leader:
        await filled(leader)
        async with ours("--replicaof", "127.0.0.1", str(leader)) as follower:
            await follows(leader, follower)
            told = await ask(leader, "INFO", "replication")
            assert b"connected_slaves:1" in told
            assert b"state=online" in told


async def test_the_real_one_goes_on_with_us_where_it_was(tmp_path: Path) -> None:
    """Ours follows a real one and leads another; when it stops to follow,
    its history goes on under a new id."""
    async with (
        real(tmp_path) as first,
        ours("--replicaof", "127.0.0.1", str(first)) as middle,
        real(tmp_path, "--replicaof", "127.0.0.1", str(middle)) as last,
    ):
        await ask(first, "SET", "k", "1")

        async def has(value: bytes) -> bool:
            return await ask(last, "GET", "k") == value

        await until(lambda: has(b"$1\r\n1\r\n"))
        await ask(middle, "REPLICAOF", "NO", "ONE")
        await ask(middle, "SET", "k", "2")
        await until(lambda: has(b"$1\r\n2\r\n"))
        assert await ask(first, "GET", "k") == b"$1\r\n1\r\n"


CLI_LINES = (
    "PING", "GET nothing", "SET k v", "GET k", "INCR n", "RPUSH l a b c d e f g h i j", "LRANGE l 0 -1",
    "LRANGE no 0 -1", "LPOP no 2", "FLY me", "INCR l", "ROLE", "INFO keyspace", "ECHO a\"b\\c", "SET u é",
    "GET u",
    "KEYS z*", "COMMAND INFO nope", "-n 3 SET k x", "-n 99 PING", "-e FLY", "-x SET y", "-r 2 PING", "QUIT",
    "-a secret PING", "--no-such-option",
)  # fmt: skip


@pytest.mark.parametrize("mode", ["--raw", "--no-raw"])
async def test_both_redis_clis_print_the_same(tmp_path: Path, mode: str) -> None:
    async with real(tmp_path) as port:
        for line in CLI_LINES:
            arguments = ["redis-cli", "-p", str(port), mode, *line.split()]
            done = await asyncio.to_thread(
                subprocess.run, arguments, input=b"from stdin", capture_output=True, check=False
            )
            printed = (done.returncode, done.stdout.decode(), done.stderr.decode())
            await ask(port, "FLUSHALL") if line.startswith(("INCR n", "RPUSH", "-x")) else None
            again = await run_command(LoopbackHost(), arguments, stdin="from stdin")  # type: ignore[arg-type]  # a part of a Host
            assert again == printed, line
