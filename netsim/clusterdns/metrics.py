"""Counters, gauges and histograms, and the text that Prometheus scrapes.

One ``Metrics`` is one CoreDNS process; it outlives a reload. Sources: coredns ``plugin/metrics/vars``,
``plugin/cache/metrics.go``, ``plugin/forward/metrics.go``, ``plugin/pkg/proxy/metrics.go``; the text format
of Prometheus, version 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

from netsim.clusterdns.grounds import Count, Grounds, Sheet
from netsim.wire import dns

VERSION = "1.14.7"

TIME_BUCKETS = tuple(0.00025 * 2**power for power in range(16))  # plugin.TimeBuckets
_SIZE_BUCKETS = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)


@dataclass(frozen=True, eq=False, slots=True)
class Family:
    """One metric with its label names. ``buckets`` makes it a histogram. Each is one object, and equals no
    other: it is looked up for every query."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"coredns_{name}", "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"coredns_{name}", "gauge", text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(f"coredns_{name}", "histogram", text, labels, buckets)


_SERVER = ("server", "zone", "view")
_CACHE = ("server", "zones", "view")
_CACHE_TYPE = ("server", "type", "zones", "view")
_PROXY = ("proxy_name", "to")

REQUESTS: Final = _counter(
    "dns_requests_total", "Counter of DNS requests made per zone, protocol and family.",
    *_SERVER, "proto", "family", "type",
)  # fmt: skip
REQUEST_DURATION: Final = _histogram(
    "dns_request_duration_seconds", "Histogram of the time (in seconds) each request took per zone.",
    TIME_BUCKETS, *_SERVER,
)  # fmt: skip
REQUEST_SIZE: Final = _histogram(
    "dns_request_size_bytes",
    "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.",
    _SIZE_BUCKETS, *_SERVER, "proto",
)  # fmt: skip
REQUEST_DO: Final = _counter(
    "dns_do_requests_total", "Counter of DNS requests with DO bit set per zone.", *_SERVER
)
RESPONSE_SIZE: Final = _histogram(
    "dns_response_size_bytes", "Size of the returned response in bytes.", _SIZE_BUCKETS, *_SERVER, "proto"
)
RESPONSES: Final = _counter(
    "dns_responses_total", "Counter of response status codes.", *_SERVER, "rcode", "plugin"
)
PANICS: Final = _counter("panics_total", "A metrics that counts the number of panics.")
PLUGIN_ENABLED: Final = _gauge(
    "plugin_enabled", "A metric that indicates whether a plugin is enabled on per server and zone basis.",
    *_SERVER, "name",
)  # fmt: skip
BUILD_INFO: Final = _gauge(
    "build_info",
    "A metric with a constant '1' value labeled by version, revision, and goversion "
    "from which CoreDNS was built.",
    "version", "revision", "goversion",
)  # fmt: skip

CACHE_ENTRIES: Final = _gauge("cache_entries", "The number of elements in the cache.", *_CACHE_TYPE)
CACHE_REQUESTS: Final = _counter("cache_requests_total", "The count of cache requests.", *_CACHE)
CACHE_HITS: Final = _counter("cache_hits_total", "The count of cache hits.", *_CACHE_TYPE)
CACHE_MISSES: Final = _counter(
    "cache_misses_total",
    "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
    *_CACHE,
)
CACHE_PREFETCHES: Final = _counter(
    "cache_prefetch_total", "The number of times the cache has prefetched a cached item.", *_CACHE
)
CACHE_STALE: Final = _counter(
    "cache_served_stale_total", "The number of requests served from stale cache entries.", *_CACHE
)
CACHE_EVICTIONS: Final = _counter("cache_evictions_total", "The count of cache evictions.", *_CACHE_TYPE)

FORWARD_BROKEN: Final = _counter(
    "forward_healthcheck_broken_total", "Counter of the number of complete failures of the healthchecks."
)
FORWARD_REJECTS: Final = _counter(
    "forward_max_concurrent_rejects_total",
    "Counter of the number of queries rejected because the concurrent queries were at maximum.",
)
PROXY_DURATION: Final = _histogram(
    "proxy_request_duration_seconds", "Histogram of the time each request took.",
    TIME_BUCKETS, *_PROXY, "rcode",
)  # fmt: skip
PROXY_CONNECTIONS: Final = _counter(
    "proxy_conn_cache_misses_total", "Counter of connection cache misses per upstream and protocol.",
    *_PROXY, "proto",
)  # fmt: skip
PROXY_CHECK_FAILURES: Final = _counter(
    "proxy_healthcheck_failures_total", "Counter of the number of failed healthchecks.", *_PROXY
)

