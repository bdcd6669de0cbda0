"""loop: stops a server that forwards to itself.

When the server starts it asks itself a random HINFO name. Seen more than twice within the first seconds, the
question has gone in a circle, and the process ends. Source: coredns ``plugin/loop``.

Here the question is only asked where it could come back: where an upstream is a loopback address, this Pod,
or an address of the cluster. Nothing else in netsim forwards to the cluster, and the question's packets would
stand in every capture.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from netsim.clusterdns.chain import (
    Ask,
    Failure,
    Fatal,
    Follow,
    Handler,
    Outcome,
    Pause,
    Request,
    Setup,
    Steps,
    Transport,
    Upstream,
)
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.names import is_subdomain
from netsim.clusterdns.plugins.forward import Forward
from netsim.wire import dns
from netsim.wire.dns import HINFO

TRY_FOR = 30.0
RETRY_AFTER = 1.0
WATCH_FOR = 2.0
TIMEOUT = 2.0  # miekg/dns dnsTimeout
MAXIMUM_SEEN = 2

_LOOPBACK: Final = IPv4Address("127.0.0.1")


class Loop:
    """The handler. ``zone`` is the server block's first."""

    def __init__(self, setup: Setup) -> None:
        self._zone = setup.block.zones[0] if setup.block.zones else "."
        self._port = setup.block.ports[0] if setup.block.ports else 53
        below = "" if self._zone == "." else self._zone
        self._name = f"{setup.rng.below(1 << 62)}.{setup.rng.below(1 << 62)}.{below}"
        self._rng = setup.rng
        self._clock = setup.process.clock
        self._setup = setup
        self._seen = 0
        self._off = False

    def start(self) -> None:
        """Begin the probe once the server serves."""
        forwards = self._setup.block.handlers.get("forward", ())
        upstreams = [up for forward in forwards if isinstance(forward, Forward) for up in forward.upstreams]
        if any(self._may_lead_back(upstream) for upstream in upstreams):
            self._setup.process.spawn(self._probe())

    def _may_lead_back(self, upstream: Upstream) -> bool:
        process, text = self._setup.process, str(upstream.address)
        inside = process.zone.services_at(text) or process.zone.slices_at(text)
        return upstream.address.is_loopback or text in process.addresses or bool(inside)

    def _probe(self) -> Steps[None]:
        deadline = self._clock.now + TRY_FOR
        myself = Upstream(_LOOPBACK, self._port)
        while self._clock.now < deadline:
            question = dns.query(self._rng.below(1 << 16), self._name, HINFO)
            got = yield Ask(myself, question, Transport.UDP, TIMEOUT, "loop: ask myself")
            if not isinstance(got, Failure):
                yield Pause(WATCH_FOR)
                break
            self._seen = 0
            yield Pause(RETRY_AFTER)
        self._off = True

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        if request.qtype == HINFO and not self._off and is_subdomain(self._zone, request.lower):
            self._setup.process.grounds.varies()  # it counts, for a while
            if request.lower == self._name:
                self._seen += 1
            if self._seen > MAXIMUM_SEEN:
                way = f"{request.client}:{request.ports[0]} -> :{self._port}"
                raise Fatal(
                    f'plugin/loop: Loop ({way}) detected for zone "{self._zone}", see '
                    f'https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO {self._name}"'
                )
        return (yield from following(request))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``loop``."""
    c.next()
    if c.next_argument():
        raise c.argument_error()
    c.done()
    handler = Loop(setup)
    setup.startup.append(handler.start)
    return [handler]
