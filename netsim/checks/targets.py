"""What the targets of checks stand for: ``dev/jump``, ``svc/dev/ent``, ``deploy/prod/web``, or an address.

A ``Book`` answers for the moment in which it is asked: a Deployment is the addresses of the Pods that it has
then. It also goes the other way and gives addresses the names that a reader of a report knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from netsim.base.address import IpAddress
from netsim.base.errors import UsageError
from netsim.cluster.names import OWNER_KINDS, POD_KINDS, find_pod, pods_of
from netsim.cni.fabric import ROUTER, node_addresses, node_addresses6
from netsim.cni.names import node_host, pod_host
from netsim.objects.core import Pod, Service
from netsim.objects.topology import Topology
from netsim.plan.delta import Plan
from netsim.plan.entries import Address, Host, HostName, Role
from netsim.store.indexes import Index
from netsim.store.reader import Reader

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

T = TypeVar("T")
SERVICE_KINDS = ("svc", "service", "services")
NODE_KINDS = ("node", "nodes", "no")
EXTERNAL = "external"
Addresses = frozenset[IpAddress]


class Book:
    """The addresses and hosts behind targets, and the targets behind addresses and hosts."""

    def __init__(self, topology: Topology, reader: Reader, plan: Plan) -> None:
        self._topology = topology
        self._reader = reader
        self._plan = plan

    # --- from targets --------------------------------------------------------------------------------

    def addresses(self, target: str) -> Addresses:
        """The addresses of a target, of all its families; UsageError when there is no such thing, with what
        comes near.

        A Service is its cluster IPs, a headless one its ready endpoints, as its name would resolve.
        """
        try:
            return frozenset((ip_address(target),))
        except ValueError:
            pass
        kind, _, rest = target.partition("/")
        if kind in SERVICE_KINDS and rest:
            service = self._service(rest)
            own = frozenset(map(ip_address, _cluster_ips(service)))
            return own or self._ready_endpoints(service)
        if kind in NODE_KINDS and rest:
            first = _known("node", rest, node_addresses(self._topology))
            return _present(first, node_addresses6(self._topology).get(rest))
        if kind == EXTERNAL and rest:
            host = _known("external host", rest, {host.name: host for host in self._topology.external_hosts})
            return _present(host.address, host.address6)
        return frozenset(address for pod in self._pods(target) for address in _pod_addresses(pod))

    def reachable(self, target: str) -> Addresses:
        """Where a connection to the target can end: as ``addresses``, but a Service's ready endpoints."""
        kind, _, rest = target.partition("/")
        if kind in SERVICE_KINDS and rest:
            return self._ready_endpoints(self._service(rest))
        return self.addresses(target)

    def sources(self, target: str) -> Addresses:
        """What a packet of the target may have as its source: as ``addresses``, but all of a node's own.

        kube-proxy masquerades with the address of the interface by which a packet leaves.
        """
        kind, _, rest = target.partition("/")
        own = self.addresses(target)
        if kind in NODE_KINDS and rest:
            return own.union(address for address, host in self._plan_addresses() if host == node_host(rest))
        return own

    def hosts(self, target: str) -> frozenset[HostName]:
        """The hosts that a target stands for; ``router`` and the like are known by their plain name."""
        kind, _, rest = target.partition("/")
        if kind in NODE_KINDS and rest:
            _known("node", rest, node_addresses(self._topology))
            return frozenset((node_host(rest),))
        if kind == EXTERNAL and rest:
            _known("external host", rest, {host.name: host for host in self._topology.external_hosts})
            return frozenset((HostName(rest),))
        if self._plan.get(("host", target)) is not None:
            return frozenset((HostName(target),))
        return frozenset(map(_pod_host, self._pods(target)))

    def node_address(self, node: str, service: str) -> IpAddress:
        """The node's address of the primary family of the Service ``svc/prod/web``."""
        version = 4
        kind, _, rest = service.partition("/")
        if kind in SERVICE_KINDS and rest:
            families = self._service(rest).spec.ip_families
            version = 6 if families[:1] == ("IPv6",) else 4
        own = self.addresses(f"node/{node}")
        return next((address for address in own if address.version == version), min(own, key=_rank))

    def node_port(self, target: str, port: int, protocol: str) -> int:
        """The node port behind a port of the Service ``svc/prod/web``; ``port`` may be that already."""
        kind, _, rest = target.partition("/")
        if kind not in SERVICE_KINDS or not rest:
            raise UsageError(f"{target} is no Service", hint=f"write svc/NAMESPACE/NAME:{port}")
        service = self._service(rest)
        ports = [p for p in service.spec.ports if p.protocol.lower() == protocol and p.node_port]
        found = next((p.node_port for p in ports if port in (p.port, p.node_port)), None)
        if found is None:
            known = ", ".join(f"{p.port}:{p.node_port}" for p in ports)
            raise UsageError(
                f"{target} has no node port for {port}/{protocol}",
                hint=f"it has {known}" if known else f"its type is {service.spec.type}",
            )
        return found

    def _pods(self, target: str) -> Sequence[Pod]:
        parts = target.split("/")
        if parts[0] in OWNER_KINDS and len(parts) in (2, 3):
            namespace, name = (parts[1], parts[2]) if len(parts) == 3 else ("default", parts[1])
            return pods_of(self._reader, parts[0], namespace, name)
        if len(parts) > 2 and parts[0] not in POD_KINDS:
            kinds = ("svc", "deploy", "rs", "pod")
            near = difflib.get_close_matches(parts[0], kinds, n=1, cutoff=0.3) or [kinds[0]]
            raise UsageError(
                f"{target!r} is no target: {parts[0]!r} is not a kind",
                hint=f"did you mean {'/'.join((near[0], *parts[1:]))}?",
            )
        if target == ROUTER and self._reader.find(Pod, target, "default") is None:
            hint = f"write the address at which it is met, as {self._topology.subnets[0].gateway}"
            raise UsageError("the router is no target", hint=hint)
        return (find_pod(self._reader, target),)

    def _service(self, rest: str) -> Service:
        namespace, _, name = rest.rpartition("/")
        found = self._reader.find(Service, name, namespace or "default")
        if found is None:
            known = [f"{s.metadata.namespace}/{s.metadata.name}" for s in self._reader.list(Service)]
            wanted = f"{namespace or 'default'}/{name}"
            raise UsageError(
                f'services "{name}" not found in namespace {namespace or "default"}',
                hint=_near(wanted, known, "svc/"),
            )
        return found

    def _ready_endpoints(self, service: Service) -> Addresses:
        return frozenset(
            ip_address(text)
            for slice_ in self._reader.slices_of(service.ref)
            for endpoint in slice_.endpoints
            if endpoint.conditions.ready is not False
            for text in endpoint.addresses
        )

    # --- to targets ----------------------------------------------------------------------------------

    def name(self, address: IpAddress) -> str:
        """The target that has this address, or the address itself."""
        text = str(address)
        holders = (
            *self._reader.holders(Index.INGRESS, text),
            *self._reader.holders(Index.CLUSTER_IP, text),
            *self._reader.holders(Index.POD_IP, text),
        )
        if holders:
            meta = holders[-1].metadata
            kind = "svc/" if isinstance(holders[-1], Service) else ""
            return f"{kind}{meta.namespace}/{meta.name}"
        return self._machine_names().get(address, text)

    def render(self, address: IpAddress) -> str:
        """``10.96.0.10 (svc/kube-system/kube-dns)``."""
        name = self.name(address)
        return name if name == str(address) else f"{address} ({name})"

    def render_all(self, addresses: Iterable[IpAddress]) -> list[str]:
        """Rendered, in the order of the addresses."""
        return [self.render(address) for address in sorted(addresses, key=_rank)]

    def host_name(self, host: HostName) -> str:
        """The target that is this host."""
        role = self._role(host)
        kind = {Role.NODE: "node/", Role.EXTERNAL: "external/"}.get(role, "") if role is not None else ""
        return f"{kind}{host}"

    def is_switch(self, host: HostName) -> bool:
        """Whether a host only switches frames, so that no packet knows of it."""
        return self._role(host) is Role.SWITCH

    def _machine_names(self) -> dict[IpAddress, str]:
        nodes = {
            address: f"node/{host}"
            for address, host in self._plan_addresses()
            if self._role(host) is Role.NODE
        }
        hosts = self._topology.external_hosts
        return nodes | {
            address: f"external/{host.name}"
            for host in hosts
            for address in _present(host.address, host.address6)
        }

    def _plan_addresses(self) -> Iterable[tuple[IpAddress, HostName]]:
        return ((entry.address.ip, entry.host) for entry in self._plan if isinstance(entry, Address))

    def _role(self, host: HostName) -> Role | None:
        entry = self._plan.get(("host", host))
        return entry.role if isinstance(entry, Host) else None


