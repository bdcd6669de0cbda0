"""errors: log lines for failed queries.

A query that ends with an error in Go's sense (no next plugin, no answer from an upstream) is a line; with
``consolidate`` those that match a pattern are counted, and told of once per period. Source: coredns
``plugin/errors``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Pause, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, duration
from netsim.clusterdns.regex import MAXIMUM_PATTERN, compile_pattern
from netsim.wire import dns

LEVELS = ("warning", "error", "info", "debug")


class Pattern:
    """One ``consolidate``. ``period`` is in seconds, ``text`` its spelling."""

    def __init__(self, pattern: re.Pattern[str], period: float, text: str) -> None:
        self.pattern = pattern
        self.period = period
        self.text = text
        self.level = "error"
        self.show_first = False
        self.count = 0


class Errors:
    """The handler."""

    def __init__(self, setup: Setup) -> None:
        self.patterns: list[Pattern] = []
        self._log = setup.process.log
        self._grounds = setup.process.grounds
        self._spawn = setup.process.spawn

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        outcome = yield from following(request)
        if outcome.error:
            self._grounds.varies()  # it is a line each time
            self._tell(outcome, request)
        return outcome

    def _tell(self, outcome: Outcome, request: Request) -> None:
        level = "error"
        for pattern in self.patterns:
            if pattern.pattern.search(outcome.error):
                pattern.count += 1
                if pattern.count == 1:
                    self._spawn(self._summarize(pattern))
                if pattern.count > 1 or not pattern.show_first:
                    return
                level = pattern.level
                break
        name = f"{request.lower} {dns.type_name(request.qtype)}"
        self._line(level, f"{int(outcome.status)} {name}: {outcome.error}")

    def _summarize(self, pattern: Pattern) -> Steps[None]:
        yield Pause(pattern.period)
        count, pattern.count = pattern.count, 0
        if count > 1 or not pattern.show_first:
            like = f"'{pattern.pattern.pattern}' occurred in last {pattern.text}"
            self._line(pattern.level, f"{count} errors like {like}")

    def _line(self, level: str, text: str) -> None:
        if level != "debug":  # shown with the plugin ``debug`` alone
            self._log.line(f"[{level.upper()}] plugin/errors: {text}")


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first] }``."""
    c.next()
    words = c.arguments()
    if len(words) > 1:
        raise c.argument_error()
    if words and words[0] != "stdout":
        raise c.error(f"invalid log file: {words[0]}")
    handler = Errors(setup)
    while c.next_in_block():
        match c.value:
            case "stacktrace":
                pass
            case "consolidate":
                handler.patterns.append(_consolidate(c))
            case word:
                raise c.syntax_error(f"Unknown field {word}")
    c.done()
    return [handler]


def _consolidate(c: Controller) -> Pattern:
    words = c.arguments()
    if not 2 <= len(words) <= 4:
        raise c.argument_error()
    try:
        seconds = duration(words[0])
    except CorefileError as error:
        raise c.error(error.message) from None
    if len(words[1]) > MAXIMUM_PATTERN:
        raise c.error(f"regex pattern too long: {len(words[1])} > {MAXIMUM_PATTERN}")
    pattern = Pattern(compile_pattern(words[1], partial(c.error)), seconds, words[0])
    levels = 0
    for word in words[2:]:
        if word in LEVELS and levels:
            raise c.error("multiple log levels specified in consolidate")
        if word in LEVELS and pattern.show_first:
            raise c.error("log level must come before show_first in consolidate")
        if word not in (*LEVELS, "show_first"):
            raise c.error(f"unknown option in consolidate: {word}")
        if word == "show_first":
            pattern.show_first = True
        else:
            pattern.level = word
            levels += 1
    return pattern
