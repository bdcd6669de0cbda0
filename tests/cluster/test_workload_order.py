"""In which order the Pods of a workload come and go, and how many there are meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.names import pods_of
from netsim.objects.core import Pod
from netsim.objects.workloads import Job

T = TypeVar("T")

STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  replicas: 3
  podManagementPolicy: {policy}
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      containers:
        - name: db
          image: nginx
          readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1, initialDelaySeconds: 2}}
---
apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{clusterIP: None, selector: {{app: db}}, ports: [{{port: 80}}]}}
"""


def stateful(policy: str = "OrderedReady", port: int = 80) -> str:
    return STATEFUL.format(policy=policy, port=port)


def pods(cluster: Cluster) -> list[Pod]:
    found = [pod for pod in cluster.store.list(Pod) if pod.metadata.namespace == "default"]
    return sorted(found, key=lambda pod: pod.metadata.name)


def created(cluster: Cluster) -> dict[str, float]:
    return {pod.metadata.name: round(pod.metadata.creation_timestamp or 0.0, 1) for pod in pods(cluster)}


def over(cluster: Cluster, seconds: float, look: Callable[[Cluster], T]) -> Iterator[T]:
    """What there is to see, every tenth of a second."""
    for _ in range(round(seconds * 10)):
        yield look(cluster)
        cluster.advance(0.1)


# --- StatefulSets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "times"),
    [("OrderedReady", [0.0, 3.0, 6.0]), ("Parallel", [0.0, 0.0, 0.0])],  # each is ready after three seconds
)
def test_stateful_pods_start_one_after_the_other_or_together(policy: str, times: list[float]) -> None:
    with run(stateful(policy)) as cluster:
        assert created(cluster) == {f"db-{number}": time for number, time in enumerate(times)}


@pytest.mark.parametrize(("policy", "at_once"), [("OrderedReady", 1), ("Parallel", 2)])
def test_stateful_pods_stop_from_the_last_one_on(policy: str, at_once: int) -> None:
    def going(cluster: Cluster) -> tuple[str, ...]:
        return tuple(
            pod.metadata.name for pod in pods(cluster) if pod.metadata.deletion_timestamp is not None
        )

    with run(stateful(policy)) as cluster:
        cluster.scale("sts/db", 1, settle=False)
        seen = list(dict.fromkeys(names for names in over(cluster, 5.0, going) if names))
        assert max(map(len, seen)) == at_once
        assert seen[0][-1] == "db-2"
        assert [pod.metadata.name for pod in pods(cluster)] == ["db-0"]


def test_a_stateful_pod_that_is_not_ready_holds_up_those_after_it() -> None:
    with run(stateful(port=81)) as cluster:
        assert [pod.metadata.name for pod in pods(cluster)] == ["db-0"]
        assert "StatefulSet default/db: waits for Pod db-0 to be ready" in cluster.findings()
    with run(stateful("Parallel", port=81)) as cluster:
        assert [pod.metadata.name for pod in pods(cluster)] == ["db-0", "db-1", "db-2"]


async def test_a_stateful_pod_is_the_same_one_on_another_node() -> None:
    with run(stateful()) as cluster:
        before = next(pod for pod in pods(cluster) if pod.metadata.name == "db-1")
        cluster.taint(before.spec.node_name, "disk=gone:NoSchedule")
        await cluster.delete("pod", "db-1")
        after = next(pod for pod in pods(cluster) if pod.metadata.name == "db-1")
        assert after.metadata.uid != before.metadata.uid
        assert after.spec.node_name != before.spec.node_name
        assert after.spec.hostname == "db-1"
        lookup = await cluster.pod("db-0").resolve("db-1.db")
        assert [str(address) for address in lookup.addresses] == [after.status.pod_ip]


# --- rolling updates -------------------------------------------------------------------------------------

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  minReadySeconds: {least}
  strategy: {strategy}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "acme/web:1"}}]}}
