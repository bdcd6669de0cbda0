"""The iptables mode, as ``iptables-save`` prints it on a node: tables filter and nat.

``show`` calls this with ``Proxier.service_ports()``; nobody reads it back, the plan's virtual servers do
the work. Chain names, rule texts and their order are those of Kubernetes pkg/proxy/iptables/proxier.go
(syncProxyRules, writeServiceToEndpointRules, iptablesJumpChains), in the form in which iptables-save
normalises a rule: addresses and protocol first, then the matches. Chains are in alphabetical order, as
iptables-save has them; within KUBE-SERVICES, where kube-proxy has the random order of a Go map, rules are
by Service name.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Sequence
from ipaddress import IPv4Address

from netsim.proxy.service_port import ServicePort
from netsim.proxy.settings import ProxySettings

LARGE_CLUSTER_ENDPOINTS = 1000  # largeClusterEndpointsThreshold: above it, endpoint rules lose their comments
HASH_LENGTH = 16  # of base32; chain names have at most 28 characters
MARK = "0x4000"  # 1 << iptablesMasqueradeBit (14), kube-proxy's default
STATISTIC_UNITS = 0x80000000  # xt_statistic.h: a probability is stored in 31 bits

_NEW = "-m conntrack --ctstate NEW"
PORTALS_JUMP = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
_EXTERNAL = '-m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
_FIREWALL = '-m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'

# The jumps that kube-proxy prepends one after the other, in the order in which they then stand; the
# kubelet's KUBE-FIREWALL is there before it.
FILTER_JUMPS = {
    "INPUT": (
        f"{_NEW} {_FIREWALL}",
        '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
        f"{_NEW} {_EXTERNAL}",
        "-j KUBE-FIREWALL",
    ),
    "FORWARD": (
        f"{_NEW} {_FIREWALL}",
        '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        f"{_NEW} {PORTALS_JUMP}",
        f"{_NEW} {_EXTERNAL}",
    ),
    "OUTPUT": (f"{_NEW} {_FIREWALL}", f"{_NEW} {PORTALS_JUMP}", "-j KUBE-FIREWALL"),
}
FILTER_CHAINS = {
    "KUBE-EXTERNAL-SERVICES": (),
    "KUBE-FIREWALL": (
        '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections"'
        " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    ),
    "KUBE-FORWARD": (
        "-m conntrack --ctstate INVALID -j DROP",
        f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {MARK}/{MARK} -j ACCEPT',
        '-m comment --comment "kubernetes forwarding conntrack rule"'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ),
    "KUBE-NODEPORTS": (),
    "KUBE-PROXY-CANARY": (),
    "KUBE-PROXY-FIREWALL": (),
    "KUBE-SERVICES": (),
}
NAT_JUMPS = {
    "PREROUTING": (PORTALS_JUMP,),
    "INPUT": (),
    "OUTPUT": (PORTALS_JUMP,),
    "POSTROUTING": ('-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',),
}
NAT_CHAINS = {
    "KUBE-MARK-MASQ": (f"-j MARK --set-xmark {MARK}/{MARK}",),
    "KUBE-NODEPORTS": (),
    "KUBE-POSTROUTING": (
        f"-m mark ! --mark {MARK}/{MARK} -j RETURN",
        f"-j MARK --set-xmark {MARK}/0x0",
        '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
    ),
    "KUBE-PROXY-CANARY": (),
    "KUBE-SERVICES": (),
}
NODEPORTS_JUMP = (
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
    " -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
)
REJECT = "-j REJECT --reject-with icmp-port-unreachable"


def render_iptables(ports: Sequence[ServicePort], settings: ProxySettings) -> str:
    """What ``iptables-save`` prints for these ports, without its two comment lines for each table."""
    tables = _Rules(large=sum(len(port.endpoints) for port in ports) > LARGE_CLUSTER_ENDPOINTS)
    for port in ports:
        tables.add(port, settings)
    tables.nat["KUBE-SERVICES"].append(NODEPORTS_JUMP)
    return render_table("filter", FILTER_JUMPS, tables.filter) + render_table("nat", NAT_JUMPS, tables.nat)


def service_chain(port: ServicePort) -> str:
    """KUBE-SVC-…: where a port's connections are spread (servicePortPolicyClusterChain)."""
    return f"KUBE-SVC-{_hash(port.name + port.protocol.lower())}"


def external_chain(port: ServicePort) -> str:
    """KUBE-EXT-…: where what comes to node ports and external addresses goes first (externalChainName)."""
    return f"KUBE-EXT-{_hash(port.name + port.protocol.lower())}"


def endpoint_chain(port: ServicePort, target: str) -> str:
    """KUBE-SEP-…: where they are sent to one endpoint, ``ip:port`` (servicePortEndpointChainName)."""
    return f"KUBE-SEP-{_hash(port.name + port.protocol.lower() + target)}"


