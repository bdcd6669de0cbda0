"""How a Deployment spreads its replicas over its ReplicaSets: updates, and changes of size in their middle.

``deployment`` asks ``plan`` at every look; what it says depends on nothing but the sizes that the ReplicaSets
have and how many of their Pods are available. Source: kube-controller-manager ``pkg/controller/deployment``:
``rolling.go``, ``recreate.go``, ``sync.go`` (scale, isScalingEvent) and ``util/deployment_util.go``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netsim.controllers.amounts import scaled
from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.meta import ObjectRef

DEFAULT_AMOUNT = "25%"  # apis/apps/v1/defaults.go, maxUnavailable and maxSurge
DESIRED = "deployment.kubernetes.io/desired-replicas"  # how many the Deployment wanted when this was sized
MOST = "deployment.kubernetes.io/max-replicas"  # and how many at most, with maxSurge

Sizes = Mapping[ObjectRef, int]


def plan(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], *, old_pods_run: bool
) -> Sizes:
    """How many replicas each ReplicaSet shall have now; ``new`` may be one that is about to be made.

    ``old_pods_run``: some Pods of old ReplicaSets have not ended yet, being deleted or not.
    """
    if is_paused(deployment) or is_resized(deployment, new, old):
        return _resized(deployment, new, old)
    if recreates(deployment):
        return _recreated(deployment, new, old, old_pods_run=old_pods_run)
    assert new is not None
    return _rolled(deployment, new, old)


def is_paused(deployment: Deployment) -> bool:
    """Whether a new template has no effect for now."""
    return bool(deployment.spec.rest.get("paused"))


def recreates(deployment: Deployment) -> bool:
    """Whether all old Pods go before the first new one comes."""
    return bool((deployment.spec.rest.get("strategy") or {}).get("type") == "Recreate")


def is_resized(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> bool:
    """Whether ``replicas`` changed since the ReplicaSets were sized (isScalingEvent)."""
    wanted = str(deployment.spec.replicas)
    return any(held.metadata.annotations.get(DESIRED, wanted) != wanted for held in _active(new, old))


def size_annotations(deployment: Deployment) -> Mapping[str, str]:
    """What a ReplicaSet keeps of the Deployment's size when it is sized."""
    replicas = deployment.spec.replicas
    return {DESIRED: str(replicas), MOST: str(replicas + max_surge(deployment))}


def max_unavailable(deployment: Deployment) -> int:
    """How many replicas may be missing; a share rounds down. At least one when there is no surge either
    (ResolveFenceposts)."""
    replicas = deployment.spec.replicas
    if recreates(deployment) or replicas == 0:
        return 0
    missing = scaled(_rolling(deployment).get("maxUnavailable", DEFAULT_AMOUNT), replicas, round_up=False)
    if missing == 0 and max_surge(deployment) == 0:
        return 1
    return min(missing, replicas)


def max_surge(deployment: Deployment) -> int:
    """How many replicas there may be beside those wanted; a share rounds up."""
    if recreates(deployment):
        return 0
    amount = _rolling(deployment).get("maxSurge", DEFAULT_AMOUNT)
    return scaled(amount, deployment.spec.replicas, round_up=True)


def _rolling(deployment: Deployment) -> Mapping[str, Any]:
    return (deployment.spec.rest.get("strategy") or {}).get("rollingUpdate") or {}


