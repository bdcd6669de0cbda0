"""One name, three resolvers: what each asks, over the Pod's network, through kube-proxy, of CoreDNS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import netsim
from netsim.cluster.cluster import Cluster
from netsim.programs.images import libc_of
from netsim.resolver.commands import Libc

FILE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: libcs}
spec:
  nodes: [{name: node1}, {name: node2}]
  images:
    acme/go:v1: {libc: go, http: {80: "go"}}
---
apiVersion: v1
kind: Pod
metadata: {name: debian}
spec: {containers: [{name: main, image: debian, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: alpine}
spec: {containers: [{name: main, image: "alpine:3.20", command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: go}
spec: {containers: [{name: main, image: "acme/go:v1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: default}
spec: {selector: {app: none}, ports: [{port: 8080}]}
"""
FOUR_DOTS = "ent.default.svc.cluster.local"
FIVE_DOTS = "web-0.nope.default.svc.cluster.local"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with netsim.run(FILE) as running:
        yield running


# facts: the cost of a lookup under the kubelet's search list of three and ndots:5
@pytest.mark.parametrize(
    ("name", "pod", "queries", "error"),
    [
        ("ent", "debian", 2, None),
        ("ent", "alpine", 2, None),
        ("ent", "go", 2, None),
        ("ent.default", "debian", 4, None),
        ("ent.default", "alpine", 4, None),
        ("ent.default", "go", 4, None),
        (FOUR_DOTS, "debian", 8, None),
        (FOUR_DOTS, "alpine", 8, None),
        (FOUR_DOTS, "go", 8, None),
        (f"{FOUR_DOTS}.", "debian", 2, None),
        (f"{FOUR_DOTS}.", "alpine", 2, None),
        (f"{FOUR_DOTS}.", "go", 2, None),
        ("missing", "debian", 8, "EAI_NONAME"),
        ("missing", "alpine", 8, "EAI_NONAME"),
        ("missing", "go", 8, "no such host"),
        (FIVE_DOTS, "debian", 8, "EAI_NONAME"),
        (FIVE_DOTS, "alpine", 2, "EAI_NONAME"),  # musl never searches for a name with ndots dots
        (FIVE_DOTS, "go", 8, "no such host"),
    ],
)
def test_a_lookup_costs_what_its_library_makes_of_it(
    cluster: Cluster, name: str, pod: str, queries: int, error: str | None
) -> None:
    lookup = cluster.pump(cluster.pod(pod).resolve(name))
    assert (len(lookup.queries), lookup.error and lookup.error.name) == (queries, error)


def test_a_lookup_of_go_leaves_from_two_sockets_and_tells_whose_it_is(cluster: Cluster) -> None:
    with cluster.capture("default/go/eth0") as packets:
        cluster.pump(cluster.pod("go").resolve("ent"))
    sent = [record for record in packets.records if record.outbound and record.data[12:14] == b"\x08\x00"]
    queries = [record for record in sent if record.data[23] == 17]
    assert len({record.data[34:36] for record in queries}) == 2  # source ports
    assert all(any("[Go]" in note.cause.text for note in record.notes) for record in queries)


def test_another_library_may_be_asked_for(cluster: Cluster) -> None:
    lookup = cluster.pump(cluster.pod("debian").resolve(FIVE_DOTS, libc=Libc.MUSL))
    assert (len(lookup.queries), lookup.reason) == (2, "Name does not resolve")


def test_tools_speak_as_their_image_does(cluster: Cluster) -> None:
    said = [cluster.pump(cluster.pod(pod).exec(["getent", "hosts", "ent"])) for pod in ("debian", "alpine")]
    assert [outcome.exit for outcome in said] == [0, 0]


@pytest.mark.parametrize(
    ("image", "libc"),
    [
        ("debian:12", Libc.GLIBC),
        ("nginx", Libc.GLIBC),
        ("nginx:1.27-alpine", Libc.MUSL),
        ("alpine:3.18", Libc.MUSL),
        ("alpine:3.17.2", Libc.OLD_MUSL),
        ("node:18-alpine3.16", Libc.OLD_MUSL),
        ("busybox:1.36-musl", Libc.MUSL),
        ("busybox", Libc.GLIBC),
        ("golang:1.26", Libc.GO),
        ("gcr.io/distroless/static-debian12", Libc.GO),
        ("gcr.io/distroless/static:nonroot", Libc.GO),
        ("registry.k8s.io/coredns/coredns:v1.14.7", Libc.GO),
        ("nicolaka/netshoot", Libc.MUSL),
        ("acme/shop:v2", Libc.GLIBC),
    ],
)
def test_an_image_is_known_by_its_name(image: str, libc: Libc) -> None:
    assert libc_of(image) is libc
