"""reload: a changed Corefile takes effect without a restart.

The Corefile is read again every interval (30 s, give or take half of the jitter, drawn once per start). One
that cannot be read is passed over with a warning; one that plugins refuse is logged, counted, and not tried
again, and the old configuration stays. It is no part of the chain. Source: coredns ``plugin/reload``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Handler, Pause, Setup, Steps
from netsim.clusterdns.corefile import Controller, duration
from netsim.clusterdns.metrics import RELOAD_FAILED, RELOAD_VERSION

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
    jitter = min(jitter, interval / 2)
    interval += jitter * (setup.rng.random() - 0.5)
    setup.startup.append(partial(_start, setup, interval))
    return ()


def _start(setup: Setup, interval: float) -> None:
    setup.process.spawn(_watch(setup, interval))


def _watch(setup: Setup, interval: float) -> Steps[None]:
    process = setup.process
    running = process.fingerprint(process.corefile())
    process.log.info(f"plugin/reload: Running configuration SHA512 = {running}")
    while True:
        yield Pause(interval)
        text = process.corefile()
        try:
            found = process.fingerprint(text)
        except CorefileError as error:
            process.log.warning(f"plugin/reload: Corefile parse failed: {error}")
            continue
        if found == running:
            continue
        running = found
        problem = process.restart(text)
        process.metrics.set(RELOAD_VERSION, ("sha512", found), 1.0)
        if not problem:
            return
        process.log.error(f"plugin/reload: Corefile changed but reload failed: {problem}")
        process.metrics.add(RELOAD_FAILED)
