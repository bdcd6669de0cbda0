"""template: answers made from the question by regular expressions and Go templates.

``template CLASS TYPE [ZONE...] { match; answer; additional; authority; rcode; ederror; fallthrough;
upstream }``. Refused as not built: ``var`` and ``expr``. A zone that fits without a regular expression that
does, and without fallthrough, is SERVFAIL. Source: coredns ``plugin/template``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from netsim.base.errors import CorefileError, WireError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, unsigned
from netsim.clusterdns.gotemplate import Template, TemplateError
from netsim.clusterdns.metrics import TEMPLATE_MATCHES
from netsim.clusterdns.names import longest_zone
from netsim.clusterdns.regex import MAXIMUM_PATTERN, compile_pattern, groups
from netsim.clusterdns.zonefile import parse_record
from netsim.wire import dns
from netsim.wire.dns import AAAA, ANY, CNAME, A, Edns, Message, Rcode, Record

SECTIONS = ("answer", "additional", "authority")
EXTENDED_ERROR = 15  # RFC 8914, the EDNS option
_EDNS_SIZE = 4096
_ANY_CLASS = 255


class Rule(NamedTuple):
    """One ``template``. ``templates`` are (section, template); ``patterns`` empty fits every name."""

    qclass: int
    qtype: int
    zones: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...] = ()
    templates: tuple[tuple[str, Template], ...] = ()
    rcode: int = Rcode.NOERROR
    error: tuple[int, str] | None = None
    fallthrough: tuple[str, ...] = ()


_EVERYTHING = re.compile(".*")


class TemplateHandler:
    """The handler of all templates of a server block, in the order of the Corefile."""

    def __init__(self, setup: Setup, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._zones = tuple(zone for rule in rules for zone in rule.zones)
        self._process = setup.process

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        if longest_zone(self._zones, request.lower):
            for rule in self._rules:
                zone = longest_zone(rule.zones, request.lower)
                if not zone or not _concerns(rule, request):
                    continue
                match = _match(rule, request.lower)
                if match is not None:
                    return (yield from self._answer(rule, request, zone, match))
                if not longest_zone(rule.fallthrough, request.lower):
                    return Outcome(f"template: no pattern for {zone} fits {request.lower}: SERVFAIL")
        return (yield from following(request))

    def _answer(self, rule: Rule, request: Request, zone: str, match: re.Match[str]) -> Steps[Outcome]:
        data = _data(rule, request, zone, match)
        place = (request.server, zone, "", data["Class"], data["Type"])
        self._process.metrics.add(TEMPLATE_MATCHES, place)
        if rule.rcode == Rcode.SERVFAIL:
            return Outcome("template: SERVFAIL, as it says", rcode=rule.rcode)
        sections: dict[str, list[Record]] = {section: [] for section in SECTIONS}
        truncated = False
        for section, template in rule.templates:
            try:
                record = parse_record(template.render(data))
            except (TemplateError, WireError) as error:
                return Outcome(f"template: {error}: SERVFAIL", error=str(error))
            sections[section].append(record)
            if section == "answer" and record.rtype == CNAME and request.qtype in (A, AAAA):
                found = yield from self._process.resolve(request, record.data, request.qtype)
                if found is not None:
                    truncated = found.truncated
                    sections["answer"] += found.answers
        message = request.reply(rule.rcode, authoritative=True, truncated=truncated, **_named(sections))
        return Outcome(f"template: {match.re.pattern}", _with_error(message, rule.error))


def _named(sections: Mapping[str, list[Record]]) -> dict[str, Any]:
    return {"answers" if name == "answer" else name: records for name, records in sections.items()}


def _with_error(message: Message, error: tuple[int, str] | None) -> Message:
    if error is None:
        return message
    option = (EXTENDED_ERROR, error[0].to_bytes(2, "big") + error[1].encode())
    return message._replace(edns=Edns(_EDNS_SIZE, 0, True, (option,)))


def _concerns(rule: Rule, request: Request) -> bool:
    right_class = _ANY_CLASS in (rule.qclass, request.qclass) or rule.qclass == request.qclass
    return right_class and (ANY in (rule.qtype, request.qtype) or rule.qtype == request.qtype)


def _match(rule: Rule, name: str) -> re.Match[str] | None:
    found = (pattern.search(name) for pattern in rule.patterns or (_EVERYTHING,))
    return next((match for match in found if match is not None), None)


def _data(rule: Rule, request: Request, zone: str, match: re.Match[str]) -> dict[str, Any]:
    """What a template can use."""
    qclass = rule.qclass if request.qclass == _ANY_CLASS else request.qclass
    qtype = rule.qtype if request.qtype == ANY else request.qtype
    question = {"Name": request.name, "Qtype": request.qtype, "Qclass": request.qclass}
    return {
        "Zone": zone,
        "Name": request.lower,
        "Regex": match.re.pattern,
        "Match": [match[index] or "" for index in range(match.re.groups + 1)],
        "Group": groups(match),
        "Class": dns.class_name(qclass),
        "Type": dns.type_name(qtype),
        "Message": {"Id": request.message.id, "Question": [question]},
        "Question": question,
        "Remote": str(request.client),
        "Meta": lambda name: "",
    }


# --- the Corefile --------------------------------------------------------------------------------------


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``template CLASS TYPE [ZONE...] { … }``, as often as wanted."""
    rules = []
    while c.next():
        rule = Rule(_class(c), _type(c), c.origins(c.arguments()))
        while c.next_in_block():
            rule = _option(c, rule)
        rules.append(rule)
    return [TemplateHandler(setup, rules)]


