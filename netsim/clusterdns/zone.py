"""What the API says about names: Services, EndpointSlices, Namespaces and Pods, indexed for DNS.

The watch caches of CoreDNS's kubernetes plugin (``plugin/kubernetes/controller.go`` and ``object/*.go``),
shared by all DNS servers of a cluster. ``feed`` takes one store event; its work is in proportion to the
object that changed. What a name means, and the plugin's options, are for ``lookup``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar
from weakref import WeakSet

from netsim.clusterdns.grounds import Grounds
from netsim.clusterdns.names import packed_address
from netsim.objects.codec import EPOCH
from netsim.objects.core import Namespace, Pod, Service
from netsim.objects.discovery import EndpointSlice
from netsim.objects.multicluster import CLUSTER_LABEL, SERVICE_NAME_LABEL, ServiceImport
from netsim.store.store import EventType, StoreEvent

MAXIMUM_POD_NAME = 64
"""A targetRef name of this length or more cannot be a label, and is ignored (object/endpoint.go)."""

NO_PORT = -1
"""What stands for "no port declared": addresses exist, SRV records do not (object/service.go)."""

_GONE_PHASES = frozenset({"Succeeded", "Failed", "Unknown"})  # controller.go podListFunc's field selector
_EPOCH_SECONDS = int(EPOCH.timestamp())

ObjectKey = tuple[str, str]
"""Namespace and name."""

NOBODY: ObjectKey = ("", "")

T = TypeVar("T")


class PortView(NamedTuple):
    """One port, name and protocol in lower case, ready to be compared with a query's labels."""

    name: str
    protocol: str
    number: int


class ServiceView(NamedTuple):
    """What DNS needs of a Service. ``addresses`` are the cluster IPs, as text and packed, ``told`` the same
    for people; ``external`` are externalIPs and the addresses or hostnames of load balancers."""

    key: ObjectKey
    external_name: str | None
    headless: bool
    addresses: tuple[tuple[str, bytes | None], ...]
    ports: tuple[PortView, ...]
    labels: Mapping[str, str]
    told: str
    external: tuple[tuple[str, bytes | None], ...] = ()


class EndpointView(NamedTuple):
    """One ready address. ``name`` and ``pod_name`` are its label without and with endpoint_pod_names."""

    text: str
    packed: bytes | None
    name: str
    pod_name: str
    topology_zone: str


class SliceView:
    """What DNS needs of an EndpointSlice: its ready addresses, and its ports. ``service`` and ``imported``
    are the Service and the ServiceImport that it belongs to, with an empty name where there is none."""

    __slots__ = ("_by_name", "cluster", "endpoints", "imported", "key", "labels", "ports", "service")

    def __init__(self, obj: EndpointSlice, key: ObjectKey) -> None:
        self.key = key
        self.service: ObjectKey = (obj.metadata.namespace, obj.service_name)
        self.labels = obj.metadata.labels
        self.imported: ObjectKey = (obj.metadata.namespace, self.labels.get(SERVICE_NAME_LABEL, ""))
        self.cluster = self.labels.get(CLUSTER_LABEL, "")
        self.endpoints = _ready_endpoints(obj)
        self.ports = tuple(
            PortView(port.name.lower(), port.protocol.lower(), NO_PORT if port.port is None else port.port)
            for port in obj.ports
        ) or (PortView("", "", NO_PORT),)
        self._by_name: list[dict[str, list[EndpointView]] | None] = [None, None]

    def named(self, name: str, pod_names: bool) -> Sequence[EndpointView]:
        """The endpoints whose label is ``name`` (in lower case)."""
        table = self._by_name[pod_names]
        if table is None:
            table = self._by_name[pod_names] = {}
            for endpoint in self.endpoints:
                label = endpoint.pod_name if pod_names else endpoint.name
                table.setdefault(label.lower(), []).append(endpoint)
        return table.get(name, ())

    def same_records(self, other: SliceView) -> bool:
        """Whether an update changes nothing that the serial counts (controller.go endpointsEquivalent)."""
        return self.ports == other.ports and self.endpoints == other.endpoints


