"""The engine under every Pod network: follows Nodes and Pods, and turns each change into a small delta.

``cluster`` feeds it store events and applies the deltas. A Pod network is a subclass that says which
entries a node, a Pod and the cluster as a whole need; this module decides when they stand. It joins a Pod
with its node's podCIDR, whichever comes first, and keeps one ledger subject per Pod and per node, so that
a change costs work in proportion to what it changes.

A node takes part from the moment it has a podCIDR; a Pod while it has an address on such a node, is not
on the host network and has not ended (Succeeded, Failed: its sandbox is gone).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from netsim.base.address import IpAddress, IpNetwork
from netsim.cni.names import node_host, pod_host
from netsim.objects.core import Node, Pod
from netsim.plan.delta import Delta, Ledger, merge
from netsim.plan.entries import Entry, HostName
from netsim.store.indexes import TERMINAL_PHASES
from netsim.store.store import EventType, StoreEvent

NOTHING = Delta()


class PodNode(NamedTuple):
    """A node that takes part in the Pod network."""

    host: HostName
    pod_cidr: IPv4Network
    pod_cidr6: IPv6Network | None = None

    @property
    def pod_cidrs(self) -> tuple[IpNetwork, ...]:
        """Its podCIDR of each family, the primary one's first."""
        return (self.pod_cidr,) if self.pod_cidr6 is None else (self.pod_cidr, self.pod_cidr6)


class PodAddress(NamedTuple):
    """A Pod that is plugged in: its host, its node's name and its addresses, one of each family."""

    host: HostName
    node: str
    addresses: tuple[IpAddress, ...]


class PodNetwork(ABC):
    """See the module's docstring. ``nodes`` are the names of the nodes that stand in the fabric."""

    def __init__(self, nodes: Container[str]) -> None:
        self._known = nodes
        self._nodes: dict[str, PodNode] = {}
        self._pods: dict[HostName, PodAddress] = {}
        self._pods_on: dict[str, dict[HostName, PodAddress]] = {}
        self._ledger = Ledger()

    @abstractmethod
    def cluster_entries(self) -> Iterable[Entry]:
        """What stands once, as soon as one node takes part."""

    @abstractmethod
    def node_entries(self, node: PodNode) -> Iterable[Entry]:
        """What stands because of this node, on it and elsewhere."""

    @abstractmethod
    def pod_entries(self, node: PodNode, pod: PodAddress) -> Iterable[Entry]:
        """The Pod's host, and how it is plugged into its node."""

    def feed(self, event: StoreEvent) -> Delta:
        """What a change of the store changes in the plan; events of other kinds change nothing."""
        gone = event.type is EventType.DELETED
        match event.object:
            case Pod() as pod:
                host = pod_host(pod.metadata.namespace, pod.metadata.name)
                return self._set_pod(host, None if gone else _plugged(host, pod))
            case Node() as node:
                return self._set_node(node.metadata.name, None if gone else self._taking_part(node))
            case _:
                return NOTHING

    def _taking_part(self, node: Node) -> PodNode | None:
        name, pod_cidr = node.metadata.name, node.spec.pod_cidr
        if not pod_cidr or name not in self._known:
            return None
        others = (ip_network(cidr) for cidr in node.spec.pod_cidrs)
        second = next((cidr for cidr in others if isinstance(cidr, IPv6Network)), None)
        return PodNode(node_host(name), IPv4Network(pod_cidr), second)

    def _set_node(self, name: str, now: PodNode | None) -> Delta:
        if self._nodes.get(name) == now:
            return NOTHING
        if now is None:
            del self._nodes[name]
        else:
            self._nodes[name] = now
        cluster = self._ledger.replace("cluster", self.cluster_entries() if self._nodes else ())
        node = self._ledger.replace(f"node {name}", () if now is None else self.node_entries(now))
        pods = [self._place(pod) for pod in self._pods_on.get(name, {}).values()]
        # The ports of a bridge come after it and go before it.
        return merge([cluster, *pods, node] if now is None else [node, *pods, cluster])

    def _set_pod(self, host: HostName, now: PodAddress | None) -> Delta:
        before = self._pods.get(host)
        if before == now:
            return NOTHING
        if before is not None:
            del self._pods[host]
            del self._pods_on[before.node][host]
        if now is None:
            return self._ledger.replace(f"pod {host}", ())
        self._pods[host] = now
        self._pods_on.setdefault(now.node, {})[host] = now
        return self._place(now)

    def _place(self, pod: PodAddress) -> Delta:
        node = self._nodes.get(pod.node)
        return self._ledger.replace(f"pod {pod.host}", () if node is None else self.pod_entries(node, pod))


def _plugged(host: HostName, pod: Pod) -> PodAddress | None:
    spec, status = pod.spec, pod.status
    if not status.pod_ip or not spec.node_name or spec.host_network or status.phase in TERMINAL_PHASES:
        return None
    addresses = tuple(ip_address(entry.ip) for entry in status.pod_ips) or (ip_address(status.pod_ip),)
    return PodAddress(host, spec.node_name, addresses)
