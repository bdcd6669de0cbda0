"""What looks broken is said unasked, and each kind of failure can be told from the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.base.errors import UsageError
from netsim.cluster import Cluster, run
from netsim.objects.core import Pod, Service
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
        "Pod default/lost: cannot become ready: it is bound to node worker-3, which does not exist "
        "(the nodes are control, node1, node2)",
        "Service default/many: 3 of 3 ready Pods do not listen on 9999/tcp, for example Pod default/many-",
        "Service default/swapped: its selector app=wbe matches no Pod (web has app=web)",
        "Service default/key: its selector ap=web matches no Pod (web has app=web)",
        "Service kube-public/abroad: its selector app=web matches no Pod of its own namespace "
        "(those of default do, which a Service does not reach)",
        "Service default/unselective: has no selector, and no EndpointSlice with its "
        "kubernetes.io/service-name: connections are refused (ICMP)",
        "Pod default/restless: container c will be restarted again and again: its liveness probe asks "
        "8080/tcp, where nothing listens (it listens on 80/tcp)",
        "Pod default/nowhere: no node matches its nodeSelector {disk: ssd} (0/3 nodes are available",
    ],
)
def test_run_names_what_looks_broken(broken: Cluster, expected: str) -> None:
    assert any(expected in line for line in broken.findings()), "\n".join(broken.findings())


def test_a_healthy_cluster_has_nothing_to_say(two_namespaces: Cluster) -> None:
    assert two_namespaces.findings() == []


def test_a_service_has_one_line_for_all_its_pods_that_do_not_listen(broken: Cluster) -> None:
    assert len([line for line in broken.findings() if "Service default/many" in line]) == 1


def test_a_selector_that_is_near_to_nothing_gets_no_suggestion(broken: Cluster) -> None:
    (line,) = (line for line in broken.findings() if "Service default/far: its selector" in line)
    assert line == "Service default/far: its selector app=something-else matches no Pod"


def test_a_pod_of_a_missing_node_says_so_when_it_is_used(broken: Cluster) -> None:
    with pytest.raises(UsageError, match="does not run: it is bound to node worker-3, which does not"):
        broken.pod("lost")


def test_a_finding_has_the_place_of_the_object_or_of_the_owner_that_made_it(tmp_path: Path) -> None:
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n"
        "  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n"
        "    spec: {nodeName: worker-3, containers: [{name: c, image: nginx}]}\n"
    )
    path = tmp_path / "web.yaml"
    path.write_text(deployment, encoding="utf-8")
    with run(path) as cluster:
        (line,) = cluster.findings()
    assert line.startswith(f"{path}:1:1: Pod default/web-")
    assert "worker-3" in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deploy/dev/enterprse", "namespace dev\n  hint: did you mean deploy/dev/enterprise, deploy/prod/"),
        ("deploy/enterprise", "did you mean deploy/dev/enterprise, deploy/prod/enterprise?"),
        (
            "svc/dev/ent",
            "svc/dev/ent is a Service, not a Pod\n  hint: name a Pod behind it, for example dev/e",
        ),
        ("dev/pod/jump", "dev/pod/jump names no Pod\n  hint: write dev/jump"),
        ("dev/deploy/enterprise", "names no Pod\n  hint: write deploy/dev/enterprise"),
        ("a/b/c", "a/b/c names no Pod\n  hint: write NAMESPACE/NAME"),
        ("pod/dev/jmp", 'pods "jmp" not found in namespace dev\n  hint: did you mean dev/jump'),
    ],
)
def test_what_names_no_pod_is_answered_with_what_to_write(
    two_namespaces: Cluster, name: str, message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        two_namespaces.pod(name)
    assert message in str(refused.value)


DUMPED = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: 0d9e2b7a, controller: true}]
spec: {containers: [{name: c, image: nginx}]}
"""


def test_what_the_garbage_collector_takes_at_once_was_warned_of() -> None:
    with run(DUMPED) as cluster:
        assert cluster.store.find(Pod, "web", "default") is None
        (warning,) = cluster.warnings
    assert "the garbage collector deletes it at once: its owner ReplicaSet web" in warning.message


async def test_what_is_added_with_an_owner_of_the_running_cluster_stays(two_namespaces: Cluster) -> None:
    uid = two_namespaces.store.get(Pod, "jump", "dev").metadata.uid
    await two_namespaces.apply(DUMPED.replace("0d9e2b7a", uid))
    assert two_namespaces.store.find(Pod, "web", "default") is not None
    assert two_namespaces.warnings == []
    await two_namespaces.apply(DUMPED.replace("name: web\n", "name: other\n"))
    assert two_namespaces.store.find(Pod, "other", "default") is None
    assert len(two_namespaces.warnings) == 1


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
