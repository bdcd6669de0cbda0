"""What makes a Pod an endpoint of a Service: shared by the EndpointSlice and the Endpoints controller.

Source: ``k8s.io/endpointslice/util`` and ``pkg/controller/endpoint/endpoints_controller.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from netsim.controllers.podstate import is_ready, is_terminal
from netsim.objects.core import Node, ObjectReference, Pod, Service, ServicePort
from netsim.objects.meta import ObjectRef
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

T = TypeVar("T")

ZONE_LABEL = "topology.kubernetes.io/zone"
HEADLESS_LABEL = "service.kubernetes.io/headless"


def has_endpoints(service: Service) -> bool:
    """Whether controllers keep its endpoints: without a selector, they are whoever's who wrote it."""
    return service.spec.type != "ExternalName" and bool(service.spec.selector)


def families_of(service: Service) -> tuple[str, ...]:
    """The families of the Service's endpoints, its primary one first; while nobody has filled them in, IPv4,
    which is the primary one of every cluster here."""
    return service.spec.ip_families or ("IPv4",)


def is_candidate(pod: Pod) -> bool:
    """Whether the Pod is in endpoints at all, ready or not (ShouldPodBeInEndpoints)."""
    return bool(pod.status.pod_ip) and not is_terminal(pod)


def port_number(pod: Pod, port: ServicePort) -> int | None:
    """The number of a targetPort in the Pod; None when no container has a port of that name and protocol.

    Source: ``pkg/api/v1/pod/util.go``, FindPort.
    """
    if not isinstance(port.target_port, str):
        return port.target_port or port.port
    sidecars = (c for c in pod.spec.init_containers if c.rest.get("restartPolicy") == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for candidate in container.ports:
            if candidate.name == port.target_port and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def hostname_in(service: Service, pod: Pod) -> str:
    """The Pod's own DNS name below the Service, which it has when its subdomain is the Service's name."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def target_reference(pod: Pod) -> ObjectReference:
    """The ``targetRef`` that points at the Pod."""
    meta = pod.metadata
    return ObjectReference(kind=Pod.kind, namespace=meta.namespace, name=meta.name, uid=meta.uid)


def zone_of(node: Node | None) -> str | None:
    """The node's zone, or None."""
    return node.metadata.labels.get(ZONE_LABEL) if node is not None else None


def services_concerned(event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
    """The Services whose endpoints an event about a Service, a Pod or a Node may change."""
    match event.object, event.old:
        case Service() as service, _:
            yield service.ref
        case Pod() as pod, old:
            before = _footprint(old) if isinstance(old, Pod) else None
            after = _footprint(pod) if reader.find_ref(pod.ref) is not None else None
            if before == after:
                return
            yield from (service.ref for service in reader.services_selecting(pod))
            if isinstance(old, Pod) and old.metadata.labels != pod.metadata.labels:
                yield from (service.ref for service in reader.services_selecting(old))
        case Node() as node, old:
            if zone_of(node) != (zone_of(old) if isinstance(old, Node) else None):
                for pod in reader.pods_on(node.metadata.name):
                    yield from (service.ref for service in reader.services_selecting(pod))


class _Made(NamedTuple, Generic[T]):
    pod: Pod
    zone: str | None
    value: T


class MadeOfPods(Generic[T]):
    """What a controller makes of each Pod of each Service.

    Pods are frozen values, so what was made of the very same Pod is taken again: one changed Pod of a large
    Service costs the making of one value. Given the same store, the answer is the same.
    """

    def __init__(self, make: Callable[[Service, Pod, str | None], T]) -> None:
        self._make = make
        self._made: dict[ObjectRef, tuple[Service, dict[str, _Made[T]]]] = {}

    def of(self, service: Service, reader: Reader) -> Mapping[str, T]:
        """By the uid of the Pod, in the order in which the Pods were created."""
        known_for, known = self._made.get(service.ref, (service, {}))
        annotations = service.metadata.annotations
        if known_for.spec != service.spec or known_for.metadata.annotations != annotations:
            known = {}
        zones: dict[str, str | None] = {}
        made: dict[str, _Made[T]] = {}
        for pod in reader.pods_selected(service):
            node, uid = pod.spec.node_name, pod.metadata.uid
            if node not in zones:
                zones[node] = zone_of(reader.find(Node, node))
            item = known.get(uid)
            if item is None or item.pod is not pod or item.zone != zones[node]:
                if not is_candidate(pod):
                    continue
                item = _Made(pod, zones[node], self._make(service, pod, zones[node]))
            made[uid] = item
        self._made[service.ref] = (service, made)
        return {uid: item.value for uid, item in made.items()}

    def forget(self, service: ObjectRef) -> None:
        """For a Service that is gone."""
        self._made.pop(service, None)


def _footprint(pod: Pod) -> tuple[object, ...] | None:
    """All of a Pod that endpoints show (podEndpointsChanged); None when they do not show it."""
    if not is_candidate(pod):
        return None
    leaving = pod.metadata.deletion_timestamp is not None
    return (pod.metadata.labels, pod.status.pod_ips, pod.status.pod_ip, is_ready(pod), leaving, pod.spec)
