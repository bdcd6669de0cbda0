"""Tab completes commands and Pods; ``--install-completion`` teaches that to a shell."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from netsim.cli.app import netsim
from netsim.cli.completion import VARIABLE
from tests.cli.conftest import TWO_NAMESPACES, Call


def completed(*words: str) -> list[str]:
    """What Tab offers for the last word."""
    *before, incomplete = words
    items = ShellComplete(netsim, {}, "netsim", VARIABLE).get_completions(list(before), incomplete)
    return [item.value for item in items]


def test_commands() -> None:
    assert completed("") == ["run", "trace", "exec", "show", "diff", "graph", "dns", "capture", "validate"]
    assert completed("capture", "s") == ["show"]
    assert completed("show", "ro") == ["routes", "routes6"]


def test_pods_and_deployments_of_the_file() -> None:
    file = str(TWO_NAMESPACES)
    assert completed("exec", "-f", file, "") == [
        "deploy/dev/enterprise",
        "deploy/prod/enterprise",
        "dev/jump",
    ]
    assert completed("trace", "-f", file, "dev/") == ["dev/jump"]


def test_namespaces_and_formats() -> None:
    file = str(TWO_NAMESPACES)
    assert completed("graph", "-f", file, "-n", "") == ["default", "dev", "kube-system", "prod"]
    assert completed("trace", "-f", file, "-n", "p") == ["prod"]
    assert completed("show", "svc", "-f", file, "") == ["dev/ent", "prod/ent"]
    assert completed("show", "-f", file, "ns", "p") == ["prod"]
    assert completed("show", "al") == ["all"]
    assert completed("show", "routes", "-f", file, "--node", "") == ["control", "node1", "node2"]
    assert completed("graph", "--format", "") == ["text", "mermaid", "dot", "svg", "json"]


def test_a_wrong_file_completes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("kind: [", encoding="utf-8")
    assert completed("exec", "-f", str(path), "d") == []
    assert completed("graph", "-f", str(path), "-n", "d") == []
    assert completed("exec", "-f", str(tmp_path / "missing.yaml"), "d") == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_installing_twice_is_installing_once(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    (tmp_path / f".{shell}rc").write_text("alias k=kubectl", encoding="utf-8")
    for _ in range(2):
        result = call("--install-completion")
        assert (result.exit_code, result.stderr) == (0, "")
    script = tmp_path / ".config" / "netsim" / f"completion.{shell}"
    assert VARIABLE in script.read_text(encoding="utf-8")
    assert (tmp_path / f".{shell}rc").read_text(encoding="utf-8") == f"alias k=kubectl\nsource {script}\n"


def test_fish_reads_its_file_by_itself(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert call("--install-completion").exit_code == 0
    assert VARIABLE in (tmp_path / "fish" / "completions" / "netsim.fish").read_text(encoding="utf-8")


def test_another_shell_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/dash")
    result = call("--install-completion")
    assert result.exit_code == 2
    assert "no completion for the shell 'dash'" in result.stderr
