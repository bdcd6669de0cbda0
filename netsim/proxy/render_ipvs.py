"""The IPVS mode's rules and sets on a node: ``iptables-save`` and ``ipset list``.

``show`` calls this with ``Proxier.service_ports()``; nobody reads it back. (The virtual servers are the
kernel's: ``net.ipvs.render_ipvsadm`` prints them with their connections.) Sets, chains, rules and their order
are those of Kubernetes pkg/proxy/ipvs/proxier.go (ipsetInfo, ipsetWithIptablesChain, iptablesJumpChain,
writeIptablesRules), in the form that iptables-save gives them. Rules that name a set without members are
left out, as there, but for those of KUBE-IPVS-FILTER. The proxier of IPv6 has sets of its own, ``KUBE-6-…``
(ipset.go, NewIPSet), and what is said here of names holds for its names once they are printed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netsim.base.address import IpAddress
from netsim.base.rule_counts import RuleCounts
from netsim.plan.entries import PodTraffic
from netsim.proxy.render_iptables import (
    FILTER_CHAINS,
    LENGTHS,
    NAT_CHAINS,
    NAT_JUMPS,
    REJECT,
    Table,
    render_counted,
    render_table,
)
from netsim.proxy.service_port import PROTOCOL_NUMBERS, ServicePort
from netsim.proxy.settings import ProxySettings

_HASH, _HASH_TWICE, _HASH_NET, _BITMAP, _ADDRESS = (
    "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port", "hash:ip",
)  # fmt: skip
HASH_HEADERS = {  # util/ipset, the defaults of an IPSet
    4: "family inet hashsize 1024 maxelem 65536 bucketsize 12",
    6: "family inet6 hashsize 1024 maxelem 65536 bucketsize 12",
}
BITMAP_HEADER = "range 0-65535"
REVISIONS = {_HASH: 6, _HASH_TWICE: 6, _HASH_NET: 8, _BITMAP: 3, _ADDRESS: 5}  # Linux 5.11: bucketsize

LOOP_BACK, CLUSTER_IP, EXTERNAL_IP = "KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP"
LOAD_BALANCER, HEALTH_CHECK, IPVS_IPS = (
    "KUBE-LOAD-BALANCER", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
)  # fmt: skip
EXTERNAL_IP_LOCAL, LOAD_BALANCER_LOCAL = "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER-LOCAL"
FIREWALL, SOURCE_IP, SOURCE_CIDR = (
    "KUBE-LOAD-BALANCER-FW", "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR",
)  # fmt: skip
NODE_PORTS_LOCAL = {
    "TCP": "KUBE-NODE-PORT-LOCAL-TCP",
    "UDP": "KUBE-NODE-PORT-LOCAL-UDP",
    "SCTP": "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
}
NODE_PORTS = {
    "TCP": "KUBE-NODE-PORT-TCP",
    "UDP": "KUBE-NODE-PORT-UDP",
    "SCTP": "KUBE-NODE-PORT-SCTP-HASH",
}
SETS = (  # ipsetInfo: name, type
    (LOOP_BACK, _HASH_TWICE),
    (CLUSTER_IP, _HASH),
    (EXTERNAL_IP, _HASH),
    (EXTERNAL_IP_LOCAL, _HASH),
    (LOAD_BALANCER, _HASH),
    (FIREWALL, _HASH),
    (LOAD_BALANCER_LOCAL, _HASH),
    (SOURCE_IP, _HASH_TWICE),
    (SOURCE_CIDR, _HASH_NET),
    (NODE_PORTS["TCP"], _BITMAP),
    (NODE_PORTS_LOCAL["TCP"], _BITMAP),
    (NODE_PORTS["UDP"], _BITMAP),
    (NODE_PORTS_LOCAL["UDP"], _BITMAP),
    (NODE_PORTS["SCTP"], _HASH),
    (NODE_PORTS_LOCAL["SCTP"], _HASH),
    (HEALTH_CHECK, _BITMAP),
    (IPVS_IPS, _ADDRESS),
)
COMMENTS = {
    LOOP_BACK: "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    CLUSTER_IP: "Kubernetes service cluster ip + port for masquerade purpose",
    EXTERNAL_IP: "Kubernetes service external ip + port for masquerade and filter purpose",
    LOAD_BALANCER: "Kubernetes service lb portal",
    NODE_PORTS["TCP"]: "Kubernetes nodeport TCP port for masquerade purpose",
    NODE_PORTS["UDP"]: "Kubernetes nodeport UDP port for masquerade purpose",
    NODE_PORTS["SCTP"]: "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
    EXTERNAL_IP_LOCAL: "Kubernetes service external ip + port with externalTrafficPolicy=local",
    LOAD_BALANCER_LOCAL: "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
    FIREWALL: "Kubernetes service load balancer ip + port for load balancer with sourceRange",
    SOURCE_IP: "Kubernetes service load balancer ip + port + source IP for packet filter purpose",
    SOURCE_CIDR: "Kubernetes service load balancer ip + port + source cidr for packet filter purpose",
    NODE_PORTS_LOCAL["TCP"]: "Kubernetes nodeport TCP port with externalTrafficPolicy=local",
    NODE_PORTS_LOCAL["UDP"]: "Kubernetes nodeport UDP port with externalTrafficPolicy=local",
    NODE_PORTS_LOCAL["SCTP"]: "Kubernetes nodeport SCTP port with type 'hash ip:port' with"
    " externalTrafficPolicy=local",
    HEALTH_CHECK: "Kubernetes health check node port",
}
_ACCESS = '-m comment --comment "kubernetes ipvs access filter"'
_FIREWALL = '-m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL'
FILTER_JUMPS = {
    "INPUT": (
        f"{_ACCESS} -j KUBE-IPVS-FILTER",
        _FIREWALL,
        '-m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT',
    ),
    "FORWARD": (
        _FIREWALL,
        '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    ),
    "OUTPUT": (f"{_ACCESS} -j KUBE-IPVS-OUT-FILTER",),
}
LOOPBACKS = {4: "127.0.0.0/8", 6: "::1/128"}
NAMED_SET = re.compile(r"(--match-set |^Name: )KUBE-(\S+)", re.MULTILINE)
LONGEST_NAME = 31  # of a set
PORT_MATCH = "dst,dst"
MARK_CHAIN = "KUBE-MARK-MASQ"


Jumps = dict[str, tuple[str, ...]]
Chains = dict[str, list[str]]


class Node(NamedTuple):
    """The node whose tables are printed. ``addresses`` are those that its node ports have, ``primary`` is the
    first of them, and ``pods`` how it tells Pods' packets."""

    name: str
    addresses: tuple[IpAddress, ...]
    primary: IpAddress | None = None
    pods: PodTraffic | None = None