def book_of(cluster: Cluster) -> Book:
    """The book of a running cluster."""
    return Book(cluster.topology, cluster.store, cluster.plan)


def _cluster_ips(service: Service) -> list[str]:
    ips = service.spec.cluster_ips or (service.spec.cluster_ip,)
    return [text for text in ips if text and text != "None"]


def _pod_addresses(pod: Pod) -> Addresses:
    if not pod.status.pod_ip:
        meta = pod.metadata
        raise UsageError(f"Pod {meta.namespace}/{meta.name} has no address: its phase is {pod.status.phase}")
    return frozenset(map(ip_address, pod.status.addresses()))


def _present(*addresses: IpAddress | None) -> Addresses:
    return frozenset(address for address in addresses if address is not None)


def _pod_host(pod: Pod) -> HostName:
    if pod.spec.host_network:
        return node_host(pod.spec.node_name)
    return pod_host(pod.metadata.namespace, pod.metadata.name)


def _known(what: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise UsageError(f"there is no {what} {name}", hint=_near(name, list(known), ""))
    return known[name]


def _near(name: str, known: Sequence[str], prefix: str) -> str:
    same = [full for full in known if full.rpartition("/")[2] == name.rpartition("/")[2]]
    close = same or difflib.get_close_matches(name, known, n=3, cutoff=0.75)
    if close:
        return f"did you mean {', '.join(prefix + text for text in close)}?"
    return f"there is {', '.join(prefix + text for text in known)}" if known else "there is none"


def _rank(address: IpAddress) -> tuple[int, int]:
    return address.version, int(address)
