"""``netsim exec`` runs a command in a Pod, and behaves as that command."""

from __future__ import annotations

import pytest

from tests.cli.conftest import TWO_NAMESPACES, Call

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


def test_stdin_is_the_commands(call: Call) -> None:
    assert call("exec", *FILE, "dev/jump", "--", "cat", input="one\ntwo\n").stdout == "one\ntwo\n"


def test_a_misspelt_pod_is_answered_with_what_is_near(call: Call) -> None:
    result = call("exec", *FILE, "dev/jmp", "--", "hostname")
    assert result.exit_code == 2
    assert result.stderr == 'error: pods "jmp" not found in namespace dev\n  hint: did you mean dev/jump?\n'


def test_without_a_file_the_error_says_which_option_to_give(call: Call) -> None:
    result = call("exec", "dev/jump", "--", "hostname")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: netsim exec: which cluster? No file was given\n")
    assert "-f topologies/cross-namespace.yaml" in result.stderr


def test_manifests_may_come_on_stdin(call: Call) -> None:
    text = TWO_NAMESPACES.read_text(encoding="utf-8")
    result = call("exec", "-f", "-", "dev/jump", "--", "hostname", input=text)
    assert (result.exit_code, result.stdout) == (0, "jump\n")