def sets_of(ports: Sequence[ServicePort], node: Node) -> dict[str, list[str]]:
    """The members of every set, in ascending order."""
    members: dict[str, dict[str, None]] = {name: {} for name, _ in SETS}
    for port in ports:
        protocol = port.protocol.lower()
        for endpoint in port.endpoints:
            if endpoint.node == node.name:
                at = endpoint.backend
                members[LOOP_BACK][f"{at.address},{protocol}:{at.port},{at.address}"] = None
        for name, address in _addresses(port):
            members[name][f"{address},{protocol}:{port.port}"] = None
            if address not in node.addresses:
                members[IPVS_IPS][str(address)] = None
        for name, member in (*_firewall(port, node), *_node_ports(port, node)):
            members[name][member] = None
    return {name: sorted(found, key=_member_order) for name, found in members.items()}


def _addresses(port: ServicePort) -> Iterator[tuple[str, IpAddress]]:
    """The sets that have addresses of a port, each with such an address."""
    yield CLUSTER_IP, port.cluster_ip
    for address in port.external_ips:
        yield EXTERNAL_IP_LOCAL if port.external_local else EXTERNAL_IP, address
    for address in port.load_balancer_ips:
        yield LOAD_BALANCER, address
        if port.external_local:
            yield LOAD_BALANCER_LOCAL, address
        if port.source_ranges:
            yield FIREWALL, address


def _firewall(port: ServicePort, node: Node) -> Iterator[tuple[str, str]]:
    """Who may use the load balancer's addresses."""
    own = node.primary
    for address in port.load_balancer_ips:
        where = f"{address},{port.protocol.lower()}:{port.port}"
        for network in port.source_ranges:
            single = network.prefixlen == LENGTHS[network.version]  # printed without it (ipset lib/print.c)
            yield SOURCE_CIDR, f"{where},{network.network_address if single else network}"
        if own is not None and any(own in network for network in port.source_ranges):
            yield SOURCE_IP, f"{where},{address}"


