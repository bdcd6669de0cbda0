"""The proxier: follows Services and EndpointSlices, and turns each change into a small delta.

``cluster`` feeds it store events and applies the deltas; ``show`` and the renderings read
``service_ports()``. It has one ledger subject per Service, so that a changed endpoint costs the work of
its own Service, however many others there are.

It relies on what the API server promises: no two Services have the same ClusterIP.
"""

from __future__ import annotations

from collections.abc import Iterable

from netsim.objects.core import Service
from netsim.objects.discovery import EndpointSlice
from netsim.plan.delta import Delta, Ledger, merge
from netsim.proxy.endpoints import ServiceKey, SliceTable
from netsim.proxy.ruleset import ProxySettings, port_entries
from netsim.proxy.service_port import ServicePort, service_ports_of
from netsim.store.store import EventType, StoreEvent

NOTHING = Delta()


class Proxier:
    """kube-proxy for all nodes at once: what it programs is the same on each of them."""

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self._slices = SliceTable()
        self._ports: dict[ServiceKey, tuple[ServicePort, ...]] = {}
        self._ledger = Ledger()

    def feed(self, event: StoreEvent) -> Delta:
        """What a change of the store changes in the plan; events of other kinds change nothing."""
        gone = event.type is EventType.DELETED
        match event.object:
            case Service() as service:
                key = (service.metadata.namespace, service.metadata.name)
                return self._set_ports(key, () if gone else service_ports_of(service))
            case EndpointSlice() as slice_:
                touched = self._slices.remove(slice_) if gone else self._slices.put(slice_)
                deltas = [self._set_ports(key, self._ports[key]) for key in touched if key in self._ports]
                return deltas[0] if len(deltas) == 1 else merge(deltas)
            case _:
                return NOTHING

    def service_ports(self) -> tuple[ServicePort, ...]:
        """Every port with its endpoints, by namespace, Service and port name."""
        ports = [port for service in self._ports.values() for port in service]
        return tuple(sorted(ports, key=lambda port: (port.service, port.port_name, port.protocol)))

    def _set_ports(self, service: ServiceKey, ports: Iterable[ServicePort]) -> Delta:
        joined = tuple(port._replace(endpoints=self._slices.endpoints(service, port.key)) for port in ports)
        if joined:
            self._ports[service] = joined
        else:
            self._ports.pop(service, None)
        entries = (entry for port in joined for entry in port_entries(port, self.settings))
        return self._ledger.replace("/".join(service), entries)
