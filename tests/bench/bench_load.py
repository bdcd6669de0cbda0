"""How long files take to load: the two-namespace file in a new interpreter, and a thousand shops at once.

``make bench`` prints the medians. The small file is measured as the first thing that ``load`` does, with
what it imports for a Topology; the import of the module itself is told apart.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from netsim.objects.manifest import load

ROOT = Path(__file__).resolve().parent.parent.parent
TOPOLOGY = ROOT / "topologies" / "cross-namespace.yaml"
RUNS = 10
SMALL_LIMIT = 0.060  # seconds
SHOPS = 1000

PROGRAM = """
import sys, time
started = time.perf_counter()
from netsim.objects.manifest import load
imported = time.perf_counter()
load([sys.argv[1]])
print(imported - started, time.perf_counter() - imported)
"""

SHOP = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop-{0}, labels: {{app: shop-{0}}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: shop-{0}}}}}
  template:
    metadata: {{labels: {{app: shop-{0}}}}}
    spec:
      containers:
        - name: web
          image: nginx:1.27
          ports: [{{containerPort: 80, name: http}}]
---
apiVersion: v1
kind: Service
metadata: {{name: shop-{0}}}
spec:
  selector: {{app: shop-{0}}}
  ports: [{{port: 80, targetPort: http}}]
"""


def test_a_small_file_in_a_new_interpreter() -> None:
    imports, loads = [], []
    for _ in range(RUNS + 1):
        command = [sys.executable, "-c", PROGRAM, str(TOPOLOGY)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        imported, loaded = map(float, result.stdout.split())
        imports.append(imported)
        loads.append(loaded)
    taken = statistics.median(loads[1:])
    print(f"\nimport {statistics.median(imports[1:]) * 1000:.0f} ms, then load {taken * 1000:.0f} ms")
    assert taken < SMALL_LIMIT


def test_a_thousand_deployments_and_services() -> None:
    text = "".join(SHOP.format(number) for number in range(SHOPS))
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        loaded = load([text])
        taken.append(time.perf_counter() - started)
    assert len(loaded.objects) == 2 * SHOPS
    print(f"\n{SHOPS} Deployments and {SHOPS} Services: {statistics.median(taken) * 1000:.0f} ms")