def _node_ports(port: ServicePort, node: Node) -> Iterator[tuple[str, str]]:
    if port.health_check_node_port:
        yield HEALTH_CHECK, str(port.health_check_node_port)
    if not port.node_port:
        return
    for sets in (NODE_PORTS, NODE_PORTS_LOCAL) if port.external_local else (NODE_PORTS,):
        if port.protocol == "SCTP":
            for address in node.addresses:
                yield sets["SCTP"], f"{address},sctp:{port.node_port}"
        else:
            yield sets[port.protocol], str(port.node_port)


def render_ipset(ports: Sequence[ServicePort], settings: ProxySettings, node: Node) -> str:
    """What ``ipset list`` prints, without the size in memory and the hash's start value."""
    members = sets_of(ports, node)
    references = Counter(f"KUBE-{name}" for _, name in NAMED_SET.findall(_rules(members, settings, node)))
    blocks = []
    for name, kind in SETS:
        lines = [
            f"Name: {name}",
            f"Type: {kind}",
            f"Revision: {REVISIONS[kind]}",
            f"Header: {BITMAP_HEADER if kind == _BITMAP else HASH_HEADERS[settings.family]}",
            f"References: {references[name]}",
            f"Number of entries: {len(members[name])}",
            "Members:",
            *members[name],
        ]
        blocks.append("".join(f"{line}\n" for line in lines))
    return _with_names("\n".join(blocks), settings)


def render_ipvs_iptables(ports: Sequence[ServicePort], settings: ProxySettings, node: Node) -> str:
    """What ``iptables-save`` prints in this mode, and ``ip6tables-save`` for a proxier of IPv6: as many rules
    however many Services there are."""
    return _with_names(_rules(sets_of(ports, node), settings, node), settings)


def render_ipvs_counters(
    ports: Sequence[ServicePort],
    settings: ProxySettings,
    node: Node,
    seen: RuleCounts,
    bridges: Collection[str],
) -> str:
    """What ``iptables-save -c`` prints on a node that has seen these packets. (The sets have no counters:
    kube-proxy makes them without, pkg/proxy/ipvs/ipset/ipset.go, createSet.)"""
    members = sets_of(ports, node)
    return _with_names(render_counted(*_tables(members, settings, node), seen, members, bridges), settings)


def _rules(members: dict[str, list[str]], settings: ProxySettings, node: Node) -> str:
    return "".join(render_table(*table) for table in _tables(members, settings, node))


def _with_names(text: str, settings: ProxySettings) -> str:
    """The text with the sets' names in the proxier's family, which are cut off where they are too long."""
    if settings.family == 4:
        return text
    return NAMED_SET.sub(lambda found: found[1] + f"KUBE-6-{found[2]}"[:LONGEST_NAME], text)


def _tables(members: dict[str, list[str]], settings: ProxySettings, node: Node) -> tuple[Table, Table]:
    jumps, chains = FILTER_JUMPS, _filter_chains(members, settings.family)
    if settings.family == 4:
        jumps, chains = _with_kubelet(jumps, chains)
    return Table("filter", jumps, chains), Table("nat", NAT_JUMPS, _nat_chains(members, settings, node))


def _with_kubelet(jumps: Jumps, chains: Chains) -> tuple[Jumps, Chains]:
    """With its chain, which is there before kube-proxy's rules. In IPv6 it has none, and kube-proxy makes one
    in iptables mode only (kubelet_network_linux.go, syncIPTablesRules)."""
    chain = "KUBE-FIREWALL"
    own = {hook: (*rules, f"-j {chain}") for hook, rules in jumps.items() if hook != "FORWARD"}
    return {**jumps, **own}, {**chains, chain: list(FILTER_CHAINS[chain])}


def _filter_chains(members: dict[str, list[str]], family: int) -> dict[str, list[str]]:
    served = (LOAD_BALANCER, CLUSTER_IP, EXTERNAL_IP, EXTERNAL_IP_LOCAL)
    allowed = (name for name in (SOURCE_CIDR, SOURCE_IP) if members[name])
    guard = f"{_match(FIREWALL, PORT_MATCH)} -j KUBE-SOURCE-RANGES-FIREWALL"
    return {
        "KUBE-FORWARD": list(FILTER_CHAINS["KUBE-FORWARD"][1:]),  # nothing about INVALID
        "KUBE-IPVS-FILTER": [
            *(f"-m set --match-set {name} {PORT_MATCH} -j RETURN" for name in served),
            f"-m set --match-set {HEALTH_CHECK} dst -j RETURN",
            f"-m conntrack --ctstate NEW -m set --match-set {IPVS_IPS} dst {REJECT[family]}",
        ],
        "KUBE-IPVS-OUT-FILTER": list(_kept_from_node(members)),
        "KUBE-NODE-PORT": [f"{_comment(HEALTH_CHECK)} -m set --match-set {HEALTH_CHECK} dst -j ACCEPT"],
        "KUBE-PROXY-FIREWALL": [guard] if members[FIREWALL] else [],
        "KUBE-SOURCE-RANGES-FIREWALL": [
            *(f"{_match(name, 'dst,dst,src')} -j RETURN" for name in allowed),
            "-j DROP",
        ],
    }


