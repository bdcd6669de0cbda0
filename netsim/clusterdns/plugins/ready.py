"""ready: an HTTP endpoint that says when all plugins can serve.

Its options are checked; nothing listens on its port yet. It is no part of the chain. Source: coredns
``plugin/ready/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``ready [ADDRESS] { monitor until-ready|continuously }``."""
    c.next()
    c.listen_address()
    while c.next_in_block():
        if c.value != "monitor":
            raise c.error(f"unknown property '{c.value}'")
        word = c.one_argument()
        if word not in ("until-ready", "continuously"):
            raise c.error(f"monitor type '{word}' not supported")
    c.done()
    return ()
