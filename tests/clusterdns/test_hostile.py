"""Whatever bytes arrive, the server answers or is silent; what it says, another library can read."""

from __future__ import annotations

from functools import lru_cache

import dns.message
import dns.rcode
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.server import (
    AskUpstream,
    Command,
    QueryArrived,
    SendReply,
    Server,
    UpstreamReplied,
    UpstreamTimedOut,
)
from netsim.wire import dns as wire
from netsim.wire.dns import Edns, Message, Question
from tests.clusterdns.world import CLIENT, CLUSTER, COREDNS, World, address_of

EVERYTHING = """
. {
  bufsize
  prometheus
  errors
  log
  any
  loadbalance
  rewrite name suffix .shop .prod.svc.cluster.local answer auto
  rewrite continue edns0 local set 65518 a revert
  rewrite continue ttl regex .* 1-60
  autopath @kubernetes
  acl {
    block net 192.0.2.0/24
  }
  cache 30
  minimal
  template IN A tmpl {
    match ^(.*)[.]tmpl[.]$
    answer "{{ .Name }} 60 IN A 10.0.0.1"
  }
  transfer {
    to *
  }
  hosts {
    192.0.2.10 host.example
    fallthrough
  }
  k8s_external example.org
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    pods verified
    fallthrough in-addr.arpa ip6.arpa
  }
  file /db zone.example
  forward . 192.0.2.1
}
"""
FILES = {
    "/db": "@ 60 SOA a b 7 1 1 1 1\n@ NS a\na A 192.0.2.1\n* CNAME a\n",
    "/etc/resolv.conf": "search x\n",
}
NAMES = (
    "ent.prod.svc.cluster.local.", "db.prod.svc.cluster.local.", "web.prod.svc.cluster.local.",
    "cluster.local.", "ent.shop.", "x.tmpl.", "host.example.", "zone.example.", "x.zone.example.",
    "ent.prod.example.org.", "10.0.96.10.in-addr.arpa.", "www.example.com.", ".",
    "a\\.b\\000.prod.svc.cluster.local.",
)  # fmt: skip

transports = st.sampled_from(Transport)


@lru_cache
def server() -> Server:
    """One server for all examples: what came before must not matter either."""
    zone = World(". {\n whoami\n}", CLUSTER).zone
    return Server(EVERYTHING, zone, Rng(1), files=FILES, addresses=(COREDNS,))


def play(coredns: Server, events: list[QueryArrived]) -> list[SendReply]:
    """Let the queries arrive; every question upstream is answered with damaged bytes, then with nothing."""
    replies = []
    commands: list[Command] = []
    for event in events:
        commands += coredns.feed(event, 0.0)
    while commands:
        command = commands.pop(0)
        if isinstance(command, SendReply):
            replies.append(command)
        elif isinstance(command, AskUpstream):
            commands += coredns.feed(UpstreamReplied(command.token, command.data[:2] + b"\xff" * 9), 1.0)
            commands += coredns.feed(UpstreamTimedOut(command.token), 2.0)
    return replies


@st.composite
def questions(draw: st.DrawFn) -> bytes:
    """A query that could come from a client, of any type and class, with or without EDNS."""
    name = draw(st.sampled_from(NAMES))
    qtype = draw(st.sampled_from([1, 28, 33, 12, 2, 6, 16, 5, 15, 35, 43, 65, 251, 252, 255, 13, 65280]))
    options = st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=12)), max_size=3).map(tuple)
    opt = st.builds(Edns, st.integers(0, 65535), st.integers(0, 1), st.booleans(), options)
    edns = draw(st.none() | opt)
    authority = (address_of("a."),) if draw(st.booleans()) else ()
    qclass = draw(st.sampled_from([1, 3, 255]))
    identifier = draw(st.integers(0, 65535))
    return wire.build(
        Message(identifier, recursion_desired=True, questions=(Question(name, qtype, qclass),), edns=edns,
                authority=authority)
    )  # fmt: skip


@given(st.lists(st.tuples(st.binary(max_size=80), transports), max_size=4))
def test_random_bytes_never_raise(messages: list[tuple[bytes, Transport]]) -> None:
    play(server(), [QueryArrived(data, CLIENT, transport) for data, transport in messages])


@given(questions(), st.data())
def test_a_query_cut_anywhere_or_with_a_byte_changed_never_raises(query: bytes, data: st.DataObject) -> None:
    coredns = server()
    position = data.draw(st.integers(0, len(query) - 1))
    damaged = bytearray(query)
    damaged[position] = data.draw(st.integers(0, 255))
    cut = query[:position]
    play(coredns, [QueryArrived(bytes(damaged), CLIENT), QueryArrived(cut, CLIENT, Transport.TCP)])


@settings(max_examples=200)
@given(questions(), transports)
@example(wire.query(1, "cluster.local.", wire.AXFR), Transport.TCP)
def test_every_question_gets_one_answer_that_dnspython_reads(query: bytes, transport: Transport) -> None:
    event = QueryArrived(query, CLIENT, transport)
    replies = play(server(), [event])
    assert len(replies) == 1
    reply = dns.message.from_wire(replies[0].data)
    asked = wire.parse(query)
    assert reply.id == asked.id
    assert reply.flags & 0x8000
    limit = 65535 if transport is Transport.TCP else max(512, asked.edns.size if asked.edns else 512)
    assert len(replies[0].data) <= limit


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (b"\0\1\x80\0" + b"\0\1" + b"\0" * 6, None),  # a response
        (b"\0\1\x01\0" + b"\0\0" * 4, "FORMERR"),  # no question
        (b"\0\1\x01\0" + b"\0\2" + b"\0" * 6, "FORMERR"),  # two
        (b"\0\1\x28\0" + b"\0\1" + b"\0" * 6, "NOTIMP"),  # an update
        (
            b"\0\1\x01\0" + b"\0\1" + b"\0" * 6 + b"\xc0\x0c\0\1\0\1",
            "FORMERR",
        ),  # a name that points to itself
        (b"\0\1\x01\0" + b"\0\1" + b"\0" * 6 + b"\x3f" + b"a" * 9, "FORMERR"),  # a label that runs out
    ],
)
def test_what_is_no_query_is_answered_with_an_error_or_not_at_all(query: bytes, rcode: str | None) -> None:
    replies = play(server(), [QueryArrived(query, CLIENT)])
    assert [dns.rcode.to_text(reply.data[3] & 15) for reply in replies] == ([] if rcode is None else [rcode])


def test_options_that_come_back_and_options_that_do_not() -> None:
    coredns = World(". {\n whoami\n}")
    kept = ((3, b""), (10, b"12345678"), (12, b"\0\0"))
    reply = coredns.ask("a.", edns=Edns(1232, options=(*kept, (8, b"\0\1\x18\0\n\0\0"), (65001, b"x"))))
    assert reply.edns == Edns(1232, options=kept)
