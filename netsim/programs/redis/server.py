"""redis-server: the listening socket, a session for each connection, and the link to a leader.

Commands come as RESP arrays (client libraries, redis-cli) or inline (telnet, nc). The data are in memory
only, and begin empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Host, Stream
from netsim.programs.redis.commands import execute
from netsim.programs.redis.keyspace import DATABASES, Database
from netsim.programs.redis.replication import Leader, LinkState, Replication
from netsim.programs.redis.resp import CommandParser, Words, encode

if TYPE_CHECKING:
    from netsim.programs.host import Task
    from netsim.programs.redis.settings import Settings


class ReplicaSide:
    """What a client has said with REPLCONF, before or after it asked to be fed."""

    def __init__(self) -> None:
        self.port = 0
        self.address = ""
        self.psync_2 = False
        self.old_protocol = False
        """It came with SYNC, and acknowledges nothing."""


class Session:
    """One connection, or the stream from the leader: whose commands are obeyed and not answered."""

    def __init__(self, server: Server, stream: Stream, *, is_leader: bool = False) -> None:
        self.server = server
        self.stream = stream
        self.is_leader = is_leader
        self.number = server.next_session()
        self.began = server.host.now()
        self.db_index = 0
        self.name = b""
        self.closing = False
        self.authenticated = is_leader or not server.settings.password
        self.replica = ReplicaSide()

    @property
    def database(self) -> Database:
        return self.server.databases[self.db_index]


class Server:
    """One redis-server."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.began = host.now()
        self.databases = [Database() for _ in range(DATABASES)]
        self.replication = Replication(host)
        self.sessions: dict[int, Session] = {}
        self.stream_database = 0
        """The database that the leader's stream has selected."""
        self._numbers = 0
        self._link: Task[None] | None = None
        if settings.leader is not None:
            self.follow(settings.leader)

    def next_session(self) -> int:
        self._numbers += 1
        return self._numbers

    def follow(self, leader: Leader) -> None:
        """Become a replica (replicationSetMaster): the data stay until the leader's come."""
        from netsim.programs.redis.follower import follow

        self._cut_link()
        self.replication.leader = leader
        self.replication.state = LinkState.CONNECT
        self.replication.down_since = self.host.now()
        self._link = self.host.spawn(follow(self, leader), "redis-server: replication")

    def lead(self) -> None:
        """Stop to follow, and keep the data (replicationUnsetMaster)."""
        self._cut_link()
        self.replication.leader = None
        self.replication.link_offset = -1
        self.replication.shift_id()

    def _cut_link(self) -> None:
        if self._link is not None:
            self._link.cancel()
            self._link = None

    async def serve(self, stream: Stream) -> None:
        """Answer one connection until it ends."""
        session = Session(self, stream)
        self.sessions[session.number] = session
        parser = CommandParser()
        try:
            while not session.closing and (data := await stream.read()):
                parser.feed(data)
                while not session.closing and (command := parser.next()) is not None:
                    if command.words:
                        await self._answer(session, command.words)
        except WireError as error:
            await _refuse(stream, error)
        except OSError:
            return  # the client is gone
        finally:
            self.replication.detach(session)
            del self.sessions[session.number]
            stream.close()

    async def _answer(self, session: Session, words: Words) -> None:
        reply = encode(execute(session, words))
        if reply:
            name = words[0][:20].upper().decode("latin-1")
            await session.stream.write(reply, cause=Cause(Stage.PROGRAM, f"redis answers {name}"))


async def _refuse(stream: Stream, error: WireError) -> None:
    cause = Cause(Stage.PROGRAM, "redis answers a protocol error")
    text = str(error).partition(": ")[2]
    try:
        await stream.write(f"-ERR Protocol error: {text}\r\n".encode(), cause=cause)
    except OSError:
        return


async def run_server(host: Host, settings: Settings) -> int:
    """Listen, and serve until cancelled; OSError when the port is taken."""
    listener = await host.listen(settings.port)
    server = Server(host, settings)
    try:
        while True:
            host.spawn(server.serve(await listener.accept()), "redis-server: client")
    finally:
        listener.close()
