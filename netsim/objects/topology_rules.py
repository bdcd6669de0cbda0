"""What the fields of a Topology must be for one another: ranges that do not overlap, names that exist, room
for all.

``topology_schema`` asks for the ``contradictions`` of a Topology whose fields are right one by one. Without
them ``cni`` and ``controllers`` would fail later, and could not name the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from netsim.objects.change_schema import NODE_ACTIONS
from netsim.objects.dual_stack_rules import Contradiction, dual_stack
from netsim.objects.spelling import did_you_mean
from netsim.objects.topology import (
    CONNTRACK_RACE,
    DNS_OFFSET,
    EVERY_NODE,
    LINK,
    Check,
    Fault,
    Subnet,
    Topology,
)
from netsim.objects.yaml_tree import Path

_RESERVED_AS = {23456: "RFC 6793", 65535: "RFC 7300"}

_SPEC: Path = ("spec",)
_NETWORKING: Path = ("spec", "networking")
_TARGET_FIELDS = ("addresses", "reached", "order", "source")


class _Range(NamedTuple):
    where: Path
    network: IPv4Network
    name: str


def contradictions(topology: Topology, spec: Mapping[str, Any]) -> list[Contradiction]:
    """Everything that does not fit together; ``spec`` holds what was written of it."""
    return [
        *_overlaps(topology),
        *_subnets(topology),
        *_nodes(topology),
        *_node_addresses(topology, spec),
        *_pod_blocks(topology),
        *_as_numbers(topology),
        *_dns(topology),
        *_load_balancer(topology),
        *_external_hosts(topology, spec),
        *dual_stack(topology, spec),
        *_targets(topology, spec),
    ]


def _overlaps(topology: Topology) -> Iterator[Contradiction]:
    networking = topology.networking
    ranges = [
        _Range((*_NETWORKING, "podSubnet"), networking.pod_subnet, "podSubnet"),
        _Range((*_NETWORKING, "serviceSubnet"), networking.service_subnet, "serviceSubnet"),
    ]
    for index, subnet in enumerate(topology.subnets):
        where = (*_SPEC, "fabric", "subnets", index, "cidr")
        ranges.append(_Range(where, subnet.cidr, f"subnet {subnet.name}"))
    for index, later in enumerate(ranges):
        for earlier in ranges[:index]:
            if later.network.overlaps(earlier.network):
                message = f"{later.network} overlaps {earlier.name} {earlier.network}"
                yield Contradiction(later.where, message, "no address may belong to two networks")


def _subnets(topology: Topology) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for index, subnet in enumerate(topology.subnets):
        where = (*_SPEC, "fabric", "subnets", index)
        if subnet.name in seen:
            yield Contradiction((*where, "name"), f'Duplicate value: "{subnet.name}"')
        seen.add(subnet.name)
        if subnet.cidr.num_addresses < 4:
            yield Contradiction((*where, "cidr"), f"{subnet.cidr} has no room for a router and a node")


def _nodes(topology: Topology) -> Iterator[Contradiction]:
    seen: set[str] = set()
    subnets = [subnet.name for subnet in topology.subnets]
    for index, node in enumerate(topology.nodes):
        where = (*_SPEC, "nodes", index)
        if node.name in seen:
            yield Contradiction((*where, "name"), f'Duplicate value: "{node.name}"')
        seen.add(node.name)
        if node.subnet not in subnets:
            hint = did_you_mean(node.subnet, subnets) or f"the subnets are {', '.join(subnets)}"
            yield Contradiction((*where, "subnet"), f'no subnet is named "{node.subnet}"', hint)


def _node_addresses(topology: Topology, spec: Mapping[str, Any]) -> Iterator[Contradiction]:
    subnets = {subnet.name: subnet for subnet in topology.subnets}
    taken: dict[IPv4Address, str] = {}
    for index, node in enumerate(topology.nodes):
        subnet = subnets.get(node.subnet)
        if node.address is None or subnet is None:
            continue
        where = (*_SPEC, "nodes", index, "address")
        yield from _host_address(node.address, subnet, where)
        if node.address in taken:
            yield Contradiction(where, f"{node.address} is the address of node {taken[node.address]}")
        taken.setdefault(node.address, node.name)
    for subnet in topology.subnets:
        wanted = sum(node.subnet == subnet.name for node in topology.nodes)
        room = subnet.cidr.num_addresses - 3 - _pooled(topology, subnet)  # network, broadcast and router
        if room < wanted and subnet.cidr.num_addresses >= 4:
            where = (*_SPEC, "nodes") if "nodes" in spec else (*_SPEC, "fabric", "subnets")
            place = f"subnet {subnet.name} {subnet.cidr}"
            message = f"{wanted} nodes do not fit into {place}, which has room for {room}"
            yield Contradiction(where, message, "widen the subnet or add another")


def _pooled(topology: Topology, subnet: Subnet) -> int:
    """How many addresses for hosts the load balancer's pool takes from a subnet."""
    pool = topology.load_balancer.pool if topology.load_balancer is not None else None
    if pool is None or not pool.subnet_of(subnet.cidr):
        return 0
    ends = (subnet.cidr.network_address, subnet.cidr.broadcast_address)
    return pool.num_addresses - sum(end in pool for end in ends)