def _class(c: Controller) -> int:
    if not c.next_argument():
        raise c.argument_error()
    numbers = {name: number for number, name in dns.CLASS_NAMES.items()}
    if c.value not in numbers:
        raise c.error(f"invalid query class {c.value}")
    return numbers[c.value]


def _type(c: Controller) -> int:
    if not c.next_argument():
        raise c.argument_error()
    number = dns.TYPE_NUMBERS.get(c.value)
    if number is None:
        raise c.error(f"invalid RR class {c.value}")
    return number


def _option(c: Controller, rule: Rule) -> Rule:
    match c.value:
        case "match":
            patterns = tuple(_pattern(c, word) for word in _words(c))
            return rule._replace(patterns=rule.patterns + patterns)
        case ("answer" | "additional" | "authority") as section:
            templates = tuple((section, _template(c, section, word)) for word in _words(c))
            return rule._replace(templates=rule.templates + templates)
        case "rcode":
            if not c.next_argument():
                raise c.argument_error()
            if c.value not in Rcode.__members__:
                raise c.error(f"unknown rcode {c.value}")
            return rule._replace(rcode=Rcode[c.value])
        case "ederror":
            return rule._replace(error=_extended_error(c))
        case "fallthrough":
            return rule._replace(fallthrough=c.fall_zones())
        case "upstream":
            c.arguments()
            return rule
        case ("var" | "expr") as word:
            raise c.error(f"netsim does not build the option '{word}' of template yet")
    raise c.argument_error()


def _words(c: Controller) -> list[str]:
    words = c.arguments()
    if not words:
        raise c.argument_error()
    return words


def _pattern(c: Controller, word: str) -> re.Pattern[str]:
    if len(word) > MAXIMUM_PATTERN:
        raise c.error(f"regex pattern too long: {len(word)} > {MAXIMUM_PATTERN}")

    def error(problem: str) -> CorefileError:
        return c.error(f"could not parse regex: {word}, {problem}")

    return compile_pattern(word, error)


def _template(c: Controller, section: str, word: str) -> Template:
    try:
        return Template(word)
    except TemplateError as error:
        where = f"template: {section}:1"
        raise c.error(f"could not compile template: {word}, {where}: {error}") from None


def _extended_error(c: Controller) -> tuple[int, str]:
    words = c.arguments()
    if len(words) not in (1, 2):
        raise c.argument_error()
    try:
        code = unsigned(words[0], 16)
    except CorefileError as error:
        raise c.error(f"error parsing extended DNS error code {c.value}, {error.message}") from None
    return code, words[1] if len(words) == 2 else ""
