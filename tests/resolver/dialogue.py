"""Dialogues with a resolver machine: what it does, what it sees, and how it ends.

A script is a list of steps. ``does(...)`` is a message that the machine must send now; ``sees(...)`` is what
it hears when it waits; ``at(t)`` moves the clock. Opening and closing sockets is answered without being
spelled out, unless the next step is a failure to connect. At the end every socket must be closed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, ip_address
from typing import NamedTuple

from netsim.base.rng import Rng
from netsim.resolver import hosts, resolvconf
from netsim.resolver.commands import (
    Arrived,
    Close,
    Closed,
    Done,
    Event,
    Lookup,
    Open,
    Receive,
    Refused,
    Send,
    TimedOut,
    Transport,
    Unreachable,
)
from netsim.resolver.glibc import Machine, Process, Setup
from netsim.resolver.order import Client
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode, Record

POD_RESOLV_CONF = """\
search dev.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
"""
POD_HOSTS = "127.0.0.1\tlocalhost\n10.244.1.5\tweb-0\n"


def setup(
    conf: str = POD_RESOLV_CONF,
    *,
    hosts_file: str = POD_HOSTS,
    ipv6: bool = True,
    process: Process | None = None,
    seed: int = 1,
) -> Setup:
    """A Pod at 10.244.1.5/24 whose only IPv6 address is link-local."""
    client = Client((IPv4Interface("10.244.1.5/24"),), ipv6)
    rng = Rng(seed)
    return Setup(resolvconf.parse(conf), hosts.parse(hosts_file), client, process or Process(), rng)


class Asks(NamedTuple):
    """Messages for one name in one Send; the first nameserver over UDP unless said otherwise."""

    name: str
    types: tuple[str, ...]
    server: str
    transport: Transport
    socket: int | None


def asks(
    name: str, *types: str, to: str = "10.96.0.10", over: Transport = Transport.UDP, on: int | None = None
) -> Asks:
    """``on`` is the number of the socket, counted from 0, where it matters."""
    return Asks(name, types, to, over, on)


class Answer(NamedTuple):
    """An answer to the latest query of that type."""

    qtype: str
    fields: dict[str, object]
    data: bytes | None = None


def answer(qtype: str, *addresses: str, **fields: object) -> Answer:
    """Addresses, or none; ``fields`` are those of Message (``rcode=…``, ``truncated=…``)."""
    number = dns.TYPE_NUMBERS[qtype]
    records = tuple(Record("", number, dns.IN, 30, ip_address(address).packed) for address in addresses)
    return Answer(qtype, {"authoritative": True, "recursion_available": True, "answers": records} | fields)


def nxdomain(qtype: str) -> Answer:
    return answer(qtype, rcode=Rcode.NXDOMAIN)


def bare(qtype: str, rcode: Rcode) -> Answer:
    """An error code without the question section."""
    return answer(qtype, rcode=rcode, questions=())


class Silence(NamedTuple):
    """Nothing comes until the machine's own timeout."""


class PortUnreachable(NamedTuple):
    """ICMP port unreachable, or RST."""


class NoRoute(NamedTuple):
    """ENETUNREACH."""


class Hangup(NamedTuple):
    """The end of a TCP connection."""

    reset: bool


class Noise(NamedTuple):
    """A datagram that answers nothing."""

    data: bytes


Seen = Answer | Silence | PortUnreachable | NoRoute | Hangup | Noise


class Does(NamedTuple):
    what: Asks


class Sees(NamedTuple):
    what: Seen


class At(NamedTuple):
    time: float


Step = Does | Sees | At


def does(what: Asks) -> Step:
    return Does(what)


def sees(what: Seen) -> Step:
    return Sees(what)


def at(time: float) -> Step:
    return At(time)


def script(machine: Machine, steps: Sequence[Step], causes: list[str] | None = None) -> Lookup:
    """Play the steps; the machine must ask for exactly these and then end. ``causes`` collects why it did."""
    player = _Player(machine)
    lookup = player.play(steps)
    if causes is not None:
        causes += player.causes
    return lookup


class _Player:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.now = 0.0
        self.open: dict[int, Open] = {}
        self.asked: dict[int, Message] = {}
        self.causes: list[str] = []
        self.command: object = None
        self.lookup: Lookup | None = None

    def play(self, steps: Sequence[Step]) -> Lookup:
        self._resume(None)
        for number, step in enumerate(steps, 1):
            where = f"step {number}, {step}"
            if isinstance(step, At):
                assert step.time >= self.now, where
                self.now = step.time
                continue
            failing = isinstance(step, Sees) and isinstance(step.what, NoRoute | PortUnreachable)
            self._settle(connects=not failing)
            if isinstance(step, Does):
                self._check(step.what, where)
                self._resume(Done(self.now))
            else:
                assert isinstance(self.command, Receive | Open | Send), f"{where}: it {self._doing()}"
                self._resume(self._event(step.what, self.command))
        self._settle(connects=True)
        assert self.lookup is not None, f"after the last step it {self._doing()}"
        assert not self.open, f"sockets left open: {sorted(self.open)}"
        return self.lookup

    def _doing(self) -> str:
        return f"yields {self.command}" if self.lookup is None else f"has ended with {self.lookup}"

    def _resume(self, event: Event | None) -> None:
        try:
            self.command = next(self.machine) if event is None else self.machine.send(event)
        except StopIteration as end:
            self.command, self.lookup = None, end.value

    def _settle(self, connects: bool) -> None:
        """Answer what needs no step of its own."""
        while True:
            match self.command:
                case Close(socket):
                    self.open.pop(socket, None)
                case Open(socket) as command if connects:
                    assert socket not in self.open
                    self.open[socket] = command
                case _:
                    return
            self._resume(Done(self.now))

    def _check(self, wanted: Asks, where: str) -> None:
        command = self.command
        assert isinstance(command, Send), f"{where}: it {self._doing()}"
        messages = [dns.parse(data) for data in command.messages]
        opened = self.open[command.socket]
        got = Asks(
            messages[0].questions[0].name,
            tuple(dns.TYPE_NAMES[message.questions[0].qtype] for message in messages),
            str(opened.server),
            opened.transport,
            command.socket if wanted.socket is not None else None,
        )
        assert got == wanted, where
        assert {message.questions[0].name for message in messages} == {got.name}
        self.causes.append(command.cause.text)
        for message in messages:
            self.asked[message.questions[0].qtype] = message

    def _event(self, what: Seen, command: Receive | Open | Send) -> Event:
        match what:
            case Silence():
                assert isinstance(command, Receive)
                self.now += command.timeout
                return TimedOut(self.now)
            case PortUnreachable():
                return Refused(self.now)
            case NoRoute():
                return Unreachable(self.now)
            case Hangup(reset):
                return Closed(self.now, reset)
            case Noise(data):
                return Arrived(self.now, data, ip_address("10.96.0.10"))
            case Answer():
                query = self.asked[dns.TYPE_NUMBERS[what.qtype]]
                return Arrived(self.now, answer_to(query, what), ip_address("10.96.0.10"))


def answer_to(query: Message, what: Answer) -> bytes:
    """The bytes of an answer to this query; records without an owner get the name that was asked for."""
    message = dns.reply(query, **what.fields)
    name = query.questions[0].name
    records = tuple(record._replace(name=record.name or name) for record in message.answers)
    return dns.build(message._replace(answers=records))
