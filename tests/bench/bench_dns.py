"""``netsim dns serve`` beside Debian's unbound, knot and dnsmasq, which hold the same 1,000 Service names.

``make bench`` prints queries a second and CPU time per query, over UDP on loopback, with dnsperf: each server
has one thread on one CPU, dnsperf has another. The servers take turns, so that what else the machine does
meets all of them; the figure is the best of the turns, as load only takes away. Skipped where a program is
missing.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

SERVICES = 1_000
TURNS = 5
SECONDS = 2
DISTINCT = 20_000
OUTSTANDING = 100
PATIENCE = 60.0
"""Seconds that a server may take until it answers."""
SERVER_CPU, CLIENT_CPU = "0", "1"
ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ("unbound", "knotd", "dnsmasq")
DOMAIN = "bench.svc.cluster.local"

MISSING = [name for name in (*PEERS, "dnsperf", "taskset") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"no {MISSING}: apt-get install unbound knot dnsmasq dnsperf"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU: the server and dnsperf want one each"),
    pytest.mark.timeout(300),
]

TOPOLOGY = """\
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: bench}
spec:
  nodes: [{name: control, controlPlane: true}]
---
apiVersion: v1
kind: Namespace
metadata: {name: bench}
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: bench}}
spec:
  clusterIP: {address}
  ports: [{{port: 80}}]
"""
HEADLESS = """\
---
apiVersion: v1
kind: Service
metadata: {{name: many-{0}, namespace: bench}}
spec:
  clusterIP: None
  ports: [{{port: 80}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: many-{0}, namespace: bench, labels: {{kubernetes.io/service-name: many-{0}}}}}
addressType: IPv4
ports: [{{port: 80}}]
endpoints:
  - {{addresses: [192.0.2.1], conditions: {{ready: true}}}}
  - {{addresses: [192.0.2.2], conditions: {{ready: true}}}}
  - {{addresses: [192.0.2.3], conditions: {{ready: true}}}}
"""
COREFILE = """\
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns, namespace: kube-system}}
data:
  Corefile: |
    {text}
