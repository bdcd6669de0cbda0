"""``netsim exec`` runs a command in a Pod, and behaves as that command."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import pytest

from netsim.cli.outcome import StreamLost
from netsim.cli.session import OurTerminal, Pace
from tests.cli.conftest import TWO_NAMESPACES, Call
from tests.conftest import ROOT

FILE = ("-f", TWO_NAMESPACES)


def test_a_command_prints_in_a_pod(call: Call) -> None:
    result = call("exec", *FILE, "dev/jump", "--", "hostname")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "jump\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        (*FILE, "dev/jump", "--", "hostname"),
        ("dev/jump", *FILE, "--", "hostname"),
        ("jump", "-n", "dev", *FILE, "--", "hostname"),
        (*FILE, "pod/jump", "-n", "dev", "--", "hostname"),
        (*FILE, "dev/jump", "hostname"),
    ],
)
def test_kubectls_ways_to_name_a_pod_and_a_command(call: Call, arguments: tuple[object, ...]) -> None:
    assert call("exec", *arguments).stdout == "jump\n"


def test_one_pod_of_a_deployment(call: Call) -> None:
    result = call("exec", *FILE, "deploy/enterprise", "-n", "prod", "--", "hostname")
    assert result.stdout.startswith("enterprise-")


def test_options_behind_the_dashes_are_the_commands(call: Call) -> None:
    result = call("exec", *FILE, "dev/jump", "--", "sh", "-c", "echo -n --seed 7")
    assert (result.exit_code, result.stdout) == (0, "--seed 7")


def test_the_exit_code_and_stderr_are_the_commands(call: Call) -> None:
    result = call("exec", *FILE, "dev/jump", "--", "sh", "-c", "echo no >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "no\n")


def test_an_unknown_command_is_127_as_in_a_shell(call: Call) -> None:
    result = call("exec", *FILE, "dev/jump", "--", "nosuch")
    assert result.exit_code == 127
    assert "nosuch" in result.stderr
    assert "hint: netsim has these commands: " in result.stderr
    assert "nslookup" in result.stderr.split()
    wrong = call("exec", *FILE, "dev/jump", "--", "sh", "-c", "exit 127")
    assert (wrong.exit_code, wrong.stderr) == (127, "")


def test_kubectls_options_may_stay(call: Call) -> None:
    result = call("exec", "-it", *FILE, "dev/jump", "-c", "jump", "--", "cat", input="one\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "one\n", "")


def test_a_container_must_be_one_of_the_pod(call: Call) -> None:
    result = call("exec", *FILE, "dev/jump", "-c", "nosuch", "--", "hostname")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: container nosuch is not valid for pod dev/jump\n  hint: it has ")


def test_stdin_is_the_commands(call: Call) -> None:
    assert call("exec", *FILE, "dev/jump", "--", "cat", input="one\ntwo\n").stdout == "one\ntwo\n"


def test_a_misspelt_pod_is_answered_with_what_is_near(call: Call) -> None:
    result = call("exec", *FILE, "dev/jmp", "--", "hostname")
    assert result.exit_code == 2
    assert result.stderr == 'error: pods "jmp" not found in namespace dev\n  hint: did you mean dev/jump?\n'


@pytest.mark.parametrize(
    ("where", "tool", "command"),
    [
        ("node/node1", "iptables-save", "netsim show iptables --node node1"),
        ("node/node1", "ipvsadm", "netsim show ipvs --node node1"),
        ("dev/jump", "conntrack", "netsim show conntrack"),
        ("node/control", "kubectl", "netsim show pods"),
    ],
)
def test_a_tool_whose_table_is_shown_otherwise(call: Call, where: str, tool: str, command: str) -> None:
    result = call("exec", *FILE, where, "--", tool, "-L")
    assert result.exit_code == 127
    assert result.stderr.endswith(f"\n  hint: {command} prints what it would\n")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("node1", "the node of that name is node/node1"),
     ("router", "netsim show routes --node router shows its table"),
     ("www.example.com", "the host outside is external/www.example.com")],
)  # fmt: skip
def test_a_host_that_is_no_pod_is_answered_with_how_it_is_written(call: Call, name: str, hint: str) -> None:
    result = call("exec", *FILE, name, "--", "hostname")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"\n  hint: {hint}\n")


def test_a_command_that_never_ends_is_given_up_with_the_exit_code_of_timeout(call: Call) -> None:
    result = call("exec", *FILE, "dev/jump", "--", "sleep", "infinity")
    assert result.exit_code == 124
    assert result.stderr.startswith(
        "error: gave up: it still runs, and nothing in the simulation will ever wake it\n"
        "  hint: give it an end (timeout 60 …"
    )
    result = call("exec", *FILE, "dev/jump", "--", "sleep", "90000")
    assert result.exit_code == 124
    assert result.stderr.startswith("error: gave up: it still runs, and a virtual day has passed\n")


@pytest.mark.parametrize("command", ["ping ent", "while true; do curl -s ent:8080; sleep 1; done"])
def test_a_command_without_end_ends_with_the_reader_of_its_output(command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "netsim", "exec", *map(str, FILE), "dev/jump", "--", "sh", "-c", command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


class _FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_error_of_our_own_terminal_is_not_the_programs() -> None:
    terminal = OurTerminal(io.TextIOWrapper(_FullDisk()))
    with pytest.raises(StreamLost) as lost:
        terminal.stdout("x")
    assert not isinstance(lost.value, OSError)
    assert lost.value.error.errno == errno.ENOSPC


class Clock:
    """Virtual time, and the real pauses that were made."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.slept: list[float] = []


def test_at_a_terminal_output_comes_as_virtual_time_passes() -> None:
    written_at = iter([0.0, 0.0, 0.5, 1.0, 1.5, 2.5, 2.5, 90.0, 90.5])
    clock = Clock(next(written_at))
    pace = Pace(lambda: clock.now, clock.slept.append)
    for clock.now in written_at:
        pace.keep()
    assert clock.slept == [0.5, 1.0, 1.0, 0.5]


def test_without_a_file_the_error_says_which_option_to_give(call: Call) -> None:
    result = call("exec", "dev/jump", "--", "hostname")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: netsim exec: which cluster? No file was given\n")
    assert "-f topologies/cross-namespace.yaml" in result.stderr


def test_manifests_may_come_on_stdin(call: Call) -> None:
    text = TWO_NAMESPACES.read_text(encoding="utf-8")
    result = call("exec", "-f", "-", "dev/jump", "--", "hostname", input=text)
    assert (result.exit_code, result.stdout) == (0, "jump\n")
