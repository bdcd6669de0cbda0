"""Debian's tools and the mini-shell's ask the same cluster DNS the same questions, and print the same text.

The real ones run in a network namespace of their own with a Pod's files; kube-dns' address has a relay there
that notes each question and passes it on to ``netsim dns serve``. The others run in that Pod.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from netsim.capture.dissect import layers
from netsim.cluster import Cluster, run
from netsim.programs.terminal import Outcome
from netsim.wire.dns import Message, type_name
from tests.conftest import ROOT

pytestmark = pytest.mark.needs(
    "unshare",
    "mount",
    "getent",
    "nslookup",
    "host",
    "dig",
    "busybox",
    "curl",
    "wget",
    "ping",
    "nc",
    "telnet",
    "ip",
    "root",
    "netns",
)

FILE = """\
apiVersion: v1
kind: Namespace
metadata: {name: dev}
---
apiVersion: v1
kind: Namespace
metadata: {name: prod}
---
apiVersion: v1
kind: Pod
metadata: {name: debian, namespace: dev}
spec: {containers: [{name: main, image: debian, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: busybox, namespace: dev}
spec: {containers: [{name: main, image: busybox, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: dev}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: prod}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: dev}
spec: {type: ExternalName, externalName: www.example.com}
"""
WHOLE = "ent.prod.svc.cluster.local"
GNU = [
    "nslookup ent",
    "nslookup ent.prod",
    f"nslookup {WHOLE}",
    f"nslookup {WHOLE}.",
    "nslookup outside",
    "nslookup nope",
    "nslookup www.example.com",
    "nslookup 10.96.0.10",
    "nslookup 10.9.9.9",
    "nslookup -type=AAAA ent",
    f"nslookup -type=SRV _http._tcp.{WHOLE}",
    f"nslookup -type=TXT {WHOLE}",
    "nslookup -type=SOA cluster.local",
    "nslookup -type=NS cluster.local",
    "nslookup ent 10.96.0.10",
    "nslookup ent nosuchserver",
    "host ent",
    "host ent.prod",
    "host nope",
    "host outside",
    "host 10.96.0.10",
    "host 10.9.9.9",
    f"host -t SRV _http._tcp.{WHOLE}",
    "host -t AAAA ent",
    "host -t SOA cluster.local",
    "host ent 10.96.0.10",
    "dig +short ent",
    "dig +search +short ent.prod",
    f"dig +noall +question {WHOLE} SRV",
    "getent hosts ent",
    "getent hosts ent.prod nope",
    "getent hosts outside",
    "getent hosts 10.96.0.10",
    "getent hosts nope",
    "getent hosts debian",
    "getent ahostsv4 ent",
    "getent ahostsv4 outside",
    "getent ahostsv4 nope",
    "getent ahostsv4 10.1.2.3",
    "getent ahosts nope",
    "curl -sS http://nope/",
    "curl -sS -4 http://nope/",
    "wget -q http://nope/",
    "wget -q -4 http://nope/",
    "ping -c 1 nope",
    "ping -c 1 -4 nope",
    "nc -z nope 80",
    "nc -4 -z nope 80",
    "telnet nope 80",
    "telnet -4 nope 80",
    "telnet ent bogus",
]
BUSYBOX = [
    "nslookup ent",
    "nslookup ent.prod",
    f"nslookup {WHOLE}",
    "nslookup nope",
    "nslookup outside.dev.svc.cluster.local",
    "nslookup www.example.com",
    "nslookup 10.96.0.10",
    "nslookup 10.9.9.9",
    f"nslookup -type=a {WHOLE}",
    f"nslookup -type=srv _http._tcp.{WHOLE}",
    "nslookup -type=soa cluster.local",
    "nslookup -type=bogus ent",
    f"nslookup {WHOLE} 10.96.0.10",
    "nslookup ent nosuchserver",
    "ping -c 1 nope",
    "ping -c 1 -4 nope",
    "wget http://nope/",
    "telnet nope 80",
]


LINES = [*GNU, *(f"busybox {line}" for line in BUSYBOX)]
RELAY = """
import socket, sys
from netsim.wire import dns
front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
front.bind(("10.96.0.10", 53))
back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
back.connect(("127.0.0.1", 5353))
print("listening", flush=True)
with open(sys.argv[1], "w", buffering=1) as log:
    while True:
        data, client = front.recvfrom(65535)
        name, qtype, _ = dns.parse(data).questions[0]
        log.write(f"{name} {dns.type_name(qtype)}\\n")
        back.send(data)
        front.sendto(back.recv(65535), client)
"""
SERIAL = re.compile(r"\b1767\d{6}\b")  # of the zone: the time of its last change


class Run(NamedTuple):
    """A command: what it printed, and what it asked."""

    outcome: Outcome
    asked: list[str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run(FILE) as running:
        yield running


@pytest.fixture(scope="module")
def real(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """What the real tools ask and print, by their command line; those of busybox begin with its name."""
    place = tmp_path_factory.mktemp("tools")
    (place / "file.yaml").write_text(FILE, encoding="utf-8")
    files = cluster.pod("debian", "dev").host.files
    for name in ("resolv.conf", "hosts"):
        (place / name).write_text(files[f"/etc/{name}"], encoding="utf-8")
    (place / "nsswitch.conf").write_text("hosts: files dns\n", encoding="utf-8")
    (place / "lines").write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    interfaces = [view for view in cluster.pod("debian", "dev").host.interfaces() if view.name != "lo"]
    own = [address.partition("/")[0] for view in interfaces for address in view.addresses]
    addresses = "\n        ".join(f"ip address add {address} dev lo" for address in own)  # for AI_ADDRCONFIG
    serve = f"{sys.executable} -m netsim dns serve -f {place}/file.yaml --listen 127.0.0.1:5353"
    (place / "relay.py").write_text(RELAY, encoding="utf-8")
    script = f"""
        set -e
        ip link set lo up
        ip address add 10.96.0.10/32 dev lo
        {addresses}
        for name in resolv.conf hosts nsswitch.conf; do
            mount --bind {place}/$name "$(readlink -f /etc/$name)"
        done
        exec 3< <(exec {serve})
        server=$!
        read -r said <&3
        exec 4< <(PYTHONPATH={ROOT} exec {sys.executable} {place}/relay.py {place}/asked)
        relay=$!
        read -r said <&4
        trap 'kill $server $relay' EXIT
        number=0
        while read -r line; do
            number=$((number + 1)) code=0
            $line > {place}/$number.out 2> {place}/$number.err < /dev/null || code=$?
            echo $code > {place}/$number.code
            wc -l < {place}/asked > {place}/$number.asked
        done < {place}/lines
    """
    command = ["unshare", "--net", "--mount", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return {line: _run(place, number) for number, line in enumerate(LINES, 1)}


def _run(place: Path, number: int) -> Run:
    code, out, err, until = (
        (place / f"{number}.{kind}").read_text(encoding="utf-8") for kind in ("code", "out", "err", "asked")
    )
    since = int((place / f"{number - 1}.asked").read_text(encoding="utf-8")) if number > 1 else 0
    asked = (place / "asked").read_text(encoding="utf-8").splitlines()[since : int(until)]
    return Run(Outcome(int(code), out, err), asked)


@pytest.fixture(scope="module")
def mine(cluster: Cluster) -> dict[str, Run]:
    """The same of the mini-shell, in the same order, as cluster DNS keeps answers."""
    cluster.scale("deploy/kube-system/coredns", 1)
    runs = {line: _run_in_pod(cluster, "debian", line) for line in GNU}
    return runs | {f"busybox {line}": _run_in_pod(cluster, "busybox", line) for line in BUSYBOX}


def _run_in_pod(cluster: Cluster, pod: str, line: str) -> Run:
    with cluster.capture(f"dev/{pod}/eth0") as packets:
        outcome = cluster.pump(cluster.pod(pod, "dev").exec(line.split()))
    found = (layer for r in packets.records if r.outbound for layer in layers(r.data))
    queries = [layer.questions[0] for layer in found if isinstance(layer, Message) and not layer.response]
    return Run(outcome, [f"{query.name} {type_name(query.qtype)}" for query in queries])


@pytest.mark.parametrize("line", LINES)
def test_the_real_tool_and_the_mini_shells_ask_the_same(
    real: dict[str, Run], mine: dict[str, Run], line: str
) -> None:
    assert mine[line].asked == real[line].asked


@pytest.mark.parametrize("line", LINES)
def test_the_real_tool_and_the_mini_shells_print_the_same(
    real: dict[str, Run], mine: dict[str, Run], line: str
) -> None:
    my_outcome, its = mine[line].outcome, real[line].outcome
    assert SERIAL.sub("SERIAL", my_outcome.stdout) == SERIAL.sub("SERIAL", its.stdout)
    assert (my_outcome.stderr, my_outcome.exit) == (its.stderr, its.exit)
