"""Whatever bytes come in, a server goes on: it answers the next client as if nothing had been."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netsim.base.rng import Rng
from netsim.programs.databases import memcached, mysql, postgres
from netsim.programs.elasticsearch import elasticsearch
from netsim.programs.host import Endpoint, Invocation, Program
from netsim.programs.mongo import HEADER, OP_MSG, bson, mongo
from netsim.programs.peer_messages import Check, Hello, Join, Node, State, Vote, render
from netsim.programs.telnet_server import telnet_server

from .playground import Playground

SERVER = IPv4Address("10.244.2.9")
PING = HEADER.pack(HEADER.size + 20, 1, 0, OP_MSG) + bytes(5) + bson({"ping": 1})
NODE = Node("x", "x", "10.244.1.5:9300")
LIARS = (
    render(Hello("docker-cluster", NODE)) + render(State(99, 1, "u", "nobody", (NODE,), ("x",))),
    render(Hello("docker-cluster", NODE))
    + render(Vote(10**30))
    + render(Join(-1, "other"))
    + render(Check()),
    render(Hello("docker-cluster", NODE._replace(address="no address"))),
    render(Hello("docker-cluster", NODE._replace(address=":99999999"))),
    render(Hello("docker-cluster", Node("", "", ""))) * 50,
)
"""Messages of the peers' protocol that no honest peer sends."""


def blobs() -> list[bytes]:
    rng = Rng(7)
    random = [bytes(rng.below(256) for _ in range(rng.below(200))) for _ in range(25)]
    return [*random, b"\0" * 64, b"\xff" * 64, b"\r\n" * 40, b"{" * 5000, *LIARS]


@pytest.mark.parametrize(
    ("program", "port", "hello", "answer"),
    [
        (memcached, 11211, b"version\r\n", b"VERSION"),
        (mysql, 3306, b"", b"P\0\0\0\x0a"),
        (postgres, 5432, b"\0\0\0\x08\x04\xd2\x16\x2f", b"N"),
        (mongo, 27017, PING, b"&\0\0\0"),
        (telnet_server, 2323, b"", b"\x1b[33m*** DFTD"),
        (elasticsearch, 9300, render(Hello("docker-cluster", NODE)), b'{"type": "hello"'),
    ],
)
def test_a_server_survives_every_client(program: Program, port: int, hello: bytes, answer: bytes) -> None:
    site = Playground()
    task = site.serve(program, Invocation("test", env={"discovery.type": "single-node"}))

    async def talk(data: bytes) -> bytes:
        stream = await site.jump.connect(Endpoint(SERVER, port))
        try:
            if data:
                await stream.write(data)
            return await stream.read(timeout=0.2)
        except OSError:
            return b""
        finally:
            stream.close()

    for blob in blobs():
        site.run(talk(blob))
    site.wait(100)
    assert not task.done  # type: ignore[attr-defined]  # a SimTask
    assert site.run(talk(hello)).startswith(answer)
