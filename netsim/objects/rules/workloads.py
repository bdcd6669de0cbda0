"""The objects that make Pods: Deployment, ReplicaSet, StatefulSet and DaemonSet
(``pkg/apis/apps/validation/validation.go`` of Kubernetes), ReplicationController
(``pkg/apis/core/validation/validation.go``) and Job (``pkg/apis/batch/validation/validation.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsim.objects.field_errors import FieldErrors
from netsim.objects.rules import meta, names
from netsim.objects.rules.pod import check_pod_template
from netsim.objects.yaml_tree import Path

COMPLETION_MODES = ("Indexed", "NonIndexed")

_SPEC: Path = ("spec",)
_TEMPLATE: Path = ("spec", "template")
_NEGATIVE = "must be greater than or equal to 0"
_MISMATCH = "`selector` does not match template `labels`"


def check_deployment(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """A Deployment's ``spec``."""
    check_replica_set(spec, errors)
    _check_strategy(spec["strategy"], (*_SPEC, "strategy"), errors)
    _check_not_negative(spec, "revisionHistoryLimit", errors)
    _check_not_negative(spec, "progressDeadlineSeconds", errors)
    if spec["progressDeadlineSeconds"] <= spec.get("minReadySeconds", 0):
        errors.invalid(
            (*_SPEC, "progressDeadlineSeconds"),
            spec["progressDeadlineSeconds"],
            "must be greater than minReadySeconds",
        )


