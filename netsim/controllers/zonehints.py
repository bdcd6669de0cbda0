"""Hints by the zones' share of CPU: what the annotation ``topology-mode: Auto`` of a Service asks for.

Each zone is to get as many of the ready endpoints as its nodes have of all CPU, and no endpoint more than a
fifth above its fair load; where that cannot be, nobody gets a hint. Slices that need no other change keep
their hints as long as these fit. The EndpointSlice controller calls ``ZoneHints``. Source:
``k8s.io/endpointslice`` reconciler.go, topologycache/topologycache.go, sliceinfo.go, utils.go, event.go.
Where that walks a Go map, whose order is chance, the zones come by their names here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import NamedTuple

from netsim.controllers.controller import Report
from netsim.controllers.serving import zone_of
from netsim.controllers.slicing import Packing, Ports, pack
from netsim.objects.core import Node, Service
from netsim.objects.discovery import TOPOLOGY_MODE, Endpoint, EndpointSlice
from netsim.objects.meta import EMPTY, ObjectRef
from netsim.objects.quantity import milli_value
from netsim.store.events import Reporter
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

_REPORTER = Reporter("endpoint-slice-controller")
OVERLOAD_THRESHOLD = 0.2
EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")

ENABLED = "Topology Aware Hints has been enabled"
DISABLED = "Topology Aware Hints has been disabled"
_NODES_LACK = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
_TOO_FEW = "Insufficient number of endpoints"
_OVERLOADED = (
    "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
)
_NO_ZONE = "One or more endpoints do not have a zone specified"

Endpoints = tuple[Endpoint, ...]
Shares = Mapping[str, float]
"""Of all CPU, by zone; the zones by their names."""


class Allotment(NamedTuple):
    """The endpoints of each slice with their hints. ``by_zone`` counts the hints, and is None where there are
    none; then ``refusal`` says why."""

    changing: Sequence[Endpoints]
    unchanged: Sequence[Endpoints]
    by_zone: Mapping[str, int] | None = None
    refusal: str = ""


class ZoneHints:
    """What the controller remembers, as Kubernetes' topology cache does: the zones' shares, looked at anew
    when a node comes, goes, or has another zone or readiness; hints by zone of Services that have some.

    Each family of a Service's addresses has hints of its own; that it has some is told of once."""

    def __init__(self) -> None:
        self._shares: Shares | None = None
        self._counted = False  # whether the shares are those of the nodes as they are
        self._hinted: dict[ObjectRef, dict[str, Mapping[str, int]]] = {}
        self._enabled: dict[ObjectRef, None] = {}  # hintsPopulatedByService
        self._refused: dict[tuple[ObjectRef, str], str] = {}

    def unsettled(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Services that have too few hints for a zone now (GetOverloadedServices).

        One without hints is not looked at again before its endpoints change.
        """
        if not isinstance(event.object, Node) or not _changes_zones(event, reader):
            return
        self._counted = False
        if self._hinted:
            shares = self._shares_of(reader)
            for ref, families in tuple(self._hinted.items()):
                if any(is_overloaded(hints, shares) for hints in families.values()):
                    yield ref

    def packed(
        self,
        service: Service,
        desired: Mapping[Ports, Mapping[str, Endpoint]],
        existing: Sequence[EndpointSlice],
        reader: Reader,
        family: str,
    ) -> tuple[Packing, Sequence[Report]]:
        """What is to be done with a Service's slices of one family, hints and all, and what is to be told."""
        if not is_wanted(service.metadata.annotations):
            had = service.ref in self._enabled
            self._remove(service.ref, family)
            self._refused.pop((service.ref, family), None)
            return pack(desired, existing), [_report(service, family, DISABLED, warning=True)] if had else []
        packing = pack(
            desired, [replace(piece, endpoints=without_hints(piece.endpoints)) for piece in existing]
        )
        settled = {piece.ref for piece in (*packing.update, *packing.delete)}
        unchanged = [piece for piece in existing if piece.ref not in settled]
        created = len(packing.create)
        changing = [tuple(made) for _, made in packing.create] + [piece.endpoints for piece in packing.update]
        given = allot(changing, [piece.endpoints for piece in unchanged], self._shares_of(reader))
        packing.create = [
            (ports, list(made)) for (ports, _), made in zip(packing.create, given.changing, strict=False)
        ]
        pieces = [*packing.update, *unchanged]
        made_of = [*given.changing[created:], *given.unchanged]
        packing.update = [
            replace(piece, endpoints=made)
            for index, (piece, made) in enumerate(zip(pieces, made_of, strict=True))
            if index < len(packing.update) or made != piece.endpoints
        ]
        writes = bool(packing.create or packing.update or packing.delete)
        return packing, self._told(service, family, given, writes=writes)

    def forget(self, service: ObjectRef, families: Iterable[str]) -> None:
        """For a Service that is gone, or that has no addresses of these families any more."""
        for family in families:
            self._refused.pop((service, family), None)
            self._remove(service, family)

    def _remove(self, service: ObjectRef, family: str) -> None:
        """RemoveHints: those of the other family stand, and will be told of anew."""
        families = self._hinted.get(service, {})
        families.pop(family, None)
        if not families:
            self._hinted.pop(service, None)
        self._enabled.pop(service, None)

    def _told(self, service: Service, family: str, given: Allotment, *, writes: bool) -> Sequence[Report]:
        """That hints are given now is told once; that there are none, with everything else that happens."""
        key = service.ref, family
        if given.by_zone is not None:
            new = service.ref not in self._enabled
            self._hinted.setdefault(service.ref, {})[family] = given.by_zone
            self._enabled[service.ref] = None
            self._refused.pop(key, None)
            return [_report(service, family, ENABLED)] if new else []
        tell = writes or self._refused.get(key) != given.refusal
        self._remove(service.ref, family)
        self._refused[key] = given.refusal
        return [_report(service, family, given.refusal, warning=True)] if tell else []

    def _shares_of(self, reader: Reader) -> Shares | None:
        if not self._counted:
            self._shares, self._counted = cpu_shares(reader.list(Node)), True
        return self._shares


def _report(service: Service, family: str, text: str, *, warning: bool = False) -> Report:
    reason = "TopologyAwareHintsDisabled" if warning else "TopologyAwareHintsEnabled"
    return Report(service, reason, f"{text}, addressType: {family}", _REPORTER, warning)


def _changes_zones(event: StoreEvent, reader: Reader) -> bool:
    node, old = event.object, event.old
    if not isinstance(node, Node) or not isinstance(old, Node) or reader.find_ref(node.ref) is None:
        return True
    return (_is_ready(node), zone_of(node)) != (_is_ready(old), zone_of(old))


class _Allocation(NamedTuple):
    least: int
    most: int
    desired: float


def is_wanted(annotations: Mapping[str, str]) -> bool:
    """Whether a Service's annotations ask for hints; the older name goes first (hintsEnabled)."""
    asked = next((annotations[name] for name in reversed(TOPOLOGY_MODE) if name in annotations), "")
    return asked in ("Auto", "auto")


def cpu_shares(nodes: Iterable[Node]) -> Shares | None:
    """Each zone's share, of the nodes that are ready and no control plane. None with fewer than two zones, or
    where one of those nodes has no zone or no CPU (SetNodes)."""
    cpu: dict[str, int] = {}
    for node in nodes:
        if any(label in node.metadata.labels for label in EXCLUDED) or not _is_ready(node):
            continue
        zone = zone_of(node)
        own = milli_value(node.status.rest.get("allocatable", {}).get("cpu", 0))
        if not zone or not own:
            return None
        cpu[zone] = cpu.get(zone, 0) + own
    if len(cpu) < 2:
        return None
    total = sum(cpu.values())
    return {zone: cpu[zone] / total for zone in sorted(cpu)}


def _is_ready(node: Node) -> bool:
    return any(held.type == "Ready" and held.status == "True" for held in node.status.conditions)


def is_overloaded(by_zone: Mapping[str, int], shares: Shares | None) -> bool:
    """Whether a zone has fewer hints than it needs by now (serviceOverloaded)."""
    if not by_zone:
        return False
    total = sum(by_zone.values())
    return shares is None or any(
        zone not in by_zone or by_zone[zone] < _least(share * total) for zone, share in shares.items()
    )


def allot(changing: Sequence[Endpoints], unchanged: Sequence[Endpoints], shares: Shares | None) -> Allotment:
    """Hints for all endpoints of a Service (AddHints). ``changing`` are the slices that are written anyway,
    and have none; ``unchanged`` have those of the store."""
    ready = sum(_is_hintable(endpoint) for piece in (*changing, *unchanged) for endpoint in piece)
    allocations = _allocations(shares, ready)
    if isinstance(allocations, str):
        return _refused(changing, unchanged, allocations)
    by_zone: dict[str, int] = {}
    stale: list[int] = []
    for index, piece in enumerate(unchanged):
        own = _kept(piece, by_zone, allocations)
        if own is None:
            stale.append(index)
        else:
            _add(by_zone, own)
    work = [list(piece) for piece in (*changing, *(unchanged[index] for index in stale))]
    if any(not endpoint.zone for piece in work for endpoint in piece if _is_hintable(endpoint)):
        return _refused(changing, unchanged, _NO_ZONE)
    _keep_at_home(work, by_zone)
    _move(work, *_giving_and_receiving(allocations, by_zone), by_zone)
    done = [tuple(piece) for piece in work]
    left = list(unchanged)
    for index, piece in zip(stale, done[len(changing) :], strict=True):
        left[index] = piece
    return Allotment(done[: len(changing)], left, by_zone)


def without_hints(endpoints: Endpoints) -> Endpoints:
    """The same endpoints, meant for everybody."""
    return tuple(replace(held, rest=EMPTY) if "hints" in held.rest else held for held in endpoints)


def _refused(changing: Sequence[Endpoints], unchanged: Sequence[Endpoints], why: str) -> Allotment:
    return Allotment(changing, [without_hints(piece) for piece in unchanged], None, why)


def _least(desired: float) -> int:
    """So many endpoints a zone needs that none has more than its fair load and the threshold."""
    return ceil(desired * (1 / (1 + OVERLOAD_THRESHOLD)))


def _allocations(shares: Shares | None, count: int) -> Mapping[str, _Allocation] | str:
    """How many of ``count`` endpoints each zone is to get, or why that cannot be (getAllocations)."""
    if shares is None:
        return _NODES_LACK
    counted = f"({count} endpoints, {len(shares)} zones)"
    if len(shares) > count:
        return f"{_TOO_FEW} {counted}"
    least = {zone: _least(share * count) for zone, share in shares.items()}
    spare = count - sum(least.values())
    if spare < 0:
        return f"{_OVERLOADED} {counted}"
    return {
        zone: _Allocation(least[zone], least[zone] + spare, max(share * count, least[zone]))
        for zone, share in shares.items()
    }


def _kept(
    piece: Endpoints, by_zone: Mapping[str, int], allocations: Mapping[str, _Allocation]
) -> Mapping[str, int] | None:
    """How many hints for each zone are in a slice; None when it has to be written anew (getHintsByZone)."""
    own: dict[str, int] = {}
    for endpoint in piece:
        if not _is_hintable(endpoint):
            continue
        zones = [held["name"] for held in endpoint.rest.get("hints", {}).get("forZones", ())]
        if not zones or any(zone not in allocations for zone in zones):
            return None
        for zone in zones:
            _add(own, {zone: 1})
    fits = all(count + by_zone.get(zone, 0) <= allocations[zone].most for zone, count in own.items())
    return own if fits else None


def _keep_at_home(work: Sequence[list[Endpoint]], by_zone: dict[str, int]) -> None:
    """Every ready endpoint is for its own zone, to begin with."""
    for piece in work:
        for index, endpoint in enumerate(piece):
            if _is_hintable(endpoint) and endpoint.zone:
                piece[index] = _hinted(endpoint, endpoint.zone)
                _add(by_zone, {endpoint.zone: 1})


def _giving_and_receiving(
    allocations: Mapping[str, _Allocation], by_zone: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """How many endpoints zones have too many, and how many others lack (getGivingAndReceivingZones)."""
    over = {zone: by_zone.get(zone, 0) - wanted.desired for zone, wanted in allocations.items()}
    spare = {zone: number for zone, number in over.items() if number > 0}
    lack = {zone: -number for zone, number in over.items() if number < 0}
    giving: dict[str, int] = {}
    receiving: dict[str, int] = {}
    while spare and lack:
        giver, taker = max(spare, key=spare.__getitem__), max(lack, key=lack.__getitem__)
        if min(spare[giver], lack[taker]) < 0.5 or max(spare[giver], lack[taker]) < 1.0:
            break
        _add(giving, {giver: 1})
        _add(receiving, {taker: 1})
        spare[giver] -= 1
        lack[taker] -= 1
    return giving, receiving


def _move(
    work: Sequence[list[Endpoint]],
    giving: dict[str, int],
    receiving: dict[str, int],
    by_zone: dict[str, int],
) -> None:
    """Mean endpoints of zones that give for zones that lack some (redistributeHints)."""
    for piece in work:
        for index, endpoint in enumerate(piece):
            if not _is_hintable(endpoint) or not endpoint.zone or not giving.get(endpoint.zone):
                continue
            taker = next((zone for zone in sorted(receiving) if receiving[zone]), None)
            if taker is None:
                return
            piece[index] = _hinted(endpoint, taker)
            _add(giving, {endpoint.zone: -1})
            _add(receiving, {taker: -1})
            _add(by_zone, {taker: 1, endpoint.zone: -1})


def _is_hintable(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is True


def _hinted(endpoint: Endpoint, zone: str) -> Endpoint:
    return replace(endpoint, rest={"hints": {"forZones": [{"name": zone}]}})


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for zone, number in more.items():
        counts[zone] = counts.get(zone, 0) + number
