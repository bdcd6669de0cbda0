"""What ``netsim dns cost`` prints: the queries of each library in order, and a table of what would change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netsim.cluster.dns_cost import Cost, Report
from netsim.resolver.commands import SentQuery
from netsim.resolver.resolvconf import ResolvConf
from netsim.wire import dns


def render(report: Report) -> str:
    """The report as text."""
    return "".join(f"{line}\n" for line in _lines(report))


def document(report: Report) -> dict[str, Any]:
    """The report for JSON; times are milliseconds of virtual time from the lookup's start."""
    return {
        "pod": report.pod,
        "name": report.name,
        "resolvConf": {
            "nameservers": [str(address) for address in report.conf.nameservers],
            "search": list(report.conf.search),
            "ndots": report.conf.ndots,
        },
        "lookups": [_lookup(cost) for cost in report.as_is],
        "variants": [
            {
                "title": variant.title,
                "how": variant.note,
                "lookups": [_lookup(cost) for cost in variant.costs],
            }
            for variant in report.variants
        ],
    }


def _lookup(cost: Cost) -> dict[str, Any]:
    lookup = cost.lookup
    start = lookup.queries[0].sent_at if lookup.queries else 0.0
    return {
        "libc": cost.libc.value,
        "queries": [
            {
                "name": query.name,
                "type": dns.type_name(query.qtype),
                "server": str(query.server),
                "transport": query.transport.value,
                "at": round((query.sent_at - start) * 1000, 3),
                "outcome": query.outcome.value,
                "answers": list(query.answers),
            }
            for query in lookup.queries
        ],
        "packets": cost.packets,
        "reachedCoreDNS": cost.reached,
        "elapsed": round(lookup.elapsed * 1000, 3),
        "addresses": [str(address) for address in lookup.addresses],
        "error": lookup.error.name if lookup.error is not None else None,
    }


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.pod} looks up {report.name}"
    yield f"  {_settings(report.conf)}"
    for cost in report.as_is:
        yield ""
        yield f"{cost.libc.value}: {_total(cost)}"
        yield from _queries(cost.lookup.queries)
    if not report.variants:
        return
    yield ""
    yield from _table(report)


def _settings(conf: ResolvConf) -> str:
    servers = ", ".join(str(address) for address in conf.nameservers)
    return f"search {' '.join(conf.search) or '(none)'}; ndots:{conf.ndots}; nameserver {servers}"


def _total(cost: Cost) -> str:
    lookup = cost.lookup
    result = ", ".join(str(address) for address in lookup.addresses)
    if lookup.error is not None:
        result = (
            f"{lookup.error.name} ({lookup.reason})" if lookup.error.name != lookup.reason else lookup.reason
        )
    queries = f"{len(lookup.queries)} {'query' if len(lookup.queries) == 1 else 'queries'}"
    return f"{queries}, {cost.packets} packets, {lookup.elapsed * 1000:.1f} ms: {result}"


def _queries(queries: Sequence[SentQuery]) -> Iterator[str]:
    """One line each, in the order in which they were sent."""
    width = max((len(query.name) for query in queries), default=0)
    for number, query in enumerate(queries, 1):
        outcome = ", ".join(query.answers) or query.outcome.value
        at = (query.sent_at - queries[0].sent_at) * 1000
        over = "" if query.transport.value == "udp" else f" over {query.transport.value}"
        qtype = dns.type_name(query.qtype)
        yield f"  {number:>2}  {at:8.1f} ms  {query.name:<{width}}  {qtype:<5} {outcome}{over}"


def _table(report: Report) -> Iterator[str]:
    """Queries from the Pod by library."""
    rows = [("as it is", report.as_is, ""), *report.variants]
    titles = [f"{title}  " for title, _, _ in rows]
    width = max(map(len, ["what would change", *titles]))
    libcs = [cost.libc.value for cost in report.as_is]
    yield f"{'queries':<{width}}{''.join(f'{libc:<12}' for libc in libcs)}".rstrip()
    for title, costs, note in rows:
        cells = "".join(f"{_cell(cost):<12}" for cost in costs)
        yield f"{title:<{width}}{cells}{note}".rstrip()
    every = [cost for _, costs, _ in rows for cost in costs]
    if any(cost.reached != len(cost.lookup.queries) for cost in every):
        yield "(n): how many of them came to CoreDNS, where not all did"
    if any(cost.lookup.error is not None for cost in every):
        yield "!: the name is not found"


def _cell(cost: Cost) -> str:
    sent = len(cost.lookup.queries)
    text = f"{sent}" if cost.reached == sent else f"{sent} ({cost.reached})"
    return text if cost.lookup.error is None else f"{text} !"
