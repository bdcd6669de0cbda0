"""ready: an HTTP endpoint that says when all plugins can serve.

``/ready`` answers OK: here all plugins can serve as soon as the process runs. It is no part of the chain.
Source: coredns ``plugin/ready/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Handler, Page, Setup
from netsim.clusterdns.corefile import Controller


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``ready [ADDRESS] { monitor until-ready|continuously }``."""
    c.next()
    setup.pages.append(Page(c.listen_address(8181), "/ready", "OK"))
    while c.next_in_block():
        if c.value != "monitor":
            raise c.error(f"unknown property '{c.value}'")
        word = c.one_argument()
        if word not in ("until-ready", "continuously"):
            raise c.error(f"monitor type '{word}' not supported")
    c.done()
    return ()
