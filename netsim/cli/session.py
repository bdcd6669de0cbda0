"""From a command's files and options to the cluster that it works on, and to what runs in its Pods."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from netsim.base.errors import GaveUp, UsageError
from netsim.cli.options import Overrides
from netsim.cli.outcome import GAVE_UP, StreamLost, complain, warn
from netsim.cli.progress import working

if TYPE_CHECKING:
    from netsim.cluster import Cluster

T = TypeVar("T")
STDIN = "-"
UNPACED = 1.0
"""Virtual seconds of a command that cost a user at a terminal no time."""
LONGEST_PAUSE = 1.0
"""Real seconds between two pieces of output at a terminal, however long the command waits."""


def sources(files: Sequence[Path], command: str) -> list[str | Path]:
    """What ``-f`` names: files, directories, and ``-`` for the text on stdin; UsageError when nothing is."""
    if not files:
        raise UsageError(
            f"netsim {command}: which cluster? No file was given",
            hint=f"name its manifests with -f, as in: netsim {command} -f topologies/cross-namespace.yaml …",
        )
    return [sys.stdin.read() + "\n" if str(path) == STDIN else path for path in files]


def runs(files: Sequence[Path]) -> list[tuple[Path, ...]]:
    """The files of each cluster: one, unless several files have a Topology (``objects.runs``)."""
    one_file = len(files) == 1 and not files[0].is_dir()
    if one_file or STDIN in map(str, files):
        return [tuple(files)]
    from netsim.objects.runs import runs_of

    return runs_of(files)


@contextmanager
def opened(
    files: Sequence[Path], overrides: Overrides, command: str, *, capture: bool = False
) -> Iterator[Cluster]:
    """The converged cluster of those files; what its files are warned of goes to stderr."""
    from netsim.cluster import run

    with working("starting the cluster"), _nothing_is_garbage():
        session = run(
            *sources(files, command),
            seed=overrides.seed,
            strict=overrides.strict,
            network=overrides.network,
            proxy_mode=overrides.proxy_mode,
            capture=capture,
        )
    with session as cluster:
        for problem in cluster.warnings:
            warn(problem)
        yield cluster


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Let the garbage collector rest while the body builds what stays to the end of the command, and never
    look at that: with 1,000 Pods it would be a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def finish(call: Coroutine[Any, Any, T]) -> T:
    """The result of one call of the public API: its coroutines pump virtual time and never wait."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the call waits for an event loop")


def run_in_pod(
    cluster: Cluster, pod: str, namespace: str, argv: Sequence[str], *, aside: bool = False
) -> int:
    """Run a command in a Pod on our stdin and stdout; returns its exit code.

    At a terminal its output is paced (``Pace``), so that a command without end can be followed and stopped
    with Ctrl-C; elsewhere virtual time passes as fast as it can. It is given up after a virtual day, or when
    nothing can happen any more: then the exit code is GAVE_UP, and stderr says why.
    ``aside``: our stdout is for something else, and all of the command's output goes to stderr.
    """
    stdin = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    host = cluster.find(pod, namespace)
    out = sys.stderr if aside else sys.stdout
    pace = Pace(lambda: cluster.now, time.sleep) if out.isatty() else None
    terminal = OurTerminal(out, pace)
    try:
        return finish(host.exec(argv, stdin=stdin, terminal=terminal)).exit
    except GaveUp as error:
        complain(str(error))
        return GAVE_UP


class Pace:
    """Lets real time pass between pieces of output as virtual time did: ping prints a line a second.

    The first virtual second of a command costs nothing, and no pause is longer than a second: who looks up
    a name or waits for a timeout has the answer at once.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._now = now
        self._sleep = sleep
        self._shown = now() + UNPACED  # the virtual time up to which the user has waited

    def keep(self) -> None:
        """Called before each piece of output."""
        pause = self._now() - self._shown
        if pause > 0:
            self._shown = self._now()
            self._sleep(min(pause, LONGEST_PAUSE))


class OurTerminal:
    """A command's output on our own streams, at once or at a ``pace``, whatever bytes it sends.

    Raises StreamLost when a stream takes no more.
    """

    def __init__(self, out: TextIO, pace: Pace | None = None) -> None:
        self._out = out
        self._pace = pace

    def stdout(self, text: str) -> None:
        self._write(self._out, text)

    def stderr(self, text: str) -> None:
        self._write(sys.stderr, text)

    def _write(self, stream: TextIO, text: str) -> None:
        from netsim.programs.terminal import bytes_from_text

        if self._pace is not None:
            self._pace.keep()
        try:
            stream.flush()
            stream.buffer.write(bytes_from_text(text))
            stream.buffer.flush()
        except OSError as error:
            raise StreamLost(error) from error
