"""Databases of which only the door is there: what clients and probes hear, and what they are refused."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from netsim.base.errors import WireError
from netsim.programs.databases import NO_DATA, cassandra, memcached, mysql, postgres
from netsim.programs.host import Endpoint, Invocation, Program
from netsim.programs.images import behaviour_of, program_for
from netsim.programs.mongo import OP_MSG, OP_QUERY, OP_REPLY, bson, command_name, mongo, reply_to
from netsim.programs.shell import run_command

from .playground import Playground

SERVER = IPv4Address("10.244.2.9")


def serving(program: Program) -> Playground:
    site = Playground()
    site.serve(program)
    return site


def exchange(site: Playground, port: int, *sent: bytes) -> list[bytes]:
    """What the server says, first of all and after each portion; empty at its end."""

    async def talk() -> list[bytes]:
        stream = await site.jump.connect(Endpoint(SERVER, port))
        heard = []
        for data in sent:
            if data:
                await stream.write(data)
            heard.append(await stream.read(timeout=5))
        return heard

    return site.run(talk())


# --- images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "port"),
    [
        ("mongo:7", 27017),
        ("postgres:16-alpine", 5432),
        ("bitnami/postgresql:16", 5432),
        ("mysql:8.4", 3306),
        ("mariadb", 3306),
        ("memcached:1.6", 11211),
        ("rabbitmq:3-management", 5672),
        ("bitnami/kafka", 9092),
        ("cassandra:5", 9042),
        ("registry.k8s.io/kubernetes-zookeeper:1.0", 2181),
    ],
)
def test_the_image_listens_stays_up_and_is_no_web_server(image: str, port: int) -> None:
    assert behaviour_of(image).pattern != "*"
    site = Playground()
    task = site.serve(program_for(image), Invocation(image))
    assert site.shell(f"nc -z 10.244.2.9 {port}").exit == 0
    assert "HTTP/" not in site.shell(f"curl -s -m 5 -i 10.244.2.9:{port}").stdout
    assert not task.done  # type: ignore[attr-defined]  # a SimTask


def test_a_port_that_is_taken_ends_it() -> None:
    site = serving(postgres)
    assert site.run(postgres(site.server, Invocation("postgres"))) == 1


# --- MySQL and PostgreSQL --------------------------------------------------------------------------------


def test_mysql_greets_and_refuses_the_login() -> None:
    greeting, refusal, end = exchange(serving(mysql), 3306, b"", b"\x02\0\0\x01hi", b"")
    length, number, version = int.from_bytes(greeting[:3], "little"), greeting[3], greeting[4]
    assert (length, number, version) == (len(greeting) - 4, 0, 10)
    assert greeting.endswith(b"caching_sha2_password\0")
    assert refusal[3:7] == b"\x02\xff\x51\x04"
    assert refusal.endswith(b"#HY000" + NO_DATA.encode())
    assert end == b""


def test_postgres_declines_encryption_and_refuses_the_session() -> None:
    ssl = struct.pack(">ii", 8, 80877103)
    start = struct.pack(">ii", 17, 196608) + b"user\0me\0\0"
    declined, refusal, end = exchange(serving(postgres), 5432, ssl, start, b"")
    assert declined == b"N"
    assert refusal[:1] == b"E"
    assert int.from_bytes(refusal[1:5], "big") == len(refusal) - 1
    assert b"C0A000\0M" + NO_DATA.encode() in refusal
    assert end == b""


@pytest.mark.parametrize("length", [0, 3, 20000])
def test_postgres_hangs_up_on_a_length_that_cannot_be(length: int) -> None:
    assert exchange(serving(postgres), 5432, length.to_bytes(4, "big")) == [b""]


# --- memcached -------------------------------------------------------------------------------------------


def test_memcached_keeps_what_it_is_given() -> None:
    site = serving(memcached)
    said = exchange(
        site,
        11211,
        b"set k 5 0 3\r\nabc\r\n",
        b"get k other\r\n",
        b"delete k\r\n",
        b"delete k\r\n",
        b"get k\r\n",
    )
    assert said == [
        b"STORED\r\n", b"VALUE k 5 3\r\nabc\r\nEND\r\n", b"DELETED\r\n", b"NOT_FOUND\r\n", b"END\r\n",
    ]  # fmt: skip


def test_memcached_shares_its_items_between_connections_and_refuses_what_it_does_not_know() -> None:
    site = serving(memcached)
    exchange(site, 11211, b"set k 0 0 1\r\nx\r\n")
    assert exchange(site, 11211, b"get k\r\n", b"fly\r\n", b"quit\r\n") == [
        b"VALUE k 0 1\r\nx\r\nEND\r\n", b"ERROR\r\n", b"",
    ]  # fmt: skip


def test_the_silent_ones_read_and_say_nothing() -> None:
    site = serving(cassandra)
    with pytest.raises(TimeoutError):
        exchange(site, 9042, b"hello")


# --- MongoDB ---------------------------------------------------------------------------------------------


def fields(reply: bytes) -> bytes:
    """The document of an OP_MSG."""
    return reply[16 + 5 :]


def op_msg(command: dict[str, bool | int | float | str], flags: int = 0) -> bytes:
    body = flags.to_bytes(4, "little") + b"\0" + bson(command)
    return struct.pack("<iiii", 16 + len(body), 7, 0, OP_MSG) + body


@pytest.mark.parametrize("command", ["hello", "isMaster", "ismaster", "ping", "buildInfo"])
def test_mongod_answers_what_drivers_ask_first(command: str) -> None:
    (reply,) = exchange(serving(mongo), 27017, op_msg({command: 1, "$db": "admin"}))
    assert struct.unpack("<iiii", reply[:16]) == (len(reply), 7, 7, OP_MSG)
    assert fields(reply).endswith(b"\x01ok\0" + struct.pack("<d", 1.0) + b"\0")


def test_mongod_does_not_know_commands_on_data() -> None:
    (reply,) = exchange(serving(mongo), 27017, op_msg({"find": "users", "$db": "shop"}))
    assert b"no such command: 'find'" in reply
    assert b"\x10code\0\x3b\0\0\0" in reply
    assert fields(reply).startswith(struct.pack("<i", len(fields(reply))) + b"\x01ok\0" + bytes(8))


def test_mongod_answers_a_drivers_first_hello_in_the_older_message() -> None:
    body = bytes(4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson({"isMaster": 1})
    (reply,) = exchange(serving(mongo), 27017, struct.pack("<iiii", 16 + len(body), 9, 0, OP_QUERY) + body)
    assert struct.unpack("<iiii", reply[:16]) == (len(reply), 9, 9, OP_REPLY)
    assert b"\x08ismaster\0\x01" in reply


def test_a_message_that_wants_no_reply_gets_none() -> None:
    first = op_msg({"ping": 1}, flags=2)
    assert len(exchange(serving(mongo), 27017, first + op_msg({"ping": 1}))) == 1
    assert reply_to(first[16:], 7, OP_MSG) == ("ping", b"")


@pytest.mark.parametrize("opcode", [OP_MSG, OP_QUERY, 2012])
@pytest.mark.parametrize("data", [b"", b"\0" * 5, b"\x02\0\0\0\x01", b"\xff" * 40])
def test_mongod_refuses_what_is_no_message(opcode: int, data: bytes) -> None:
    with pytest.raises(WireError):
        reply_to(data, 1, opcode)


def test_a_document_is_written_as_the_specification_says() -> None:
    assert bson({"hello": "world"}) == b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0"
    assert command_name(bson({"ping": 1, "$db": "admin"})) == "ping"


# --- the tools of probes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "line", "said"),
    [
        (postgres, "pg_isready -h 10.244.2.9 -U postgres", "10.244.2.9:5432 - accepting connections\n"),
        (mysql, "mysqladmin ping -h 10.244.2.9 -uroot -psecret", "mysqld is alive\n"),
        (mysql, "mysqladmin -p --password=x -h 10.244.2.9 ping", "mysqld is alive\n"),
        (mongo, "mongosh --quiet --host 10.244.2.9 --eval \"db.adminCommand('ping')\"", "{ ok: 1 }\n"),
    ],
)
def test_a_probe_hears_that_the_server_is_there(program: Program, line: str, said: str) -> None:
    assert serving(program).shell(line) == (0, said, "")


@pytest.mark.parametrize(
    ("line", "code", "stdout", "stderr"),
    [
        ("pg_isready -h 10.244.2.9", 2, "10.244.2.9:5432 - no response\n", ""),
        ("pg_isready -q", 2, "", ""),
        ("pg_isready -p x", 2, "/var/run/postgresql:x - no response\n", ""),
        ("mysqladmin -P x ping", 1, "", 'mysqladmin: invalid port number: "x"\n'),
        (
            "mysqladmin ping -h 10.244.2.9", 1, "",
            "mysqladmin: connect to server at '10.244.2.9' failed\n",
        ),
        ("mysqladmin status", 1, "", "mysqladmin: netsim has mysqladmin ping only\n"),
        (
            "mongosh --host 10.244.2.9 --eval 'db.runCommand({ping: 1})'", 1, "",
            "MongoNetworkError: connect ECONNREFUSED 10.244.2.9:27017\n",
        ),
        ("mongosh", 1, "", "mongosh: netsim has --eval \"db.adminCommand('ping')\" only\n"),
    ],
)  # fmt: skip
def test_a_probe_hears_that_nobody_is_there(line: str, code: int, stdout: str, stderr: str) -> None:
    assert Playground().shell(line) == (code, stdout, stderr)


def test_in_its_own_container_a_probe_asks_the_loopback() -> None:
    site = serving(postgres)
    outcome = site.run(run_command(site.server, ("pg_isready", "-U", "postgres")))
    assert outcome.stdout == "/var/run/postgresql:5432 - accepting connections\n"
