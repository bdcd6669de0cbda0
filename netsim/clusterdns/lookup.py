"""What a name of the cluster means: from labels to Services, endpoints and Pods.

The kubernetes plugin asks here; nothing in this module knows a DNS message. Sources: coredns
``plugin/kubernetes/parse.go`` (the grammar), ``kubernetes.go`` (Services, findServices, findPods),
``reverse.go``, ``ns.go``, ``namespace.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from netsim.clusterdns.names import address_from_reverse, is_reverse, packed_address
from netsim.clusterdns.zone import (
    EndpointView,
    KubernetesZone,
    ObjectKey,
    PortView,
    ServiceView,
    SliceView,
)
from netsim.store.selectors import Selector
from netsim.wire.dns import AAAA, SRV, TXT, A
from netsim.wire.dnsname import split_name

SCHEMA_VERSION = "1.1.0"
"""The Kubernetes DNS specification that ``dns-version.<zone>`` names."""
SCHEMA_TTL = 28800

DEFAULT_TTL = 5
_NAME_SERVER = "ns.dns."
_ZONE_LABEL = "_zone"


class PodMode(Enum):
    """The option ``pods``."""

    DISABLED = "disabled"
    INSECURE = "insecure"
    VERIFIED = "verified"


class Options(NamedTuple):
    """The kubernetes plugin's options. ``primary_zone`` is the first zone that is not a reverse one."""

    zones: tuple[str, ...]
    primary_zone: str
    pods: PodMode = PodMode.DISABLED
    endpoint_pod_names: bool = False
    ttl: int = DEFAULT_TTL
    namespaces: frozenset[str] = frozenset()
    labels: Selector | None = None
    namespace_labels: Selector | None = None
    endpoints: bool = True
    ignore_empty_service: bool = False
    zonal: bool = False
    multicluster: tuple[str, ...] = ()


class Hit(NamedTuple):
    """One record's worth (CoreDNS's msg.Service).

    ``host`` is an address as text, with ``packed``, or else the name that a CNAME points to; ``port`` is -1
    where none is declared; ``owner`` is the name that an SRV record targets.
    """

    host: str
    packed: bytes | None
    port: int
    owner: str


class Hits(NamedTuple):
    """What was found and why. Not ``known`` is NXDOMAIN, ``known`` without ``hits`` is NODATA."""

    hits: Sequence[Hit]
    known: bool
    why: str
    text: str = ""


class NameServer(NamedTuple):
    """A name for the zone's NS records, and an address of it."""

    name: str
    address: str


class _Name(NamedTuple):
    """A name's parts (parse.go recordRequest), in lower case; empty where the name has no such label."""

    kind: str
    namespace: str
    service: str
    endpoint: str
    port: str
    protocol: str
    topology_zone: str
    prefer: bool
    cluster: str = ""


def _parse(base: str, zonal: bool, multicluster: bool) -> _Name | str:
    """The parts of a name from which the zone was cut off, or why it cannot exist."""
    if base in ("", "svc", "pod"):
        return _Name("", "", "", "", "", "", "", False)
    labels = split_name(base)
    kind = labels.pop()
    if kind not in ("svc", "pod"):
        return f"{kind!r} is neither svc nor pod"
    namespace = labels.pop()
    service = labels.pop() if labels else ""
    match labels:
        case []:
            return _Name(kind, namespace, service, "", "", "", "", False)
        case [endpoint]:
            return _Name(kind, namespace, service, endpoint, "", "", "", False)
        case [endpoint, cluster] if multicluster and not endpoint.startswith("_") and cluster[0] != "_":
            return _Name(kind, namespace, service, endpoint, "", "", "", False, cluster)
        case [port, protocol]:
            return _Name(
                kind, namespace, service, "", port.removeprefix("_"), protocol.removeprefix("_"), "", False
            )
        case [*zone, ("pin" | "prefer") as directive, label] if (
            zonal and not multicluster and label == _ZONE_LABEL and kind == "svc"
        ):
            return _Name(kind, namespace, service, "", "", "", ".".join(zone), directive == "prefer")
    return "the name has too many labels"


