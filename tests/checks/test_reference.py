"""The checks in the Topology's reference run, and hold, on a cluster that has what they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.checks.report import CheckResult, run_checks
from netsim.cluster import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "topology.md"
SHOPS = """
---
{apiVersion: v1, kind: Namespace, metadata: {name: dev}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
apiVersion: v1
kind: Pod
metadata: {name: jump, namespace: dev}
spec:
  nodeName: node1
  containers: [{name: jump, image: busybox, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: ent, namespace: dev, labels: {app: ent}}
spec:
  containers: [{name: ent, image: hashicorp/http-echo, args: [-text, Hello, -listen, ":8080"]}]
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: dev}
spec: {selector: {app: ent}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: node2}
      containers: [{name: web, image: acme/who, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: prod}
spec: {selector: {app: web}, ports: [{port: 8080}]}
"""


def example() -> str:
    """The YAML block below the heading ``Checks``."""
    checks = PAGE.read_text(encoding="utf-8").partition("## Checks\n")[2]
    return checks.partition("```yaml\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def results() -> tuple[CheckResult, ...]:
    with run(example() + SHOPS) as cluster:
        return run_checks(cluster).checks


def test_the_reference_shows_each_verb(results: tuple[CheckResult, ...]) -> None:
    words = {result.name.partition(" ")[0] for result in results}
    assert words == {"resolve", "query", "connect", "get", "ping", "exec", "table", "capture"}


def test_every_check_of_the_reference_holds(results: tuple[CheckResult, ...]) -> None:
    failed = {result.name: (result.expected, result.observed) for result in results if not result.passed}
    assert failed == {}
