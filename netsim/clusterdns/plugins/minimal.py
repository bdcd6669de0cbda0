"""minimal: positive answers without authority and additional section. Source: coredns ``plugin/minimal``."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.responses import Kind, kind_of


class Minimal:
    """The handler. What a plugin behind it answers with an rcode alone passes as it is."""

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        outcome = yield from following(request)
        message = outcome.message
        if message is None or kind_of(message) is not Kind.NO_ERROR:
            return outcome
        return outcome._replace(message=message._replace(authority=(), additional=(), edns=None))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``minimal``."""
    c.next()
    if c.next_argument():
        raise c.argument_error()
    return [Minimal()]
