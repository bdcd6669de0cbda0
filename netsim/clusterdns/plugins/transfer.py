"""transfer: zone transfers over TCP, from the plugins that have a zone (kubernetes, k8s_external, file).

``transfer [ZONE...] { to HOST...; source ADDRESS }``. NOTIFY messages are not sent: nothing in netsim is a
secondary. Source: coredns ``plugin/transfer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple, Protocol, runtime_checkable

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps, Transport
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.names import longest_zone
from netsim.clusterdns.plugins.forward import upstream_of
from netsim.wire import dns
from netsim.wire.dns import AXFR, IXFR, Message, Rcode, Record, Soa

BATCH = 63000
"""Bytes of records in one message at most."""


@runtime_checkable
class Transferer(Protocol):
    """A handler that has zones: the records of one, SOA first and last, or the SOA alone when a secondary
    with that serial has nothing to fetch; None for a zone that is not its own."""

    def transfer(self, zone: str, serial: int | None) -> list[Record] | None: ...


class Permission(NamedTuple):
    """Who may fetch which zones; ``*`` is everybody."""

    zones: tuple[str, ...]
    to: tuple[str, ...]

    def allows(self, request: Request) -> bool:
        return "*" in self.to or str(request.client) in self.to


class Transfer:
    """The handler."""

    def __init__(self, setup: Setup, permissions: Sequence[Permission]) -> None:
        self._setup = setup
        self._permissions = tuple(permissions)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        if request.qtype not in (AXFR, IXFR):
            return (yield from following(request))
        if request.transport is not Transport.TCP:
            return Outcome("transfer: only over TCP: REFUSED", rcode=Rcode.REFUSED)
        permission = self._permission(request.lower)
        if permission is None:
            return (yield from following(request))
        if not permission.allows(request):
            return Outcome(f"transfer: not for {request.client}: REFUSED", request.reply(Rcode.REFUSED))
        serial = None
        if request.qtype == IXFR:
            authority = request.message.authority
            if len(authority) != 1 or not isinstance(authority[0].data, Soa):
                return Outcome("transfer: an IXFR question without a SOA record: SERVFAIL")
            serial = authority[0].data.serial
        for handlers in self._setup.block.handlers.values():
            for handler in handlers:
                records = handler.transfer(request.lower, serial) if isinstance(handler, Transferer) else None
                if records is not None:
                    return self._send(request, records)
        return (yield from following(request))

    def _permission(self, name: str) -> Permission | None:
        best, found = "", None
        for permission in self._permissions:
            zone = longest_zone(permission.zones, name)
            if len(zone) > len(best) or (zone and zone > best and len(zone) == len(best)):
                best, found = zone, permission
        return found

    def _send(self, request: Request, records: Sequence[Record]) -> Outcome:
        log, serial = self._setup.process.log, records[0].data.serial
        if len(records) == 1:
            log.info(
                "plugin/transfer: Outgoing noop, incremental transfer for up to date zone "
                f'"{request.name}" to {request.client} for {serial} SOA serial'
            )
            return Outcome("transfer: the serial is the same", request.reply(answers=records))
        log.info(
            f'plugin/transfer: Outgoing transfer of {len(records)} records of zone "{request.name}" to '
            f"{request.client} for {serial} SOA serial"
        )
        first, *more = _messages(request, records)
        return Outcome(f"transfer: {len(records)} records", first, more=more)


def _messages(request: Request, records: Sequence[Record]) -> list[Message]:
    batches: list[list[Record]] = [[]]
    size = 0
    for record in records:
        length = dns.length(Message(0, answers=(record,))) - 12
        if batches[-1] and size + length > BATCH:
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += length
    return [request.reply(answers=batch, authoritative=True) for batch in batches]


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``transfer [ZONE...] { to HOST...; source ADDRESS }``, as often as wanted."""
    permissions = []
    while c.next():
        zones = c.origins(c.arguments())
        hosts: list[str] = []
        source = ""
        while c.next_in_block():
            match c.value:
                case "to":
                    words = c.arguments()
                    if not words:
                        raise c.argument_error()
                    hosts += map(_host, words)
                case "source":
                    source = _source(c, source)
                case word:
                    raise _named(c.error(f'unknown property "{word}"'))
        if not hosts:
            raise _named(c.error("'to' is required"))
        permissions.append(Permission(zones, tuple(hosts)))
    return [Transfer(setup, permissions)]


def _named(error: CorefileError) -> CorefileError:
    """With the plugin's name once more, as CoreDNS prints these."""
    return CorefileError(f"plugin/transfer: {error.message}", file=error.file, line=error.line)


def _host(word: str) -> str:
    if word == "*":
        return word
    upstream = upstream_of(word)
    if upstream is None:
        host = word.rpartition(":")[0] if word.count(":") == 1 else word
        raise CorefileError(f"must specify an IP address: `{host}'")
    return str(upstream.address)


def _source(c: Controller, before: str) -> str:
    word = c.one_argument()
    if before:
        raise _named(c.error("source already specified"))
    try:
        return str(ip_address(word))
    except ValueError:
        raise _named(c.error(f'invalid source address "{word}"')) from None
