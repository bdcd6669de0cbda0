"""The changes of a Topology: done at their time, whatever else goes on; and ``Cluster.set_image``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netsim.base.errors import UsageError
from netsim.checks.report import render_report, run_checks
from netsim.cluster import Cluster, run
from netsim.cluster.names import pods_of
from netsim.objects.core import Node, Pod, Service
from netsim.objects.manifest import load

SITE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {{name: changing}}
spec:
  changes: [{changes}]
  checks: [{checks}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - {{name: web, image: "acme/web:1", ports: [{{containerPort: 80}}]}}
        - {{name: side, image: "acme/side:1"}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{containers: [{{name: c, image: ubuntu, tty: true, stdin: true}}]}}
"""


def site(*changes: str, checks: str = "") -> str:
    return SITE.format(changes=", ".join(changes), checks=checks)


def images(cluster: Cluster) -> set[tuple[str, ...]]:
    pods = pods_of(cluster.store, "deploy", "default", "web")
    return {tuple(held.image for held in pod.spec.containers) for pod in pods}


def replicas(cluster: Cluster) -> int:
    return len(pods_of(cluster.store, "deploy", "default", "web"))


def is_ready(cluster: Cluster) -> bool:
    conditions = cluster.store.get(Node, "node2").status.conditions
    return any((held.type, held.status) == ("Ready", "True") for held in conditions)


def cluster_port(cluster: Cluster) -> int:
    return cluster.store.get(Service, "web", "default").spec.ports[0].port


def names(cluster: Cluster) -> list[str]:
    return [pod.metadata.name for pod in cluster.store.list(Pod) if pod.metadata.namespace == "default"]


OTHER_PORT = (
    "apply: {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, "
    "ports: [{port: 81, targetPort: 80}]}}"
)
POD = "{apiVersion: v1, kind: Pod, metadata: {name: late}, spec: {containers: [{name: c, image: nginx}]}}"


@pytest.mark.parametrize(
    ("change", "seen", "before", "after"),
    [
        (OTHER_PORT, cluster_port, 80, 81),
        (f"apply: [{POD}]", lambda c: "late" in names(c), False, True),
        ("delete: pod/client", lambda c: "client" in names(c), True, False),
        ("delete: deployment/default/web", lambda c: len(names(c)), 3, 1),
        ("scale: deploy/web, replicas: 5", replicas, 2, 5),
        (
            "setImage: deploy/default/web, image: 'acme/web:2', container: web",
            images,
            {("acme/web:1", "acme/side:1")},
            {("acme/web:2", "acme/side:1")},
        ),
        ("failNode: node2", is_ready, True, False),
    ],
)
def test_a_change_happens_at_its_time(
    change: str, seen: Callable[[Cluster], object], before: object, after: object
) -> None:
    with run(site(f"{{at: 60s, {change}}}")) as cluster:
        cluster.advance(59.9)
        assert seen(cluster) == before
        cluster.advance(90.0)
        assert seen(cluster) == after
        assert cluster.failed_changes == []


def test_a_node_is_cut_off_and_there_again_and_a_template_goes_there_and_back() -> None:
    changes = (
        "{at: 10s, failNode: node2}",
        "{at: 90s, restoreNode: node2}",
        "{at: 200s, setImage: deploy/web, image: 'acme/web:2'}",
        "{at: 220s, rollback: deploy/web}",
    )
    with run(site(*changes)) as cluster:
        cluster.advance(85.0)
        assert not is_ready(cluster)
        cluster.advance(100.0)
        assert is_ready(cluster)
        cluster.advance(30.0)
        assert images(cluster) == {("acme/web:2", "acme/web:2")}
        cluster.advance(30.0)
        assert images(cluster) == {("acme/web:1", "acme/side:1")}


def test_checks_see_the_changes_that_happen_while_they_run() -> None:
    asked = "{from: client, get: 'http://web/', count: 20, every: 1s, expect: {lost: 10}}"
    gone = "{name: in the end nobody answers, from: client, connect: 'web:80', expect: {result: refused}}"
    with run(site("{at: 9500ms, scale: deploy/web, replicas: 0}", checks=f"{asked}, {gone}")) as cluster:
        report = run_checks(cluster)
        assert report.failed == 0, render_report(report)


def test_a_change_after_the_last_check_happens_too() -> None:
    with run(site("{at: 30s, scale: deploy/web, replicas: 0}")) as cluster:
        assert run_checks(cluster).checks == ()
        cluster.settle()
        assert [name for name in names(cluster) if name.startswith("web")] == []


GIVEN = "@GIVEN@"
"""Stands for the address that ``web`` gets."""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("rollback: deploy/web", 'no rollout history found for deployment "web"'),
        ("scale: deploy/shop, replicas: 1", "there is no deploy/shop to scale"),
        ("setImage: sts/web, image: x", "there is no sts/web to update"),
        ("setImage: deploy/web, image: x, container: other", 'unable to find container named "other"'),
        ("delete: cm/default/settings", 'cm "settings" not found in namespace default'),
        (
            "apply: {apiVersion: v1, kind: Service, metadata: {name: late}, "
            f"spec: {{clusterIP: {GIVEN}, ports: [{{port: 80}}]}}}}",
            f"Service default/late: {GIVEN}: provided IP is already allocated",
        ),
        (
            "apply: {apiVersion: v1, kind: Pod, metadata: {name: client}, "
            "spec: {hostname: other, containers: [{name: c, image: ubuntu}]}}",
            "pod updates may not change fields",
        ),
    ],
)
def test_a_change_that_cannot_be_made_is_a_failed_check(change: str, reason: str) -> None:
    with run(site()) as cluster:
        given = cluster.store.get(Service, "web", "default").spec.cluster_ip
    change, reason = change.replace(GIVEN, given), reason.replace(GIVEN, given)
    check = "{from: client, get: 'http://web/', at: 20s, expect: {status: 200}}"
    with run(site(f"{{at: 10s, {change}}}", checks=check)) as cluster:
        passed, failed = run_checks(cluster).checks
        assert passed.passed
        assert not failed.passed
        assert failed.name.startswith("at 10 s: ")
        assert failed.source.line == 6
        assert reason in failed.observed["detail"]


def test_files_are_found_beside_the_topology(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "late.yaml").write_text(POD)
    topology = tmp_path / "site.yaml"
    topology.write_text(site("{at: 5s, apply: more/*.yaml}"))
    (change,) = load([topology]).topology.changes
    assert [str(obj.ref) for obj in change.objects] == ["Pod default/late"]
    with run(topology) as cluster:
        assert "late" not in names(cluster)
        cluster.advance(10.0)
        assert "late" in names(cluster)


# --- set_image -------------------------------------------------------------------------------------------


def test_an_image_is_set_in_every_container_or_in_one() -> None:
    with run(site()) as cluster:
        cluster.set_image("deploy/web", "acme/web:2")
        assert images(cluster) == {("acme/web:2", "acme/web:2")}
        cluster.set_image("deployment/default/web", "acme/side:3", "side")
        assert images(cluster) == {("acme/web:2", "acme/side:3")}
        with pytest.raises(UsageError, match=r'named "sid"\n.*there are web, side'):
            cluster.set_image("deploy/web", "x", "sid")