"""


def deployment(strategy: str, replicas: int, least: int = 0) -> str:
    return DEPLOYMENT.format(strategy=strategy, replicas=replicas, least=least)


def rolling(surge: object, unavailable: object) -> str:
    return f"{{type: RollingUpdate, rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}"


def counted(cluster: Cluster) -> tuple[int, int]:
    """How many Pods there are that nobody has deleted, and how many of them are ready."""
    held = pods_of(cluster.store, "deploy", "default", "web")
    staying = [pod for pod in held if pod.metadata.deletion_timestamp is None]
    return len(staying), sum(pod.condition("Ready") for pod in staying)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most", "least"),
    [
        (10, "25%", "25%", 13, 8),  # a surge is rounded up, what may be missing down: 2.5 is 3, and 2
        (4, "25%", "25%", 5, 3),
        (3, "25%", "25%", 4, 3),  # 0.75 is 1, and 0
        (3, "0", "1", 3, 2),
        (3, "1", "0", 4, 3),
        (5, "100%", "0", 10, 5),
        (5, "0", "100%", 5, 0),
        (3, "0%", "20%", 3, 2),  # both are 0 then, and one may be missing (ResolveFenceposts)
    ],
)
def test_an_update_keeps_to_its_surge_and_to_what_may_be_missing(
    replicas: int, surge: str, unavailable: str, most: int, least: int
) -> None:
    with run(deployment(rolling(surge, unavailable), replicas)) as cluster:
        cluster.set_image("deploy/web", "acme/web:2", settle=False)
        seen = list(over(cluster, 30.0, counted))
        assert max(count for count, _ in seen) == most
        assert min(ready for _, ready in seen) == least
        assert seen[-1] == (replicas, replicas)


def test_an_update_waits_until_a_new_pod_has_been_ready_for_long_enough() -> None:
    def replaced(cluster: Cluster) -> int:
        held = pods_of(cluster.store, "deploy", "default", "web")
        return sum(pod.spec.containers[0].image == "acme/web:2" for pod in held)

    with run(deployment(rolling(1, 0), 3, least=10)) as cluster:
        began = cluster.now
        cluster.set_image("deploy/web", "acme/web:2", settle=False)
        when: dict[int, float] = {}
        for count in over(cluster, 60.0, replaced):
            when.setdefault(count, round(cluster.now - began))
        assert when == {1: 0, 2: 11, 3: 22}  # a second to start, ten of being ready


def test_recreate_ends_every_old_pod_before_the_first_new_one() -> None:
    def versions(cluster: Cluster) -> tuple[str, ...]:
        held = [pod for pod in pods(cluster) if pod.metadata.labels.get("app") == "web"]
        return tuple(sorted({pod.spec.containers[0].image for pod in held}))

    with run(deployment("{type: Recreate}", 3)) as cluster:
        cluster.set_image("deploy/web", "acme/web:2", settle=False)
        assert list(dict.fromkeys(over(cluster, 10.0, versions))) == [("acme/web:1",), ("acme/web:2",)]


# --- Jobs and DaemonSets ---------------------------------------------------------------------------------

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 5
  parallelism: 2
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [sleep, "3"]}]}
"""


def test_a_job_runs_so_many_pods_at_a_time_until_enough_have_succeeded() -> None:
    def running(cluster: Cluster) -> int:
        return sum(pod.status.phase in ("Pending", "Running") for pod in pods(cluster))

    with run(JOB) as cluster:
        seen = list(over(cluster, 20.0, running))
        assert (max(seen), seen[-1]) == (2, 0)
        job = cluster.store.get(Job, "sum", "default")
        assert (job.status.succeeded, job.status.completion_time) == (5, pytest.approx(12.0, abs=0.1))


DAEMONS = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  nodes:
    - {name: control, controlPlane: true}
    - {name: a, labels: {disk: ssd}}
    - {name: b}
    - {name: c, labels: {disk: ssd}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {tolerations: [{operator: Exists}], containers: [{name: c, image: nginx}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: disks}
spec:
  selector: {matchLabels: {app: disks}}
  template:
    metadata: {labels: {app: disks}}
    spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: nginx}]}
"""


def test_daemons_follow_labels_taints_and_tolerations() -> None:
    def nodes(cluster: Cluster, name: str) -> list[str]:
        return sorted(pod.spec.node_name for pod in pods_of(cluster.store, "ds", "default", name))

    with run(DAEMONS) as cluster:
        assert nodes(cluster, "agent") == ["a", "b", "c", "control"]
        assert nodes(cluster, "disks") == ["a", "c"]
        cluster.taint("a", "disk=worn:NoExecute")
        assert nodes(cluster, "agent") == ["a", "b", "c", "control"], "it tolerates everything"
        assert nodes(cluster, "disks") == ["c"]
        cluster.taint("a", "disk:NoExecute-")
        assert nodes(cluster, "disks") == ["a", "c"]