def _host_address(address: IPv4Address, subnet: Subnet, where: Path) -> Iterator[Contradiction]:
    if address not in subnet.cidr:
        yield Contradiction(where, f"{address} is outside subnet {subnet.name} {subnet.cidr}")
    elif address == subnet.gateway:
        yield Contradiction(where, f"{address} is the router's address in subnet {subnet.name}")
    elif address in (subnet.cidr.network_address, subnet.cidr.broadcast_address):
        yield Contradiction(where, f"{address} is no host's address in {subnet.cidr}")


def _pod_blocks(topology: Topology) -> Iterator[Contradiction]:
    networking = topology.networking
    size, pods = networking.node_cidr_mask_size, networking.pod_subnet
    where = (*_NETWORKING, "nodeCIDRMaskSize")
    if size < pods.prefixlen:
        yield Contradiction(where, f"a /{size} for each node does not fit into podSubnet {pods}")
        return
    blocks = 2 ** (size - pods.prefixlen)
    if blocks < len(topology.nodes):
        message = (
            f"podSubnet {pods} has {blocks} {'block' if blocks == 1 else 'blocks'} of /{size}, and there are "
            f"{len(topology.nodes)} nodes"
        )
        hint = "widen podSubnet, or give each node less with a larger nodeCIDRMaskSize"
        yield Contradiction((*_NETWORKING, "podSubnet"), message, hint)


def _as_numbers(topology: Topology) -> Iterator[Contradiction]:
    """The nodes' AS and the next one, which is the router's, are two that a network may have."""
    own = topology.networking.bgp.as_number
    for number in (own, own + 1):
        if number in _RESERVED_AS:
            named = str(number) if number == own else f"{number}, which the router would have,"
            message = f"AS {named} is reserved ({_RESERVED_AS[number]})"
            hint = "private ones are 64512 to 65534, and 4200000000 to 4294967294 (RFC 6996)"
            yield Contradiction((*_NETWORKING, "bgp", "asNumber"), message, hint)


def _dns(topology: Topology) -> Iterator[Contradiction]:
    services, address = topology.networking.service_subnet, topology.dns.cluster_ip
    where = (*_SPEC, "dns", "clusterIP")
    if address is None:
        if services.num_addresses <= DNS_OFFSET + 1:
            message = f"{services} has no tenth address, which kube-dns gets"
            hint = "widen it, or set dns.clusterIP"
            yield Contradiction((*_NETWORKING, "serviceSubnet"), message, hint)
    elif address not in services:
        yield Contradiction(where, f"{address} is outside serviceSubnet {services}")
    elif address == services.network_address + 1:
        yield Contradiction(where, f"{address} is the address of the Service default/kubernetes")
    elif address in (services.network_address, services.broadcast_address):
        yield Contradiction(where, f"{address} is no Service's address in {services}")


