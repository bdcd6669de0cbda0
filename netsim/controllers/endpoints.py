"""Endpoints: the older form of EndpointSlices, one object per Service, which ``kubectl get ep`` prints. They
hold addresses of the Service's primary family alone (podToEndpointAddressForService).

Source: kube-controller-manager ``pkg/controller/endpoint/endpoints_controller.go``. Where Kubernetes orders
ports and subsets by a hash, netsim keeps the Service's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from math import ceil
from typing import NamedTuple

from netsim.controllers.controller import Create, Delete, Outcome, Update
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
from netsim.objects.core import EndpointAddress, Endpoints, EndpointsPort, EndpointSubset, Pod, Service
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

MOST_ADDRESSES = 1000  # endpoints_controller.go maxCapacity
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


_Ports = tuple[EndpointsPort, ...]


class _Item(NamedTuple):
    """A Pod's address with all that says where it belongs."""

    order: tuple[bytes, str]  # unique: the address, then the Pod's uid
    ready: bool
    ports: _Ports
    address: EndpointAddress


class _Group(NamedTuple):
    ready: list[EndpointAddress]
    not_ready: list[EndpointAddress]


class EndpointsController:
    """Subjects are the Services."""

    name = "endpoints-controller"
    kinds = (Service.kind, Pod.kind, Endpoints.kind)

    def __init__(self) -> None:
        self._made = MadeOfPods(_item)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Services concerned; that of Endpoints which somebody changed or deleted."""
        if not isinstance(event.object, Endpoints):
            yield from services_concerned(event, reader)
        elif event.type is not EventType.ADDED:
            yield ObjectRef(Service.kind, event.object.metadata.namespace, event.object.metadata.name)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Bring the Endpoints of the Service's name to show its Pods; they go with the Service."""
        service = reader.find(Service, subject.name, subject.namespace)
        found = reader.find(Endpoints, subject.name, subject.namespace)
        if service is None:
            self._made.forget(subject)
            return Outcome([Delete(found.ref)] if found is not None else [])
        if not has_endpoints(service):
            return Outcome()
        subsets, truncated = _truncated(_subsets(self._made.of(service, reader).values()))
        annotations = {OVER_CAPACITY: "truncated"} if truncated else {}
        labels = {
            **service.metadata.labels,
            **MANAGED_BY,
            **({HEADLESS_LABEL: ""} if service.headless else {}),
        }
        if found is None:
            meta = ObjectMeta(
                name=subject.name, namespace=subject.namespace, labels=labels, annotations=annotations
            )
            return Outcome([Create(Endpoints(metadata=meta, subsets=subsets, source=service.source))])
        kept = {key: value for key, value in found.metadata.annotations.items() if key != OVER_CAPACITY}
        meta = replace(found.metadata, labels=labels, annotations={**kept, **annotations})
        updated = replace(found, metadata=meta, subsets=subsets)
        return Outcome([Update(updated)] if updated != found else [])


def _item(service: Service, pod: Pod, _zone: str | None) -> _Item | None:
    """None for a Pod that Endpoints do not show: one that is leaving, has none of the Service's ports, or no
    address of its family."""
    publish = service.spec.publish_not_ready_addresses
    ports = tuple(
        EndpointsPort(number, port.name, port.protocol, port.app_protocol)
        for port in service.spec.ports
        if (number := port_number(pod, port)) is not None
    )
    leaving = pod.metadata.deletion_timestamp is not None
    own = pod.status.address_of(families_of(service)[0])
    if (leaving and not publish) or (service.spec.ports and not ports) or not own:
        return None
    address = EndpointAddress(
        ip=own,
        hostname=hostname_in(service, pod),
        node_name=pod.spec.node_name or None,
        target_ref=target_reference(pod),
    )
    order = (ip_address(own).packed, pod.metadata.uid)
    return _Item(order, publish or is_ready(pod), ports, address)


def _subsets(items: Iterable[_Item | None]) -> list[EndpointSubset]:
    """One subset per set of port numbers; in each the addresses in numerical order."""
    groups: dict[_Ports, _Group] = {}
    ports: _Ports | None = None
    group = _Group([], [])
    for item in sorted(item for item in items if item is not None):
        if item.ports != ports:  # hashing ports is slow, and most Pods of a Service have the same ones
            ports = item.ports
            group = groups.setdefault(ports, _Group([], []))
        (group.ready if item.ready else group.not_ready).append(item.address)
    return [
        EndpointSubset(tuple(group.ready), tuple(group.not_ready), ports)
        for ports, group in sorted(groups.items(), key=lambda item: [port.port for port in item[0]])
    ]


def _truncated(subsets: Sequence[EndpointSubset]) -> tuple[tuple[EndpointSubset, ...], bool]:
    """At most 1000 addresses, ready ones first, each subset in proportion (truncateEndpoints)."""
    ready = sum(len(subset.addresses) for subset in subsets)
    not_ready = sum(len(subset.not_ready_addresses) for subset in subsets)
    if ready + not_ready <= MOST_ADDRESSES:
        return tuple(subsets), False
    of_ready = ready > MOST_ADDRESSES
    room = MOST_ADDRESSES if of_ready else MOST_ADDRESSES - ready
    total = ready if of_ready else not_ready
    left = room
    kept: list[EndpointSubset] = []
    for subset in subsets:
        cut = subset.addresses if of_ready else subset.not_ready_addresses
        share = min(ceil(len(cut) * room / total), left)
        left -= share
        addresses = cut[:share] if of_ready else subset.addresses
        kept.append(EndpointSubset(addresses, () if of_ready else cut[:share], subset.ports))
    return tuple(kept), True
