"""log: a line for every query.

``log [NAMES...] [FORMAT] { class CLASSES... }`` with CoreDNS's placeholders; those of metadata show ``-``, as
no plugin here makes metadata. Sources: coredns ``plugin/log``, ``plugin/pkg/replacer``,
``plugin/pkg/response/classify.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.names import absolute, is_subdomain
from netsim.clusterdns.responses import Kind, kind_of
from netsim.wire import dns
from netsim.wire.dns import Message

CLASSES = ("all", "success", "denial", "error")

COMMON = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" '
    "{rcode} {>rflags} {rsize} {duration}"
)
COMBINED = COMMON + ' "{>opcode}"'

_DENIALS = (Kind.NAME_ERROR, Kind.NO_DATA)
_FLAGS = (
    (0x8000, "qr"), (0x400, "aa"), (0x200, "tc"), (0x100, "rd"),
    (0x80, "ra"), (0x40, "z"), (0x20, "ad"), (0x10, "cd"),
)  # fmt: skip
_PLACEHOLDER = re.compile(r"\{/[^{}]*\}|\{>?[a-z]+\}")


class Rule(NamedTuple):
    """For names below ``scope``: what a line looks like, and which responses get one."""

    scope: str
    format: str
    classes: frozenset[str]


class Recorded(NamedTuple):
    """A query, what came of it, and the seconds that it took."""

    request: Request
    reply: Message
    seconds: float


class Log:
    """The handler."""

    def __init__(self, setup: Setup, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._clock = setup.process.clock
        self._log = setup.process.log

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        rule = next((rule for rule in self._rules if is_subdomain(rule.scope, request.lower)), None)
        if rule is None:
            return (yield from following(request))
        began = self._clock.now
        outcome = yield from following(request)
        reply = outcome.message or request.reply(outcome.rcode)
        if not rule.classes.isdisjoint(("all", classify(reply))):
            record = Recorded(request, reply, self._clock.now - began)
            self._log.info(_PLACEHOLDER.sub(lambda match: _value(match[0], record), rule.format))
        return outcome


def classify(reply: Message) -> str:
    """``success``, ``denial`` or ``error`` (response.Classify)."""
    kind = kind_of(reply)
    if kind in _DENIALS:
        return "denial"
    return "error" if kind in (Kind.SERVER_ERROR, Kind.OTHER_ERROR) else "success"


def _value(placeholder: str, record: Recorded) -> str:
    if placeholder.startswith("{/"):
        return "-"
    show = _VALUES.get(placeholder)
    return placeholder if show is None else show(record)


def _address(address: IpAddress) -> str:
    return str(address) if address.version == 4 else f"[{address}]"


def _flags(record: Recorded) -> str:
    bits = dns.flags_of(record.reply)
    return ",".join(name for bit, name in _FLAGS if bits & bit)


def seconds_text(seconds: float) -> str:
    """Go's strconv.FormatFloat(seconds, 'f', -1, 64)."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".")


_VALUES: dict[str, Callable[[Recorded], str]] = {
    "{type}": lambda r: dns.type_name(r.request.qtype),
    "{name}": lambda r: r.request.lower,
    "{class}": lambda r: dns.class_name(r.request.qclass),
    "{proto}": lambda r: r.request.transport.value,
    "{size}": lambda r: str(r.request.length),
    "{remote}": lambda r: _address(r.request.client),
    "{port}": lambda r: str(r.request.ports[0]),
    "{local}": lambda r: "-",
    "{>id}": lambda r: str(r.request.message.id),
    "{>opcode}": lambda r: str(r.request.message.opcode),
    "{>do}": lambda r: str(r.request.do).lower(),
    "{>bufsize}": lambda r: str(r.request.size),
    "{rcode}": lambda r: dns.rcode_name(r.reply.rcode),
    "{rsize}": lambda r: str(dns.length(r.reply)),
    "{duration}": lambda r: f"{seconds_text(r.seconds)}s",
    "{>rflags}": _flags,
}


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``log [NAMES...] [FORMAT] { class CLASSES... }``, as often as wanted; the first that fits counts."""
    rules: list[Rule] = []
    while c.next():
        words = c.arguments()
        line = COMMON
        if len(words) > 1 and "{" in words[-1]:
            line = words.pop().replace("{common}", COMMON).replace("{combined}", COMBINED)
        classes = _classes(c) or frozenset({"all"})
        rules += [Rule(absolute(word), line, classes) for word in (words or ["."])]
    return [Log(setup, rules)]


def _classes(c: Controller) -> frozenset[str]:
    found: set[str] = set()
    while c.next_in_block():
        if c.value != "class":
            raise c.error(f"unknown property '{c.value}'")
        words = c.arguments()
        if not words:
            raise c.argument_error()
        for word in words:
            if word not in CLASSES:
                raise CorefileError(f"invalid Class: {word}")
        found.update(words)
    return frozenset(found)
