"""Plugins that set how the process runs, which makes no difference here: only checked.

``bind`` (the server is at all addresses of its Pod), ``cancel``, ``debug``, ``metadata`` (no plugin here
makes any), ``multisocket``. Sources: coredns ``plugin/bind``, ``cancel``, ``debug``, ``metadata``,
``multisocket``.
"""

from __future__ import annotations

from collections.abc import Sequence

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Handler, Setup
from netsim.clusterdns.corefile import Controller, duration, integer
from netsim.clusterdns.names import packed_address

INTERFACES = ("lo", "eth0")
"""The interfaces of a Pod, which ``bind`` may name."""

MAXIMUM_SOCKETS = 1024


def bind(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }``, as often as wanted."""
    while c.next():
        words = c.arguments()
        if not words:
            raise CorefileError("at least one address or interface name is expected")
        while c.next_in_block():
            if c.value != "except":
                raise CorefileError(f'invalid option "{c.value}"')
            excepted = c.arguments()
            if not excepted:
                raise CorefileError("at least one address or interface must be given to except subdirective")
            words += excepted
        for word in words:
            if word not in INTERFACES and packed_address(word) is None:
                raise CorefileError(f'not a valid IP address or interface name: "{word}"')
    return ()


def cancel(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``cancel [TIMEOUT]``."""
    while c.next():
        words = c.arguments()
        if len(words) > 1:
            raise c.argument_error()
        try:
            seconds = duration(words[0]) if words else 1.0
        except CorefileError:
            raise CorefileError(f'invalid duration: "{words[0]}"') from None
        if seconds <= 0:
            raise CorefileError(f'invalid negative duration: "{words[0]}"')
    return ()


def debug(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``debug``."""
    while c.next():
        if c.next_argument():
            raise c.argument_error()
    return ()


def metadata(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``metadata [ZONES...]``."""
    c.next()
    c.arguments()
    if c.next_in_block() or c.next():
        raise c.argument_error()
    return ()


def multisocket(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``multisocket [NUMBER]``."""
    c.next()
    words = c.arguments()
    if len(words) > 1 or c.next():
        raise c.argument_error()
    try:
        count = integer(words[0]) if words else 1
    except CorefileError as error:
        raise CorefileError(f"invalid num sockets: {error.message}") from None
    if count < 1:
        raise CorefileError(f"num sockets can not be zero or negative: {count}")
    if count > MAXIMUM_SOCKETS:
        raise CorefileError(f"num sockets exceeds maximum ({MAXIMUM_SOCKETS}): {count}")
    return ()
