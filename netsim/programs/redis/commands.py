"""The commands that this Redis knows: one table, from name to what runs it, its arity and its flags.

Arities are Redis's own (``src/commands/*.json``): the command's name counts, a negative one is a least
number. ``execute`` finds a command, checks it as processCommand in server.c does, and runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from netsim.programs.redis import admin, keyspace
from netsim.programs.redis.keyspace import Database
from netsim.programs.redis.resp import (
    CommandRefused,
    ErrorReply,
    NilArray,
    Reply,
    Status,
    Words,
    encode_command,
)
from netsim.programs.redis.server import Session

SHOWN_ARGUMENTS = 128
"""Octets of arguments that the answer to an unknown command repeats."""
READ_ONLY = "READONLY You can't write against a read only replica."
NO_AUTH = "NOAUTH Authentication required."


class Keys(NamedTuple):
    """Where a command's keys are: first, last and step, as COMMAND gives them."""

    first: int = 0
    last: int = 0
    step: int = 0


NO_KEYS, ONE_KEY, ALL_KEYS = Keys(), Keys(1, 1, 1), Keys(1, -1, 1)
READ, WRITE, ADMIN, BEFORE_AUTH = (
    frozenset({"readonly"}),
    frozenset({"write"}),
    frozenset({"admin"}),
    frozenset({"no_auth"}),
)
NO_FLAGS: frozenset[str] = frozenset()


class Known(NamedTuple):
    """One line of the table. ``on_data`` runs on the session's database, ``on_session`` on the session."""

    arity: int
    flags: frozenset[str]
    keys: Keys
    on_data: Callable[[Database, Words], Reply] | None = None
    on_session: Callable[[Session, Words], Reply] | None = None


def _data(run: Callable[[Database, Words], Reply], arity: int, flags: frozenset[str], keys: Keys) -> Known:
    return Known(arity, flags, keys, on_data=run)


def _session(
    run: Callable[[Session, Words], Reply], arity: int, flags: frozenset[str] = NO_FLAGS, keys: Keys = NO_KEYS
) -> Known:
    return Known(arity, flags, keys, on_session=run)


def command_(session: Session, args: Words) -> Reply:
    if not args:
        return tuple(_described(name, known) for name, known in COMMANDS.items())
    match admin.subcommand("command", args, {"count": 2, "docs": -2, "info": -2}):
        case "count":
            return len(COMMANDS)
        case "info":
            names = [word.decode("latin-1").lower() for word in args[1:]] or list(COMMANDS)
            return tuple(
                _described(name, COMMANDS[name]) if name in COMMANDS else NilArray() for name in names
            )
    return ()


def _described(name: str, known: Known) -> Reply:
    """One element of COMMAND's reply, without ACL categories, tips, key specifications and subcommands."""
    flags = tuple(Status(flag.encode()) for flag in sorted(known.flags))
    return (name.encode(), known.arity, flags, *known.keys, (), (), (), ())


