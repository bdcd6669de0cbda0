"""EndpointSlices: for each Service with a selector, the addresses of its Pods and how they are.

A slice holds addresses of one family, and a Service has slices, one at least, of each of its families
(getAddressTypesForService, reconcileByAddressType). They are deleted with their Service, through their
ownerReference. Source: kube-controller-manager ``pkg/controller/endpointslice`` and ``k8s.io/endpointslice``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from netsim.controllers.controller import Create, Delete, Outcome, Report, Update, Write
from netsim.controllers.ownership import controller_reference
from netsim.controllers.podstate import is_ready
from netsim.controllers.serving import (
    HEADLESS_LABEL,
    MadeOfPods,
    families_of,
    has_endpoints,
    hostname_in,
    port_number,
    services_concerned,
    target_reference,
)
from netsim.controllers.slicing import Packing, Ports
from netsim.controllers.zonehints import ZoneHints, is_wanted
from netsim.objects.core import Node, Pod, Service
from netsim.objects.discovery import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    SLICE_CONTROLLER,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import EMPTY, ObjectMeta, ObjectRef
from netsim.objects.rules.service_addresses import FAMILIES
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

SAME_NODE = "PreferSameNode"
_CLOSE = ("PreferClose", "PreferSameZone", SAME_NODE)  # the first is an older word for the second


class _Item(NamedTuple):
    """A Pod's endpoint of each of the Service's families, None where the Pod has no such address; and the
    ports that it has in its Pod."""

    ports: Ports
    endpoints: tuple[Endpoint | None, ...]


class EndpointSliceController:
    """Subjects are the Services."""

    name = "endpointslice-controller"
    kinds = (Service.kind, Pod.kind, Node.kind, EndpointSlice.kind)

    def __init__(self) -> None:
        self._made = MadeOfPods(_item)
        self._zone_hints = ZoneHints()

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Services concerned; that of a slice which somebody changed or deleted; those whose hints
        fit the zones no more."""
        if not isinstance(event.object, EndpointSlice):
            yield from services_concerned(event, reader)
            yield from self._zone_hints.unsettled(event, reader)
        elif event.type is not EventType.ADDED and _is_ours(event.object):
            yield ObjectRef(Service.kind, event.object.metadata.namespace, event.object.service_name)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Bring the Service's slices to hold exactly its endpoints."""
        service = reader.find(Service, subject.name, subject.namespace)
        if service is None or not has_endpoints(service):
            self._made.forget(subject)
            self._zone_hints.forget(subject, FAMILIES)
            return Outcome()
        made, families = self._made.of(service, reader), families_of(service)
        existing = [piece for piece in reader.slices_of(subject) if _is_ours(piece)]
        writes: list[Write] = []
        reports: list[Report] = []
        for number, family in enumerate(families):
            of_family = [piece for piece in existing if piece.address_type == family]
            desired = _by_ports(made, number)
            packing, told = self._zone_hints.packed(service, desired, of_family, reader, family)
            writes += _writes(service, packing, of_family, family)
            reports += told
        others = [piece for piece in existing if piece.address_type not in families]
        self._zone_hints.forget(subject, {piece.address_type: None for piece in others})
        writes += [Delete(piece.ref) for piece in others]
        return Outcome(writes, reports=reports)


def _writes(
    service: Service, packing: Packing, existing: Sequence[EndpointSlice], family: str
) -> Iterator[Write]:
    """What brings the Service's slices of one family to hold what they shall."""
    labels = _labels(service)
    touched = {piece.ref: piece for piece in (*packing.update, *packing.delete)}
    relabel = [piece for piece in existing if piece.metadata.labels != labels and piece.ref not in touched]
    for ports, endpoints in packing.create:
        yield Create(_new_slice(service, ports, tuple(endpoints), labels, family))
    for piece in (*packing.update, *relabel):
        yield Update(_with_labels(piece, labels))
    for piece in packing.delete:
        yield Delete(piece.ref)


