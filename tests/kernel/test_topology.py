"""The rules that ``netsim show iptables`` prints for a node of a whole cluster, in the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

import netsim
from netsim.cluster import Cluster
from netsim.cluster.network_tables import iptables
from netsim.objects.core import Node, Pod, Service
from tests.conftest import ROOT
from tests.kernel.case_rules import load_rules
from tests.kernel.node import OWN, UPLINK, KernelNode, NodeAddresses
from tests.kernel.packets import PROTOCOLS
from tests.kernel.verdict import Question, ask

TOPOLOGY = ROOT / "topologies" / "cross-namespace.yaml"
NODE = "node1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with netsim.run(TOPOLOGY, proxy_mode="iptables") as running:
        yield running


@pytest.mark.needs("root", "netns", "nsenter", "ip", "iptables-restore")
def test_whoever_connects_to_a_service_gets_its_endpoints(cluster: Cluster) -> None:
    ports = [(service, port) for service in cluster.store.list(Service) for port in service.spec.ports]
    with _kernel_node(cluster) as node:
        load_rules(node, "iptables", {4: iptables(cluster, cluster.proxier.settings.hosts[NODE])})
        for device, client in _clients(cluster, node):
            for service, port in ports:
                wanted = _endpoints(cluster, service, port.name)
                target, number = ip_address(service.spec.cluster_ip), PROTOCOLS[port.protocol]
                got = ask(node, Question(device, number, ip_address(client), target, port.port), wanted)
                who = f"{client} to {service.metadata.name}:{port.port}"
                assert (who, got.verdicts, got.endpoints) == (who, {"DNAT"}, wanted)
                assert (who, got.lost) == (who, frozenset())
                hairpin = {end for end in wanted if end.startswith(f"{client}:")}
                masqueraded = {end for end, how in got.masqueraded.items() if how == {True}}
                assert (who, masqueraded) == (who, wanted if device == OWN else hairpin)
    assert len(ports) >= 4  # the API server, two of DNS and its metrics, and the example's own


@pytest.mark.needs("root", "netns", "nsenter", "ip", "iptables-restore")
def test_another_port_of_a_cluster_ip_is_nobodys(cluster: Cluster) -> None:
    service = cluster.store.get(Service, "ent", "prod")
    with _kernel_node(cluster) as node:
        load_rules(node, "iptables", {4: iptables(cluster, cluster.proxier.settings.hosts[NODE])})
        for device, client in _clients(cluster, node):
            target = ip_address(service.spec.cluster_ip)
            question = Question(device, PROTOCOLS["TCP"], ip_address(client), target, 9)
            assert ask(node, question, frozenset()).verdicts == {"NOT_HANDLED"}


def _kernel_node(cluster: Cluster) -> KernelNode:
    node = cluster.store.get(Node, NODE)
    return KernelNode(NodeAddresses((f"{_address_of(node)}/24",), (node.spec.pod_cidr,)), {})


def _address_of(node: Node) -> str:
    return next(each.address for each in node.status.addresses if each.type == "InternalIP")


def _clients(cluster: Cluster, node: KernelNode) -> Iterator[tuple[str, str]]:
    """The node itself, and every Pod, with the device that it is behind."""
    yield OWN, _address_of(cluster.store.get(Node, NODE))
    for pod in cluster.store.list(Pod):
        yield node.pods if pod.spec.node_name == NODE else UPLINK, pod.status.pod_ip


def _endpoints(cluster: Cluster, service: Service, port_name: str) -> frozenset[str]:
    """``ip:port`` of what the EndpointSlices of a Service have for a port."""
    return frozenset(
        f"{endpoint.addresses[0]}:{port.port}"
        for one in cluster.store.slices_of(service.ref)
        for port in one.ports
        if port.name == port_name
        for endpoint in one.endpoints
    )
