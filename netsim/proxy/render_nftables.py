"""The nftables mode, as ``nft list ruleset`` prints it on a node: the table kube-proxy of one address family.

``show`` calls this with ``Proxier.service_ports()``; nobody reads it back, the plan's virtual servers do the
work. Names, rules and the order of chains are those of Kubernetes pkg/proxy/nftables/proxier.go of 1.35
(setupNFTables, syncProxyRules, hashAndTruncate), in the words of nft 1.0.6. Elements and the chains of
Services are in ascending order, where the kernel has that of a hash table and kube-proxy that of a Go map.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import NamedTuple, TypeAlias

from netsim.base.address import IpAddress, IpNetwork
from netsim.plan.entries import LocalAddresses, Place, PodTraffic
from netsim.proxy.endpoints import ServiceEndpoint
from netsim.proxy.service_port import ServicePort
from netsim.proxy.settings import ProxySettings, local_addresses

LONGEST_NAME = 240  # chainNameBaseLengthMax
MARK = "0x00004000"
_NEW = "ct state new jump"
BASE_CHAINS = {  # nftablesBaseChains with nftablesJumpChains
    "filter-prerouting-pre-dnat": (
        "type filter hook prerouting priority dstnat - 10",
        (f"{_NEW} firewall-check",),
    ),
    "filter-output-pre-dnat": ("type filter hook output priority -110", (f"{_NEW} firewall-check",)),
    "filter-input": (
        "type filter hook input priority filter",
        (f"{_NEW} nodeport-endpoints-check", f"{_NEW} service-endpoints-check"),
    ),
    "filter-forward": (
        "type filter hook forward priority filter",
        (f"{_NEW} service-endpoints-check", f"{_NEW} cluster-ips-check"),
    ),
    "filter-output": (
        "type filter hook output priority filter",
        (f"{_NEW} service-endpoints-check", f"{_NEW} cluster-ips-check"),
    ),
    "nat-prerouting": ("type nat hook prerouting priority dstnat", ("jump services",)),
    "nat-output": ("type nat hook output priority -100", ("jump services",)),
    "nat-postrouting": ("type nat hook postrouting priority srcnat", ("jump masquerading",)),
}
_BY_PORT = "inet_proto . inet_service : verdict"
_COMMENTS = {
    "cluster-ips": "Active ClusterIPs",
    "nodeport-ips": "IPs that accept NodePort traffic",
    "no-endpoint-services": "vmap to drop or reject packets to services with no endpoints",
    "no-endpoint-nodeports": "vmap to drop or reject packets to service nodeports with no endpoints",
    "firewall-ips": "destinations that are subject to LoadBalancerSourceRanges",
    "service-ips": "ClusterIP, ExternalIP and LoadBalancer IP traffic",
    "service-nodeports": "NodePort traffic",
}
_REFUSALS = ("no-endpoint-services", "no-endpoint-nodeports")  # their elements have comments


Key: TypeAlias = tuple[IpAddress | str | int, ...]
"""Of an element: address, protocol, port; or what there is of them."""


class _Family(NamedTuple):
    """How nft writes what differs by address family."""

    table: str
    address: str
    loopback: str


FAMILIES = {
    4: _Family("ip", "ipv4_addr", "127.0.0.0/8"),
    6: _Family("ip6", "ipv6_addr", "::1"),
}


def render_nftables(
    ports: Sequence[ServicePort],
    settings: ProxySettings,
    place: Place,
    addresses: Sequence[IpAddress] = (),
) -> str:
    """What ``nft list ruleset`` prints for these ports on a node.

    ``place`` is the node, ``addresses`` are its own, of which ``settings`` may choose for node ports.
    """
    table = _Table(settings, place, addresses)
    for port in ports:
        table.add(port)
    return table.text()


def service_chain(port: ServicePort) -> str:
    """service-…: where a port's connections are spread (clusterPolicyChainName)."""
    return f"service-{_base(port)}"


def local_chain(port: ServicePort) -> str:
    """local-…: where they are spread over the node's own endpoints (localPolicyChainName)."""
    return f"local-{_base(port)}"


def external_chain(port: ServicePort) -> str:
    """external-…: where what comes by another way than the ClusterIP goes first (externalChainName)."""
    return f"external-{_base(port)}"


