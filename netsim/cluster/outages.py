"""Nodes that are cut off, heard again, or tainted: what ``Cluster`` writes about them."""

from __future__ import annotations

import re
from dataclasses import replace

from netsim.base.errors import UsageError
from netsim.cni.names import UPLINK, node_host
from netsim.controllers.nodelifecycle import HEARTBEAT, last_heartbeat
from netsim.objects.codec import render_time
from netsim.objects.core import Node, Taint
from netsim.objects.meta import Condition
from netsim.plan.delta import Plan
from netsim.plan.entries import Link, Port

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_TAINT = re.compile(r"([^=:]+)(?:=([^:]*))?(?::([A-Za-z]+))?(-?)")


def uplink_of(plan: Plan, node: str) -> Link:
    """The wire between a node and its switch."""
    port = Port(node_host(node), UPLINK)
    return next(entry for entry in plan if isinstance(entry, Link) and port in (entry.a, entry.b))


def silenced(node: Node, now: float) -> Node:
    """The node with the time at which its kubelet was heard last."""
    heartbeat = {HEARTBEAT: render_time(last_heartbeat(now))}
    conditions = tuple(
        replace(held, rest={**held.rest, **heartbeat}) if held.type == "Ready" else held
        for held in node.status.conditions
    )
    return replace(node, status=replace(node.status, conditions=conditions))


def heard(node: Node, now: float) -> Node:
    """The node as its kubelet reports it when all is well."""
    ready = next((held for held in node.status.conditions if held.type == "Ready"), None)
    since = ready.last_transition_time if ready is not None and ready.status == "True" else now
    well = Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", since)
    others = tuple(held for held in node.status.conditions if held.type != "Ready")
    return replace(node, status=replace(node.status, conditions=(*others, well)))


def tainted(node: Node, text: str) -> Node:
    """The node with a taint more, or with those that ``key-`` or ``key:Effect-`` names taken away."""
    match = _TAINT.fullmatch(text)
    if match is None or (match[3] or "NoExecute") not in EFFECTS or not (match[3] or match[4]):
        hint = f"write key=value:Effect, or key:Effect- to remove one; the effects are {', '.join(EFFECTS)}"
        raise UsageError(f"invalid taint spec: {text}", hint=hint)
    key, value, effect, removes = match[1], match[2] or "", match[3], match[4]
    others = tuple(held for held in node.spec.taints if held.key != key or effect not in (None, held.effect))
    if removes:
        if len(others) == len(node.spec.taints):
            raise UsageError(f'taint "{text.removesuffix("-")}" not found')
        return replace(node, spec=replace(node.spec, taints=others))
    return replace(node, spec=replace(node.spec, taints=(*others, Taint(key, effect, value))))
