"""The Events of a running cluster: who tells what about which object, in Kubernetes' words."""

from __future__ import annotations

import pytest

from netsim.base.errors import UsageError
from netsim.cluster import Cluster, run
from netsim.objects.apps import ReplicaSet
from netsim.objects.codec import document_from_object
from netsim.objects.core import Pod

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nginx}]}
"""
SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: nginx}]}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox, command: [sh, -c, CODE]}]}
"""
BALANCED = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: t}
spec:
  nodes: [{name: node1}]
  loadBalancer: {pool: 172.20.0.0/24}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"""


def pod(spec: str, name: str = "p") -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


def container(more: str = "", image: str = "nginx") -> str:
    return f"containers: [{{name: main, image: {image}{more}}}]"


def said(cluster: Cluster, about: str) -> list[tuple[str, str, str]]:
    return [(event.type, event.reason, event.message) for event in cluster.events(about)]


STARTED = [
    ("Normal", "Scheduled", "Successfully assigned default/p to node1"),
    ("Normal", "Pulled", 'Container image "nginx" already present on machine and can be accessed by the pod'),
    ("Normal", "Created", "Container created"),
    ("Normal", "Started", "Container started"),
]


def test_a_pod_that_starts() -> None:
    with run(pod(container())) as cluster:
        assert said(cluster, "pod/p") == STARTED
        assert [e.involved_object.rest.get("fieldPath") for e in cluster.events("pod/default/p")] == [
            None, *["spec.containers{main}"] * 3,
        ]  # fmt: skip


def test_a_pod_that_is_deleted_is_told_of_when_it_is_gone() -> None:
    with run(pod(container())) as cluster:
        cluster.pump(cluster.delete("pod", "p"))
        assert said(cluster, "pod/p") == [*STARTED, ("Normal", "Killing", "Stopping container main")]


PROBE = ", {kind}Probe: {{httpGet: {{path: /nope, port: 80}}, periodSeconds: 5, failureThreshold: 2}}"
LONG = "a-name-that-is-long-but-still-fits"


@pytest.mark.parametrize(
    ("spec", "seconds", "expected"),
    [
        (
            container(PROBE.format(kind="readiness")),
            0.0,
            ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404"),
        ),
        (
            container(PROBE.format(kind="liveness")),
            20.0,
            ("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404"),
        ),
        (
            container(", startupProbe: {tcpSocket: {port: 81}}"),
            30.0,
            ("Unhealthy", "Startup probe failed: dial tcp 10.244.1.2:81: connect: connection refused"),
        ),
        (
            container(", readinessProbe: {exec: {command: [cat, /nope]}}"),
            10.0,
            ("Unhealthy", "Readiness probe failed: cat: /nope: No such file or directory"),
        ),
        (
            container(", command: [sh, -c, exit 1]", "busybox"),
            20.0,
            ("BackOff", "Back-off restarting failed container main in pod p_default(UID)"),
        ),
        (
            f"nodeSelector: {{disk: ssd}}, {container()}",
            0.0,
            (
                "FailedScheduling",
                "0/3 nodes are available: 1 node(s) had untolerated taint "
                "{node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node "
                "affinity/selector.",
            ),
        ),
        (
            f"hostname: {LONG}, subdomain: {LONG}, setHostnameAsFQDN: true, {container()}",
            0.0,
            (
                "FailedCreatePodSandBox",
                "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster "
                f"domain, FQDN {LONG}.{LONG}.default.svc.cluster.local is too long "
                "(64 characters is the max, 95 characters requested)",
            ),
        ),
        (
            f"dnsConfig: {{nameservers: [1.1.1.1, 1.0.0.1, 8.8.8.8]}}, {container()}",
            0.0,
            (
                "DNSConfigForming",
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver "
                "line is: 10.96.0.10 1.1.1.1 1.0.0.1",
            ),
        ),
    ],
)
def test_a_pod_that_has_trouble_is_warned_of(spec: str, seconds: float, expected: tuple[str, str]) -> None:
    with run(pod(spec)) as cluster:
        cluster.advance(seconds)
        uid = cluster.store.get(Pod, "p", "default").metadata.uid
        warnings = [
            (reason, text.replace(uid, "UID"))
            for kind, reason, text in said(cluster, "pod/p")
            if kind == "Warning"
        ]
        assert expected in warnings


def test_a_probe_that_kills_says_so_and_is_counted() -> None:
    with run(pod(container(", livenessProbe: {tcpSocket: {port: 81}, periodSeconds: 5}"))) as cluster:
        cluster.advance(20.0)
        told = {event.reason: event for event in cluster.events("pod/p")}
        assert told["Killing"].message == "Container main failed liveness probe, will be restarted"
        assert told["Unhealthy"].count >= 3
        assert told["Started"].count == 2


def test_a_deployment_tells_of_its_replica_sets_and_they_of_their_pods() -> None:
    with run(SHOP) as cluster:
        (made,) = cluster.store.list(ReplicaSet, "default")
        name = made.metadata.name
        pods = [pod.metadata.name for pod in cluster.store.list(Pod, "default")]
        assert said(cluster, f"rs/{name}") == [
            ("Normal", "SuccessfulCreate", f"Created pod: {pod}") for pod in pods
        ]
        cluster.scale("deploy/default/web", 1)
        gone = next(pod for pod in pods if cluster.store.find(Pod, pod, "default") is None)
        assert said(cluster, f"rs/{name}")[-1] == ("Normal", "SuccessfulDelete", f"Deleted pod: {gone}")
        assert said(cluster, "deploy/web") == [
            ("Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 2"),
            ("Normal", "ScalingReplicaSet", f"Scaled down replica set {name} from 2 to 1"),
        ]


def test_a_rolling_update_is_told_step_by_step() -> None:
    with run(SHOP) as cluster:
        cluster.set_image("deploy/default/web", "nginx:2")
        first, second = (held.metadata.name for held in cluster.store.list(ReplicaSet, "default"))
        assert [text for _, _, text in said(cluster, "deploy/web")] == [
            f"Scaled up replica set {first} from 0 to 2",
            f"Scaled up replica set {second} from 0 to 1",
            f"Scaled down replica set {first} from 2 to 1",
            f"Scaled up replica set {second} from 1 to 2",
            f"Scaled down replica set {first} from 1 to 0",
        ]


def test_a_stateful_set_speaks_in_its_own_words() -> None:
    with run(SET) as cluster:
        cluster.scale("sts/default/db", 0)
        assert said(cluster, "sts/db") == [
            ("Normal", "SuccessfulCreate", "create Pod db-0 in StatefulSet db successful"),
            ("Normal", "SuccessfulDelete", "delete Pod db-0 in StatefulSet db successful"),
        ]


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("exit 0", ("Normal", "Completed", "Job completed")),
        ("exit 1", ("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")),
    ],
)
def test_a_job_tells_how_it_ended(code: str, end: tuple[str, str, str]) -> None:
    with run(JOB.replace("CODE", code)) as cluster:
        cluster.advance(5.0)
        first, *_, last = said(cluster, "job/once")
        assert (first[1], last) == ("SuccessfulCreate", end)


def test_a_lost_node_its_pods_and_their_eviction() -> None:
    with run(SHOP) as cluster:
        lost = next(
            p for p in cluster.store.list(Pod, "default") if p.spec.node_name == "node1"
        ).metadata.name
        cluster.fail_node("node1")
        cluster.advance(400.0)
        cluster.restore_node("node1")
        assert said(cluster, "node/node1") == [
            ("Normal", "NodeNotReady", "Node node1 status is now: NodeNotReady"),
            ("Normal", "NodeReady", "Node node1 status is now: NodeReady"),
        ]
        assert [told for told in said(cluster, f"pod/{lost}") if told not in STARTED][1:] == [
            ("Warning", "NodeNotReady", "Node is not ready"),
            ("Normal", "TaintManagerEviction", f"Marking for deletion Pod default/{lost}"),
            ("Normal", "Killing", "Stopping container main"),
        ]


def test_a_node_that_was_away_for_a_moment_is_not_told_of() -> None:
    with run(SHOP) as cluster:
        cluster.fail_node("node1")
        cluster.advance(5.0)
        cluster.restore_node("node1")
        assert said(cluster, "node/node1") == []


def test_a_service_of_type_load_balancer_gets_its_address() -> None:
    with run(BALANCED) as cluster:
        assert said(cluster, "svc/front") == [("Normal", "IPAllocated", 'Assigned IP ["172.20.0.1"]')]


def test_a_service_that_gets_no_address_is_told_of_once() -> None:
    full = BALANCED.replace("172.20.0.0/24", "172.20.0.0/30")
    more = "\n---\n".join(
        BALANCED.partition("---\n")[2].replace("front", name) for name in ("second", "third")
    )
    with run(f"{full}---\n{more}") as cluster:
        text = 'Failed to allocate IP for "default/third": no available IPs'
        assert said(cluster, "svc/third") == [("Warning", "AllocationFailed", text)]
        assert cluster.events("svc/third")[0].count == 1
        cluster.pump(cluster.delete("svc", "front"))
        assert said(cluster, "svc/third")[-1] == ("Normal", "IPAllocated", 'Assigned IP ["172.20.0.1"]')


def test_the_same_seed_gives_the_same_events() -> None:
    def documents() -> list[dict[str, object]]:
        with run(SHOP, seed=7) as cluster:
            cluster.scale("deploy/default/web", 4)
            return [document_from_object(event) for event in cluster.events()]

    assert documents() == documents()


def test_what_names_no_kind_is_refused() -> None:
    with run(SHOP) as cluster, pytest.raises(UsageError, match="web names no object"):
        cluster.events("web")