def _by_ports(made: Mapping[str, _Item], number: int) -> Mapping[Ports, Mapping[str, Endpoint]]:
    """The endpoints of the Service's family of that number."""
    desired: dict[Ports, dict[str, Endpoint]] = {}
    ports: Ports | None = None
    group: dict[str, Endpoint] = {}
    for uid, item in made.items():
        endpoint = item.endpoints[number]
        if endpoint is None:
            continue
        if item.ports != ports:  # hashing ports is slow, and most Pods of a Service have the same ones
            ports = item.ports
            group = desired.setdefault(ports, {})
        group[uid] = endpoint
    return desired


def _is_ours(piece: EndpointSlice) -> bool:
    return piece.metadata.labels.get(MANAGED_BY_LABEL) == SLICE_CONTROLLER


def _item(service: Service, pod: Pod, zone: str | None) -> _Item:
    first: Endpoint | None = None
    endpoints: list[Endpoint | None] = []
    for family in families_of(service):
        address = pod.status.address_of(family)
        if not address:
            endpoints.append(None)
        elif first is None:
            endpoints.append(first := _endpoint(service, pod, zone, address))
        else:
            endpoints.append(replace(first, addresses=(address,)))
    return _Item(_ports(service, pod), tuple(endpoints))


def _endpoint(service: Service, pod: Pod, zone: str | None, address: str) -> Endpoint:
    serving = is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=hostname_in(service, pod) or None,
        node_name=pod.spec.node_name or None,
        zone=zone,
        target_ref=target_reference(pod),
        rest=_hints(service, pod, zone) if ready else EMPTY,
    )


def _hints(service: Service, pod: Pod, zone: str | None) -> Mapping[str, Any]:
    """For whom a ready endpoint is meant, if the Service has a trafficDistribution.

    Source: ``k8s.io/endpointslice/trafficdist``, preferCloseHeuristic. The annotation ``topology-mode: Auto``
    goes before it (``zonehints``).
    """
    wish = service.spec.rest.get("trafficDistribution")
    if wish not in _CLOSE or is_wanted(service.metadata.annotations):
        return EMPTY
    hints: dict[str, Any] = {}
    if zone is not None:
        hints["forZones"] = [{"name": zone}]
    if wish == SAME_NODE and pod.spec.node_name:
        hints["forNodes"] = [{"name": pod.spec.node_name}]
    return {"hints": hints} if hints else EMPTY


def _ports(service: Service, pod: Pod) -> Ports:
    """The Service's ports as they are in the Pod; one that the Pod does not have is left out."""
    return tuple(
        EndpointPort(port.name, number, port.protocol, port.app_protocol or None)
        for port in service.spec.ports
        if (number := port_number(pod, port)) is not None
    )


def _labels(service: Service) -> Mapping[str, str]:
    """The Service's own labels, and those by which consumers find and know the slice."""
    own = {SERVICE_NAME_LABEL: service.metadata.name, MANAGED_BY_LABEL: SLICE_CONTROLLER}
    if service.headless:
        own[HEADLESS_LABEL] = ""
    reserved = (SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL)
    labels = service.metadata.labels
    return {**{key: value for key, value in labels.items() if key not in reserved}, **own}


def _with_labels(piece: EndpointSlice, labels: Mapping[str, str]) -> EndpointSlice:
    if piece.metadata.labels == labels:
        return piece
    return replace(piece, metadata=replace(piece.metadata, labels=labels))


def _new_slice(
    service: Service, ports: Ports, endpoints: tuple[Endpoint, ...], labels: Mapping[str, str], family: str
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{service.metadata.name}-",
            namespace=service.metadata.namespace,
            labels=labels,
            owner_references=(controller_reference(service),),
        ),
        address_type=family,
        endpoints=endpoints,
        ports=ports,
        source=service.source,
    )
