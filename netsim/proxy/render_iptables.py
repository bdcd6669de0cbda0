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
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from netsim.base.address import IpAddress
from netsim.base.rule_counts import Amount, RuleCounts
from netsim.plan.entries import Place, PodTraffic
from netsim.proxy.endpoints import ServiceEndpoint
from netsim.proxy.service_port import ServicePort
from netsim.proxy.settings import LOOPBACK, LOOPBACKS, ProxySettings, local_addresses

if TYPE_CHECKING:
    from netsim.proxy.replay_iptables import Counters

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
NODEPORTS_COMMENT = (
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
)
REJECT = {
    4: "-j REJECT --reject-with icmp-port-unreachable",
    6: "-j REJECT --reject-with icmp6-port-unreachable",
}
LENGTHS = {4: 32, 6: 128}
DROP = "-j DROP"
NO_LOOPBACK = {4: f"! -d {LOOPBACKS} ", 6: "! -d ::1/128 "}
FROM_NODE = "-m addrtype --src-type LOCAL"


def render_iptables(
    ports: Sequence[ServicePort],
    settings: ProxySettings,
    place: Place,
    addresses: Sequence[IpAddress] = (),
) -> str:
    """What ``iptables-save`` prints on a node, without its two comment lines for each table.

    ``place`` is the node, ``addresses`` are its own, of which ``settings`` may choose for node ports. For a
    proxier of family 6 it is what ``ip6tables-save`` prints.
    """
    tables = _rules(ports, settings, place, addresses)
    return render_table("filter", FILTER_JUMPS, tables.filter) + render_table("nat", NAT_JUMPS, tables.nat)


def render_counters(
    ports: Sequence[ServicePort],
    settings: ProxySettings,
    place: Place,
    addresses: Sequence[IpAddress],
    seen: RuleCounts,
) -> str:
    """What ``iptables-save -c`` prints on a node that has seen these packets."""
    tables = _rules(ports, settings, place, addresses)
    filtering = Table("filter", FILTER_JUMPS, tables.filter)
    return render_counted(filtering, Table("nat", NAT_JUMPS, tables.nat), seen)


class Table(NamedTuple):
    """A table: the jumps from its built-in chains, and the other chains."""

    name: str
    jumps: dict[str, tuple[str, ...]]
    chains: dict[str, list[str]]


def render_counted(
    filtering: Table,
    nat: Table,
    seen: RuleCounts,
    sets: Mapping[str, Sequence[str]] | None = None,
    bridges: Collection[str] = (),
) -> str:
    """Two tables with their counters. ``sets`` are the members of those that rules ask; what comes by one of
    the ``bridges`` came by a port of it."""
    from netsim.proxy.replay_iptables import replayed_filter, replayed_nat

    members = {name: frozenset(found) for name, found in (sets or {}).items()}
    filtered = replayed_filter({**filtering.jumps, **filtering.chains}, seen.filter, members)
    translated = replayed_nat({**nat.jumps, **nat.chains}, seen.nat, members, bridges)
    return render_table(*filtering, filtered) + render_table(*nat, translated)


def _rules(
    ports: Sequence[ServicePort], settings: ProxySettings, place: Place, addresses: Sequence[IpAddress]
) -> _Rules:
    large = sum(len(port.endpoints) for port in ports) > LARGE_CLUSTER_ENDPOINTS
    tables = _Rules(settings, place, large=large)
    for port in ports:
        tables.add(port)
    tables.nat["KUBE-SERVICES"] += _node_ports_jumps(settings, place, addresses)
    return tables


def service_chain(port: ServicePort) -> str:
    """KUBE-SVC-…: where a port's connections are spread (servicePortPolicyClusterChain)."""
    return f"KUBE-SVC-{_hash(port.name + port.protocol.lower())}"


def local_chain(port: ServicePort) -> str:
    """KUBE-SVL-…: where they are spread over the node's own endpoints (servicePortPolicyLocalChainName)."""
    return f"KUBE-SVL-{_hash(port.name + port.protocol.lower())}"


def external_chain(port: ServicePort) -> str:
    """KUBE-EXT-…: where what comes to node ports and external addresses goes first (externalChainName)."""
    return f"KUBE-EXT-{_hash(port.name + port.protocol.lower())}"


