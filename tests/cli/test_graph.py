"""``netsim graph`` draws the cluster into the terminal or a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from netsim.cli.app import netsim
from netsim.cli.graph import FORMATS as WORDS
from netsim.cli.graph import SUFFIXES, VIEWS, printable
from netsim.cluster.graph import FORMATS, View
from tests.cli.conftest import TWO_NAMESPACES, Call

FILE = ("-f", TWO_NAMESPACES)
ROOT = Path(__file__).parents[2]


def test_a_tree_is_what_is_printed_unasked(call: Call) -> None:
    lines = call("graph", *FILE).stdout.splitlines()
    assert lines[0].startswith("cross-namespace · Pods 10.244.0.0/16 over ")
    assert "   ├─ node node1    192.168.10.11  Pods 10.244.1.0/24" in lines
    assert any(line.startswith("└─ prod/ent  ") and "ClusterIP" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.svg", "<svg "), ("a.dot", "digraph "), ("a.gv", "digraph "), ("a.mmd", "---"), ("a.json", "{"),
     ("a.txt", "cross-namespace"), ("a", "cross-namespace")],
)  # fmt: skip
def test_the_file_s_name_says_the_format(call: Call, tmp_path: Path, name: str, start: str) -> None:
    result = call("graph", *FILE, "-o", tmp_path / name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_a_format_goes_before_the_file_s_name(call: Call, tmp_path: Path) -> None:
    call("graph", *FILE, "--format", "mermaid", "-o", tmp_path / "README.part")
    assert "flowchart LR" in (tmp_path / "README.part").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("shop.png", "graphviz does: netsim graph … --format dot | dot -Tpng -o "),
        ("shop.svgg", "it draws .txt, .mmd, .mermaid, .dot, .gv, .svg, .json; for another suffix"),
    ],
)
def test_a_suffix_that_netsim_does_not_draw_is_refused(
    call: Call, tmp_path: Path, name: str, hint: str
) -> None:
    result = call("graph", *FILE, "-o", tmp_path / name)
    assert result.exit_code == 2
    assert f"netsim draws no .{name.partition('.')[2]}\n  hint: {hint}" in result.stderr
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("option", ["-o", "--format"])
def test_output_may_be_a_format_as_on_other_commands(call: Call, option: str) -> None:
    document = json.loads(call("graph", *FILE, option, "json").stdout)
    assert document["name"] == "cross-namespace"


def test_a_view_and_namespaces_leave_out_the_rest(call: Call) -> None:
    text = call("graph", *FILE, "--view", "services", "-n", "prod", "-n", "dev").stdout
    assert "router" not in text
    assert "kube-system" not in text
    assert "├─ dev/ent" in text
    assert "└─ prod/ent" in text
    assert "services" not in call("graph", *FILE, "--view", "network").stdout


def test_only_a_terminal_gets_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    arguments = ["graph", "-f", str(TWO_NAMESPACES)]
    netsim.main(arguments, standalone_mode=False)
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    netsim.main(arguments, standalone_mode=False)
    assert "\x1b[1mservices\x1b[0m\n" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    netsim.main(arguments, standalone_mode=False)
    assert "\x1b" not in capsys.readouterr().out


def test_a_terminal_without_the_characters_gets_ascii() -> None:
    assert printable("├─ web → 10.0.0.1", "ascii") == "|- web > 10.0.0.1"
    assert printable("├─ web", "utf-8") == "├─ web"
    assert printable("├─ web", "no-such-encoding") == "|- web"


@pytest.mark.parametrize(
    ("typed", "hint"), [("prd", "did you mean prod?"), ("x", "the namespaces are default, dev, ")]
)
def test_an_unknown_namespace_is_answered_with_what_is_near(call: Call, typed: str, hint: str) -> None:
    result = call("graph", *FILE, "-n", typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: there is no namespace {typed}\n  hint: {hint}")


def test_the_picture_in_the_readme_is_what_its_command_draws(call: Call) -> None:
    """Apart from addresses and names that chance gives."""
    now = call("graph", *FILE, "-n", "dev", "-n", "prod", "-o", "svg").stdout
    shown = (ROOT / "docs" / "cross-namespace.svg").read_text(encoding="utf-8")
    assert texts(shown) == texts(now), (
        "run: netsim graph -f topologies/cross-namespace.yaml -n dev -n prod -o docs/cross-namespace.svg"
    )
    assert shown.count("<polyline") == now.count("<polyline") > 10


def texts(picture: str) -> list[str]:
    given = re.compile(r"10\.96\.\d+\.\d+|(?<=enterprise)-\w+-\w{5}")
    return sorted(given.sub("…", text) for text in re.findall(r"<text [^>]*>([^<]*)", picture))


def test_a_file_that_cannot_be_written_is_named(call: Call, tmp_path: Path) -> None:
    result = call("graph", *FILE, "-o", tmp_path / "none" / "a.svg")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {tmp_path / 'none' / 'a.svg'}: No such file or directory\n",
    )


def test_the_command_s_words_are_those_of_the_pictures() -> None:
    assert WORDS == FORMATS
    assert set(SUFFIXES.values()) == set(FORMATS)
    assert list(VIEWS) == [view.value for view in View]
