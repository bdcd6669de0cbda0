"""Pod addresses, as the host-local IPAM plugin hands them out on each node.

The kubelet asks for an address when it starts a Pod's sandbox and gives it back when the sandbox is gone.
A node's addresses are those of its podCIDR without the network, cni0 (the first one) and the broadcast
address, next-fit: the search goes on after the last one given, so that a replacement Pod gets a new one.
Source: containernetworking/plugins ``plugins/ipam/host-local/backend/allocator``.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from netsim.base.errors import AllocationError
from netsim.controllers.controller import Wait
from netsim.objects.core import Node, Pod
from netsim.objects.meta import ObjectRef
from netsim.store.reader import Reader

GATEWAY_OFFSET = 1  # cni0 holds the first address of the podCIDR


class _NodeRange:
    """The addresses of one node's podCIDR."""

    __slots__ = ("_first", "_free_after", "_network", "_size", "_taken", "cidr")

    def __init__(self, cidr: str) -> None:
        self.cidr = cidr
        self._network = IPv4Network(cidr)
        self._first = int(self._network.network_address) + GATEWAY_OFFSET + 1
        self._size = max(int(self._network.broadcast_address) - self._first, 0)
        self._free_after = 0
        self._taken: dict[IPv4Address, ObjectRef] = {}

    def take(self, pod: ObjectRef) -> IPv4Address:
        for step in range(self._size):
            number = (self._free_after + step) % self._size
            address = IPv4Address(self._first + number)
            if address not in self._taken:
                self._taken[address] = pod
                self._free_after = number + 1
                return address
        low, high = self._network.network_address + GATEWAY_OFFSET, self._network.broadcast_address - 1
        raise AllocationError(
            f"failed to allocate for range 0: no IP addresses available in range set: {low}-{high}"
        )

    def give_back(self, address: IPv4Address) -> None:
        del self._taken[address]


class PodAddresses:
    """All nodes' Pod addresses. A Pod is known by its ref: release it before its name is used again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ranges: dict[str, _NodeRange] = {}
        self._held: dict[ObjectRef, tuple[_NodeRange, IPv4Address]] = {}
        self._refused: dict[ObjectRef, str] = {}

    def allocate(self, node_name: str, pod: ObjectRef) -> IPv4Address:
        """The Pod's address on the node; asked again, the same one.

        A hostNetwork Pod has the node's InternalIP. Raises AllocationError, with the plugin's wording, when
        the node's podCIDR is used up or has not been given yet; ``waits`` names the Pod until it has one.
        """
        if pod in self._held:
            return self._held[pod][1]
        try:
            address = self._allocate(node_name, pod)
        except AllocationError as error:
            self._refused[pod] = f"{error} (on {node_name})"
            raise
        self._refused.pop(pod, None)
        return address

    def release(self, pod: ObjectRef) -> None:
        """Give the Pod's address back. A Pod that holds none is no error, as in the CNI specification."""
        self._refused.pop(pod, None)
        held = self._held.pop(pod, None)
        if held is not None:
            held[0].give_back(held[1])

    def waits(self) -> list[Wait]:
        """The Pods that were refused an address and have not been released."""
        return [Wait(pod, text) for pod, text in self._refused.items()]

    def waiting(self) -> list[str]:
        """``waits`` as lines."""
        return [str(wait) for wait in self.waits()]

    def _allocate(self, node_name: str, pod: ObjectRef) -> IPv4Address:
        node = self._reader.get(Node, node_name)
        found = self._reader.find(Pod, pod.name, pod.namespace)
        if found is not None and found.spec.host_network:
            return IPv4Address(node.internal_ip())
        if not node.spec.pod_cidr:
            raise AllocationError(f'node "{node_name}" pod cidr not assigned')
        range_ = self._ranges.get(node_name)
        if range_ is None or range_.cidr != node.spec.pod_cidr:
            range_ = self._ranges[node_name] = _NodeRange(node.spec.pod_cidr)
        address = range_.take(pod)
        self._held[pod] = (range_, address)
        return address
