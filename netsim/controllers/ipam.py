"""Pod addresses, as the host-local IPAM plugin hands them out on each node.

The kubelet asks for addresses when it starts a Pod's sandbox, one of each family that the node has a podCIDR
of, and gives them back when the sandbox is gone. A node's addresses are those of its podCIDR without the
network, cni0 (the first one) and, of IPv4, the broadcast address, next-fit: the search goes on after the last
one given, so that a replacement Pod gets a new one.
Source: containernetworking/plugins ``plugins/ipam/host-local/backend/allocator``.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from netsim.base.address import IpAddress
from netsim.base.errors import AllocationError
from netsim.controllers.controller import Wait
from netsim.objects.core import Node, Pod
from netsim.objects.meta import ObjectRef
from netsim.store.reader import Reader

GATEWAY_OFFSET = 1  # cni0 holds the first address of the podCIDR


class _NodeRange:
    """The addresses of one of a node's podCIDRs."""

    __slots__ = ("_first", "_free_after", "_network", "_number", "_size", "_taken", "cidr")

    def __init__(self, cidr: str, number: int) -> None:
        self.cidr = cidr
        self._number = number
        self._network = ip_network(cidr)
        self._first = int(self._network.network_address) + GATEWAY_OFFSET + 1
        self._size = max(int(self._last) + 1 - self._first, 0)
        self._free_after = 0
        self._taken: dict[IpAddress, ObjectRef] = {}

    @property
    def _last(self) -> IpAddress:
        """lastIP: the one before the broadcast address, which IPv6 has not."""
        last = self._network.broadcast_address
        return last - 1 if last.version == 4 else last

    def take(self, pod: ObjectRef) -> IpAddress:
        for step in range(self._size):
            number = (self._free_after + step) % self._size
            address = self._network[number + GATEWAY_OFFSET + 1]
            if address not in self._taken:
                self._taken[address] = pod
                self._free_after = number + 1
                return address
        low = self._network.network_address + GATEWAY_OFFSET
        raise AllocationError(
            f"failed to allocate for range {self._number}: no IP addresses available in range set: "
            f"{low}-{self._last}"
        )

    def give_back(self, address: IpAddress) -> None:
        del self._taken[address]


class PodAddresses:
    """All nodes' Pod addresses. A Pod is known by its ref: release it before its name is used again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ranges: dict[str, tuple[_NodeRange, ...]] = {}
        self._held: dict[ObjectRef, tuple[tuple[_NodeRange, IpAddress], ...]] = {}
        self._refused: dict[ObjectRef, str] = {}

    def allocate(self, node_name: str, pod: ObjectRef) -> tuple[IpAddress, ...]:
        """The Pod's addresses on the node, the primary family's first; asked again, the same ones.

        A hostNetwork Pod has the node's InternalIPs. Raises AllocationError, with the plugin's wording, when
        a podCIDR of the node is used up or has not been given yet; ``waits`` names the Pod until it has its
        addresses.
        """
        if pod not in self._held:
            try:
                addresses = self._allocate(node_name, pod)
            except AllocationError as error:
                self._refused[pod] = f"{error} (on {node_name})"
                raise
            self._refused.pop(pod, None)
            return addresses
        return tuple(address for _, address in self._held[pod])

    def release(self, pod: ObjectRef) -> None:
        """Give the Pod's addresses back. A Pod that holds none is no error, as in the CNI specification."""
        self._refused.pop(pod, None)
        for range_, address in self._held.pop(pod, ()):
            range_.give_back(address)

    def waits(self) -> list[Wait]:
        """The Pods that were refused an address and have not been released."""
        return [Wait(pod, text) for pod, text in self._refused.items()]

    def waiting(self) -> list[str]:
        """``waits`` as lines."""
        return [str(wait) for wait in self.waits()]

    def _allocate(self, node_name: str, pod: ObjectRef) -> tuple[IpAddress, ...]:
        node = self._reader.get(Node, node_name)
        found = self._reader.find(Pod, pod.name, pod.namespace)
        if found is not None and found.spec.host_network:
            return tuple(map(ip_address, node.internal_ips()))
        cidrs = node.spec.pod_cidrs or tuple(filter(None, (node.spec.pod_cidr,)))
        if not cidrs:
            raise AllocationError(f'node "{node_name}" pod cidr not assigned')
        ranges = self._ranges.get(node_name, ())
        if tuple(range_.cidr for range_ in ranges) != cidrs:
            ranges = tuple(_NodeRange(cidr, number) for number, cidr in enumerate(cidrs))
            self._ranges[node_name] = ranges
        taken: list[tuple[_NodeRange, IpAddress]] = []
        try:
            for range_ in ranges:
                taken.append((range_, range_.take(pod)))
        except AllocationError:
            for range_, address in taken:
                range_.give_back(address)
            raise
        self._held[pod] = tuple(taken)
        return tuple(address for _, address in taken)
