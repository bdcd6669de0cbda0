"""What the IPv6 side of a dual-stack Topology must be, for itself and beside its IPv4 side.

``topology_rules`` asks for these with its own. Limits are those of kubeadm (the mask of a Service range,
``cmd/kubeadm/app/apis/kubeadm/validation``, ValidateServiceSubnetSize and ValidateIPNetFromString; the API
server itself takes larger ones in 1.35), of kube-controller-manager (how many bits a Pod subnet may be larger
than a node's part, ``pkg/controller/nodeipam/ipam/cidrset``), and of IPv6 itself (RFC 8200 section 5:
no link carries less than 1,280 bytes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import Any, NamedTuple

from netsim.objects.topology import Subnet, Topology
from netsim.objects.yaml_tree import Path

LARGEST_SERVICE_SUBNET = 108  # 128 bits without MaximumBitsForServiceSubnet
SMALLEST_SERVICE_SUBNET = 124  # MinimumAddressesInServiceSubnet is ten
MOST_NODE_BITS = 16  # clusterSubnetMaxDiff
LEAST_MTU = 1280
ENCAPSULATION6 = 70
"""VXLAN in IPv6 (RFC 7348 section 5): outer header (40), UDP (8), VXLAN (8) and inner Ethernet (14)."""

_SPEC: Path = ("spec",)
_NETWORKING: Path = ("spec", "networking")


class Contradiction(NamedTuple):
    """``where`` is the field to point at."""

    where: Path
    message: str
    hint: str = ""


def dual_stack(topology: Topology, spec: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Everything that does not fit; ``spec`` holds what was written."""
    networking = topology.networking
    if not networking.dual_stack:
        yield from _single(topology, spec)
        return
    if networking.service_subnet6 is None:
        message = "podSubnet has an IPv6 network, and serviceSubnet has none"
        hint = f"write both, as {networking.service_subnet},fd00:10:96::/112"
        yield Contradiction((*_NETWORKING, "serviceSubnet"), message, hint)
    yield from _sizes(topology)
    yield from _overlaps(topology)
    yield from _subnets(topology)
    yield from _node_addresses(topology)
    yield from _external_hosts(topology)


def _single(topology: Topology, spec: Mapping[str, Any]) -> Iterator[Contradiction]:
    """IPv6 where Pods have none."""
    both = "write two networks for podSubnet and for serviceSubnet, or take this one away"
    if topology.networking.service_subnet6 is not None:
        message = "serviceSubnet has an IPv6 network, and podSubnet has none"
        hint = f"write both, as {topology.networking.pod_subnet},fd00:10:244::/56"
        yield Contradiction((*_NETWORKING, "podSubnet"), message, hint)
        return
    for index, subnet in enumerate(topology.subnets):
        if subnet.cidr6 is not None:
            where = (*_SPEC, "fabric", "subnets", index, "cidr")
            yield Contradiction(where, f"{subnet.cidr6}: the cluster has IPv4 only", both)
    for index, node in enumerate(topology.nodes):
        if node.address6 is not None:
            where = (*_SPEC, "nodes", index, "address")
            yield Contradiction(where, f"{node.address6}: the cluster has IPv4 only", both)
    for index, host in enumerate(topology.external_hosts[: _written(spec)]):
        if host.address6 is not None:
            where = (*_SPEC, "external", "hosts", index, "address")
            yield Contradiction(where, f"{host.address6}: the cluster has IPv4 only", both)


def _sizes(topology: Topology) -> Iterator[Contradiction]:
    networking, nodes = topology.networking, len(topology.nodes)
    pods, size, services = (
        networking.pod_subnet6,
        networking.node_cidr_mask_size_ipv6,
        networking.service_subnet6,
    )
    where = (*_NETWORKING, "podSubnet")
    if pods is not None and size < pods.prefixlen:
        message = f"a /{size} for each node does not fit into podSubnet {pods}"
        hint = f"widen it to /{size - 8}, or set nodeCIDRMaskSizeIPv6"
        yield Contradiction(where, message, hint)
    elif pods is not None and size - pods.prefixlen > MOST_NODE_BITS:
        message = (
            f"podSubnet {pods} is too large for blocks of /{size}: they may differ by {MOST_NODE_BITS} bits"
        )
        hint = f"write a /{size - MOST_NODE_BITS} or a smaller one, or a smaller nodeCIDRMaskSizeIPv6"
        yield Contradiction(where, message, hint)
    elif pods is not None and 1 << (size - pods.prefixlen) < nodes:
        blocks = 1 << (size - pods.prefixlen)
        message = (
            f"podSubnet {pods} has {blocks} {'block' if blocks == 1 else 'blocks'} of /{size}, and there are "
            f"{nodes} nodes"
        )
        hint = "widen it, or give each node less with a larger nodeCIDRMaskSizeIPv6"
        yield Contradiction(where, message, hint)
    if services is not None and not LARGEST_SERVICE_SUBNET <= services.prefixlen <= SMALLEST_SERVICE_SUBNET:
        what = "large" if services.prefixlen < LARGEST_SERVICE_SUBNET else "small"
        message = f"serviceSubnet {services} is too {what}"
        sizes = f"a /{LARGEST_SERVICE_SUBNET} to a /{SMALLEST_SERVICE_SUBNET}"
        hint = f"write {sizes}, as {services.network_address}/112"
        yield Contradiction((*_NETWORKING, "serviceSubnet"), message, hint)


