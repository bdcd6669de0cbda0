"""Who answers for the addresses of load balancers: one elected node each, by ARP.

``cluster`` feeds it store events and applies the deltas, where the Topology has a pool that is announced by
``l2``. It stands for MetalLB's speakers: for each address with an endpoint that serves, the first of the
eligible nodes announces it, in the order of the SHA-256 of ``node#address``; so the same nodes elect the same
one, and the addresses are spread over the nodes. A node is eligible while it is Ready, is on the wire of the
pool and does not carry the label ``node.kubernetes.io/exclude-from-external-load-balancers``, which kubeadm
gives to control-plane nodes; where externalTrafficPolicy is Local, if it has an endpoint that serves. Source:
MetalLB ``speaker/layer2_controller.go``, ShouldAnnounce.

Simplification: a speaker knows that a node is gone from its peers' gossip, within seconds; here from the
Node's condition Ready.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address

from netsim.base.cause import Cause, Stage
from netsim.objects.core import Node, Service
from netsim.objects.discovery import EndpointSlice
from netsim.plan.delta import Delta, Ledger, merge
from netsim.plan.entries import Announcement, Port
from netsim.proxy.endpoints import ServiceKey, SliceTable, ipv4_from_text
from netsim.proxy.service_port import LOCAL, load_balancer_vips
from netsim.store.store import EventType, StoreEvent

OWNER = "announcer"
EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
NOTHING = Delta()


class Announcer:
    """See the module's docstring. ``uplinks`` are the interfaces on the pool's wire, by node."""

    def __init__(self, uplinks: Mapping[str, Port]) -> None:
        self._uplinks = uplinks
        self._slices = SliceTable()
        self._addresses: dict[ServiceKey, tuple[IPv4Address, ...]] = {}
        self._local: dict[ServiceKey, bool] = {}
        self._eligible: dict[str, None] = {}
        self._ledger = Ledger()

    def feed(self, event: StoreEvent) -> Delta:
        """What a change of the store changes in the plan; events of other kinds change nothing."""
        gone = event.type is EventType.DELETED
        match event.object:
            case Service() as service:
                key = (service.metadata.namespace, service.metadata.name)
                balanced = service.spec.type == "LoadBalancer" and not gone
                addresses = tuple(map(ipv4_from_text, load_balancer_vips(service))) if balanced else ()
                local = service.spec.external_traffic_policy == LOCAL
                if addresses == self._addresses.get(key, ()) and local == self._local.get(key, local):
                    return NOTHING
                if addresses:
                    self._addresses[key], self._local[key] = addresses, local
                else:
                    del self._addresses[key], self._local[key]
                return self._elect(key)
            case EndpointSlice() as slice_:
                touched = self._slices.remove(slice_) if gone else self._slices.put(slice_)
                return merge([self._elect(key) for key in touched])
            case Node() as node:
                return self._set_node(node.metadata.name, eligible=not gone and self._is_eligible(node))
            case _:
                return NOTHING

    def _is_eligible(self, node: Node) -> bool:
        ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
        return ready and node.metadata.name in self._uplinks and EXCLUDE_LABEL not in node.metadata.labels

    def _set_node(self, name: str, *, eligible: bool) -> Delta:
        if eligible == (name in self._eligible):
            return NOTHING
        if eligible:
            self._eligible[name] = None
        else:
            del self._eligible[name]
        return merge([self._elect(key) for key in self._addresses])

    def _elect(self, service: ServiceKey) -> Delta:
        serving = self._slices.nodes_serving(service)
        return self._ledger.replace(
            "/".join(service), self._announcements(service, serving) if serving else ()
        )

    def _announcements(self, service: ServiceKey, serving: Collection[str]) -> Iterator[Announcement]:
        local = self._local.get(service, False)
        candidates = [name for name in self._eligible if not local or name in serving]
        for address in self._addresses.get(service, ()):
            node = min(candidates, key=lambda name: _rank(name, address), default=None)
            if node is not None:
                text = f"{node} is elected to announce {address} of svc {'/'.join(service)}"
                uplink, cause = self._uplinks[node], Cause(Stage.NEIGHBOUR, text)
                yield Announcement(uplink.host, uplink.interface, address, OWNER, cause)


def _rank(node: str, address: IPv4Address) -> bytes:
    return hashlib.sha256(f"{node}#{address}".encode()).digest()
