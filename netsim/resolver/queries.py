"""One query of a resolver, what became of it, and the log of all queries of one lookup.

The machines of glibc, musl and Go share this: what a query is, how an answer is named, and what callers get
to see of it. When an answer counts is for each library to say.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple, TypeVar

from netsim.base.address import IpAddress
from netsim.base.errors import WireError
from netsim.base.rng import Rng
from netsim.resolver.commands import Command, Event, Family, Outcome, SentQuery, Transport
from netsim.resolver.resolvconf import ipv4_from_numbers
from netsim.wire import dns
from netsim.wire.dns import Message, Rcode
from netsim.wire.dnsname import name_to_wire

T = TypeVar("T")
Steps = Generator[Command, Event, T]

# No library takes these for an answer to the question: the server is of no help.
FAILURES = (Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED)

_OUTCOMES = {
    Rcode.NXDOMAIN: Outcome.NXDOMAIN,
    Rcode.SERVFAIL: Outcome.SERVFAIL,
    Rcode.REFUSED: Outcome.REFUSED,
    Rcode.NOTIMP: Outcome.NOTIMP,
    Rcode.FORMERR: Outcome.FORMERR,
}


class Query(NamedTuple):
    """One question, with the message that asks it; ``name`` is absolute."""

    id: int
    name: str
    qtype: int
    message: bytes


def make_query(
    name: str, qtype: int, rng: Rng, *, edns_size: int | None = None, authentic: bool = False
) -> Query:
    """A query with a random id; WireError when the name does not fit."""
    identifier = rng.below(1 << 16)
    message = dns.query(identifier, name, qtype, edns_size=edns_size, authentic=authentic)
    return Query(identifier, name if name.endswith(".") else f"{name}.", qtype, message)


class Found(NamedTuple):
    """A host: its name, and its addresses in the order of the answers."""

    name: str
    addresses: tuple[IpAddress, ...]


class Sent:
    """A query on its way; the log makes a SentQuery of it at the end of the lookup."""

    __slots__ = ("answers", "at", "outcome", "query", "server", "transport")

    def __init__(self, query: Query, server: IpAddress, transport: Transport, at: float) -> None:
        self.query = query
        self.server = server
        self.transport = transport
        self.at = at
        self.outcome = Outcome.NOT_AWAITED
        self.answers: tuple[str, ...] = ()

    def answered(self, message: Message) -> Outcome:
        """Note what came back."""
        self.outcome = outcome_of(message)
        qtype = self.query.qtype
        self.answers = tuple(dns.render_rdata(record) for record in message.answers if record.rtype == qtype)
        return self.outcome


def sent_queries(log: Iterable[Sent]) -> tuple[SentQuery, ...]:
    """What a lookup's caller sees of its queries, in order."""
    return tuple(
        SentQuery(q.query.name, q.query.qtype, q.server, q.transport, q.at, q.outcome, q.answers) for q in log
    )


def literal(name: str) -> IpAddress | None:
    """The address that a numeric name is to a C library (inet_aton, then inet_pton), of whatever family."""
    address = ipv4_from_numbers(name)
    if address is not None:
        return address
    try:
        return IPv6Address(name)
    except AddressValueError:
        return None


def fits(address: IpAddress, family: Family) -> bool:
    """Whether the caller wants addresses of this kind."""
    return {Family.INET: 4, Family.INET6: 6}.get(family, address.version) == address.version


def outcome_of(message: Message) -> Outcome:
    """What a message says: its error code before lameness, and that before truncation."""
    if message.rcode in FAILURES:
        return _OUTCOMES[Rcode(message.rcode)]
    if is_lame(message):
        return Outcome.LAME
    if message.truncated:
        return Outcome.TRUNCATED
    if message.rcode != Rcode.NOERROR:
        known = message.rcode in _OUTCOMES
        return _OUTCOMES[Rcode(message.rcode)] if known else Outcome.OTHER_RCODE
    return Outcome.ANSWERED if message.answers else Outcome.NO_DATA


def is_lame(message: Message) -> bool:
    """Whether the server neither knows nor asks others: NOERROR with nothing in it, and no flag."""
    empty = not (message.answers or message.additional or message.edns)
    vouched_for = message.authoritative or message.recursion_available
    return message.rcode == Rcode.NOERROR and empty and not vouched_for


def parsed(data: bytes) -> Message | None:
    """The message; None when it is none."""
    try:
        return dns.parse(data)
    except WireError:
        return None


def repeats(message: Message, query: Query) -> bool:
    """Whether a message has the query's question, whatever the case of its letters."""
    if len(message.questions) != 1:
        return False
    name, qtype, qclass = message.questions[0]
    if qtype != query.qtype or qclass != dns.IN:
        return False
    # one name may be spelled with an escape that the other does without, as ``;`` and ``\\;``
    return name.lower() == query.name.lower() or name_to_wire(name) == name_to_wire(query.name)
