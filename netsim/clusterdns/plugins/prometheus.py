"""prometheus: counters over HTTP.

``/metrics`` tells the version; nothing is counted yet. Source: coredns ``plugin/metrics/setup.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.clusterdns.chain import Handler, Page, Setup
from netsim.clusterdns.corefile import Controller

BUILD_INFO = """\
# HELP coredns_build_info A metric with a constant '1' value labeled by version, revision, and goversion \
from which CoreDNS was built.
# TYPE coredns_build_info gauge
coredns_build_info{goversion="",revision="",version="1.14.7"} 1
"""


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``prometheus [ADDRESS] { runtime_metrics; tls FILE }``."""
    c.next()
    setup.pages.append(Page(c.listen_address(9153), "/metrics", BUILD_INFO))
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
