"""The commands that concern the connection, the server and its replication, each a function of the session.

Texts and replies are those of Redis 7.0 (networking.c, server.c, replication.c, config.c).
"""

from __future__ import annotations

from collections.abc import Mapping

from netsim.programs.ports import LAST_PORT
from netsim.programs.redis import rdb
from netsim.programs.redis.glob import matches
from netsim.programs.redis.keyspace import DATABASES, check_flush, integer
from netsim.programs.redis.replication import (
    BACKLOG_SIZE,
    ID_LENGTH,
    PING_PERIOD,
    TIMEOUT,
    Leader,
    LinkState,
    Replica,
)
from netsim.programs.redis.resp import (
    OK,
    SYNTAX_ERROR,
    CommandRefused,
    Raw,
    Reply,
    Status,
    Words,
    encode_command,
    integer_from_word,
)
from netsim.programs.redis.server import Server, Session

VERSION = "7.0.15"
"""The Redis that is emulated, whatever the image's tag says."""
INT_LIMIT = 1 << 31
NOT_AN_INT = "ERR value is out of range, value must between -2147483648 and 2147483647"
"""getIntFromObjectOrReply."""
NO_REPLY = Raw(b"")
NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
NO_LINK = "NOMASTERLINK Can't SYNC while not connected with my master"


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def subcommand(command: str, args: Words, arities: Mapping[str, int]) -> str:
    """The subcommand's name, checked as Redis checks it: arities count command and subcommand."""
    name = args[0].decode("latin-1").lower()
    if name not in arities:
        shown = _text(args[0][:128])
        raise CommandRefused(f"ERR unknown subcommand '{shown}'. Try {command.upper()} HELP.")
    arity, count = arities[name], len(args) + 1
    if (count != arity) if arity > 0 else (count < -arity):
        raise CommandRefused(f"ERR wrong number of arguments for '{command}|{name}' command")
    return name


# --- the connection --------------------------------------------------------------------------------------


def ping(session: Session, args: Words) -> Reply:
    if len(args) > 1:
        raise CommandRefused("ERR wrong number of arguments for 'ping' command")
    return args[0] if args else Status(b"PONG")


def echo(session: Session, args: Words) -> Reply:
    return args[0]


def quit_(session: Session, args: Words) -> Reply:
    session.closing = True
    return OK


def select(session: Session, args: Words) -> Reply:
    index = integer(args[0])
    if not -INT_LIMIT <= index < INT_LIMIT:
        raise CommandRefused(NOT_AN_INT)
    if not 0 <= index < DATABASES:
        raise CommandRefused("ERR DB index is out of range")
    session.db_index = index
    return OK


def auth(session: Session, args: Words) -> Reply:
    if len(args) > 2:
        raise CommandRefused(SYNTAX_ERROR)
    _log_in(session, args[0] if len(args) == 2 else b"default", args[-1], plain=len(args) == 1)
    return OK


def _log_in(session: Session, user: bytes, password: bytes, *, plain: bool) -> None:
    wanted = session.server.settings.password
    if plain and not wanted:
        raise CommandRefused(NO_PASSWORD)
    if user != b"default" or (wanted and _text(password) != wanted):
        raise CommandRefused("WRONGPASS invalid username-password pair or user is disabled.")
    session.authenticated = True


def hello(session: Session, args: Words) -> Reply:
    """The handshake of newer clients; RESP 3 is not spoken."""
    if args:
        version = integer_from_word(args[0])
        if version is None:
            raise CommandRefused("ERR Protocol version is not an integer or out of range")
        if version != 2:
            raise CommandRefused("NOPROTO unsupported protocol version")
    if len(args) >= 4 and args[1].upper() == b"AUTH":
        _log_in(session, args[2], args[3], plain=False)
    if not session.authenticated:
        raise CommandRefused(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> "
            "AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol "
            "version at the same time"
        )
    role_ = b"replica" if session.server.replication.leader else b"master"
    return (
        b"server", b"redis", b"version", VERSION.encode(), b"proto", 2, b"id", session.number,
        b"mode", b"standalone", b"role", role_, b"modules", (),
    )  # fmt: skip


CLIENT_ARITIES = {"getname": 2, "id": 2, "info": 2, "list": -2, "setname": 3}


def client(session: Session, args: Words) -> Reply:
    match subcommand("client", args, CLIENT_ARITIES):
        case "getname":
            return session.name or None
        case "id":
            return session.number
        case "info":
            return _client_line(session).encode()
        case "list":
            return "".join(map(_client_line, session.server.sessions.values())).encode()
    if any(byte < ord("!") or byte > ord("~") for byte in args[1]):
        raise CommandRefused("ERR Client names cannot contain spaces, newlines or special characters.")
    session.name = args[1]
    return OK


