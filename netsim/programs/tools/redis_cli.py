"""redis-cli: one command from the arguments, or one per line of stdin; replies as redis-cli.c prints them.

Raw as into a pipe, which is what ``kubectl exec`` without a terminal gives; ``--no-raw`` prints as to a
terminal, as does FAKETTY in the environment. The pieces follow cliFormatReplyTTY, cliFormatReplyRaw and
cliConnect of Redis 7.0.
"""

from __future__ import annotations

import math
from getopt import GetoptError, getopt
from typing import NamedTuple

from netsim.base.errors import WireError
from netsim.programs.http import LookupFailed
from netsim.programs.ports import port_from_text
from netsim.programs.redis.client import Client, ConnectionEnded, open_client
from netsim.programs.redis.resp import ErrorReply, NilArray, Raw, Reply, Status, Words, split_words
from netsim.programs.terminal import bytes_from_text, text_from_bytes
from netsim.programs.tools.call import Call
from netsim.resolver.commands import GaiError

LONG = ("help", "raw", "no-raw", "version", "pass=", "user=", "no-auth-warning")
VERSION = "redis-cli 7.0.15\n"
WARNING = (
    "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.\n"
)
WRONG_OPTION = "Unrecognized option or bad number of args for: '{}'\n"


class Wishes(NamedTuple):
    """The options."""

    host: str = "127.0.0.1"
    port: int = 6379
    database: int = 0
    password: str = ""
    repeat: int = 1
    interval: float = 0.0
    raw: bool = True
    last_from_stdin: bool = False
    error_is_failure: bool = False


async def redis_cli(call: Call) -> int:
    try:
        given, operands = getopt(list(call.args), "h:p:a:n:r:i:u:d:xe3v", LONG)
    except GetoptError as error:
        call.error(WRONG_OPTION.format("-" * (1 if len(error.opt) == 1 else 2) + error.opt))
        return 1
    options = dict(given)
    if "-v" in options or "--version" in options:
        call.write(VERSION)
        return 0
    wishes = _wishes(options, call)
    if wishes.password and {"-a", "--pass", "-u"} & options.keys() and "--no-auth-warning" not in options:
        call.error(WARNING)
    session = _Session(call, wishes)
    try:
        return await _run(call, wishes, session, operands)
    finally:
        session.close()


def _wishes(options: dict[str, str], call: Call) -> Wishes:
    """The options' values; what is no number is 0, as atoi has it."""
    wishes = Wishes(
        host=options.get("-h", Wishes().host),
        port=port_from_text(options["-p"]) or 0 if "-p" in options else Wishes().port,
        database=int(options["-n"]) if options.get("-n", "").isdecimal() else 0,
        password=options.get("-a") or options.get("--pass") or call.env.get("REDISCLI_AUTH", ""),
        repeat=int(options["-r"]) if options.get("-r", "").lstrip("-").isdecimal() else 1,
        interval=float(options["-i"]) if options.get("-i", "").replace(".", "", 1).isdecimal() else 0.0,
        raw="--raw" in options or ("--no-raw" not in options and "FAKETTY" not in call.env),
        last_from_stdin="-x" in options,
        error_is_failure="-e" in options,
    )
    return _from_uri(options["-u"], wishes) if "-u" in options else wishes


def _from_uri(uri: str, wishes: Wishes) -> Wishes:
    """``redis://[user:password@]host[:port][/db]``."""
    rest = uri.removeprefix("redis://")
    credentials, at, address = rest.rpartition("@")
    place, _, database = address.partition("/")
    host, _, port = place.partition(":")
    return wishes._replace(
        host=host or wishes.host,
        port=port_from_text(port) or wishes.port,
        database=int(database) if database.isdecimal() else 0,
        password=credentials.rpartition(":")[2] if at else wishes.password,
    )


async def _run(call: Call, wishes: Wishes, session: _Session, operands: list[str]) -> int:
    if operands:
        words = [bytes_from_text(word) for word in operands]
        if wishes.last_from_stdin:
            words.append(bytes_from_text(call.stdin.read()))
        rounds: float = math.inf if wishes.repeat < 0 else wishes.repeat
        code = 0
        while rounds > 0 and code == 0:
            code = await session.ask(tuple(words))
            rounds -= 1
            if rounds > 0 and wishes.interval:
                await call.host.sleep(wishes.interval)
        return code
    while (line := call.stdin.read_line()) is not None:
        split = split_words(bytes_from_text(line))
        if split is None:
            call.write("Invalid argument(s)\n")
        elif split and split[0].lower() in (b"quit", b"exit"):
            return 0
        elif split and await session.ask(split):
            return 1
    return 0


