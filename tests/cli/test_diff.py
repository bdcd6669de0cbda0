"""``netsim diff``: two clusters side by side, their differences in words, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import TWO_NAMESPACES, Call
from tests.conftest import Golden


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The two namespaces, where nothing is selected by the Service in prod any more."""
    path = tmp_path / "changed.yaml"
    head, separator, tail = TWO_NAMESPACES.read_text().rpartition("  selector:\n    app: enterprise\n")
    assert separator
    path.write_text(f"{head}  selector:\n    app: enterprize\n{tail}")
    return path


def test_two_modes_of_one_file(call: Call, golden: Golden) -> None:
    result = call("diff", "-f", TWO_NAMESPACES, "--proxy-mode", "iptables,ipvs")
    assert (result.exit_code, result.stderr) == (1, "")
    golden("diff-proxy-modes.txt", result.stdout)


def test_its_help_says_what_an_option_takes(call: Call) -> None:
    shown = call("diff", "--help")
    assert shown.exit_code == 0
    assert "--network overlay|bgp[,…]" in shown.stdout


def test_two_files(call: Call, golden: Golden, changed: Path) -> None:
    result = call("diff", "-f", TWO_NAMESPACES, "-f", changed, "--client", "dev/*", "--to", "prod/ent")
    assert (result.exit_code, result.stderr) == (1, "")
    text = result.stdout.replace(str(TWO_NAMESPACES), "cross-namespace.yaml").replace(
        str(changed), "changed.yaml"
    )
    golden("diff-files.txt", text)


def test_two_networks_go_with_two_modes(call: Call) -> None:
    result = call("diff", "-f", TWO_NAMESPACES, "--network", "overlay,bgp", "--proxy-mode", "iptables,ipvs")
    assert result.stdout.splitlines()[0] == "overlay iptables -> bgp ipvs"
    assert result.exit_code == 1


def test_what_is_alike_exits_0(call: Call, tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text(TWO_NAMESPACES.read_text())
    result = call("diff", "-f", TWO_NAMESPACES, "-f", copy, "--to", "prod/ent")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "pairs are alike (11 clients, 4 destinations)" in result.stdout.splitlines()[-1]


def test_json_names_every_pair(call: Call, changed: Path) -> None:
    result = call("diff", "-f", TWO_NAMESPACES, "-f", changed, "--to", "prod/ent", "-o", "json")
    [comparison] = json.loads(result.stdout)["comparisons"]
    assert (result.exit_code, comparison["alike"]) == (1, False)
    [difference] = comparison["differences"]
    assert difference["aspects"] == [
        {"aspect": "result", "before": "ok", "after": "refused by ICMP", "where": None}
    ]
    between = {
        (client, to["kind"], to["of"])
        for block in difference["between"]
        for client in block["clients"]
        for to in block["destinations"]
    }
    assert len(between) == difference["pairs"] == comparison["differing"]
    assert ("node/control", "cluster-ip", "prod/ent:8080") in between
    assert "has no endpoints" in difference["why"]["after"][0]


MISUSES = {
    "nothing": [],
    "one file": ["-f", "{a}"],
    "three files": ["-f", "{a}", "-f", "{b}", "-f", "{c}"],
    "one file twice": ["-f", "{a}", "-f", "{a}"],
    "two networks, three modes": [
        "-f", "{a}", "--network", "overlay,bgp", "--proxy-mode", "iptables,ipvs,nftables",
    ],
    "misspelt mode": ["-f", "{a}", "--proxy-mode", "iptables,ipsv"],
    "one mode twice": ["-f", "{a}", "--proxy-mode", "ipvs,ipvs"],
    "two files, two modes": ["-f", "{a}", "-f", "{b}", "--proxy-mode", "iptables,ipvs"],
    "unknown client": ["-f", "{a}", "--proxy-mode", "iptables,ipvs", "--client", "dev/jmup"],
    "unknown destination": ["-f", "{a}", "--proxy-mode", "iptables,ipvs", "--to", "prod/ant"],
}  # fmt: skip


def test_what_is_called_wrongly(call: Call, golden: Golden, tmp_path: Path) -> None:
    text = []
    for name, arguments in MISUSES.items():
        paths = {letter: tmp_path / f"{letter}.yaml" for letter in "abc"}
        for path in paths.values():
            path.write_text(TWO_NAMESPACES.read_text())
        result = call("diff", *(argument.format(**paths) for argument in arguments))
        assert (result.exit_code, result.stdout) == (2, ""), name
        text.append(f"# {name}\n{result.stderr.replace(f'{tmp_path}/', '')}")
    golden("diff-misuses.txt", "\n".join(text))
