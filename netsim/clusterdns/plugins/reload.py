"""reload: a changed Corefile takes effect without a restart.

Its options are checked; a running server keeps the Corefile it was started with. It is no part of the chain.
Source: coredns ``plugin/reload/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller, duration

INTERVAL = 30.0
JITTER = 15.0
MINIMUM_INTERVAL = 2.0
MINIMUM_JITTER = 1.0


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``reload [INTERVAL] [JITTER]``."""
    c.next()
    words = c.arguments()
    if len(words) > 2:
        raise c.argument_error()
    interval = duration(words[0]) if words else INTERVAL
    if interval < MINIMUM_INTERVAL:
        raise CorefileError(f"interval value must be greater or equal to {MINIMUM_INTERVAL:g}s")
    jitter = duration(words[1]) if len(words) > 1 else JITTER
    if jitter != 0 and jitter < MINIMUM_JITTER:
        raise CorefileError(f"jitter value must be 0 or greater or equal to {MINIMUM_JITTER:g}s")
    return ()