def _load_balancer(topology: Topology) -> Iterator[Contradiction]:
    """The pool lies on one wire, and nobody else has its addresses."""
    if topology.load_balancer is None:
        return
    where, pool = (*_SPEC, "loadBalancer", "pool"), topology.load_balancer.pool
    networking = topology.networking
    for name, network in (("podSubnet", networking.pod_subnet), ("serviceSubnet", networking.service_subnet)):
        if pool.overlaps(network):
            yield Contradiction(where, f"{pool} overlaps {name} {network}")
    for subnet in topology.subnets:
        if pool.overlaps(subnet.cidr) and not pool.subnet_of(subnet.cidr):
            message = f"{pool} overlaps subnet {subnet.name} {subnet.cidr}"
            yield Contradiction(where, message, "a pool lies inside of a subnet, or apart from all")
    holders = [(subnet.gateway, f"the router in subnet {subnet.name}") for subnet in topology.subnets]
    holders += [(node.address, f"node {node.name}") for node in topology.nodes if node.address is not None]
    holders += [(host.address, f"external host {host.name}") for host in topology.external_hosts]
    for address, who in holders:
        if address in pool:
            yield Contradiction(where, f"{pool} holds {address}, the address of {who}")


def _external_hosts(topology: Topology, spec: Mapping[str, Any]) -> Iterator[Contradiction]:
    written = len(spec.get("external", {}).get("hosts", ()))
    networking = topology.networking
    ranges = {"podSubnet": networking.pod_subnet, "serviceSubnet": networking.service_subnet}
    names: set[str] = set()
    addresses = {node.address: f"node {node.name}" for node in topology.nodes if node.address is not None}
    addresses |= {subnet.gateway: f"the router in subnet {subnet.name}" for subnet in topology.subnets}
    for index, host in enumerate(topology.external_hosts[:written]):
        where = (*_SPEC, "external", "hosts", index)
        if host.name in names:
            yield Contradiction((*where, "name"), f'Duplicate value: "{host.name}"')
        names.add(host.name)
        if host.address in addresses:
            yield Contradiction(
                (*where, "address"), f"{host.address} is the address of {addresses[host.address]}"
            )
        addresses.setdefault(host.address, f"external host {host.name}")
        for name, network in ranges.items():
            if host.address in network:
                yield Contradiction((*where, "address"), f"{host.address} is inside {name} {network}")


def _targets(topology: Topology, spec: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Nodes and external hosts that changes, faults and checks name, and that there are not."""
    known = {
        "node": [node.name for node in topology.nodes],
        "external": [host.name for host in topology.external_hosts],
    }
    named = [
        ((*_SPEC, "changes", index, change.action), f"node/{change.arguments[change.action]}")
        for index, change in enumerate(topology.changes)
        if change.action in NODE_ACTIONS
    ]
    for index, fault in enumerate(topology.faults):
        named += _named_by_fault(fault, (*_SPEC, "faults", index, fault.kind))
    for index, check in enumerate(topology.checks):
        named += _named(check, (*_SPEC, "checks", index))
    for where, target in named:
        kind, _, name = target.partition("/")
        if kind in known and name not in known[kind]:
            hint = did_you_mean(name, known[kind]) or f"there are {', '.join(known[kind])}"
            yield Contradiction(where, f'no {"node" if kind == "node" else "external host"} "{name}"', hint)


def _named_by_fault(fault: Fault, where: Path) -> Iterator[tuple[Path, str]]:
    value = fault.arguments[fault.kind]
    if fault.kind == CONNTRACK_RACE and value != EVERY_NODE:
        yield where, f"node/{value}"
    elif fault.kind == LINK:
        for end in [value] if isinstance(value, str) else value:
            yield where, end


def _named(check: Check, where: Path) -> Iterator[tuple[Path, str]]:
    yield (*where, "from"), check.origin
    inner = (*where, "expect", "not") if check.negate else (*where, "expect")
    for field in _TARGET_FIELDS:
        targets = check.expect.get(field, ())
        if isinstance(targets, str):
            yield (*inner, field), targets
        else:
            yield from (((*inner, field, index), target) for index, target in enumerate(targets))
    arguments = check.arguments
    if "via" in arguments:
        yield (*where, "via"), f"node/{arguments['via']}"
    if check.verb == "table":
        yield (*where, "table", "node"), f"node/{arguments['table']['node']}"
    elif check.verb == "ping":
        yield (*where, "ping"), arguments["ping"]
    elif check.verb == "query" and "server" in arguments["query"]:
        yield (*where, "query", "server"), arguments["query"]["server"]
    elif check.verb == "capture":
        yield from _named(arguments["during"], (*where, "during"))
