"""Names that mean the same in several clusters.

The Pods of a Deployment are called otherwise in each cluster, and addresses are given out anew: what is
compared are workloads, Pods with a name of their own, nodes and Services.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.cluster.cluster import Cluster
from netsim.cluster.names import SHORT_NAMES
from netsim.cni.fabric import node_addresses, node_addresses6, node_subnets
from netsim.objects.core import Pod, Service
from netsim.objects.meta import Object
from netsim.objects.workloads import StatefulSet
from netsim.plan.entries import Address, Host, HostName, Role
from netsim.proxy.service_port import load_balancer_vips
from netsim.store.reader import Reader


class Place(NamedTuple):
    """Who has an address. ``node`` is the node that it is on, empty outside the cluster."""

    who: str
    node: str = ""


class Places:
    """Who has which address in one cluster, for as long as nothing changes."""

    def __init__(self, cluster: Cluster) -> None:
        self._services = _services(cluster.store)
        self._places = _places(cluster)
        self._nodes = node_addresses(cluster.topology)
        self._nodes6 = node_addresses6(cluster.topology)
        self._subnets = {name: subnet.name for name, subnet in node_subnets(cluster.topology).items()}

    def at(self, address: IpAddress) -> Place:
        """Who has the address; one that nobody has stands for itself."""
        return self._places.get(address) or Place(self._services.get(str(address), str(address)))

    def behind(self, address: IpAddress, host: HostName) -> IpAddress:
        """Where a packet ends that came to ``host`` for a Service's address: IPVS gives it to a server there
        after the last interface that it crossed."""
        if str(address) not in self._services:
            return address
        return self._nodes.get(host, address) if address.version == 4 else self._nodes6.get(host, address)

    def node_named(self, host: HostName) -> str:
        """The node that a host of the plan is; empty for others."""
        return host if host in self._nodes else ""

    def same_subnet(self, node: str, other: str) -> bool:
        """Whether two nodes are plugged into one subnet."""
        return self._subnets.get(node) == self._subnets.get(other)

    def render(self, addresses: Iterable[IpAddress]) -> str:
        """Addresses as names, each once and with its number: ``deploy/prod/web (3 Pods)``."""
        counts: dict[str, int] = {}
        for address in addresses:
            who = self.at(address).who
            counts[who] = counts.get(who, 0) + 1
        return ", ".join(counted(who, count) for who, count in sorted(counts.items()))


def counted(who: str, count: int) -> str:
    """A workload with the number of its Pods; what has one Pod of that name stands alone."""
    if who.count("/") < 2 or not count:
        return who
    return f"{who} ({count} Pod{'' if count == 1 else 's'})"


def identity(reader: Reader, pod: Pod) -> str:
    """``deploy/prod/web`` for Pods that are alike; ``prod/db-0`` for one that keeps its name."""
    meta = pod.metadata
    owner = owner_of(reader, pod)
    if owner is None or isinstance(owner, StatefulSet):
        return f"{meta.namespace}/{meta.name}"
    return workload(owner)


def workload(owner: Object) -> str:
    """``sts/prod/db``, as targets of checks are written."""
    kind = SHORT_NAMES.get(owner.kind, owner.kind.lower())
    return f"{kind}/{owner.metadata.namespace}/{owner.metadata.name}"


def owner_of(reader: Reader, pod: Pod) -> Object | None:
    """What manages a Pod in the end: a Deployment, not its ReplicaSet."""
    found: Object = pod
    while (owner := found.metadata.controller()) is not None:
        above = reader.find_uid(owner.uid)
        if above is None:
            break
        found = above
    return None if found is pod else found


def _services(reader: Reader) -> Mapping[str, str]:
    names: dict[str, str] = {}
    for service in reader.list(Service):
        title = f"{service.metadata.namespace}/{service.metadata.name}"
        for text in service.spec.cluster_ips or (service.spec.cluster_ip,):
            names[text] = f"the ClusterIP of {title}"
        for text in load_balancer_vips(service):
            names[text] = f"the load balancer of {title}"
    return names


def _places(cluster: Cluster) -> Mapping[IpAddress, Place]:
    hosts = {entry.name: entry for entry in cluster.plan if isinstance(entry, Host)}
    places: dict[IpAddress, Place] = {}
    for entry in cluster.plan:
        if isinstance(entry, Address):
            place = _machine(hosts[entry.host].role, entry.host)
            if place is not None:
                places[entry.address.ip] = place
    for pod in cluster.store.list(Pod):
        if pod.status.pod_ip and not pod.spec.host_network:
            who = identity(cluster.store, pod)
            for text in pod.status.addresses():
                places[ip_address(text)] = Place(who, pod.spec.node_name)
    return places


def _machine(role: Role, host: HostName) -> Place | None:
    """What is no Pod; the Pods of the plan are known from the store."""
    if role is Role.NODE:
        return Place(f"node/{host}", host)
    if role is Role.EXTERNAL:
        return Place(f"external/{host}")
    return Place(str(host)) if role is Role.ROUTER else None
