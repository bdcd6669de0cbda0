"""``netsim capture`` records packets while a command runs in a Pod."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from netsim.capture.pcapng import parse_pcapng, read_pcapng
from tests.cli.conftest import TWO_NAMESPACES, Call, heeds_ctrl_c
from tests.conftest import ROOT

FILE = ("-f", TWO_NAMESPACES)
CURL = ("--", "dev/jump", "curl", "-s", "http://ent.prod:8080")


def test_packets_are_listed_and_the_commands_output_stands_aside(call: Call) -> None:
    result = call("capture", *FILE, "--on", "dev/jump", "--filter", "tcp", *CURL)
    assert result.exit_code == 0
    assert result.stderr.startswith("Hello from the PROD Namespace!\n")
    lines = result.stdout.splitlines()
    assert "[SYN] Seq=" in lines[0]
    assert any("HTTP GET / HTTP/1.1" in line for line in lines)
    assert {line.split()[2] for line in lines} == {"dev/jump/eth0"}


def test_why_tells_what_was_decided(call: Call) -> None:
    result = call("capture", "record", *FILE, "--on", "dev/jump", "--why", "--filter", "dns", *CURL)
    assert "search list 1 of 3: ent.prod + dev.svc.cluster.local" in result.stdout


def test_a_file_holds_the_packets_of_every_interface(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    result = call("capture", *FILE, "-w", path, *CURL)
    assert result.exit_code == 0
    assert result.stdout.startswith("Hello from the PROD Namespace!\n")
    recorded = read_pcapng(path)
    assert result.stderr.startswith(f"{len(recorded.packets)} packets in {path}")
    assert {"dev/jump/eth0", "node1/flannel.1", "control/eth0"} <= set(recorded.interfaces)
    assert "pod dev/jump" in recorded.names.values()
    assert (tmp_path / "out.wireshark" / "profiles" / "netsim" / "preferences").exists()


def test_a_file_holds_what_the_filter_lets_through(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    result = call("capture", *FILE, "-w", path, "--filter", "dns and interface dev/jump", *CURL)
    packets = read_pcapng(path).packets
    assert result.stderr.startswith(f"{len(packets)} packets in {path}")
    assert [packet.interface for packet in packets] == ["dev/jump/eth0"] * 8


def test_a_capture_on_stdout_leaves_the_commands_output_to_stderr(call: Call) -> None:
    result = call("capture", *FILE, "-w", "-", *CURL)
    assert result.exit_code == 0
    assert parse_pcapng(result.stdout_bytes).packets
    assert result.stderr.startswith("Hello from the PROD Namespace!\n")


def test_the_kubelets_probes_are_listed_when_they_are_asked_for(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx, "
        "livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]}\n"
    )
    wait = ("--why", "--", "web", "sh", "-c", "sleep 5")
    assert "probe" not in call("capture", "-f", path, *wait).stdout
    shown = call("capture", "-f", path, "--probes", *wait).stdout
    assert "probe: liveness probe of default/web, container c" in shown


def test_ctrl_c_keeps_the_packets_so_far(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    command = (sys.executable, "-m", "netsim", "capture", *map(str, FILE), "-w", str(path))
    ping = subprocess.Popen(
        [*command, "--", "dev/jump", "ping", "ent.prod"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heeds_ctrl_c,
    )  # fmt: skip
    assert ping.stdout is not None
    ping.stdout.readline()
    ping.send_signal(signal.SIGINT)
    _, said = ping.communicate()
    assert ping.returncode == 130
    assert said.startswith(f"{len(read_pcapng(path).packets)} packets in {path}")


def test_the_exit_code_is_the_commands(call: Call) -> None:
    result = call("capture", *FILE, "--", "dev/jump", "sh", "-c", "exit 7")
    assert (result.exit_code, result.stdout) == (7, "")


def test_json_lists_packets(call: Call) -> None:
    result = call("capture", *FILE, "--on", "dev/jump/eth0", "-o", "json", *CURL)
    listed = json.loads(result.stdout)
    assert listed[0]["interface"] == "dev/jump/eth0"


def test_a_directory_that_is_not_there_is_said_before_anything_runs(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "none" / "out.pcapng"
    result = call("capture", *FILE, "-w", path, *CURL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: cannot write {path}: there is no directory {path.parent}\n"


def test_an_unknown_interface_is_answered_with_the_known_ones(call: Call) -> None:
    result = call("capture", *FILE, "--on", "node1/eth7", *CURL)
    assert result.exit_code == 2
    assert "node1 has no interface eth7" in result.stderr


def test_a_filter_for_an_interface_that_is_not_there_is_refused_before_the_command_runs(call: Call) -> None:
    result = call("capture", *FILE, "--filter", "interface nope", *CURL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: there is no interface nope\n")
