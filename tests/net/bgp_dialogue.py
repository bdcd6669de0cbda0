"""A speaker with one neighbour, and the test in the neighbour's place.

Each call returns what the speaker did, as short words: ``dial``, ``close``, ``OPEN``, ``KEEPALIVE``,
``NOTIFICATION 2/2``, ``UPDATE …``, ``route 10.0.0.0/8 via 10.0.0.2``, ``no route 10.0.0.0/8``. What is said
on a connection that the neighbour opened has ``<`` before it, or ``<<`` on the second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import assert_never

from netsim.base.rng import Rng
from netsim.net.bgp.events import (
    BytesArrived,
    CloseConnection,
    Command,
    Connection,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    InstallRoute,
    OpenConnection,
    RemoveRoute,
    SendBytes,
    Started,
)
from netsim.net.bgp.settings import PeerSettings, SpeakerSettings, Timers
from netsim.net.bgp.speaker import Speaker
from netsim.net.bgp.states import State
from netsim.wire import bgp
from netsim.wire.bgp_attributes import AS_SEQUENCE, PathAttributes, Prefix, Segment, prefix_from_network

US, THEM = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
OUR_AS = 64512
PROMPT = Timers(hold_time=90, connect_delay=0.0, connect_retry=5.0, error_wait=5.0, longest_error_wait=30.0)


class Steady(Rng):
    """No chance: timers run their whole length."""

    def random(self) -> float:
        return 0.0

    def derive(self, name: str) -> Rng:
        return self


class Dialogue:
    """``speaker`` is at 10.0.0.1, its neighbour at 10.0.0.2, both in AS 64512 unless told otherwise."""

    def __init__(
        self,
        *,
        asn: int = OUR_AS,
        timers: Timers = PROMPT,
        us: str = "10.0.0.1",
        rng: Rng | None = None,
        **peer: object,
    ) -> None:
        self.asn = asn
        settings = PeerSettings(THEM, asn, "them", **peer)  # type: ignore[arg-type]
        own = SpeakerSettings(OUR_AS, IPv4Address(us), (settings,), timers)
        self.speaker = Speaker(own, rng or Steady(1))
        self.now = 0.0
        self.dialled: Connection | None = None
        self.accepted: list[Connection] = []
        self.heard: list[bgp.Message] = []

    @property
    def state(self) -> State:
        return self.speaker.peers[THEM].state

    @property
    def problem(self) -> str:
        return self.speaker.peers[THEM].problem

    # --- what happens ---

    def starts(self) -> list[str]:
        return self.feed(Started())

    def waits(self, until: float) -> list[str]:
        """Let time pass; returns all that the speaker does, each with the time."""
        done: list[str] = []
        while (due := self.speaker.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            done += [f"{self.now:g} {word}" for word in self.words(self.speaker.expire(self.now))]
        self.now = until
        return done

    def connects(self) -> list[str]:
        """The connection that the speaker asked for stands."""
        assert self.dialled is not None
        return self.feed(ConnectionOpened(self.dialled, US))

    def refuses(self, reason: str = "Connection refused") -> list[str]:
        assert self.dialled is not None
        return self.feed(ConnectionFailed(self.dialled, reason))

    def comes(self) -> list[str]:
        """The neighbour opens a connection."""
        self.accepted.append(Connection(THEM, True, len(self.accepted) + 1))
        return self.feed(ConnectionOpened(self.accepted[-1], US))

    def says(self, *messages: bgp.Message | bytes, on: Connection | None = None) -> list[str]:
        """The neighbour sends these, in one piece."""
        data = b"".join(m if isinstance(m, bytes) else bgp.build(m) for m in messages)
        return self.feed(BytesArrived(on or self.connection, data))

    def hangs_up(self, reason: str = "", on: Connection | None = None) -> list[str]:
        return self.feed(ConnectionClosed(on or self.connection, reason))

    def open(self, **fields: object) -> bgp.Open:
        """A right OPEN of the neighbour's, but for what is told otherwise."""
        message = bgp.standard_open(self.asn, 90, THEM.packed)
        return message._replace(**fields)  # type: ignore[arg-type]

    def establishes(self, *, incoming: bool = False) -> Dialogue:
        """By the shortest way into Established."""
        self.starts()
        if incoming:
            self.comes()
        else:
            self.connects()
        self.says(self.open(), bgp.Keepalive())
        assert self.state is State.ESTABLISHED, self.state
        return self

    # --- words ---

    @property
    def connection(self) -> Connection:
        """The newest connection, the speaker's own one first."""
        if self.dialled is not None:
            return self.dialled
        return self.accepted[-1]

    def feed(self, event: Event) -> list[str]:
        return self.words(self.speaker.feed(event, self.now))

    def words(self, commands: Sequence[Command]) -> list[str]:
        return [word for command in commands for word in self._words(command)]

    def _words(self, command: Command) -> list[str]:
        match command:
            case OpenConnection(connection):
                self.dialled = connection
                return ["dial"]
            case CloseConnection(connection):
                word = f"{self._side(connection)}close"
                if connection == self.dialled:
                    self.dialled = None
                return [word]
            case SendBytes(connection, data, cause):
                frames, rest = bgp.split(data)
                assert rest == b"" and "BGP to them: " in cause.text
                self.heard += [bgp.parse(frame) for frame in frames]
                return [self._side(connection) + _word(bgp.parse(frame)) for frame in frames]
            case InstallRoute(prefix, next_hop):
                return [f"route {prefix} via {next_hop}"]
            case RemoveRoute(prefix):
                return [f"no route {prefix}"]
            case _:
                assert_never(command)

    def _side(self, connection: Connection) -> str:
        return "<" * (self.accepted.index(connection) + 1) if connection.incoming else ""


def _word(message: bgp.Message) -> str:
    if isinstance(message, bgp.Notification):
        return f"NOTIFICATION {message.code}/{message.subcode}"
    text = bgp.describe(message)
    return "OPEN" if isinstance(message, bgp.Open) else text


def prefix(text: str) -> Prefix:
    return prefix_from_network(IPv4Network(text))


def route(*asns: int, via: str = "10.0.0.2", **fields: object) -> PathAttributes:
    """The attributes of a route with this AS path."""
    path = (Segment(AS_SEQUENCE, asns),) if asns else ()
    attributes = PathAttributes(0, path, IPv4Address(via).packed)
    return attributes._replace(**fields)  # type: ignore[arg-type]


def announce(*prefixes: str, attributes: PathAttributes | None = None) -> bgp.Update:
    return bgp.Update((), attributes or route(), tuple(prefix(text) for text in prefixes))


def withdraw(*prefixes: str) -> bgp.Update:
    return bgp.Update(tuple(prefix(text) for text in prefixes))
