"""Small Services and EndpointSlices, and events about them, for the tests of this room."""

from __future__ import annotations

from netsim.objects.core import ObjectReference, Service, ServicePort, ServiceSpec
from netsim.objects.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import Object, ObjectMeta
from netsim.store.store import EventType, StoreEvent

HTTP = EndpointPort("http", 8080)
READY = EndpointConditions(ready=True, serving=True, terminating=False)
STARTING = EndpointConditions(ready=False, serving=False, terminating=False)
LEAVING = EndpointConditions(ready=False, serving=True, terminating=True)
GONE = EndpointConditions(ready=False, serving=False, terminating=True)


def service(name: str = "prod/ent", cluster_ip: str = "10.96.0.20", *ports: ServicePort) -> Service:
    namespace, _, short = name.partition("/")
    spec = ServiceSpec(
        cluster_ip=cluster_ip, cluster_ips=(cluster_ip,), ports=ports or (ServicePort(80, "http"),)
    )
    return Service(metadata=ObjectMeta(name=short, namespace=namespace), spec=spec)


def endpoint(address: str, conditions: EndpointConditions = READY, pod: str = "") -> Endpoint:
    target = ObjectReference("Pod", *pod.split("/")) if pod else None
    return Endpoint((address,), conditions, node_name="node1", target_ref=target)


def slice_of(
    service_name: str, suffix: str, *endpoints: Endpoint, ports: tuple[EndpointPort, ...] = (HTTP,)
) -> EndpointSlice:
    """The slice ``<service>-<suffix>``."""
    namespace, _, short = service_name.partition("/")
    meta = ObjectMeta(name=f"{short}-{suffix}", namespace=namespace, labels={SERVICE_NAME_LABEL: short})
    return EndpointSlice(metadata=meta, endpoints=endpoints, ports=ports)


def added(obj: Object) -> StoreEvent:
    return StoreEvent(EventType.ADDED, obj)


def modified(obj: Object) -> StoreEvent:
    return StoreEvent(EventType.MODIFIED, obj)


def deleted(obj: Object) -> StoreEvent:
    return StoreEvent(EventType.DELETED, obj)
