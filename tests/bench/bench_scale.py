"""A cluster of 50 nodes, 1,000 Pods and 200 Services: started, converged and checked by ``netsim run``.

``make bench`` prints wall time, CPU time and peak memory of the process, then where the time goes, measured
in a process of its own. The shape: 200 Deployments of 1 to 9 replicas in ten namespaces, a Service over each
(every tenth headless, every tenth a NodePort), a readiness probe in every fifth; 320 checks, from 200 Pods.
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

NODES = 50
NAMESPACES = 10
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 5)  # of Deployments, in turn
SERVICES = 200
RUNS = 3
TIME_LIMIT = 5.0  # seconds
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
import json, sys, time
from pathlib import Path
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
print(json.dumps([after - before for before, after in zip(marks, marks[1:])]))
"""


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


def topology(nodes: int = NODES, services: int = SERVICES) -> str:
    """The file, as YAML."""
    names = [{"name": "control", "controlPlane": True}, *({"name": f"node{n}"} for n in range(1, nodes))]
    head = {
        "apiVersion": "netsim.dev/v1alpha1",
        "kind": "Topology",
        "metadata": {"name": "scale"},
        "spec": {"nodes": names, "checks": list(checks())},
    }
    parts = [json.dumps(head, indent=1), "\n"]
    parts += [f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: team-{n}}}}}\n" for n in range(10)]
    for number in range(services):
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


def test_fifty_nodes_a_thousand_pods(tmp_path: Path) -> None:
    file = tmp_path / "scale.yaml"
    file.write_text(topology())
    walls, processors = [], []
    for _ in range(RUNS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "netsim", "run", str(file)]
        subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
        walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    peak = after.ru_maxrss / 1024
    print(
        f"\nnetsim run: best of {RUNS} {min(walls):.2f} s, CPU {min(processors):.2f} s, peak {peak:.0f} MiB"
    )
    command = [sys.executable, "-c", PHASES, str(file)]
    result = subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True)
    names = ("import", "load", "cluster", "settle", "checks", "findings")
    phases = zip(names, json.loads(result.stdout), strict=True)
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in phases))
    assert min(walls) < TIME_LIMIT
    assert peak < MEMORY_LIMIT
