"""kube-proxy's configuration, and what follows from it for node ports.

Names and defaults are those of KubeProxyConfiguration (Kubernetes pkg/proxy/apis/config/v1alpha1).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, ip_network
from types import MappingProxyType
from typing import NamedTuple

from netsim.base.address import IpNetwork
from netsim.plan.entries import HostName, LocalAddresses, Schedule

IPTABLES, IPVS, NFTABLES = "iptables", "ipvs", "nftables"
LOOPBACK, LOOPBACKS = IPv4Address("127.0.0.1"), IPv4Network("127.0.0.0/8")
PRIMARY = "primary"  # of nodePortAddresses: the node's own address, and no other


class DetectLocalMode(Enum):
    """How kube-proxy tells Pods' packets; NONE stands for a detector that tells nothing (no-op)."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"
    NONE = ""


class ProxySettings(NamedTuple):
    """kube-proxy's configuration. ``cluster_cidr`` is where Pods are, for ClusterCIDR: sources outside of it
    are masqueraded on their way to a ClusterIP. None: nobody is, as in kube-proxy.

    ``scheduler`` and ``strict_arp`` are IPVS mode's; ``hosts`` are the nodes' hosts in the plan;
    ``node_port_addresses`` are networks, or ``primary``, or nothing for the mode's own choice;
    ``pod_interface`` is the bridge, or the prefix, of the detectors that look at interfaces. ``family`` is
    that of the proxier's addresses: a dual-stack kube-proxy has two, which know nothing of each other; what
    is not of a family is set up by the one that is not ``second``.
    ``conntrack_max`` is the size of the nodes' connection tables; None leaves it to the kernel.
    """

    cluster_cidr: IpNetwork | None = None
    mode: str = IPTABLES
    scheduler: Schedule = Schedule.RR
    strict_arp: bool = False
    hosts: Mapping[str, HostName] = MappingProxyType({})
    service_cidrs: tuple[IpNetwork, ...] = ()
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    detect_local: DetectLocalMode = DetectLocalMode.CLUSTER_CIDR
    pod_interface: str = ""
    family: int = 4
    conntrack_max: int | None = None
    second: bool = False


def local_addresses(settings: ProxySettings) -> LocalAddresses:
    """The addresses of a node that its node ports are at."""
    return _local_addresses(
        settings.mode, settings.node_port_addresses, settings.localhost_node_ports, settings.family
    )


@lru_cache(maxsize=16)
def _local_addresses(mode: str, texts: tuple[str, ...], localhost: bool, family: int) -> LocalAddresses:
    """iptables mode takes every address if it is told nothing, nftables mode the primary one.

    A list without a network of the family leaves it all of its addresses (NewNodePortAddresses).
    Only iptables mode has them at loopback addresses, and only at those of IPv4. Source:
    pkg/proxy/util/nodeport_addresses.go, and the rules that the proxiers make of it; KEP-3866 for nftables.
    """
    iptables = mode == IPTABLES
    if texts == (PRIMARY,) or (mode == NFTABLES and not texts):
        return LocalAddresses(primary=True, refuses_at_all=iptables, family=family)
    networks = tuple(ip_network(text, strict=False) for text in texts if (":" in text) is (family == 6))
    if any(network.prefixlen == 0 for network in networks):
        networks = ()
    with_loopback = not networks or any(network.overlaps(LOOPBACKS) for network in networks)
    loopback = iptables and localhost and family == 4 and with_loopback
    return LocalAddresses(loopback, networks, refuses_at_all=iptables, family=family)
