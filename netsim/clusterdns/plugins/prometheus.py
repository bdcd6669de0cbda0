"""prometheus: counts queries, and shows all counters over HTTP on ``/metrics``.

Source: coredns ``plugin/metrics`` (setup.go, handler.go). What is counted where is in ``clusterdns.metrics``.
The label ``plugin`` is the name of the plugin behind this one if a reply was written: that is what
NextOrFailure's writer reports.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import (
    Follow,
    Handler,
    Outcome,
    Page,
    PageText,
    Request,
    Setup,
    Steps,
    report,
)
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.metrics import PLUGIN_ENABLED, server_name
from netsim.clusterdns.names import longest_zone
from netsim.wire import dns

PORT = 9153
NAME = "prometheus"
_ROOT = (".",)


class Prometheus:
    """The handler."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._next = ""

    def start(self) -> None:
        """Find out what comes next, and tell which plugins there are."""
        block, metrics = self._setup.block, self._setup.process.metrics
        names = list(block.handlers)
        self._next = next((name for name in names[names.index(NAME) + 1 :] if block.handlers[name]), "")
        for port in block.ports:
            for zone in block.zones:
                for name in names:
                    metrics.set(PLUGIN_ENABLED, (server_name(port), zone, "", name), 1.0)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        clock, metrics = self._setup.process.clock, self._setup.process.metrics
        began = clock.now
        outcome = yield from following(request)
        message, zones = outcome.message, self._setup.block.zones
        zone = "." if zones == _ROOT else longest_zone(zones, request.lower) or "."
        size, plugin = (0, "") if message is None else (dns.length(message), self._next)
        report(metrics, request, zone, size, outcome.status, plugin, clock.now - began)
        return outcome


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``prometheus [ADDRESS] { runtime_metrics; tls FILE }``."""
    c.next()
    metrics = setup.process.metrics
    setup.pages.append(Page(c.listen_address(PORT), "/metrics", lambda: PageText(metrics.render())))
    while c.next_in_block():
        match c.value:
            case "runtime_metrics":
                c.no_argument()
            case "tls":
                raise c.error("netsim does not build the option 'tls' of prometheus yet")
            case word:
                raise c.error(f"unknown option: {word}")
    c.done()
    handler = Prometheus(setup)
    setup.startup.append(handler.start)
    return [handler]