def firewall_chain(port: ServicePort) -> str:
    """KUBE-FW-…: where loadBalancerSourceRanges are looked at (serviceFirewallChainName)."""
    return f"KUBE-FW-{_hash(port.name + port.protocol.lower())}"


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

    def __init__(self, settings: ProxySettings, place: Place, *, large: bool) -> None:
        self.filter = {chain: list(rules) for chain, rules in FILTER_CHAINS.items()}
        self.nat = {chain: list(rules) for chain, rules in NAT_CHAINS.items()}
        if settings.family == 6:
            self.filter["KUBE-FIREWALL"] = []  # the kubelet's rule is against route_localnet, which is IPv4's
        self._masquerade_all = settings.masquerade_all
        self._place = place
        self._large = large

    def add(self, port: ServicePort) -> None:
        """The rules of one port."""
        cluster, local = port.lists.cluster_at(self._place.names), port.lists.local_at(self._place.names)
        inside = local if port.internal_local else cluster
        outside = local if port.external_local else cluster
        self._to_cluster_ip(port, served=bool(inside))
        if port.lists.any:
            self._capture_from_outside(port)
        if not outside:
            self._refuse_from_outside(port)
        if port.health_check_node_port:
            self._accept_health_checks(port)
        if port.lists.any and port.externally_accessible:
            self._from_outside(port, served=bool(outside))
        for chain, endpoints in ((service_chain(port), cluster), (local_chain(port), local)):
            self._spread(port, chain, endpoints)
        for endpoint in sorted({endpoint.target for endpoint in (*cluster, *local)}):
            self.nat[endpoint_chain(port, endpoint)] = self._endpoint(port, endpoint)

    def _to_cluster_ip(self, port: ServicePort, *, served: bool) -> None:
        if not served:
            match = _match(port, _lack(port), port.cluster_ip)
            self.filter["KUBE-SERVICES"].append(f"{match} {_refusal(port)}")
            return
        chain = local_chain(port) if port.internal_local else service_chain(port)
        match = _match(port, "cluster IP", port.cluster_ip)
        self.nat["KUBE-SERVICES"].append(f"{match} -j {chain}")
        rules = self.nat.setdefault(chain, [])
        if self._masquerade_all:
            rules.append(f"{match} -j KUBE-MARK-MASQ")
        elif self._place.pods is not None:
            outsiders = _match(port, "cluster IP", port.cluster_ip, not_from=self._place.pods)
            rules.append(f"{outsiders} -j KUBE-MARK-MASQ")

    def _capture_from_outside(self, port: ServicePort) -> None:
        """What comes by another way than the ClusterIP goes to a chain of its own."""
        chain, guard = external_chain(port), firewall_chain(port)
        guarded = bool(port.source_ranges)
        services = self.nat["KUBE-SERVICES"]
        services += [f"{_match(port, 'external IP', at)} -j {chain}" for at in port.external_ips]
        for at in port.load_balancer_ips:
            services.append(f"{_match(port, 'loadbalancer IP', at)} -j {guard if guarded else chain}")
            if guarded:
                match = _match(port, f"traffic not accepted by {guard}", at)
                self.filter["KUBE-PROXY-FIREWALL"].append(f"{match} {DROP}")
        if port.load_balancer_ips and guarded:
            self.nat[guard] = self._guard(port)
        if port.node_port:
            match = _node_port_match(port, port.name)
            self.nat["KUBE-NODEPORTS"].append(f"{match} -j {chain}")

    def _guard(self, port: ServicePort) -> list[str]:
        """KUBE-FW-…: who may use a load balancer's address; a node that may, also by that address."""
        chain = external_chain(port)
        comment = f'-m comment --comment "{port.name} loadbalancer IP"'
        allowed: list[object] = list(port.source_ranges)
        if any(self._place.address in network for network in port.source_ranges if self._place.address):
            allowed += [_host(address) for address in port.load_balancer_ips]
        end = f'-m comment --comment "other traffic to {port.name} will be dropped by KUBE-PROXY-FIREWALL"'
        return [*(f"{_from(str(source))}{comment} -j {chain}" for source in allowed), end]

    def _refuse_from_outside(self, port: ServicePort) -> None:
        """What no short cut of KUBE-EXT-… has taken has nowhere to go."""
        lack = _lack(port)
        outside = [_match(port, lack, at) for at in (*port.external_ips, *port.load_balancer_ips)]
        if port.node_port:
            outside.append(_node_port_match(port, f"{port.name} {lack}", "-m addrtype --dst-type LOCAL "))
        self.filter["KUBE-EXTERNAL-SERVICES"] += [f"{match} {_refusal(port)}" for match in outside]

    def _accept_health_checks(self, port: ServicePort) -> None:
        comment = f'-m comment --comment "{port.name} health check node port"'
        rule = f"-p tcp {comment} -m tcp --dport {port.health_check_node_port} -j ACCEPT"
        self.filter["KUBE-NODEPORTS"].append(rule)

    def _from_outside(self, port: ServicePort, *, served: bool) -> None:
        """KUBE-EXT-…: masqueraded, for the endpoint may be elsewhere; with policy Local, only for the node
        itself, and Pods and the node have a short cut to all endpoints."""
        chain = service_chain(port)
        rules = self.nat[external_chain(port)] = []
        destinations = f"for {port.name} external destinations"
        if not port.external_local:
            rules.append(f'-m comment --comment "masquerade traffic {destinations}" -j KUBE-MARK-MASQ')
        else:
            if self._place.pods is not None:
                comment = f'-m comment --comment "pod traffic {destinations}"'
                rules.append(f"{_pods(self._place.pods)}{comment} -j {chain}")
            for what, target in (("masquerade", "KUBE-MARK-MASQ"), ("route", chain)):
                comment = f'-m comment --comment "{what} LOCAL traffic {destinations}"'
                rules.append(f"{comment} {FROM_NODE} -j {target}")
        if served:
            rules.append(f"-j {local_chain(port) if port.external_local else chain}")

    def _spread(self, port: ServicePort, chain: str, endpoints: Sequence[ServiceEndpoint]) -> None:
        """The jumps to endpoints: first the one that remembers the client, then one at random."""
        if not endpoints:
            return
        rules = self.nat.setdefault(chain, [])
        if port.affinity:
            for endpoint in endpoints:
                target = endpoint_chain(port, endpoint.target)
                recent = f"-m recent --rcheck --seconds {port.affinity} --reap {_list(port, target)}"
                rules.append(f"{self._arrow(port, endpoint.target)}{recent} -j {target}")
        for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
            chance = f"-m statistic --mode random --probability {render_probability(left)} "
            jump = f"-j {endpoint_chain(port, endpoint.target)}"
            rules.append(f"{self._arrow(port, endpoint.target)}{chance if left > 1 else ''}{jump}")

    def _endpoint(self, port: ServicePort, target: str) -> list[str]:
        comment, protocol = self._comment(port.name), port.protocol.lower()
        source = _host(ip_address(target.rpartition(":")[0].strip("[]")))
        recent = f"-m recent --set {_list(port, endpoint_chain(port, target))} " if port.affinity else ""
        return [
            f"-s {source} {comment}-j KUBE-MARK-MASQ",
            f"-p {protocol} {comment}{recent}-m {protocol} -j DNAT --to-destination {target}",
        ]

    def _arrow(self, port: ServicePort, target: str) -> str:
        return self._comment(f"{port.name} -> {target}")

    def _comment(self, text: str) -> str:
        return "" if self._large else f'-m comment --comment "{text}" '


