"""A sign of life on stderr when work takes long, where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

PATIENCE = 1.0  # seconds before anything is shown: most runs are over by then


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner beside ``what`` while the body runs, from one second on; silent without a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    import threading

    done = threading.Event()
    watcher = threading.Thread(target=_spin, args=(what, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _spin(what: str, done: Event) -> None:
    if done.wait(PATIENCE):
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        done.wait()
