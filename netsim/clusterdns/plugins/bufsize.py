"""bufsize: a bound for the size that clients announce with EDNS0. Source: coredns ``plugin/bufsize``.

The bound is what the reply may have, and what its OPT record shows.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller, integer

SIZE = 1232  # DNS flag day 2020
SIZES = range(512, 4097)


class Bufsize:
    """The handler."""

    def __init__(self, size: int) -> None:
        self._size = size

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        edns = request.message.edns
        if edns is None or edns.size <= self._size:
            return (yield from following(request))
        asked = edns._replace(size=self._size)
        outcome = yield from following(request.with_message(request.message._replace(edns=asked)))
        return outcome if outcome.asked is not None else outcome._replace(asked=asked)


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``bufsize [SIZE]``."""
    c.next()
    words = c.arguments()
    if not words:
        return [Bufsize(SIZE)]
    try:
        size = integer(words[0])
    except CorefileError:
        size = 0
    if len(words) > 1 or size not in SIZES:
        raise c.argument_error()
    return [Bufsize(size)]
