"""The proxier: follows Services and EndpointSlices, and turns each change into a small delta.

``cluster`` feeds it store events and applies the deltas; ``show`` and the renderings read
``service_ports()``. It has one ledger subject per Service, so that a changed endpoint costs the work of
its own Service, however many others there are.

No two Services have the same ClusterIP or node port, says the API server; but it lets externalIPs name any
address. Of several Services that want one address and port, the first by name gets it here; in kube-proxy
the order of a Go map decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netsim.objects.core import Node, Service
from netsim.objects.discovery import EndpointSlice
from netsim.plan.delta import Delta, Ledger, merge
from netsim.plan.entries import Entry, Key
from netsim.proxy.endpoints import ServiceKey, SliceTable
from netsim.proxy.ruleset import node_entries, own_entries, port_entries
from netsim.proxy.service_port import ServicePort, service_ports_of
from netsim.proxy.settings import ProxySettings
from netsim.store.store import EventType, StoreEvent

NOTHING = Delta()


class Proxier:
    """kube-proxy for all nodes at once: one table for all of them, which says where they differ."""

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self._slices = SliceTable(settings.family)
        self._ports: dict[ServiceKey, tuple[ServicePort, ...]] = {}
        self._wanted: dict[ServiceKey, dict[Key, Entry]] = {}
        self._claims: dict[Key, tuple[ServiceKey, ...]] = {}
        self._nodes: dict[str, None] = {}
        self._ledger = Ledger()

    def feed(self, event: StoreEvent) -> Delta:
        """What a change of the store changes in the plan; events of other kinds change nothing."""
        gone = event.type is EventType.DELETED
        match event.object:
            case Service() as service:
                key = (service.metadata.namespace, service.metadata.name)
                return self._set_ports(key, () if gone else service_ports_of(service, self.settings.family))
            case EndpointSlice() as slice_:
                touched = self._slices.remove(slice_) if gone else self._slices.put(slice_)
                deltas = [self._set_ports(key, self._ports[key]) for key in touched if key in self._ports]
                return deltas[0] if len(deltas) == 1 else merge(deltas)
            case Node() as node:
                return self._set_node(node, gone=gone)
            case _:
                return NOTHING

    def service_ports(self) -> tuple[ServicePort, ...]:
        """Every port with its endpoints, by namespace, Service and port name."""
        ports = [port for service in self._ports.values() for port in service]
        return tuple(sorted(ports, key=lambda port: (port.service, port.port_name, port.protocol)))

    def ports_of(self, service: ServiceKey) -> tuple[ServicePort, ...]:
        """The ports of one Service with their endpoints; none for one that is not known."""
        return self._ports.get(service, ())

    def ready_on(self, service: ServiceKey, node: str) -> int:
        """How many addresses of a Service on a node are ready: what its health check says there."""
        ready = (e for port in self.ports_of(service) for e in port.endpoints if e.ready and e.node == node)
        return len({endpoint.backend.address for endpoint in ready})

    def _set_node(self, node: Node, *, gone: bool) -> Delta:
        """kube-proxy stands on the nodes: without any there is nothing to set up."""
        name = node.metadata.name
        if gone:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = None
        return merge(
            [
                self._ledger.replace(f"node {name}", () if gone else own_entries(node, self.settings)),
                self._ledger.replace("nodes", node_entries(self.settings) if self._nodes else ()),
            ]
        )

    def _set_ports(self, service: ServiceKey, ports: Iterable[ServicePort]) -> Delta:
        joined = tuple(port.with_endpoints(self._slices.endpoints(service, port.key)) for port in ports)
        wanted: dict[Key, Entry] = {}
        for port in joined:
            for entry in port_entries(port, self.settings):
                wanted.setdefault(entry.key, entry)
        if joined:
            self._ports[service] = joined
        else:
            self._ports.pop(service, None)
        rivals = self._claim(service, wanted)
        return _together([self._settle(touched) for touched in (service, *rivals)])

    def _claim(self, service: ServiceKey, wanted: dict[Key, Entry]) -> Iterable[ServiceKey]:
        """Note what a Service wants now; the others that want something of that, or of what it wanted."""
        before = self._wanted.pop(service, {})
        if wanted:
            self._wanted[service] = wanted
        rivals: dict[ServiceKey, None] = {}
        for key in {**before, **wanted}:
            others = tuple(other for other in self._claims.get(key, ()) if other != service)
            rivals.update(dict.fromkeys(others))
            claimants = (*others, service) if key in wanted else others
            if claimants:
                self._claims[key] = claimants
            else:
                del self._claims[key]
        return rivals

    def _settle(self, service: ServiceKey) -> Delta:
        return self._ledger.replace("/".join(("service", *service)), self._won(service))

    def _won(self, service: ServiceKey) -> Iterator[Entry]:
        """Of what a Service wants, all but what one before it wants too."""
        for key, entry in self._wanted.get(service, {}).items():
            if min(self._claims[key]) == service:
                yield entry


def _together(deltas: Sequence[Delta]) -> Delta:
    """One delta of several in which no key is put twice: what one Service loses another may get."""
    if len(deltas) == 1:
        return deltas[0]
    put = {entry.key: entry for delta in deltas for entry in delta.put}
    removed = dict.fromkeys(key for delta in deltas for key in delta.remove if key not in put)
    return Delta(tuple(put.values()), tuple(removed))
