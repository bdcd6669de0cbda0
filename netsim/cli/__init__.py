"""The command ``netsim``: options, help, reports on a terminal. It decides nothing about networks.

``app`` holds the one list of commands, each in a module of its own that is imported when it is called;
``options`` holds what they share; ``outcome`` turns errors into messages and exit codes. Start-up is
precious: modules here import click and nothing else that is slow, and a command imports what it needs in
its body.
"""

from __future__ import annotations

import sys
import time

STARTED = time.perf_counter()  # before the slow imports: what `run` says it took


def main() -> None:
    """The console script's entry."""
    try:
        from netsim.cli.app import netsim

        netsim.main(prog_name="netsim")
    except KeyboardInterrupt:  # before a command could see it
        sys.exit(130)
