"""The counters of the nat table's rules, as ``iptables-save -c`` prints them.

A rule's counter is the number of packets that matched it, which are the first ones of connections. They are
sent through the printed rules once more, with the endpoints that they had got: rules that choose by
``statistic`` or ``recent`` match for the endpoint that was chosen (Linux ip_tables.c, ipt_do_table).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeVar

from netsim.base.address import render_ip
from netsim.base.nat_counts import Amount, NatCounts, Opened

_Key = TypeVar("_Key")
_Network = IPv4Network | IPv6Network
Chains = Mapping[str, Sequence[str]]
"""The rules of the chains, as they are printed behind ``-A CHAIN``."""
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_WITH_VALUE = frozenset(
    {"-m", "--comment", "--mode", "--probability", "--seconds", "--name", "--mask", "--set-xmark"}
)
_FLAGS = frozenset({"--reap", "--rsource", "--set", "--random-fully"})
_VERDICTS = frozenset({"DNAT", "MASQUERADE", "ACCEPT"})
PREROUTING, INPUT, OUTPUT, POSTROUTING = "PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"


class Counters(NamedTuple):
    """By chain and number of the rule in it, and by chain what came to its end (its policy)."""

    rules: dict[tuple[str, int], Amount]
    policies: dict[str, Amount]


class _Rule:
    """What a printed rule asks for."""

    def __init__(self, text: str) -> None:
        self.source: tuple[_Network, bool] | None = None
        self.destination: tuple[_Network, bool] | None = None
        self.device: tuple[str, bool] | None = None
        self.protocol, self.port = 0, 0
        self.from_local = self.to_local = self.recent = False
        self.marked: bool | None = None
        self.target, self.to = "", ""
        words = iter(shlex.split(text))
        wanted = True
        for word in words:
            if word == "!":
                wanted = False
            elif word not in _FLAGS:
                self._read(word, words, wanted=wanted)
                wanted = True

    def _read(self, word: str, words: Iterable[str], *, wanted: bool) -> None:
        if word == "--rcheck":
            self.recent = True
            return
        value = next(iter(words))
        match word:
            case "-s":
                self.source = ip_network(value), wanted
            case "-d":
                self.destination = ip_network(value), wanted
            case "-i":
                self.device = value, wanted
            case "-p":
                self.protocol = _PROTOCOLS[value]
            case "--dport":
                self.port = int(value)
            case "--src-type":
                self.from_local = True
            case "--dst-type":
                self.to_local = True
            case "--mark":
                self.marked = wanted
            case "-j":
                self.target = value
            case "--to-destination":
                self.to = value
            case _ if word not in _WITH_VALUE:
                raise ValueError(f"no rule of kube-proxy has {word}")

    def takes(self, opened: Opened, *, marked: bool) -> bool:
        """Whether a packet matches, but for what was chosen."""
        return (
            (not self.port or self.port == opened.port)
            and (not self.protocol or self.protocol == opened.protocol)
            and _in(self.destination, opened.destination)
            and _in(self.source, opened.source)
            and (self.device is None or _is_device(self.device[0], opened.device) is self.device[1])
            and (not self.from_local or opened.from_local)
            and (not self.to_local or opened.to_local)
            and (self.marked is None or self.marked is marked)
        )


class _Replay:
    def __init__(self, chains: Chains) -> None:
        self.rules = {chain: [_Rule(text) for text in texts] for chain, texts in chains.items()}
        self.endpoints = {
            chain: rule.to for chain, rules in self.rules.items() for rule in rules if rule.target == "DNAT"
        }
        self.counted: dict[tuple[str, int], Amount] = {}

    def walk(self, chain: str, opened: Opened, *, marked: bool = False) -> bool:
        """Send packets through a chain; whether a rule in it, or in one that it led to, took them."""
        for number, rule in enumerate(self.rules[chain]):
            if not rule.takes(opened, marked=marked) or not self._chosen(rule, opened):
                continue
            _add(self.counted, (chain, number), opened.amount)
            if rule.target in _VERDICTS or not opened.current:
                return True
            if rule.target == "RETURN":
                return False
            if rule.target in self.rules and self.walk(rule.target, opened, marked=marked):
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


def replayed(chains: Chains, seen: NatCounts) -> Counters:
    """The counters of these rules of the nat table, the built-in chains' among them."""
    replay = _Replay(chains)
    policies: dict[str, Amount] = {}
    for opened in seen.opened:
        chain = PREROUTING if opened.device else OUTPUT
        if not replay.walk(chain, opened):
            _add(policies, chain, opened.amount)
    _add(policies, INPUT, seen.delivered)
    for amount, marked in ((seen.unmarked, False), (seen.marked, True)):
        leaving = Opened("", 0, b"\0" * 4, b"\0" * 4, 0, None, False, amount, False, False, True)
        if not replay.walk(POSTROUTING, leaving, marked=marked):
            _add(policies, POSTROUTING, amount)
    return Counters(replay.counted, policies)


def _add(counted: dict[_Key, Amount], key: _Key, amount: Amount) -> None:
    before = counted.get(key, Amount())
    counted[key] = Amount(before.packets + amount.packets, before.size + amount.size)


def _in(asked: tuple[_Network, bool] | None, address: bytes) -> bool:
    return asked is None or (ip_address(address) in asked[0]) is asked[1]


def _is_device(pattern: str, device: str) -> bool:
    return device.startswith(pattern[:-1]) if pattern.endswith("+") else device == pattern


def _target(address: bytes, port: int) -> str:
    text = render_ip(address)
    return f"{text}:{port}" if len(address) == 4 else f"[{text}]:{port}"