def _client_line(session: Session) -> str:
    """The fields of CLIENT LIST that mean something here."""
    age = int(session.server.host.now() - session.began)
    flags = "S" if session.number in session.server.replication.replicas else "N"
    return (
        f"id={session.number} addr={session.stream.peer} laddr={session.stream.local} "
        f"name={_text(session.name)} age={age} flags={flags} db={session.db_index} user=default resp=2\n"
    )


# --- the server ------------------------------------------------------------------------------------------


def flushall(session: Session, args: Words) -> Reply:
    check_flush(args)
    for database in session.server.databases:
        database.values.clear()
    if not session.is_leader:
        command = encode_command(b"flushall", *args)
        session.server.replication.propagate(session.db_index, "flushall", command)
    return OK


def _settings(server: Server) -> dict[str, str]:
    leader = server.replication.leader
    following = f"{leader.host} {leader.port}" if leader else ""
    return {
        "appendonly": "no",
        "bind": "* -::*",
        "databases": str(DATABASES),
        "masterauth": server.settings.leader_password,
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "port": str(server.settings.port),
        "protected-mode": "no",
        "repl-backlog-size": str(BACKLOG_SIZE),
        "repl-diskless-sync": "no",
        "repl-ping-replica-period": str(PING_PERIOD),
        "repl-timeout": f"{TIMEOUT:.0f}",
        "replica-read-only": "yes",
        "replica-serve-stale-data": "yes",
        "replicaof": following,
        "requirepass": server.settings.password,
        "save": "",
        "slave-read-only": "yes",
        "slaveof": following,
        "timeout": "0",
    }


def config(session: Session, args: Words) -> Reply:
    """CONFIG GET, of the settings that mean something here; nothing can be set."""
    subcommand("config", args, {"get": -3})
    found: list[Reply] = []
    for name, value in _settings(session.server).items():
        if any(matches(pattern, name.encode(), fold_case=True) for pattern in args[1:]):
            found += [name.encode(), value.encode()]
    return tuple(found)


# --- INFO ------------------------------------------------------------------------------------------------


def info(session: Session, args: Words) -> Reply:
    """The sections that were asked for, or all; others are empty, as unknown ones are."""
    wanted = {word.decode("latin-1").lower() for word in args}
    everything = not args or bool(wanted & {"all", "default", "everything"})
    sections = {
        "server": _server_section,
        "clients": _clients_section,
        "replication": _replication_section,
        "keyspace": _keyspace_section,
    }
    chosen = [section(session.server) for name, section in sections.items() if everything or name in wanted]
    return "\r\n".join("".join(f"{line}\r\n" for line in lines) for lines in chosen).encode()


def _server_section(server: Server) -> list[str]:
    uptime = int(server.host.now() - server.began)
    return [
        "# Server",
        f"redis_version:{VERSION}",
        "redis_mode:standalone",
        "arch_bits:64",
        f"tcp_port:{server.settings.port}",
        f"uptime_in_seconds:{uptime}",
        f"uptime_in_days:{uptime // 86400}",
    ]


def _clients_section(server: Server) -> list[str]:
    clients = len(server.sessions) - len(server.replication.replicas)
    return ["# Clients", f"connected_clients:{clients}", "maxclients:10000", "blocked_clients:0"]


def _keyspace_section(server: Server) -> list[str]:
    sizes = enumerate(len(database.values) for database in server.databases)
    return ["# Keyspace", *(f"db{index}:keys={size},expires=0,avg_ttl=0" for index, size in sizes if size)]


def _replication_section(server: Server) -> list[str]:
    replication = server.replication
    backlog = replication.backlog
    return [
        "# Replication",
        f"role:{'slave' if replication.leader else 'master'}",
        *(_link_lines(server, replication.leader) if replication.leader else ()),
        f"connected_slaves:{len(replication.replicas)}",
        *(_replica_line(server, *pair) for pair in enumerate(replication.replicas.values())),
        "master_failover_state:no-failover",
        f"master_replid:{replication.id}",
        f"master_replid2:{replication.id_2}",
        f"master_repl_offset:{replication.offset}",
        f"second_repl_offset:{replication.second_offset}",
        f"repl_backlog_active:{int(backlog is not None)}",
        f"repl_backlog_size:{BACKLOG_SIZE}",
        f"repl_backlog_first_byte_offset:{0 if backlog is None else replication.backlog_start}",
        f"repl_backlog_histlen:{len(backlog or b'')}",
    ]


