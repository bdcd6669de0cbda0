"""What discovery peers say to each other: one JSON object per line, over TCP.

=========  ============================================  ===================================================
type       fields                                        said
=========  ============================================  ===================================================
hello      cluster, node {id, name, address, ephemeral}  first, by who dialled; the other answers with its own
ask        known (addresses)                             while there is no master: whom do you know?
known      term, master (node or null), known            the answer to ``ask``
vote       term                                          elect me for this term
voted      term, granted                                 the answer to ``vote``
join       term, uuid (of its cluster, or empty)         to the master
state      term, version, uuid, master (an id), nodes,   by the master, to all nodes
           voters (names)
check      (none)                                        are you there? master to nodes, nodes to master
checked    member, version (of the state that I have)    the answer: the asker is my master or a node of mine
=========  ============================================  ===================================================

It is netsim's own protocol, not the transport protocol of any product: captures can be read as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from netsim.base.errors import WireError

LINE_LIMIT = 1 << 20
"""Octets of one message that are accepted."""


class Node(NamedTuple):
    """One member: its id, its name, where it listens (``10.244.1.5:9300``), and a mark of this very start."""

    id: str
    name: str
    address: str
    ephemeral: str = ""


class Hello(NamedTuple):
    cluster: str
    node: Node


class Ask(NamedTuple):
    known: tuple[str, ...]


class Known(NamedTuple):
    term: int
    master: Node | None
    known: tuple[str, ...]


class Vote(NamedTuple):
    term: int


class Voted(NamedTuple):
    term: int
    granted: bool


class Join(NamedTuple):
    term: int
    uuid: str


class State(NamedTuple):
    term: int
    version: int
    uuid: str
    master: str
    nodes: tuple[Node, ...]
    voters: tuple[str, ...]


class Check(NamedTuple):
    pass


class Checked(NamedTuple):
    member: bool
    version: int


Message: TypeAlias = Hello | Ask | Known | Vote | Voted | Join | State | Check | Checked


def _of(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"not of type {kind.__name__}: {value!r}")
        return value

    return read


_text, _number, _flag, _list, _mapping = _of(str), _of(int), _of(bool), _of(list), _of(dict)


def _node(value: Any) -> Node:
    fields = _mapping(value)
    return Node(*(_text(fields[name]) for name in Node._fields))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, _list(value)))


def _nodes(value: Any) -> tuple[Node, ...]:
    return tuple(map(_node, _list(value)))


def _node_or_none(value: Any) -> Node | None:
    return None if value is None else _node(value)


TYPES: Mapping[str, tuple[type[Message], Mapping[str, Callable[[Any], Any]]]] = {
    "hello": (Hello, {"cluster": _text, "node": _node}),
    "ask": (Ask, {"known": _texts}),
    "known": (Known, {"term": _number, "master": _node_or_none, "known": _texts}),
    "vote": (Vote, {"term": _number}),
    "voted": (Voted, {"term": _number, "granted": _flag}),
    "join": (Join, {"term": _number, "uuid": _text}),
    "state": (
        State,
        {
            "term": _number, "version": _number, "uuid": _text, "master": _text, "nodes": _nodes,
            "voters": _texts,
        },
    ),
    "check": (Check, {}),
    "checked": (Checked, {"member": _flag, "version": _number}),
}  # fmt: skip
"""Type → its class and how each field is read."""


def type_of(message: Message) -> str:
    """The message's type, as it stands on the wire."""
    return type(message).__name__.lower()


def render(message: Message) -> bytes:
    """The line of one message."""
    fields = {name: _plain(value) for name, value in message._asdict().items()}
    return json.dumps({"type": type_of(message), **fields}).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return value._asdict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def parse(line: bytes) -> Message:
    """The message of one line; raises WireError for what is none."""
    try:
        value = _mapping(json.loads(line))
        kind, fields = TYPES[_text(value["type"])]
        return kind(**{name: read(value[name]) for name, read in fields.items()})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WireError("peers", f"not a message: {line[:80]!r}") from error


class Splitter:
    """Bytes in, whole messages out."""

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now; raises WireError for what is none, or has no end."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > LINE_LIMIT:
            raise WireError("peers", f"a message of more than {LINE_LIMIT} octets")
        return [parse(line) for line in lines]
