"""From a command's files and options to the cluster that it works on, and to what runs in its Pods."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from netsim.base.errors import UsageError
from netsim.cli.options import Overrides
from netsim.cli.outcome import warn
from netsim.cli.progress import working

if TYPE_CHECKING:
    from netsim.cluster import Cluster

T = TypeVar("T")
STDIN = "-"


def sources(files: Sequence[Path], command: str) -> list[str | Path]:
    """What ``-f`` names: files, directories, and ``-`` for the text on stdin; UsageError when nothing is."""
    if not files:
        raise UsageError(
            f"netsim {command}: which cluster? No file was given",
            hint=f"name its manifests with -f, as in: netsim {command} -f topologies/cross-namespace.yaml …",
        )
    return [sys.stdin.read() + "\n" if str(path) == STDIN else path for path in files]


@contextmanager
def opened(files: Sequence[Path], overrides: Overrides, command: str) -> Iterator[Cluster]:
    """The converged cluster of those files; what its files are warned of goes to stderr."""
    from netsim.cluster import run

    with working("starting the cluster"):
        session = run(*sources(files, command), seed=overrides.seed, strict=overrides.strict)
    with session as cluster:
        for problem in cluster.warnings:
            warn(problem)
        yield cluster


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

    ``aside``: our stdout is for something else, and all of the command's output goes to stderr.
    """
    stdin = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    host = cluster.find(pod, namespace)
    terminal = OurTerminal(sys.stderr if aside else sys.stdout)
    return finish(host.exec(argv, stdin=stdin, terminal=terminal)).exit


class OurTerminal:
    """A command's output on our own streams, at once, whatever bytes it sends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def stdout(self, text: str) -> None:
        _write(self._out, text)

    def stderr(self, text: str) -> None:
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    from netsim.programs.terminal import bytes_from_text

    stream.flush()
    stream.buffer.write(bytes_from_text(text))
    stream.buffer.flush()
