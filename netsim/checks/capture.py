"""``capture: {on, filter}``, ``during`` another check: which packets pass an interface while that one runs.

The other check must hold, too, if it expects anything. Recording goes on for a second after it, so that
connections can close.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from netsim.capture.dissect import summarize
from netsim.capture.filter import parse_filter
from netsim.capture.record import PacketRecord, packet_from_record
from netsim.checks import fields
from netsim.checks.verb import Expect, Judgement, Verb
from netsim.objects.topology import Check

if TYPE_CHECKING:
    from netsim.checks.targets import Book
    from netsim.cluster.cluster import Cluster

CLOSING_SECONDS = 1.0
ADDRESS_FIELDS = (
    "ip.src", "ip.dst", "ip.addr", "ipv6.src", "ipv6.dst", "ipv6.addr", "arp.src.proto_ipv4",
    "arp.dst.proto_ipv4", "dns.a", "dns.aaaa",
)  # fmt: skip
"""Fields whose wanted value may be a target."""

Records = tuple[PacketRecord, ...]
Carry = Callable[["Cluster", Check], Coroutine[Any, Any, Any]]


def judge_count(records: Records, expect: Expect, book: Book) -> Judgement:
    return Judgement(len(records) == expect["count"], len(records))


def judge_fields(records: Records, expect: Expect, book: Book) -> Judgement:
    """Every packet has each field with that value, in one of its headers; there must be a packet."""
    passed = bool(records)
    observed: dict[str, list[fields.Value]] = {}
    for field, wanted in expect["fields"].items():
        accepted = _accepted(field, wanted, book)
        seen: dict[fields.Value, None] = {}
        for record in records:
            found = fields.values(record.data, field)
            passed = passed and any(fields.equal(value, one) for value in found for one in accepted)
            seen.update(dict.fromkeys(found))
        observed[field] = list(seen)
    return Judgement(passed, observed)


def _accepted(field: str, wanted: fields.Value, book: Book) -> list[fields.Value]:
    if field in ADDRESS_FIELDS and isinstance(wanted, str) and not _is_address(wanted):
        return [str(address) for address in book.addresses(wanted)]
    return [wanted]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def detail(records: Records) -> str:
    return f"the first: {summarize(records[0].data)}" if records else ""


def capturing(carry_out: Carry) -> Verb[Records]:
    """The verb; ``carry_out`` does what the check ``during`` says, and raises UsageError when that fails."""

    async def observe(cluster: Cluster, check: Check) -> Records:
        asked = check.arguments["capture"]
        wanted = parse_filter(asked.get("filter", ""))
        with cluster.capture(asked["on"]) as packets:
            await carry_out(cluster, check.arguments["during"])
            cluster.advance(CLOSING_SECONDS)
        return tuple(record for record in packets.records if wanted.matches(packet_from_record(record)))

    return Verb("capture", observe, {"count": judge_count, "fields": judge_fields}, detail=detail)
