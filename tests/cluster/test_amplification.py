"""What one lookup costs, end to end: Pod → kube-dns' address → kube-proxy → CoreDNS Pod and back.

The tables are those of ``docs/dns.md``. Every query is counted where it leaves the Pod, where it arrives at
CoreDNS, and where its answer comes back.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netsim.capture.dissect import layers
from netsim.capture.record import PacketRecord
from netsim.cluster import Cluster, run
from netsim.cluster.hosts import HostHandle
from netsim.objects.core import Pod
from netsim.resolver.commands import Family, Libc
from netsim.wire.dns import Message

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "dns.md"
LIBCS = {"glibc": Libc.GLIBC, "musl": Libc.MUSL, "Go": Libc.GO, "c-ares": Libc.CARES}
COREFILE = """
    .:53 {
        errors
        kubernetes cluster.local in-addr.arpa
        template ANY ANY broken.test {
            rcode SERVFAIL
        }
        forward . /etc/resolv.conf
        cache 30
    }
"""


def pod(name: str, dns: str = "") -> str:
    return (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: dev}}\n"
        f"spec: {{{dns}containers: [{{name: main, image: debian, command: [sleep, infinity]}}]}}\n"
    )


def searching(*domains: str) -> str:
    return f"dnsConfig: {{searches: [{', '.join(domains)}]}}, "


def dns_service(number: int) -> str:
    """One more address of cluster DNS."""
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: dns{number}, namespace: kube-system}}\n"
        f"spec: {{clusterIP: 10.96.0.{number}, selector: {{k8s-app: kube-dns}}, "
        "ports: [{name: dns, port: 53, protocol: UDP}]}\n"
    )


FILE = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: dev}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: prod}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns, namespace: kube-system}}
data:
  Corefile: |{COREFILE}
---
apiVersion: v1
kind: Service
metadata: {{name: ent, namespace: prod}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: ent, namespace: dev}}
spec: {{clusterIP: None, selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web, namespace: dev}}
spec:
  serviceName: ent
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: main, image: nginx}}]}}
{dns_service(11)}{dns_service(12)}{pod("jump")}{pod("four", searching("one.test"))}
{pod("six", searching("one.test", "two.test", "three.test"))}
{pod("broken", "dnsPolicy: None, dnsConfig: {nameservers: [10.96.0.10], searches: [broken.test]}, ")}
{pod("servers", "dnsConfig: {nameservers: [10.96.0.11, 10.96.0.12]}, ")}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run(FILE) as running:
        yield running


def messages(record: PacketRecord) -> list[Message]:
    return [layer for layer in layers(record.data) if isinstance(layer, Message)]


def queries(cluster: Cluster, pod: str, action: Callable[[HostHandle], Awaitable[Any]]) -> list[str]:
    """The names that the Pod asks for; fails when one does not come to CoreDNS, or its answer not back."""
    handle = cluster.pod(pod, "dev")
    servers = [
        p for p in cluster.store.list(Pod, "kube-system") if p.metadata.labels.get("k8s-app") == "kube-dns"
    ]
    hosts = {cluster.pod(server.metadata.name, "kube-system").plan_name for server in servers}
    with cluster.capture() as packets:
        cluster.pump(_awaited(action(handle)))
        cluster.advance(0.5)
    own = [(r, m) for r in packets.records if r.port.host == handle.plan_name for m in messages(r)]
    sent = [message for record, message in own if record.outbound and not message.response]
    back = [message for record, message in own if not record.outbound and message.response]
    there = [m for r in packets.records if r.port.host in hosts and not r.outbound for m in messages(r)]
    arrived = [message for message in there if not message.response and message.id in {q.id for q in sent}]
    assert len(sent) == len(arrived) == len(back)
    return [message.questions[0].name for message in sent]


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def resolving(
    name: str, libc: Libc, family: Family = Family.UNSPEC
) -> Callable[[HostHandle], Awaitable[Any]]:
    return lambda handle: handle.resolve(name, libc=libc, family=family)


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading of the document."""
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(f"## {heading}\n")
    section = rest.partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip("` ") for cell in row] for row in rows]


LOOKUPS = table("Queries of one lookup")
TOOLS = table("Queries of one tool")


def test_the_document_has_the_tables() -> None:
    assert LOOKUPS[0] == ["name", *LIBCS, "IPv4 only"]
    assert TOOLS[0][:2] == ["command", "queries"]
    assert (len(LOOKUPS), len(TOOLS)) == (12, 7)


@pytest.mark.parametrize("libc", LIBCS)
@pytest.mark.parametrize("row", LOOKUPS[1:], ids=lambda row: row[0])
def test_a_lookup_costs_what_the_document_says(cluster: Cluster, row: list[str], libc: str) -> None:
    name, *costs, ipv4_only = row
    wanted = dict(zip(LIBCS, map(int, costs), strict=True))
    assert len(queries(cluster, "jump", resolving(name, LIBCS[libc]))) == wanted[libc]
    exception = re.search(rf"\({libc} (\d+)\)", ipv4_only)
    alone = int(exception[1] if exception else ipv4_only.split()[0])
    assert len(queries(cluster, "jump", resolving(name, LIBCS[libc], Family.INET))) == alone


@pytest.mark.parametrize("row", TOOLS[1:], ids=lambda row: row[0])
def test_a_tool_costs_what_the_document_says(cluster: Cluster, row: list[str]) -> None:
    command, count, *_ = row
    assert len(queries(cluster, "jump", lambda handle: handle.exec(command.split()))) == int(count)


@pytest.mark.parametrize(("libc", "count"), [("glibc", 4), ("musl", 1), ("Go", 4), ("c-ares", 4)])
def test_an_ipv6_address_that_is_not_there(cluster: Cluster, libc: str, count: int) -> None:
    assert len(queries(cluster, "jump", resolving("ent", LIBCS[libc], Family.INET6))) == count


@pytest.mark.parametrize("libc", LIBCS)
@pytest.mark.parametrize(("pod", "count"), [("jump", 8), ("four", 10), ("six", 14)])
def test_each_search_domain_costs_two_more(cluster: Cluster, libc: str, pod: str, count: int) -> None:
    assert len(queries(cluster, pod, resolving("example.com", LIBCS[libc]))) == count


@pytest.mark.parametrize(("libc", "count"), [("glibc", 2), ("musl", 6), ("Go", 2), ("c-ares", 2)])
def test_three_nameservers(cluster: Cluster, libc: str, count: int) -> None:
    assert len(queries(cluster, "servers", resolving("ent", LIBCS[libc]))) == count


@pytest.mark.parametrize(("libc", "count"), [("glibc", 4), ("musl", 12), ("Go", 4), ("c-ares", 6)])
def test_a_candidate_that_fails_at_the_server(cluster: Cluster, libc: str, count: int) -> None:
    asked = queries(cluster, "broken", resolving("x", LIBCS[libc]))
    assert asked.count("x.broken.test.") == count
    assert ("x." in asked) == (libc in ("glibc", "Go"))
