"""errors: log lines for failed queries.

Its options are checked; the log lines are not written yet. Source: coredns ``plugin/errors/setup.go``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller, duration

LEVELS = ("warning", "error", "info", "debug")
MAXIMUM_PATTERN = 10000


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first] }``."""
    c.next()
    words = c.arguments()
    if len(words) > 1:
        raise c.argument_error()
    if words and words[0] != "stdout":
        raise c.error(f"invalid log file: {words[0]}")
    while c.next_in_block():
        match c.value:
            case "stacktrace":
                pass
            case "consolidate":
                _consolidate(c)
            case word:
                raise c.syntax_error(f"Unknown field {word}")
    c.done()
    return ()


def _consolidate(c: Controller) -> None:
    words = c.arguments()
    if not 2 <= len(words) <= 4:
        raise c.argument_error()
    duration(words[0])
    if len(words[1]) > MAXIMUM_PATTERN:
        raise c.error(f"regex pattern too long: {len(words[1])} > {MAXIMUM_PATTERN}")
    try:
        re.compile(words[1])
    except re.error as error:
        raise c.error(f"error parsing regexp: {error}: `{words[1]}`") from None
    seen: list[str] = []
    for word in words[2:]:
        if word in LEVELS and seen and seen[0] in LEVELS:
            raise c.error("multiple log levels specified in consolidate")
        if word in LEVELS and seen:
            raise c.error("log level must come before show_first in consolidate")
        if word not in (*LEVELS, "show_first"):
            raise c.error(f"unknown option in consolidate: {word}")
        seen.append(word)
