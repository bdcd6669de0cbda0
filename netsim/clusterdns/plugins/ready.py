"""ready: an HTTP endpoint that says when all plugins can serve.

``/ready`` answers OK, or 503 with the names of the plugins that are not ready. A plugin counts if its handler
has ``ready``; with ``until-ready``, the default, one that was ready once is asked no more. It is no part of
the chain. Source: coredns ``plugin/ready``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from netsim.clusterdns.chain import Handler, Page, PageText, Setup
from netsim.clusterdns.corefile import Controller

PORT = 8181
UNAVAILABLE = 503


@runtime_checkable
class Readiness(Protocol):
    """A handler that may not be able to serve yet."""

    def ready(self) -> bool: ...


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``ready [ADDRESS] { monitor until-ready|continuously }``."""
    c.next()
    port = c.listen_address(PORT)
    keep = False
    while c.next_in_block():
        if c.value != "monitor":
            raise c.error(f"unknown property '{c.value}'")
        word = c.one_argument()
        if word not in ("until-ready", "continuously"):
            raise c.error(f"monitor type '{word}' not supported")
        keep = word == "continuously"
    c.done()
    setup.pages.append(Page(port, "/ready", partial(_show, setup, keep)))
    setup.startup.append(partial(_find_plugins, setup))
    return ()


def _find_plugins(setup: Setup) -> None:
    for name, handlers in setup.block.handlers.items():
        for handler in handlers:
            if isinstance(handler, Readiness):
                setup.readiness[name] = handler.ready


def _show(setup: Setup, keep: bool) -> PageText:
    waiting = []
    for name, ready in sorted(setup.readiness.items()):
        if not ready():
            waiting.append(name)
        elif not keep:
            del setup.readiness[name]
    if not waiting:
        return PageText("OK")
    setup.process.log.info(f'plugin/ready: Plugins not ready: "{",".join(waiting)}"')
    return PageText(",".join(waiting), UNAVAILABLE)
