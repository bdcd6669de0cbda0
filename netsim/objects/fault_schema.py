"""What a fault of a Topology may say: what goes wrong, where, when, and for how long.

``topology_schema`` reads faults with ``read_fault``. A kind is one entry of ``FAULTS``; ``cluster.faults``
lets it happen, and understands what ``packets`` says.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from netsim.base.errors import Source
from netsim.objects.change_schema import Action, the_one_of
from netsim.objects.check_schema import Refuse, Validate
from netsim.objects.schema_parts import (
    Field,
    Structure,
    boolean,
    duration,
    either,
    listing,
    number,
    one_of,
    share,
    text,
)
from netsim.objects.topology import CONNTRACK_RACE, DIRECTIONS, LINK, Fault
from netsim.objects.yaml_tree import Path

FAULTS: tuple[Action, ...] = (
    Action(
        LINK,
        "a wire: that of a node, Pod, external host or `router` (its `eth0`), another of its interfaces "
        "(`router/wan`), or the wire between two (`[node1, rack-a]`); or several: all of a subnet "
        "(`rack-a`), or those of the Pods of a workload (`deploy/prod/web`), as they come",
        either("a name, or two", text(least=1), listing(text(least=1), least=2)),
        {
            "down": Field(boolean(), "whether it carries nothing at all"),
            "loss": Field(share(), "how much is lost, by chance: `20%`"),
            "delay": Field(duration(), "how much later the rest arrives"),
            "packets": Field(
                text(least=1),
                "which packets, in the words of capture filters: `udp and port 53`; all if it is not said",
            ),
            "direction": Field(
                one_of(*DIRECTIONS), "those that come `in` to what is named, go `out` of it, or both"
            ),
            "pods": Field(
                number(1),
                "how many of a workload's Pods, the oldest of those it has when the fault begins; all "
                "of them if it is not said",
            ),
            "count": Field(
                number(1), "how many packets suffer, and no more after them; all if it is not said"
            ),
        },
    ),
    Action(
        CONNTRACK_RACE,
        "a node, or `*` for all: of two UDP packets that one socket sends to a Service at one instant, the "
        "second is lost, as by Linux before 5.0 where they pass on two processors",
        text(least=1),
    ),
)
"""Every kind, in the order of the reference."""

_BY_NAME = {fault.name: fault for fault in FAULTS}
_COMMON = ("at", "for")
_EFFECTS = ("down", "loss", "delay")


def fields_of(fault: Action) -> dict[str, Field]:
    """All fields of a fault of that kind."""
    return {
        "at": Field(
            duration(),
            "when it begins, counted from the moment at which the cluster has converged; `0s` if it is not "
            "said",
        ),
        "for": Field(duration(), "how long it lasts; to the end if it is not said"),
        fault.name: Field(fault.value, fault.text, required=True),
        **fault.more,
    }


def read_fault(
    document: Any, where: Path, source: Source, validate: Validate, refuse: Refuse
) -> Fault | None:
    """The fault in a document, or None after ``refuse`` or ``validate`` has told what is wrong with it."""
    kind = the_one_of(_BY_NAME, document, where, refuse, what=("fault", "is", _COMMON))
    values = validate(_structure(kind), document, where) if kind is not None else None
    if kind is None or values is None:
        return None
    if kind == LINK and not _is_one_link(values, where, refuse):
        return None
    arguments = {key: value for key, value in values.items() if key not in _COMMON}
    return Fault(values.get("at", 0.0), values.get("for"), kind, arguments, source)


def _is_one_link(values: dict[str, Any], where: Path, refuse: Refuse) -> bool:
    """Whether the fields of a link's fault fit together; ``refuse`` tells when they do not."""
    if isinstance(values[LINK], list) and len(values[LINK]) != 2:
        refuse((*where, LINK), "must be a name, or two", "a wire has two ends")
        return False
    if not any(values.get(effect) for effect in _EFFECTS):
        refuse(where, f"a fault of a link needs one of {', '.join(_EFFECTS)}", "write loss: 100% to lose all")
        return False
    others = [key for key in values if key not in (*_COMMON, LINK, "down", "pods")]
    if values.get("down") and others:
        hint = "write loss: 100% for chosen packets"
        refuse((*where, others[0]), "a link that is down carries nothing", hint)
        return False
    return True


@cache
def _structure(kind: str) -> Structure:
    return Structure(fields_of(_BY_NAME[kind]))
