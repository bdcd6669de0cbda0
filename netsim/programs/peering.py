"""Peer discovery on a host's sockets: ``programs.peers`` with its connections, its timer and its names.

The adapter resolves the seeds through the host's own resolver, dials, accepts, and carries messages. It
decides nothing. A program makes one, runs it, and looks at ``peers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import assert_never

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.base.rng import Rng
from netsim.programs.errands import Errands
from netsim.programs.host import Endpoint, Host, Listener, Stream
from netsim.programs.http import LookupFailed, resolve_name
from netsim.programs.peer_messages import Message, Splitter, render, type_of
from netsim.programs.peers import (
    Accepted,
    Command,
    Connected,
    Dial,
    DialFailed,
    Ended,
    Event,
    HangUp,
    Link,
    Peers,
    Received,
    Resolve,
    SeedsFound,
    Send,
    Settings,
    Started,
)
from netsim.programs.ports import port_from_text
from netsim.programs.waiting import within

CONNECT_TIMEOUT = 30.0
"""Seconds (transport.connect_timeout)."""
RESOLVE_TIMEOUT = 5.0
"""Seconds for the names of one round (discovery.seed_resolver.timeout)."""


class _Connection:
    """One open connection, and what waits to be written to it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.outbox: list[Message] = []
        self.writing = False
        self.ended = False


class Peering:
    """A node that runs. ``seeds`` are names or addresses, with a port where it is not the node's own."""

    def __init__(self, host: Host, settings: Settings, seeds: Iterable[str], rng: Rng) -> None:
        self.peers = Peers(settings, rng)
        self._host = host
        self._seeds = tuple(seeds)
        self._port = settings.node.address.rpartition(":")[2]
        self._links: dict[Link, _Connection] = {}
        self._numbered = 0
        self._errands = Errands(host, "peers")
        self._resolving = False

    async def run(self, listener: Listener) -> None:
        """Be a peer until cancelled; what was started ends with it."""
        try:
            self._feed(Started())
            while True:
                self._opened(await listener.accept(), Accepted)
        finally:
            listener.close()
            self._errands.cancel()
            for link in self._links.values():
                link.stream.close()

    def _feed(self, event: Event) -> None:
        self._obey(self.peers.feed(event, self._host.now()))

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Resolve():
                    if not self._resolving:  # one round of names at a time, as SeedHostsResolver
                        self._resolving = True
                        self._errands.start("look up the seeds", self._resolve)
                case Dial(address):
                    self._errands.start(f"dial {address}", partial(self._dial, address))
                case Send(link, message):
                    self._send(link, message)
                case HangUp(link):
                    self._hang_up(link)
                case _:
                    assert_never(command)
        self._errands.wake(self.peers.deadline(), self._expire)

    def _expire(self) -> None:
        self._obey(self.peers.expire(self._host.now()))

    async def _resolve(self) -> None:
        """All seeds side by side; what has no address is left out."""
        lookups = [self._host.spawn(self._addresses(seed), f"peers: look up {seed}") for seed in self._seeds]
        found: dict[str, None] = {}
        try:
            for lookup in lookups:
                found.update(dict.fromkeys(await lookup.join()))
        finally:
            for lookup in lookups:
                lookup.cancel()
        self._resolving = False
        self._feed(SeedsFound(tuple(found)))

    async def _addresses(self, seed: str) -> list[str]:
        name, colon, port = seed.rpartition(":")
        if not colon:
            name, port = seed, self._port
        try:
            addresses = await within(self._host, RESOLVE_TIMEOUT, resolve_name(self._host, name))
        except (LookupFailed, TimeoutError):
            return []
        return [f"{address}:{port}" for address in addresses]

    # --- connections ---------------------------------------------------------------------------------

    async def _dial(self, address: str) -> None:
        cause = Cause(Stage.PROGRAM, f"peer discovery connects to {address}")
        text, _, port = address.rpartition(":")
        number = port_from_text(port)
        try:
            if number is None:
                raise OSError("no port")
            remote = Endpoint(IPv4Address(text), number)
            stream = await self._host.connect(remote, timeout=CONNECT_TIMEOUT, cause=cause)
        except (OSError, ValueError):
            self._feed(DialFailed(address))
            return
        self._opened(stream, partial(Connected, address=address))

    def _opened(self, stream: Stream, event: Callable[[Link], Event]) -> None:
        self._numbered += 1
        link = self._numbered
        self._links[link] = _Connection(stream)
        self._errands.start(f"read {stream.peer}", partial(self._read, link, self._links[link]))
        self._feed(event(link))

    async def _read(self, link: Link, connection: _Connection) -> None:
        splitter = Splitter()
        while not connection.ended:
            try:
                data = await connection.stream.read()
                messages = splitter.feed(data)
            except (OSError, WireError):
                data, messages = b"", []
            for message in messages:
                if not connection.ended:
                    self._feed(Received(link, message))
            if not data:
                break
        connection.stream.close()
        if self._links.pop(link, None) is not None:
            connection.ended = True
            self._feed(Ended(link))

    def _send(self, link: Link, message: Message) -> None:
        connection = self._links.get(link)
        if connection is None:
            return
        connection.outbox.append(message)
        if not connection.writing:
            connection.writing = True
            self._errands.start(f"write {connection.stream.peer}", partial(self._write, connection))

    async def _write(self, connection: _Connection) -> None:
        """Messages in order, each with its cause; then the end, if we hung up."""
        try:
            while connection.outbox:
                message = connection.outbox.pop(0)
                cause = Cause(Stage.PROGRAM, f"peer discovery: {type_of(message)}")
                await connection.stream.write(render(message), cause=cause)
        except OSError:
            connection.outbox.clear()  # the reader finds out as well
        connection.writing = False
        if connection.ended:
            connection.stream.close()

    def _hang_up(self, link: Link) -> None:
        connection = self._links.pop(link, None)
        if connection is not None:
            connection.ended = True
            if not connection.writing:
                connection.stream.close()