def _active(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Those that have replicas, in the order of their making."""
    everyone = [*old, new] if new is not None else old
    return [replica_set for replica_set in everyone if replica_set.spec.replicas > 0]


def _sizes(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> dict[ObjectRef, int]:
    everyone = [*old, new] if new is not None else old
    return {replica_set.ref: replica_set.spec.replicas for replica_set in everyone}


# --- updates


def _recreated(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], *, old_pods_run: bool
) -> Sizes:
    """The old ones down at once, and the new one up when they are gone (rolloutRecreate)."""
    sizes = {replica_set.ref: 0 for replica_set in old}
    if new is not None:
        waits = old_pods_run or any(held.spec.replicas for held in old)
        sizes[new.ref] = new.spec.replicas if waits else deployment.spec.replicas
    return sizes


def _rolled(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """One step: the new ReplicaSet up as far as maxSurge allows, or else old ones down as far as
    maxUnavailable does (rolloutRolling)."""
    sizes = _sizes(new, old)
    room = deployment.spec.replicas + max_surge(deployment) - sum(sizes.values())
    lacking = deployment.spec.replicas - new.spec.replicas
    if lacking < 0 or (lacking > 0 and room > 0):
        sizes[new.ref] += min(lacking, max(room, 0))
        return sizes
    least = deployment.spec.replicas - max_unavailable(deployment)
    unready = new.spec.replicas - new.status.available_replicas
    spare = sum(sizes.values()) - least - unready
    if spare > 0:
        _drop_unhealthy(old, sizes, spare)
        available = new.status.available_replicas + sum(held.status.available_replicas for held in old)
        _drop(old, sizes, available - least)
    return sizes


def _drop_unhealthy(old: Sequence[ReplicaSet], sizes: dict[ObjectRef, int], most: int) -> None:
    """Take replicas that are not available anyway (cleanupUnhealthyReplicas)."""
    for held in old:
        unhealthy = max(sizes[held.ref] - held.status.available_replicas, 0)
        down = min(unhealthy, most)
        sizes[held.ref] -= down
        most -= down


def _drop(old: Sequence[ReplicaSet], sizes: dict[ObjectRef, int], most: int) -> None:
    """Take replicas of the oldest first (scaleDownOldReplicaSetsForRollingUpdate)."""
    for held in old:
        down = min(sizes[held.ref], max(most, 0))
        sizes[held.ref] -= down
        most -= down


# --- another size


def _resized(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Sizes:
    """The same mixture of old and new in another size (scale)."""
    sizes = _sizes(new, old)
    active = _active(new, old)
    if len(active) <= 1:
        latest = new if new is not None else old[-1] if old else None
        only = active[0] if active else latest
        if only is not None:
            sizes[only.ref] = deployment.spec.replicas
    elif new is not None and _is_saturated(deployment, new):
        sizes.update({held.ref: 0 for held in old})
    elif not recreates(deployment):
        _share_out(deployment, active, sizes)
    return sizes


def _is_saturated(deployment: Deployment, new: ReplicaSet) -> bool:
    wanted = deployment.spec.replicas
    desired = new.metadata.annotations.get(DESIRED)
    return desired == str(wanted) and new.spec.replicas == new.status.available_replicas == wanted


def _share_out(deployment: Deployment, active: Sequence[ReplicaSet], sizes: dict[ObjectRef, int]) -> None:
    """Give or take replicas in proportion to the sizes; the largest has what is left over."""
    replicas = deployment.spec.replicas
    most = replicas + max_surge(deployment) if replicas > 0 else 0
    change = most - sum(held.spec.replicas for held in active)
    if change == 0:
        return
    newest_first = [*reversed(active)] if change > 0 else active
    ordered = sorted(newest_first, key=lambda held: -held.spec.replicas)
    done = 0
    for held in ordered:
        share = _share(deployment, held, most)
        left = change - done
        part = min(share, left) if change > 0 else max(share, left)
        sizes[held.ref] += part
        done += part
    first = ordered[0].ref
    sizes[first] = max(sizes[first] + change - done, 0)


def _share(deployment: Deployment, held: ReplicaSet, most: int) -> int:
    """By how much this one would grow or shrink by its share alone (getReplicaSetFraction)."""
    size = held.spec.replicas
    if deployment.spec.replicas == 0:
        return -size
    before = int(held.metadata.annotations.get(MOST, "0")) or deployment.status.replicas
    if before == 0:
        return 0
    grown = size * most / before
    return int(grown + 0.5) - size  # integer.RoundToInt32 of a positive number
