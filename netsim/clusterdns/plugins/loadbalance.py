"""loadbalance: the order of records is a new one in every reply.

``loadbalance [round_robin | weighted FILE { reload DURATION }] { prefer CIDR... }``. With ``weighted`` the
first address is drawn by the weights of the file, the others stay. Sources: coredns
``plugin/loadbalance/setup.go``, ``loadbalance.go`` (roundRobin), ``prefer.go``, ``weighted.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Protocol

from netsim.base.address import IpNetwork
from netsim.base.errors import CorefileError
from netsim.base.rng import Rng
from netsim.clusterdns.chain import Follow, Handler, Outcome, Pause, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, duration
from netsim.clusterdns.grounds import Grounds
from netsim.clusterdns.names import absolute, packed_address
from netsim.wire.dns import AAAA, AXFR, CNAME, IXFR, MX, SRV, A, Rcode, Record

RELOAD = 30.0
MAXIMUM_WEIGHT = 255


class Order(Protocol):
    """A policy: the records of a section in another order."""

    def __call__(self, records: tuple[Record, ...], qtype: int) -> tuple[Record, ...]: ...


class LoadBalance:
    """The handler."""

    def __init__(self, order: Order, prefer: Sequence[IpNetwork], grounds: Grounds) -> None:
        self._order = order
        self._grounds = grounds
        self._prefer = tuple(prefer)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        outcome = yield from following(request)
        message = outcome.message
        if message is None or message.rcode != Rcode.NOERROR or request.qtype in (AXFR, IXFR):
            return outcome
        if len(message.answers) < 2 and len(message.authority) < 2 and len(message.additional) < 2:
            return outcome
        self._grounds.varies()
        order, qtype = self._order, request.qtype
        return outcome._replace(
            message=message._replace(
                answers=self._preferred(order(message.answers, qtype)),
                authority=order(message.authority, qtype),
                additional=self._preferred(order(message.additional, qtype)),
            )
        )

    def _preferred(self, records: tuple[Record, ...]) -> tuple[Record, ...]:
        """With preferred subnets: CNAME, addresses by the first subnet that holds them, MX, others."""
        if not self._prefer or len(records) < 2:
            return records
        aliases, others, addresses, exchanges = _sorted(records)
        addresses.sort(key=lambda record: _rank(record, self._prefer))
        return (*aliases, *addresses, *exchanges, *others)


def _sorted(records: Sequence[Record]) -> tuple[list[Record], list[Record], list[Record], list[Record]]:
    """CNAME records, other types, addresses, MX records."""
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
    return aliases, others, addresses, exchanges


def shuffled(rng: Rng, records: tuple[Record, ...], qtype: int) -> tuple[Record, ...]:
    """CNAME records first, then other types, addresses in a new order, MX records in a new order."""
    if len(records) < 2:
        return records
    aliases, others, addresses, exchanges = _sorted(records)
    return (*aliases, *others, *rng.shuffled(addresses), *rng.shuffled(exchanges))


class Weighted:
    """Addresses with the first one drawn by weight; an address without a weight has 1."""

    def __init__(self, setup: Setup, path: str, reload: float) -> None:
        self._process = setup.process
        self._rng = setup.rng
        self._path = path
        self._reload = reload
        self._text: str | None = None
        self._weights: dict[tuple[str, bytes], int] = {}

    def start(self) -> None:
        """Read the file, and go on reading it; a missing one is waited for, a wrong one is refused."""
        if self._path not in self._process.files:
            if not self._reload:
                raise CorefileError("plugin/loadbalance: weight file open error")
            self._process.log.warning(
                "plugin/loadbalance: Failed to open weight file:weight file open error. "
                f"Will try again in {self._reload:g}s"
            )
        else:
            self._read()
        if self._reload:
            self._process.spawn(self._watch())

    def _watch(self) -> Steps[None]:
        while True:
            yield Pause(self._reload)
            try:
                self._read()
            except CorefileError as error:
                self._process.log.error(error.message)

    def _read(self) -> None:
        text = self._process.files.get(self._path)
        if text is None or text == self._text:
            return
        self._text = text
        self._weights = parse_weights(text, self._path)
        self._process.log.info(f"plugin/loadbalance: Successfully reloaded weight file {self._path}")

    def order(self, records: tuple[Record, ...], qtype: int) -> tuple[Record, ...]:
        """weightedShuffle."""
        aliases, others, addresses, exchanges = _sorted(records)
        if qtype not in (A, AAAA, SRV) or not addresses:
            return records
        weights = [self._weights.get((record.name, record.data), 1) for record in addresses]
        ranked = sorted(range(len(addresses)), key=lambda index: -weights[index])
        drawn = self._rng.below(sum(weights))
        for index in ranked:
            drawn -= weights[index]
            if drawn < 0:
                addresses[0], addresses[index] = addresses[index], addresses[0]
                break
        return (*aliases, *others, *addresses, *exchanges)


def parse_weights(text: str, path: str) -> dict[tuple[str, bytes], int]:
    """A weight file: names, each with lines of an address and its weight below it."""
    weights: dict[tuple[str, bytes], int] = {}
    name = ""
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        packed = packed_address(words[0])
        match words:
            case [_] if packed is None:
                name = absolute(words[0])
            case [word]:
                raise _weight_error(f'wrong domain name:"{word}" in weight file {path}. '
                                    "(Maybe a missing weight value?)")  # fmt: skip
            case [word, _] if packed is None:
                raise _weight_error(f'wrong IP address:"{word}" in weight file {path}')
            case [_, weight] if not weight.isdecimal() or not 0 < int(weight) <= MAXIMUM_WEIGHT:
                raise _weight_error(f'wrong weight value:"{weight}" in weight file {path}')
            case [_, _] if not name:
                raise _weight_error(f"missing domain name in weight file {path}")
            case [_, weight] if packed is not None:
                weights.setdefault((name, packed), int(weight))
            case _:
                raise _weight_error(f'could not parse weight line:"{line.strip()}" in weight file {path}')
    return weights


def _weight_error(problem: str) -> CorefileError:
    return CorefileError(f"plugin/loadbalance: {problem}")


def _rank(record: Record, prefer: Sequence[IpNetwork]) -> int:
    address = ip_address(record.data)
    return next((rank for rank, subnet in enumerate(prefer) if address in subnet), len(prefer))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``loadbalance [POLICY] { prefer CIDR... }``."""
    prefer: list[IpNetwork] = []
    order: Order = partial(shuffled, setup.rng)
    while c.next():
        words = c.arguments()
        policy = words[0] if words else "round_robin"
        if policy == "weighted":
            weighted = _weighted(c, setup, words[1:])
            setup.startup.append(weighted.start)
            order = weighted.order
            continue
        if policy != "round_robin":
            raise CorefileError(f"unknown policy: {policy}")
        if len(words) > 1:
            raise c.error(f"unknown property for {policy}")
        order = partial(shuffled, setup.rng)
        while c.next_in_block():
            if c.value != "prefer":
                raise c.error(f"unknown property '{c.value}'")
            prefer += [_subnet(c, word) for word in c.arguments()]
    return [LoadBalance(order, prefer, setup.process.grounds)]


def _weighted(c: Controller, setup: Setup, words: Sequence[str]) -> Weighted:
    if not words:
        raise c.error("missing weight file argument")
    if len(words) > 1:
        raise c.error("unexpected argument(s)")
    reload = RELOAD
    while c.next_in_block():
        if c.value != "reload":
            raise c.error(f"unknown property '{c.value}'")
        times = c.arguments()
        if not times:
            raise c.error("reload duration value is missing")
        if len(times) > 1:
            raise c.error("unexpected argument")
        try:
            reload = duration(times[0])
        except CorefileError:
            raise c.error(f"invalid reload duration '{times[0]}'") from None
    return Weighted(setup, words[0], reload)


def _subnet(c: Controller, word: str) -> IpNetwork:
    try:
        if "/" not in word:
            raise ValueError
        return ip_network(word, strict=False)
    except ValueError:
        raise c.error(f'invalid CIDR "{word}": invalid CIDR address: {word}') from None
