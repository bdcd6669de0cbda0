"""loop: stops a server that forwards to itself.

Accepted; the probe is not sent yet, so a forwarding loop shows as timeouts and not as a crash. Source:
coredns ``plugin/loop/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``loop``."""
    c.next()
    if c.next_argument():
        raise c.argument_error()
    c.done()
    return ()
