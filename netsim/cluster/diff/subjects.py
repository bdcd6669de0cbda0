"""Who asks, and what is asked for, in one cluster: clients and destinations under names that all share.

The destinations are what a user could dial: each port of each Service by its name and by each of its
addresses, also in ways that should fail; node ports at each node; Pods behind headless Services; hosts
outside.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase
from ipaddress import ip_address
from itertools import count, islice
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.errors import UsageError
from netsim.cluster.cluster import Cluster
from netsim.cluster.diff.identity import identity, owner_of, workload
from netsim.cni.fabric import node_addresses, node_addresses6, node_subnets
from netsim.objects.core import Pod, Service
from netsim.objects.discovery import Endpoint
from netsim.objects.topology import ExternalHost
from netsim.proxy.service_port import load_balancer_vips
from netsim.store.indexes import Index
from netsim.store.reader import Reader

DISCARD = 9
"""The port of RFC 863, which hardly any Service has."""
MOST_NAMES = 12
"""Names in a hint."""
DIALLED = ("TCP", "UDP")


class Client(NamedTuple):
    """Who asks: ``deploy/prod/web`` ``on`` a node, ``node/node1`` or ``external/alice``.

    ``find`` is how its own cluster finds it, ``addresses`` are one of each family, ``node`` is the node that
    it is on or is, in which ``subnet``; ``namespace`` is empty for what is no Pod, ``libc`` its resolver;
    ``pods`` are one client.
    """

    who: str
    on: str
    find: str
    addresses: tuple[IpAddress, ...]
    node: str = ""
    subnet: str = ""
    namespace: str = ""
    libc: str = ""
    pods: int = 1

    @property
    def key(self) -> ClientKey:
        return ClientKey(self.who, self.on)


class ClientKey(NamedTuple):
    """What tells clients apart, the same in all clusters; ``on`` is empty when the node does not matter."""

    who: str
    on: str

    def __str__(self) -> str:
        return f"{self.who} on {self.on}" if self.on else self.who


class Kind(Enum):
    """How a destination is dialled. ``value`` is the phrase of reports; they stand in this order."""

    NAME = "{of} by name"
    CLUSTER_IP = "the ClusterIP of {of}"
    CLUSTER_IP6 = "the IPv6 ClusterIP of {of}"
    OTHER_PORT = "a port that the ClusterIP of {of} does not have"
    OTHER_PORT6 = "a port that the IPv6 ClusterIP of {of} does not have"
    PING = "ping to the ClusterIP of {of}"
    PING6 = "ping to the IPv6 ClusterIP of {of}"
    NODE_PORT = "the node port of {of} on {at}"
    NODE_PORT6 = "the node port of {of} on {at} over IPv6"
    LOAD_BALANCER = "the load balancer address of {of}"
    EXTERNAL_IP = "the externalIP {at} of {of}"
    POD = "Pod {at} of headless {of}"
    POD6 = "Pod {at} of headless {of} over IPv6"
    UNALLOCATED = "an address of the Service range that {of} has"
    UNALLOCATED6 = "an address of the IPv6 Service range that {of} has"
    OUTSIDE = "{of} outside"
    OUTSIDE6 = "{of} outside over IPv6"
    OUTSIDE_NAME = "{of} outside, by name"

    @property
    def has_services(self) -> bool:
        """Whether it is something of a Service that is dialled."""
        return self not in (
            Kind.UNALLOCATED, Kind.UNALLOCATED6, Kind.OUTSIDE, Kind.OUTSIDE6, Kind.OUTSIDE_NAME,
        )  # fmt: skip

    def of_family(self, address: str) -> Kind:
        """The kind for an address of that family."""
        return OVER_IPV6[self] if ":" in address else self


OVER_IPV6 = {
    Kind.CLUSTER_IP: Kind.CLUSTER_IP6,
    Kind.OTHER_PORT: Kind.OTHER_PORT6,
    Kind.PING: Kind.PING6,
    Kind.NODE_PORT: Kind.NODE_PORT6,
    Kind.POD: Kind.POD6,
    Kind.UNALLOCATED: Kind.UNALLOCATED6,
    Kind.OUTSIDE: Kind.OUTSIDE6,
}
NODE_PORTS = (Kind.NODE_PORT, Kind.NODE_PORT6)


class Destination(NamedTuple):
    """``of`` is the Service with its port (``prod/ent:8080``), or what else is dialled; ``at`` says where."""

    kind: Kind
    of: str
    at: str = ""

    def __str__(self) -> str:
        return self.kind.value.format(of=self.of, at=self.at)


class How(Enum):
    """What is done there."""

    TCP = "tcp"
    UDP = "udp"
    PING = "ping"
    LOOKUP = "lookup"  # the name alone: a Service without ports


class Dial(NamedTuple):
    """What a client dials for a destination. ``namespace`` is that of a Service that is dialled by its name,
    which clients of the same namespace leave out."""

    how: How
    host: str
    port: int = 0
    namespace: str = ""

    def host_for(self, client: Client) -> str:
        """The name or address that this client dials."""
        if not self.namespace or client.namespace == self.namespace:
            return self.host
        return f"{self.host}.{self.namespace}"


class Survey(NamedTuple):
    """Who and what there is in one cluster."""

    clients: Mapping[ClientKey, Client]
    destinations: Mapping[Destination, Dial]

    def client(self, key: ClientKey) -> Client:
        """The client of that key; without a node, the first of that name."""
        found = self.clients.get(key)
        return found or next(client for client in self.clients.values() if client.who == key.who)


class Wanted(NamedTuple):
    """Patterns of those that are compared; none means all."""

    clients: Sequence[str] = ()
    destinations: Sequence[str] = ()

    def has_client(self, client: ClientKey) -> bool:
        """``dev/jump``, ``deploy/prod/*``, ``node/node1``; with ``@node2`` those on that node."""
        texts = (client.who, f"{client.who}@{client.on}", client.who.partition("/")[2])
        return _matches(self.clients, texts)

    def has_destination(self, destination: Destination) -> bool:
        """``prod/ent``, ``prod/ent:8080``, ``svc/prod/ent``; ``prod/*``."""
        of = destination.of
        service = of.rpartition(":")[0] or of
        texts = (of, service, f"svc/{of}", f"svc/{service}", destination.at)
        return _matches(self.destinations, texts)

    def refuse_nothing(self, surveys: Sequence[Survey]) -> None:
        """UsageError for a pattern that means nobody in any cluster."""
        clients = list(dict.fromkeys(key for survey in surveys for key in survey.clients))
        for pattern in self.clients:
            if not any(Wanted(clients=(pattern,)).has_client(key) for key in clients):
                known = list(dict.fromkeys(key.who for key in clients))
                raise UsageError(f"no client is called {pattern}", hint=_near(pattern, known))
        destinations = list(dict.fromkeys(key for survey in surveys for key in survey.destinations))
        for pattern in self.destinations:
            if not any(Wanted(destinations=(pattern,)).has_destination(key) for key in destinations):
                known = list(dict.fromkeys(key.of for key in destinations if key.kind is Kind.NAME))
                raise UsageError(f"no destination is called {pattern}", hint=_near(pattern, known))


def _near(pattern: str, known: Sequence[str]) -> str:
    plain = pattern.rpartition("/")[2]
    same = [title for title in known if plain in (_last(title), _last(title).partition(":")[0])]
    close = same[:3] or difflib.get_close_matches(pattern, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    shown = ", ".join(known[:MOST_NAMES])
    return f"there is {shown}{' …' if len(known) > MOST_NAMES else ''} (patterns like 'prod/*' do, too)"


def _last(title: str) -> str:
    """The name without what stands before it: ``lb:80`` of ``prod/lb:80`` and ``prod/lb:80/udp``."""
    return title.removesuffix("/udp").rpartition("/")[2]


def _matches(patterns: Sequence[str], texts: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns for text in texts if text)


def survey(cluster: Cluster) -> Survey:
    """All clients and destinations of a cluster."""
    clients: dict[ClientKey, Client] = {}
    for client in _clients(cluster):
        known = clients.get(client.key)
        clients[client.key] = client if known is None else known._replace(pods=known.pods + 1)
    return Survey(clients, dict(_destinations(cluster)))


# --- clients ---------------------------------------------------------------------------------------------


def _clients(cluster: Cluster) -> Iterator[Client]:
    """Running Pods, nodes, hosts outside."""
    reader = cluster.store
    subnets = {name: subnet.name for name, subnet in node_subnets(cluster.topology).items()}
    for pod in reader.list(Pod):
        host = cluster.kubelet.host_of(pod.ref)
        if host is not None and pod.status.phase == "Running":
            meta = pod.metadata
            owner = owner_of(reader, pod)
            find = f"{meta.namespace}/{meta.name}"
            who = find if owner is None else workload(owner)
            node, addresses = pod.spec.node_name, tuple(map(ip_address, pod.status.addresses()))
            yield Client(who, node, find, addresses, node, subnets[node], meta.namespace, host.libc.value)
    for name, addresses in _node_addresses(cluster).items():
        yield Client(f"node/{name}", "", f"node/{name}", addresses, name, subnets[name])
    for outside in cluster.topology.external_hosts:
        who = f"external/{outside.name}"
        yield Client(who, "", who, _outside_addresses(outside))


def _node_addresses(cluster: Cluster) -> Mapping[str, tuple[IpAddress, ...]]:
    """Each node's address of each family."""
    second = node_addresses6(cluster.topology)
    return {
        name: (address, second[name]) if name in second else (address,)
        for name, address in node_addresses(cluster.topology).items()
    }


def _outside_addresses(host: ExternalHost) -> tuple[IpAddress, ...]:
    return (host.address,) if host.address6 is None else (host.address, host.address6)


# --- destinations ----------------------------------------------------------------------------------------


def _destinations(cluster: Cluster) -> Iterator[tuple[Destination, Dial]]:
    nodes = _node_addresses(cluster)
    for service in cluster.store.list(Service):
        yield from _by_name(service)
        yield from _by_address(service)
        yield from _node_ports(service, nodes)
        if service.headless:
            yield from _headless(cluster.store, service)
    for free in _unallocated(cluster):
        yield Destination(Kind.UNALLOCATED.of_family(free), "no Service"), Dial(How.TCP, free, 80)
    for outside in cluster.topology.external_hosts:
        for port in outside.http:
            of = f"{outside.name}:{port}"
            for address in map(str, _outside_addresses(outside)):
                yield Destination(Kind.OUTSIDE.of_family(address), of), Dial(How.TCP, address, port)
            if "." in outside.name:
                yield Destination(Kind.OUTSIDE_NAME, of), Dial(How.TCP, outside.name, port)


def _title(service: Service) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"


def _ports(service: Service) -> list[tuple[str, How, int, int]]:
    """(``prod/ent:8080`` or ``prod/dns:53/udp``, how, port, node port) of what can be dialled."""
    found = []
    for port in service.spec.ports:
        if port.protocol in DIALLED:
            how = How(port.protocol.lower())
            of = f"{_title(service)}:{port.port}" + ("/udp" if how is How.UDP else "")
            found.append((of, how, port.port, port.node_port or 0))
    return found


def _by_name(service: Service) -> Iterator[tuple[Destination, Dial]]:
    meta = service.metadata
    ports = _ports(service)
    for of, how, port, _ in ports:
        yield Destination(Kind.NAME, of), Dial(how, meta.name, port, meta.namespace)
    if not ports:
        yield Destination(Kind.NAME, _title(service)), Dial(How.LOOKUP, meta.name, 0, meta.namespace)


def _by_address(service: Service) -> Iterator[tuple[Destination, Dial]]:
    spec, title = service.spec, _title(service)
    for address in filter(_is_address, spec.cluster_ips or (spec.cluster_ip,)):
        for of, how, port, _ in _ports(service):
            yield Destination(Kind.CLUSTER_IP.of_family(address), of), Dial(how, address, port)
        taken = {port.port for port in spec.ports}
        other = next(port for port in count(DISCARD) if port not in taken)
        yield Destination(Kind.OTHER_PORT.of_family(address), title), Dial(How.TCP, address, other)
        yield Destination(Kind.PING.of_family(address), title), Dial(How.PING, address)
    for address in load_balancer_vips(service):
        for of, how, port, _ in _ports(service):
            yield Destination(Kind.LOAD_BALANCER, of), Dial(how, address, port)
    for address in spec.external_ips:
        for of, how, port, _ in _ports(service):
            yield Destination(Kind.EXTERNAL_IP, of, address), Dial(how, address, port)


def _node_ports(
    service: Service, nodes: Mapping[str, tuple[IpAddress, ...]]
) -> Iterator[tuple[Destination, Dial]]:
    for of, how, _, node_port in _ports(service):
        if node_port:
            for name, addresses in nodes.items():
                for address in map(str, addresses):
                    kind = Kind.NODE_PORT.of_family(address)
                    yield Destination(kind, of, name), Dial(how, address, node_port)


def _headless(reader: Reader, service: Service) -> Iterator[tuple[Destination, Dial]]:
    """The ready endpoints; of Pods that are alike the first stands for all."""
    seen = set()
    for slice_ in reader.slices_of(service.ref):
        for port in slice_.ports:
            if port.port is None or port.protocol not in DIALLED:
                continue
            for address in _ready(slice_.endpoints):
                pods = [pod for pod in reader.holders(Index.POD_IP, address) if isinstance(pod, Pod)]
                at = identity(reader, pods[0]) if pods else address
                how = How(port.protocol.lower())
                of = f"{_title(service)}:{port.port}" + ("/udp" if how is How.UDP else "")
                destination = Destination(Kind.POD.of_family(address), of, at)
                if destination not in seen:
                    seen.add(destination)
                    yield destination, Dial(how, address, port.port)


def _ready(endpoints: Iterable[Endpoint]) -> Iterator[str]:
    for endpoint in endpoints:
        if endpoint.conditions.ready is not False:
            yield from filter(_is_address, endpoint.addresses)


def _unallocated(cluster: Cluster) -> Iterator[str]:
    """The last address of each Service range that no Service has."""
    taken = {text for service in cluster.store.list(Service) for text in service.spec.cluster_ips}
    for subnet in cluster.topology.networking.service_subnets:
        first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address) - 1
        candidates = (str(type(subnet.network_address)(number)) for number in range(last, first - 1, -1))
        yield from islice((text for text in candidates if text not in taken), 1)


def _is_address(text: str) -> bool:
    return text not in ("", "None")


def would_ask(client: Client, destination: Destination) -> bool:
    """Names are for Pods, which ask the cluster's DNS; and no host outside dials itself."""
    if destination.kind in (Kind.NAME, Kind.OUTSIDE_NAME):
        return bool(client.namespace)
    return client.who != f"external/{destination.of.rpartition(':')[0]}"