AUTOPATHS: Final = _counter("autopath_success_total", "Counter of requests that did autopath.", "server")
ACL_ALLOWED: Final = _counter(
    "acl_allowed_requests_total", "Counter of DNS requests being allowed.", "server", "view"
)
ACL_BLOCKED: Final = _counter(
    "acl_blocked_requests_total", "Counter of DNS requests being blocked.", *_SERVER
)
ACL_FILTERED: Final = _counter(
    "acl_filtered_requests_total", "Counter of DNS requests being filtered.", *_SERVER
)
ACL_DROPPED: Final = _counter(
    "acl_dropped_requests_total", "Counter of DNS requests being dropped.", *_SERVER
)
TEMPLATE_MATCHES: Final = _counter(
    "template_matches_total", "Counter of template regex matches.",
    "server", "zone", "view", "class", "type",
)  # fmt: skip
HOSTS_ENTRIES: Final = _gauge(
    "hosts_entries", "The combined number of entries in hosts and Corefile.", "hostsfile"
)
HOSTS_RELOADED: Final = _gauge(
    "hosts_reload_timestamp_seconds", "The timestamp of the last reload of hosts file."
)
HEALTH_DURATION: Final = _histogram(
    "health_request_duration_seconds", "Histogram of the time (in seconds) each request took.",
    (0.00025, 0.0025, 0.025, 0.25, 2.5),
)  # fmt: skip
HEALTH_FAILURES: Final = _counter(
    "health_request_failures_total", "The number of times the health check failed."
)
LOCALHOSTS: Final = _counter(
    "local_localhost_requests_total", "Counter of special localhost subdomain requests."
)
RELOAD_FAILED: Final = _counter("reload_failed_total", "Counter of the number of failed reload attempts.")
RELOAD_VERSION: Final = _gauge(
    "reload_version_info", "A metric with label value of the hash of the Corefile.", "hash", "value"
)

_KNOWN_TYPES = frozenset(
    [
        "AAAA",
        "A",
        "CNAME",
        "DNSKEY",
        "DS",
        "MX",
        "NSEC3",
        "NSEC",
        "NS",
        "PTR",
        "RRSIG",
        "SOA",
        "SRV",
        "TXT",
        "HTTPS",
        "SVCB",
        "IXFR",
        "AXFR",
        "ANY",
    ]
)
"""Query types that have a label of their own (vars/monitor.go); the rest is ``other``."""

DROPPED = "dropped"
"""The zone of queries that no server block takes (vars.Dropped)."""

_ALWAYS_THERE = (
    PANICS, FORWARD_BROKEN, FORWARD_REJECTS, RELOAD_FAILED, HOSTS_RELOADED, HEALTH_FAILURES, LOCALHOSTS,
)  # fmt: skip


