"""The commands by which manifests ask a database whether it is there: pg_isready, mysqladmin ping, mongosh.

Each opens the connection that the real one opens, and reads as much as tells that a server answers.
"""

from __future__ import annotations

from netsim.programs.databases import MYSQL_PORT, POSTGRES_PORT, SSL_REQUEST
from netsim.programs.host import Endpoint, Stream
from netsim.programs.mongo import HEADER, OP_MSG, PORT, bson
from netsim.programs.ports import port_from_text
from netsim.programs.tools.call import Call, Failure
from netsim.programs.tools.names import NameNotFound, addresses_of
from netsim.programs.tools.options import Options, read_options

TIMEOUT = 3.0
"""Seconds (pg_isready's DEFAULT_CONNECT_TIMEOUT)."""
NO_RESPONSE = 2
"""pg_isready's exit code when nobody answers."""


async def _connect(call: Call, name: str, port: int) -> Stream:
    addresses = await addresses_of(call, name)
    return await call.host.connect(Endpoint(addresses[0], port), timeout=TIMEOUT, cause=call.cause)


async def _first_answer(call: Call, name: str, port: int, question: bytes) -> bytes:
    """What the server says first, or empty: nobody is there."""
    try:
        stream = await _connect(call, name, port)
    except (OSError, NameNotFound):
        return b""
    try:
        if question:
            await stream.write(question, cause=call.cause)
        return await stream.read(timeout=TIMEOUT)
    except OSError:
        return b""
    finally:
        stream.close()


def _port(options: Options, short: str, default: int) -> int:
    text = options.value(short, "port") or str(default)
    port = port_from_text(text)
    if port is None:
        raise Failure(f'invalid port number: "{text}"')
    return port


async def pg_isready(call: Call) -> int:
    """Without ``-h`` the server's socket is asked, here its loopback port."""
    options = read_options(
        call, "d:h:p:qt:U:V", ("dbname=", "host=", "port=", "quiet", "timeout=", "username=")
    )
    host, port = options.value("h", "host"), options.value("p", "port") or str(POSTGRES_PORT)
    question = (8).to_bytes(4, "big") + SSL_REQUEST.to_bytes(4, "big")
    number = port_from_text(port)
    answer = await _first_answer(call, host or "127.0.0.1", number, question) if number else b""
    if not options.has("q", "quiet"):
        state = "accepting connections" if answer else "no response"
        call.write(f"{host or '/var/run/postgresql'}:{port} - {state}\n")
    return 0 if answer else NO_RESPONSE


async def mysqladmin(call: Call) -> int:
    """``ping``: alive even when the login is refused, as there; other commands are not here."""
    plain = [word for word in call.args if not word.startswith(("-p", "--password"))]
    options = read_options(
        call._replace(argv=(call.argv[0], *plain)),
        "h:P:u:s",
        ("host=", "port=", "user=", "protocol=", "silent"),
    )
    if options.operands[:1] != ["ping"]:
        raise Failure("netsim has mysqladmin ping only")
    host, port = options.value("h", "host") or "localhost", _port(options, "P", MYSQL_PORT)
    if await _first_answer(call, host, port, b""):
        call.write("mysqld is alive\n")
        return 0
    call.error(f"mysqladmin: connect to server at '{host}' failed\n")
    return 1


async def mongosh(call: Call) -> int:
    """``--eval`` with a ping, which is what probes ask; netsim has no JavaScript."""
    names = (
        "eval=",
        "quiet",
        "norc",
        "nodb",
        "host=",
        "port=",
        "username=",
        "password=",
        "authenticationDatabase=",
    )
    options = read_options(call, "u:p:h:", names)
    script = options.value("eval") or ""
    if "ping" not in script:
        raise Failure("""netsim has --eval "db.adminCommand('ping')" only""")
    host = options.value("h", "host") or "127.0.0.1"
    ping = bytes(5) + bson({"ping": 1, "$db": "admin"})
    question = HEADER.pack(HEADER.size + len(ping), 1, 0, OP_MSG) + ping
    if await _first_answer(call, host, _port(options, "port", PORT), question):
        call.write("{ ok: 1 }\n")
        return 0
    call.error(f"MongoNetworkError: connect ECONNREFUSED {host}:{_port(options, 'port', PORT)}\n")
    return 1
