"""The rules that ``netsim show proxy`` prints for the nodes of a whole cluster, in the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

import netsim
from netsim.cluster import Cluster
from netsim.cluster.network_tables import proxy
from netsim.objects.core import Node, Pod, Service
from tests.conftest import ROOT
from tests.kernel.case_rules import load_rules
from tests.kernel.node import OWN, UPLINK, KernelNode, NodeAddresses
from tests.kernel.packets import PROTOCOLS
from tests.kernel.test_cases import MODES, NEEDS
from tests.kernel.verdict import Outcome, Question, ask

TOPOLOGY = ROOT / "topologies" / "cross-namespace.yaml"

pytestmark = pytest.mark.needs(*NEEDS)


@pytest.fixture(scope="module", params=MODES)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with netsim.run(TOPOLOGY, proxy_mode=request.param) as running:
        yield running


@pytest.mark.parametrize("name", ["node1", "control"])  # the API server's endpoint is one of control's own
def test_whoever_connects_to_a_service_gets_its_endpoints(cluster: Cluster, name: str) -> None:
    ports = [(service, port) for service in cluster.store.list(Service) for port in service.spec.ports]
    with _kernel_node(cluster, name) as node:
        for device, client in _clients(cluster, node, name):
            for service, port in ports:
                wanted = _endpoints(cluster, service, port.name)
                got = _ask(node, device, client, service, port.port, port.protocol, wanted)
                who = f"{client} to {service.metadata.name}:{port.port}"
                assert (who, got.verdicts, got.endpoints) == (who, {"DNAT"}, wanted)
                assert (who, got.lost) == (who, frozenset())
                own = {end for end in wanted if end.startswith(f"{client}:")}
                masqueraded = {end for end, how in got.masqueraded.items() if how == {True}}
                assert (who, masqueraded - own) == (who, (wanted if device == OWN else frozenset()) - own)
                if device != OWN:
                    assert (who, masqueraded) == (who, own)  # hairpin
    assert len(ports) >= 4  # the API server, DNS over UDP and TCP and its metrics, and the example's own


def test_another_port_of_a_cluster_ip_is_nobodys_or_refused(cluster: Cluster) -> None:
    service = cluster.store.get(Service, "ent", "prod")
    verdict = "NOT_HANDLED" if cluster.proxier.settings.mode == "iptables" else "REJECT"
    with _kernel_node(cluster, "node1") as node:
        clients = list(_clients(cluster, node, "node1"))
        for device, client in clients:
            assert _ask(node, device, client, service, 9, "TCP", frozenset()).verdicts == {verdict}
    assert len(clients) >= 3


@contextmanager
def _kernel_node(cluster: Cluster, name: str) -> Iterator[KernelNode]:
    """A node of the cluster in the kernel, with its rules."""
    node, settings = cluster.store.get(Node, name), cluster.proxier.settings
    addresses = NodeAddresses((f"{_address_of(node)}/24",), (node.spec.pod_cidr,))
    with KernelNode(addresses, {}) as standing:
        load_rules(standing, settings.mode, {4: proxy(cluster, settings.hosts[name])})
        yield standing


def _address_of(node: Node) -> str:
    return next(each.address for each in node.status.addresses if each.type == "InternalIP")


def _clients(cluster: Cluster, node: KernelNode, name: str) -> Iterator[tuple[str, str]]:
    """The node itself, and every Pod with an address of its own, with the device that it is behind."""
    yield OWN, _address_of(cluster.store.get(Node, name))
    for pod in cluster.store.list(Pod):
        if not pod.spec.host_network:
            yield node.pods if pod.spec.node_name == name else UPLINK, pod.status.pod_ip


def _endpoints(cluster: Cluster, service: Service, port_name: str) -> frozenset[str]:
    """``ip:port`` of what the EndpointSlices of a Service have for a port."""
    return frozenset(
        f"{endpoint.addresses[0]}:{port.port}"
        for one in cluster.store.slices_of(service.ref)
        for port in one.ports
        if port.name == port_name
        for endpoint in one.endpoints
    )


def _ask(
    node: KernelNode,
    device: str,
    client: str,
    service: Service,
    port: int,
    protocol: str,
    wanted: frozenset[str],
) -> Outcome:
    target = ip_address(service.spec.cluster_ip)
    return ask(node, Question(device, PROTOCOLS[protocol], ip_address(client), target, port), wanted)