def _kept_from_node(members: dict[str, list[str]]) -> Iterator[str]:
    """What keeps the node from a balancer whose source ranges it is not in, which it asks from the balancer's
    own address (lbNoNodeAccessIPPortProtocolEntries)."""
    for member in members[FIREWALL]:
        address, _, where = member.partition(",")
        if f"{member},{address}" not in members[SOURCE_IP]:
            protocol, _, port = where.partition(":")
            server = f"--vproto {PROTOCOL_NUMBERS[protocol.upper()]} --vaddr {address} --vport {port}"
            yield f"-s {address}/{LENGTHS[ip_address(address).version]} -m ipvs {server} -j DROP"


def _nat_chains(members: dict[str, list[str]], settings: ProxySettings, node: Node) -> dict[str, list[str]]:
    local = f"{_match(LOAD_BALANCER_LOCAL, PORT_MATCH)} -j RETURN"
    return {
        "KUBE-LOAD-BALANCER": [*([local] if members[LOAD_BALANCER_LOCAL] else ()), "-j KUBE-MARK-MASQ"],
        "KUBE-MARK-MASQ": list(NAT_CHAINS["KUBE-MARK-MASQ"]),
        "KUBE-NODE-PORT": [
            f"-p {protocol.lower()} {_match(name, PORT_MATCH if protocol == 'SCTP' else 'dst')} -j {target}"
            for protocol in NODE_PORTS
            for name, target in ((NODE_PORTS_LOCAL[protocol], "RETURN"), (NODE_PORTS[protocol], MARK_CHAIN))
            if members[name]
        ],
        "KUBE-POSTROUTING": [
            *([f"{_match(LOOP_BACK, 'dst,dst,src')} -j MASQUERADE"] if members[LOOP_BACK] else ()),
            *NAT_CHAINS["KUBE-POSTROUTING"],
        ],
        "KUBE-SERVICES": _service_rules(members, settings, node),
    }


def _service_rules(members: dict[str, list[str]], settings: ProxySettings, node: Node) -> list[str]:
    rules = [f"-s {LOOPBACKS[settings.family]} -j RETURN"]
    if members[LOAD_BALANCER]:
        rules.append(f"{_match(LOAD_BALANCER, PORT_MATCH)} -j KUBE-LOAD-BALANCER")
    if members[CLUSTER_IP]:
        rules.append(f"{_outsiders(settings, node)} -j {MARK_CHAIN}")
    for name in (EXTERNAL_IP, EXTERNAL_IP_LOCAL):
        if not members[name]:
            continue
        match = _match(name, PORT_MATCH)
        rules += [f"{match} -j {MARK_CHAIN}"] if name == EXTERNAL_IP else []
        rules += [
            f"{match} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT",
            f"{match} -m addrtype --dst-type LOCAL -j ACCEPT",
        ]
    rules.append("-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
    rules += [
        f"-m set --match-set {name} {PORT_MATCH} -j ACCEPT"
        for name in (CLUSTER_IP, LOAD_BALANCER)
        if members[name]
    ]
    return rules


def _outsiders(settings: ProxySettings, node: Node) -> str:
    """What is masqueraded on its way to a ClusterIP; without a detector, what a ClusterIP itself sends."""
    if settings.masquerade_all:
        return _match(CLUSTER_IP, PORT_MATCH)
    if node.pods is None:
        return _match(CLUSTER_IP, "src,dst")
    source = f"! -s {node.pods.source}" if node.pods.source is not None else f"! -i {node.pods.device}"
    return f"{source} {_match(CLUSTER_IP, PORT_MATCH)}"


def _match(name: str, fields: str) -> str:
    return f"{_comment(name)} -m set --match-set {name} {fields}"


def _comment(name: str) -> str:
    return f'-m comment --comment "{COMMENTS[name]}"'


def _member_order(member: str) -> tuple[int, str]:
    address = member.partition(",")[0]
    return (int(address) if address.isdigit() else int(ip_address(address)), member)
