"""What the plugin ``rewrite`` does to names and records: matchers, and rules for responses.

A rule of a request may come with rules for the response, which are applied to every record of it, the last
rule first. Source: coredns ``plugin/rewrite`` (name.go, reverter.go, rcode.go, ttl.go, cname_target.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Request, Steps
from netsim.clusterdns.names import absolute
from netsim.clusterdns.regex import MAXIMUM_PATTERN, compile_pattern, fill
from netsim.wire.dns import CNAME, DNAME, NS, PTR, Edns, Message, Mx, Record, Soa, Srv
from netsim.wire.dnsname import name_to_wire, parse_name

MATCHES = ("exact", "prefix", "suffix", "substring", "regex")

Rewriter = Callable[[str], str]
"""A name to a name; itself when nothing fits."""


def normal(name: str) -> str:
    """plugin.Name.Normalize."""
    return absolute(name).lower()


def remapped(old: str, new: str) -> Rewriter:
    """``old`` and what is below it become ``new`` and what is below that."""

    def rewrite(name: str) -> str:
        if name == old:
            return new
        return name[: -len(old)] + new if name.endswith(f".{old}") else name

    return rewrite


def resuffixed(old: str, new: str) -> Rewriter:
    """The suffix ``old`` becomes ``new``."""
    return lambda name: name[: len(name) - len(old)] + new if name.endswith(old) else name


def refilled(pattern: re.Pattern[str], replacement: str) -> Rewriter:
    """What fits ``pattern`` becomes ``replacement`` with its groups."""

    def rewrite(name: str) -> str:
        match = pattern.search(name)
        return name if match is None else fill(replacement, match)

    return rewrite


def checked_pattern(source: str, target: str) -> re.Pattern[str]:
    """The pattern, which must have the groups that the target uses (isValidRegexPattern)."""
    if len(source) > MAXIMUM_PATTERN:
        raise CorefileError(f"regex pattern too long: {len(source)} > {MAXIMUM_PATTERN}")
    pattern = compile_pattern(source, lambda _: CorefileError(f"invalid regex matching pattern: {source}"))
    used = sum(f"{{{index}}}" in target for index in range(101))
    if used > pattern.groups:
        raise CorefileError(
            f"the rewrite regex pattern ({target}) uses more subexpressions than its corresponding matching "
            f"regex pattern ({source})"
        )
    return pattern


def matcher(kind: str, text: str) -> Callable[[str], bool]:
    """Whether a lower-case name fits, by one of MATCHES."""
    match kind:
        case "exact":
            return lambda name: name == text
        case "prefix":
            return lambda name: name.startswith(text)
        case "suffix":
            return lambda name: name.endswith(text)
        case "substring":
            return lambda name: text in name
    pattern = compile_pattern(text, lambda _: CorefileError(f"invalid regex matching pattern: {text}"))
    return lambda name: pattern.search(name) is not None


class Response:
    """A response on its way back through the rules."""

    def __init__(self, message: Message) -> None:
        self.rcode = message.rcode
        self.truncated = message.truncated
        self.sections = [list(message.authority), list(message.answers), list(message.additional)]
        self.edns = message.edns

    def message(self, message: Message) -> Message:
        authority, answers, additional = map(tuple, self.sections)
        return message._replace(
            rcode=self.rcode, truncated=self.truncated, authority=authority, answers=answers,
            additional=additional, edns=self.edns,
        )  # fmt: skip


class ResponseRule(Protocol):
    """What happens to a record of the response; None stands for a response without records."""

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]: ...


Rewritten: TypeAlias = tuple[Request, Sequence[ResponseRule]] | Request | None
"""The request as the plugins behind see it, and rules for the response. A rule that does not fit gives None,
or the request alone where it has left a mark on that."""


class RenameOwner(NamedTuple):
    """``answer name``, and the half of ``answer auto`` that is about owners."""

    rewrite: Rewriter

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]:
        yield from ()
        return None if record is None else record._replace(name=self.rewrite(record.name))


class RenameValue(NamedTuple):
    """``answer value``, and the other half of ``answer auto``."""

    rewrite: Rewriter

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]:
        yield from ()
        if record is None:
            return None
        data = record.data
        match data:
            case str(name) if record.rtype in (CNAME, NS, PTR):
                data = self.rewrite(name)
            case Srv():
                data = data._replace(target=self.rewrite(data.target))
            case Mx():
                data = data._replace(exchange=self.rewrite(data.exchange))
            case Soa():
                data = data._replace(mname=self.rewrite(data.mname))
            case bytes() if record.rtype == DNAME:
                data = name_to_wire(self.rewrite(parse_name(data, 0)[0]))
        return record._replace(data=data)


class BoundTtl(NamedTuple):
    """``ttl``: every record's TTL, between two bounds."""

    least: int
    most: int

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]:
        yield from ()
        return None if record is None else record._replace(ttl=min(max(record.ttl, self.least), self.most))


class ReplaceRcode(NamedTuple):
    """``rcode``."""

    old: int
    new: int

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]:
        yield from ()
        if response.rcode == self.old:
            response.rcode = self.new
        return record


class RetargetAlias(NamedTuple):
    """``cname``: another target for a CNAME record, and the records that are found there."""

    rewrite: Callable[[str], str | None]
    request: Request
    resolve: Callable[[Request, str, int], Steps[Message | None]]

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]:
        if record is None or record.rtype != CNAME:
            return record
        target = self.rewrite(record.data)
        if target is None:
            return record
        found = yield from self.resolve(self.request, target, self.request.qtype)
        if found is None:
            return record
        answers: list[Record] = []
        changed = record._replace(data=absolute(target))
        for other in response.sections[1]:
            if other.rtype == CNAME:
                answers.append(changed if other.data == record.data else other)
                if other.data == record.data:
                    break
        response.sections[1] = [*answers, *found.answers]
        response.truncated = found.truncated
        return changed


class RevertOption(NamedTuple):
    """``edns0 … revert``: the option as it was before, ``value`` None for absent."""

    code: int
    value: bytes | None

    def revert(self, edns: Edns | None) -> Edns | None:
        """The OPT record without what the rule did to it."""
        if edns is None:
            return None
        options = list(edns.options)
        for index, (code, _) in enumerate(options):
            if code == self.code:
                options[index : index + 1] = [] if self.value is None else [(code, self.value)]
                break
        return edns._replace(options=tuple(options))

    def apply(self, response: Response, record: Record | None) -> Steps[Record | None]:
        yield from ()
        if record is not None:
            response.edns = self.revert(response.edns)
        return record


def revert(message: Message, rules: Sequence[ResponseRule]) -> Steps[Message]:
    """Apply the rules of a request to its response, the last one first (ResponseReverter.WriteMsg)."""
    response = Response(message)
    empty = True
    for index in range(3):
        for position, record in enumerate(list(response.sections[index])):
            empty = False
            for rule in reversed(rules):
                changed = yield from rule.apply(response, record)
                assert changed is not None
                section = response.sections[index]  # another one when an alias was followed anew
                if position < len(section) and section[position] is record:
                    section[position] = changed
                record = changed
    if empty:
        for rule in reversed(rules):
            if isinstance(rule, ReplaceRcode):
                yield from rule.apply(response, None)
    return response.message(message)