class _Session:
    """A connection that is opened when it is needed."""

    def __init__(self, call: Call, wishes: Wishes) -> None:
        self._call = call
        self._wishes = wishes
        self._client: Client | None = None

    async def ask(self, words: Words) -> int:
        """Print one command's reply; the exit code."""
        try:
            client = self._client or await self._connect()
            reply = await client.ask(*words, cause=self._call.cause)
        except LookupFailed as error:
            reason = error.lookup.reason or GaiError.EAI_NODATA.value
            return self._cannot_connect(reason)
        except ConnectionEnded:
            self._client = None
            self._call.error("Error: Server closed the connection\n")
            return 1
        except (OSError, WireError) as error:
            if self._client is None:
                return self._cannot_connect(getattr(error, "strerror", None) or "Connection timed out")
            self._client = None
            self._call.error(f"Error: {getattr(error, 'strerror', None) or error}\n")
            return 1
        if isinstance(reply, ErrorReply) and self._wishes.error_is_failure:
            self._call.error(f"{reply.text}\n")
            return 1
        if prints_as_it_is(words) and isinstance(reply, bytes):
            self._call.write(text_from_bytes(reply))
        else:
            self._call.write(render(reply, raw=self._wishes.raw))
        return 0

    async def _connect(self) -> Client:
        host, port = self._wishes.host, self._wishes.port
        client = await open_client(self._call.host, host, port, cause=self._call.cause, timeout=None)
        self._client = client
        if self._wishes.password:
            await self._prepare(client, b"AUTH", self._wishes.password.encode())
        if self._wishes.database:
            await self._prepare(client, b"SELECT", b"%d" % self._wishes.database)
        return client

    async def _prepare(self, client: Client, *words: bytes) -> None:
        reply = await client.ask(*words, cause=self._call.cause)
        if isinstance(reply, ErrorReply):
            what = "AUTH failed" if words[0] == b"AUTH" else f"SELECT {self._wishes.database} failed"
            self._call.error(f"{what}: {reply.text}\n")

    def _cannot_connect(self, reason: str) -> int:
        where = f"{self._wishes.host}:{self._wishes.port}"
        self._call.error(f"Could not connect to Redis at {where}: {reason}\n")
        return 1

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def prints_as_it_is(words: Words) -> bool:
    """Commands whose reply is a text for people (cliSendCommand's ``output_raw``)."""
    name = [word.lower() for word in words[:2]]
    return name[0] == b"info" or name in ([b"client", b"list"], [b"client", b"info"])


def render(reply: Reply, *, raw: bool) -> str:
    """A reply as it is printed, with its newline; an error into a pipe has another behind it."""
    return f"{_into_pipe(reply)}\n" if raw else _for_terminal(reply, "")


def _into_pipe(reply: Reply) -> str:
    match reply:
        case None | NilArray():
            return ""
        case bytes():
            return text_from_bytes(reply)
        case Status(text) | Raw(text):
            return text_from_bytes(text)
        case ErrorReply(message):
            return f"{message}\n"
        case int():
            return str(reply)
    return "\n".join(map(_into_pipe, reply))


def _for_terminal(reply: Reply, prefix: str) -> str:
    match reply:
        case None | NilArray():
            return "(nil)\n"
        case bytes():
            return f"{_quoted(reply)}\n"
        case Status(text) | Raw(text):
            return f"{text_from_bytes(text)}\n"
        case ErrorReply(message):
            return f"(error) {message}\n"
        case int():
            return f"(integer) {reply}\n"
    if not reply:
        return "(empty array)\n"
    width = len(str(len(reply)))
    inner = prefix + " " * (width + 2)
    lines = [f"{number:>{width}}) {_for_terminal(part, inner)}" for number, part in enumerate(reply, 1)]
    return prefix.join(lines)


QUOTED = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b"}


def _quoted(text: bytes) -> str:
    """sdscatrepr."""
    shown = (QUOTED.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in text)
    return f'"{"".join(shown)}"'
