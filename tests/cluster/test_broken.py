"""What looks broken is said unasked, and each kind of failure can be told from the others."""

from __future__ import annotations

import pytest

from netsim.cluster import Cluster
from netsim.objects.core import Service
from netsim.wire import icmp, ipv4, tcp


@pytest.mark.parametrize(
    "expected",
    [
        "Service default/deaf: Pod default/web is ready but does not listen on 8081/tcp "
        "(it listens on 80/tcp): the client gets its RST",
        "Service default/nobody: its selector app=webb matches no Pod (web has app=web)",
        "Service default/nobody: has no ready endpoints: connections are refused (ICMP)",
        "Service default/misnamed: no Pod that it selects has a port named 'metrics'",
        "Pod default/ends: cannot become ready: container c (busybox) ended with exit code 0",
        "Pod default/nowhere: no node matches its nodeSelector {disk: ssd} (0/3 nodes are available",
    ],
)
def test_run_names_what_looks_broken(broken: Cluster, expected: str) -> None:
    assert any(expected in line for line in broken.findings()), "\n".join(broken.findings())


def test_a_healthy_cluster_has_nothing_to_say(two_namespaces: Cluster) -> None:
    assert two_namespaces.findings() == []


def test_an_endpoint_that_does_not_listen_stays_listed_and_ready(broken: Cluster) -> None:
    (slice_,) = broken.store.slices_of(broken.store.get(Service, "deaf", "default").ref)
    assert [endpoint.conditions.ready for endpoint in slice_.endpoints] == [True]


async def test_a_pod_that_does_not_listen_answers_with_its_own_rst(broken: Cluster) -> None:
    with broken.capture("default/web") as packets:
        connection = await broken.pod("client").connect("deaf:80")
    assert connection.result == "refused"
    assert "RST" in connection.detail
    resets = [
        segment
        for record in packets.records
        if record.outbound and record.data[12:14] == b"\x08\x00" and record.data[23] == ipv4.TCP
        if (segment := tcp.parse(ipv4.parse(record.data[14:]).payload)).flags & tcp.RST
    ]
    assert [segment.source_port for segment in resets] == [8081]
    trace = str(await broken.pod("client").trace("deaf:80"))
    assert "no process listens on" in trace
    assert "RST" in trace


async def test_a_service_without_endpoints_answers_with_icmp_from_the_node(broken: Cluster) -> None:
    with broken.capture("default/client") as packets:
        connection = await broken.pod("client").connect("nobody:80")
    assert connection.result == "refused"
    assert "ICMP port-unreachable" in connection.detail
    errors = [
        message
        for record in packets.records
        if not record.outbound and record.data[12:14] == b"\x08\x00" and record.data[23] == ipv4.ICMP
        if (message := icmp.parse(ipv4.parse(record.data[14:]).payload)).type == icmp.UNREACHABLE
    ]
    assert [message.code for message in errors] == [icmp.PORT]
    trace = str(await broken.pod("client").trace("nobody:80"))
    assert "default/nobody has no endpoints" in trace
    assert "RST" not in trace
