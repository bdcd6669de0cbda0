"""chaos: version, authors and hostname, in TXT records of class CH. Source: coredns ``plugin/chaos``."""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.metrics import VERSION
from netsim.clusterdns.plugins.nsid import HOSTNAME
from netsim.wire.dns import CHAOS, TXT, Record

MAXIMUM_TEXT = 255


class Chaos:
    """The handler. ``texts`` has what each name tells."""

    def __init__(self, setup: Setup, version: str, authors: Sequence[str]) -> None:
        self._rng = setup.rng
        self._authors = tuple(authors)
        hostname = setup.process.files.get(HOSTNAME, "localhost").strip()
        self._texts = {
            "version.bind.": version, "version.server.": version,
            "hostname.bind.": hostname, "id.server.": hostname,
        }  # fmt: skip

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        name = request.lower
        concerned = (request.qclass, request.qtype) == (CHAOS, TXT)
        if not concerned or (name not in self._texts and name != "authors.bind."):
            return (yield from following(request))
        texts = self._rng.shuffled(self._authors) if name == "authors.bind." else [self._texts[name]]
        records = [Record(request.name, TXT, CHAOS, 0, (text.encode()[:MAXIMUM_TEXT],)) for text in texts]
        return Outcome("chaos: about this server", request.reply(answers=records))


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``chaos [VERSION] [AUTHORS...]``; CoreDNS's own authors are left out."""
    c.next()
    words = c.arguments()
    if c.next_in_block():
        raise c.error(f"unknown property '{c.value}'")
    version = words[0] if words else f"CoreDNS-{VERSION}"
    return [Chaos(setup, version, sorted(set(words[1:])))]
