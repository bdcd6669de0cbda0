"""rewrite: another question for the plugins behind, and the answer turned back.

``rewrite [continue|stop] name|class|type|edns0|ttl|cname|rcode …``. The client always gets its own question
back; owners in the answer only by ``exact``, by ``answer auto``, ``answer name`` or ``answer value``. Source:
coredns ``plugin/rewrite``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.names import is_name
from netsim.clusterdns.regex import MAXIMUM_PATTERN, compile_pattern, fill
from netsim.clusterdns.rewrite_edns0 import edns0_rule
from netsim.clusterdns.rewriting import (
    MATCHES,
    BoundTtl,
    RenameOwner,
    RenameValue,
    ReplaceRcode,
    ResponseRule,
    RetargetAlias,
    RevertOption,
    Rewriter,
    Rewritten,
    checked_pattern,
    matcher,
    normal,
    refilled,
    remapped,
    resuffixed,
    revert,
)
from netsim.wire import dns
from netsim.wire.dns import Question, Rcode

MAXIMUM_TTL = 0x7FFFFFFF
MAXIMUM_RCODE = 23


class Rule(NamedTuple):
    """One line. ``stops`` unless it says continue."""

    stops: bool
    rewrite: Callable[[Request], Rewritten]


class Rewrite:
    """The handler."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        current = request
        responses: list[ResponseRule] = []
        stopped = False
        for rule in self._rules:
            rewritten = rule.rewrite(current)
            if rewritten is None:
                continue
            if isinstance(rewritten, Request):
                current = rewritten
                continue
            current, more = rewritten
            if not is_name(current.name):
                error = f"invalid name after rewrite: {current.name}"
                return Outcome(f"rewrite: {error}: SERVFAIL", error=error)
            responses += more
            stopped = rule.stops
            if stopped:
                break
        outcome = yield from following(current)
        asked = outcome.asked or current.message.edns
        if stopped or responses:
            message = outcome.message or current.reply(outcome.rcode)
            message = message._replace(questions=request.message.questions)
            outcome = outcome._replace(message=(yield from revert(message, responses)))
            for response in reversed(responses):
                if isinstance(response, RevertOption):
                    asked = response.revert(asked)
        if asked != request.message.edns:
            outcome = outcome._replace(asked=asked)
        if current.name != request.name:
            outcome = outcome._replace(cause=f"rewrite: {request.name} is {current.name}: {outcome.cause}")
        return outcome


def _asking(request: Request, question: Question) -> Request:
    return request.with_message(request.message._replace(questions=(question,)))


def _named(request: Request, name: str) -> Request:
    return _asking(request, request.message.questions[0]._replace(name=name))