def render_probability(choices: int) -> str:
    """1/choices as iptables-save prints it back.

    kube-proxy writes ten decimals (computeProbability); xt_statistic keeps 31 bits of that, rounded, and
    iptables prints those with eleven (extensions/libxt_statistic.c).
    """
    written = float(f"{1 / choices:.10f}")
    return f"{int(written * STATISTIC_UNITS + 0.5) / STATISTIC_UNITS:.11f}"


class _Rules:
    """The rules of both tables by chain, while ports are added."""

    def __init__(self, *, large: bool) -> None:
        self.filter = {chain: list(rules) for chain, rules in FILTER_CHAINS.items()}
        self.nat = {chain: list(rules) for chain, rules in NAT_CHAINS.items()}
        self._large = large

    def add(self, port: ServicePort, settings: ProxySettings) -> None:
        """The rules of one port."""
        if not port.lists.cluster:
            self._refuse(port)
            return
        chain = service_chain(port)
        match = _match(port, "cluster IP", port.cluster_ip)
        self.nat["KUBE-SERVICES"].append(f"{match} -j {chain}")
        self._from_outside(port)
        spread = self.nat[chain] = []
        if settings.cluster_cidr is not None:
            spread.append(f"! -s {settings.cluster_cidr} {match} -j KUBE-MARK-MASQ")
        self._spread(port, spread)

    def _refuse(self, port: ServicePort) -> None:
        what = "has no endpoints"
        match = _match(port, what, port.cluster_ip)
        self.filter["KUBE-SERVICES"].append(f"{match} {REJECT}")
        outside = [_match(port, what, at) for at in (*port.external_ips, *port.load_balancer_ips)]
        if port.node_port:
            outside.append(_node_port_match(port, f"{port.name} {what}", "-m addrtype --dst-type LOCAL "))
        self.filter["KUBE-EXTERNAL-SERVICES"] += [f"{match} {REJECT}" for match in outside]

    def _from_outside(self, port: ServicePort) -> None:
        """KUBE-EXT-…: what comes by another way than the ClusterIP is masqueraded, and spread alike."""
        chain = external_chain(port)
        outside = [_match(port, "external IP", address) for address in port.external_ips]
        outside += [_match(port, "loadbalancer IP", address) for address in port.load_balancer_ips]
        self.nat["KUBE-SERVICES"] += [f"{match} -j {chain}" for match in outside]
        if port.node_port:
            self.nat["KUBE-NODEPORTS"].append(f"{_node_port_match(port, port.name)} -j {chain}")
        if outside or port.node_port:
            comment = f'-m comment --comment "masquerade traffic for {port.name} external destinations"'
            self.nat[chain] = [f"{comment} -j KUBE-MARK-MASQ", f"-j {service_chain(port)}"]

    def _spread(self, port: ServicePort, rules: list[str]) -> None:
        endpoints = port.lists.cluster
        for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
            target = endpoint_chain(port, endpoint.target)
            rules.append(self._choice(port, endpoint.target, left) + f"-j {target}")
            self.nat[target] = self._endpoint(port, endpoint.target)

    def _choice(self, port: ServicePort, target: str, left: int) -> str:
        comment = self._comment(f"{port.name} -> {target}")
        if left == 1:
            return comment
        return f"{comment}-m statistic --mode random --probability {render_probability(left)} "

    def _endpoint(self, port: ServicePort, target: str) -> list[str]:
        comment, protocol = self._comment(port.name), port.protocol.lower()
        address = target.partition(":")[0]
        return [
            f"-s {address}/32 {comment}-j KUBE-MARK-MASQ",
            f"-p {protocol} {comment}-m {protocol} -j DNAT --to-destination {target}",
        ]

    def _comment(self, text: str) -> str:
        return "" if self._large else f'-m comment --comment "{text}" '


def _match(port: ServicePort, what: str, address: IPv4Address) -> str:
    protocol = port.protocol.lower()
    comment = f'-m comment --comment "{port.name} {what}"'
    return f"-d {address}/32 -p {protocol} {comment} -m {protocol} --dport {port.port}"


def _node_port_match(port: ServicePort, comment: str, where: str = "") -> str:
    protocol = port.protocol.lower()
    return f'-p {protocol} -m comment --comment "{comment}" {where}-m {protocol} --dport {port.node_port}'


def render_table(name: str, jumps: dict[str, tuple[str, ...]], chains: dict[str, list[str]]) -> str:
    lines = [f"*{name}"]
    lines += [f":{chain} ACCEPT [0:0]" for chain in jumps]
    lines += [f":{chain} - [0:0]" for chain in sorted(chains)]
    lines += [f"-A {chain} {rule}" for chain, rules in jumps.items() for rule in rules]
    lines += [f"-A {chain} {rule}" for chain in sorted(chains) for rule in chains[chain]]
    return "\n".join([*lines, "COMMIT", ""])


def _hash(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()).decode()[:HASH_LENGTH]
