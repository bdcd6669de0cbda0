"""A cluster of 50 nodes, 1,000 Pods and 200 Services: started, converged and checked by ``netsim run``.

``make bench`` prints wall time, CPU time and peak memory of the process for each Pod network and kube-proxy
mode, then where the time goes, measured in a process of its own. The shape: 200 Deployments of 1 to 9
replicas in ten namespaces, a Service over each (every tenth headless, every tenth a NodePort), a readiness
probe in every fifth; 320 checks, from 200 Pods.

Then what Kubernetes' own limits ask for: 5,000 nodes, and 10,000 Services with 15 endpoints each. Memory is
held to a limit; nothing here fails for being slow.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NODES = 50
NAMESPACES = 10
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 5)  # of Deployments, in turn
SERVICES = 200
RUNS = 3
MEMORY_LIMIT = 400  # MiB
ROOT = Path(__file__).resolve().parent.parent.parent

APP = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, tier: web}}}}
    spec:
      containers:
        - name: web
          image: nginx:1.27
          ports: [{{containerPort: 80, name: http}}]
          env: [{{name: APP, value: {name}}}]
{probe}---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: http}}]
{kind}"""
PROBE = "          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 5}\n"
KINDS = {3: "  clusterIP: None\n", 7: "  type: NodePort\n"}  # of a Service, by its last digit

PHASES = """
import gc, json, resource, sys, time
from pathlib import Path
gc.disable()  # as netsim run does while it starts
marks = [time.process_time()]
def mark(): marks.append(time.process_time())
from netsim.checks.report import run_checks
from netsim.cluster.cluster import Cluster
from netsim.objects.manifest import load
mark()
loaded = load([Path(sys.argv[1])]); mark()
cluster = Cluster(loaded, programs={}); mark()
cluster.settle(); mark()
report = run_checks(cluster); mark()
cluster.findings(); mark()
assert not report.failed
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([peak, *(after - before for before, after in zip(marks, marks[1:]))]))
cluster.close()
"""
PHASE_NAMES = ("import", "load", "cluster", "settle", "checks", "findings")
COMBINATIONS = [(network, mode) for network in ("overlay", "bgp") for mode in ("iptables", "ipvs")]
LARGEST_NODES, LARGEST_SERVICES, ENDPOINTS = 5000, 10_000, 15
LARGEST_MEMORY_LIMIT = 1536  # MiB


def application(number: int) -> tuple[str, str]:
    """Namespace and name of a Deployment and its Service."""
    return f"team-{number % NAMESPACES}", f"app-{number}"


def checks() -> Iterator[dict[str, object]]:
    """Of each application: its name, one connection (if it has an address of its own), from a Pod of another
    one in the next namespace."""
    for number in range(SERVICES):
        namespace, name = application(number)
        source = "deploy/" + "/".join(application((number * 7 + 11) % SERVICES))
        headless = number % 10 == 3
        address = f"deploy/{namespace}/{name}" if headless else f"svc/{namespace}/{name}"
        if number % 5 < 3 or headless:
            yield {"from": source, "resolve": f"{name}.{namespace}", "expect": {"addresses": [address]}}
        if not headless:
            reached = {"reached": [f"deploy/{namespace}/{name}"]}
            yield {"from": source, "connect": f"{name}.{namespace}:80", "expect": reached}


def nodes(count: int) -> list[dict[str, object]]:
    """One of them the control plane."""
    workers: list[dict[str, object]] = [{"name": f"node{n}"} for n in range(1, count)]
    return [{"name": "control", "controlPlane": True}, *workers]


def head(**spec: object) -> str:
    """The Topology."""
    document = {
        "apiVersion": "netsim.dev/v1alpha1",
        "kind": "Topology",
        "metadata": {"name": "scale"},
        "spec": spec,
    }
    return json.dumps(document) + "\n"


def shops(network: str, mode: str) -> str:
    """The file for 50 nodes."""
    networking = {"podNetwork": network, "kubeProxyMode": mode}
    parts = [head(nodes=nodes(NODES), networking=networking, checks=list(checks()))]
    parts += [f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: team-{n}}}}}\n" for n in range(10)]
    for number in range(SERVICES):
        namespace, name = application(number)
        parts.append(
            APP.format(
                name=name,
                namespace=namespace,
                replicas=SIZES[number // NAMESPACES % len(SIZES)],
                probe=PROBE if number % 5 == 0 else "",
                kind=KINDS.get(number % 10, ""),
            )
        )
    return "".join(parts)


def environment() -> dict[str, str]:
    """As for a user: compiled modules are kept between runs."""
    return {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def largest() -> Iterator[str]:
    """The file for 5,000 nodes: Services without selectors, with the endpoints written by hand."""
    networking = {"podSubnet": "10.0.0.0/11", "serviceSubnet": "10.96.0.0/14"}
    fabric = {"subnets": [{"name": "lan", "cidr": "172.16.0.0/16"}]}
    yield head(nodes=nodes(LARGEST_NODES), networking=networking, fabric=fabric)
    for number in range(LARGEST_SERVICES):
        spec = {"ports": [{"port": 80, "targetPort": 8080}]}
        yield _document("v1", "Service", f"s{number}", spec=spec)
        places = range(number * ENDPOINTS, (number + 1) * ENDPOINTS)
        endpoints = [
            {"addresses": [f"10.{16 + place // 65536}.{place // 256 % 256}.{place % 256}"],
             "conditions": {"ready": True}, "nodeName": f"node{1 + place % (LARGEST_NODES - 1)}"}
            for place in places
        ]  # fmt: skip
        yield _document(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            f"s{number}-x",
            labels={"kubernetes.io/service-name": f"s{number}"},
            addressType="IPv4",
            ports=[{"name": "", "port": 8080, "protocol": "TCP"}],
            endpoints=endpoints,
        )


def _document(version: str, kind: str, name: str, labels: object = None, **fields: object) -> str:
    metadata = {"name": name, "labels": labels or {}}
    return "---\n" + json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **fields}) + "\n"


def phases(file: Path) -> tuple[float, str]:
    """Peak memory in MiB, and CPU seconds by phase, in a process of its own."""
    command = [sys.executable, "-c", PHASES, str(file)]
    result = subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True)
    peak, *seconds = json.loads(result.stdout)
    told = ", ".join(f"{name} {taken:.2f} s" for name, taken in zip(PHASE_NAMES, seconds, strict=True))
    return peak, told


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("network", "mode"), COMBINATIONS)
def test_fifty_nodes_a_thousand_pods(tmp_path: Path, network: str, mode: str) -> None:
    file = tmp_path / "scale.yaml"
    file.write_text(shops(network, mode))
    walls, processors = [], []
    for _ in range(RUNS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "netsim", "run", str(file)]
        subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    peak, told = phases(file)
    print(f"\nnetsim run, {network}, {mode}: best of {RUNS}: {min(walls):.2f} s, CPU {min(processors):.2f} s")
    print(f"in one process: {told}; peak {peak:.0f} MiB")
    assert peak < MEMORY_LIMIT


@pytest.mark.timeout(600)
def test_the_largest_cluster_that_kubernetes_promises(tmp_path: Path) -> None:
    file = tmp_path / "largest.yaml"
    file.write_text("".join(largest()))
    peak, told = phases(file)
    print(f"\n{LARGEST_NODES} nodes, {LARGEST_SERVICES} Services of {ENDPOINTS} endpoints: {told}")
    print(f"peak {peak:.0f} MiB")
    assert peak < LARGEST_MEMORY_LIMIT