def _ready_endpoints(obj: EndpointSlice) -> tuple[EndpointView, ...]:
    views = []
    for endpoint in obj.endpoints:
        if endpoint.conditions.ready is False:  # unknown counts as ready
            continue
        target = endpoint.target_ref.name if endpoint.target_ref is not None else ""
        pod = target if len(target) < MAXIMUM_POD_NAME else ""
        zone = (endpoint.zone or "").lower()
        for text in endpoint.addresses:
            name = endpoint.hostname or dashed(text)
            pod_name = endpoint.hostname or pod or name
            views.append(EndpointView(text, packed_address(text), name, pod_name, zone))
    return tuple(views)


def dashed(address: str) -> str:
    """The label that stands for an address (kubernetes.go endpointHostname)."""
    if "." in address:
        return address.replace(".", "-")
    label = address.replace(":", "-")
    return label + "0" if label.endswith("-") else label


def _service_view(obj: Service, key: ObjectKey) -> ServiceView:
    spec = obj.spec
    texts = spec.cluster_ips or (spec.cluster_ip,)
    addresses = [text for text in texts if text and text != "None"]
    return ServiceView(
        key=key,
        external_name=spec.external_name if spec.type == "ExternalName" else None,
        headless=texts[0] == "None",
        addresses=tuple((text, packed_address(text)) for text in addresses),
        ports=tuple(PortView(port.name.lower(), port.protocol.lower(), port.port) for port in spec.ports)
        or (PortView("", "", NO_PORT),),
        labels=obj.metadata.labels,
        told=f"ClusterIP{'s' if len(addresses) > 1 else ''} {', '.join(addresses)}",
        external=tuple((text, packed_address(text)) for text in _external_addresses(obj)),
    )


def _import_view(obj: ServiceImport, key: ObjectKey) -> ServiceView:
    spec = obj.spec
    return ServiceView(
        key=key,
        external_name=None,
        headless=spec.type == "Headless",
        addresses=tuple((text, packed_address(text)) for text in spec.ips),
        ports=tuple(PortView(port.name.lower(), port.protocol.lower(), port.port) for port in spec.ports),
        labels=obj.metadata.labels,
        told=", ".join(spec.ips),
    )


def _indexed_addresses(view: SliceView | None) -> set[str]:
    """The addresses under which a slice of a Service of this cluster is found."""
    return {endpoint.text for endpoint in view.endpoints} if view is not None and view.service[1] else set()


def _external_addresses(obj: Service) -> Iterator[str]:
    """externalIPs, then the load balancer's ingress points (object/service.go)."""
    yield from obj.spec.external_ips
    for ingress in obj.status.rest.get("loadBalancer", {}).get("ingress") or ():
        yield ingress.get("ip") or ingress.get("hostname", "")


class PodView(NamedTuple):
    """A Pod that has an address and still runs."""

    key: ObjectKey
    address: str
    labels: Mapping[str, str]


def _pod_view(obj: Pod, key: ObjectKey) -> PodView | None:
    """None for a Pod that the watch leaves out; only status.podIP counts, not podIPs (object/pod.go)."""
    if (
        not obj.status.pod_ip
        or obj.status.phase in _GONE_PHASES
        or obj.metadata.deletion_timestamp is not None
    ):
        return None
    return PodView(key, obj.status.pod_ip, obj.metadata.labels)


def _insert(table: dict[T, tuple[ObjectKey, ...]], index: T, key: ObjectKey) -> None:
    """In order. Nearly every address has one object: a tuple takes the least memory."""
    keys = table.get(index, ())
    place = bisect_left(keys, key)
    table[index] = (*keys[:place], key, *keys[place:])


def _remove(table: dict[T, tuple[ObjectKey, ...]], index: T, key: ObjectKey) -> None:
    keys = table[index]
    place = bisect_left(keys, key)
    if len(keys) == 1:
        del table[index]
    else:
        table[index] = keys[:place] + keys[place + 1 :]


class Watcher(Protocol):
    """Whoever keeps what was read of the zone."""

    def forget(self, keys: Iterable[Hashable]) -> None:
        """What is there under these keys is another thing now."""


