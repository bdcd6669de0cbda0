"""The command ``netsim``: options, help, reports on a terminal. It decides nothing about networks.

``app`` holds the one list of commands, each in a module of its own that is imported when it is called;
``options`` holds what they share; ``outcome`` turns errors into messages and exit codes. Start-up is
precious: modules here import click and nothing else that is slow, and a command imports what it needs in
its body.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import time
from typing import NoReturn

STARTED = time.perf_counter()  # before the slow imports: what `run` says it took
READABLE = "netsim.readable"  # the name of our way with characters that a terminal's encoding lacks
PLAIN = {"→": "->", "…": "...", "–": "-"}


def main() -> NoReturn:
    """The console script's entry.

    The process ends without taking the cluster apart object by object, which would be a tenth of a run: what
    was open is closed, and what was written is flushed.
    """
    code = 0
    try:
        _run()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _run() -> None:
    codecs.register_error(READABLE, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)
    try:
        from netsim.cli.app import netsim

        netsim.main(prog_name="netsim")
    except KeyboardInterrupt:  # before a command could see it
        sys.exit(130)


def _readable(error: UnicodeError) -> tuple[str | bytes, int]:
    """What to print instead of characters that the encoding lacks; undecodable bytes stay what they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return PLAIN.get(character, "?"), error.start + 1
