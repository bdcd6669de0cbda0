"""Real clients ask ``netsim dns serve``: Debian's dig, and a process that resolves through its C library.

The latter runs in a network namespace whose resolv.conf is a Pod's, so that glibc walks the search list.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOPOLOGY = ROOT / "topologies" / "cross-namespace.yaml"
RESOLV_CONF = """search dev.svc.cluster.local svc.cluster.local cluster.local
nameserver 127.0.0.1
options ndots:5
"""


def serve(*before: str, listen: str) -> subprocess.Popen[str]:
    argv = [*before, sys.executable, "-m", "netsim", "dns", "serve", "-f", str(TOPOLOGY), "--listen", listen]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def where(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Where it says it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), line
    address, _, port = line.split()[2].rpartition(":")
    return address, port


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str]]:
    with serve(listen="127.0.0.1:0") as process:
        yield where(process)
        process.terminate()


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout


@pytest.mark.needs("dig")
@pytest.mark.parametrize("over", ["+notcp", "+tcp"])
def test_dig_gets_the_same_address_over_udp_and_tcp(served: tuple[str, str], over: str) -> None:
    address, port = served
    name = "ent.prod.svc.cluster.local"
    said = output("dig", f"@{address}", "-p", port, name, over, "+noall", "+answer", "+comments")
    assert "status: NOERROR" in said
    assert "flags: qr aa rd; QUERY: 1, ANSWER: 1" in said
    assert f"{name}. 30\tIN\tA\t10.96." in said


@pytest.mark.needs("dig")
def test_dig_gets_names_outside_and_reverse_names(served: tuple[str, str]) -> None:
    address, port = served
    assert output("dig", f"@{address}", "-p", port, "www.example.com", "+short") == "203.0.113.80\n"
    ip = output("dig", f"@{address}", "-p", port, "ent.prod.svc.cluster.local", "+short").strip()
    assert output("dig", f"@{address}", "-p", port, "-x", ip, "+short") == "ent.prod.svc.cluster.local.\n"


@pytest.mark.needs("unshare", "mount", "getent", "ip", "root", "netns")
def test_a_process_resolves_short_names_through_its_c_library(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(RESOLV_CONF, encoding="utf-8")
    command = " ".join(
        f"'{word}'"
        for word in (
            sys.executable,
            "-m",
            "netsim",
            "dns",
            "serve",
            "-f",
            str(TOPOLOGY),
            "--listen",
            "127.0.0.1:53",
        )
    )
    script = f"""
        set -e
        ip link set lo up
        ip address add 10.244.1.5/32 dev lo
        mount --bind {conf} "$(readlink -f /etc/resolv.conf)"
        exec 3< <(exec {command})
        server=$!
        read -r -t 40 said <&3
        for name in ent ent.prod www.example.com missing; do
            echo "$name: $(getent ahostsv4 $name | awk '/STREAM/ {{print $1}}')"
        done
        kill $server
    """
    got = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", script],
        capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
    )  # fmt: skip
    lines = dict(line.split(": ", 1) for line in got.stdout.splitlines())
    assert got.returncode == 0, got.stderr
    assert lines["ent"].startswith("10.96.")
    assert lines["ent.prod"].startswith("10.96.")
    assert lines["ent"] != lines["ent.prod"]
    assert lines["www.example.com"] == "203.0.113.80"
    assert lines["missing"] == ""
