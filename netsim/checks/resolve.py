"""``resolve: NAME``: what the Pod's own libc makes of a name, and what it asks for that.

Errors are getaddrinfo's (``EAI_NONAME``), or the texts of Go's; a report also has the answer that led to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.checks.targets import Addresses
from netsim.checks.verb import Expect, Judgement, Verb
from netsim.objects.topology import Check
from netsim.resolver.commands import Family, Libc, Lookup, Outcome, SentQuery
from netsim.wire import dns

if TYPE_CHECKING:
    from netsim.checks.targets import Book
    from netsim.cluster.cluster import Cluster

FAMILIES = {"A": Family.INET, "AAAA": Family.INET6}


async def observe(cluster: Cluster, check: Check) -> Lookup:
    """Resolve the name once."""
    family = FAMILIES.get(check.arguments.get("type", ""), Family.UNSPEC)
    libc = Libc(check.arguments["libc"]) if "libc" in check.arguments else None
    return await cluster.find(check.origin).resolve(check.arguments["resolve"], family=family, libc=libc)


def judge_addresses(lookup: Lookup, expect: Expect, book: Book) -> Judgement:
    """Exactly the addresses of these targets, in whatever order; of a target that has both families, those of
    the family that was asked for."""
    asked = {Family.INET: 4, Family.INET6: 6}.get(lookup.family)
    targets = [book.addresses(target) for target in expect["addresses"]]
    of_family = [frozenset(one for one in found if asked in (None, one.version)) for found in targets]
    wanted: Addresses = frozenset().union(
        *(near or all_ for near, all_ in zip(of_family, targets, strict=True))
    )
    return Judgement(wanted == frozenset(lookup.addresses), book.render_all(lookup.addresses))


def judge_error(lookup: Lookup, expect: Expect, book: Book) -> Judgement:
    """The error's name, None when there is none."""
    observed = lookup.error.name if lookup.error is not None else None
    return Judgement(expect["error"] == observed, observed)


def judge_queries(lookup: Lookup, expect: Expect, book: Book) -> Judgement:
    """How many queries were sent, or exactly which, in order.

    A query is written ``NAME TYPE``. Where no item of the list has a type, it is the list of the names that
    were tried, each however often it was asked for.
    """
    wanted = expect["queries"]
    if isinstance(wanted, int):
        return Judgement(len(lookup.queries) == wanted, len(lookup.queries))
    sent = [f"{query.name} {_type(query)}" for query in lookup.queries]
    if any(" " in item.strip() for item in wanted):
        return Judgement([_with_dot(item) for item in wanted] == list(map(_with_dot, sent)), sent)
    names = list(dict.fromkeys(query.name for query in lookup.queries))
    return Judgement([_with_dot(item) for item in wanted] == list(map(_with_dot, names)), names)


def judge_after(lookup: Lookup, expect: Expect, book: Book) -> Judgement:
    elapsed = round(lookup.elapsed, 9)
    return Judgement(elapsed >= expect["after"], elapsed)


def judge_within(lookup: Lookup, expect: Expect, book: Book) -> Judgement:
    elapsed = round(lookup.elapsed, 9)
    return Judgement(elapsed <= expect["within"], elapsed)


def detail(lookup: Lookup) -> str:
    """The error in words, and what the last answer said."""
    if lookup.error is None:
        return ""
    said = [query for query in lookup.queries if query.outcome is not Outcome.NOT_AWAITED]
    last = f"; {said[-1].name} {_type(said[-1])} was {said[-1].outcome.value}" if said else ""
    return f"{lookup.name}: {lookup.reason}{last}"


def _type(query: SentQuery) -> str:
    return dns.TYPE_NAMES.get(query.qtype, f"TYPE{query.qtype}")


def _with_dot(query: str) -> str:
    """A query in one spelling: an absolute name in small letters, and a type in capitals."""
    name, _, qtype = query.strip().partition(" ")
    return f"{name.rstrip('.').lower()}. {qtype.strip().upper()}".strip()


RESOLVE = Verb[Lookup](
    "resolve",
    observe,
    {
        "addresses": judge_addresses,
        "error": judge_error,
        "queries": judge_queries,
        "after": judge_after,
        "within": judge_within,
    },
    at_least={"error": None},
    detail=detail,
)
