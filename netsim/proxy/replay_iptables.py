"""The counters of the rules in iptables' tables, as ``iptables-save -c`` prints them.

A rule's counter is the number of packets that matched it. What came to the tables is sent through the printed
rules once more, connections with the endpoints that they had got: rules that choose by ``statistic`` or
``recent`` match for the endpoint that was chosen (Linux ip_tables.c, ipt_do_table).
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple, TypeVar

from netsim.base.address import IpNetwork, render_ip
from netsim.base.rule_counts import Amount, Came, NatCounts, Opened, State
from netsim.proxy.render_ipvs import LOOP_BACK

_Key = TypeVar("_Key")
Chains = Mapping[str, Sequence[str]]
"""The rules of the chains, as they are printed behind ``-A CHAIN``."""
Sets = Mapping[str, Collection[str]]
"""The members of IP sets, as ``ipset list`` prints them."""
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_WITH_VALUE = frozenset(
    {
        "-m", "--comment", "--mode", "--probability", "--seconds", "--name", "--mask", "--set-xmark",
        "--reject-with",
    }
)  # fmt: skip
_FLAGS = frozenset({"--reap", "--rsource", "--set", "--random-fully"})
_VERDICTS = frozenset({"DNAT", "MASQUERADE", "ACCEPT", "DROP", "REJECT"})
PREROUTING, INPUT, OUTPUT, POSTROUTING = "PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"


class Counters(NamedTuple):
    """By chain and number of the rule in it, and by chain what came to its end (its policy)."""

    rules: dict[tuple[str, int], Amount]
    policies: dict[str, Amount]


class _Walker(NamedTuple):
    """Packets alike on their way through a table; ``looped``: through IPVS to the one that they come from."""

    packets: Opened
    state: State = State.NEW
    marked: bool = False
    bridged: bool = False
    looped: bool = False


class _Rule:
    """What a printed rule asks for."""

    def __init__(self, text: str) -> None:
        self.source: tuple[IpNetwork, bool] | None = None
        self.destination: tuple[IpNetwork, bool] | None = None
        self.device: tuple[str, bool] | None = None
        self.protocol, self.port = 0, 0
        self.states: tuple[list[str], bool] | None = None
        self.set: tuple[str, str] | None = None
        self.from_local: bool | None = None
        self.to_local: bool | None = None
        self.marked: bool | None = None
        self.bridged: bool | None = None
        self.recent = False
        self.target, self.to = "", ""
        words = iter(shlex.split(text))
        wanted = True
        for word in words:
            if word == "!":
                wanted = False
            elif word not in _FLAGS:
                self._read(word, words, wanted=wanted)
                wanted = True

    def _read(self, word: str, words: Iterator[str], *, wanted: bool) -> None:
        if word == "--rcheck":
            self.recent = True
            return
        if word == "--physdev-is-in":
            self.bridged = wanted
            return
        value = next(words)
        match word:
            case "-s":
                self.source = ip_network(value), wanted
            case "-d" | "--vaddr":
                self.destination = ip_network(value), wanted
            case "-i":
                self.device = value, wanted
            case "-p":
                self.protocol = _PROTOCOLS[value]
            case "--dport" | "--vport":
                self.port = int(value)
            case "--vproto":
                self.protocol = int(value)
            case "--src-type":
                self.from_local = wanted
            case "--dst-type":
                self.to_local = wanted
            case "--mark":
                self.marked = wanted
            case "--ctstate":
                self.states = value.split(","), wanted
            case "--match-set":
                self.set = value, next(words)
            case "-j":
                self.target = value
            case "--to-destination":
                self.to = value
            case _ if word not in _WITH_VALUE:
                raise ValueError(f"no rule of kube-proxy has {word}")

    def takes(self, walker: _Walker) -> bool:
        """Whether a packet matches, but for sets and for what was chosen."""
        packets = walker.packets
        return (
            (not self.port or self.port == packets.port)
            and (not self.protocol or self.protocol == packets.protocol)
            and _in(self.destination, packets.destination)
            and _in(self.source, packets.source)
            and (self.device is None or _is_device(self.device[0], packets.device) is self.device[1])
            and (self.states is None or _is_in_state(self.states[0], walker.state) is self.states[1])
            and _is(self.from_local, found=packets.from_local)
            and _is(self.to_local, found=packets.to_local)
            and _is(self.marked, found=walker.marked)
            and _is(self.bridged, found=walker.bridged)
        )


class _Replay:
    def __init__(self, chains: Chains, sets: Sets) -> None:
        self.rules = {chain: [_Rule(text) for text in texts] for chain, texts in chains.items()}
        self.endpoints = {
            chain: rule.to for chain, rules in self.rules.items() for rule in rules if rule.target == "DNAT"
        }
        self.sets = sets
        self.counted: dict[tuple[str, int], Amount] = {}
        self.policies: dict[str, Amount] = {}

    def enter(self, chain: str, walker: _Walker) -> None:
        """Send packets through a built-in chain, to its policy if nothing takes them.

        Those that were to a virtual server that has changed since may have met any of its rules.
        """
        packets = walker.packets
        if not self.walk(chain, walker) and packets.current:
            _add(self.policies, chain, packets.amount)

    def walk(self, chain: str, walker: _Walker) -> bool:
        """Send packets through a chain; whether a rule in it, or in one that it led to, took them."""
        packets = walker.packets
        for number, rule in enumerate(self.rules[chain]):
            if not (rule.takes(walker) and self._chosen(rule, packets) and self._is_listed(rule, walker)):
                continue
            _add(self.counted, (chain, number), packets.amount)
            if rule.target in _VERDICTS or not packets.current:
                return True
            if rule.target == "RETURN":
                return False
            if rule.target in self.rules and self.walk(rule.target, walker):
                return True
        return False

    def _chosen(self, rule: _Rule, opened: Opened) -> bool:
        """Whether a rule that leads to an endpoint leads to the one that the packets got."""
        to = self.endpoints.get(rule.target)
        if to is None:
            return True
        if opened.endpoint is None or (rule.recent and not opened.known):
            return False
        return to == _target(*opened.endpoint)

    def _is_listed(self, rule: _Rule, walker: _Walker) -> bool:
        """Whether the set that a rule asks for has the packets (Linux net/netfilter/ipset)."""
        if rule.set is None:
            return True
        name, fields = rule.set
        if name == LOOP_BACK:
            return walker.looped
        members, packets = self.sets[name], walker.packets
        ends = {"src": render_ip(packets.source), "dst": render_ip(packets.destination)}
        if fields == "dst":
            return ends["dst"] in members or (bool(packets.port) and str(packets.port) in members)
        first, _, others = fields.partition(",")
        where = f"{ends[first]},{_NAMES.get(packets.protocol)}:{packets.port}"
        if others != "dst,src":
            return where in members
        source = ip_address(packets.source)
        if source.is_unspecified:  # whoever it was, no virtual server has refused it
            return any(member.startswith(f"{where},") for member in members)
        ranges = (member.rpartition(",") for member in members)
        return any(at == where and source in ip_network(network) for at, _, network in ranges)


def replayed_nat(chains: Chains, seen: NatCounts, sets: Sets, bridges: Collection[str]) -> Counters:
    """The counters of these rules of the nat table, the built-in chains' among them.

    What comes by one of the ``bridges`` came by a port of it (xt_physdev).
    """
    replay = _Replay(chains, sets)
    for opened in seen.opened:
        walker = _Walker(opened, bridged=opened.device in bridges)
        replay.enter(PREROUTING if opened.device else OUTPUT, walker)
    _add(replay.policies, INPUT, seen.delivered)
    for amount, marked, looped in (
        (seen.unmarked, False, False),
        (seen.marked, True, False),
        (seen.looped, False, True),
    ):
        leaving = Opened("", 0, b"\0" * 4, b"\0" * 4, 0, None, False, amount, False, False, True)
        replay.enter(POSTROUTING, _Walker(leaving, marked=marked, looped=looped))
    return Counters(replay.counted, replay.policies)


def replayed_filter(chains: Chains, seen: Iterable[Came], sets: Sets) -> Counters:
    """The counters of these rules of the filter table."""
    replay = _Replay(chains, sets)
    for came in seen:
        what = came.protocol, came.source, came.destination, came.port, None, False, came.amount
        packets = Opened("", *what, False, came.to_local, came.current)
        replay.enter(came.chain, _Walker(packets, came.state, came.marked))
    return Counters(replay.counted, replay.policies)


def _add(counted: dict[_Key, Amount], key: _Key, amount: Amount) -> None:
    before = counted.get(key, Amount())
    counted[key] = Amount(before.packets + amount.packets, before.size + amount.size)


def _is(wanted: bool | None, *, found: bool) -> bool:
    return wanted is None or found is wanted


def _in(asked: tuple[IpNetwork, bool] | None, address: bytes) -> bool:
    return asked is None or (ip_address(address) in asked[0]) is asked[1]


def _is_in_state(states: Sequence[str], state: State) -> bool:
    return state.value in states or (state is State.KNOWN and "ESTABLISHED" in states)


def _is_device(pattern: str, device: str) -> bool:
    return device.startswith(pattern[:-1]) if pattern.endswith("+") else device == pattern


def _target(address: bytes, port: int) -> str:
    text = render_ip(address)
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"