"""
CACHE = """\
.:53 {
    prometheus :9153
    cache 30
    kubernetes cluster.local in-addr.arpa ip6.arpa
    loadbalance
}"""
AUTOPATH = """\
.:53 {
    prometheus :9153
    autopath @kubernetes
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
    }
    loadbalance
}"""


class Turn(NamedTuple):
    """What one server did in one turn: answers a second, and its CPU seconds for each."""

    rate: float
    cpu: float


class Served(NamedTuple):
    """A server at work."""

    name: str
    pid: int
    port: int


def service(number: int) -> tuple[str, str]:
    return f"service-{number}", f"10.96.{100 + number // 250}.{1 + number % 250}"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


@contextmanager
def running(name: str, command: Sequence[str], port: int, probe: str, where: Path) -> Iterator[Served]:
    """A server on its CPU, from its first answer on."""
    from netsim.wire import dns

    with (where / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CPU, *command], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
        )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            client.connect(("127.0.0.1", port))
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    client.send(dns.query(1, f"{probe}.", dns.A))
                    if dns.parse(client.recv(4096)).answers:
                        break
                except OSError:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(0.05)
                said = (where / f"{name}.log").read_text()
                assert process.poll() is None and time.monotonic() < deadline, f"{name}: {said}"
        yield Served(name, process.pid, port)
    finally:
        process.terminate()
        process.wait()


def unbound(where: Path, port: int) -> list[str]:
    data = "".join(
        f'  local-data: "{name}.{DOMAIN}. 30 IN A {ip}"\n' for name, ip in map(service, range(SERVICES))
    )
    (where / "unbound.conf").write_text(
        f"server:\n  interface: 127.0.0.1\n  port: {port}\n  num-threads: 1\n  do-daemonize: no\n"
        f'  username: ""\n  chroot: ""\n  pidfile: ""\n  use-syslog: no\n  directory: "{where}"\n'
        f'  local-zone: "cluster.local." static\n{data}'
    )
    return ["unbound", "-d", "-c", f"{where}/unbound.conf"]


def knot(where: Path, port: int) -> list[str]:
    names = "".join(f"{name}.bench.svc 30 A {ip}\n" for name, ip in map(service, range(SERVICES)))
    (where / "cluster.local.zone").write_text(
        f"$ORIGIN cluster.local.\n@ 30 SOA ns.dns hostmaster 1 7200 1800 86400 30\n@ 30 NS ns.dns\n"
        f"ns.dns 30 A 10.96.0.10\n{names}"
    )
    (where / "knot.conf").write_text(
        f"server:\n    rundir: {where}\n    listen: 127.0.0.1@{port}\n"
        f"    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
        f"database:\n    storage: {where}\n"
        f"zone:\n  - domain: cluster.local\n    storage: {where}\n    file: cluster.local.zone\n"
    )
    return ["knotd", "-c", f"{where}/knot.conf"]


def dnsmasq(where: Path, port: int) -> list[str]:
    lines = "".join(f"{ip} {name}.{DOMAIN}\n" for name, ip in map(service, range(SERVICES)))
    (where / "hosts").write_text(lines)
    return [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}", "--bind-interfaces",
        "--listen-address=127.0.0.1", "--no-resolv", "--no-hosts", f"--addn-hosts={where}/hosts",
        "--cache-size=10000", "--local-ttl=30", "--pid-file=", "--user=root",
    ]  # fmt: skip


def netsim(where: Path, port: int, corefile: str = "", more: str = "", services: int = SERVICES) -> list[str]:
    parts = [TOPOLOGY, more]
    parts += [SERVICE.format(name=name, address=ip) for name, ip in map(service, range(services))]
    if corefile:
        parts.append(COREFILE.format(text=corefile.replace("\n", "\n    ")))
    path = where / f"bench-{port}.yaml"
    path.write_text("".join(parts))
    return [sys.executable, "-m", "netsim", "dns", "serve", "-f", str(path), "--listen", f"127.0.0.1:{port}"]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def turn(served: Served, queries: Path, *limits: str) -> Turn:
    """One run of dnsperf; every query must be answered, with NOERROR."""
    before = cpu_seconds(served.pid)
    command = ["taskset", "-c", CLIENT_CPU, "dnsperf", "-s", "127.0.0.1", "-p", str(served.port)]
    done = subprocess.run(
        [*command, "-d", str(queries), "-q", str(OUTSTANDING), *limits],
        capture_output=True,
        text=True,
        check=True,
    )
    spent = cpu_seconds(served.pid) - before
    found = re.search(r"Queries completed:\s+(\d+) ", done.stdout)
    rate = re.search(r"Queries per second:\s+([\d.]+)", done.stdout)
    codes = re.search(r"Response codes:\s+(.*)", done.stdout)
    assert found and rate and codes and re.fullmatch(r"NOERROR \d+ \(100\.00%\)", codes[1].strip()), (
        done.stdout
    )
    return Turn(float(rate[1]), spent / int(found[1]))


def asked(where: Path, names: Sequence[str], qtype: str = "A") -> Path:
    path = where / f"queries-{len(list(where.iterdir()))}"
    path.write_text("".join(f"{name} {qtype}\n" for name in names))
    return path


@contextmanager
def serving(where: Path, *servers: tuple[str, Callable[[Path, int], list[str]]]) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        started = []
        for name, prepare in servers:
            port = free_port()
            command = prepare(where, port)
            probe = f"{service(0)[0]}.{DOMAIN}"
            started.append(stack.enter_context(running(name, command, port, probe, where)))
        yield started


def take_turns(servers: Sequence[Served], queries: Path) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {}
    for served in servers:
        turn(served, queries, "-n", "2")
    for _ in range(TURNS):
        for served in servers:
            turns.setdefault(served.name, []).append(turn(served, queries, "-l", str(SECONDS)))
    return turns


def test_names_asked_before(tmp_path: Path) -> None:
    queries = asked(tmp_path, [f"{service(number)[0]}.{DOMAIN}" for number in range(SERVICES)])
    with serving(
        tmp_path, ("unbound", unbound), ("knot", knot), ("dnsmasq", dnsmasq), ("netsim", netsim)
    ) as all:
        report("names asked before, kubeadm's Corefile", take_turns(all, queries))


def test_names_asked_the_first_time(tmp_path: Path) -> None:
    """Every name once; each turn has other letters in upper case, as resolvers do that use 0x20."""
    turns: dict[str, list[Turn]] = {}
    with serving(tmp_path, ("netsim", partial(netsim, services=DISTINCT))) as (served,):
        for number in range(1, TURNS + 1):
            names = (service(index)[0] for index in range(DISTINCT))
            spelled = [f"{in_capitals(name, number)}.{DOMAIN}" for name in names]
            turns.setdefault("netsim", []).append(turn(served, asked(tmp_path, spelled), "-n", "1"))
    report("names asked the first time, kubeadm's Corefile", turns)


def in_capitals(name: str, number: int) -> str:
    """The letters in upper case whose bits are set in a number: another spelling for each up to 127."""
    return "".join(letter.upper() if number >> index & 1 else letter for index, letter in enumerate(name))


@pytest.mark.parametrize(("title", "corefile"), [("cache", CACHE), ("autopath", AUTOPATH)])
def test_other_chains(tmp_path: Path, title: str, corefile: str) -> None:
    queries = asked(tmp_path, [f"{service(number)[0]}.{DOMAIN}" for number in range(SERVICES)])
    with serving(tmp_path, (title, partial(netsim, corefile=corefile))) as servers:
        report(f"names asked before, with {title} in the chain", take_turns(servers, queries))


def test_several_addresses(tmp_path: Path) -> None:
    names = [f"many-{number}.{DOMAIN}" for number in range(100)]
    queries = asked(tmp_path, names)
    with serving(
        tmp_path, ("shuffled", partial(netsim, more="".join(map(HEADLESS.format, range(100)))))
    ) as servers:
        report("names asked before, three addresses in a new order each time", take_turns(servers, queries))


def report(title: str, turns: dict[str, list[Turn]]) -> None:
    print(f"\n{title}:")
    best = {name: max(turn.rate for turn in found) for name, found in turns.items()}
    least = {name: min(turn.cpu for turn in found) for name, found in turns.items()}
    for name in turns:
        print(f"  {name:8} {best[name]:9,.0f}/s  {least[name] * 1e6:6.2f} us of CPU a query")
    if "netsim" in turns and len(turns) > 1:
        peers = [name for name in turns if name != "netsim"]
        each = [
            turns["netsim"][index].rate / median(turns[name][index].rate for name in peers)
            for index in range(len(turns["netsim"]))
        ]
        ratio = best["netsim"] / median(best[name] for name in peers)
        spent = median(least[name] for name in peers) / least["netsim"]
        print(
            f"  netsim is {ratio:.2f} x the median of the three (turn by turn "
            f"{', '.join(f'{value:.2f}' for value in each)}), by CPU time {spent:.2f} x"
        )
