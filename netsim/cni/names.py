"""What hosts and interfaces are called: the one place where a Pod's or node's name becomes a plan name.

``cluster``, the kubelet and the captures use these too, to find a Pod's host in the plan.
"""

from __future__ import annotations

import hashlib

from netsim.base.address import Mac, mac_from_name
from netsim.plan.entries import HostName

# IFNAMSIZ (16) of linux/if.h, less the terminating zero.
INTERFACE_NAME_LIMIT = 15
HASH_DIGITS = 8

BRIDGE = "br0"  # the bridge of a switch host
UPLINK = "eth0"  # the first interface of a node, a Pod and an external host
_TAKEN = frozenset({BRIDGE, "lo"})


def node_host(name: str) -> HostName:
    """The host of a node."""
    return HostName(name)


def pod_host(namespace: str, name: str) -> HostName:
    """The host of a Pod; the slash keeps it apart from every node and switch."""
    return HostName(f"{namespace}/{name}")


def host_veth(pod: HostName) -> str:
    """The node's end of a Pod's veth pair, in the shape that the CNI bridge plugin gives it.

    Source: containernetworking/plugins pkg/ip/link_linux.go, RandomVethName: ``veth`` and four random
    bytes in hex. Here the bytes are a hash of the Pod's name, so that two runs agree.
    """
    return f"veth{_digest(pod)}"


def switch_port(host: str) -> str:
    """The port of a switch that ``host`` is plugged into: the host's own name where it fits."""
    if len(host) <= INTERFACE_NAME_LIMIT and host not in _TAKEN:
        return host
    return f"{host[: INTERFACE_NAME_LIMIT - HASH_DIGITS - 1]}-{_digest(host)}"


def interface_mac(host: str, interface: str) -> Mac:
    """A stable MAC. Real ones are random too, with the local bit set: neither the bridge plugin nor
    flannel (pkg/mac) derives a MAC from an address."""
    return mac_from_name(f"{host}/{interface}")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]
