"""What a target stands for, and what an address is called."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netsim.base.errors import UsageError
from netsim.checks.targets import Book
from netsim.cluster import Cluster
from netsim.objects.core import Pod


def texts(addresses: frozenset[object]) -> set[str]:
    return {str(address) for address in addresses}


def pods(shop: Cluster, name: str) -> list[Pod]:
    return [pod for pod in shop.store.list(Pod) if pod.metadata.name.startswith(name)]


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::1", "fd00::1"),
        ("svc/prod/shop", "10.96.1.1"),
        ("service/prod/shop", "10.96.1.1"),
        ("svc/kubernetes", "10.96.0.1"),
        ("node/node1", "192.168.10.11"),
        ("external/client", "203.0.113.50"),
        ("dev/onnode", "192.168.10.12"),
    ],
)
def test_one_thing_has_one_address(book: Book, target: str, address: str) -> None:
    assert texts(book.addresses(target)) == {address}


@pytest.mark.parametrize("target", ["dev/jump", "pod/dev/jump"])
def test_a_pod_is_its_address(shop: Cluster, book: Book, target: str) -> None:
    (jump,) = pods(shop, "jump")
    assert texts(book.addresses(target)) == {jump.status.pod_ip}


@pytest.mark.parametrize("target", ["deploy/prod/shop", "deployment/prod/shop", "svc/prod/peers"])
def test_a_deployment_and_a_headless_service_are_their_pods(shop: Cluster, book: Book, target: str) -> None:
    addresses = {pod.status.pod_ip for pod in pods(shop, "shop-")}
    assert len(addresses) == 3
    assert texts(book.addresses(target)) == addresses


def test_what_is_reachable_behind_a_service_are_its_ready_endpoints(shop: Cluster, book: Book) -> None:
    assert texts(book.reachable("svc/prod/shop")) == {pod.status.pod_ip for pod in pods(shop, "shop-")}
    assert not book.reachable("svc/prod/empty")
    assert texts(book.reachable("dev/jump")) == texts(book.addresses("dev/jump"))


def test_a_node_port_is_found_by_the_port_of_the_service_or_by_itself(book: Book) -> None:
    assert book.node_port("svc/prod/edge", 80, "tcp") == 30080
    assert book.node_port("svc/prod/edge", 30080, "tcp") == 30080
    assert book.node_port("svc/dev/edge", 9000, "udp") == 30900


@pytest.mark.parametrize(
    ("target", "protocol", "message", "hint"),
    [
        ("prod/edge", "tcp", "prod/edge is no Service", "write svc/NAMESPACE/NAME:80"),
        ("svc/prod/shop", "tcp", "svc/prod/shop has no node port for 80/tcp", "its type is ClusterIP"),
        ("svc/dev/edge", "udp", "svc/dev/edge has no node port for 80/udp", "it has 9000:30900"),
        ("svc/prod/edg", "tcp", 'services "edg" not found in namespace prod', "svc/prod/edge"),
    ],
)
def test_what_has_no_node_port_is_told(
    book: Book, target: str, protocol: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        book.node_port(target, 80, protocol)
    assert hint in raised.value.hint


def test_a_nodes_packets_may_have_any_address_of_the_node(book: Book) -> None:
    assert texts(book.sources("node/node1")) == {"192.168.10.11", "10.244.1.0", "10.244.1.1"}
    assert texts(book.sources("external/client")) == {"203.0.113.50"}


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("dev/jump", {"dev/jump"}),
        ("dev/onnode", {"node2"}),
        ("node/node1", {"node1"}),
        ("external/client", {"client"}),
        ("router", {"router"}),
    ],
)
def test_a_target_on_a_path_is_a_host(book: Book, target: str, hosts: set[str]) -> None:
    assert book.hosts(target) == hosts


def test_a_deployment_on_a_path_is_any_of_its_pods(shop: Cluster, book: Book) -> None:
    assert book.hosts("deploy/prod/shop") == {f"prod/{pod.metadata.name}" for pod in pods(shop, "shop-")}


UNKNOWN = {
    "dev/jmp": 'pods "jmp" not found in namespace dev\n  hint: did you mean dev/jump, dev/far, dev/near?',
    "svc/shop": 'services "shop" not found in namespace default\n  hint: did you mean svc/prod/shop?',
    "svc/prod/shpo": 'services "shpo" not found in namespace prod\n  hint: did you mean svc/prod/shop?',
    "router": "the router is no target\n  hint: write the address at which it is met, as 192.168.10.1",
    "node/node3": "there is no node node3\n  hint: did you mean node2, node1?",
    "external/cleint": "there is no external host cleint\n  hint: did you mean client?",
    "external/nobody": "there is no external host nobody\n"
    "  hint: there is client, www.example.com, example.com",
    "deploy/prod/web": 'deploy "web" not found in namespace prod',
    "deplo/prod/shop": "'deplo/prod/shop' is no target: 'deplo' is not a kind\n"
    "  hint: did you mean deploy/prod/shop?",
}


@pytest.mark.parametrize("target", UNKNOWN)
def test_what_is_not_there_is_refused_with_what_comes_near(book: Book, target: str) -> None:
    with pytest.raises(UsageError) as refused:
        book.addresses(target)
    assert str(refused.value) == UNKNOWN[target]


def test_addresses_are_called_by_the_target_that_they_are(shop: Cluster, book: Book) -> None:
    for target in ("dev/jump", "svc/prod/shop", "node/node1", "external/client"):
        (address,) = book.addresses(target)
        assert book.name(address) == target
        assert book.render(address) == f"{address} ({target})"
    (onnode,) = book.addresses("dev/onnode")
    assert book.name(onnode) == "node/node2"
    assert book.name(ip_address("10.244.1.1")) == "node/node1"
    assert book.render(ip_address("192.0.2.1")) == "192.0.2.1"


def test_rendered_addresses_are_in_order(book: Book) -> None:
    mixed = [ip_address(text) for text in ("fd00::1", "10.0.0.10", "10.0.0.9")]
    assert book.render_all(mixed) == ["10.0.0.9", "10.0.0.10", "fd00::1"]
