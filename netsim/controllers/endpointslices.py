"""EndpointSlices: for each Service with a selector, the addresses of its Pods and how they are.

Source: kube-controller-manager ``pkg/controller/endpointslice`` and ``k8s.io/endpointslice``. Slices are
deleted with their Service, through their ownerReference. IPv4 only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from netsim.controllers.controller import Create, Delete, Outcome, Update, Write
from netsim.controllers.ownership import controller_reference
from netsim.controllers.podstate import is_ready
from netsim.controllers.serving import (
    HEADLESS_LABEL,
    MadeOfPods,
    has_endpoints,
    hostname_in,
    port_number,
    services_concerned,
    target_reference,
)
from netsim.controllers.slicing import Ports
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
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

SAME_NODE = "PreferSameNode"
_CLOSE = ("PreferClose", "PreferSameZone", SAME_NODE)  # the first is an older word for the second


class _Item(NamedTuple):
    """An endpoint and the ports that it has in its Pod."""

    ports: Ports
    endpoint: Endpoint


class EndpointSliceController:
    """Subjects are the Services."""

    name = "endpointslice-controller"
    kinds = (Service.kind, Pod.kind, Node.kind, EndpointSlice.kind)

    def __init__(self) -> None:
        self._made = MadeOfPods(_item)
        self._zone_hints = ZoneHints("IPv4")

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
            self._zone_hints.forget(subject)
            return Outcome()
        desired = _by_ports(self._made.of(service, reader))
        labels = _labels(service)
        existing = [piece for piece in reader.slices_of(subject) if _is_ours(piece)]
        packing, reports = self._zone_hints.packed(service, desired, existing, reader)
        touched = {piece.ref: piece for piece in (*packing.update, *packing.delete)}
        relabel = [
            piece for piece in existing if piece.metadata.labels != labels and piece.ref not in touched
        ]
        writes: list[Write] = [
            Create(_new_slice(service, ports, tuple(endpoints), labels))
            for ports, endpoints in packing.create
        ]
        writes += [Update(_with_labels(piece, labels)) for piece in (*packing.update, *relabel)]
        writes += [Delete(piece.ref) for piece in packing.delete]
        return Outcome(writes, reports=reports)


def _by_ports(made: Mapping[str, _Item]) -> Mapping[Ports, Mapping[str, Endpoint]]:
    desired: dict[Ports, dict[str, Endpoint]] = {}
    ports: Ports | None = None
    group: dict[str, Endpoint] = {}
    for uid, item in made.items():
        if item.ports != ports:  # hashing ports is slow, and most Pods of a Service have the same ones
            ports = item.ports
            group = desired.setdefault(ports, {})
        group[uid] = item.endpoint
    return desired


def _is_ours(piece: EndpointSlice) -> bool:
    return piece.metadata.labels.get(MANAGED_BY_LABEL) == SLICE_CONTROLLER


def _item(service: Service, pod: Pod, zone: str | None) -> _Item:
    return _Item(_ports(service, pod), _endpoint(service, pod, zone))


def _endpoint(service: Service, pod: Pod, zone: str | None) -> Endpoint:
    serving = is_ready(pod)
    terminating = pod.metadata.deletion_timestamp is not None
    return Endpoint(
        addresses=(pod.status.pod_ip,),
        conditions=EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=hostname_in(service, pod) or None,
        node_name=pod.spec.node_name or None,
        zone=zone,
        target_ref=target_reference(pod),
        rest=_hints(service, pod, zone) if serving and not terminating else EMPTY,
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
    service: Service, ports: Ports, endpoints: tuple[Endpoint, ...], labels: Mapping[str, str]
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{service.metadata.name}-",
            namespace=service.metadata.namespace,
            labels=labels,
            owner_references=(controller_reference(service),),
        ),
        endpoints=endpoints,
        ports=ports,
        source=service.source,
    )
