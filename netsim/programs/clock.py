"""The wall clock of the emulated machines: virtual time 0 is ``objects.codec.EPOCH``.

Servers (the Date header) and tools (date, dig, wget) read it here; nothing in a simulation reads a real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsim.programs.host import Host

if TYPE_CHECKING:
    from datetime import datetime


def wall_clock(host: Host) -> datetime:
    """What ``date`` would say on this host, in UTC."""
    from datetime import timedelta

    from netsim.objects.codec import EPOCH

    return EPOCH + timedelta(seconds=host.now())


def http_date(host: Host) -> str:
    """An IMF-fixdate (RFC 9110, section 5.6.7)."""
    return wall_clock(host).strftime("%a, %d %b %Y %H:%M:%S GMT")
