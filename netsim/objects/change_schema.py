"""What a change of a Topology may say: what is done to the running cluster, and when.

``topology_schema`` reads changes with ``read_change``. An action is one entry of ``ACTIONS``;
``cluster.changes`` does it. The files and objects of ``apply`` are read by ``manifest``, together with
everything else, so that their mistakes are told before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from netsim.base.errors import Source
from netsim.objects.check_schema import Refuse, Validate
from netsim.objects.schema_parts import (
    Field,
    Schema,
    Structure,
    anything,
    duration,
    either,
    held_object,
    listing,
    number,
    text,
    workload,
)
from netsim.objects.spelling import did_you_mean
from netsim.objects.topology import Change
from netsim.objects.yaml_tree import Path

APPLY = "apply"
NODE_ACTIONS = ("failNode", "restoreNode")
_FILE_OR_OBJECT = (text(least=1), anything("object"))
_ONE = "a file or an object"


class Action(NamedTuple):
    """One thing that can be done to a cluster; ``more`` are the fields beside its own."""

    name: str
    text: str
    value: Schema
    more: Mapping[str, Field] = {}


ACTIONS: tuple[Action, ...] = (
    Action(
        APPLY,
        "as `kubectl apply`: a file (relative to this one, `*` allowed), an object, or a list of them",
        either(
            f"{_ONE}, or a list of them", *_FILE_OR_OBJECT, listing(either(_ONE, *_FILE_OR_OBJECT), least=1)
        ),
    ),
    Action(
        "delete",
        "as `kubectl delete`: an object, as `pod/prod/web-0`",
        held_object(),
        {"gracePeriodSeconds": Field(number(0), "instead of the Pod's own; 0 is `--force`")},
    ),
    Action(
        "scale",
        "as `kubectl scale`: another number of replicas",
        workload("deploy", "sts", "rs", "rc"),
        {"replicas": Field(number(0), "how many", required=True)},
    ),
    Action(
        "setImage",
        "as `kubectl set image`: another image in the template, which begins an update",
        workload("deploy", "sts", "ds", "rs", "rc"),
        {
            "image": Field(text(least=1), "the image", required=True),
            "container": Field(text(least=1), "the container; all of them if it is not said"),
        },
    ),
    Action(
        "rollback",
        "as `kubectl rollout undo`: an earlier template",
        workload("deploy", "sts", "ds"),
        {"toRevision": Field(number(1), "its revision; the one before the present if it is not said")},
    ),
    Action("failNode", "the node is cut off, and its Pods with it", text(least=1)),
    Action("restoreNode", "a node that was cut off is there again", text(least=1)),
)
"""Every action, in the order of the reference."""

_BY_NAME = {action.name: action for action in ACTIONS}


def fields_of(action: Action) -> dict[str, Field]:
    """All fields of a change with that action."""
    return {
        "at": Field(
            duration(), "when, counted from the moment at which the cluster has converged", required=True
        ),
        action.name: Field(action.value, action.text, required=True),
        **action.more,
    }


def read_change(
    document: Any, where: Path, source: Source, validate: Validate, refuse: Refuse
) -> Change | None:
    """The change in a document, or None after ``refuse`` or ``validate`` has told what is wrong with it."""
    action = the_one_of(_BY_NAME, document, where, refuse, what=("change", "does", ("at",)))
    values = validate(_structure(action), document, where) if action is not None else None
    if action is None or values is None:
        return None
    arguments = {key: value for key, value in values.items() if key != "at"}
    return Change(values["at"], action, arguments, source)


def the_one_of(
    words: Mapping[str, Action],
    document: Any,
    where: Path,
    refuse: Refuse,
    *,
    what: tuple[str, str, tuple[str, ...]],
) -> str | None:
    """The one of these words that a document has as a field; None after ``refuse`` has told that it has none,
    or more. ``what`` is what the document is, its verb, and the fields that all of them have."""
    title, verb, common = what
    named = [key for key in document if key in words]
    if len(named) == 1:
        return str(named[0])
    if named:
        message = f"a {title} {verb} one thing, and this one {verb} {' and '.join(named)}"
        refuse((*where, named[1]), message, f"write one {title} for each, at the same time")
        return None
    unknown = [key for key in document if key not in common]
    hint = next((found for key in unknown if (found := did_you_mean(key, words))), "")
    refuse(where, f"a {title} needs one of {', '.join(words)}", hint)
    return None


@cache
def _structure(action: str) -> Structure:
    return Structure(fields_of(_BY_NAME[action]))