def _overlaps(topology: Topology) -> Iterator[Contradiction]:
    networking = topology.networking
    ranges: list[tuple[Path, IPv6Network | None, str]] = [
        ((*_NETWORKING, "podSubnet"), networking.pod_subnet6, "podSubnet"),
        ((*_NETWORKING, "serviceSubnet"), networking.service_subnet6, "serviceSubnet"),
    ]
    for index, subnet in enumerate(topology.subnets):
        where = (*_SPEC, "fabric", "subnets", index, "cidr")
        ranges.append((where, subnet.cidr6, f"subnet {subnet.name}"))
    for index, (where, later, _) in enumerate(ranges):
        for _, earlier, name in ranges[:index]:
            if later is not None and earlier is not None and later.overlaps(earlier):
                message = f"{later} overlaps {name} {earlier}"
                yield Contradiction(where, message, "no address may belong to two networks")


def _subnets(topology: Topology) -> Iterator[Contradiction]:
    """The MTU must do for the overlay, even if the file asks for BGP: ``--network`` may ask otherwise."""
    for index, subnet in enumerate(topology.subnets):
        where = (*_SPEC, "fabric", "subnets", index)
        wanted = sum(node.subnet == subnet.name for node in topology.nodes)
        if subnet.cidr6 is None:
            message = f"subnet {subnet.name} has no IPv6 network, and the cluster is dual-stack"
            hint = f"write both, as {subnet.cidr},fd00:192:168:{index + 10}::/64"
            yield Contradiction((*where, "cidr"), message, hint)
        elif subnet.cidr6.num_addresses - 2 < wanted:  # without the subnet's router anycast and the router
            room = max(subnet.cidr6.num_addresses - 2, 0)
            message = f"{wanted} nodes do not fit into {subnet.cidr6}, which has room for {room}"
            yield Contradiction((*where, "cidr"), message, "write a /64")
        if subnet.mtu - ENCAPSULATION6 < LEAST_MTU:
            message = (
                f"{subnet.mtu} leaves Pods of the overlay less than the {LEAST_MTU} bytes that IPv6 needs"
            )
            hint = f"write {LEAST_MTU + ENCAPSULATION6} or more"
            yield Contradiction((*where, "mtu"), message, hint)


def _node_addresses(topology: Topology) -> Iterator[Contradiction]:
    subnets = {subnet.name: subnet for subnet in topology.subnets}
    taken: dict[IPv6Address, str] = {}
    for index, node in enumerate(topology.nodes):
        subnet = subnets.get(node.subnet)
        if node.address6 is None or subnet is None or subnet.cidr6 is None:
            continue
        where = (*_SPEC, "nodes", index, "address")
        wrong = _no_host_address(node.address6, subnet)
        if wrong:
            yield Contradiction(where, wrong)
        if node.address6 in taken:
            yield Contradiction(where, f"{node.address6} is the address of {taken[node.address6]}")
        taken.setdefault(node.address6, f"node {node.name}")


def _no_host_address(address: IPv6Address, subnet: Subnet) -> str:
    """Why a host cannot have the address there, or nothing."""
    cidr = subnet.cidr6
    if cidr is None or address not in cidr:
        return f"{address} is outside subnet {subnet.name} {cidr}"
    if address == subnet.gateway6:
        return f"{address} is the router's address in subnet {subnet.name}"
    return f"{address} is no host's address in {cidr}" if address == cidr.network_address else ""


def _external_hosts(topology: Topology) -> Iterator[Contradiction]:
    """An IPv6 address lies where the IPv4 address lies, in a subnet or outside, and nobody else has it."""
    networking = topology.networking
    taken = {node.address6: f"node {node.name}" for node in topology.nodes if node.address6 is not None}
    ranges = (("podSubnet", networking.pod_subnet6), ("serviceSubnet", networking.service_subnet6))
    for index, host in enumerate(topology.external_hosts):
        address = host.address6
        if address is None:
            continue
        where = (*_SPEC, "external", "hosts", index, "address")
        home = next((subnet for subnet in topology.subnets if host.address in subnet.cidr), None)
        near = next((s for s in topology.subnets if s.cidr6 is not None and address in s.cidr6), None)
        if home is not None:
            wrong = _no_host_address(address, home)
            if wrong:
                yield Contradiction(where, wrong)
        elif near is not None:
            message = f"{address} is in subnet {near.name}, and {host.address} is not"
            yield Contradiction(where, message, "a host has one wire: take both addresses from it")
        if address in taken:
            yield Contradiction(where, f"{address} is the address of {taken[address]}")
        taken.setdefault(address, f"external host {host.name}")
        for name, network in ranges:
            if network is not None and address in network:
                yield Contradiction(where, f"{address} is inside {name} {network}")


def _written(spec: Mapping[str, Any]) -> int:
    return len(spec.get("external", {}).get("hosts", ()))