class Lookup:
    """One kubernetes plugin's view of the zone. ``own_addresses`` are those of this CoreDNS's Pod."""

    def __init__(self, zone: KubernetesZone, options: Options, own_addresses: Sequence[str]) -> None:
        self.zone = zone
        self.options = options
        self.own_addresses = tuple(own_addresses)

    # --- forward ---

    def services(self, name: str, zone: str, qtype: int) -> Hits:
        """What lower-case ``name`` in ``zone`` (spelled as in the query) means to a query of that type."""
        base = name[: -len(zone) - 1] if zone != "." else name[:-1]
        if qtype == TXT:
            return self._text(name, base, zone)
        if name.startswith(_NAME_SERVER) and name.find(zone) == len(_NAME_SERVER):
            return self._own_name(name, zone, qtype)
        found = self._records(name, base, zone, qtype == SRV)
        if qtype == SRV and any(hit.packed is None for hit in found.hits):  # no SRV for external names
            return found._replace(hits=[hit for hit in found.hits if hit.packed is not None])
        return found

    def _text(self, name: str, base: str, zone: str) -> Hits:
        if base == "dns-version":
            return Hits((), True, f"the schema version {SCHEMA_VERSION}", SCHEMA_VERSION)
        found = self._records(name, base, zone, False)
        if found.hits:
            return found._replace(hits=())
        if found.known and self.options.zonal and f".{_ZONE_LABEL}." in name:
            return found
        return Hits((), False, f"{found.why}, and TXT exists for dns-version alone")

    def _own_name(self, name: str, zone: str, qtype: int) -> Hits:
        size = {A: 4, AAAA: 16}.get(qtype, 0)
        packed = ((server.address, packed_address(server.address)) for server in self.name_servers(zone))
        hits = [Hit(text, raw, 0, name) for text, raw in packed if raw is not None and len(raw) == size]
        return Hits(hits, True, "the addresses of this DNS server")

    def _records(self, name: str, base: str, zone: str, every_port: bool) -> Hits:
        multicluster = zone.lower() in self.options.multicluster
        asked = _parse(base, self.options.zonal, multicluster)
        if isinstance(asked, str):
            return Hits((), False, asked)
        if not asked.kind:
            return Hits((), True, f"{base or 'the zone'} is only a node of the tree")
        if is_reverse(name):
            return Hits((), False, "reverse names have PTR records only")
        hidden = self.hidden_namespace(asked.namespace)
        if hidden:
            return Hits((), False, hidden)
        if asked.kind == "pod":
            return self._pods(asked, zone)
        if not asked.service:
            return Hits((), True, f"namespace {asked.namespace}")
        if multicluster:
            return self._imports(asked, zone, every_port)
        return self._services(asked, zone, every_port)

    def hidden_namespace(self, namespace: str) -> str:
        """Why a namespace is not served, or the empty string."""
        options = self.options
        if options.namespaces and namespace not in options.namespaces:
            return f"namespace {namespace} is not among those that this server was told to serve"
        labels = self.zone.labels_of(namespace)
        if labels is None:
            return f"no namespace {namespace}"
        if options.namespace_labels is not None and not options.namespace_labels.matches(labels):
            return f"namespace {namespace} does not match namespace_labels"
        return ""

    # --- Services ---

    def service(self, key: ObjectKey) -> ServiceView | None:
        """A Service that the option ``labels`` lets through."""
        view = self.zone.service(key)
        selector = self.options.labels
        return view if view is None or selector is None or selector.matches(view.labels) else None

    def slices_of(self, service: ObjectKey) -> Sequence[SliceView]:
        """The slices of a Service that the options let through."""
        return self._slices(self.zone.slices_of(service))

    def slices_at(self, address: str) -> Sequence[SliceView]:
        """The slices in which an address is ready, as far as the options let them through."""
        return self._slices(self.zone.slices_at(address))

    def label_of(self, endpoint: EndpointView) -> str:
        """The label that stands for an endpoint."""
        return endpoint.pod_name if self.options.endpoint_pod_names else endpoint.name

    def _slices(self, slices: Sequence[SliceView]) -> Sequence[SliceView]:
        if not self.options.endpoints:
            return ()
        selector = self.options.labels
        return slices if selector is None else [view for view in slices if selector.matches(view.labels)]

    def _services(self, asked: _Name, zone: str, every_port: bool) -> Hits:
        key = (asked.namespace, asked.service)
        view = self.service(key)
        if view is None:
            return Hits((), False, f"no Service {asked.service} in namespace {asked.namespace}")
        title = f"svc {asked.namespace}/{asked.service}"
        if self.options.ignore_empty_service and view.external_name is None and not view.headless:
            slices = self.slices_of(key)
            if not any(part.endpoints for part in slices):
                return Hits((), False, f"{title} has no ready endpoint (ignore empty_service)")
        if asked.topology_zone and not view.headless:
            return Hits((), False, f"{title} is not headless, so it has no names per topology zone")
        owner = f"{view.key[1]}.{view.key[0]}.svc.{zone}"
        if view.external_name is not None:
            return self._external(asked, view.external_name, owner)
        if view.headless or asked.endpoint:
            return self._endpoints(asked, view, owner, every_port)
        ports = _matching(view.ports, asked)
        if not ports:
            return Hits((), False, f"{title} has no port {asked.port} {asked.protocol}")
        hits = [
            Hit(text, packed, port.number, owner)
            for port in (ports if every_port else ports[:1])
            for text, packed in view.addresses
        ]
        return Hits(hits, True, f"{title} has {view.told}")

    def _imports(self, asked: _Name, zone: str, every_port: bool) -> Hits:
        """Services of several clusters (findMultiClusterServices)."""
        key = (asked.namespace, asked.service)
        title = f"ServiceImport {asked.namespace}/{asked.service}"
        view = self.zone.service_import(key)
        if view is None:
            return Hits((), False, f"no {title}")
        slices = self.zone.imported_slices_of(key)
        empty = not any(part.endpoints for part in slices)
        if self.options.ignore_empty_service and not view.headless and empty:
            return Hits((), False, f"{title} has no ready endpoint (ignore empty_service)")
        owner = f"{key[1]}.{key[0]}.svc.{zone}"
        if view.headless or asked.endpoint:
            hits = [
                hit
                for part in slices
                if not asked.endpoint or part.cluster.lower() == asked.cluster
                for hit in self._endpoint_hits([part], asked, f"{part.cluster}.{owner}", every_port)
            ]
            return Hits(hits, bool(hits), f"{title} has {len(hits)} ready endpoints for it")
        ports = _matching(view.ports, asked)
        hits = [
            Hit(text, packed, port.number, owner)
            for port in (ports if every_port else ports[:1])
            for text, packed in view.addresses
        ]
        return Hits(hits, bool(ports), f"{title} has {view.told}")

    @staticmethod
    def _external(asked: _Name, target: str, owner: str) -> Hits:
        title = f"svc {asked.namespace}/{asked.service}"
        if asked.endpoint or asked.port or asked.protocol:
            return Hits((), False, f"{title} is an ExternalName, nothing is below it")
        if packed_address(target) is not None:
            return Hits((), False, f"the externalName of {title} is an address, {target}")
        return Hits([Hit(target, None, 0, owner)], True, f"{title} is an ExternalName for {target}")

    def _endpoints(self, asked: _Name, view: ServiceView, owner: str, every_port: bool) -> Hits:
        title = f"svc {view.key[0]}/{view.key[1]}"
        slices = self.slices_of(view.key)
        hits = list(self._endpoint_hits(slices, asked, owner, every_port))
        if not hits and asked.prefer:
            asked = asked._replace(topology_zone="")
            hits = list(self._endpoint_hits(slices, asked, owner, every_port))
        if asked.endpoint:
            if not hits:
                return Hits((), False, f"{title} has no ready endpoint named {asked.endpoint}")
            return Hits(hits, True, f"endpoint {asked.endpoint} of {title}")
        if hits:
            return Hits(hits, True, f"headless {title} has {len({hit.host for hit in hits})} ready endpoints")
        if asked.topology_zone or asked.prefer:
            return Hits((), True, f"headless {title} has no ready endpoint in zone {asked.topology_zone}")
        what = f"port {asked.port} {asked.protocol} at a" if asked.port or asked.protocol else "no"
        if what == "no":
            return Hits((), False, f"headless {title} has no ready endpoint")
        return Hits((), False, f"headless {title} has no {what} ready endpoint")

    def _endpoint_hits(
        self, slices: Sequence[SliceView], asked: _Name, owner: str, every_port: bool
    ) -> Iterator[Hit]:
        pod_names = self.options.endpoint_pod_names
        for part in slices:
            ports = _matching(part.ports, asked)
            if not every_port:
                ports = ports[:1]
            chosen: Sequence[EndpointView] = part.endpoints
            if asked.endpoint:
                chosen = part.named(asked.endpoint, pod_names)
            for endpoint in chosen:
                if asked.topology_zone and endpoint.topology_zone != asked.topology_zone:
                    continue
                label = endpoint.pod_name if pod_names else endpoint.name
                for port in ports:
                    yield Hit(endpoint.text, endpoint.packed, port.number, f"{label}.{owner}")

    # --- Pods ---

    def _pods(self, asked: _Name, zone: str) -> Hits:
        mode = self.options.pods
        if mode is PodMode.DISABLED:
            return Hits((), False, "Pod names are switched off (pods disabled)")
        if not asked.service:
            return Hits((), True, f"namespace {asked.namespace}")
        word = asked.service
        four_parts = word.count("-") == 3 and "--" not in word
        address = word.replace("-", "." if four_parts else ":")
        packed = packed_address(address)
        hit = Hit(address, packed, 0, f"{word}.{asked.namespace}.pod.{zone}")
        if mode is PodMode.INSECURE:
            if packed is None:
                return Hits((), False, f"{word} does not spell an address")
            return Hits([hit], True, f"{word} spells the address {address} (pods insecure)")
        selector = self.options.labels
        pods = [
            pod
            for pod in self.zone.pods_at(address)
            if pod.key[0] == asked.namespace and (selector is None or selector.matches(pod.labels))
        ]
        if not pods:
            return Hits((), False, f"no Pod with address {address} in namespace {asked.namespace}")
        return Hits(
            [hit] * len(pods), True, f"Pod {pods[0].key[0]}/{pods[0].key[1]} has the address {address}"
        )

    # --- reverse ---

    def reverse(self, name: str, zone: str) -> Hits:
        """The names of the address in a lower-case PTR name; ``host`` of each hit is a name."""
        address = address_from_reverse(name)
        if not address:
            base = name[: -len(zone) - 1] if zone != "." else name[:-1]
            return self._records(name, base, zone, False)._replace(hits=())
        suffix = f"svc.{self.options.primary_zone}"
        for view in self.zone.services_at(address):
            if self.service(view.key) is not None and self.reverse_served(view.key):
                host = f"{view.key[1]}.{view.key[0]}.{suffix}"
                return Hits(
                    [Hit(host, None, 0, name)],
                    True,
                    f"{address} is the ClusterIP of svc {'/'.join(view.key)}",
                )
        pod_names = self.options.endpoint_pod_names
        hits = [
            Hit(f"{label}.{part.service[1]}.{part.service[0]}.{suffix}", None, 0, name)
            for part in self.slices_at(address)
            if self.reverse_served(part.service)
            for label in (
                endpoint.pod_name if pod_names else endpoint.name
                for endpoint in part.endpoints
                if endpoint.text == address
            )
        ]
        if not hits:
            return Hits((), False, f"no Service has {address} as ClusterIP or ready endpoint")
        return Hits(hits, True, f"{address} is a ready endpoint")

    def reverse_served(self, key: ObjectKey) -> bool:
        """``namespaces`` applies to PTR, ``namespace_labels`` does not unless ``namespaces`` is set."""
        return not self.options.namespaces or not self.hidden_namespace(key[0])

    # --- name servers ---

    def name_servers(self, zone: str) -> list[NameServer]:
        """The Services in whose slices this server's addresses are ready; else ns.dns and the addresses."""
        servers: list[NameServer] = []
        found = False
        for address in self.own_addresses:
            for part in self.slices_at(address):
                found = True
                view = self.service(part.service)
                if view is not None:
                    servers += self._names_of(view, part, zone)
        if found:
            return servers
        return [NameServer(_NAME_SERVER + zone, address) for address in self.own_addresses]

    def _names_of(self, view: ServiceView, part: SliceView, zone: str) -> Iterator[NameServer]:
        name = f"{view.key[1]}.{view.key[0]}.svc.{zone}"
        if not view.headless:
            for text, _ in view.addresses:
                yield NameServer(name, text)
            return
        for endpoint in part.endpoints:
            yield NameServer(f"{self.label_of(endpoint)}.{name}", endpoint.text)


def _matching(ports: Sequence[PortView], asked: _Name) -> Sequence[PortView]:
    """The ports that a name's port and protocol labels allow (kubernetes.go matchPortAndProtocol)."""
    if not asked.port and not asked.protocol:
        return ports
    return [
        port
        for port in ports
        if (not asked.port or asked.port == port.name)
        and (not asked.protocol or asked.protocol == port.protocol)
    ]
