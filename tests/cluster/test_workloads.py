"""Every kind of workload, from its manifest to its Pods' names and answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netsim.base.errors import UsageError
from netsim.cluster import Cluster, run
from netsim.cluster.names import pods_of
from netsim.objects.core import Pod
from netsim.objects.workloads import Job

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 6379, name: redis}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: redis, image: redis, ports: [{containerPort: 6379}]}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: frontend}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: guestbook, tier: frontend}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [sh, -c, "exit 0"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: ubuntu, tty: true, stdin: true}]}
"""


@pytest.fixture
def workloads() -> Iterator[Cluster]:
    with run(MANIFESTS) as cluster:
        yield cluster


def test_nothing_is_warned_of_and_nothing_looks_broken(workloads: Cluster) -> None:
    assert workloads.warnings == []
    assert workloads.findings() == []


async def test_a_stateful_pod_has_a_name_of_its_own(workloads: Cluster) -> None:
    client = workloads.pod("client")
    for number in range(3):
        pod = workloads.store.get(Pod, f"db-{number}", "default")
        answer = await client.resolve(f"db-{number}.db")
        assert [str(address) for address in answer.addresses] == [pod.status.pod_ip]
        assert (await workloads.pod(f"db-{number}").exec(["hostname", "-f"])).stdout == (
            f"db-{number}.db.default.svc.cluster.local\n"
        )


async def test_a_replaced_stateful_pod_keeps_its_name_at_its_new_address(workloads: Cluster) -> None:
    before = workloads.store.get(Pod, "db-1", "default").status.pod_ip
    await workloads.delete("pod", "default/db-1")
    after = workloads.store.get(Pod, "db-1", "default").status.pod_ip
    assert after != before
    workloads.advance(30.0)  # as long as CoreDNS caches the old answer
    answer = await workloads.pod("client").resolve("db-1.db")
    assert [str(address) for address in answer.addresses] == [after]


async def test_peers_are_found_by_srv(workloads: Cluster) -> None:
    answer = await workloads.pod("client").exec(["dig", "+short", "SRV", "db.default.svc.cluster.local"])
    targets = {line.split()[-1] for line in answer.stdout.splitlines()}
    assert targets == {f"db-{number}.db.default.svc.cluster.local." for number in range(3)}


@pytest.mark.parametrize(
    ("target", "count"), [("sts/db", 3), ("ds/agent", 2), ("rc/frontend", 2), ("job/once", 1)]
)
def test_pods_are_found_by_their_owner(workloads: Cluster, target: str, count: int) -> None:
    kind, _, name = target.partition("/")
    assert len(pods_of(workloads.store, kind, "default", name)) == count


def test_a_daemon_runs_on_every_node_that_takes_it(workloads: Cluster) -> None:
    pods = pods_of(workloads.store, "ds", "default", "agent")
    assert sorted(pod.spec.node_name for pod in pods) == ["node1", "node2"]


def test_a_job_runs_to_its_end(workloads: Cluster) -> None:
    job = workloads.store.get(Job, "once", "default")
    assert job.condition("Complete")
    assert [p.status.phase for p in pods_of(workloads.store, "job", "default", "once")] == ["Succeeded"]


@pytest.mark.parametrize("target", ["sts/default/db", "rc/default/frontend"])
def test_what_has_replicas_is_scaled(workloads: Cluster, target: str) -> None:
    workloads.scale(target, 4)
    kind, namespace, name = target.split("/")
    pods = pods_of(workloads.store, kind, namespace, name)
    assert len(pods) == 4
    assert all(pod.condition("Ready") for pod in pods)


def test_what_has_no_replicas_cannot_be_scaled(workloads: Cluster) -> None:
    with pytest.raises(UsageError, match="there is no ds/default/agent to scale"):
        workloads.scale("ds/default/agent", 4)
