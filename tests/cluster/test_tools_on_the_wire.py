"""What each tool asks cluster DNS, in order, seen at its Pod's interface: by its image's library and flavour.

Names are written short: ``~`` stands for ``.svc.cluster.local``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netsim.capture.dissect import layers
from netsim.cluster import Cluster, run
from netsim.objects.core import Service
from netsim.wire.dns import Message, type_name
from netsim.wire.udp import Udp

FILE = """
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
metadata: {name: alpine, namespace: dev}
spec: {containers: [{name: main, image: "alpine:3.20", command: [sleep, infinity]}]}
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
spec: {ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run(FILE) as running:
        yield running


def queries(cluster: Cluster, pod: str, line: str) -> list[tuple[str, int]]:
    """The questions that leave the Pod while a command runs, as ``name type``, each with its source port."""
    with cluster.capture(f"dev/{pod}/eth0") as packets:
        cluster.pump(cluster.pod(pod, "dev").exec(line.split()))
        cluster.advance(0.1)
    found = []
    for record in packets.records:
        parts = layers(record.data)
        udp = next((part for part in parts if isinstance(part, Udp)), None)
        message = next((part for part in parts if isinstance(part, Message)), None)
        if record.outbound and udp is not None and message is not None and not message.response:
            name, qtype, _ = message.questions[0]
            short = name.removesuffix(".").replace(".svc.cluster.local", "~")
            found.append((f"{short} {type_name(qtype)}", udp.source_port))
    return found


def asked(cluster: Cluster, pod: str, line: str) -> list[str]:
    return [question for question, _ in queries(cluster, pod, line)]


def both(*names: str) -> list[str]:
    return [f"{name} {qtype}" for name in names for qtype in ("A", "AAAA")]


def of(qtype: str, *names: str) -> list[str]:
    return [f"{name} {qtype}" for name in names]


ENT = ("ent.dev~",)
PROD = ("ent.prod.dev~", "ent.prod~")
NOPE = ("nope.dev~", "nope~", "nope.cluster.local", "nope")
ALL_OF_ENT = ("ent.dev~", "ent~", "ent.cluster.local", "ent")
EXAMPLE = ("example.com.dev~", "example.com~", "example.com.cluster.local", "example.com")
LISTED = NOPE[:3]

TABLE = {
    "debian": {
        "curl -s ent": both(*ENT),
        "curl -s ent.prod": both(*PROD),
        "curl -s nope": both(*NOPE),
        "curl -s -4 ent.prod": of("A", *PROD),
        "curl -s ent.": both("ent"),
        "wget -q -O- ent": both(*ENT),
        "wget -q -O- -4 ent": of("A", *ENT),
        "nc -z ent 80": both(*ENT),
        "nc -4 -z nope 80": of("A", *NOPE),
        "telnet ent 80": both(*ENT),
        "ping -c 1 -n ent.prod": both(*PROD),
        "ping -c 1 -n -4 ent": both(*ENT),  # iputils 20221126 asks for both whatever it is told
        "ping -c 1 nope": both(*NOPE),
        "getent hosts ent": [*of("AAAA", *ALL_OF_ENT), *of("A", *ENT)],
        "getent hosts ent.prod": [
            *of("AAAA", *PROD, "ent.prod.cluster.local", "ent.prod"), *of("A", *PROD)
        ],
        "getent hosts 10.96.0.10": ["10.0.96.10.in-addr.arpa PTR"],
        "getent ahostsv4 ent": of("A", *ENT),
        "dig ent": of("A", "ent"),
        "dig +search ent.prod": of("A", *PROD),
        "dig +short ent.prod~ AAAA": of("AAAA", "ent.prod~"),
        "dig -x 10.96.0.10": ["10.0.96.10.in-addr.arpa PTR"],
        "nslookup ent": both(*ENT),
        "nslookup ent.prod": [*of("A", *PROD), "ent.prod~ AAAA"],
        "nslookup nope": of("A", *NOPE),
        "nslookup example.com": [*of("A", *EXAMPLE), "example.com AAAA"],
        "host ent": [*both(*ENT), "ent.dev~ MX"],
        "host ent.prod": [*of("A", *PROD), "ent.prod~ AAAA", "ent.prod~ MX"],
    },
    "alpine": {
        "curl -s ent": both(*ENT),
        "curl -s ent.prod": both(*PROD),
        "curl -s nope": both(*NOPE),
        "curl -s -4 ent": of("A", *ENT),
        "wget -q -O- ent.prod": both(*PROD),
        "nc -z ent 80": both(*ENT),
        "telnet nope 80": both(*NOPE),
        "ping -c 1 ent": both(*ENT),
        "getent hosts ent": ["ent.dev~ AAAA", "ent.dev~ A"],
        "getent hosts ent.prod": [*of("AAAA", *PROD), *of("A", *PROD)],
        "getent ahosts ent": both(*ENT),
        "getent ahostsv4 ent": of("A", *ENT),
        "getent ahostsv6 ent": both(*ENT),
        "nslookup nope": [*of("A", *LISTED), *of("AAAA", *LISTED)],
        "nslookup ent.prod": both("ent.prod"),
        "nslookup ent.prod~": both("ent.prod~"),
        "nslookup 10.96.0.10": ["10.0.96.10.in-addr.arpa PTR"],
        "nslookup -type=srv ent.prod~": ["ent.prod~ SRV"],
    },
    "busybox": {
        "wget -q -O- ent": both(*ENT),
        "wget -q -O- nope": both(*NOPE),
        "ping -c 1 ent.prod": both(*PROD),
        "nslookup ent": [*of("A", *ALL_OF_ENT[:3]), *of("AAAA", *ALL_OF_ENT[:3])],
        "nslookup example.com": both("example.com"),
    },
}  # fmt: skip


@pytest.mark.parametrize(("pod", "line"), [(pod, line) for pod, lines in TABLE.items() for line in lines])
def test_a_tool_asks_what_the_real_one_asks(cluster: Cluster, pod: str, line: str) -> None:
    assert asked(cluster, pod, line.replace("~", ".svc.cluster.local")) == TABLE[pod][line]


@pytest.mark.parametrize(
    ("pod", "line", "sockets"),
    [
        ("debian", "curl -s nope", 4),  # glibc: one for each candidate
        ("alpine", "wget -q -O- nope", 4),  # musl: one for each candidate
        ("alpine", "curl -s nope", 1),  # c-ares: one for all
        ("alpine", "nslookup nope", 1),
        ("debian", "nslookup nope", 4),
    ],
)
def test_from_as_many_sockets(cluster: Cluster, pod: str, line: str, sockets: int) -> None:
    assert len({port for _, port in queries(cluster, pod, line)}) == sockets


@pytest.mark.parametrize(
    ("line", "text", "code"),
    [
        ("getent hosts ent", "{ent:<16}  ent.dev~  ent.dev~ ent\n", 0),
        ("getent hosts ent.dev~", "{ent:<16}  ent.dev~  ent.dev~\n", 0),
        ("getent hosts 10.96.0.10", "10.96.0.10        kube-dns.kube-system~  kube-dns.kube-system~\n", 0),
        ("getent hosts nope ent", "", 2),
        ("getent ahosts ent", "{ent:<15} STREAM ent.dev~\n{ent:<15} DGRAM  ent.dev~\n", 0),
        ("getent ahostsv6 ent", "::ffff:{ent:<8} STREAM ent.dev~\n::ffff:{ent:<8} DGRAM  ent.dev~\n", 0),
    ],
)
def test_alpines_getent_prints_in_its_own_way(cluster: Cluster, line: str, text: str, code: int) -> None:
    outcome = cluster.pump(cluster.pod("alpine", "dev").exec(line.replace("~", ".svc.cluster.local").split()))
    ent = cluster.store.get(Service, "ent", "dev").spec.cluster_ip
    assert (outcome.stdout, outcome.exit) == (text.format(ent=ent).replace("~", ".svc.cluster.local"), code)
