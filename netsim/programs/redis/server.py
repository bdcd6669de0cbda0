"""What a redis-server keeps in memory: its databases, its sessions, its replication. They begin empty.

The commands read and change it; ``connections`` makes it and lets clients in.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from netsim.programs.host import Host, Stream, Task
from netsim.programs.redis.keyspace import DATABASES, Database
from netsim.programs.redis.replication import Leader, LinkState, Replica, Replication
from netsim.programs.redis.settings import Settings

Follow: TypeAlias = Callable[["Server", Leader], Coroutine[Any, Any, None]]
"""Keeps up the link to a leader, and carries out on the server what the leader says."""


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
        self.replica = Replica(server.host, stream, self.number)

    @property
    def database(self) -> Database:
        return self.server.databases[self.db_index]


class Server:
    """One redis-server; ``follow`` is given, since whoever carries out commands stands above it."""

    def __init__(self, host: Host, settings: Settings, follow: Follow) -> None:
        self.host = host
        self.settings = settings
        self.began = host.now()
        self.databases = [Database() for _ in range(DATABASES)]
        self.replication = Replication(host)
        self.sessions: dict[int, Session] = {}
        self.stream_database = 0
        """The database that the leader's stream has selected."""
        self._numbers = 0
        self._follow = follow
        self._link: Task[None] | None = None
        if settings.leader is not None:
            self.follow(settings.leader)

    def next_session(self) -> int:
        self._numbers += 1
        return self._numbers

    def follow(self, leader: Leader) -> None:
        """Become a replica (replicationSetMaster): the data stay until the leader's come."""
        self._cut_link()
        self.replication.leader = leader
        self.replication.state = LinkState.CONNECT
        self.replication.down_since = self.host.now()
        self._link = self.host.spawn(self._follow(self, leader), "redis-server: replication")

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
