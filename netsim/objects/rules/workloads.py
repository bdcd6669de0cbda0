"""Deployments and ReplicaSets (Kubernetes' ``pkg/apis/apps/validation/validation.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsim.objects.field_errors import FieldErrors
from netsim.objects.rules import meta, names
from netsim.objects.rules.pod import check_pod_template
from netsim.objects.yaml_tree import Path

_SPEC: Path = ("spec",)
_NEGATIVE = "must be greater than or equal to 0"


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
    selector = spec.get("selector")
    where = (*_SPEC, "selector")
    usable = False
    if selector is None:
        errors.required(where)
    else:
        usable = meta.check_label_selector(selector, where, errors)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.invalid(where, selector, "empty selector is invalid for deployment")
    template = spec.get("template", {})
    labels = template.get("metadata", {}).get("labels", {})
    if selector and usable and not meta.selector_matches(selector, labels):
        labels_at = (*_SPEC, "template", "metadata", "labels")
        errors.invalid(labels_at, labels, "`selector` does not match template `labels`")
    check_pod_template(template, (*_SPEC, "template"), errors)
    _check_always_restarted(template.get("spec", {}), (*_SPEC, "template", "spec"), errors)


def _check_always_restarted(pod: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    if pod.get("restartPolicy", "Always") != "Always":
        errors.unsupported((*where, "restartPolicy"), pod["restartPolicy"], ("Always",))
    if "activeDeadlineSeconds" in pod:
        errors.forbidden(
            (*where, "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported"
        )


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
        struct = f'{{"Type":"{strategy["type"]}","RollingUpdate":null}}'
        choices = ("Recreate", "RollingUpdate")
        errors.unsupported(where, strategy["type"], choices, at=(*where, "type"), struct=struct)
        return
    assert rolling is not None
    for field in ("maxUnavailable", "maxSurge"):
        _check_count_or_percent(rolling[field], (*where, "rollingUpdate", field), errors)
    at = (*where, "rollingUpdate", "maxUnavailable")
    unavailable = rolling["maxUnavailable"]
    if _amount(unavailable) == 0 and _amount(rolling["maxSurge"]) == 0:
        errors.invalid(at, unavailable, "may not be 0 when `maxSurge` is 0")
    if isinstance(unavailable, str) and not names.percent(unavailable) and _amount(unavailable) > 100:
        errors.invalid(at, unavailable, "must not be greater than 100%")


def _check_count_or_percent(value: int | str, where: Path, errors: FieldErrors) -> None:
    if isinstance(value, str):
        errors.each_invalid(where, value, names.percent(value))
    elif value < 0:
        errors.invalid(where, value, _NEGATIVE)


def _amount(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return 0 if names.percent(value) else int(value[:-1])
