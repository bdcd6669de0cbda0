"""kube-proxy's clean-up of connection tracking: UDP flows to a Service whose endpoint serves no more.

``Cluster`` shows every event of the store to ``UdpCleanup.feed``, behind the proxier. A UDP flow lives as
long as somebody sends, and keeps the endpoint that its first packet was given: without the clean-up a
client that always sends from one port goes on sending to a Pod that is no more. TCP flows are left alone.

Source: Kubernetes 1.35 pkg/proxy/conntrack/cleanup.go, CleanStaleEntries. That goes through all Services in
each sync; those that did not change have nothing to delete. As there, a Service without any serving endpoint
is passed over (kubernetes issue 139628), and so is one that is deleted (pull request 141371).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netsim.cni.names import node_host
from netsim.net.conntrack import Flow
from netsim.objects.core import Service
from netsim.objects.discovery import EndpointSlice
from netsim.objects.meta import Object
from netsim.objects.topology import Topology
from netsim.planes.sim.plane import SimPlane
from netsim.proxy.endpoints import ServiceKey
from netsim.proxy.proxier import Proxier
from netsim.proxy.service_port import PROTOCOL_NUMBERS, ServicePort
from netsim.store.store import StoreEvent

UDP = PROTOCOL_NUMBERS["UDP"]


class UdpCleanup:
    """See the module's docstring. It does nothing where the Topology has it switched off."""

    def __init__(self, proxiers: Sequence[Proxier], plane: SimPlane, topology: Topology) -> None:
        self._proxiers = proxiers
        self._plane = plane
        cleans = topology.networking.conntrack.udp_cleanup
        self._hosts = [node_host(node.name) for node in topology.nodes] if cleans else []

    def feed(self, event: StoreEvent) -> None:
        """Delete what a change of a Service or of its endpoints has left behind, on every node."""
        for service in dict.fromkeys((*_service_of(event.object), *_service_of(event.old))):
            for port in [port for proxier in self._proxiers for port in proxier.ports_of(service)]:
                if port.protocol == "UDP":
                    self._clean(port)

    def _clean(self, port: ServicePort) -> None:
        backends = [endpoint.backend for endpoint in port.endpoints if endpoint.serving]
        serving = {(backend.address.packed, backend.port) for backend in backends}
        if not serving:
            return
        at = (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)
        addresses = {address.packed for address in at}

        def is_stale(flow: Flow) -> bool:
            asked, answers = flow.original, flow.reply
            of_family = len(answers.source) == len(port.cluster_ip.packed)
            if asked.protocol != UDP or not of_family or (answers.source, answers.source_port) in serving:
                return False
            to_service = asked.destination in addresses and asked.destination_port == port.port
            return to_service or (port.node_port != 0 and asked.destination_port == port.node_port)

        for host in self._hosts:
            tracked = self._plane.tracked(host)
            if tracked is not None:
                for flow in [flow for flow in tracked if is_stale(flow)]:
                    tracked.forget(flow)


def _service_of(changed: Object | None) -> Iterator[ServiceKey]:
    match changed:
        case Service():
            yield changed.metadata.namespace, changed.metadata.name
        case EndpointSlice() if changed.service_name:
            yield changed.metadata.namespace, changed.service_name
