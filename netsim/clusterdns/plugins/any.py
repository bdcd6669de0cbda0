"""any: queries of type ANY get a minimal answer (RFC 8482). Source: coredns ``plugin/any``."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.wire.dns import ANY, HINFO, IN, Record

TTL = 8482
_TEXTS = (b"ANY obsoleted", b"See RFC 8482")
_DATA = b"".join(len(text).to_bytes(1, "big") + text for text in _TEXTS)


class Any:
    """The handler."""

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        if request.qtype != ANY:
            return (yield from following(request))
        record = Record(request.name, HINFO, IN, TTL, _DATA)
        return Outcome("any: ANY is obsolete (RFC 8482)", request.reply(answers=(record,)))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``any``."""
    c.next()
    if c.next_argument():
        raise c.argument_error()
    if c.next_in_block():
        raise c.error(f"unknown property '{c.value}'")
    return [Any()]