def firewall_chain(port: ServicePort) -> str:
    """firewall-…: where loadBalancerSourceRanges are looked at (firewallChainName)."""
    return f"firewall-{_base(port)}"


def endpoint_chain(port: ServicePort, target: str) -> str:
    """endpoint-…: where they are sent to one endpoint, ``ip:port`` (servicePortEndpointChainNameBase)."""
    return f"endpoint-{_endpoint_base(port, target)}"


def affinity_set(port: ServicePort, target: str) -> str:
    """affinity-…: whom an endpoint remembers."""
    return f"affinity-{_endpoint_base(port, target)}"


def _base(port: ServicePort) -> str:
    return _hashed(_path(port))


def _endpoint_base(port: ServicePort, target: str) -> str:
    address, _, number = target.rpartition(":")
    return _hashed(f"{_path(port)}__{address.strip('[]').replace(':', '.')}/{number}")


def _path(port: ServicePort) -> str:
    return "/".join((*port.service, port.protocol.lower(), port.port_name))


def _hashed(name: str) -> str:
    """hashAndTruncate."""
    digest = b32encode(hashlib.sha256(name.encode()).digest()).decode()[:8]
    full = f"{digest}-{name}"
    return full if len(full) <= LONGEST_NAME else f"{full[: LONGEST_NAME - 3]}..."


