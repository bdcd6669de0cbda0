"""log: a line for every query.

Its options are checked; the lines are not written yet. Source: coredns ``plugin/log/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller

CLASSES = ("all", "success", "denial", "error")


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``log [NAMES...] [FORMAT] { class CLASSES... }``, as often as wanted."""
    while c.next():
        c.arguments()
        while c.next_in_block():
            if c.value != "class":
                raise c.error(f"unknown property '{c.value}'")
            words = c.arguments()
            if not words:
                raise c.argument_error()
            for word in words:
                if word not in CLASSES:
                    raise CorefileError(f"invalid Class: {word}")
    return ()
