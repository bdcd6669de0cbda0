"""mongod as far as drivers look before they work: hello, ping and buildInfo on 27017. It holds no data.

Messages are those of the MongoDB wire protocol: OP_MSG, and OP_QUERY for a driver's first hello. Other
commands get CommandNotFound, as from a server that lacks them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TypeAlias

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.databases import Bytes, Talk, door
from netsim.programs.host import Host, Invocation, Stream

PORT = 27017
VERSION = "7.0.0"
WIRE_VERSION = 21
"""maxWireVersion of 7.0."""
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HEADER = struct.Struct("<iiii")  # messageLength, requestID, responseTo, opCode
MORE_TO_COME = 2
"""A flag of OP_MSG: the sender wants no reply."""
AWAIT_CAPABLE = 8
"""A flag of OP_REPLY."""
BSON_LIMIT, MESSAGE_LIMIT, BATCH_LIMIT = 16 * 1024 * 1024, 48_000_000, 100_000
"""maxBsonObjectSize, maxMessageSizeBytes, maxWriteBatchSize."""
COMMAND_NOT_FOUND = 59

Value: TypeAlias = "bool | int | float | str"


def bson(document: Mapping[str, Value]) -> bytes:
    """A document of flat values (bsonspec.org): int32, double, UTF-8 string and boolean."""
    body = b"".join(_element(name.encode() + b"\0", value) for name, value in document.items())
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def _element(name: bytes, value: Value) -> bytes:
    if isinstance(value, bool):
        return b"\x08" + name + bytes([value])
    if isinstance(value, int):
        return b"\x10" + name + value.to_bytes(4, "little", signed=True)
    if isinstance(value, float):
        return b"\x01" + name + struct.pack("<d", value)
    text = value.encode() + b"\0"
    return b"\x02" + name + len(text).to_bytes(4, "little") + text


def command_name(document: bytes) -> str:
    """The first key of a document, which names the command; raises WireError for what is none."""
    name, end, _ = document[5:].partition(b"\0")
    if len(document) < 5 or not end or int.from_bytes(document[:4], "little") > len(document):
        raise WireError("MongoDB", "not a document")
    return name.decode("utf-8", "replace")


def answer(command: str) -> dict[str, Value]:
    """The reply to a command."""
    match command.lower():
        case "hello" | "ismaster":
            return {
                "helloOk": True,
                "isWritablePrimary" if command == "hello" else "ismaster": True,
                "maxBsonObjectSize": BSON_LIMIT,
                "maxMessageSizeBytes": MESSAGE_LIMIT,
                "maxWriteBatchSize": BATCH_LIMIT,
                "minWireVersion": 0,
                "maxWireVersion": WIRE_VERSION,
                "readOnly": False,
                "ok": 1.0,
            }
        case "ping" | "endsessions":
            return {"ok": 1.0}
        case "buildinfo":
            return {"version": VERSION, "gitVersion": "netsim", "maxBsonObjectSize": BSON_LIMIT, "ok": 1.0}
    complaint = f"no such command: '{command}' (netsim's mongod holds no data)"
    return {"ok": 0.0, "errmsg": complaint, "code": COMMAND_NOT_FOUND, "codeName": "CommandNotFound"}


def reply_to(message: bytes, request: int, opcode: int) -> tuple[str, bytes]:
    """The command of a message's body, and the whole reply; empty when none is wanted."""
    if opcode == OP_MSG:
        flags = int.from_bytes(message[:4], "little")
        if message[4:5] != b"\0":
            raise WireError("MongoDB", "an OP_MSG that does not begin with its body")
        command = command_name(message[5:])
        body = b"" if flags & MORE_TO_COME else bytes(4) + b"\0" + bson(answer(command))
        return command, _message(request, OP_MSG, body) if body else b""
    if opcode == OP_QUERY:
        _, _, rest = message[4:].partition(b"\0")
        command = command_name(rest[8:])
        head = struct.pack("<iqii", AWAIT_CAPABLE, 0, 0, 1)
        return command, _message(request, OP_REPLY, head + bson(answer(command)))
    raise WireError("MongoDB", f"opcode {opcode}")


def _message(request: int, opcode: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), request, request, opcode) + body


async def _converse(stream: Stream) -> None:
    data = Bytes(stream, MESSAGE_LIMIT)
    while True:
        length, request, _, opcode = HEADER.unpack(await data.exactly(HEADER.size))
        command, reply = reply_to(await data.exactly(length - HEADER.size), request, opcode)
        if reply:
            await stream.write(reply, cause=Cause(Stage.PROGRAM, f"mongod answers {command[:20]}"))


def _talk() -> Talk:
    return _converse


async def mongo(host: Host, start: Invocation) -> int:
    """Serve until cancelled; 1 when the port is taken."""
    return await door("mongod", (PORT,), _talk)(host, start)
