"""Spreading endpoints over EndpointSlices so that a change touches as few slices as it can.

Endpoints with the same port numbers share slices. A slice that needs no change is left alone; room in one
that changes anyway is filled first; names of slices that are no longer needed are used again. Source:
``k8s.io/endpointslice/reconciler.go`` (reconcileByPortMapping, getSliceToFill, recycleSlices).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from netsim.objects.discovery import Endpoint, EndpointPort, EndpointSlice

MOST_PER_SLICE = 100  # kube-controller-manager --max-endpoints-per-slice

Ports = tuple[EndpointPort, ...]
Endpoints = Mapping[str, Endpoint]
"""By the uid of the Pod."""


@dataclass(slots=True)
class Packing:
    """What is to be done: slices to create, to change (same name), and to delete."""

    create: list[tuple[Ports, list[Endpoint]]] = field(default_factory=list)
    update: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def pack(desired: Mapping[Ports, Endpoints], existing: Sequence[EndpointSlice]) -> Packing:
    """Turn the existing slices of a Service into ones that hold exactly the desired endpoints.

    There is always at least one slice, if need be one without endpoints and ports.
    """
    packing = Packing()
    by_ports: dict[Ports, list[EndpointSlice]] = {ports: [] for ports in desired}
    for piece in existing:
        if piece.ports in desired:
            by_ports[piece.ports].append(piece)
        else:
            packing.delete.append(piece)
    for ports, pieces in by_ports.items():
        _pack_ports(ports, desired[ports], pieces, packing)
    if len(packing.delete) == len(existing) and not packing.create:
        _keep_placeholder(packing)
    while packing.create and packing.delete:
        ports, endpoints = packing.create.pop(0)
        packing.update.append(replace(packing.delete.pop(0), ports=ports, endpoints=tuple(endpoints)))
    return packing


def _pack_ports(
    ports: Ports, desired: Endpoints, existing: Sequence[EndpointSlice], packing: Packing
) -> None:
    left = dict(desired)
    changed: list[tuple[EndpointSlice, list[Endpoint]]] = []
    unchanged: list[EndpointSlice] = []
    for piece in existing:
        kept = [left.pop(uid) for e in piece.endpoints if (uid := _uid(e)) in left]
        if tuple(kept) == piece.endpoints and kept:
            unchanged.append(piece)
        elif kept:
            changed.append((piece, kept))
        else:
            packing.delete.append(piece)
    new = list(left.values())
    for _, kept in changed:
        room = MOST_PER_SLICE - len(kept)
        kept += new[:room]
        del new[:room]
    while new:
        if len(new) < MOST_PER_SLICE and (fullest := _best_to_fill(unchanged, len(new))) is not None:
            unchanged.remove(fullest)
            changed.append((fullest, [*fullest.endpoints, *new]))
            new = []
        else:
            packing.create.append((ports, new[:MOST_PER_SLICE]))
            del new[:MOST_PER_SLICE]
    packing.update += [replace(piece, endpoints=tuple(kept)) for piece, kept in changed]


def _best_to_fill(pieces: Sequence[EndpointSlice], count: int) -> EndpointSlice | None:
    """The slice that ``count`` more endpoints bring closest to full, or None when none has the room."""
    fitting = [piece for piece in pieces if len(piece.endpoints) + count <= MOST_PER_SLICE]
    return max(fitting, key=lambda piece: len(piece.endpoints), default=None)


def _keep_placeholder(packing: Packing) -> None:
    """Keep one slice, without endpoints, of those that would all go; make one when there is none."""
    if not packing.delete:
        packing.create.append(((), []))
        return
    kept = packing.delete.pop(0)
    if kept.endpoints or kept.ports:
        packing.update.append(replace(kept, endpoints=(), ports=()))


def _uid(endpoint: Endpoint) -> str:
    return endpoint.target_ref.uid if endpoint.target_ref is not None else ""
