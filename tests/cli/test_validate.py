"""``netsim validate`` reports every mistake and runs nothing."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import TWO_NAMESPACES, Call


def test_a_right_file_is_counted(call: Call) -> None:
    result = call("validate", TWO_NAMESPACES)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "7 objects: no mistakes\n", "")


def test_json_counts_too(call: Call) -> None:
    result = call("validate", TWO_NAMESPACES, "-o", "json")
    assert json.loads(result.stdout) == {"objects": 7, "foreign": 0, "warnings": []}


def test_all_mistakes_of_all_files_come_at_once(call: Call, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("apiVersion: v1\nkind: Deployment\nmetadata: {name: x}\n", encoding="utf-8")
    second.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: X}\nspec: {}\n", encoding="utf-8")
    result = call("validate", first, second)
    assert (result.exit_code, result.stdout) == (2, "")
    assert 'no matches for kind "Deployment" in version "v1"' in result.stderr
    assert result.stderr.index(str(first)) < result.stderr.index(str(second))
    assert "mistakes in the input; nothing was run" in result.stderr.splitlines()[-1]


def test_a_missing_file_is_named(call: Call) -> None:
    result = call("validate", "nosuch.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no such file: nosuch.yaml\n")


def test_the_text_may_come_on_stdin(call: Call) -> None:
    result = call("validate", "-", input="apiVersion: v1\nkind: Namespace\nmetadata: {name: dev}\n")
    assert (result.exit_code, result.stdout) == (0, "1 object: no mistakes\n")
