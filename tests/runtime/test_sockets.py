"""The sockets of the operating system: what is served fast, what is bounded, what is given back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from netsim.runtime import datagrams, framed
from netsim.runtime.datagrams import BurstSocket
from netsim.runtime.framed import FramedServer
from netsim.runtime.pages import PageServer

LOOPBACK = ("127.0.0.1", 0)
PATIENCE = 5.0


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE))


def echo(data: bytes, client: framed.Address, reply: framed.Reply) -> None:
    reply(data.upper())


async def served() -> tuple[FramedServer, framed.Address]:
    server = FramedServer(echo)
    await server.start(LOOPBACK)
    return server, server.address


def test_a_burst_of_datagrams_is_answered_whole_and_in_order() -> None:
    async def test() -> None:
        server = BurstSocket(LOOPBACK, lambda data, client: data.upper())
        server.start()
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(server.address)
            sent = [b"query %d" % number for number in range(3 * datagrams.BURST)]
            for data in sent:
                client.send(data)
            got = [await loop.sock_recv(client, 512) for _ in sent]
        server.close()
        assert got == [data.upper() for data in sent]

    run(test())


def test_a_reply_may_come_later_or_never() -> None:
    async def test() -> None:
        late: list[datagrams.Address] = []

        def handler(data: bytes, client: datagrams.Address) -> bytes | None:
            late.append(client)
            return None

        server = BurstSocket(LOOPBACK, handler)
        server.start()
        asking = asyncio.create_task(datagrams.ask(server.address, b"x", PATIENCE))
        while not late:
            await asyncio.sleep(0)
        server.send(b"later", late[0])
        assert await asking == b"later"
        with pytest.raises(TimeoutError):
            await datagrams.ask(server.address, b"x", 0.05)
        server.close()

    run(test())


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    async def test() -> None:
        first = BurstSocket(LOOPBACK, lambda data, client: None)
        taken = first.address
        with pytest.raises(OSError, match="in use"):
            BurstSocket(taken, lambda data, client: None)
        first.close()
        BurstSocket(taken, lambda data, client: None).close()

    run(test())


def test_messages_in_pieces_and_several_at_once_are_answered_one_by_one() -> None:
    async def test() -> None:
        server, address = await served()
        reader, writer = await asyncio.open_connection(*address)
        frames = b"\x00\x03one\x00\x03two\x00\x05three"
        for octet in frames:
            writer.write(bytes([octet]))
            await writer.drain()
        assert await reader.readexactly(len(frames)) == b"\x00\x03ONE\x00\x03TWO\x00\x05THREE"
        writer.close()
        assert await framed.ask(address, b"alone", PATIENCE) == b"ALONE"
        await server.close()

    run(test())


@pytest.mark.parametrize(
    "begun", [b"", b"\x00", b"\x00\x05hal"], ids=["silent", "half a length", "half open"]
)
def test_a_client_that_sends_too_little_is_cut_off(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framed, "READ_TIMEOUT", 0.05)

    async def test() -> None:
        server, address = await served()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(begun)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        await server.close()

    run(test())


def test_only_so_many_clients_are_served_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framed, "MOST_CONNECTIONS", 1)

    async def test() -> None:
        server, address = await served()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"\x00\x01a")
        assert await reader.readexactly(3) == b"\x00\x01A"
        with pytest.raises(OSError):
            await framed.ask(address, b"b", PATIENCE)
        writer.close()
        await server.close()

    run(test())


def test_a_client_that_does_not_read_is_cut_off() -> None:
    replies = 2 * framed.MOST_UNREAD // 60000 + 100  # more than both ends' buffers hold

    def flood(data: bytes, client: framed.Address, reply: framed.Reply) -> None:
        for _ in range(replies):
            reply(bytes(60000))

    async def test() -> None:
        server = FramedServer(flood)
        await server.start(LOOPBACK)
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"\x00\x01a")
        received = 0
        with suppress(ConnectionResetError):
            while data := await reader.read(1 << 16):
                received += len(data)
        assert received < replies * 60002
        writer.close()
        await server.close()

    run(test())


def test_pages_are_made_in_the_loop_and_served_over_http() -> None:
    async def test() -> None:
        def page(path: str) -> tuple[int, str]:
            asyncio.get_running_loop()
            return (200, "OK") if path == "/health" else (404, "not found\n")

        server = PageServer(LOOPBACK, page)
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET /health?x HTTP/1.0\r\n\r\n")
        reply = await reader.read()
        writer.close()
        server.close()
        assert reply.startswith(b"HTTP/1.0 200 OK\r\n")
        assert reply.endswith(b"\r\n\r\nOK")

    run(test())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("many_at_once", [True, False])
def test_what_is_recalled_needs_no_handler(
    monkeypatch: pytest.MonkeyPatch, host: str, many_at_once: bool
) -> None:
    if not many_at_once:
        monkeypatch.setattr(datagrams, "available", lambda: False)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    handled: list[bytes] = []

    def recall(data: bytes) -> bytes | None:
        return data.upper() * (5000 if b"long" in data else 1) if b"new" not in data else None

    async def test() -> None:
        def handler(data: bytes, client: datagrams.Address) -> bytes:
            handled.append(data)
            assert client[:2] == socket_of_client.getsockname()[:2]
            return b"made: " + data

        server = BurstSocket((host, 0), handler, recall)
        server.start()
        loop = asyncio.get_running_loop()
        with socket.socket(family, socket.SOCK_DGRAM) as socket_of_client:
            socket_of_client.setblocking(False)
            socket_of_client.connect(server.address)
            sent = [b"old 1", b"new 2", b"old 3", b"old 4", b"new 5", b"long 6", b"old 7"]
            for data in sent:
                socket_of_client.send(data)
            got = {await loop.sock_recv(socket_of_client, 65535) for _ in sent}
        server.close()
        made = {b"made: " + data for data in handled}
        assert {b"new 2", b"new 5"} == set(handled)
        assert got == made | {recall(data) for data in sent if b"new" not in data}

    run(test())
