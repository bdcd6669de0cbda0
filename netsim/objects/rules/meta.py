"""Metadata, labels and label selectors (apimachinery's ``objectmeta.go`` and ``apis/meta/v1/validation``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from netsim.objects.field_errors import FieldError, FieldErrors
from netsim.objects.rules import names
from netsim.objects.yaml_tree import Path

ANNOTATIONS_LENGTH = 256 * 1024  # TotalAnnotationSizeLimitB

NameRule = Callable[[str], list[str]]


def check_metadata(metadata: Mapping[str, Any], name_rule: NameRule, errors: FieldErrors) -> None:
    """The ``metadata`` of an object whose name must follow a rule of ``names``."""
    where: Path = ("metadata",)
    check_has_name(metadata, errors)
    name = metadata.get("name", "")
    if name:
        errors.each_invalid((*where, "name"), name, name_rule(name))
    namespace = metadata.get("namespace", "")
    if namespace:
        errors.each_invalid((*where, "namespace"), namespace, names.label(namespace))
    check_labels(metadata.get("labels", {}), (*where, "labels"), errors)
    check_annotations(metadata.get("annotations", {}), (*where, "annotations"), errors)


def check_has_name(metadata: Mapping[str, Any], errors: FieldErrors) -> None:
    """An object of a file needs a name of its own: `kubectl apply` does not let the server make one."""
    prefix = metadata.get("generateName", "")
    if metadata.get("name"):
        return
    if prefix:
        message = f"from {prefix}: cannot use generate name with apply"
        at = ("metadata", "generateName")
        errors.items.append(FieldError(at, message, "give it a name with metadata.name"))
    else:
        errors.required(("metadata", "name"), "name or generateName is required")


def check_labels(labels: Mapping[str, str], where: Path, errors: FieldErrors) -> None:
    """A map of labels, or a selector in that form."""
    for key, value in labels.items():
        errors.each_invalid(where, key, names.qualified_name(key), at=(*where, key))
        errors.each_invalid(where, value, names.label_value(value), at=(*where, key))


def check_annotations(annotations: Mapping[str, str], where: Path, errors: FieldErrors) -> None:
    """A map of annotations: the keys are those of labels in any case, the values are free."""
    for key in annotations:
        errors.each_invalid(where, key, names.qualified_name(key.lower()), at=(*where, key))
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LENGTH:
        errors.too_long(where, ANNOTATIONS_LENGTH)


def check_label_selector(selector: Mapping[str, Any], where: Path, errors: FieldErrors) -> bool:
    """A ``LabelSelector``; tells whether it can be evaluated."""
    before = len(errors.items)
    check_labels(selector.get("matchLabels", {}), (*where, "matchLabels"), errors)
    for index, requirement in enumerate(selector.get("matchExpressions", ())):
        _check_requirement(requirement, (*where, "matchExpressions", index), errors)
    return len(errors.items) == before


def _check_requirement(requirement: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    operator, values = requirement.get("operator", ""), requirement.get("values", ())
    if operator in ("In", "NotIn"):
        if not values:
            errors.required((*where, "values"), "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.forbidden(
                (*where, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
    else:
        hint = "the operators are In, NotIn, Exists and DoesNotExist"
        errors.invalid((*where, "operator"), operator, "not a valid selector operator", hint=hint)
    key = requirement.get("key", "")
    errors.each_invalid((*where, "key"), key, names.qualified_name(key))
    for index, value in enumerate(values):
        errors.each_invalid((*where, "values", index), value, names.label_value(value))


def selector_matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a valid ``LabelSelector`` document (``labels.Selector.Matches``)."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_requirement_matches(item, labels) for item in selector.get("matchExpressions", ()))


def _requirement_matches(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values", ())
    match requirement["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
