"""What a Redis holds: sixteen databases of strings and lists, and the commands on one of them.

Pure functions of a database and a command's arguments. They follow t_string.c, t_list.c and db.c of
Redis 7.0, in replies and in the words of errors. Nothing expires.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from netsim.programs.redis.glob import matches
from netsim.programs.redis.resp import (
    NOT_AN_INTEGER,
    OK,
    SYNTAX_ERROR,
    CommandRefused,
    NilArray,
    Reply,
    Status,
    Words,
    integer_from_word,
)

DATABASES = 16
"""redis.conf's ``databases``."""
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
EXPIRY = frozenset({b"EX", b"PX", b"EXAT", b"PXAT"})

Value: TypeAlias = "bytes | list[bytes]"
"""A string or a list; an empty list does not stay."""


class Database:
    """One numbered database. ``changes`` counts what commands changed, as ``server.dirty`` does."""

    __slots__ = ("changes", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, Value] = {}
        self.changes = 0

    def string(self, key: bytes) -> bytes | None:
        """The string at a key, None for none; refuses a list."""
        value = self.values.get(key)
        if isinstance(value, list):
            raise CommandRefused(WRONG_TYPE)
        return value

    def list_at(self, key: bytes) -> list[bytes] | None:
        """The list at a key, None for none; refuses a string."""
        value = self.values.get(key)
        if isinstance(value, bytes):
            raise CommandRefused(WRONG_TYPE)
        return value

    def put(self, key: bytes, value: Value) -> None:
        self.values[key] = value
        self.changes += 1


def integer(word: bytes) -> int:
    """An argument that must be a 64-bit integer."""
    number = integer_from_word(word)
    if number is None:
        raise CommandRefused(NOT_AN_INTEGER)
    return number


# --- any value -------------------------------------------------------------------------------------------


def delete(db: Database, args: Words) -> Reply:
    gone = sum(db.values.pop(key, None) is not None for key in args)
    db.changes += gone
    return gone


def exists(db: Database, args: Words) -> Reply:
    return sum(key in db.values for key in args)


def keys(db: Database, args: Words) -> Reply:
    """In the order of their making; a real Redis gives them in that of its hash table."""
    return tuple(key for key in db.values if matches(args[0], key))


def type_(db: Database, args: Words) -> Reply:
    value = db.values.get(args[0])
    return Status(b"none" if value is None else b"list" if isinstance(value, list) else b"string")


def dbsize(db: Database, args: Words) -> Reply:
    return len(db.values)


def flushdb(db: Database, args: Words) -> Reply:
    check_flush(args)
    db.changes += len(db.values) + 1  # an empty one, too, is flushed at the replicas
    db.values.clear()
    return OK


