"""loadbalance: the order of records is a new one in every reply.

Built: ``round_robin`` (the default) with ``prefer``; ``weighted`` is refused as not built yet. Sources:
coredns ``plugin/loadbalance/setup.go``, ``loadbalance.go`` (roundRobin), ``prefer.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from netsim.base.errors import CorefileError
from netsim.base.rng import Rng
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.wire.dns import AAAA, AXFR, CNAME, IXFR, MX, A, Rcode, Record

Subnet = IPv4Network | IPv6Network


class LoadBalance:
    """The handler."""

    def __init__(self, rng: Rng, prefer: Sequence[Subnet]) -> None:
        self._rng = rng
        self._prefer = tuple(prefer)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        outcome = yield from following(request)
        message = outcome.message
        if message is None or message.rcode != Rcode.NOERROR or request.qtype in (AXFR, IXFR):
            return outcome
        if len(message.answers) < 2 and len(message.authority) < 2 and len(message.additional) < 2:
            return outcome
        return outcome._replace(
            message=message._replace(
                answers=self._ordered(message.answers, self._prefer),
                authority=self._ordered(message.authority, ()),
                additional=self._ordered(message.additional, self._prefer),
            )
        )

    def _ordered(self, records: tuple[Record, ...], prefer: Sequence[Subnet]) -> tuple[Record, ...]:
        """CNAME records first, then other types, addresses in a new order, MX records in a new order.

        With preferred subnets: CNAME records, addresses by the first subnet that holds them, MX, other types.
        """
        if len(records) < 2:
            return records
        aliases, others, addresses, exchanges = [], [], [], []
        for record in records:
            if record.rtype in (A, AAAA):
                addresses.append(record)
            elif record.rtype == CNAME:
                aliases.append(record)
            elif record.rtype == MX:
                exchanges.append(record)
            else:
                others.append(record)
        addresses = self._rng.shuffled(addresses)
        exchanges = self._rng.shuffled(exchanges)
        if not prefer:
            return (*aliases, *others, *addresses, *exchanges)
        addresses.sort(key=lambda record: _rank(record, prefer))
        return (*aliases, *addresses, *exchanges, *others)


def _rank(record: Record, prefer: Sequence[Subnet]) -> int:
    address = ip_address(record.data)
    return next((rank for rank, subnet in enumerate(prefer) if address in subnet), len(prefer))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``loadbalance [round_robin] { prefer CIDR... }``."""
    prefer: list[Subnet] = []
    while c.next():
        words = c.arguments()
        if words and words[0] == "weighted":
            raise c.error("netsim does not build the policy 'weighted' of loadbalance yet")
        if words and words[0] != "round_robin":
            raise CorefileError(f"unknown policy: {words[0]}")
        if len(words) > 1:
            raise c.error(f"unknown property for {words[0]}")
        while c.next_in_block():
            if c.value != "prefer":
                raise c.error(f"unknown property '{c.value}'")
            prefer += [_subnet(c, word) for word in c.arguments()]
    return [LoadBalance(setup.rng, prefer)]


def _subnet(c: Controller, word: str) -> Subnet:
    try:
        if "/" not in word:
            raise ValueError
        return ip_network(word, strict=False)
    except ValueError:
        raise c.error(f'invalid CIDR "{word}": invalid CIDR address: {word}') from None