def _link_lines(server: Server, leader: Leader) -> list[str]:
    replication, now = server.replication, server.host.now()
    up = replication.state is LinkState.CONNECTED
    lines = [
        f"master_host:{leader.host}",
        f"master_port:{leader.port}",
        f"master_link_status:{'up' if up else 'down'}",
        f"master_last_io_seconds_ago:{int(now - replication.last_heard) if up else -1}",
        f"master_sync_in_progress:{int(replication.state is LinkState.SYNC)}",
        f"slave_read_repl_offset:{replication.offset}",
        f"slave_repl_offset:{replication.offset}",
    ]
    if not up:
        lines.append(f"master_link_down_since_seconds:{int(now - replication.down_since)}")
    return [*lines, "slave_priority:100", "slave_read_only:1", "replica_announced:1"]


def _replica_line(server: Server, number: int, replica: Replica) -> str:
    lag = int(server.host.now() - replica.heard)
    return (
        f"slave{number}:ip={replica.address},port={replica.port},state=online,"
        f"offset={replica.acknowledged},lag={lag}"
    )


# --- replication -----------------------------------------------------------------------------------------


def role(session: Session, args: Words) -> Reply:
    replication = session.server.replication
    if replication.leader is not None:
        host, port = replication.leader
        return b"slave", host.encode(), port, replication.state.value.encode(), replication.link_offset
    replicas = tuple(
        (r.address.encode(), b"%d" % r.port, b"%d" % r.acknowledged) for r in replication.replicas.values()
    )
    return b"master", replication.offset, replicas


def replicaof(session: Session, args: Words) -> Reply:
    """REPLICAOF HOST PORT, or NO ONE; SLAVEOF is the same."""
    server = session.server
    if (args[0].upper(), args[1].upper()) == (b"NO", b"ONE"):
        if server.replication.leader is not None:
            server.lead()
        return OK
    if session.number in server.replication.replicas:
        raise CommandRefused("ERR Command is not valid when client is a replica.")
    port = integer_from_word(args[1])
    if port is None or not 0 <= port <= LAST_PORT:
        raise CommandRefused("ERR Invalid master port")
    leader = Leader(_text(args[0]), port)
    if leader == server.replication.leader:
        return Status(b"OK Already connected to specified master")
    server.follow(leader)
    return OK


def replconf(session: Session, args: Words) -> Reply:
    """What a replica says of itself, and how far it is; acknowledgements are not answered."""
    if len(args) % 2:
        raise CommandRefused(SYNTAX_ERROR)
    for name, value in zip(args[::2], args[1::2], strict=True):
        match name.lower():
            case b"listening-port":
                session.replica.port = integer(value)
            case b"ip-address":
                session.replica.announced_address = _text(value)
            case b"capa":
                session.replica.psync_2 |= value.lower() == b"psync2"
            case b"ack":
                _acknowledge(session, value)
                return NO_REPLY
            case b"getack":
                return NO_REPLY  # asked by a leader, whose stream does not come here
            case _:
                raise CommandRefused(f"ERR Unrecognized REPLCONF option: {_text(name)}")
    return OK


def _acknowledge(session: Session, value: bytes) -> None:
    replica = session.server.replication.replicas.get(session.number)
    offset = integer_from_word(value)
    if replica is not None and offset is not None:
        replica.acknowledged = max(replica.acknowledged, offset)
        replica.heard = session.server.host.now()


def psync(session: Session, args: Words) -> Reply:
    offset = integer(args[1])
    return _synchronize(session, _text(args[0]), offset)


def sync(session: Session, args: Words) -> Reply:
    """The protocol before PSYNC: the snapshot without a word before it."""
    session.replica.old_protocol = True
    return _synchronize(session, "?", -1)


def _synchronize(session: Session, identity: str, offset: int) -> Reply:
    """Go on where the backlog allows it, else begin anew (syncCommand)."""
    replication = session.server.replication
    if session.number in replication.replicas:
        return NO_REPLY
    if replication.leader is not None and replication.state is not LinkState.CONNECTED:
        raise CommandRefused(NO_LINK)
    if len(identity) == ID_LENGTH and replication.can_continue(identity, offset):
        replication.go_on(session.replica, offset)
    else:
        replication.begin_full(session.replica, rdb.dump(session.server.databases))
    return NO_REPLY