# --- the Corefile --------------------------------------------------------------------------------------


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``rewrite …``, as often as wanted; long rules stand in braces."""
    rules = []
    while c.next():
        words = c.arguments()
        if len(words) < 2:
            while c.next_in_block():
                words.append(c.value)
        rules.append(_rule(words, setup))
    return [Rewrite(rules)]


def _rule(words: Sequence[str], setup: Setup) -> Rule:
    if not words:
        raise CorefileError("no rule type specified for rewrite")
    first, rest = words[0].lower(), list(words[1:])
    stops = first != "continue"
    if first in ("continue", "stop"):
        if not rest:
            raise CorefileError(f"{first} rule must begin with a rule type")
        kind = rest.pop(0).lower()
    else:
        kind = first
    match kind:
        case "answer":
            raise CorefileError("response rewrites must begin with a name rule")
        case "name":
            return Rule(stops, _name_rule(rest))
        case "class" | "type":
            if len(rest) != 2:
                raise CorefileError(f"{kind} rules must have exactly two arguments")
            return Rule(stops, _number_rule(kind, rest))
        case "edns0":
            return Rule(stops, edns0_rule(rest, setup.echoed))
        case "ttl":
            return Rule(stops, _ttl_rule(rest))
        case "cname":
            return Rule(stops, _cname_rule(rest, setup))
        case "rcode":
            return Rule(stops, _rcode_rule(rest))
    raise CorefileError(f'invalid rule type "{words[0]}"')


def _number_rule(kind: str, words: Sequence[str]) -> Callable[[Request], Rewritten]:
    classes = {name: number for number, name in dns.CLASS_NAMES.items()}
    numbers = dns.TYPE_NUMBERS if kind == "type" else classes
    for word in words:
        if word.upper() not in numbers:
            raise CorefileError(f'invalid {kind} "{word.upper()}"')
    old, new = (numbers[word.upper()] for word in words)

    def rewrite(request: Request) -> Rewritten:
        question = request.message.questions[0]
        if (question.qtype if kind == "type" else question.qclass) != old:
            return None
        changed = question._replace(qtype=new) if kind == "type" else question._replace(qclass=new)
        return _asking(request, changed), ()

    return rewrite


# --- names ---------------------------------------------------------------------------------------------


def _name_rule(words: Sequence[str]) -> Callable[[Request], Rewritten]:
    if len(words) < 2:
        raise CorefileError("too few arguments for a name rule")
    kind, source, target = ("exact", *words) if len(words) == 2 else (words[0].lower(), *words[1:3])
    automatic, answers = _answer_rules(kind, words[3:]) if len(words) > 3 else (False, ())
    if kind == "regex":
        pattern = checked_pattern(source, target)
        return _pattern_rule(pattern, normal(target), automatic, answers)
    source, target = normal(source), normal(target)
    match kind:
        case "exact":
            checked_pattern(target, source)
            return _remapping(lambda name: target if name == source else None, True, answers)
        case "prefix":
            return _remapping(
                lambda name: target + name[len(source) :] if name.startswith(source) else None,
                automatic,
                answers,
            )
        case "suffix":
            back = resuffixed(target, source)
            fixed: list[ResponseRule] = [RenameOwner(back), RenameValue(back)] if automatic else []
            return _remapping(
                lambda name: name[: len(name) - len(source)] + target if name.endswith(source) else None,
                False,
                [*fixed, *answers],
            )
        case "substring":
            return _remapping(
                lambda name: name.replace(source, target) if source in name else None, automatic, answers
            )
    raise CorefileError(
        "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: " + kind
    )


def _pattern_rule(
    pattern: re.Pattern[str], target: str, automatic: bool, answers: Sequence[ResponseRule]
) -> Callable[[Request], Rewritten]:
    def rename(name: str) -> str | None:
        match = pattern.search(name)
        return None if match is None else fill(target, match)

    return _remapping(rename, automatic, answers)


def _remapping(
    rename: Callable[[str], str | None], automatic: bool, answers: Sequence[ResponseRule]
) -> Callable[[Request], Rewritten]:
    def rewrite(request: Request) -> Rewritten:
        name = rename(request.lower)
        if name is None:
            return None
        if not automatic:
            return _named(request, name), answers
        back = remapped(name, request.lower)
        return _named(request, name), (RenameOwner(back), RenameValue(back), *answers)

    return rewrite


def _answer_rules(kind: str, words: Sequence[str]) -> tuple[bool, Sequence[ResponseRule]]:
    """``answer auto``, ``answer name FROM TO``, ``answer value FROM TO``, as often as wanted."""
    if len(words) < 2:
        raise CorefileError(f"invalid arguments for {kind} rule")
    left = list(words)
    automatic, named = False, False
    rules: list[ResponseRule] = []
    if left[0] != "answer":
        raise CorefileError(
            f"exceeded the number of arguments for a non-answer rule argument for {kind} rule"
        )
    while left:
        if left[0] == "answer":
            left.pop(0)
        if not left:
            raise CorefileError(f"type missing for answer rule for {kind} rule")
        what = left.pop(0)
        if what == "auto":
            automatic = True
            continue
        if what not in ("name", "value"):
            raise CorefileError(f'invalid type "{what}" for answer rule for {kind} rule')
        if len(left) < 2:
            raise CorefileError(f"{what} answer rule for {kind} rule: 2 arguments required")
        back = _answer_rewriter(what, kind, left.pop(0), left.pop(0))
        rules.append(RenameOwner(back) if what == "name" else RenameValue(back))
        named = named or what == "name"
    if automatic and named:
        raise CorefileError("auto name answer rule cannot be combined with explicit name anwer rules")
    return automatic, rules


def _answer_rewriter(what: str, kind: str, source: str, target: str) -> Rewriter:
    try:
        pattern = checked_pattern(source, target)
    except CorefileError as error:
        raise CorefileError(f"{what} answer rule for {kind} rule: {error.message}") from None
    return refilled(pattern, normal(target))


# --- responses -----------------------------------------------------------------------------------------


def _matched(title: str, words: Sequence[str], count: int) -> Callable[[str], bool]:
    """The names for which a ``ttl`` or ``rcode`` rule holds: NAME, or MATCH NAME."""
    if len(words) == count + 1:
        return matcher("exact", normal(words[0]))
    kind = words[0].lower()
    if kind not in MATCHES:
        raise CorefileError(
            f"{title} rule supports only exact, prefix, suffix, substring, and regex name matching"
        )
    if kind != "regex":
        return matcher(kind, normal(words[1]))
    if len(words[1]) > MAXIMUM_PATTERN:
        raise CorefileError(f"regex pattern too long in a {title} rule: {len(words[1])} > {MAXIMUM_PATTERN}")
    compile_pattern(words[1], lambda _: CorefileError(f"invalid regex pattern in a {title} rule: {words[1]}"))
    return matcher(kind, words[1])


def _on_names(fits: Callable[[str], bool], response: ResponseRule) -> Callable[[Request], Rewritten]:
    return lambda request: (request, (response,)) if fits(request.lower) else None


def _ttl_rule(words: Sequence[str]) -> Callable[[Request], Rewritten]:
    if len(words) < 2:
        raise CorefileError(f"too few ({len(words)}) arguments for a ttl rule")
    bounds = _ttl_bounds(words[-1]) if len(words) < 4 else None
    if bounds is None:
        raise CorefileError(f"invalid TTL '{words[-1] if len(words) < 4 else ''}' for a ttl rule")
    return _on_names(_matched("ttl", words, 1), bounds)


def _ttl_bounds(text: str) -> BoundTtl | None:
    """``30``, ``30-60``, ``-60``, ``30-``."""
    match = re.fullmatch(r"(\d*)(-?)(\d*)", text)
    if match is None or (not match[1] and not match[3]):
        return None
    least = int(match[1] or 0)
    most = int(match[3] or MAXIMUM_TTL) if match[2] else least
    return BoundTtl(least, most) if least <= most <= 0xFFFFFFFF else None


def _rcode_rule(words: Sequence[str]) -> Callable[[Request], Rewritten]:
    if len(words) < 3:
        raise CorefileError(f"too few ({len(words)}) arguments for a rcode rule")
    texts = words[-2:] if len(words) < 5 else ("", "")
    numbers = []
    for title, text in zip(("matching", "replacement"), texts, strict=True):
        number = _rcode(text)
        if number is None:
            raise CorefileError(f"invalid {title} RCODE '{text}' for a rcode rule")
        numbers.append(number)
    return _on_names(_matched("rcode", words, 2), ReplaceRcode(*numbers))


def _rcode(text: str) -> int | None:
    if text.isdecimal() and int(text) <= MAXIMUM_RCODE:
        return int(text)
    return Rcode[text.upper()] if text.upper() in Rcode.__members__ else None


def _cname_rule(words: Sequence[str], setup: Setup) -> Callable[[Request], Rewritten]:
    if len(words) not in (2, 3):
        raise CorefileError(f"too few ({len(words)}) arguments for a cname rule")
    kind = words[0].lower() if len(words) == 3 else "exact"
    if kind not in MATCHES:
        raise CorefileError(f"unknown cname rewrite type: {kind}")
    source, target = (word.lower() for word in words[-2:])
    rename = _alias_rewriter(kind, source, target)
    return lambda request: (request, (RetargetAlias(rename, request, setup.process.resolve),))


def _alias_rewriter(kind: str, source: str, target: str) -> Callable[[str], str | None]:
    """A CNAME's target to another one; None when it does not fit (getFromAndToTarget)."""
    match kind:
        case "exact":
            old, new = normal(source), normal(target)
            return lambda name: new if name == old else None
        case "prefix":
            return lambda name: target + name[len(source) :] if name.startswith(source) else None
        case "suffix":
            return lambda name: name[: len(name) - len(source)] + target if name.endswith(source) else None
        case "substring":
            return lambda name: name.replace(source, target) if source in name else None
    if len(source) > MAXIMUM_PATTERN:
        raise CorefileError(f"regex pattern too long in a cname rule: {len(source)} > {MAXIMUM_PATTERN}")
    pattern = compile_pattern(
        source, lambda problem: CorefileError(f"invalid cname rewrite regex pattern: {problem}")
    )

    def rename(name: str) -> str | None:
        match = pattern.search(name)
        return None if match is None else fill(target, match)

    return rename
