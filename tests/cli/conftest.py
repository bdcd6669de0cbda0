"""The command line, called in this process: fast, with exit code, stdout and stderr apart."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netsim.cli.app import netsim

Call = Callable[..., Result]


def heeds_ctrl_c() -> None:
    """For ``preexec_fn``: a shell starts what runs in the background with SIGINT ignored, and that is
    inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


TWO_NAMESPACES = Path(__file__).parents[2] / "topologies" / "cross-namespace.yaml"


@pytest.fixture
def call() -> Call:
    """``call("run", path, input="…")`` is the command ``netsim run path`` with that stdin."""

    def caller(*arguments: object, input: str = "") -> Result:
        return CliRunner().invoke(
            netsim, [str(argument) for argument in arguments], input, prog_name="netsim"
        )

    return caller
