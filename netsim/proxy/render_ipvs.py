"""The IPVS mode's rules and sets on a node: ``iptables-save`` and ``ipset list``.

``show`` calls this with ``Proxier.service_ports()``; nobody reads it back. (The virtual servers are the
kernel's: ``net.ipvs.render_ipvsadm`` prints them with their connections.) Sets, chains, rules and their order
are those of Kubernetes pkg/proxy/ipvs/proxier.go (ipsetInfo, ipsetWithIptablesChain, iptablesJumpChain,
writeIptablesRules), in the form that iptables-save gives them. Rules that name a set without members are
left out, as there, but for those of KUBE-IPVS-FILTER.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from netsim.proxy.render_iptables import (
    FILTER_CHAINS,
    NAT_CHAINS,
    PORTALS_JUMP,
    REJECT,
    render_table,
)
from netsim.proxy.service_port import ServicePort
from netsim.proxy.settings import ProxySettings

_HASH, _HASH_TWICE, _HASH_NET, _BITMAP, _ADDRESS = (
    "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port", "hash:ip",
)  # fmt: skip
HASH_HEADER = "family inet hashsize 1024 maxelem 65536"  # util/ipset, the defaults of an IPSet
BITMAP_HEADER = "range 0-65535"
REVISIONS = {_HASH: 5, _HASH_TWICE: 5, _HASH_NET: 7, _BITMAP: 3, _ADDRESS: 4}  # of ipset 7's kernel modules

LOOP_BACK, CLUSTER_IP, EXTERNAL_IP = "KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP"
LOAD_BALANCER, HEALTH_CHECK, IPVS_IPS = (
    "KUBE-LOAD-BALANCER", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
)  # fmt: skip
NODE_PORTS = {
    "TCP": "KUBE-NODE-PORT-TCP",
    "UDP": "KUBE-NODE-PORT-UDP",
    "SCTP": "KUBE-NODE-PORT-SCTP-HASH",
}
SETS = (  # ipsetInfo: name, type
    (LOOP_BACK, _HASH_TWICE),
    (CLUSTER_IP, _HASH),
    (EXTERNAL_IP, _HASH),
    ("KUBE-EXTERNAL-IP-LOCAL", _HASH),
    (LOAD_BALANCER, _HASH),
    ("KUBE-LOAD-BALANCER-FW", _HASH),
    ("KUBE-LOAD-BALANCER-LOCAL", _HASH),
    ("KUBE-LOAD-BALANCER-SOURCE-IP", _HASH_TWICE),
    ("KUBE-LOAD-BALANCER-SOURCE-CIDR", _HASH_NET),
    (NODE_PORTS["TCP"], _BITMAP),
    ("KUBE-NODE-PORT-LOCAL-TCP", _BITMAP),
    (NODE_PORTS["UDP"], _BITMAP),
    ("KUBE-NODE-PORT-LOCAL-UDP", _BITMAP),
    (NODE_PORTS["SCTP"], _HASH),
    ("KUBE-NODE-PORT-LOCAL-SCTP-HASH", _HASH),
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
    HEALTH_CHECK: "Kubernetes health check node port",
}
_ACCESS = '-m comment --comment "kubernetes ipvs access filter"'
_FIREWALL = '-m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL'
FILTER_JUMPS = {
    "INPUT": (
        f"{_ACCESS} -j KUBE-IPVS-FILTER",
        _FIREWALL,
        '-m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT',
        "-j KUBE-FIREWALL",
    ),
    "FORWARD": (
        _FIREWALL,
        '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    ),
    "OUTPUT": (f"{_ACCESS} -j KUBE-IPVS-OUT-FILTER", "-j KUBE-FIREWALL"),
}
NAT_JUMPS = {
    "PREROUTING": (PORTALS_JUMP,),
    "INPUT": (),
    "OUTPUT": (PORTALS_JUMP,),
    "POSTROUTING": ('-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',),
}
PORT_MATCH = "dst,dst"


class Node(NamedTuple):
    """The node whose tables are printed. ``addresses`` are those that its node ports have."""

    name: str
    addresses: tuple[IPv4Address, ...]


def sets_of(ports: Sequence[ServicePort], node: Node) -> dict[str, list[str]]:
    """The members of every set, in ascending order."""
    members: dict[str, dict[str, None]] = {name: {} for name, _ in SETS}
    for port in ports:
        protocol = port.protocol.lower()
        for endpoint in port.endpoints:
            if endpoint.node == node.name:
                at = endpoint.backend
                members[LOOP_BACK][f"{at.address},{protocol}:{at.port},{at.address}"] = None
        addresses = (
            (CLUSTER_IP, (port.cluster_ip,)),
            (EXTERNAL_IP, port.external_ips),
            (LOAD_BALANCER, port.load_balancer_ips),
        )
        for name, found in addresses:
            for address in found:
                members[name][f"{address},{protocol}:{port.port}"] = None
                if address not in node.addresses:
                    members[IPVS_IPS][str(address)] = None
        if port.node_port and port.protocol == "SCTP":
            for address in node.addresses:
                members[NODE_PORTS["SCTP"]][f"{address},sctp:{port.node_port}"] = None
        elif port.node_port:
            members[NODE_PORTS[port.protocol]][str(port.node_port)] = None
    return {name: sorted(found, key=_member_order) for name, found in members.items()}


def render_ipset(ports: Sequence[ServicePort], settings: ProxySettings, node: Node) -> str:
    """What ``ipset list`` prints, without the size in memory and the hash's start value."""
    members = sets_of(ports, node)
    rules = render_rules(members, settings)
    blocks = []
    for name, kind in SETS:
        lines = [
            f"Name: {name}",
            f"Type: {kind}",
            f"Revision: {REVISIONS[kind]}",
            f"Header: {BITMAP_HEADER if kind == _BITMAP else HASH_HEADER}",
            f"References: {rules.count(f'--match-set {name} ')}",
            f"Number of entries: {len(members[name])}",
            "Members:",
            *members[name],
        ]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks)


