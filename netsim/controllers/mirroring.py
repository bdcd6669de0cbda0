"""Endpoints that a user wrote, for a Service without a selector, as EndpointSlices: what consumers read.

Each family of addresses has slices of its own. Source: kube-controller-manager
``pkg/controller/endpointslicemirroring``. The slices belong to the Endpoints and go with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from netsim.controllers.controller import Create, Delete, Outcome, Update, Write
from netsim.controllers.families import family_of
from netsim.controllers.ownership import controller_reference
from netsim.controllers.slicing import Ports
from netsim.objects.core import EndpointAddress, Endpoints, EndpointSubset, Service
from netsim.objects.discovery import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import ObjectMeta, ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

MIRRORING_CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"  # such Endpoints are an election's lock
NOT_MIRRORED = (  # of the annotations (newEndpointSlice)
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
)
MOST_PER_SUBSET = 1000  # --mirroring-max-endpoints-per-subset


class EndpointSliceMirroring:
    """Subjects are the Endpoints, of which there is at most one per Service, of the same name."""

    name = "endpointslice-mirroring-controller"
    kinds = (Endpoints.kind, Service.kind, EndpointSlice.kind)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Endpoints of the Service's name; for a mirror that somebody changed, its original."""
        obj = event.object
        if not isinstance(obj, EndpointSlice):
            yield ObjectRef(Endpoints.kind, obj.metadata.namespace, obj.metadata.name)
        elif event.type is not EventType.ADDED and _is_mirror(obj):
            yield ObjectRef(Endpoints.kind, obj.metadata.namespace, obj.service_name)

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """One slice for each set of ports; none for Endpoints that are not to be mirrored."""
        found = reader.find(Endpoints, subject.name, subject.namespace)
        service = reader.find(Service, subject.name, subject.namespace)
        slices = reader.slices_of(ObjectRef(Service.kind, subject.namespace, subject.name))
        mirrors = [piece for piece in slices if _is_mirror(piece)]
        if found is None or service is None or service.spec.selector or not _is_mirrored(found):
            return Outcome([Delete(piece.ref) for piece in mirrors])
        desired = _by_ports(found.subsets)
        labels = {
            **found.metadata.labels,
            SERVICE_NAME_LABEL: subject.name,
            MANAGED_BY_LABEL: MIRRORING_CONTROLLER,
        }
        writes: list[Write] = []
        for piece in mirrors:
            endpoints = desired.pop((piece.address_type, piece.ports), None)
            if endpoints is None:
                writes.append(Delete(piece.ref))
                continue
            meta = replace(piece.metadata, labels=labels, annotations=_annotations(found))
            updated = replace(piece, metadata=meta, endpoints=tuple(endpoints))
            if updated != piece:
                writes.append(Update(updated))
        writes += [
            Create(replace(_new_mirror(found, ports, tuple(made), labels), address_type=family))
            for (family, ports), made in desired.items()
        ]
        return Outcome(writes)


def _is_mirror(piece: EndpointSlice) -> bool:
    return piece.metadata.labels.get(MANAGED_BY_LABEL) == MIRRORING_CONTROLLER


def _is_mirrored(endpoints: Endpoints) -> bool:
    meta = endpoints.metadata
    return meta.labels.get(SKIP_LABEL) != "true" and LEADER_ANNOTATION not in meta.annotations


def _annotations(original: Endpoints) -> Mapping[str, str]:
    given = original.metadata.annotations
    return {key: value for key, value in given.items() if key not in NOT_MIRRORED}


def _by_ports(subsets: Sequence[EndpointSubset]) -> dict[tuple[str, Ports], list[Endpoint]]:
    """By family and ports; what has no address has no slice (reconcileByPortMapping)."""
    desired: dict[tuple[str, Ports], list[Endpoint]] = {}
    for subset in subsets:
        ports = tuple(
            EndpointPort(port.name, port.port, port.protocol, port.app_protocol or None)
            for port in subset.ports
        )
        made = [_endpoint(address, ready=True) for address in subset.addresses]
        made += [_endpoint(address, ready=False) for address in subset.not_ready_addresses]
        for endpoint in made[:MOST_PER_SUBSET]:
            desired.setdefault((family_of(endpoint.addresses[0]), ports), []).append(endpoint)
    return desired


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _new_mirror(
    original: Endpoints, ports: Ports, endpoints: tuple[Endpoint, ...], labels: Mapping[str, str]
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{original.metadata.name}-",
            namespace=original.metadata.namespace,
            labels=labels,
            annotations=_annotations(original),
            owner_references=(controller_reference(original),),
        ),
        endpoints=endpoints,
        ports=ports,
        source=original.source,
    )