def check_flush(args: Words) -> None:
    if len(args) > 1 or (args and args[0].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandRefused(SYNTAX_ERROR)


# --- strings ---------------------------------------------------------------------------------------------


class SetOptions(NamedTuple):
    """What stands behind key and value in SET."""

    only_new: bool = False
    only_old: bool = False
    give_old: bool = False


def _set_options(words: Words) -> SetOptions:
    options = {word.upper() for word in words}
    if options & EXPIRY:
        raise CommandRefused("ERR keys do not expire in netsim")
    if options - {b"NX", b"XX", b"GET", b"KEEPTTL"} or {b"NX", b"XX"} <= options:
        raise CommandRefused(SYNTAX_ERROR)
    return SetOptions(b"NX" in options, b"XX" in options, b"GET" in options)


def set_(db: Database, args: Words) -> Reply:
    key, value = args[:2]
    options = _set_options(args[2:])
    old = db.string(key) if options.give_old else None
    if (key in db.values) if options.only_new else (options.only_old and key not in db.values):
        return old
    db.put(key, value)
    return old if options.give_old else OK


def setnx(db: Database, args: Words) -> Reply:
    if args[0] in db.values:
        return 0
    db.put(*args)
    return 1


def get(db: Database, args: Words) -> Reply:
    return db.string(args[0])


def getset(db: Database, args: Words) -> Reply:
    old = db.string(args[0])
    db.put(*args)
    return old


def mget(db: Database, args: Words) -> Reply:
    values = (db.values.get(key) for key in args)
    return tuple(value if isinstance(value, bytes) else None for value in values)


def mset(db: Database, args: Words) -> Reply:
    if len(args) % 2:
        raise CommandRefused("ERR wrong number of arguments for 'mset' command")
    for key, value in zip(args[::2], args[1::2], strict=True):
        db.put(key, value)
    return OK


def strlen(db: Database, args: Words) -> Reply:
    return len(db.string(args[0]) or b"")


def append(db: Database, args: Words) -> Reply:
    value = (db.string(args[0]) or b"") + args[1]
    db.put(args[0], value)
    return len(value)


def _add(db: Database, key: bytes, amount: int) -> Reply:
    old = db.string(key)
    value = (0 if old is None else integer(old)) + amount
    if not LOWEST <= value <= HIGHEST:
        raise CommandRefused("ERR increment or decrement would overflow")
    db.put(key, b"%d" % value)
    return value


def incr(db: Database, args: Words) -> Reply:
    return _add(db, args[0], 1)


def decr(db: Database, args: Words) -> Reply:
    return _add(db, args[0], -1)


def incrby(db: Database, args: Words) -> Reply:
    return _add(db, args[0], integer(args[1]))


def decrby(db: Database, args: Words) -> Reply:
    amount = integer(args[1])
    if amount == LOWEST:
        raise CommandRefused("ERR decrement would overflow")
    return _add(db, args[0], -amount)


# --- lists -----------------------------------------------------------------------------------------------


def lpush(db: Database, args: Words) -> Reply:
    values = [*reversed(args[1:]), *(db.list_at(args[0]) or [])]
    db.put(args[0], values)
    return len(values)


def rpush(db: Database, args: Words) -> Reply:
    values = [*(db.list_at(args[0]) or []), *args[1:]]
    db.put(args[0], values)
    return len(values)


def lpop(db: Database, args: Words) -> Reply:
    return _pop(db, "lpop", args, left=True)


def rpop(db: Database, args: Words) -> Reply:
    return _pop(db, "rpop", args, left=False)


def _pop(db: Database, command: str, args: Words, *, left: bool) -> Reply:
    """One element, or with a count so many of them (popGenericCommand)."""
    if len(args) > 2:
        raise CommandRefused(f"ERR wrong number of arguments for '{command}' command")
    count = _count(args[1]) if len(args) == 2 else None
    values = db.list_at(args[0])
    if values is None:
        return None if count is None else NilArray()
    if count == 0:
        return ()
    ordered = values if left else values[::-1]
    taken, left_over = ordered[: count or 1], ordered[count or 1 :]
    if left_over:
        db.put(args[0], left_over if left else left_over[::-1])
    else:
        delete(db, args[:1])
    return taken[0] if count is None else tuple(taken)


def _count(word: bytes) -> int:
    count = integer_from_word(word)
    if count is None or count < 0:
        raise CommandRefused("ERR value is out of range, must be positive")
    return count


def llen(db: Database, args: Words) -> Reply:
    return len(db.list_at(args[0]) or [])


def lindex(db: Database, args: Words) -> Reply:
    values, index = db.list_at(args[0]), args[1]
    if values is None:
        return None
    number = integer(index)
    return values[number] if -len(values) <= number < len(values) else None


def lrange(db: Database, args: Words) -> Reply:
    start, stop = integer(args[1]), integer(args[2])
    values = db.list_at(args[0]) or []
    size = len(values)
    first = max(start + size if start < 0 else start, 0)
    last = stop + size if stop < 0 else stop
    return tuple(values[first : last + 1]) if last >= 0 else ()
