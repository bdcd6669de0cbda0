"""acl: which clients may ask for what. Source: coredns ``plugin/acl``.

Rules are tried in order, in each the policies; the first policy that fits the client and the type decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import NamedTuple

from netsim.base.address import IpNetwork
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.metrics import ACL_ALLOWED, ACL_BLOCKED, ACL_DROPPED, ACL_FILTERED
from netsim.clusterdns.names import longest_zone
from netsim.wire import dns
from netsim.wire.dns import Edns, Message, Rcode

ACTIONS = ("allow", "block", "filter", "drop")
SECTIONS = ("type", "net")

EXTENDED_ERROR = 15  # RFC 8914, the EDNS option
BLOCKED = 15
FILTERED = 17
_EDNS_SIZE = 4096


class Policy(NamedTuple):
    """What happens to queries of ``types`` from ``networks``; None means all of them."""

    action: str
    types: frozenset[int] | None
    networks: tuple[IpNetwork, ...] | None

    def fits(self, request: Request) -> bool:
        if self.types is not None and request.qtype not in self.types:
            return False
        return self.networks is None or any(request.client in network for network in self.networks)


class Rule(NamedTuple):
    """Policies for names in zones."""

    zones: tuple[str, ...]
    policies: tuple[Policy, ...]


class Acl:
    """The handler."""

    def __init__(self, setup: Setup, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._metrics = setup.process.metrics
        self._grounds = setup.process.grounds

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        self._grounds.personal = True
        action, zone = self._decide(request)
        place = (request.server, zone, "")
        match action:
            case "drop":
                self._metrics.add(ACL_DROPPED, place)
                return Outcome("acl: dropped", dropped=True)
            case "block":
                self._metrics.add(ACL_BLOCKED, place)
                return Outcome("acl: blocked: REFUSED", _answer(request, Rcode.REFUSED, BLOCKED))
            case "filter":
                self._metrics.add(ACL_FILTERED, place)
                return Outcome("acl: filtered: NODATA", _answer(request, Rcode.NOERROR, FILTERED))
        self._metrics.add(ACL_ALLOWED, (request.server, ""))
        return (yield from following(request))

    def _decide(self, request: Request) -> tuple[str, str]:
        for rule in self._rules:
            zone = longest_zone(rule.zones, request.lower)
            found = next((policy for policy in rule.policies if policy.fits(request)), None) if zone else None
            if found is not None:
                return found.action, zone
        return "allow", ""


def _answer(request: Request, rcode: Rcode, extended: int) -> Message:
    option = (EXTENDED_ERROR, extended.to_bytes(2, "big"))
    return request.reply(rcode)._replace(edns=Edns(_EDNS_SIZE, 0, True, (option,)))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``acl [ZONES...] { ACTION [type QTYPE...] [net SOURCE...] }``, as often as wanted."""
    rules = []
    while c.next():
        zones = c.origins(c.arguments())
        policies = []
        while c.next_in_block():
            policies.append(_policy(c))
        rules.append(Rule(zones, tuple(policies)))
    return [Acl(setup, rules)]


def _policy(c: Controller) -> Policy:
    action = c.value.lower()
    if action not in ACTIONS:
        raise c.error(f"unexpected token \"{c.value}\"; expect 'allow', 'block', 'filter' or 'drop'")
    found = Policy(action, None, None)
    words = c.arguments()
    while words:
        section = words.pop(0)
        if section.lower() not in SECTIONS:
            raise c.error(f"unexpected token \"{section}\"; expect 'type | net'")
        tokens = []
        while words and words[0].lower() not in SECTIONS:
            tokens.append(words.pop(0))
        if not tokens:
            raise c.error(f'no token specified in "{section.lower()}" section')
        if section.lower() == "type":
            found = found._replace(types=_types(c, tokens))
        else:
            found = found._replace(networks=_networks(c, tokens))
    return found


def _types(c: Controller, tokens: Sequence[str]) -> frozenset[int] | None:
    numbers = set()
    for token in tokens:
        if token == "*":
            return None
        number = dns.TYPE_NUMBERS.get(token)
        if number is None:
            raise c.error(f'unexpected token "{token}"; expect legal QTYPE')
        numbers.add(number)
    return frozenset(numbers)


def _networks(c: Controller, tokens: Sequence[str]) -> tuple[IpNetwork, ...] | None:
    networks: list[IpNetwork] = []
    for token in tokens:
        if token == "*":
            return None
        whole = token if "/" in token else f"{token}/{128 if ':' in token else 32}"
        try:
            networks.append(ip_network(whole, strict=False))
        except ValueError:
            raise c.error(f'illegal CIDR notation "{whole}"') from None
    return tuple(networks)
