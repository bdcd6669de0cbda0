"""health: an HTTP endpoint that says the process is alive.

``/health`` always answers OK; with ``lameduck`` the process still serves for that long when it is told to
end. It is no part of the chain. Source: coredns ``plugin/health``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Handler, Page, PageText, Setup
from netsim.clusterdns.corefile import Controller, duration

PORT = 8080


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``health [ADDRESS] { lameduck DURATION }``."""
    while c.next():
        setup.pages.append(Page(c.listen_address(PORT), "/health", lambda: PageText("OK")))
        while c.next_in_block():
            if c.value != "lameduck":
                raise c.error(f"unknown property '{c.value}'")
            word = c.one_argument()
            try:
                setup.lameduck.append(duration(word))
            except CorefileError as error:
                raise CorefileError(
                    f"unable to parse lameduck duration value: '{word}' : {error.message}"
                ) from None
    return ()
