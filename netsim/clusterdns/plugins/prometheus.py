"""prometheus: counters over HTTP.

Its options are checked; nothing is counted and nothing listens on its port yet. Source: coredns
``plugin/metrics/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``prometheus [ADDRESS] { runtime_metrics; tls FILE }``."""
    c.next()
    c.listen_address()
    while c.next_in_block():
        match c.value:
            case "runtime_metrics":
                c.no_argument()
            case "tls":
                raise c.error("netsim does not build the option 'tls' of prometheus yet")
            case word:
                raise c.error(f"unknown option: {word}")
    c.done()
    return ()
