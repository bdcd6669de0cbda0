"""The follower's side of replication: find the leader, shake hands, take its data, then obey its stream.

The steps, their order and their waiting are those of replication.c in Redis 7.0 (syncWithMaster,
slaveTryPartialResynchronization, readSyncBulkPayload, replicationCron): an attempt each second while there
is no link, one at once when a link breaks. The leader's name is resolved anew at each attempt.
"""

from __future__ import annotations

import math
from contextlib import suppress

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Stream
from netsim.programs.http import connect_any, resolve_name
from netsim.programs.redis import rdb
from netsim.programs.redis.commands import execute
from netsim.programs.redis.replication import CRON_PERIOD, TIMEOUT, Leader, LinkState
from netsim.programs.redis.resp import Command, CommandParser, encode_command
from netsim.programs.redis.server import Server, Session

ALIVE = (b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted")
"""Beginnings of replies to PING with which a follower goes on; the errors ask for a password."""
EOF_MARK = 40
"""Octets of the mark that ends a snapshot whose length was not known."""


async def follow(server: Server, leader: Leader) -> None:
    """Keep up the link to a leader until cancelled; one that breaks at once is not mended at once."""
    while True:
        link = Link(server, leader)
        with suppress(OSError, WireError):  # the answer to either is the next attempt
            await link.run()
        link.broken()
        if server.host.now() - link.up_since < CRON_PERIOD:
            await server.host.sleep(CRON_PERIOD)


class Link:
    """One connection to the leader."""

    def __init__(self, server: Server, leader: Leader) -> None:
        self._server = server
        self._host = server.host
        self._replication = server.replication
        self._leader = leader
        self._session: Session
        self._stream: Stream
        self._unread = b""
        self.up_since = math.inf

    async def run(self) -> None:
        """Until the link breaks: OSError, or WireError for a leader that is none."""
        why = f"redis replicates {self._leader.host}:{self._leader.port}"
        self._cause = Cause(Stage.PROGRAM, why)
        self._replication.state = LinkState.CONNECTING
        addresses = await resolve_name(self._host, self._leader.host)
        port = self._leader.port
        self._stream = await connect_any(self._host, addresses, port, timeout=TIMEOUT, cause=self._cause)
        try:
            self._replication.state = LinkState.HANDSHAKE
            await self._shake_hands()
            await self._synchronize()
            await self._obey()
        finally:
            self._stream.close()

    def broken(self) -> None:
        """Say that there is no link."""
        self._replication.state = LinkState.CONNECT
        self._replication.link_offset = -1
        if self.up_since < math.inf:
            self._replication.down_since = self._host.now()

    # --- bytes ---------------------------------------------------------------------------------------

    async def _send(self, *words: bytes) -> None:
        await self._stream.write(encode_command(*words), cause=self._cause)

    async def _more(self) -> None:
        data = await self._stream.read(timeout=TIMEOUT)
        if not data:
            raise ConnectionResetError("the leader has closed the connection")
        self._replication.last_heard = self._host.now()
        self._unread += data

    async def _line(self) -> bytes:
        """The next line that is not empty: a busy leader sends empty ones."""
        while True:
            while (end := self._unread.find(b"\n")) < 0:
                await self._more()
            line, self._unread = self._unread[:end].removesuffix(b"\r"), self._unread[end + 1 :]
            if line:
                return line

    async def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            await self._more()
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    # --- handshake -----------------------------------------------------------------------------------

    async def _shake_hands(self) -> None:
        """PING; when it is answered, everything that the leader should know, in one go (syncWithMaster)."""
        await self._send(b"PING")
        line = await self._line()
        if not line.startswith(ALIVE):
            raise WireError("Redis", f"error reply to PING: {line.decode('utf-8', 'replace')}")
        settings = self._server.settings
        words = [
            (b"REPLCONF", b"listening-port", b"%d" % settings.port),
            (b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"),
        ]
        if settings.leader_password:
            words.insert(0, (b"AUTH", settings.leader_password.encode()))
        for command in words:
            await self._send(*command)
        for command in words:
            line = await self._line()
            if command[0] == b"AUTH" and line.startswith(b"-"):  # REPLCONF may fail: old leaders know it not
                raise WireError("Redis", f"unable to AUTH: {line.decode('utf-8', 'replace')}")

    async def _synchronize(self) -> None:
        replication = self._replication
        if replication.backlog is None:
            await self._send(b"PSYNC", b"?", b"-1")
        else:
            await self._send(b"PSYNC", replication.id.encode(), b"%d" % (replication.offset + 1))
        words = (await self._line()).decode("latin-1").split()
        if words[0] == "+CONTINUE":
            replication.id = words[1] if len(words) > 1 else replication.id
            replication.link_offset = replication.offset
            self._session = Session(self._server, self._stream, is_leader=True)
            self._session.db_index = self._server.stream_database
        elif words[0] == "+FULLRESYNC" and len(words) == 3 and words[2].isdecimal():
            replication.state = LinkState.SYNC
            databases = rdb.load(await self._snapshot())
            self._server.databases[:] = databases
            replication.adopt(words[1], int(words[2]))
            self._session = Session(self._server, self._stream, is_leader=True)
        else:
            raise WireError("Redis", f"unexpected reply to PSYNC: {' '.join(words)}")

    async def _snapshot(self) -> bytes:
        """A snapshot of known length, or one that ends with a mark given at its beginning."""
        line = await self._line()
        if line.startswith(b"$EOF:") and len(line) == len(b"$EOF:") + EOF_MARK:
            mark = line[-EOF_MARK:]
            while (end := self._unread.find(mark)) < 0:
                await self._more()
            data, self._unread = self._unread[:end], self._unread[end + EOF_MARK :]
            return data
        if not line.startswith(b"$") or not line[1:].isdigit():
            raise WireError("Redis", f"bad protocol from the leader: {line[:40]!r}")
        return await self._take(int(line[1:]))

    # --- the stream ----------------------------------------------------------------------------------

    async def _obey(self) -> None:
        self.up_since = self._host.now()
        self._replication.state = LinkState.CONNECTED
        acknowledge = self._host.spawn(self._acknowledge(), "redis-server: acknowledge")
        parser = CommandParser()
        try:
            while True:
                parser.feed(self._unread)
                self._unread = b""
                while (command := parser.next()) is not None:
                    await self._carry_out(command)
                await self._more()
        finally:
            acknowledge.cancel()

    async def _carry_out(self, command: Command) -> None:
        replication = self._replication
        name = command.words[0].upper() if command.words else b""
        if name == b"REPLCONF" and command.words[1:2] and command.words[1].upper() == b"GETACK":
            await self._tell_offset()
        elif name not in (b"", b"REPLCONF", b"PING"):
            execute(self._session, command.words)
            self._server.stream_database = self._session.db_index
        if name:
            replication.feed(command.raw, name.decode("latin-1"))
            replication.link_offset = replication.offset

    async def _acknowledge(self) -> None:
        """REPLCONF ACK each second: how the leader knows that this one lives, and how far it is."""
        try:
            while True:
                await self._tell_offset()
                await self._host.sleep(CRON_PERIOD)
        except OSError:
            return  # whoever reads the stream notices, too

    async def _tell_offset(self) -> None:
        cause = Cause(Stage.PROGRAM, f"redis tells {self._leader.host} how far it has followed")
        data = encode_command(b"REPLCONF", b"ACK", b"%d" % self._replication.offset)
        await self._stream.write(data, cause=cause)
