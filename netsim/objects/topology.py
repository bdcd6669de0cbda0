"""The Topology: what a cluster and the wires under it look like, as frozen values with all defaults.

A file of plain manifests has no Topology; ``Topology()`` is then what it gets. ``topology_schema`` reads
the document that users write (and is imported only when there is one); ``topologies`` in the repository
holds examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any, NamedTuple

from netsim.base.address import IpNetwork
from netsim.base.errors import Source
from netsim.objects.meta import EMPTY, Object

NETWORKS = ("overlay", "bgp")
PROXY_MODES = ("iptables", "ipvs", "nftables")
ROUND_ROBIN = "rr"  # the order of connections that reach each target in turn
DNS_OFFSET = 10  # kubeadm's constants.GetDNSIP: kube-dns has the tenth address of the Service subnet
NO_PAGES: Mapping[int, str] = MappingProxyType({})


class Overlay(NamedTuple):
    """VXLAN settings; flannel's defaults (Linux's port 8472, VNI 1)."""

    port: int = 8472
    vni: int = 1


class Bgp(NamedTuple):
    """The BGP-routed Pod network; Calico's default AS for the nodes.

    ``peering`` is ``full-mesh``, ``route-reflector`` or ``tor``; None: full-mesh in one subnet, tor over
    several.
    """

    as_number: int = 64512
    peering: str | None = None


class KubeProxy(NamedTuple):
    """kube-proxy's settings, by the names of KubeProxyConfiguration.

    ``node_port_addresses`` are networks, or ``primary``; nothing: what the mode takes by itself.
    """

    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True
    detect_local_mode: str = "ClusterCIDR"


class Conntrack(NamedTuple):
    """The nodes' connection tables: how many entries fit (kube-proxy's ``conntrack.min``, which counts on up
    to four processors), and whether kube-proxy deletes entries of UDP flows whose endpoint serves no more."""

    max: int = 131072
    udp_cleanup: bool = True


class Networking(NamedTuple):
    """kubeadm's ``networking`` names, with its defaults.

    ``pod_subnet6`` and ``service_subnet6`` make the cluster dual-stack: it has both, or neither. IPv4 is the
    primary family. ``node_cidr_mask_size_ipv6`` is kube-controller-manager's ``--node-cidr-mask-size-ipv6``.
    """

    dns_domain: str = "cluster.local"
    pod_subnet: IPv4Network = IPv4Network("10.244.0.0/16")
    node_cidr_mask_size: int = 24
    service_subnet: IPv4Network = IPv4Network("10.96.0.0/16")
    kube_proxy_mode: str = "iptables"
    ipvs_scheduler: str = "rr"
    kube_proxy: KubeProxy = KubeProxy()
    conntrack: Conntrack = Conntrack()
    pod_network: str = "overlay"
    overlay: Overlay = Overlay()
    bgp: Bgp = Bgp()
    nat_outgoing: bool = True
    pod_subnet6: IPv6Network | None = None
    service_subnet6: IPv6Network | None = None
    node_cidr_mask_size_ipv6: int = 64

    @property
    def dual_stack(self) -> bool:
        """Whether Pods and Services have addresses of both families."""
        return self.pod_subnet6 is not None

    @property
    def pod_subnets(self) -> tuple[tuple[IpNetwork, int], ...]:
        """Where Pods are, and how large each node's part of it is; the primary family first."""
        primary = (self.pod_subnet, self.node_cidr_mask_size)
        if self.pod_subnet6 is None:
            return (primary,)
        return (primary, (self.pod_subnet6, self.node_cidr_mask_size_ipv6))

    @property
    def service_subnets(self) -> tuple[IpNetwork, ...]:
        """Where Services are; the primary family first."""
        if self.service_subnet6 is None:
            return (self.service_subnet,)
        return (self.service_subnet, self.service_subnet6)


class Subnet(NamedTuple):
    """One underlay subnet: a switch, and a router port at its first address (the gateway), of each family
    that it has."""

    name: str
    cidr: IPv4Network
    mtu: int = 1500
    cidr6: IPv6Network | None = None

    @property
    def gateway(self) -> IPv4Address:
        return self.cidr.network_address + 1

    @property
    def gateway6(self) -> IPv6Address | None:
        return self.cidr6.network_address + 1 if self.cidr6 is not None else None


DEFAULT_SUBNET = Subnet(name="lan", cidr=IPv4Network("192.168.10.0/24"))
DEFAULT_SUBNET6 = IPv6Network("fd00:192:168:10::/64")
"""What the default subnet has beside it in a dual-stack cluster."""


class NodeSpec(NamedTuple):
    """``address`` None: the next free one of the subnet, from .10 upwards. ``control_plane`` taints it.

    ``address6`` None: the next free one of the subnet's IPv6 network, if it has one.
    """

    name: str
    subnet: str = DEFAULT_SUBNET.name
    address: IPv4Address | None = None
    zone: str = ""
    labels: Mapping[str, str] = EMPTY
    control_plane: bool = False
    cpu: int = 4
    address6: IPv6Address | None = None


