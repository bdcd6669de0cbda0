"""The filter language of captures: which packets to show, in words that tcpdump users know.

==================  ==========================================================================
``arp icmp tcp``    the protocol, outside or inside a VXLAN tunnel; so too ``udp``, ``dns``,
``udp …``           ``http``, ``bgp``, ``vxlan``, ``ip`` (IPv4), ``ip6``, ``icmp6`` and ``ndp``
                    (neighbour discovery, which is ``icmp6``, too)
``host ADDRESS``    the address is the source or destination, or stands in an ARP or NDP message;
                    a name that the capture has for addresses, such as ``dev/jump``, is one too
``net CIDR``        the same for any address of a network: ``net fd00:10:96::/112``
``port NUMBER``     the TCP or UDP port is the source's or destination's
``interface NAME``  seen there: ``node1/eth0``, or ``node1`` for all of its interfaces
``packet NUMBER``   this one packet at every hop, through NAT and tunnels (``frame.packet_id``)
==================  ==========================================================================

They are combined with ``not``, ``and``, ``or`` (binding in that order) and parentheses:
``host 10.244.1.2 and not (arp or port 53)``. An empty filter lets everything through.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Container, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple, TypeAlias

from netsim.base.errors import UsageError
from netsim.capture.dissect import Bgp, Http, Layer, layers
from netsim.capture.record import CapturedPacket
from netsim.wire import arp, dns, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp, vxlan

_Test: TypeAlias = Callable[[CapturedPacket, tuple[Layer, ...]], bool]

_PROTOCOLS: dict[str, tuple[type[Layer], ...]] = {
    "arp": (arp.Arp,),
    "icmp": (icmp.Icmp,),
    "tcp": (tcp.Tcp,),
    "udp": (udp.Udp,),
    "dns": (dns.Message,),
    "http": (Http,),
    "bgp": (Bgp,),
    "vxlan": (vxlan.Vxlan,),
    "ip": (ipv4.Ipv4,),
    "ip6": (ipv6.Ipv6,),
    "icmp6": (icmp6.Icmp6, ndp.Ndp),
    "ndp": (ndp.Ndp,),
}
_OPERATORS = ("not", "and", "or")
_SYMBOLS = {"&&": "and", "||": "or", "!": "not"}
_TOKEN = re.compile(r"[()!]|[^\s()!]+")


class Filter(NamedTuple):
    """A filter that was understood; ``parse_filter`` makes it. ``interfaces`` are those that it names."""

    text: str
    test: _Test
    interfaces: tuple[str, ...] = ()

    def matches(self, packet: CapturedPacket) -> bool:
        """Whether the filter lets this packet through."""
        return self.test(packet, layers(packet.data))

    def refuse_unknown_interfaces(self, seen: Iterable[str]) -> None:
        """UsageError when the filter names an interface (or host) that is none of those."""
        known = dict.fromkeys(seen)
        hosts = {name.rpartition("/")[0] for name in known}
        for name in self.interfaces:
            if name not in known and name not in hosts:
                near = difflib.get_close_matches(name, known, n=1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                raise UsageError(
                    f"filter {self.text!r}: no packet was captured at an interface {name!r}",
                    hint=f"{meant}the capture has {', '.join(known) or 'no packets'}",
                )


def parse_filter(text: str, names: Mapping[bytes, str] | None = None) -> Filter:
    """Understand a filter; UsageError points at the word that is wrong and says what could stand there.

    ``names`` are those of addresses: ``host`` takes them too, with their kind (``pod dev/jump``) left out.
    """
    parser = _Parser(text, names or {})
    test = parser.whole() if parser.tokens else lambda packet, found: True
    return Filter(text, test, tuple(parser.interfaces))


class _Parser:
    """Recursive descent over the words; each method consumes what it understands."""

    def __init__(self, text: str, names: Mapping[bytes, str]) -> None:
        self.text = text
        self.interfaces: list[str] = []
        self._names = names
        self.tokens = [_SYMBOLS.get(token, token) for token in _TOKEN.findall(text)]
        self._at = 0

    def whole(self) -> _Test:
        test = self._either()
        if (token := self._peek()) is not None:
            if token == ")":
                raise self._error("')' closes nothing", "take it away, or open a '(' before it")
            raise self._error(
                f"'and' or 'or' is missing before {token!r}", "join conditions, as in 'tcp and port 80'"
            )
        return test

    def _either(self) -> _Test:
        test = self._both()
        while self._peek() == "or":
            self._at += 1
            test = _any(test, self._both())
        return test

    def _both(self) -> _Test:
        test = self._negated()
        while self._peek() == "and":
            self._at += 1
            test = _all(test, self._negated())
        return test

    def _negated(self) -> _Test:
        if self._peek() != "not":
            return self._condition()
        self._at += 1
        test = self._negated()
        return lambda packet, found: not test(packet, found)

    def _condition(self) -> _Test:
        word = self._peek()
        if word is None or word in ("and", "or", ")"):
            before = f"before {word!r}" if word else "at the end"
            raise self._error(f"a condition is missing {before}", f"the words are: {_WORDS}")
        self._at += 1
        if word == "(":
            test = self._either()
            if self._peek() != ")":
                raise self._error("')' is missing", "close every '(' that you open")
            self._at += 1
            return test
        if word in _PROTOCOLS:
            return _protocol(_PROTOCOLS[word])
        if word in _ARGUMENTS:
            return self._with_argument(word)
        raise self._error(f"{word!r} is not a word of the filter language", _suggestion(word))

    def _with_argument(self, word: str) -> _Test:
        kind, example, test = _ARGUMENTS[word]
        value = self._peek()
        if value is None or value in ("(", ")", *_OPERATORS):
            raise self._error(f"{word!r} needs {kind} after it", f"as in '{example}'")
        self._at += 1
        if word == "interface":
            self.interfaces.append(value)
        named = [address for address, name in self._names.items() if value in (name, name.split(" ")[-1])]
        if word == "host" and named:
            return _any_host(named)
        try:
            return test(value)
        except ValueError:
            what_else = f", or 'interface {value}'" if word == "host" else ""
            raise self._error(f"{value!r} is not {kind}", f"as in '{example}'{what_else}") from None

    def _peek(self) -> str | None:
        return self.tokens[self._at] if self._at < len(self.tokens) else None

    def _error(self, message: str, hint: str) -> UsageError:
        return UsageError(f"filter {self.text!r}: {message}", hint=hint)


def _suggestion(word: str) -> str:
    near = difflib.get_close_matches(word.lower(), [*_PROTOCOLS, *_ARGUMENTS, *_OPERATORS], n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    try:
        ip_address(word)
    except ValueError:
        return f"the words are: {_WORDS}"
    return f"did you mean 'host {word}'?"


def _any(left: _Test, right: _Test) -> _Test:
    return lambda packet, found: left(packet, found) or right(packet, found)


def _all(left: _Test, right: _Test) -> _Test:
    return lambda packet, found: left(packet, found) and right(packet, found)


def _protocol(kinds: tuple[type[Layer], ...]) -> _Test:
    return lambda packet, found: any(isinstance(layer, kinds) for layer in found)


def _host(text: str) -> _Test:
    return _any_host([ip_address(text).packed])


class _Network(Container[bytes]):
    """The addresses of ``10.96.0.0/16``, packed; ValueError for what is no network."""

    def __init__(self, text: str) -> None:
        network = ip_network(text)
        self._first, self._last = network.network_address.packed, network.broadcast_address.packed

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, bytes) or len(address) != len(self._first):
            return False
        return self._first <= address <= self._last


def _net(text: str) -> _Test:
    return _any_host(_Network(text))


def _any_host(addresses: Container[bytes]) -> _Test:
    def test(packet: CapturedPacket, found: tuple[Layer, ...]) -> bool:
        return any(
            (
                isinstance(layer, ipv4.Ipv4 | ipv6.Ipv6)
                and (layer.source in addresses or layer.destination in addresses)
            )
            or (isinstance(layer, arp.Arp) and (layer.sender_ip in addresses or layer.target_ip in addresses))
            or (isinstance(layer, ndp.Ndp) and layer.target in addresses)
            for layer in found
        )

    return test


def _port(text: str) -> _Test:
    number = _number(text)
    if number > 0xFFFF:
        raise ValueError

    def test(packet: CapturedPacket, found: tuple[Layer, ...]) -> bool:
        return any(
            isinstance(layer, udp.Udp | tcp.Tcp) and number in (layer.source_port, layer.destination_port)
            for layer in found
        )

    return test


def _interface(name: str) -> _Test:
    return lambda packet, found: name in (packet.interface, packet.interface.rpartition("/")[0])


def _packet(text: str) -> _Test:
    number = _number(text)
    return lambda packet, found: packet.serial == number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


# The word, what stands after it, an example, and the test made of it (ValueError: that is none).
_ARGUMENTS: dict[str, tuple[str, str, Callable[[str], _Test]]] = {
    "host": ("an IP address", "host 10.244.1.2", _host),
    "net": ("a network", "net 10.96.0.0/16", _net),
    "port": ("a port number from 0 to 65535", "port 53", _port),
    "interface": ("a name", "interface node1/eth0", _interface),
    "packet": ("a number", "packet 7", _packet),
}
_WORDS = (
    f"{', '.join(_PROTOCOLS)}, host ADDRESS, net CIDR, port NUMBER, interface NAME, packet NUMBER; "
    "not, and, or, ( )"
)
