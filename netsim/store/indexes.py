"""By which questions the store finds objects without looking at all of them.

An index is a function from an object to the keys under which it is found. A new question is one line in
``KEYS``; the questions themselves are methods of ``Reader``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from netsim.objects.core import Node, Pod, Service
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import Object
from netsim.objects.rules.service_addresses import SINGLE_STACK


class Index(Enum):
    OWNER = "owner"  # uid of an owner
    CONTROLLER = "controller"  # uid of the owner that manages it, kind
    ORPHAN = "orphan"  # namespace: Pods that no controller manages
    LABEL = "label"  # kind, namespace, label key, value
    NAMESPACE = "namespace"  # namespace, kind
    NODE = "node"  # name of the node that a Pod is bound to, the empty string while there is none
    LOAD = "load"  # controller uid (or the empty string: any), node: Pods that count for spreading
    SELECTOR = "selector"  # namespace and the first pair of a Service's selector
    CLUSTER_IP = "clusterIP"  # address that a Service holds, the empty string while it may wait for one
    NODE_PORT = "nodePort"  # protocol, number that a Service holds; number 0 while it waits for one
    INGRESS = "ingress"  # address that a load balancer Service holds, the empty string while it has none
    POD_IP = "podIP"  # address that a Pod holds, unless it is its node's
    POD_CIDR = "podCIDR"  # range that a Node holds, the empty string while it waits for one


class IndexKey(NamedTuple):
    """One place in one index."""

    of: Index
    key: tuple[object, ...]


TERMINAL_PHASES = ("Succeeded", "Failed")


def _owners(obj: Object) -> Iterator[IndexKey]:
    for owner in obj.metadata.owner_references:
        yield IndexKey(Index.OWNER, (owner.uid,))
        if owner.controller:
            yield IndexKey(Index.CONTROLLER, (owner.uid, obj.kind))


def _labels(obj: Object) -> Iterator[IndexKey]:
    for key, value in obj.metadata.labels.items():
        yield IndexKey(Index.LABEL, (obj.kind, obj.metadata.namespace, key, value))


def _namespace(obj: Object) -> Iterator[IndexKey]:
    if obj.metadata.namespace:
        yield IndexKey(Index.NAMESPACE, (obj.metadata.namespace, obj.kind))


def _node(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Pod):
        yield IndexKey(Index.NODE, (obj.spec.node_name,))
        if obj.metadata.deletion_timestamp is None and obj.status.phase not in TERMINAL_PHASES:
            yield IndexKey(Index.LOAD, ("", obj.spec.node_name))
            if (owner := obj.metadata.controller()) is not None:
                yield IndexKey(Index.LOAD, (owner.uid, obj.spec.node_name))


def _pod_ips(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Pod) and obj.status.pod_ip and not obj.spec.host_network:
        for address in dict.fromkeys((obj.status.pod_ip, *(entry.ip for entry in obj.status.pod_ips))):
            yield IndexKey(Index.POD_IP, (address,))


def _orphans(obj: Object) -> Iterator[IndexKey]:
    if obj.metadata.controller() is None:
        yield IndexKey(Index.ORPHAN, (obj.metadata.namespace,))


def _selector(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Service) and obj.spec.selector:
        key = min(obj.spec.selector)
        yield IndexKey(Index.SELECTOR, (obj.metadata.namespace, key, obj.spec.selector[key]))


def _cluster_ips(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Service) and obj.spec.type != "ExternalName":
        addresses = obj.spec.cluster_ips or (obj.spec.cluster_ip,)
        if len(addresses) == 1 and obj.spec.ip_family_policy not in ("", SINGLE_STACK):
            addresses = (*addresses, "")  # of the other family
        for address in dict.fromkeys(addresses):
            if address != "None":
                yield IndexKey(Index.CLUSTER_IP, (address,))


def _node_ports(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Service) and obj.spec.type in ("NodePort", "LoadBalancer"):
        for port in obj.spec.ports:
            yield IndexKey(Index.NODE_PORT, (port.protocol, port.node_port or 0))
        if health := obj.spec.rest.get("healthCheckNodePort"):
            yield IndexKey(Index.NODE_PORT, ("TCP", health))


def _ingress(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Service) and obj.spec.type == "LoadBalancer":
        given = (obj.status.rest.get("loadBalancer") or {}).get("ingress") or [{}]
        for address in [entry.get("ip", "") for entry in given]:
            yield IndexKey(Index.INGRESS, (address,))


def _pod_cidr(obj: Object) -> Iterator[IndexKey]:
    if isinstance(obj, Node):
        for cidr in dict.fromkeys((obj.spec.pod_cidr, *obj.spec.pod_cidrs)):
            yield IndexKey(Index.POD_CIDR, (cidr,))


KeyFunction = Callable[[Object], Iterator[IndexKey]]

_OF_ALL: tuple[KeyFunction, ...] = (_namespace, _owners)
KEYS: dict[str, tuple[KeyFunction, ...]] = {
    Pod.kind: (*_OF_ALL, _labels, _node, _pod_ips, _orphans),
    EndpointSlice.kind: (*_OF_ALL, _labels),
    Service.kind: (*_OF_ALL, _selector, _cluster_ips, _node_ports, _ingress),
    Node.kind: (_pod_cidr,),
}
LABEL_INDEXED = frozenset(kind for kind, functions in KEYS.items() if _labels in functions)


def index_keys(obj: Object) -> tuple[IndexKey, ...]:
    """Every place at which the object is found, each once."""
    return tuple(dict.fromkeys(key for keys in KEYS.get(obj.kind, _OF_ALL) for key in keys(obj)))
