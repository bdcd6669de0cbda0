"""What every test may use: golden files, the ``needs`` marker, hypothesis profiles, and no real sleep.

* ``golden(name, text)`` compares text with ``golden/name`` beside the test file; ``--update-golden`` rewrites
  the files, so that the change is reviewed as a diff.
* ``@pytest.mark.needs("tshark", "root")`` skips the test, with the reason, where these are missing. What the
  environment variable NETSIM_REQUIRE names (a comma list, or ``all``) must be there: then it is a failure.
* ``combination`` runs a test under each Pod network and each mode of kube-proxy.
* Hypothesis runs the bounded, reproducible profile ``ci``; ``--hypothesis-profile deep`` searches further.
* Virtual time passes at once. A test, or netsim code under test, that sleeps in real time fails.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from netsim.objects.topology import NETWORKS, PROXY_MODES

Golden = Callable[[str, str], None]

settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=100,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", max_examples=5000, deadline=None, print_blob=True)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files with what was got")


class Combination(NamedTuple):
    """A Pod network and a mode of kube-proxy, as ``netsim.run`` takes them."""

    network: str
    proxy_mode: str


@pytest.fixture(
    params=[Combination(*pair) for pair in product(NETWORKS, PROXY_MODES)], ids="-".join, scope="session"
)
def combination(request: pytest.FixtureRequest) -> Combination:
    """Each Pod network with each mode of kube-proxy."""
    chosen: Combination = request.param
    return chosen


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare text with a golden file; see the module's docstring."""
    folder = request.path.parent / "golden"
    update = request.config.getoption("--update-golden")

    def check(name: str, text: str) -> None:
        path = folder / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"{path} does not exist; create it with --update-golden. Got:\n{text}", pytrace=False)
        wanted = path.read_text(encoding="utf-8")
        if text != wanted:
            pytest.fail(_difference(path, wanted, text), pytrace=False)

    return check


def _difference(path: Path, wanted: str, got: str) -> str:
    lines = difflib.unified_diff(
        wanted.splitlines(keepends=True), got.splitlines(keepends=True), f"{path} (golden)", "got"
    )
    diff = "".join(line if line.endswith("\n") else f"{line}\n\\ no newline at end\n" for line in lines)
    return f"{diff}\nIf the new text is right, run this test with --update-golden and review the diff."


def pytest_runtest_setup(item: pytest.Item) -> None:
    needed = [what for marker in item.iter_markers("needs") for what in marker.args]
    missing = [what for what in needed if not _available(what)]
    if not missing:
        return
    required = os.environ.get("NETSIM_REQUIRE", "").split(",")
    insisted = [what for what in missing if what in required or "all" in required]
    if insisted:
        pytest.fail(f"NETSIM_REQUIRE asks for {', '.join(insisted)}, not available here", pytrace=False)
    pytest.skip(f"needs {', '.join(missing)}")


@functools.cache
def _available(what: str) -> bool:
    if what == "root":
        return os.geteuid() == 0
    if what == "netns":
        return _succeeds("unshare", "--net", "true")
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return shutil.which(what, path=path) is not None


def _succeeds(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _guarded(sleep: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(sleep)
    def guard(delay: float, *rest: object) -> object:
        caller = str(sys._getframe(1).f_globals.get("__file__", ""))
        if delay > 0 and caller.startswith(OURS):
            raise AssertionError(f"{caller} sleeps {delay} s in real time; use the host's virtual clock")
        return sleep(delay, *rest)

    return guard


ROOT = Path(__file__).resolve().parent.parent
OURS = (str(ROOT / "netsim"), str(ROOT / "tests"))
time.sleep = _guarded(time.sleep)  # type: ignore[assignment]  # for the whole session: nothing puts it back
asyncio.sleep = _guarded(asyncio.sleep)  # type: ignore[assignment]
