"""What holds for every lookup: its price with a Pod's default resolv.conf, and that it ends."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.resolver.commands import (
    Arrived,
    Close,
    Closed,
    Command,
    Done,
    Event,
    Family,
    Lookup,
    Open,
    Receive,
    Refused,
    Send,
    TimedOut,
    Unreachable,
)
from netsim.resolver.glibc import Machine, getaddrinfo, getent_hosts
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode, Record
from tests.resolver.dialogue import setup

SERVER = ip_address("10.96.0.10")
ZONE = {
    "ent.dev.svc.cluster.local.": "10.96.12.34",
    "ent.prod.svc.cluster.local.": "10.96.56.78",
    "web-0.ent.dev.svc.cluster.local.": "10.244.1.7",
    "example.com.": "203.0.113.10",
    "www.example.com.": "203.0.113.11",
}
FIVE_DOTS_MISSING = "a.b.c.d.e.missing"


def cluster_dns(query: Message) -> Message:
    """A cluster's DNS server: addresses of the zone, NXDOMAIN elsewhere."""
    name, qtype, _ = query.questions[0]
    address = ZONE.get(name)
    if address is None:
        return dns.reply(query, rcode=Rcode.NXDOMAIN, authoritative=True)
    record = Record(name, dns.A, dns.IN, 30, ip_address(address).packed)
    return dns.reply(query, authoritative=True, answers=(record,) if qtype == dns.A else ())


def play(machine: Machine, answer: Callable[[Message], Message]) -> Lookup:
    """A network that delivers at once and loses nothing."""
    waiting: list[bytes] = []
    try:
        command = next(machine)
        while True:
            event: Event = Done(0.0)
            match command:
                case Send(messages=messages):
                    waiting += [dns.build(answer(dns.parse(message))) for message in messages]
                case Receive(timeout=timeout):
                    event = Arrived(0.0, waiting.pop(0), SERVER) if waiting else TimedOut(timeout)
            command = machine.send(event)
    except StopIteration as end:
        lookup: Lookup = end.value
        return lookup


@pytest.mark.parametrize(
    ("name", "queries", "inet"),
    [
        ("ent", 2, 1),
        ("ent.prod", 4, 2),
        ("ent.prod.svc", 6, 3),
        ("ent.prod.svc.cluster.local", 8, 4),
        ("ent.prod.svc.cluster.local.", 2, 1),
        ("example.com.", 2, 1),
        ("example.com", 8, 4),
        ("www.example.com", 8, 4),
        ("web-0.ent.dev.svc.cluster.local", 2, 1),
        ("missing", 8, 4),
        (FIVE_DOTS_MISSING, 8, 4),
    ],
)
def test_the_price_of_a_name_with_a_pods_default_resolv_conf(name: str, queries: int, inet: int) -> None:
    assert len(play(getaddrinfo(name, setup(), 0.0), cluster_dns).queries) == queries
    assert len(play(getaddrinfo(name, setup(), 0.0, family=Family.INET), cluster_dns).queries) == inet


def test_the_price_of_asking_for_ipv6_where_there_is_none() -> None:
    assert len(play(getaddrinfo("ent", setup(), 0.0, family=Family.INET6), cluster_dns).queries) == 4
    assert len(play(getent_hosts("ent", setup(), 0.0), cluster_dns).queries) == 5
    assert len(play(getent_hosts("ent.prod", setup(), 0.0), cluster_dns).queries) == 6


@given(st.lists(st.sampled_from(["a.example", "b.example", "c.example", "d.example"]), max_size=8))
def test_each_search_domain_costs_two_queries(domains: list[str]) -> None:
    conf = f"search {' '.join(domains)}\nnameserver 10.96.0.10\noptions ndots:5\n"
    lookup = play(getaddrinfo("example.com", setup(conf), 0.0), cluster_dns)
    assert len(lookup.queries) == 2 * len(domains) + 2
    assert lookup.addresses == (ip_address("203.0.113.10"),)


class Moods:
    """A network that does anything that a network can do; time passes while the machine waits."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.now = 0.0
        self.sent: list[Message] = []
        self.open: set[int] = set()

    def event(self, command: Command) -> Event:
        match command:
            case Open(socket):
                assert socket not in self.open
                kind = self.rng.choice([Done, Done, Done, Refused, Unreachable, TimedOut])
                if kind is Done:
                    self.open.add(socket)
                return kind(self.now)
            case Send(socket, messages):
                assert socket in self.open
                self.sent += [dns.parse(message) for message in messages]
                return self.rng.choice([Done, Done, Done, Refused])(self.now)
            case Receive(socket, timeout):
                assert socket in self.open
                assert timeout >= 0
                return self._heard(timeout)
            case Close(socket):
                self.open.discard(socket)
        return Done(self.now)

    def _heard(self, timeout: float) -> Event:
        kind = self.rng.choice(["answer", "answer", "answer", "noise", "silence", "gone", "hangup"])
        if kind == "silence":
            self.now += timeout
            return TimedOut(self.now)
        self.now += min(timeout, self.rng.choice([0.001, 0.5, 4.0]))
        match kind:
            case "gone":
                return Refused(self.now)
            case "hangup":
                return Closed(self.now, self.rng.below(2) == 0)
            case "noise":
                return Arrived(
                    self.now, bytes(self.rng.below(256) for _ in range(self.rng.below(40))), SERVER
                )
        query = self.rng.choice(self.sent[-4:])
        return Arrived(self.now, dns.build(self._answer(query)), SERVER)

    def _answer(self, query: Message) -> Message:
        name, qtype, _ = query.questions[0]
        size = 4 if qtype == dns.A else 16
        count = self.rng.choice([0, 0, 1, 2, 60])
        records = [Record(name, qtype, dns.IN, 30, bytes(size - 1) + bytes([last])) for last in range(count)]
        if self.rng.below(5) == 0:
            records = [Record(name, dns.CNAME, dns.IN, 30, "elsewhere.example.")]
        return dns.reply(
            query,
            rcode=self.rng.choice([0, 0, 0, 1, 2, 3, 4, 5, 9]),
            truncated=self.rng.below(3) == 0,
            authoritative=self.rng.below(3) > 0,
            answers=tuple(records),
        )


CONFS = st.sampled_from(
    [
        "search a.example b.example\nnameserver 10.96.0.10\noptions ndots:5\n",
        "search a.example .\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver fd00::53\noptions rotate\n",
        "nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions use-vc timeout:1\n",
        "search a.example\nnameserver 10.0.0.1\noptions single-request strict-error edns0 attempts:5\n",
        "search a.example\nnameserver 10.0.0.1\noptions single-request-reopen no-aaaa attempts:0\n",
    ]
)


NAMES = st.sampled_from(["ent", "ent.prod", "a.b.c.d.e.f", "ent."])


@settings(max_examples=500)
@given(st.integers(0, 1 << 32), CONFS, NAMES, st.sampled_from(Family))
def test_whatever_is_answered_a_lookup_ends(seed: int, conf: str, name: str, family: Family) -> None:
    moods = Moods(Rng(seed))
    machine = getaddrinfo(name, setup(conf), 0.0, family=family)
    lookup = None
    try:
        command = next(machine)
        for _ in range(5000):
            command = machine.send(moods.event(command))
    except StopIteration as end:
        lookup = end.value
    assert isinstance(lookup, Lookup), "still asking after 5000 commands"
    assert (lookup.error is None) == bool(lookup.addresses)
    assert lookup.elapsed == moods.now
    assert not moods.open
    assert [query.qtype for query in lookup.queries] == [m.questions[0].qtype for m in moods.sent]
