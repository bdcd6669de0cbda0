"""The filter language of captures: which packets to show, in words that tcpdump users know.

==================  ==========================================================================
``arp icmp tcp``    the protocol, outside or inside a VXLAN tunnel; so too ``udp``, ``dns``,
``udp …``           ``http`` and ``vxlan``
``host ADDRESS``    the address is the source or destination, or stands in an ARP message
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
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import NamedTuple, TypeAlias

from netsim.base.errors import UsageError
from netsim.capture.dissect import Http, Layer, layers
from netsim.capture.record import CapturedPacket
from netsim.wire import arp, dns, icmp, ipv4, tcp, udp, vxlan

_Test: TypeAlias = Callable[[CapturedPacket, tuple[Layer, ...]], bool]

_PROTOCOLS: dict[str, type[Layer]] = {
    "arp": arp.Arp,
    "icmp": icmp.Icmp,
    "tcp": tcp.Tcp,
    "udp": udp.Udp,
    "dns": dns.Message,
    "http": Http,
    "vxlan": vxlan.Vxlan,
}
_OPERATORS = ("not", "and", "or")
_SYMBOLS = {"&&": "and", "||": "or", "!": "not"}
_TOKEN = re.compile(r"[()!]|[^\s()!]+")


class Filter(NamedTuple):
    """A filter that was understood; ``parse_filter`` makes it."""

    text: str
    test: _Test

    def matches(self, packet: CapturedPacket) -> bool:
        """Whether the filter lets this packet through."""
        return self.test(packet, layers(packet.data))


def parse_filter(text: str) -> Filter:
    """Understand a filter; UsageError points at the word that is wrong and says what could stand there."""
    parser = _Parser(text)
    return Filter(text, parser.whole() if parser.tokens else lambda packet, found: True)


class _Parser:
    """Recursive descent over the words; each method consumes what it understands."""

    def __init__(self, text: str) -> None:
        self.text = text
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
        try:
            return test(value)
        except ValueError:
            raise self._error(f"{value!r} is not {kind}", f"as in '{example}'") from None

    def _peek(self) -> str | None:
        return self.tokens[self._at] if self._at < len(self.tokens) else None

    def _error(self, message: str, hint: str) -> UsageError:
        return UsageError(f"filter {self.text!r}: {message}", hint=hint)


def _suggestion(word: str) -> str:
    near = difflib.get_close_matches(word.lower(), [*_PROTOCOLS, *_ARGUMENTS, *_OPERATORS], n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    try:
        IPv4Address(word)
    except ValueError:
        return f"the words are: {_WORDS}"
    return f"did you mean 'host {word}'?"


def _any(left: _Test, right: _Test) -> _Test:
    return lambda packet, found: left(packet, found) or right(packet, found)


def _all(left: _Test, right: _Test) -> _Test:
    return lambda packet, found: left(packet, found) and right(packet, found)


def _protocol(kind: type[Layer]) -> _Test:
    return lambda packet, found: any(isinstance(layer, kind) for layer in found)


def _host(text: str) -> _Test:
    address = IPv4Address(text).packed

    def test(packet: CapturedPacket, found: tuple[Layer, ...]) -> bool:
        return any(
            (isinstance(layer, ipv4.Ipv4) and address in (layer.source, layer.destination))
            or (isinstance(layer, arp.Arp) and address in (layer.sender_ip, layer.target_ip))
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
    "host": ("an IPv4 address", "host 10.244.1.2", _host),
    "port": ("a port number from 0 to 65535", "port 53", _port),
    "interface": ("a name", "interface node1/eth0", _interface),
    "packet": ("a number", "packet 7", _packet),
}
_WORDS = (
    f"{', '.join(_PROTOCOLS)}, host ADDRESS, port NUMBER, interface NAME, packet NUMBER; not, and, or, ( )"
)