def check_replica_set(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """A ReplicaSet's ``spec``, and what a Deployment's has in common with it."""
    _check_not_negative(spec, "replicas", errors)
    _check_not_negative(spec, "minReadySeconds", errors)
    template = spec.get("template", {})
    _check_selector(spec, "empty selector is invalid for deployment", errors)
    check_pod_template(template, _TEMPLATE, errors)
    _check_always_restarted(template.get("spec", {}), "ReplicaSet", errors)


def check_replication_controller(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """A ReplicationController's ``spec``."""
    _check_not_negative(spec, "minReadySeconds", errors)
    selector, template = spec.get("selector"), spec.get("template")
    if not selector:
        errors.required((*_SPEC, "selector"))
    _check_not_negative(spec, "replicas", errors)
    if template is None:
        errors.required(_TEMPLATE)
        return
    labels = (template.get("metadata") or {}).get("labels", {})
    if selector and not meta.selector_matches({"matchLabels": selector}, labels):
        errors.invalid((*_TEMPLATE, "metadata", "labels"), labels, _MISMATCH)
    check_pod_template(template, _TEMPLATE, errors)
    _check_always_restarted(template.get("spec", {}), "ReplicationController", errors)


def check_stateful_set(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """A StatefulSet's ``spec``.

    The API server does not look at the Pod's spec: its mistakes show when the first Pod is made. Here they
    are told at once, like those of every other template.
    """
    policy = spec["podManagementPolicy"]
    if policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        errors.invalid((*_SPEC, "podManagementPolicy"), policy, detail)
    _check_stateful_set_strategy(spec["updateStrategy"], (*_SPEC, "updateStrategy"), errors)
    _check_not_negative(spec, "replicas", errors)
    _check_not_negative(spec, "minReadySeconds", errors)
    start = (spec.get("ordinals") or {}).get("start", 0)
    if start < 0:
        errors.invalid((*_SPEC, "ordinals.start"), start, _NEGATIVE, at=(*_SPEC, "ordinals", "start"))
    _check_selector(spec, "empty selector is invalid for statefulset", errors)
    template = spec.get("template", {})
    claims = [(claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates", ())]
    check_pod_template(template, _TEMPLATE, errors, volumes=claims)
    _check_always_restarted(template.get("spec", {}), "StatefulSet", errors)


def check_daemon_set(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """A DaemonSet's ``spec``."""
    _check_selector(spec, "empty selector is invalid for daemonset", errors)
    template = spec.get("template", {})
    check_pod_template(template, _TEMPLATE, errors)
    _check_always_restarted(template.get("spec", {}), "DaemonSet", errors)
    _check_not_negative(spec, "minReadySeconds", errors)
    strategy, where = spec["updateStrategy"], (*_SPEC, "updateStrategy")
    if strategy["type"] == "RollingUpdate":
        _check_rolling_daemon_set(strategy["rollingUpdate"], (*where, "rollingUpdate"), errors)
    elif strategy["type"] != "OnDelete":
        _check_strategy_type(strategy["type"], where, ("RollingUpdate", "OnDelete"), errors)
    _check_not_negative(spec, "revisionHistoryLimit", errors)


def check_job(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """A Job's ``spec``."""
    numbers = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit")
    for field in (*numbers, "ttlSecondsAfterFinished"):
        _check_not_negative(spec, field, errors)
    mode = spec["completionMode"]
    if mode not in COMPLETION_MODES:
        errors.unsupported((*_SPEC, "completionMode"), mode, COMPLETION_MODES)
    elif mode == "Indexed" and "completions" not in spec:
        errors.required((*_SPEC, "completions"), "when completion mode is Indexed")
    template = spec.get("template", {})
    check_pod_template(template, _TEMPLATE, errors)
    pod = template.get("spec", {})
    if pod.get("restartPolicy") not in ("OnFailure", "Never"):
        errors.required((*_TEMPLATE, "spec", "restartPolicy"), 'valid values: "OnFailure", "Never"')


def _check_selector(spec: Mapping[str, Any], empty: str, errors: FieldErrors) -> None:
    """The label selector of a workload, and whether its own template satisfies it."""
    selector = spec.get("selector")
    where = (*_SPEC, "selector")
    usable = False
    if selector is None:
        errors.required(where)
    else:
        usable = meta.check_label_selector(selector, where, errors)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.invalid(where, selector, empty)
    labels = (spec.get("template", {}).get("metadata") or {}).get("labels", {})
    if selector and usable and not meta.selector_matches(selector, labels):
        errors.invalid((*_TEMPLATE, "metadata", "labels"), labels, _MISMATCH)


def _check_always_restarted(pod: Mapping[str, Any], kind: str, errors: FieldErrors) -> None:
    where = (*_TEMPLATE, "spec")
    if pod.get("restartPolicy", "Always") != "Always":
        errors.unsupported((*where, "restartPolicy"), pod["restartPolicy"], ("Always",))
    if "activeDeadlineSeconds" in pod:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.forbidden((*where, "activeDeadlineSeconds"), detail)


def _check_not_negative(spec: Mapping[str, Any], field: str, errors: FieldErrors) -> None:
    if spec.get(field, 0) < 0:
        errors.invalid((*_SPEC, field), spec[field], _NEGATIVE)


def _check_strategy(strategy: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate":
        if rolling is not None:
            errors.forbidden(
                (*where, "rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"
            )
        return
    if strategy["type"] != "RollingUpdate":
        _check_strategy_type(strategy["type"], where, ("Recreate", "RollingUpdate"), errors)
        return
    assert rolling is not None
    for field in ("maxUnavailable", "maxSurge"):
        _check_count_or_percent(rolling[field], (*where, "rollingUpdate", field), errors)
    at = (*where, "rollingUpdate", "maxUnavailable")
    unavailable = rolling["maxUnavailable"]
    if _amount(unavailable) == 0 and _amount(rolling["maxSurge"]) == 0:
        errors.invalid(at, unavailable, "may not be 0 when `maxSurge` is 0")
    _check_at_most_all(unavailable, at, errors)


def _check_strategy_type(kind: str, where: Path, choices: tuple[str, ...], errors: FieldErrors) -> None:
    struct = f'{{"Type":"{kind}","RollingUpdate":null}}'
    errors.unsupported(where, kind, choices, at=(*where, "type"), struct=struct)


def _check_stateful_set_strategy(strategy: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    kind, rolling = strategy["type"], strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is not None:
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            errors.invalid((*where, "rollingUpdate"), rolling, detail)
        return
    if kind != "RollingUpdate":
        errors.invalid(where, strategy, "must be 'RollingUpdate' or 'OnDelete'", at=(*where, "type"))
        return
    assert rolling is not None
    at = (*where, "rollingUpdate")
    if rolling["partition"] < 0:
        errors.invalid((*at, "partition"), rolling["partition"], _NEGATIVE)
    unavailable = rolling["maxUnavailable"]
    _check_count_or_percent(unavailable, (*at, "maxUnavailable"), errors)
    if _amount(unavailable) == 0:
        errors.invalid((*at, "maxUnavailable"), unavailable, "cannot be 0")
    _check_at_most_all(unavailable, (*at, "maxUnavailable"), errors)


def _check_rolling_daemon_set(rolling: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    for field in ("maxUnavailable", "maxSurge"):
        _check_count_or_percent(rolling[field], (*where, field), errors)
    for field in ("maxUnavailable", "maxSurge"):
        _check_at_most_all(rolling[field], (*where, field), errors)
    unavailable, surge = _amount(rolling["maxUnavailable"]), _amount(rolling["maxSurge"])
    if unavailable and surge:
        detail = "may not be set when maxUnavailable is non-zero"
        errors.invalid((*where, "maxSurge"), rolling["maxSurge"], detail)
    elif not unavailable and not surge:
        errors.required((*where, "maxUnavailable"), "cannot be 0 when maxSurge is 0")


def _check_count_or_percent(value: int | str, where: Path, errors: FieldErrors) -> None:
    if isinstance(value, str):
        errors.each_invalid(where, value, names.percent(value))
    elif value < 0:
        errors.invalid(where, value, _NEGATIVE)


def _check_at_most_all(value: int | str, where: Path, errors: FieldErrors) -> None:
    if isinstance(value, str) and not names.percent(value) and _amount(value) > 100:
        errors.invalid(where, value, "must not be greater than 100%")


def _amount(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return 0 if names.percent(value) else int(value[:-1])