DEFAULT_NODES = (
    NodeSpec(name="control", control_plane=True),
    NodeSpec(name="node1"),
    NodeSpec(name="node2"),
)


class Dns(NamedTuple):
    """``cluster_ip`` None: the tenth address of the Service subnet, as kubeadm picks it.

    ``corefile`` None: kubeadm's default Corefile.
    """

    cluster_ip: IPv4Address | None = None
    replicas: int = 2
    corefile: str | None = None


class LoadBalancer(NamedTuple):
    """Where Services of type LoadBalancer get their addresses; ``announce`` is how the site finds them."""

    pool: IPv4Network
    announce: str = "l2"

    @property
    def addresses(self) -> range:
        """The addresses to give, as numbers: not the pool's first and last, unless it has no others."""
        first, last = int(self.pool.network_address), int(self.pool.broadcast_address)
        return range(first + 1, last) if last - first > 1 else range(first, last + 1)


class ExternalHost(NamedTuple):
    """A host outside the cluster. A dotted ``name`` is also a name that the upstream resolver knows.

    ``http`` maps a TCP port to the page served there. ``address6`` None: it has no IPv6 address.
    """

    name: str
    address: IPv4Address
    http: Mapping[int, str] = NO_PAGES
    address6: IPv6Address | None = None


DEFAULT_EXTERNAL_HOSTS = (
    ExternalHost("example.com", IPv4Address("203.0.113.10"), {80: "Example Domain\n"}),
    ExternalHost("www.example.com", IPv4Address("203.0.113.80"), {80: "Example Domain\n"}),
)


LIBCS = ("glibc", "musl", "musl-1.2.3", "go", "c-ares")
"""Whose resolvers there are; ``musl-1.2.3`` stands for musl before 1.2.4."""


class ImageSpec(NamedTuple):
    """What a container image does when it runs: pages by port, with ``{hostname}`` and the like.

    It listens ``starts_after`` so many seconds, and takes ``answers_after`` for each answer. ``libc``
    says whose resolver its programs use; empty: as the image's name says.
    """

    image: str
    http: Mapping[int, str] = NO_PAGES
    starts_after: float = 0.0
    answers_after: float = 0.0
    libc: str = ""


class Check(NamedTuple):
    """One check as written. ``check_schema`` says which verbs there are, and what each may say.

    ``arguments`` holds the verb's value under the verb's own name (``{"connect": "ent:80"}``) and what else
    the check says of it, as ``count``; the check that a capture watches (``during``) is a Check itself.
    ``expect`` holds what must be so; with ``negate`` (``expect: {not: …}``) it must not. Texts are as they
    were written, durations are seconds, and what was not written is absent. ``origin`` is ``from``, empty
    for verbs that have none.
    """

    name: str
    origin: str
    verb: str  # resolve, query, connect, get, ping, exec, table, capture
    arguments: Mapping[str, Any]
    expect: Mapping[str, Any]
    source: Source
    negate: bool = False
    at: float | None = None  # virtual seconds after convergence
    modes: tuple[str, ...] = ()  # of kube-proxy, in which it is made; none: in all


class Change(NamedTuple):
    """Something that is done to the running cluster at a time. ``change_schema`` says what there is.

    ``arguments`` holds the action's value under the action's own name (``{"scale": "deploy/web"}``) and what
    else is said of it, as ``replicas``. ``objects`` are what ``apply`` applies, read when the files are.
    """

    at: float  # virtual seconds after convergence
    action: str  # apply, delete, scale, rollback, setImage, failNode, restoreNode
    arguments: Mapping[str, Any]
    source: Source
    objects: tuple[Object, ...] = ()


LINK = "link"
CONNTRACK_RACE = "conntrackRace"
"""The kinds of fault."""
EVERY_NODE = "*"
DIRECTIONS = ("in", "out", "both")


class Fault(NamedTuple):
    """Something that goes wrong for a while. ``fault_schema`` says what there is.

    ``arguments`` holds the kind's value under the kind's own name (``{"link": "node1"}``) and what else is
    said of it, as ``loss``. ``duration`` None: to the end.
    """

    at: float  # virtual seconds after convergence
    duration: float | None
    kind: str  # link, conntrackRace
    arguments: Mapping[str, Any]
    source: Source


class Topology(NamedTuple):
    """``load_balancer`` None: Services of type LoadBalancer get no address."""

    name: str = "cluster"
    seed: int = 1
    networking: Networking = Networking()
    subnets: tuple[Subnet, ...] = (DEFAULT_SUBNET,)
    nodes: tuple[NodeSpec, ...] = DEFAULT_NODES
    dns: Dns = Dns()
    load_balancer: LoadBalancer | None = None
    external_hosts: tuple[ExternalHost, ...] = DEFAULT_EXTERNAL_HOSTS
    images: tuple[ImageSpec, ...] = ()
    changes: tuple[Change, ...] = ()
    faults: tuple[Fault, ...] = ()
    checks: tuple[Check, ...] = ()
