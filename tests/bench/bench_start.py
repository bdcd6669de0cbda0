"""From the shell to the report: how long ``netsim run`` takes on the two-namespace file.

``make bench`` prints the medians. What is measured is wall time of the whole process, interpreter start
included; the first, which may have to compile, does not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOPOLOGY = ROOT / "topologies" / "cross-namespace.yaml"
RUNS = 10
LIMIT = 0.5  # seconds, for `netsim run`

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "netsim --version": ["-m", "netsim", "--version"],
    "netsim run": ["-m", "netsim", "run", str(TOPOLOGY)],
    "netsim trace": ["-m", "netsim", "trace", "-f", str(TOPOLOGY), "dev/jump", "ent.prod:8080"],
}


def times(arguments: list[str]) -> list[float]:
    """Seconds of each run."""
    # As for a user: compiled modules are kept between runs.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, check=True
        )
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


@pytest.mark.parametrize("name", COMMANDS)
def test_start_up(name: str) -> None:
    seconds = times(COMMANDS[name])
    taken = statistics.median(seconds)
    print(f"\n{name:<20} {taken * 1000:6.0f} ms (median of {RUNS}), best {min(seconds) * 1000:.0f} ms")
    if name == "netsim run":
        assert taken < LIMIT
