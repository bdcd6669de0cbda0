"""A site with clients inside and outside of the cluster, for the tests of Services."""

from __future__ import annotations

from collections.abc import Callable

from netsim.cluster import Cluster
from netsim.cluster.run import Running
from netsim.objects.core import Service
from netsim.programs.http import HttpReply

NODES = {"control": "192.168.10.10", "node1": "192.168.10.11", "node2": "192.168.10.12"}
Start = Callable[[str], Running]
CLIENTS = ("external/client", "external/neighbour", "node/node1", "node/node2", "near", "far")

SITE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
metadata: {name: site}
spec:
  external:
    hosts:
      - {name: client, address: 203.0.113.99, http: {8080: "the client's own page\\n"}}
      - {name: neighbour, address: 192.168.10.200}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: node1
      containers: [{name: c, image: acme/web, ports: [{containerPort: 8080, name: http}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: near}
spec: {nodeName: node1, containers: [{name: c, image: ubuntu, tty: true, stdin: true}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: node2, containers: [{name: c, image: ubuntu, tty: true, stdin: true}]}
"""
"""``client`` is outside, ``neighbour`` in the nodes' subnet; all Pods of ``web`` run on node1, with ``near``;
``far`` runs on node2."""


WEB = """---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: nginx, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
"""


def web(replicas: int) -> str:
    """The manifests of a Deployment ``web`` and of a Service of the same name, at port 80."""
    return WEB.format(replicas=replicas)


def client(node: str = "") -> str:
    """The manifest of a Pod ``client`` that waits for commands."""
    place = f"nodeName: {node}, " if node else ""
    return (
        "---\n{apiVersion: v1, kind: Pod, metadata: {name: client}, "
        f"spec: {{{place}containers: [{{name: c, image: ubuntu, tty: true, stdin: true}}]}}}}\n"
    )


def service(name: str, spec: str) -> str:
    """The manifest of a Service in the namespace default."""
    return f"---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {spec}}}\n"


def spec_of(cluster: Cluster, name: str) -> Service:
    return cluster.store.get(Service, name, "default")


def cluster_ip(cluster: Cluster, name: str) -> str:
    return spec_of(cluster, name).spec.cluster_ip


async def ask(cluster: Cluster, client: str, target: str) -> HttpReply:
    """The page at ``ADDRESS:PORT``, as a client of ``CLIENTS`` gets it."""
    return await cluster.find(client).get(f"http://{target}/", timeout=5.0)


async def outcome(cluster: Cluster, client: str, target: str) -> str:
    """``ok``, ``refused``, ``timeout`` …"""
    return (await cluster.find(client).connect(target, timeout=5.0)).result


def field(reply: HttpReply, name: str) -> str:
    """A line of the page with which an unknown image introduces itself: ``Hostname``, ``RemoteAddr`` …"""
    (line,) = (line for line in reply.text.splitlines() if line.startswith(f"{name}: "))
    return line.partition(": ")[2]
