"""Gives each Node its podCIDR of each family out of the Pod subnets, in the order in which the Nodes came.

Source: kube-controller-manager ``pkg/controller/nodeipam/ipam`` (RangeAllocator).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_network

from netsim.base.address import IpNetwork
from netsim.controllers.controller import Outcome, Update, Wait
from netsim.objects.core import Node
from netsim.objects.meta import ObjectRef
from netsim.store.indexes import Index
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent


class NodeIpam:
    """Subjects are the Nodes that have no podCIDR. ``subnets`` are those of Pods, the primary family's first,
    each with the prefix length of a node's part."""

    name = "node-ipam-controller"
    kinds = (Node.kind,)

    def __init__(self, subnets: Sequence[tuple[IpNetwork, int]]) -> None:
        self._subnets = subnets

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """A Node that came; when one went, those that wait for a range."""
        if event.type is EventType.DELETED:
            yield event.object.ref
            yield from (node.ref for node in reader.holders(Index.POD_CIDR, ""))
        elif isinstance(event.object, Node) and not event.object.spec.pod_cidr:
            yield event.object.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """The next free range of each family, looked for from the place where a cluster without gaps would go
        on."""
        node = reader.find(Node, subject.name)
        if node is None or node.spec.pod_cidr:
            return Outcome()
        held = reader.size(Node) - reader.count(Index.POD_CIDR, "")
        found: list[str] = []
        for subnet, mask_size in self._subnets:
            ranges = 1 << max(mask_size - subnet.prefixlen, 0)
            numbers = ((held + step) % ranges for step in range(ranges))
            cidrs = (_range(subnet, mask_size, number) for number in numbers)
            free = next((cidr for cidr in cidrs if not reader.count(Index.POD_CIDR, cidr)), None)
            if free is None:
                text = f"no podCIDR is left: podSubnet {subnet} holds {ranges} of size /{mask_size}"
                return Outcome(waits=[Wait(subject, text)])
            found.append(free)
        spec = replace(node.spec, pod_cidr=found[0], pod_cidrs=tuple(found))
        return Outcome([Update(replace(node, spec=spec))])


def _range(subnet: IpNetwork, mask_size: int, number: int) -> str:
    offset = number << (subnet.max_prefixlen - mask_size)
    return str(ip_network((int(subnet.network_address) + offset, mask_size)))
