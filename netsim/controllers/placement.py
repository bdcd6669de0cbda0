"""Which nodes may run a Pod: the scheduler's filters.

Each filter says for one node what is wrong with it, in the words of the scheduler's own plugin; the first
one that objects names the reason. Source: kube-scheduler ``framework/plugins``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from netsim.objects.core import Node, PodSpec, Taint, Toleration
from netsim.store.selectors import Requirement, has_all

UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
AFFINITY_REASON = "node(s) didn't match Pod's node affinity/selector"
_REPELLING = ("NoSchedule", "NoExecute")


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration covers a taint (core/v1 ``toleration.go``, ToleratesTaint)."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def untolerated(spec: PodSpec, taints: Iterable[Taint], effects: Sequence[str]) -> list[Taint]:
    """The taints of those effects that no toleration covers."""
    return [
        taint
        for taint in taints
        if taint.effect in effects and not any(tolerates(t, taint) for t in spec.tolerations)
    ]


def _unschedulable(spec: PodSpec, node: Node) -> str:
    if node.spec.unschedulable and untolerated(spec, (UNSCHEDULABLE,), _REPELLING):
        return "node(s) were unschedulable"
    return ""


def _taints(spec: PodSpec, node: Node) -> str:
    for taint in untolerated(spec, node.spec.taints, _REPELLING):
        return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return ""


def _affinity(spec: PodSpec, node: Node) -> str:
    labels = node.metadata.labels
    if not has_all(labels, spec.node_selector):
        return AFFINITY_REASON
    affinity = (spec.rest.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return ""
    terms: Sequence[Mapping[str, Any]] = required.get("nodeSelectorTerms") or ()
    return "" if any(_term_matches(term, node) for term in terms) else AFFINITY_REASON


def fits_affinity(spec: PodSpec, node: Node) -> bool:
    """Whether the node is one that the Pod's nodeSelector and required nodeAffinity allow."""
    return not _affinity(spec, node)


def _term_matches(term: Mapping[str, Any], node: Node) -> bool:
    """Whether all requirements of a nodeSelectorTerm hold; an empty term matches nothing."""
    on_labels = [(item, node.metadata.labels) for item in term.get("matchExpressions") or ()]
    on_fields = [(item, {"metadata.name": node.metadata.name}) for item in term.get("matchFields") or ()]
    requirements = on_labels + on_fields
    return bool(requirements) and all(
        Requirement(item["key"], item["operator"], tuple(item.get("values") or ())).matches(values)
        for item, values in requirements
    )


FILTERS: tuple[Callable[[PodSpec, Node], str], ...] = (_unschedulable, _taints, _affinity)
"""In the order of kube-scheduler's default plugins."""


def objection(spec: PodSpec, node: Node) -> str:
    """Why the node cannot run the Pod; empty when it can."""
    for objects_to in FILTERS:
        if reason := objects_to(spec, node):
            return reason
    return ""


def failure_message(objections: Sequence[str]) -> str:
    """The FailedScheduling message of the reasons of all nodes (``framework/types.go``, FitError)."""
    if not objections:
        return "no nodes available to schedule pods"
    counts: dict[str, int] = {}
    for reason in objections:
        counts[reason] = counts.get(reason, 0) + 1
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{len(objections)} nodes are available: {listed}."
