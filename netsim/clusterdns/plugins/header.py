"""header: flags of queries and replies set and cleared. Source: coredns ``plugin/header``."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.wire.dns import Message

FLAGS = {"aa": "authoritative", "ra": "recursion_available", "rd": "recursion_desired"}
STATES = {"set": True, "clear": False}

Rules = dict[str, bool]
"""Fields of a Message, and what they become."""


class Header:
    """The handler."""

    def __init__(self, query: Rules, response: Rules) -> None:
        self._query = query
        self._response = response

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        outcome = yield from following(request.with_message(_changed(request.message, self._query)))
        if outcome.message is None:
            return outcome
        return outcome._replace(message=_changed(outcome.message, self._response))


def _changed(message: Message, rules: Rules) -> Message:
    return message._replace(
        authoritative=rules.get("authoritative", message.authoritative),
        recursion_available=rules.get("recursion_available", message.recursion_available),
        recursion_desired=rules.get("recursion_desired", message.recursion_desired),
    )


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``header { query|response set|clear aa|ra|rd... }``."""
    rules: dict[str, Rules] = {"query": {}, "response": {}}
    while c.next():  # whatever words stand before the block
        while c.next_in_block():
            _rule(c, rules)
        if rules["query"] or rules["response"]:
            return [Header(rules["query"], rules["response"])]
    raise c.argument_error()


def _rule(c: Controller, rules: dict[str, Rules]) -> None:
    selector = c.value.lower()
    if selector not in rules:
        raise _refused(f"invalid selector={selector} should be query or response")
    words = c.arguments()
    if not words:
        raise _refused("no flag action provided")
    action, *flags = (word.lower() for word in words)
    if not flags:
        raise _refused("invalid length for flags, at least one should be provided")
    if action not in STATES:
        raise _refused(f"unknown flag action={action}, should be set or clear")
    for flag in flags:
        if flag not in FLAGS:
            raise _refused(f"unknown/unsupported flag={flag}")
        rules[selector][FLAGS[flag]] = STATES[action]


def _refused(problem: str) -> CorefileError:
    return CorefileError(f"setting up rule: {problem}")
