"""nsid: the server's name for those who ask for it (RFC 5001). Source: coredns ``plugin/nsid``."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.wire.dns import Edns

NSID = 3
HOSTNAME = "/etc/hostname"


class Nsid:
    """The handler."""

    def __init__(self, name: str) -> None:
        self._option = (NSID, name.encode())

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        outcome = yield from following(request)
        asked = request.message.edns
        message = outcome.message
        if message is None or asked is None or all(code != NSID for code, _ in asked.options):
            return outcome
        edns = message.edns or Edns(asked.size, 0, True)
        options = tuple(option for option in edns.options if option[0] != NSID)
        return outcome._replace(
            message=message._replace(edns=edns._replace(options=(*options, self._option)))
        )


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``nsid [DATA]``; the Pod's hostname when none is given."""
    c.next()
    words = c.arguments()
    c.done()
    return [Nsid(" ".join(words) or setup.process.files.get(HOSTNAME, "localhost").strip())]