class KubernetesZone:
    """The indexes. Every order is that of namespaces and names, whatever the order of the events was.

    While ``grounds`` is there, what is read is noted in it: a namespace as its name, a Service or
    ServiceImport as its key, whatever is found by an address as the address. ``watchers`` are told those keys
    when something there has changed. ``revision`` grows with every event that can change an answer,
    ``denial`` is another number when a serial or ``synced`` is another.
    """

    def __init__(self) -> None:
        self.grounds: Grounds | None = None
        self.watchers: WeakSet[Watcher] = WeakSet()
        self.revision = 0
        self.denial = 0
        self._synced = True
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.services: dict[ObjectKey, ServiceView] = {}
        self.slices: dict[ObjectKey, SliceView] = {}
        self.pods: dict[ObjectKey, PodView] = {}
        self._slices_of: dict[ObjectKey, tuple[ObjectKey, ...]] = {}
        self.imports: dict[ObjectKey, ServiceView] = {}
        self._imported_slices: dict[ObjectKey, tuple[ObjectKey, ...]] = {}
        self._services_at: dict[str, tuple[ObjectKey, ...]] = {}
        self._external_at: dict[str, tuple[ObjectKey, ...]] = {}
        self._slices_at: dict[str, tuple[ObjectKey, ...]] = {}
        self._pods_at: dict[str, tuple[ObjectKey, ...]] = {}
        kinds = ("Service", "EndpointSlice", "Pod", "ServiceImport", "External")
        self._changed = dict.fromkeys(kinds, 0.0)

    # --- lookups ---

    def _note(self, key: Hashable) -> None:
        if self.grounds is not None:
            self.grounds.keys.append(key)

    def labels_of(self, namespace: str) -> Mapping[str, str] | None:
        """The labels of a namespace, None if it does not exist."""
        self._note(namespace)
        return self.namespaces.get(namespace)

    def service(self, key: ObjectKey) -> ServiceView | None:
        """A Service."""
        self._note(key)
        return self.services.get(key)

    def service_import(self, key: ObjectKey) -> ServiceView | None:
        """A ServiceImport."""
        self._note(key)
        return self.imports.get(key)

    def slices_of(self, service: ObjectKey) -> list[SliceView]:
        """The slices of a Service."""
        self._note(service)
        return [self.slices[key] for key in self._slices_of.get(service, ())]

    def imported_slices_of(self, service: ObjectKey) -> list[SliceView]:
        """The slices of a ServiceImport, of all clusters."""
        self._note(service)
        return [self.slices[key] for key in self._imported_slices.get(service, ())]

    def services_at(self, address: str) -> list[ServiceView]:
        """The Services with this cluster IP."""
        self._note(address)
        return [self.services[key] for key in self._services_at.get(address, ())]

    def services_with_external(self, address: str) -> list[ServiceView]:
        """The Services with this external address."""
        self._note(address)
        return [self.services[key] for key in self._external_at.get(address, ())]

    def slices_at(self, address: str) -> list[SliceView]:
        """The slices in which this address is ready."""
        self._note(address)
        return [self.slices[key] for key in self._slices_at.get(address, ())]

    def pods_at(self, address: str) -> list[PodView]:
        """The Pods with this address."""
        self._note(address)
        return [self.pods[key] for key in self._pods_at.get(address, ())]

    @property
    def synced(self) -> bool:
        """False is CoreDNS before its watches have caught up: what would be NXDOMAIN is SERVFAIL."""
        return self._synced

    @synced.setter
    def synced(self, synced: bool) -> None:
        self._synced = synced
        self.denial += 1

    def _note_serial(self) -> None:
        if self.grounds is not None:
            self.grounds.denies = True

    def serial(self, pods: bool) -> int:
        """The SOA serial: Unix time of the last change seen (Pods are only watched by ``pods verified``)."""
        self._note_serial()
        changed = self._changed
        last = max(changed["Service"], changed["EndpointSlice"], changed["Pod"] if pods else 0.0)
        return _EPOCH_SECONDS + int(last)

    def import_serial(self) -> int:
        """The serial of multicluster zones: Unix time of the last change of a ServiceImport or its slices."""
        self._note_serial()
        return _EPOCH_SECONDS + int(self._changed["ServiceImport"])

    def external_serial(self) -> int:
        """The serial of ``k8s_external``: Unix time of the last change of an external address."""
        self._note_serial()
        return _EPOCH_SECONDS + int(self._changed["External"])

    # --- changes ---

    def feed(self, event: StoreEvent, now: float | None = None) -> None:
        """Take in one change. ``now`` (virtual seconds) is the serial's time; else the object's creation's.

        Kinds that DNS does not know are passed over.
        """
        obj = event.object
        gone = event.type is EventType.DELETED
        key = (obj.metadata.namespace, obj.metadata.name)
        touched: set[Hashable] = {key}
        match obj:
            case Service():
                changed = self._put_service(key, None if gone else _service_view(obj, key), touched)
            case EndpointSlice():
                changed = self._put_slice(key, None if gone else SliceView(obj, key), touched)
            case Pod():
                changed = self._put_pod(key, None if gone else _pod_view(obj, key), touched)
            case ServiceImport():
                changed = self._put_import(key, None if gone else _import_view(obj, key))
            case Namespace():
                changed = False
                touched = {obj.metadata.name}
                if gone:
                    self.namespaces.pop(obj.metadata.name, None)
                else:
                    self.namespaces[obj.metadata.name] = obj.metadata.labels
            case _:
                return
        self.revision += 1
        moment = now if now is not None else obj.metadata.creation_timestamp or 0.0
        if changed:
            self._stamp(obj.kind, moment)
        if isinstance(obj, EndpointSlice) and obj.metadata.labels.get(SERVICE_NAME_LABEL):
            self._stamp("ServiceImport", moment)
        if isinstance(obj, Service) and (obj.spec.external_ips or obj.status.rest):
            self._stamp("External", moment)
        for watcher in self.watchers:
            watcher.forget(touched)

    def _stamp(self, what: str, moment: float) -> None:
        before = self._changed[what]
        self._changed[what] = max(before, moment)
        self.denial += int(before) != int(self._changed[what])

    def _put_service(self, key: ObjectKey, view: ServiceView | None, touched: set[Hashable]) -> bool:
        old = self.services.pop(key, None)
        if old is not None:
            for text, _ in old.addresses:
                _remove(self._services_at, text, key)
                touched.add(text)
            for text, _ in old.external:
                _remove(self._external_at, text, key)
                touched.add(text)
        if view is None:
            return old is not None
        self.services[key] = view
        for text, _ in view.addresses:
            _insert(self._services_at, text, key)
            touched.add(text)
        for text, _ in view.external:
            _insert(self._external_at, text, key)
            touched.add(text)
        # controller.go serviceModified: an update counts when the external name or a port changed
        return old is None or (old.external_name, old.ports) != (view.external_name, view.ports)

    def _put_import(self, key: ObjectKey, view: ServiceView | None) -> bool:
        old = self.imports.pop(key, None)
        if view is not None:
            self.imports[key] = view
        return old != view

    def _put_slice(self, key: ObjectKey, view: SliceView | None, touched: set[Hashable]) -> bool:
        if view is not None and not view.service[1] and not view.imported[1]:
            view = None  # a slice without the label of a Service belongs to nobody
        old = self.slices.pop(key, None)
        before = _indexed_addresses(old)
        after = _indexed_addresses(view)
        touched.update(before, after)
        for text in before - after:
            _remove(self._slices_at, text, key)
        for text in after - before:
            _insert(self._slices_at, text, key)
        for table, field in ((self._slices_of, "service"), (self._imported_slices, "imported")):
            was, now = getattr(old, field, NOBODY), getattr(view, field, NOBODY)
            touched.update((was, now))
            if was != now and was[1]:
                _remove(table, was, key)
            if was != now and now[1]:
                _insert(table, now, key)
        if view is None:
            return old is not None
        self.slices[key] = view
        return old is None or not old.same_records(view)

    def _put_pod(self, key: ObjectKey, view: PodView | None, touched: set[Hashable]) -> bool:
        old = self.pods.pop(key, None)
        if old is not None:
            _remove(self._pods_at, old.address, key)
            touched.add(old.address)
        if view is not None:
            self.pods[key] = view
            _insert(self._pods_at, view.address, key)
            touched.add(view.address)
        return (old and old.address) != (view and view.address)
