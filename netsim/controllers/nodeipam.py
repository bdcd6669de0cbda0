"""Gives each Node its podCIDR out of the Pod subnet, in the order in which the Nodes came.

Source: kube-controller-manager ``pkg/controller/nodeipam/ipam`` (RangeAllocator).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network

from netsim.controllers.controller import Outcome, Update, Wait
from netsim.objects.core import Node
from netsim.objects.meta import ObjectRef
from netsim.store.indexes import Index
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

IPV4_BITS = 32


class NodeIpam:
    """Subjects are the Nodes that have no podCIDR."""

    name = "node-ipam-controller"
    kinds = (Node.kind,)

    def __init__(self, pod_subnet: IPv4Network, mask_size: int) -> None:
        self._subnet = pod_subnet
        self._mask_size = mask_size
        self._ranges = 1 << max(mask_size - pod_subnet.prefixlen, 0)

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """A Node that came; when one went, those that wait for a range."""
        if event.type is EventType.DELETED:
            yield event.object.ref
            yield from (node.ref for node in reader.holders(Index.POD_CIDR, ""))
        elif isinstance(event.object, Node) and not event.object.spec.pod_cidr:
            yield event.object.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """The next free range, looked for from the place where a cluster without gaps would go on."""
        node = reader.find(Node, subject.name)
        if node is None or node.spec.pod_cidr:
            return Outcome()
        held = reader.size(Node) - reader.count(Index.POD_CIDR, "")
        for step in range(self._ranges):
            cidr = str(self._range((held + step) % self._ranges))
            if not reader.count(Index.POD_CIDR, cidr):
                spec = replace(node.spec, pod_cidr=cidr, pod_cidrs=(cidr,))
                return Outcome([Update(replace(node, spec=spec))])
        text = f"no podCIDR is left: podSubnet {self._subnet} holds {self._ranges} of size /{self._mask_size}"
        return Outcome(waits=[Wait(subject, text)])

    def _range(self, number: int) -> IPv4Network:
        offset = number << (IPV4_BITS - self._mask_size)
        return IPv4Network((int(self._subnet.network_address) + offset, self._mask_size))
