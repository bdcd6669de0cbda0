"""Several files at once: one cluster, or, when several have a Topology, one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call

TOPOLOGY = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {{name: {name}}}
spec: {{{more}checks: [{{from: client, connect: "web:80", expect: {{result: {result}}}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{containers: [{{name: c, image: ubuntu, tty: true, stdin: true}}]}}
"""
WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


def topology(name: str, result: str = "ok", more: str = "") -> str:
    return TOPOLOGY.format(name=name, result=result, more=more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two Topologies with their manifests; the current directory."""
    (tmp_path / "a.yaml").write_text(topology("a") + "---" + WEB)
    (tmp_path / "b.yaml").write_text(topology("b") + "---" + WEB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_file_with_a_topology_is_a_run(call: Call, folder: Path) -> None:
    result = call("run", "a.yaml", "b.yaml")
    assert result.stdout.splitlines() == [
        "a.yaml",
        "ok    connect web:80 from client",
        "1 of 1 checks passed (a, seed 1, converged at 1 s)",
        "",
        "b.yaml",
        "ok    connect web:80 from client",
        "1 of 1 checks passed (b, seed 1, converged at 1 s)",
        "",
        "2 files: 2 of 2 checks passed",
    ]
    assert result.exit_code == 0


def test_a_directory_is_its_files(call: Call, folder: Path) -> None:
    assert call("run", ".").stdout == call("run", "a.yaml", "b.yaml").stdout


def test_as_json_each_run_has_its_file(call: Call, folder: Path) -> None:
    document = json.loads(call("run", "--output", "json", "a.yaml", "b.yaml").stdout)
    assert (document["passed"], document["failed"]) == (2, 0)
    assert [(run["file"], run["topology"]) for run in document["runs"]] == [("a.yaml", "a"), ("b.yaml", "b")]


def test_the_worst_run_gives_the_exit_code_and_none_is_left_out(call: Call, folder: Path) -> None:
    (folder / "a.yaml").write_text(topology("a", "refused") + "---" + WEB)
    failed = call("run", "a.yaml", "b.yaml")
    assert failed.exit_code == 1
    assert failed.stdout.endswith("2 files: 1 of 2 checks passed, 1 failed\n")
    (folder / "a.yaml").write_text(topology("a", "okay") + "---" + WEB)
    wrong = call("run", "a.yaml", "b.yaml")
    assert wrong.exit_code == 2
    assert 'Unsupported value: "okay"' in wrong.stderr
    assert wrong.stdout.endswith("2 files: 1 of 1 checks passed, 1 could not be run\n")


def test_one_topology_and_manifests_are_one_cluster(call: Call, folder: Path) -> None:
    (folder / "a.yaml").write_text(topology("a"))
    (folder / "b.yaml").write_text(WEB)
    result = call("run", "a.yaml", "b.yaml")
    assert result.stdout.endswith("1 of 1 checks passed (a, seed 1, converged at 1 s)\n")


def test_a_file_that_a_topology_names_belongs_to_it(call: Call, folder: Path) -> None:
    (folder / "a.yaml").write_text(topology("a", more="manifests: [web.yaml], "))
    (folder / "web.yaml").write_text(WEB)
    result = call("run", "a.yaml", "b.yaml", "web.yaml")
    assert result.stdout.endswith("2 files: 2 of 2 checks passed\n")


def test_a_file_without_a_topology_that_none_names_is_a_run_too(call: Call, folder: Path) -> None:
    (folder / "web.yaml").write_text(WEB)
    result = call("run", "a.yaml", "b.yaml", "web.yaml")
    assert result.stdout.splitlines()[-6:] == [
        "web.yaml",
        "1 of 1 Pods ready, 1 Service",
        "nothing looks broken",
        "no checks (cluster, seed 1, converged at 1 s)",
        "",
        "3 files: 2 of 2 checks passed",
    ]


def test_a_capture_is_of_one_run(call: Call, folder: Path) -> None:
    result = call("run", "a.yaml", "b.yaml", "--capture", "out.pcapng")
    assert result.exit_code == 2
    assert "--capture keeps one run's packets, and these files are 2 runs" in result.stderr
    assert not (folder / "out.pcapng").exists()


def test_strict_counts_what_looks_broken_in_any_of_them(call: Call, folder: Path) -> None:
    (folder / "a.yaml").write_text(topology("a", "refused") + "---" + WEB.replace("nginx", "pause"))
    assert call("run", "a.yaml", "b.yaml").exit_code == 0
    assert call("run", "a.yaml", "b.yaml", "--strict").exit_code == 1


def test_validate_takes_them_apart_too(call: Call, folder: Path) -> None:
    assert call("validate", "a.yaml", "b.yaml").stdout == "6 objects: no mistakes\n"
    (folder / "a.yaml").write_text(topology("a", "okay"))
    (folder / "b.yaml").write_text(topology("b", "okey"))
    result = call("validate", "a.yaml", "b.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "error: 2 mistakes in the input; nothing was run"
