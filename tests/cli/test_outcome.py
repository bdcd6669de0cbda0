"""Whatever goes wrong, a user sees a sentence and a shell sees the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netsim.base.errors import ManifestError, Problem, Source, UsageError
from netsim.cli import outcome
from tests.cli.conftest import TWO_NAMESPACES, Call, heeds_ctrl_c
from tests.conftest import ROOT


def code_of(error: BaseException) -> int:
    with pytest.raises(SystemExit) as exit_, outcome.reported():
        raise error
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_a_wrong_call_is_one_line_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(UsageError("no Pod jmup in namespace dev", hint="did you mean jump?")) == 2
    assert capsys.readouterr() == ("", "error: no Pod jmup in namespace dev\n  hint: did you mean jump?\n")


def test_every_mistake_of_the_files_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        Problem(Source("shop.yaml", 3, 5), 'unknown field "replica"', hint="did you mean replicas?"),
        Problem(Source("shop.yaml", 9, 1), "Service dev/ent is defined twice"),
    ]
    assert code_of(ManifestError(problems)) == 2
    assert capsys.readouterr().err == (
        'shop.yaml:3:5: unknown field "replica"\n'
        "  hint: did you mean replicas?\n"
        "shop.yaml:9:1: Service dev/ent is defined twice\n"
        "error: 2 mistakes in the input; nothing was run\n"
    )


def test_a_file_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.pcapng"
    with pytest.raises(SystemExit) as exit_, outcome.reported():
        path.write_bytes(b"")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: {path}: No such file or directory\n"


def test_a_bug_shows_the_traceback_and_asks_for_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(ZeroDivisionError("division by zero")) == 70
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last):")
    assert "error: this is a bug in netsim 0.1.0 (Python 3." in error


def test_ctrl_c_is_130_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_colours_need_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert outcome.mark("no", "red", stream=Terminal()) == "\x1b[31mno\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert outcome.mark("no", "red", stream=Terminal()) == "no"
    monkeypatch.delenv("NO_COLOR")
    assert outcome.mark("no", "red", stream=object()) == "no"


def test_an_unknown_command_is_wrong_input(call: Call) -> None:
    result = call("rnu")
    assert result.exit_code == 2
    assert "No such command 'rnu'" in result.stderr


def test_the_version(call: Call) -> None:
    assert call("--version").stdout == "netsim 0.1.0\n"


def test_a_reader_that_goes_away_ends_us_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    program = "from netsim.cli.outcome import *\nwith reported(): print('line\\n' * 100_000)"
    process = subprocess.run(
        [sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, "")


def test_ctrl_c_stops_a_command_that_would_go_on() -> None:
    command = [
        sys.executable,
        "-m",
        "netsim",
        "exec",
        "-f",
        str(TWO_NAMESPACES),
        "dev/jump",
        "--",
        "ping",
        "ent",
    ]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_ctrl_c,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("PING ent")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert (process.returncode, error) == (130, "")