class _Histogram:
    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Metrics:
    """All values. Labels are given in the order of the family's label names.

    While ``grounds`` is there, what is counted is noted in it alone, for ``count_again``; ``settle`` brings
    in what somebody has yet to count, before anything is shown.
    """

    def __init__(self) -> None:
        self.grounds: Grounds | None = None
        self.settle: Callable[[], None] = lambda: None
        self._values: dict[Family, dict[tuple[str, ...], float]] = {
            family: {(): 0.0} for family in _ALWAYS_THERE
        }
        self._histograms: dict[Family, dict[tuple[str, ...], _Histogram]] = {
            HEALTH_DURATION: {(): _Histogram(len(HEALTH_DURATION.buckets))}
        }
        self.set(BUILD_INFO, (VERSION, "", ""), 1.0)

    def add(self, family: Family, labels: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Count."""
        if self.grounds is not None:
            self.grounds.counts.append((family, labels, amount))
        else:
            self._add(family, labels, amount)

    def _add(self, family: Family, labels: tuple[str, ...], amount: float) -> None:
        values = self._values.get(family)
        if values is None:
            values = self._values[family] = {}
        values[labels] = values.get(labels, 0.0) + amount

    def take(self, sheet: Sheet) -> None:
        """Count all that is on a sheet."""
        if self.grounds is not None:
            self.grounds.counts.append(sheet)
        else:
            self.count_again(sheet, 1)

    def count_again(self, count: Count | Sheet, times: int) -> None:
        """What ``grounds`` was told of, so many times."""
        for family, labels, value in count.counts if isinstance(count, Sheet) else (count,):
            if family.buckets:
                self._observe(family, labels, value, times)
            else:
                self._add(family, labels, value * times)

    def set(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge."""
        self._values.setdefault(family, {})[labels] = value

    def observe(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        """One more observation of a histogram."""
        if self.grounds is not None:
            self.grounds.counts.append((family, labels, value))
        else:
            self._observe(family, labels, value, 1)

    def _observe(self, family: Family, labels: tuple[str, ...], value: float, times: int) -> None:
        histograms = self._histograms.get(family)
        if histograms is None:
            histograms = self._histograms[family] = {}
        histogram = histograms.get(labels)
        if histogram is None:
            histogram = histograms[labels] = _Histogram(len(family.buckets))
        histogram.counts[bisect_left(family.buckets, value)] += times
        histogram.total += value * times

    def value(self, family: Family, labels: tuple[str, ...] = ()) -> float:
        """A counter or gauge; 0 when nothing was ever counted."""
        self.settle()
        return self._values.get(family, {}).get(labels, 0.0)

    def render(self) -> str:
        """The page that ``/metrics`` shows: families by name, samples by labels."""
        self.settle()
        lines: list[str] = []
        for family in sorted({*self._values, *self._histograms}, key=lambda family: family.name):
            lines += (f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}")
            for labels, value in sorted(self._values.get(family, {}).items()):
                lines.append(f"{family.name}{_labels(family, labels)} {_number(value)}")
            for labels, histogram in sorted(
                self._histograms.get(family, {}).items(), key=lambda pair: pair[0]
            ):
                lines += _render_histogram(family, labels, histogram)
        return "".join(f"{line}\n" for line in lines)


def server_name(port: int) -> str:
    """The label of the server that listens at a port."""
    return f"dns://:{port}"


@lru_cache(maxsize=4096)
def finished(
    port: int, zone: str, stream: bool, version: int, qtype: int, do: bool, request_size: int,
    response_size: int, rcode: int, plugin: str, seconds: float,
) -> Sheet:  # fmt: skip
    """What ``coredns_dns_…`` count of a finished query (vars/report.go).

    ``stream`` is TCP, ``version`` the client's of IP; sizes are bytes, ``seconds`` the time it took.
    """
    place = (server_name(port), zone, "")
    carried = (*place, "tcp" if stream else "udp")
    name = dns.type_name(qtype)
    counts: list[Count] = [
        (REQUESTS, (*carried, "1" if version == 4 else "2", name if name in _KNOWN_TYPES else "other"), 1.0),
        (REQUEST_DURATION, place, seconds),
        (RESPONSE_SIZE, carried, response_size),
        (REQUEST_SIZE, carried, request_size),
        (RESPONSES, (*place, dns.rcode_name(rcode), plugin), 1.0),
    ]
    if do:
        counts.insert(0, (REQUEST_DO, place, 1.0))
    return Sheet(counts)


def _render_histogram(family: Family, labels: tuple[str, ...], histogram: _Histogram) -> list[str]:
    bounds = (*map(_number, family.buckets), "+Inf")
    sums = list(accumulate(histogram.counts))
    return [
        *(
            f"{family.name}_bucket{_labels(family, labels, le=bound)} {count}"
            for bound, count in zip(bounds, sums, strict=True)
        ),
        f"{family.name}_sum{_labels(family, labels)} {_number(histogram.total)}",
        f"{family.name}_count{_labels(family, labels)} {sums[-1]}",
    ]


def _labels(family: Family, values: tuple[str, ...], **last: str) -> str:
    pairs = [*sorted(zip(family.labels, values, strict=True)), *last.items()]
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    """Go's strconv.FormatFloat(value, 'g', -1, 64) for what occurs here."""
    return str(int(value)) if value == int(value) and abs(value) < 1e6 else repr(value)