class _Table:
    """The table while ports are added. Elements are by the set or map that has them."""

    def __init__(self, settings: ProxySettings, place: Place, addresses: Sequence[IpAddress]) -> None:
        self._settings = settings
        self._place = place
        self._family = FAMILIES[settings.family]
        self._node_ports = local_addresses(settings)
        self._elements: dict[str, dict[Key, str]] = {name: {} for name in _COMMENTS}
        self._chains: dict[str, list[str]] = {}
        self._affinity: dict[str, int] = {}
        for address in _node_port_ips(self._node_ports, place, addresses):
            self._elements["nodeport-ips"][(address,)] = str(address)

    # --- ports ---------------------------------------------------------------------------------------

    def add(self, port: ServicePort) -> None:
        """The elements and chains of one port."""
        cluster, local = port.lists.cluster_at(self._place.names), port.lists.local_at(self._place.names)
        inside = local if port.internal_local else cluster
        outside = local if port.external_local else cluster
        self._elements["cluster-ips"][(port.cluster_ip,)] = str(port.cluster_ip)
        self._dispatch(port, served_inside=bool(inside), served_outside=bool(outside))
        if inside:
            self._masquerade(port)
        if port.lists.any and port.externally_accessible:
            self._external(port, served=bool(outside))
        if port.source_ranges and port.load_balancer_ips:
            self._firewall(port)
        for chain, endpoints in ((service_chain(port), cluster), (local_chain(port), local)):
            if endpoints:
                self._spread(port, chain, endpoints)
        for target in sorted({endpoint.target for endpoint in (*cluster, *local)}):
            self._endpoint(port, target)

    def _dispatch(self, port: ServicePort, *, served_inside: bool, served_outside: bool) -> None:
        refusal = "drop" if port.lists.any else "goto reject-chain"
        if served_inside:
            chain = local_chain(port) if port.internal_local else service_chain(port)
            self._put("service-ips", port, port.cluster_ip, f"goto {chain}")
        else:
            self._put("no-endpoint-services", port, port.cluster_ip, refusal)
        outward = f"goto {external_chain(port)}"
        for address in (*port.external_ips, *port.load_balancer_ips):
            if port.lists.any:
                self._put("service-ips", port, address, outward)
            if not served_outside:
                self._put("no-endpoint-services", port, address, refusal)
        if port.source_ranges:
            for address in port.load_balancer_ips:
                self._put("firewall-ips", port, address, f"goto {firewall_chain(port)}")
        if port.node_port and port.lists.any:
            self._put("service-nodeports", port, None, outward)
        if port.node_port and not served_outside:
            self._put("no-endpoint-nodeports", port, None, refusal)

    def _put(self, name: str, port: ServicePort, address: IpAddress | None, verdict: str) -> None:
        """An element of a verdict map; ``address`` None: of one by node port."""
        protocol, number = port.protocol.lower(), port.port if address is not None else port.node_port
        where = f"{address} . " if address is not None else ""
        comment = f' comment "{port.name}"' if name in _REFUSALS else ""
        key: Key = (address, protocol, number) if address is not None else (protocol, number)
        text = f"{where}{protocol} . {number}{comment} : {verdict}"
        self._elements[name].setdefault(key, text)

    def _masquerade(self, port: ServicePort) -> None:
        chain = local_chain(port) if port.internal_local else service_chain(port)
        match = f"{self._ip} daddr {port.cluster_ip}"
        rules = self._chains.setdefault(chain, [])
        if self._settings.masquerade_all:
            rules.append(f"{match} jump mark-for-masquerade")
        elif self._place.pods is not None:
            rules.append(f"{match} {self._pods(self._place.pods, unless=True)} jump mark-for-masquerade")

    def _external(self, port: ServicePort, *, served: bool) -> None:
        rules, everywhere = self._chains.setdefault(external_chain(port), []), service_chain(port)
        if not port.external_local:
            rules.append("jump mark-for-masquerade")
        else:
            if self._place.pods is not None:
                pods = self._pods(self._place.pods)
                rules.append(f'{pods} goto {everywhere} comment "short-circuit pod traffic"')
            source = "fib saddr type local"
            rules += [
                f'{source} jump mark-for-masquerade comment "masquerade local traffic"',
                f'{source} goto {everywhere} comment "short-circuit local traffic"',
            ]
        if served:
            rules.append(f"goto {local_chain(port) if port.external_local else everywhere}")

    def _firewall(self, port: ServicePort) -> None:
        own = self._place.address
        allowed = [*port.source_ranges]
        if own is not None and any(own in network for network in port.source_ranges):
            allowed += [ip_network(address) for address in port.load_balancer_ips]
        texts = [
            str(network).removesuffix("/32").removesuffix("/128") for network in sorted(allowed, key=_at)
        ]
        self._chains[firewall_chain(port)] = [f"{self._ip} saddr != {_any_of(texts)} drop"]

    def _spread(self, port: ServicePort, chain: str, endpoints: Sequence[ServiceEndpoint]) -> None:
        rules = self._chains.setdefault(chain, [])
        if port.affinity:
            for one in endpoints:
                remembered = f"{self._ip} saddr @{affinity_set(port, one.target)}"
                rules.append(f"{remembered} goto {endpoint_chain(port, one.target)}")
        choices = (f"{n} : goto {endpoint_chain(port, one.target)}" for n, one in enumerate(endpoints))
        rules.append(f"numgen random mod {len(endpoints)} vmap {{ {', '.join(choices)} }}")

    def _endpoint(self, port: ServicePort, target: str) -> None:
        address, protocol = target.rpartition(":")[0].strip("[]"), port.protocol.lower()
        rules = [f"{self._ip} saddr {address} jump mark-for-masquerade"]
        if port.affinity:
            self._affinity[affinity_set(port, target)] = port.affinity
            rules.append(f"update @{affinity_set(port, target)} {{ {self._ip} saddr }}")
        rules.append(f"meta l4proto {protocol} dnat to {target}")
        self._chains[endpoint_chain(port, target)] = rules

    @property
    def _ip(self) -> str:
        return self._family.table

    def _pods(self, pods: PodTraffic, *, unless: bool = False) -> str:
        """The detector of local traffic (IfLocalNFT, IfNotLocalNFT)."""
        other = "!= " if unless else ""
        if pods.source is not None:
            return f"{self._ip} saddr {other}{pods.source}"
        if pods.device.endswith("+"):
            return f'iifname {other}"{pods.device[:-1]}*"'
        return f'iif {other}"{pods.device}"'

    # --- the text ------------------------------------------------------------------------------------

    def text(self) -> str:
        """All of it."""
        blocks = [*self._sets(), *self._affinity_sets(), *self._base_chains(), *self._stock_chains()]
        blocks += [_block(f"chain {name}", self._chains[name]) for name in sorted(self._chains, key=_rank)]
        head = f'table {self._ip} kube-proxy {{\n\tcomment "rules for kube-proxy"\n'
        return head + "\n".join(blocks) + "}\n"

    def _sets(self) -> Iterable[str]:
        for name, comment in _COMMENTS.items():
            if name == "nodeport-ips" and self._everywhere:
                continue
            kind = "set" if name in ("cluster-ips", "nodeport-ips") else "map"
            holds = self._family.address
            if kind == "map":
                holds = _BY_PORT if name.endswith("nodeports") else f"{holds} . {_BY_PORT}"
            lines = [f"type {holds}", f'comment "{comment}"']
            found = self._elements[name]
            if found:
                elements = [found[key] for key in sorted(found, key=_key)]
                lines.append(f"elements = {{ {_columns(elements, 2 if kind == 'set' else 1)} }}")
            yield _block(f"{kind} {name}", lines)

    def _affinity_sets(self) -> Iterable[str]:
        for name in sorted(self._affinity):
            lines = [
                f"type {self._family.address}",
                "size 65535",
                "flags dynamic,timeout",
                f"timeout {_duration(self._affinity[name])}",
            ]
            yield _block(f"set {name}", lines)

    def _base_chains(self) -> Iterable[str]:
        for name, (hook, jumps) in BASE_CHAINS.items():
            yield _block(f"chain {name}", [f"{hook}; policy accept;", *jumps])

    @property
    def _everywhere(self) -> bool:
        return not self._node_ports.primary and not self._node_ports.networks

    def _stock_chains(self) -> Iterable[str]:
        """The chains that jumps of base chains make, in their order, and then the others."""
        by_address = f"{self._ip} daddr . meta l4proto . th dport vmap"
        local = f"{self._ip} daddr @nodeport-ips"
        if self._everywhere:
            local = f"{self._ip} daddr != {self._family.loopback}"
        by_port = "meta l4proto . th dport vmap"
        fib = "fib daddr type local " if self._everywhere else ""
        helper = 'comment "helper for @no-endpoint-services / @no-endpoint-nodeports"'
        chains: Mapping[str, list[str]] = {
            "nodeport-endpoints-check": [f"{local} {by_port} @no-endpoint-nodeports"],
            "service-endpoints-check": [f"{by_address} @no-endpoint-services"],
            "firewall-check": [f"{by_address} @firewall-ips"],
            "services": [
                f"{by_address} @service-ips",
                f"{fib}{local} {by_port} @service-nodeports",
            ],
            "masquerading": [
                f"meta mark & {MARK} == 0x00000000 return",
                f"meta mark set meta mark ^ {MARK}",
                "masquerade fully-random",
            ],
            "cluster-ips-check": list(self._cluster_ips_check()),
            "mark-for-masquerade": [f"meta mark set meta mark | {MARK}"],
            "reject-chain": [helper, "reject"],
        }
        return [_block(f"chain {name}", rules) for name, rules in chains.items()]

    def _cluster_ips_check(self) -> Iterable[str]:
        comment = "Reject traffic to invalid ports of ClusterIPs"
        yield f'{self._ip} daddr @cluster-ips reject comment "{comment}"'
        if self._settings.service_cidrs:
            networks = _any_of([str(network) for network in self._settings.service_cidrs])
            yield f'{self._ip} daddr {networks} drop comment "Drop traffic to unallocated ClusterIPs"'


