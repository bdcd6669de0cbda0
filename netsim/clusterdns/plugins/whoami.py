"""whoami: answers with the client's address, port and transport. Source: coredns ``plugin/whoami``."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.wire.dns import AAAA, SRV, A, Record, Srv


class Whoami:
    """The handler."""

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        yield from ()
        name, client = request.name, request.client
        dot = "" if name == "." else "."
        rtype = A if client.version == 4 else AAAA
        extra = (
            Record(name, rtype, request.qclass, 0, client.packed),
            Record(
                f"_{request.transport.value}{dot}{name}",
                SRV,
                request.qclass,
                0,
                Srv(0, 0, request.ports[0], "."),
            ),
        )
        return Outcome(f"whoami: {client}", request.reply(additional=extra, authoritative=True))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``whoami``."""
    c.next()
    if c.next_argument():
        raise c.argument_error()
    return [Whoami()]
