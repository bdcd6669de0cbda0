"""Manifests that the cluster tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.run import Running
from tests.cluster.sites import Start
from tests.conftest import Combination

TWO_NAMESPACES = """
apiVersion: v1
kind: Namespace
metadata: {name: dev}
---
apiVersion: v1
kind: Namespace
metadata: {name: prod}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: enterprise, namespace: dev}
spec:
  replicas: 2
  selector: {matchLabels: {app: enterprise}}
  template:
    metadata: {labels: {app: enterprise}}
    spec: {containers: [{name: c, image: "nigelpoulton/k8sbook:text-dev", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: enterprise, namespace: prod}
spec:
  replicas: 3
  selector: {matchLabels: {app: enterprise}}
  template:
    metadata: {labels: {app: enterprise}}
    spec: {containers: [{name: c, image: "nigelpoulton/k8sbook:text-prod", ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: dev}
spec: {selector: {app: enterprise}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ent, namespace: prod}
spec: {selector: {app: enterprise}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: jump, namespace: dev}
spec: {containers: [{name: jump, image: ubuntu, tty: true, stdin: true}]}
"""

BROKEN = """
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: ubuntu, tty: true, stdin: true}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80, name: http}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: deaf}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: webb}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: misnamed}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: metrics}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ends}
spec: {containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: lost}
spec: {nodeName: worker-3, containers: [{name: c, image: nginx}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 3
  selector: {matchLabels: {tier: many}}
  template:
    metadata: {labels: {tier: many}}
    spec: {containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: many}
spec: {selector: {tier: many}, ports: [{port: 80, targetPort: 9999}]}
---
apiVersion: v1
kind: Service
metadata: {name: swapped}
spec: {selector: {app: wbe}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: key}
spec: {selector: {ap: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: far}
spec: {selector: {app: something-else}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: abroad, namespace: kube-public}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: unselective}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: restless}
spec:
  containers:
    - name: c
      image: nginx
      ports: [{containerPort: 80, name: http}, {containerPort: 8080, name: health}]
      readinessProbe: {httpGet: {port: http}}
      livenessProbe: {httpGet: {port: health}}
"""


@pytest.fixture
def two_namespaces() -> Iterator[Cluster]:
    """A cluster with Service ``ent`` in ``dev`` (2 Pods) and in ``prod`` (3 Pods), and the Pod dev/jump."""
    with run(TWO_NAMESPACES) as cluster:
        yield cluster


@pytest.fixture
def broken() -> Iterator[Cluster]:
    """A cluster in which everything that can look broken does."""
    with run(BROKEN) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def start(combination: Combination) -> Start:
    """``netsim.run``, once for each Pod network and each mode of kube-proxy."""

    def started(source: str) -> Running:
        return run(source, network=combination.network, proxy_mode=combination.proxy_mode)

    return started