COMMANDS: Mapping[str, Known] = {
    "append": _data(keyspace.append, 3, WRITE, ONE_KEY),
    "auth": _session(admin.auth, -2, BEFORE_AUTH),
    "client": _session(admin.client, -2),
    "command": _session(command_, -1),
    "config": _session(admin.config, -2),
    "dbsize": _data(keyspace.dbsize, 1, READ, NO_KEYS),
    "decr": _data(keyspace.decr, 2, WRITE, ONE_KEY),
    "decrby": _data(keyspace.decrby, 3, WRITE, ONE_KEY),
    "del": _data(keyspace.delete, -2, WRITE, ALL_KEYS),
    "echo": _session(admin.echo, 2),
    "exists": _data(keyspace.exists, -2, READ, ALL_KEYS),
    "flushall": _session(admin.flushall, -1, WRITE),
    "flushdb": _data(keyspace.flushdb, -1, WRITE, NO_KEYS),
    "get": _data(keyspace.get, 2, READ, ONE_KEY),
    "getset": _data(keyspace.getset, 3, WRITE, ONE_KEY),
    "hello": _session(admin.hello, -1, BEFORE_AUTH),
    "incr": _data(keyspace.incr, 2, WRITE, ONE_KEY),
    "incrby": _data(keyspace.incrby, 3, WRITE, ONE_KEY),
    "info": _session(admin.info, -1),
    "keys": _data(keyspace.keys, 2, READ, NO_KEYS),
    "lindex": _data(keyspace.lindex, 3, READ, ONE_KEY),
    "llen": _data(keyspace.llen, 2, READ, ONE_KEY),
    "lpop": _data(keyspace.lpop, -2, WRITE, ONE_KEY),
    "lpush": _data(keyspace.lpush, -3, WRITE, ONE_KEY),
    "lrange": _data(keyspace.lrange, 4, READ, ONE_KEY),
    "mget": _data(keyspace.mget, -2, READ, ALL_KEYS),
    "mset": _data(keyspace.mset, -3, WRITE, Keys(1, -1, 2)),
    "ping": _session(admin.ping, -1),
    "psync": _session(admin.psync, -3, ADMIN),
    "quit": _session(admin.quit_, -1, BEFORE_AUTH),
    "replconf": _session(admin.replconf, -1, ADMIN),
    "replicaof": _session(admin.replicaof, 3, ADMIN),
    "role": _session(admin.role, 1),
    "rpop": _data(keyspace.rpop, -2, WRITE, ONE_KEY),
    "rpush": _data(keyspace.rpush, -3, WRITE, ONE_KEY),
    "select": _session(admin.select, 2),
    "set": _data(keyspace.set_, -3, WRITE, ONE_KEY),
    "setnx": _data(keyspace.setnx, 3, WRITE, ONE_KEY),
    "slaveof": _session(admin.replicaof, 3, ADMIN),
    "strlen": _data(keyspace.strlen, 2, READ, ONE_KEY),
    "sync": _session(admin.sync, 1, ADMIN),
    "type": _data(keyspace.type_, 2, READ, ONE_KEY),
    "unlink": _data(keyspace.delete, -2, WRITE, ALL_KEYS),
}


def execute(session: Session, words: Words) -> Reply:
    """Run one command for a session, and tell the replicas of what it changed."""
    name = words[0].decode("latin-1").lower()
    try:
        known = _checked(session, name, words)
        if known.on_session is not None:
            return known.on_session(session, words[1:])
        assert known.on_data is not None
        before = session.database.changes
        reply = known.on_data(session.database, words[1:])
        if session.database.changes != before and not session.is_leader:
            session.server.replication.propagate(session.db_index, name, encode_command(*words))
        return reply
    except CommandRefused as refused:
        return ErrorReply(refused.text)


def _checked(session: Session, name: str, words: Words) -> Known:
    """The command, after processCommand's checks, in their order."""
    known = COMMANDS.get(name)
    if known is None:
        raise CommandRefused(_unknown(words))
    if (len(words) != known.arity) if known.arity > 0 else (len(words) < -known.arity):
        raise CommandRefused(f"ERR wrong number of arguments for '{name}' command")
    if not session.authenticated and "no_auth" not in known.flags:
        raise CommandRefused(NO_AUTH)
    if "write" in known.flags and session.server.replication.leader and not session.is_leader:
        raise CommandRefused(READ_ONLY)
    return known


def _unknown(words: Words) -> str:
    """commandCheckExistence in server.c."""
    name = words[0][:SHOWN_ARGUMENTS].decode("utf-8", "surrogateescape")
    shown = ""
    for word in words[1:]:
        if len(shown) >= SHOWN_ARGUMENTS:
            break
        shown += f"'{word[: SHOWN_ARGUMENTS - len(shown)].decode('utf-8', 'surrogateescape')}' "
    return f"ERR unknown command '{name}', with args beginning with: {shown}"
