"""What kind of response a message is, and how long it may be kept.

Sources: coredns ``plugin/pkg/response/typify.go``, ``plugin/pkg/dnsutil/ttl.go``, and the rules for answers
that do not answer in ``plugin/cache/cache.go`` (RFC 2308 section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from itertools import chain

from netsim.wire.dns import ANY, AXFR, CNAME, IXFR, NS, QUERY, SOA, Message, Rcode, Record

MINIMUM_TTL = 5
"""For messages without a record that says how long (MinimalDefaultTTL)."""

NOT_IMPLEMENTED_TOO = (Rcode.SERVFAIL, Rcode.NOTIMP)


class Kind(Enum):
    """response.Type."""

    NO_ERROR = auto()
    NAME_ERROR = auto()
    SERVER_ERROR = auto()
    NO_DATA = auto()
    DELEGATION = auto()
    META = auto()  # transfers, NOTIFY and updates: never kept
    OTHER_ERROR = auto()


def kind_of(message: Message) -> Kind:
    """response.Typify."""
    if message.opcode != QUERY or (message.questions and message.questions[0].qtype in (AXFR, IXFR)):
        return Kind.META
    if message.answers:
        if message.rcode == Rcode.NOERROR:
            return Kind.NO_ERROR
        if message.rcode == Rcode.NXDOMAIN:
            return Kind.OTHER_ERROR
    if message.rcode == Rcode.NXDOMAIN:
        return Kind.NAME_ERROR
    if message.rcode in NOT_IMPLEMENTED_TOO:
        return Kind.SERVER_ERROR
    if message.rcode != Rcode.NOERROR:
        return Kind.OTHER_ERROR
    if has_soa(message):
        return Kind.NO_DATA
    if any(record.rtype == NS for record in message.authority):
        return Kind.DELEGATION
    return Kind.NO_ERROR


def kept_kind(message: Message) -> Kind:
    """The kind for the cache: a CNAME chain that ends nowhere, with a SOA, is NODATA."""
    kind = kind_of(message)
    if kind is Kind.NO_ERROR and message.answers and has_soa(message) and not answers_question(message):
        return Kind.NO_DATA
    return kind


def has_soa(message: Message) -> bool:
    """Whether the authority section says how long a denial holds."""
    for record in message.authority:  # noqa: SIM110 -- most have none, and a generator costs more than that
        if record.rtype == SOA:
            return True
    return False


def storable(message: Message, kind: Kind) -> bool:
    """Whether a response may be kept at all (cache.go key)."""
    if message.truncated or kind in (Kind.OTHER_ERROR, Kind.META):
        return False
    if kind is Kind.NAME_ERROR:
        return has_soa(message)
    if kind is Kind.NO_ERROR and message.answers and not has_soa(message):
        return answers_question(message)
    return True


def lowest_ttl(message: Message, kind: Kind, maximum: int) -> int:
    """The smallest TTL of all sections, at most ``maximum`` (MinimalTTLWithMaximum)."""
    if kind not in (Kind.NO_ERROR, Kind.NAME_ERROR, Kind.NO_DATA):
        return MINIMUM_TTL
    ttl = maximum
    empty = True
    for record in chain(message.answers, message.authority, message.additional):
        empty = False
        if record.ttl < ttl:
            ttl = record.ttl
    return MINIMUM_TTL if empty else ttl


def answers_question(message: Message) -> bool:
    """Whether a record of the type asked for stands at the end of the CNAME chain."""
    if message.rcode != Rcode.NOERROR or not message.questions or not message.answers:
        return False
    name, qtype, _ = message.questions[0]
    first = message.answers[0]
    if first.rtype == qtype and first.name == name:  # by far the most common
        return True
    name = name.lower()
    if qtype == ANY:
        return any(record.name.lower() == name for record in message.answers)
    if qtype == CNAME:
        return bool(_alias_of(message.answers, name))
    seen = set()
    while name not in seen:
        seen.add(name)
        target = _alias_of(message.answers, name)
        if target is None:
            return False
        if not target:
            return any(record.rtype == qtype and record.name.lower() == name for record in message.answers)
        name = target
    return False


def _alias_of(answers: Sequence[Record], name: str) -> str | None:
    """The one CNAME target of a name, empty when it has none; None when it has two (RFC 2181 10.1)."""
    targets = {
        record.data.lower() for record in answers if record.rtype == CNAME and record.name.lower() == name
    }
    return None if len(targets) > 1 else next(iter(targets), "")
