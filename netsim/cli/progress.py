"""A sign of life on stderr when work takes long, where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

PATIENCE = 1.0  # seconds before anything is shown: most runs are over by then
REFRESH = 0.2  # seconds between two looks at what the body says


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner beside ``what`` while the body runs, from one second on; silent without a terminal.

    The body gets a function that takes another text for it.
    """
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    import threading

    done = threading.Event()
    said = [what]
    watcher = threading.Thread(target=_spin, args=(said, done), daemon=True)
    watcher.start()
    try:
        yield said.append
    finally:
        done.set()
        watcher.join()


def _spin(said: Sequence[str], done: Event) -> None:
    if done.wait(PATIENCE):
        return
    from rich.console import Console

    with Console(stderr=True).status(said[-1]) as status:
        while not done.wait(REFRESH):
            status.update(said[-1])