def render_ipvs_iptables(ports: Sequence[ServicePort], settings: ProxySettings, node: Node) -> str:
    """What ``iptables-save`` prints in this mode: as many rules however many Services there are."""
    return render_rules(sets_of(ports, node), settings)


def render_rules(members: dict[str, list[str]], settings: ProxySettings) -> str:
    """The tables filter and nat for these sets."""
    return render_table("filter", FILTER_JUMPS, _filter_chains()) + render_table(
        "nat", NAT_JUMPS, _nat_chains(members, settings)
    )


def _filter_chains() -> dict[str, list[str]]:
    served = (LOAD_BALANCER, CLUSTER_IP, EXTERNAL_IP, "KUBE-EXTERNAL-IP-LOCAL")
    return {
        "KUBE-FIREWALL": list(FILTER_CHAINS["KUBE-FIREWALL"]),
        "KUBE-FORWARD": list(FILTER_CHAINS["KUBE-FORWARD"][1:]),  # nothing about INVALID
        "KUBE-IPVS-FILTER": [
            *(f"-m set --match-set {name} {PORT_MATCH} -j RETURN" for name in served),
            f"-m set --match-set {HEALTH_CHECK} dst -j RETURN",
            f"-m conntrack --ctstate NEW -m set --match-set {IPVS_IPS} dst {REJECT}",
        ],
        "KUBE-IPVS-OUT-FILTER": [],
        "KUBE-NODE-PORT": [f"{_comment(HEALTH_CHECK)} -m set --match-set {HEALTH_CHECK} dst -j ACCEPT"],
        "KUBE-PROXY-FIREWALL": [],
        "KUBE-SOURCE-RANGES-FIREWALL": ["-j DROP"],
    }


def _nat_chains(members: dict[str, list[str]], settings: ProxySettings) -> dict[str, list[str]]:
    return {
        "KUBE-LOAD-BALANCER": ["-j KUBE-MARK-MASQ"],
        "KUBE-MARK-MASQ": list(NAT_CHAINS["KUBE-MARK-MASQ"]),
        "KUBE-NODE-PORT": [
            f"-p {protocol.lower()} {_match(name, PORT_MATCH if protocol == 'SCTP' else 'dst')}"
            " -j KUBE-MARK-MASQ"
            for protocol, name in NODE_PORTS.items()
            if members[name]
        ],
        "KUBE-POSTROUTING": [
            *([f"{_match(LOOP_BACK, 'dst,dst,src')} -j MASQUERADE"] if members[LOOP_BACK] else ()),
            *NAT_CHAINS["KUBE-POSTROUTING"],
        ],
        "KUBE-SERVICES": _service_rules(members, settings),
    }


def _service_rules(members: dict[str, list[str]], settings: ProxySettings) -> list[str]:
    rules = ["-s 127.0.0.0/8 -j RETURN"]
    if members[LOAD_BALANCER]:
        rules.append(f"{_match(LOAD_BALANCER, PORT_MATCH)} -j KUBE-LOAD-BALANCER")
    if members[CLUSTER_IP]:
        if settings.cluster_cidr is not None:
            outside = f"! -s {settings.cluster_cidr} {_match(CLUSTER_IP, PORT_MATCH)}"
        else:
            outside = _match(CLUSTER_IP, "src,dst")
        rules.append(f"{outside} -j KUBE-MARK-MASQ")
    if members[EXTERNAL_IP]:
        match = _match(EXTERNAL_IP, PORT_MATCH)
        rules += [
            f"{match} -j KUBE-MARK-MASQ",
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


def _match(name: str, fields: str) -> str:
    return f"{_comment(name)} -m set --match-set {name} {fields}"


def _comment(name: str) -> str:
    return f'-m comment --comment "{COMMENTS[name]}"'


def _member_order(member: str) -> tuple[int, str]:
    address = member.partition(",")[0]
    return (int(IPv4Address(address)) if "." in address else int(address), member)
