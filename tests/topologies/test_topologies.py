"""Every topology of the repository passes its own checks, whatever the Pod network and kube-proxy's mode."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import netsim
from netsim.checks.report import run_checks
from netsim.cli.app import netsim as command
from netsim.objects.core import Service
from netsim.objects.topology import PROXY_MODES
from tests.conftest import Combination

FOLDER = Path(__file__).parents[2] / "topologies"
FILES = [str(path) for path in sorted(FOLDER.glob("*.yaml"))]
WITH_CHECKS = sorted(path.stem for path in FOLDER.glob("*.yaml") if "\n  checks:\n" in path.read_text())


def test_most_topologies_have_checks() -> None:
    others = {path.stem for path in FOLDER.glob("*.yaml")} - {*WITH_CHECKS}
    assert others == {"bare-deployment"}


def test_the_quickstart_lists_every_topology() -> None:
    page = (FOLDER.parent / "docs" / "quickstart.md").read_text()
    assert [path.name for path in FOLDER.glob("*.yaml") if f"| `{path.name}` |" not in page] == []


@pytest.mark.parametrize("name", WITH_CHECKS)
def test_a_topology_passes_its_checks(name: str, combination: Combination) -> None:
    with netsim.run(FOLDER / f"{name}.yaml", **combination._asdict()) as cluster:
        report = run_checks(cluster)
        failed = [(result.name, result.observed) for result in report.checks if not result.passed]
        assert (failed, cluster.failed_changes) == ([], [])
        modes = {check.name: check.modes or PROXY_MODES for check in cluster.topology.checks}
        made = [name for name, wanted in modes.items() if combination.proxy_mode in wanted]
        assert [result.name for result in report.checks] == made
        assert made


def test_a_bare_deployment_and_its_service_run_without_a_topology(combination: Combination) -> None:
    with netsim.run(FOLDER / "bare-deployment.yaml", **combination._asdict()) as cluster:
        assert cluster.findings() == []
        address = cluster.store.get(Service, "hello", "default").spec.cluster_ip
        for origin in (cluster.pod("deploy/hello"), cluster.node("node1"), cluster.node("control")):
            reply = cluster.pump(origin.get(f"http://{address}/"))
            assert "Welcome to nginx!" in reply.text


def test_all_of_them_run_in_one_command() -> None:
    result = CliRunner().invoke(command, ["run", *FILES])
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line for line in lines if line in FILES] == FILES
    assert lines[-1].startswith(f"{len(FILES)} files: ")
    assert "failed" not in lines[-1]


def test_a_run_is_the_same_alone_and_after_another() -> None:
    alone = CliRunner().invoke(command, ["run", FILES[-1]]).stdout
    together = CliRunner().invoke(command, ["run", FILES[-2], FILES[-1]]).stdout
    assert f"{FILES[-1]}\n{alone}\n" in together


def test_only_what_is_broken_on_purpose_looks_broken() -> None:
    for path in FILES:
        with netsim.run(path) as cluster:
            broken = path.endswith(("broken.yaml", "dns-loop.yaml"))
            assert bool(cluster.findings()) is broken, (path, cluster.findings())