def _node_ports_jumps(settings: ProxySettings, place: Place, addresses: Sequence[IpAddress]) -> list[str]:
    """The last rules of KUBE-SERVICES: to every address that is local, or to each that was chosen."""
    chosen = local_addresses(settings)
    if not chosen.primary and not chosen.networks:
        but = "" if chosen.loopback else NO_LOOPBACK[settings.family]
        return [f"{but}{NODEPORTS_COMMENT} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]
    if chosen.primary:
        found = [place.address] if place.address is not None else []
    else:
        candidates = [LOOPBACK, *addresses] if chosen.loopback else addresses
        found = [at for at in candidates if any(at in network for network in chosen.networks)]
    return [f"-d {_host(address)} {NODEPORTS_COMMENT} -j KUBE-NODEPORTS" for address in found]


def _lack(port: ServicePort) -> str:
    return "has no local endpoints" if port.lists.any else "has no endpoints"


def _refusal(port: ServicePort) -> str:
    """Where there is an endpoint elsewhere, silence lets a load balancer's client try again."""
    return DROP if port.lists.any else REJECT[port.cluster_ip.version]


def _list(port: ServicePort, chain: str) -> str:
    mask = "255.255.255.255" if port.cluster_ip.version == 4 else ":".join(["ffff"] * 8)
    return f"--name {chain} --mask {mask} --rsource"


def _host(address: IpAddress) -> str:
    return f"{address}/{LENGTHS[address.version]}"


def _from(source: str) -> str:
    """``-s SOURCE``; iptables-save leaves out one that is everything."""
    return "" if source.endswith("/0") else f"-s {source} "


def _pods(pods: PodTraffic) -> str:
    return f"-s {pods.source} " if pods.source is not None else f"-i {pods.device} "


def _match(port: ServicePort, what: str, address: IpAddress, not_from: PodTraffic | None = None) -> str:
    protocol = port.protocol.lower()
    comment = f'-m comment --comment "{port.name} {what}"'
    source = f"! -s {not_from.source} " if not_from is not None and not_from.source is not None else ""
    device = f"! -i {not_from.device} " if not_from is not None and not_from.device else ""
    return f"{source}-d {_host(address)} {device}-p {protocol} {comment} -m {protocol} --dport {port.port}"


def _node_port_match(port: ServicePort, comment: str, where: str = "") -> str:
    protocol = port.protocol.lower()
    return f'-p {protocol} -m comment --comment "{comment}" {where}-m {protocol} --dport {port.node_port}'


def render_table(
    name: str,
    jumps: dict[str, tuple[str, ...]],
    chains: dict[str, list[str]],
    counters: Counters | None = None,
) -> str:
    """A table as iptables-save prints it; with counters, each rule behind its own (``-c``)."""
    policies = counters.policies if counters is not None else {}
    lines = [f"*{name}"]
    lines += [f":{chain} ACCEPT {_counter(policies.get(chain))}" for chain in jumps]
    lines += [f":{chain} - [0:0]" for chain in sorted(chains)]
    for chain, rules in (*jumps.items(), *sorted(chains.items())):
        for number, rule in enumerate(rules):
            counter = f"{_counter(counters.rules.get((chain, number)))} " if counters is not None else ""
            lines.append(f"{counter}-A {chain} {rule}")
    return "\n".join([*lines, "COMMIT", ""])


def _counter(amount: Amount | None) -> str:
    return f"[{amount.packets}:{amount.size}]" if amount is not None else "[0:0]"


def _hash(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()).decode()[:HASH_LENGTH]
