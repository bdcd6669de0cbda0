"""How a Deployment moves its replicas from old ReplicaSets to the new one.

Every strategy here lets the new ReplicaSet take over at once: the old ones go to zero when the new one is
made. ``plan`` is the one place that decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.meta import ObjectRef

DEFAULT_MAX_UNAVAILABLE = "25%"  # apis/apps/v1/defaults.go


def plan(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Mapping[ObjectRef, int]:
    """How many replicas each ReplicaSet shall have now."""
    return {**{replica_set.ref: 0 for replica_set in old}, new.ref: deployment.spec.replicas}


def max_unavailable(deployment: Deployment) -> int:
    """How many replicas may be missing while the Deployment counts as available; a percentage rounds down.

    Source: ``pkg/controller/deployment/util/deployment_util.go``, MaxUnavailable.
    """
    strategy = deployment.spec.rest.get("strategy") or {}
    if strategy.get("type") == "Recreate" or deployment.spec.replicas == 0:
        return 0
    wanted = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", DEFAULT_MAX_UNAVAILABLE)
    if isinstance(wanted, str) and wanted.endswith("%"):
        return min(deployment.spec.replicas * int(wanted[:-1]) // 100, deployment.spec.replicas)
    return min(int(wanted), deployment.spec.replicas)