def _node_port_ips(
    where: LocalAddresses, place: Place, addresses: Sequence[IpAddress]
) -> Iterable[IpAddress]:
    if where.primary:
        return (place.address,) if place.address is not None else ()
    return [address for address in addresses if any(address in network for network in where.networks)]


def _block(title: str, lines: Iterable[str]) -> str:
    return "".join([f"\t{title} {{\n", *(f"\t\t{line}\n" for line in lines), "\t}\n"])


def _text(network: IpNetwork) -> str:
    """A network of one address is that."""
    return str(network.network_address if network.num_addresses == 1 else network)


def _at(network: IpNetwork) -> int:
    return int(network.network_address)


def _columns(elements: Sequence[str], count: int) -> str:
    """So many on a line, as nft lays them out."""
    lines = [", ".join(elements[at : at + count]) for at in range(0, len(elements), count)]
    return ",\n\t\t\t     ".join(lines)


def _any_of(items: Sequence[str]) -> str:
    """An anonymous set, or what nft makes of one with a single element."""
    return items[0] if len(items) == 1 else f"{{ {', '.join(items)} }}"


def _rank(chain: str) -> tuple[str, str]:
    """The chains of one Service together."""
    return chain.partition("-")[2].partition("-")[2].partition("__")[0], chain


def _key(key: Key) -> Key:
    """Elements in the order of their addresses, then of their ports."""
    return tuple(part if isinstance(part, (int, str)) else int(part) for part in key)


def _duration(seconds: int) -> str:
    """``3h``, ``1m30s``: as nft prints times."""
    parts = []
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"
