"""A small cluster for the tests of checks, and checks read from YAML as a Topology's are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TypeAlias

from netsim.checks.report import CheckResult
from netsim.cluster import Cluster, run
from netsim.objects.manifest import load
from netsim.objects.topology import Check

Judge: TypeAlias = Callable[[str], CheckResult]

SHOP = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: shop}
spec:
  seed: 1
  external:
    hosts:
      - {name: client, address: 203.0.113.50, http: {80: "outside\\n"}}
      - {name: www.example.com, address: 203.0.113.80, http: {80: "hello\\n"}}
  images:
    acme/shop: {http: {8080: "shop on {hostname}\\n"}}
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
metadata: {name: near, namespace: dev, labels: {app: near}}
spec:
  nodeName: node1
  containers: [{name: who, image: acme/who, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: dev, labels: {app: far}}
spec:
  nodeName: node2
  containers:
    - name: who
      image: acme/who
      ports: [{containerPort: 8080}, {containerPort: 9000, protocol: UDP}]
---
apiVersion: v1
kind: Pod
metadata: {name: onnode, namespace: dev}
spec:
  nodeName: node2
  hostNetwork: true
  containers: [{name: who, image: acme/who, ports: [{containerPort: 7070}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: prod}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: shop, image: acme/shop, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: prod}
spec:
  clusterIP: 10.96.1.1
  selector: {app: shop}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: prod}
spec: {clusterIP: None, selector: {app: shop}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: deaf, namespace: prod}
spec:
  clusterIP: 10.96.1.2
  selector: {app: shop}
  ports: [{port: 80, targetPort: 9999}]
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: prod}
spec:
  clusterIP: 10.96.1.3
  selector: {app: nobody}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: dev}
spec:
  clusterIP: 10.96.1.4
  selector: {app: far}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: prod}
spec:
  type: NodePort
  clusterIP: 10.96.1.5
  selector: {app: shop}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: dev}
spec:
  type: NodePort
  clusterIP: 10.96.1.6
  selector: {app: far}
  ports: [{name: web, port: 80, targetPort: 8080}, {name: echo, port: 9000, protocol: UDP, nodePort: 30900}]
"""


def open_shop() -> Cluster:
    """The cluster, converged."""
    return run(SHOP).__enter__()


CHECKS = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: checks}
spec:
  external: {hosts: [{name: client, address: 203.0.113.50}]}
  checks:
"""


def read_check(text: str) -> Check:
    """The check that a YAML mapping says."""
    indented = textwrap.indent(textwrap.dedent(text).strip(), "  ")
    (check,) = read_checks(f"-{indented[1:]}\n")
    return check


def read_checks(text: str) -> tuple[Check, ...]:
    """The checks that a YAML list says, read as those of a Topology."""
    return load([CHECKS + textwrap.indent(text, "    ")]).topology.checks
