"""``Cluster.rollback``: back to an earlier template, in kubectl's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from netsim.base.errors import UsageError
from netsim.cluster import Cluster, run
from netsim.cluster.names import pods_of
from netsim.objects.apps import Deployment

MANIFEST = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: web, annotations: {{kubernetes.io/change-cause: "version {version}"}}}}
spec:
  {more}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "acme/web:v{version}", ports: [{{containerPort: 80}}]}}]}}
"""


def manifest(version: int, kind: str = "Deployment", more: str = "replicas: 2") -> str:
    return MANIFEST.format(version=version, kind=kind, more=more)


@pytest.fixture
def thrice() -> Iterator[Cluster]:
    """A Deployment at its third version."""
    with run(manifest(1)) as cluster:
        for version in (2, 3):
            cluster.pump(cluster.apply(manifest(version)))
        yield cluster


def images(cluster: Cluster, kind: str = "deploy") -> set[str]:
    return {pod.spec.containers[0].image for pod in pods_of(cluster.store, kind, "default", "web")}


def test_it_goes_back_to_the_version_before(thrice: Cluster) -> None:
    assert images(thrice) == {"acme/web:v3"}
    assert thrice.rollback("deploy/default/web") == "deployment.apps/web rolled back"
    assert images(thrice) == {"acme/web:v2"}
    assert thrice.rollback("deploy/default/web") == "deployment.apps/web rolled back"
    assert images(thrice) == {"acme/web:v3"}


def test_it_goes_back_to_the_revision_that_is_named(thrice: Cluster) -> None:
    thrice.rollback("deploy/web", 1)
    assert images(thrice) == {"acme/web:v1"}
    found = thrice.store.get(Deployment, "web", "default")
    assert found.metadata.annotations["deployment.kubernetes.io/revision"] == "4"
    assert found.metadata.annotations["kubernetes.io/change-cause"] == "version 1"


def test_the_present_revision_is_skipped(thrice: Cluster) -> None:
    said = thrice.rollback("deploy/web", 3)
    assert said == "deployment.apps/web skipped rollback (current template already matches revision 3)"


def test_a_revision_that_is_not_there_is_named_with_those_that_are(thrice: Cluster) -> None:
    with pytest.raises(UsageError, match=r"unable to find specified revision 7 in history\n.*1, 2, 3"):
        thrice.rollback("deploy/web", 7)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_stateful_sets_and_daemon_sets_go_back_too(kind: str) -> None:
    more = "replicas: 2" if kind == "StatefulSet" else "minReadySeconds: 0"
    short = {"StatefulSet": "sts", "DaemonSet": "ds"}[kind]
    with run(manifest(1, kind, more)) as cluster:
        with pytest.raises(UsageError, match="no last revision to roll back to"):
            cluster.rollback(f"{short}/web")
        cluster.pump(cluster.apply(manifest(2, kind, more)))
        assert images(cluster, short) == {"acme/web:v2"}
        assert cluster.rollback(f"{short}/web") == f"{kind.lower()}.apps/web rolled back"
        assert images(cluster, short) == {"acme/web:v1"}
        skipped = "skipped rollback (current template already matches revision 3)"
        assert cluster.rollback(f"{short}/web", 3) == f"{kind.lower()}.apps/web {skipped}"


def test_what_was_never_changed_has_no_history() -> None:
    with run(manifest(1)) as cluster, pytest.raises(UsageError, match="no rollout history found"):
        cluster.rollback("deploy/web")


def test_a_paused_deployment_does_not_go_back(thrice: Cluster) -> None:
    found = thrice.store.get(Deployment, "web", "default")
    thrice.store.update(replace(found, spec=replace(found.spec, rest={**found.spec.rest, "paused": True})))
    with pytest.raises(UsageError, match="you cannot rollback a paused deployment"):
        thrice.rollback("deploy/web")


@pytest.mark.parametrize("target", ["deploy/missing", "pod/web", "web"])
def test_what_is_not_there_cannot_go_back(thrice: Cluster, target: str) -> None:
    with pytest.raises(UsageError, match=f"there is no {target} to roll back"):
        thrice.rollback(target)


def test_a_replica_set_has_no_history(thrice: Cluster) -> None:
    name = pods_of(thrice.store, "deploy", "default", "web")[0].metadata.owner_references[0].name
    with pytest.raises(UsageError, match="no rollbacker has been implemented"):
        thrice.rollback(f"rs/default/{name}")
