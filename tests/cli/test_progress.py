"""A sign of life where somebody watches, and silence everywhere else."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from netsim.cli import progress


class Watched(io.StringIO):
    """A terminal that tells when a text appears on it."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.wanted = wanted
        self.seen = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.wanted in self.getvalue():
            self.seen.set()
        return written


def test_long_work_shows_what_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Watched("starting the cluster")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.working("starting the cluster"):
        assert terminal.seen.wait(30)


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Watched("starting the cluster")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    with progress.working("starting the cluster"):
        pass
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.working("starting the cluster"):
        pass
    assert pipe.getvalue() == ""
