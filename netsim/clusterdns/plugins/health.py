"""health: an HTTP endpoint that says the process is alive.

``/health`` answers OK; ``lameduck`` is checked and delays nothing. It is no part of the chain. Source:
coredns ``plugin/health/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Handler, Page, Setup
from netsim.clusterdns.corefile import Controller, duration


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``health [ADDRESS] { lameduck DURATION }``."""
    while c.next():
        setup.pages.append(Page(c.listen_address(8080), "/health", "OK"))
        while c.next_in_block():
            if c.value != "lameduck":
                raise c.error(f"unknown property '{c.value}'")
            word = c.one_argument()
            try:
                duration(word)
            except CorefileError as error:
                raise CorefileError(
                    f"unable to parse lameduck duration value: '{word}' : {error.message}"
                ) from None
    return ()
