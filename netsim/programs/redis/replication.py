"""What a Redis knows of its replication: identity and offset, the backlog, its leader, its replicas.

The stream has one identity and one offset at the leader and at all that follow it, as PSYNC 2 has it
(replication.c of Redis 7.0): a follower keeps the bytes that it received, and passes them on to replicas
of its own. Snapshots are sent as from disk (``repl-diskless-sync no``), without the delay of five seconds.

Redis says master and slave or replica; so do the commands and texts here that are Redis's.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from netsim.base.cause import Cause, Stage
from netsim.programs.host import Host, Stream
from netsim.programs.redis.resp import encode_command

BACKLOG_SIZE = 1 << 20
"""Octets of the stream that are kept for those who come back (repl-backlog-size)."""
TIMEOUT = 60.0
"""Seconds of silence after which either side gives the other up (repl-timeout)."""
PING_PERIOD = 10
"""Seconds between two PINGs to the replicas (repl-ping-replica-period)."""
CRON_PERIOD = 1.0
"""Seconds between two rounds of replicationCron: acknowledgements, and attempts to connect."""
ID_LENGTH = 40
NO_ID = "0" * ID_LENGTH
ANY_DATABASE = -1


class Leader(NamedTuple):
    """Whom a Redis follows, as it was told."""

    host: str
    port: int


class LinkState(Enum):
    """How far the link to the leader is; the value is what ROLE prints."""

    CONNECT = "connect"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    SYNC = "sync"
    CONNECTED = "connected"


class Replica:
    """A client as a follower: what it has said with REPLCONF; once it is fed, what waits to be sent to it,
    and what it has acknowledged."""

    def __init__(self, host: Host, stream: Stream, number: int) -> None:
        self._host = host
        self.stream = stream
        self.number = number
        self.port = 0
        self.announced_address = ""
        self.psync_2 = False
        self.old_protocol = False
        """It came with SYNC, and acknowledges nothing."""
        self.acknowledged = 0
        self.heard = 0.0
        self._waiting: deque[tuple[bytes, Cause]] = deque()
        self._sending = False

    @property
    def address(self) -> str:
        """Where it says that it is, or where its connection comes from."""
        return self.announced_address or str(self.stream.peer.address)

    def send(self, data: bytes, why: str) -> None:
        """Queue bytes behind what waits; whoever caused them does not wait for a slow replica."""
        self._waiting.append((data, Cause(Stage.PROGRAM, why)))
        if not self._sending:
            self._sending = True
            self._host.spawn(self._flush(), "redis-server: replica")

    async def _flush(self) -> None:
        try:
            while self._waiting:
                data, cause = self._waiting.popleft()
                await self.stream.write(data, cause=cause)
        except OSError:
            self._waiting.clear()  # it is gone, as the reader of its connection will notice
        finally:
            self._sending = False


class Replication:
    """The state of one server."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.id = self.id_2 = NO_ID
        self.offset = 0
        self.second_offset = -1
        self.backlog: bytes | None = None
        self.replicas: dict[int, Replica] = {}
        self.leader: Leader | None = None
        self.state = LinkState.CONNECT
        self.link_offset = -1
        """What was read of the leader's stream; -1 when there is no link."""
        self.last_heard = 0.0
        self.down_since = 0.0
        self._database = ANY_DATABASE
        self.new_id()

    def new_id(self) -> None:
        """Begin another history: nobody can go on where an earlier one ended."""
        self.id = self._host.rng.derive(f"redis at {self._host.now()}").text(ID_LENGTH, "0123456789abcdef")

    def shift_id(self) -> None:
        """A follower becomes a leader: until here its history was its leader's (shiftReplicationId)."""
        self.id_2, self.second_offset = self.id, self.offset + 1
        self.new_id()
        self._database = ANY_DATABASE

    def adopt(self, identity: str, offset: int) -> None:
        """Take over a leader's history at a full resynchronization; replicas have to begin again."""
        self.id, self.offset, self.link_offset = identity, offset, offset
        self.id_2, self.second_offset = NO_ID, -1
        self.backlog = b""
        self.drop_replicas()

    def drop_replicas(self) -> None:
        for replica in list(self.replicas.values()):
            replica.stream.close()
        self.replicas.clear()

    @property
    def backlog_start(self) -> int:
        """The offset of the first octet in the backlog."""
        return self.offset - len(self.backlog or b"") + 1

    def propagate(self, database: int, name: str, command: bytes) -> None:
        """Tell the replicas of a command that changed something (replicationFeedSlaves)."""
        if self.leader is not None or self.backlog is None:
            return
        if self._database != database:
            self._database = database
            self.feed(encode_command(b"SELECT", b"%d" % database), "SELECT")
        self.feed(command, name.upper())

    def feed(self, data: bytes, name: str) -> None:
        """The next piece of the stream: into the backlog, and out to every replica."""
        self.offset += len(data)
        self.backlog = ((self.backlog or b"") + data)[-BACKLOG_SIZE:]
        for replica in self.replicas.values():
            replica.send(data, f"redis sends {name} to its replica {replica.stream.peer.address}")

    def can_continue(self, identity: str, offset: int) -> bool:
        """Whether the backlog holds all that is missing from ``offset`` on (masterTryPartialResync…)."""
        known = identity == self.id or (identity == self.id_2 and offset <= self.second_offset)
        return known and self.backlog is not None and self.backlog_start <= offset <= self.offset + 1

    def since(self, offset: int) -> bytes:
        """The stream from ``offset`` on."""
        return (self.backlog or b"")[offset - self.backlog_start :]

    def begin_full(self, replica: Replica, snapshot: bytes) -> None:
        """Full resynchronization: identity and offset, the snapshot, and from here on the stream."""
        if self.backlog is None:
            self.backlog = b""
            if self.leader is None:
                self.new_id()
                self.id_2, self.second_offset = NO_ID, -1
        self._database = ANY_DATABASE
        self._attach(replica)
        if not replica.old_protocol:
            replica.send(f"+FULLRESYNC {self.id} {self.offset}\r\n".encode(), "redis answers PSYNC")
        payload = b"$%d\r\n%b" % (len(snapshot), snapshot)
        replica.send(payload, f"redis sends a snapshot to its replica {replica.stream.peer.address}")

    def go_on(self, replica: Replica, offset: int) -> None:
        """Partial resynchronization: what was missed, and from here on the stream."""
        self._attach(replica)
        word = f"+CONTINUE {self.id}\r\n" if replica.psync_2 else "+CONTINUE\r\n"
        replica.send(word.encode(), "redis answers PSYNC")
        if missed := self.since(offset):
            replica.send(missed, "redis sends its replica what it missed")

    def _attach(self, replica: Replica) -> None:
        replica.heard = self._host.now()
        first = not self.replicas
        self.replicas[replica.number] = replica
        if first:
            self._host.spawn(self._cron(), "redis-server: replication cron")

    def detach(self, replica: Replica) -> None:
        """A connection has ended; it may have been fed."""
        self.replicas.pop(replica.number, None)

    async def _cron(self) -> None:
        """While there are replicas: PING them, and let go of those that are silent."""
        rounds = 0
        while self.replicas:
            await self._host.sleep(CRON_PERIOD)
            rounds += 1
            if rounds % PING_PERIOD == 0 and self.leader is None:
                self.feed(encode_command(b"PING"), "PING")
            for replica in list(self.replicas.values()):
                if self._host.now() - replica.heard > TIMEOUT and not replica.old_protocol:
                    replica.stream.abort()
                    self.detach(replica)
