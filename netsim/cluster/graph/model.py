"""What a picture of the cluster shows, as values: hosts and wires, Pods by workload, Services by endpoint.

``drawing_of`` reads the plan for the wires (a router that a Pod network adds is drawn without a word here)
and the store for the rest. Renderers get the value and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from netsim.cluster.tables import TABLES, table_rows
from netsim.cni.fabric import INTERNET, node_addresses, node_addresses6, node_subnets
from netsim.objects.apps import ReplicaSet
from netsim.objects.core import Node, Pod, Service
from netsim.objects.discovery import Endpoint
from netsim.objects.topology import ExternalHost, Subnet
from netsim.plan.entries import Address, Announcement, Link, Role
from netsim.plan.entries import Host as PlannedHost
from netsim.proxy.service_port import load_balancer_vips

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

SHORT_KINDS = {
    "Deployment": "deploy",
    "ReplicaSet": "rs",
    "ReplicationController": "rc",
    "StatefulSet": "sts",
    "DaemonSet": "ds",
    "Job": "job",
}
NO_ENDPOINTS = "no endpoints"
NOTHING = "<none>"  # what the tables say where there is nothing


class View(Enum):
    """What is of interest."""

    CLUSTER = "cluster"  # all of it
    NETWORK = "network"  # wires, nodes and Pods
    SERVICES = "services"  # Services and the Pods behind them, whatever node these are on


class DrawnPod(NamedTuple):
    """``address`` is empty until the Pod has one; ``status`` is the word of ``kubectl get pods``."""

    namespace: str
    name: str
    address: str
    node: str
    status: str
    ready: bool

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def trouble(self) -> str:
        """Why it does not serve: ``Pending``, ``CrashLoopBackOff``, ``not ready``; empty when it does."""
        if self.ready:
            return ""
        return self.status if self.status != "Running" else "not ready"


class Workload(NamedTuple):
    """Pods of one owner. ``kind`` is kubectl's short word (``deploy``); it is empty for a Pod that nothing
    owns, which has its own name here."""

    namespace: str
    kind: str
    name: str
    pods: tuple[DrawnPod, ...]

    @property
    def title(self) -> str:
        """``deploy/prod/web``, or ``dev/jump`` for a Pod alone."""
        return f"{self.kind}/{self.namespace}/{self.name}" if self.kind else f"{self.namespace}/{self.name}"


class DrawnNode(NamedTuple):
    """``facts`` are the words beside its name: ``control-plane``, ``zone a``, ``NotReady``.

    ``announces`` holds the load balancer addresses for which it answers ARP.
    """

    name: str
    address: str
    pod_cidr: str
    ready: bool
    facts: tuple[str, ...]
    announces: tuple[str, ...]
    workloads: tuple[Workload, ...]


class OutsideHost(NamedTuple):
    """A host outside the cluster; ``ports`` is where it serves pages."""

    name: str
    address: str
    ports: tuple[int, ...]


class Rack(NamedTuple):
    """One subnet with what is plugged into it."""

    name: str
    cidr: str
    mtu: int
    nodes: tuple[DrawnNode, ...]
    hosts: tuple[OutsideHost, ...]


class Router(NamedTuple):
    """``legs`` says with which address it stands in which subnet; the outside is the subnet ``internet``."""

    name: str
    legs: tuple[tuple[str, str], ...]


class DrawnEndpoint(NamedTuple):
    """``target`` is who has the address: a Pod (``prod/web-0``), ``node/control``, ``external/db``, or nobody
    that is known (empty). ``ports`` are those that the Service sends to."""

    address: str
    ports: tuple[str, ...]
    target: str
    node: str
    ready: bool


class DrawnService(NamedTuple):
    """Words as in ``kubectl get services``. ``outside`` holds the addresses that a load balancer or
    ``externalIPs`` give, ``answering`` the nodes that answer for them; ``local`` says that a node sends what
    comes from outside to its own Pods alone (externalTrafficPolicy)."""

    namespace: str
    name: str
    type: str
    address: str
    ports: str
    node_ports: tuple[int, ...]
    outside: tuple[str, ...]
    answering: tuple[str, ...]
    endpoints: tuple[DrawnEndpoint, ...]
    local: bool = False

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def words(self) -> tuple[str, ...]:
        """Type, address and ports, as far as it has them."""
        address = "headless" if self.address == "None" else self.address
        listed = (f"{self.type} {address}" if address != NOTHING else self.type, self.ports)
        return tuple(word for word in listed if word != NOTHING)

    @property
    def ways_in(self) -> tuple[str, ...]:
        """How one gets to it besides its own address, and whether anything is behind it."""
        if self.type == "ExternalName":
            return (f"a name for {', '.join(self.outside)}",)
        ways = []
        if self.outside:
            at = f" at {', '.join(self.answering)}" if self.answering else ""
            ways.append(f"from outside: {', '.join(self.outside)}{at}")
        if self.node_ports:
            ports = "port" if len(self.node_ports) == 1 else "ports"
            ways.append(f"node {ports} {', '.join(map(str, self.node_ports))} on every node")
        if self.local:
            ways.append("Local: each node to its own Pods alone")
        if not self.endpoints:
            ways.append(NO_ENDPOINTS)
        return tuple(ways)

    def trouble(self, end: DrawnEndpoint) -> str:
        """Why nothing is sent to an endpoint; empty when something is."""
        if not end.ready:
            return "not ready"
        return "no such port" if not end.ports and self.ports != NOTHING else ""


class Drawing(NamedTuple):
    """Everything that is drawn, in the order in which it is. ``homeless`` are Pods that no node runs."""

    name: str
    view: View
    facts: tuple[str, ...]
    outside: tuple[OutsideHost, ...]
    routers: tuple[Router, ...]
    racks: tuple[Rack, ...]
    homeless: tuple[Workload, ...]
    services: tuple[DrawnService, ...]

    @property
    def pods(self) -> dict[str, DrawnPod]:
        """All Pods by their titles."""
        return {pod.title: pod for workload in (*self.on_nodes(), *self.homeless) for pod in workload.pods}

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """All Pods by their owners, whatever nodes they are on."""
        pods: dict[tuple[str, str, str], list[DrawnPod]] = {}
        for workload in (*self.on_nodes(), *self.homeless):
            pods.setdefault(workload[:3], []).extend(workload.pods)
        return tuple(
            Workload(*key, tuple(sorted(found, key=lambda pod: pod.title)))
            for key, found in sorted(pods.items())
        )

    def on_nodes(self) -> Iterator[Workload]:
        """The Pods of each owner on each node."""
        for rack in self.racks:
            for node in rack.nodes:
                yield from node.workloads


def drawing_of(cluster: Cluster, *, view: View = View.CLUSTER, namespaces: Collection[str] = ()) -> Drawing:
    """The drawing of a cluster as it is now; with ``namespaces``, Pods and Services of those alone."""
    workloads = _workloads_by_node(cluster, namespaces)
    homeless = tuple(
        workload for node in sorted(set(workloads) - _nodes(cluster)) for workload in workloads[node]
    )
    networking = cluster.topology.networking
    home = {host.name: _home(host, cluster.topology.subnets) for host in cluster.topology.external_hosts}
    return Drawing(
        cluster.topology.name,
        view,
        (
            f"Pods {_all(networking.pod_subnet, networking.pod_subnet6)} over {networking.pod_network}",
            f"Services {_all(*networking.service_subnets)} by {networking.kube_proxy_mode}",
        ),
        tuple(_outside(host) for host in cluster.topology.external_hosts if home[host.name] is None),
        tuple(_routers(cluster)),
        tuple(_racks(cluster, workloads, home)),
        homeless,
        () if view is View.NETWORK else tuple(_services(cluster, namespaces)),
    )


def _nodes(cluster: Cluster) -> set[str]:
    return {node.name for node in cluster.topology.nodes}


def _home(host: ExternalHost, subnets: Iterable[Subnet]) -> str | None:
    return next((subnet.name for subnet in subnets if host.address in subnet.cidr), None)


def _outside(host: ExternalHost) -> OutsideHost:
    return OutsideHost(host.name, _all(host.address, host.address6), tuple(host.http))


def _all(*things: object) -> str:
    """Addresses or networks of both families, as far as there are both."""
    return ", ".join(str(thing) for thing in things if thing)


def _routers(cluster: Cluster) -> Iterator[Router]:
    plan = cluster.plan
    hosts = [entry.name for entry in plan if isinstance(entry, PlannedHost) and entry.role is Role.ROUTER]
    wires = {
        port: str(other.host)
        for entry in plan
        if isinstance(entry, Link)
        for port, other in ((entry.a, entry.b), (entry.b, entry.a))
        if port.host in hosts
    }
    addresses: dict[tuple[str, str], list[str]] = {}
    for entry in plan:
        if isinstance(entry, Address):
            addresses.setdefault((entry.host, entry.interface), []).append(str(entry.address.ip))
    for host in hosts:
        legs = {wire: _all(*addresses.get(port, ())) for port, wire in wires.items() if port.host == host}
        inside = sorted((wire, address) for wire, address in legs.items() if wire != INTERNET)
        outer = [(str(INTERNET), legs[INTERNET])] if INTERNET in legs else []
        yield Router(str(host), (*outer, *inside))


def _racks(
    cluster: Cluster, workloads: Mapping[str, tuple[Workload, ...]], home: Mapping[str, str | None]
) -> Iterator[Rack]:
    topology = cluster.topology
    addresses, subnets = node_addresses(topology), node_subnets(topology)
    addresses6 = node_addresses6(topology)
    announced: dict[str, list[str]] = {}
    for entry in cluster.plan:
        if isinstance(entry, Announcement):
            announced.setdefault(entry.host, []).append(str(entry.address))
    status = {row["name"]: row for row in table_rows(TABLES["nodes"], cluster.store, None, now=cluster.now)}
    for subnet in topology.subnets:
        nodes = tuple(
            DrawnNode(
                node.name,
                _all(addresses[node.name], addresses6.get(node.name)),
                _all(*_pod_cidrs(cluster.store.get(Node, node.name))),
                status[node.name]["status"].startswith("Ready"),
                tuple(_node_facts(status[node.name], node.zone)),
                tuple(sorted(announced.get(node.name, ()))),
                workloads.get(node.name, ()),
            )
            for node in topology.nodes
            if subnets[node.name].name == subnet.name
        )
        hosts = tuple(_outside(host) for host in topology.external_hosts if home[host.name] == subnet.name)
        yield Rack(subnet.name, _all(subnet.cidr, subnet.cidr6), subnet.mtu, nodes, hosts)


def _pod_cidrs(node: Node) -> tuple[str, ...]:
    return node.spec.pod_cidrs or (node.spec.pod_cidr,)


def _node_facts(row: Mapping[str, str], zone: str) -> Iterator[str]:
    if row["roles"] != NOTHING:
        yield row["roles"]
    if zone:
        yield f"zone {zone}"
    if row["status"] != "Ready":
        yield row["status"]


def _workloads_by_node(cluster: Cluster, namespaces: Collection[str]) -> dict[str, tuple[Workload, ...]]:
    """By the name of the node, which is empty for Pods that have none yet."""
    rows = table_rows(TABLES["pods"], cluster.store, None, now=cluster.now)
    status = {(row["namespace"], row["name"]): row["status"] for row in rows}
    found: dict[str, dict[tuple[str, str, str], list[DrawnPod]]] = {}
    ordered = sorted(cluster.store.list(Pod), key=lambda pod: (pod.metadata.namespace, pod.metadata.name))
    for pod in ordered:
        namespace, name = pod.metadata.namespace, pod.metadata.name
        if namespaces and namespace not in namespaces:
            continue
        node, ready = pod.spec.node_name, pod.condition("Ready")
        address = _all(*pod.status.addresses())
        drawn = DrawnPod(namespace, name, address, node, status[namespace, name], ready)
        owner = (namespace, *_owner(cluster, pod))
        found.setdefault(node, {}).setdefault(owner, []).append(drawn)
    return {
        node: tuple(Workload(*key, tuple(pods)) for key, pods in sorted(owners.items()))
        for node, owners in found.items()
    }


def _owner(cluster: Cluster, pod: Pod) -> tuple[str, str]:
    """Who made the Pod, by kind and name: its Deployment rather than the ReplicaSet between them."""
    owner = pod.metadata.controller()
    if owner is None:
        return "", pod.metadata.name
    if owner.kind == ReplicaSet.kind:
        replica_set = cluster.store.find(ReplicaSet, owner.name, pod.metadata.namespace)
        above = replica_set.metadata.controller() if replica_set is not None else None
        owner = above or owner
    return SHORT_KINDS.get(owner.kind, owner.kind.lower()), owner.name


def _services(cluster: Cluster, namespaces: Collection[str]) -> Iterator[DrawnService]:
    rows = table_rows(TABLES["services"], cluster.store, None, now=cluster.now, wide=True)
    answering: dict[str, str] = {
        str(entry.address): str(entry.host) for entry in cluster.plan if isinstance(entry, Announcement)
    }
    for row in rows:
        namespace, name = row["namespace"], row["name"]
        if namespaces and namespace not in namespaces:
            continue
        service = cluster.store.get(Service, name, namespace)
        vips = tuple(load_balancer_vips(service))
        outside = () if row["external-ip"] == NOTHING else tuple(row["external-ip"].split(","))
        yield DrawnService(
            namespace,
            name,
            row["type"],
            _all(*service.spec.cluster_ips) or row["cluster-ip"],
            row["port(s)"],
            tuple(port.node_port for port in service.spec.ports if port.node_port),
            outside,
            tuple(sorted({answering[vip] for vip in vips if vip in answering})),
            tuple(_endpoints(cluster, service)),
            service.spec.external_traffic_policy == "Local",
        )


def _endpoints(cluster: Cluster, service: Service) -> list[DrawnEndpoint]:
    """One per address, with the ports of all its slices; of a Service of both families those of the first."""
    topology = cluster.topology
    others = {str(host.address): f"external/{host.name}" for host in topology.external_hosts}
    others |= {str(address): f"node/{name}" for name, address in node_addresses(topology).items()}
    others |= {str(address): f"node/{name}" for name, address in node_addresses6(topology).items()}
    found: dict[str, DrawnEndpoint] = {}
    pieces = cluster.store.slices_of(service.ref)
    first = service.spec.ip_families[:1]
    for piece in [one for one in pieces if (one.address_type,) == first and one.endpoints] or pieces:
        ports = tuple(str(port.port) if port.port is not None else "*" for port in piece.ports)
        for endpoint in piece.endpoints:
            for address in endpoint.addresses:
                known = found.get(address)
                listed = ports if known is None else (*known.ports, *ports)
                found[address] = DrawnEndpoint(
                    address,
                    tuple(dict.fromkeys(listed)),
                    _target(endpoint) or others.get(address, ""),
                    endpoint.node_name or "",
                    endpoint.conditions.ready is not False,
                )
    return sorted(found.values(), key=lambda end: (end.target, end.address))


def _target(endpoint: Endpoint) -> str:
    target = endpoint.target_ref
    return f"{target.namespace}/{target.name}" if target is not None and target.kind == Pod.kind else ""
