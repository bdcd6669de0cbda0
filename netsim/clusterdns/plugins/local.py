"""local: the names of the loopback, and the reverse zones that nobody should ask the world for.

Source: coredns ``plugin/local`` (RFC 6303, RFC 6761).
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.metrics import LOCALHOSTS, Metrics
from netsim.clusterdns.names import longest_zone
from netsim.wire.dns import AAAA, IN, NS, PTR, SOA, A, Rcode, Record, Soa

TTL = 604800
ZONES = ("localhost.", "0.in-addr.arpa.", "127.in-addr.arpa.", "255.in-addr.arpa.")

_LOCALHOST = "localhost."
_REVERSE = "1.0.0.127.in-addr.arpa."
_ADDRESSES = {A: bytes((127, 0, 0, 1)), AAAA: bytes(15) + b"\1"}


class Local:
    """The handler."""

    def __init__(self, metrics: Metrics, prefix: bool) -> None:
        self._metrics = metrics
        self._prefix = prefix

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        name = request.lower
        below = name.endswith(f".{_LOCALHOST}")
        beside = self._prefix and name.startswith(_LOCALHOST) and name != _LOCALHOST
        if below or beside:
            self._metrics.add(LOCALHOSTS)
            return self._addresses(request)
        zone = longest_zone(ZONES, name)
        if not zone:
            return (yield from following(request))
        if name == zone and request.qtype in (SOA, NS):
            data = _soa(request.name).data if request.qtype == SOA else _LOCALHOST
            return self._found(request, data)
        if name == _LOCALHOST:
            return self._addresses(request)
        if name == _REVERSE and request.qtype == PTR:
            return self._found(request, _LOCALHOST)
        rcode = Rcode.NOERROR if name in (zone, _REVERSE) else Rcode.NXDOMAIN
        owner = request.name[len(request.name) - len(zone) :]
        return Outcome(f"local: {zone}", request.reply(rcode, authority=(_soa(owner),)))

    def _addresses(self, request: Request) -> Outcome:
        if request.qtype in _ADDRESSES:
            return self._found(request, _ADDRESSES[request.qtype])
        return Outcome(
            "local: an address of the loopback alone", request.reply(authority=(_soa(request.name),))
        )

    @staticmethod
    def _found(request: Request, data: object) -> Outcome:
        record = Record(request.name, request.qtype, IN, TTL, data)
        return Outcome("local: the loopback", request.reply(answers=(record,)))


def _soa(owner: str) -> Record:
    return Record(owner, SOA, IN, TTL, Soa("localhost.", "root.localhost.", 1, 0, 0, 0, TTL))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``local { localhost_prefix on|off }``."""
    prefix = True
    while c.next():
        c.no_argument()
        while c.next_in_block():
            if c.value != "localhost_prefix":
                raise c.error(f"unknown property '{c.value}'")
            word = c.one_argument()
            if word not in ("on", "off"):
                raise c.error(f"localhost_prefix expects 'on' or 'off', got \"{word}\"")
            prefix = word == "on"
    return [Local(setup.process.metrics, prefix)]
