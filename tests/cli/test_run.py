"""``netsim run``: the report, the exit codes, the capture, and the same bytes every time."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import netsim
from netsim.capture.pcapng import parse_pcapng, read_pcapng
from netsim.checks.report import Report, run_checks
from netsim.cli.run import suggest
from netsim.cluster import Cluster
from tests.cli.conftest import TWO_NAMESPACES, Call
from tests.conftest import ROOT, Golden

WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: web, image: nginx}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers: [{name: client, image: ubuntu, command: [sleep, infinity]}]
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}}
"""
TOPOLOGY = """
---
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: failing}
spec:
  checks:
    - {name: the Pod itself answers, from: client, get: "http://web", expect: {status: 200}}
    - name: the Service answers
      from: client
      connect: web:80
      expect: {result: ok}
    - {name: no such name, from: client, resolve: nosuch, expect: {error: EAI_NONAME}}
"""


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Service whose targetPort nobody listens on, and checks of which one holds."""
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(WEB + SERVICE + TOPOLOGY, encoding="utf-8")
    return Path("shop.yaml")


def test_all_checks_of_the_two_namespaces_pass(call: Call, golden: Golden) -> None:
    result = call("run", TWO_NAMESPACES)
    assert (result.exit_code, result.stderr) == (0, "")
    golden("run-cross-namespace.txt", result.stdout)


def test_a_failed_check_is_exit_1_with_what_was_seen_and_the_walk(
    call: Call, failing: Path, golden: Golden
) -> None:
    result = call("run", failing)
    assert (result.exit_code, result.stderr) == (1, "")
    golden("run-failing.txt", result.stdout)


def test_json_has_what_the_text_has(call: Call, failing: Path) -> None:
    result = call("run", failing, "--output", "json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert [report[key] for key in ("topology", "seed", "passed", "failed")] == ["failing", 1, 1, 2]
    assert [check["passed"] for check in report["checks"]] == [False, False, True]
    broken = report["checks"][1]
    assert set(broken) == {"name", "passed", "expected", "observed", "walk"}
    assert broken["expected"] == {"result": "ok"}
    assert broken["observed"]["result"] == "refused"
    assert any("RST" in line for line in broken["walk"])
    assert any("does not listen on 8080/tcp" in line for line in report["findings"])


def test_a_file_without_a_topology_runs(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(WEB, encoding="utf-8")
    result = call("run", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "2 of 2 Pods ready, 0 Services",
        "nothing looks broken",
        "no checks (cluster, seed 1, converged at 1 s)",
    ]


def test_without_checks_the_findings_stand_where_nothing_looks_broken(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(WEB + SERVICE, encoding="utf-8")
    lines = call("run", path).stdout.splitlines()
    assert lines[0] == "2 of 2 Pods ready, 1 Service"
    assert lines[1] == "what looks broken:"
    assert "nothing looks broken" not in lines


def test_what_could_be_asked_next_can_be_asked(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my shop.yaml"
    path.write_text(WEB + SERVICE.replace("8080", "80"), encoding="utf-8")
    with netsim.run(path) as cluster:
        suggest(cluster, [path])
    title, *commands = capsys.readouterr().out.splitlines()
    assert (title, len(commands)) == ("next:", 2)
    for command in commands:
        assert call(*shlex.split(command)[1:]).exit_code == 0


@pytest.mark.parametrize("command", ["run", "validate"])
def test_files_may_stand_behind_f_as_for_the_other_commands(call: Call, command: str, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(WEB, encoding="utf-8")
    assert call(command, "-f", path).stdout == call(command, path).stdout != ""
    missing = call(command)
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "Missing argument 'FILE...'" in missing.stderr


def test_a_missing_file_is_answered_with_what_is_near(call: Call, failing: Path) -> None:
    result = call("run", "shpo.yaml")
    assert result.exit_code == 2
    assert result.stderr == "error: no such file: shpo.yaml\n  hint: did you mean shop.yaml?\n"
    assert call("run", "nothing-like-it").stderr == "error: no such file: nothing-like-it\n"


@pytest.mark.parametrize(
    ("arguments", "meant"), [(("rnu", "shop.yaml"), "run"), (("capture", "shw", "out.pcapng"), "show")]
)
def test_a_misspelt_command_is_answered_with_what_is_near(
    call: Call, arguments: tuple[str, ...], meant: str
) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert f"Did you mean '{meant}'?" in result.stderr


def test_wrong_input_is_exit_2_and_nothing_runs(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("web.yaml").write_text(WEB.replace("containers:", "container:", 1), encoding="utf-8")
    result = call("run", "web.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("web.yaml:6:3: ")
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_what_is_not_modelled_is_warned_of_and_strict_refuses_it(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    result = call("run", path)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{path}:3:7: warning: NetworkPolicy default/deny: ")
    strict = call("run", path, "--strict")
    assert (strict.exit_code, strict.stdout) == (2, "")
    assert "NetworkPolicy" in strict.stderr


def test_strict_fails_for_what_looks_broken_although_all_checks_pass(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(WEB + SERVICE, encoding="utf-8")
    assert call("run", path).exit_code == 0
    strict = call("run", path, "--strict")
    assert (strict.exit_code, strict.stderr) == (1, "error: --strict: 1 thing looks broken\n")
    assert "what looks broken:" in strict.stdout
    path.write_text(WEB, encoding="utf-8")
    assert call("run", path, "--strict").exit_code == 0


def test_what_looks_broken_is_named_with_its_line(call: Call, failing: Path) -> None:
    report = json.loads(call("run", failing, "--output", "json").stdout)
    line = next(line for line in report["findings"] if "does not listen" in line)
    number = (WEB + SERVICE).splitlines().index("kind: Service")
    assert line.startswith(f"shop.yaml:{number}:1: Service default/")


def test_a_capture_stands_beside_its_wireshark_profile(call: Call, failing: Path, tmp_path: Path) -> None:
    result = call("run", failing, "--capture", "out.pcapng")
    assert result.exit_code == 1
    said, command = result.stderr.splitlines()
    assert said.endswith(" packets in out.pcapng")
    assert command == "  WIRESHARK_CONFIG_DIR=out.wireshark wireshark -C netsim -r out.pcapng"
    assert (tmp_path / "out.pcapng").stat().st_size > 1000
    assert (tmp_path / "out.wireshark" / "profiles" / "netsim" / "decode_as_entries").exists()


def test_a_profile_that_cannot_be_written_is_a_warning(call: Call, failing: Path, tmp_path: Path) -> None:
    (tmp_path / "out.wireshark").write_text("in the way", encoding="utf-8")
    result = call("run", failing, "--capture", "out.pcapng")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1].startswith("warning: no Wireshark profile: out.wireshark")
    assert read_pcapng(tmp_path / "out.pcapng").packets


def test_a_capture_on_stdout_leaves_the_report_to_stderr(call: Call, failing: Path) -> None:
    result = call("run", failing, "--capture", "-")
    assert result.exit_code == 1
    assert parse_pcapng(result.stdout_bytes).packets
    assert "1 of 3 checks passed" in result.stderr


def test_ctrl_c_keeps_the_packets_so_far(
    call: Call, failing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(cluster: Cluster) -> Report:
        run_checks(cluster)
        raise KeyboardInterrupt

    monkeypatch.setattr("netsim.checks.report.run_checks", interrupted)
    result = call("run", failing, "--capture", "out.pcapng")
    assert (result.exit_code, result.stdout) == (130, "")
    assert read_pcapng(tmp_path / "out.pcapng").packets


def test_a_capture_that_does_not_fit_is_one_line(call: Call, failing: Path) -> None:
    result = call("run", failing, "--capture", "/dev/full")
    assert result.exit_code == 2
    assert result.stderr == "error: cannot write /dev/full: No space left on device\n"


def test_output_that_does_not_fit_is_one_line(failing: Path) -> None:
    command = [sys.executable, "-m", "netsim", "run", str(failing)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr == b"error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_arrows_gets_plain_ones(failing: Path, encoding: str) -> None:
    command = [sys.executable, "-m", "netsim", "run", str(failing)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"pod default/client -> svc default/web TCP" in done.stdout


def test_a_directory_that_is_not_there_is_said_before_anything_runs(call: Call, failing: Path) -> None:
    result = call("run", failing, "--capture", "none/out.pcapng")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: cannot write none/out.pcapng: there is no directory none\n"


def shelled(tmp_path: Path, hash_seed: str, *arguments: str) -> tuple[str, bytes]:
    """The report and the capture of a run in a process of its own."""
    path = tmp_path / "walk.pcapng"
    command = [sys.executable, "-m", "netsim", "run", str(TWO_NAMESPACES), "--capture", str(path), *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, path.read_bytes()


def test_one_seed_gives_the_same_report_and_packets_whatever_the_hash_seed(tmp_path: Path) -> None:
    first = shelled(tmp_path, "1", "--output", "json")
    assert shelled(tmp_path, "77", "--output", "json") == first
