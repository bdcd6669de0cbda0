"""The rules that netsim prints for the node of a proxy case, and the kernel with them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from netsim.base.rule_counts import RuleCounts
from netsim.plan.entries import HostName, Sysctl
from netsim.proxy.proxier import Proxier
from netsim.proxy.render_iptables import render_counters, render_iptables
from netsim.proxy.render_nftables import render_nftables
from netsim.proxy.ruleset import node_entries, place_of
from netsim.proxy.settings import IPTABLES, NFTABLES
from netsim.store.store import EventType, StoreEvent
from tests.conformance.proxy_node import nodes_of, objects_of, pod_device_of, settings_of
from tests.kernel.node import KernelNode, NodeAddresses

Json = Mapping[str, Any]
FAMILIES = (4, 6)
RESTORE = {4: "iptables-restore", 6: "ip6tables-restore"}
TABLES = {4: "ip", 6: "ip6"}
RENDER = {IPTABLES: render_iptables, NFTABLES: render_nftables}


def load_rules(node: KernelNode, mode: str, texts: Mapping[int, str]) -> None:
    """Let the kernel take rules by the mode's own tool, instead of those before; ``texts`` are by family."""
    for family, text in texts.items():
        if mode == NFTABLES:
            node.load("nft", "-f", "-", stdin=f"flush ruleset {TABLES[family]}\n{text}")
        else:
            node.load(RESTORE[family], stdin=text)


class KernelNodes:
    """The nodes that stand: one for each mode and set of addresses, for all cases that have the same."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._nodes: dict[object, KernelNode] = {}

    def get(self, mode: str, addresses: NodeAddresses, parameters: Mapping[str, int]) -> KernelNode:
        """One with these, new or not."""
        key = (mode, addresses, *parameters.items())
        if key not in self._nodes:
            self._nodes[key] = self._stack.enter_context(KernelNode(addresses, parameters))
        return self._nodes[key]


class CaseRules:
    """The node of a case's group, in one mode of kube-proxy."""

    def __init__(self, mode: str, group: Json) -> None:
        self._mode, self._group = mode, group
        self._this = next(node for node in group["nodes"] if node["name"] == group["this_node"])
        self._host = HostName(f"node/{self._this['name']}")
        self._nodes = {node.metadata.name: node for node in nodes_of(group["nodes"])}
        self._proxiers = {family: self._proxier(family) for family in FAMILIES}

    def _proxier(self, family: int) -> Proxier:
        proxier = Proxier(settings_of(self._mode, self._group, self._host, family))
        for item in (*self._nodes.values(), *objects_of(self._group["manifests"])):
            proxier.feed(StoreEvent(EventType.ADDED, item))
        return proxier

    def kernel_node(self, nodes: KernelNodes) -> KernelNode:
        """The node in the kernel, with rules of another case or without any."""
        own = [*self._own(4), *self._own(6)]
        parameters = {
            f"ipv4__conf__all__{entry.name}": entry.value
            for entry in node_entries(self._proxiers[4].settings)
            if isinstance(entry, Sysctl)
        }
        addresses = NodeAddresses(
            tuple(f"{address}/{24 if address.version == 4 else 64}" for address in own),
            tuple(self._this[key] for key in ("podCIDR", "podCIDR6") if key in self._this),
            pod_device_of(self._group["config"]),
        )
        return nodes.get(self._mode, addresses, parameters)

    def text(self, family: int) -> str:
        """The rules for one family of addresses."""
        proxier = self._proxiers[family]
        settings, this = proxier.settings, self._nodes[self._this["name"]]
        place = place_of(this, settings, self._host)
        return RENDER[self._mode](proxier.service_ports(), settings, place, self._own(family))

    def counters(self, seen: RuleCounts, family: int) -> str:
        """The rules with their counters, after these packets (iptables mode)."""
        proxier = self._proxiers[family]
        settings, this = proxier.settings, self._nodes[self._this["name"]]
        place = place_of(this, settings, self._host)
        return render_counters(proxier.service_ports(), settings, place, self._own(family), seen)

    def affinity(self, packet: Json) -> int:
        """For how many seconds the client of a packet keeps its endpoint; 0: it does not."""
        target = ip_address(packet["to"])
        ports = self._proxiers[target.version].service_ports()
        fitting = [port for port in ports if (port.cluster_ip, port.port) == (target, packet["port"])]
        fitting += [port for port in ports if port.node_port == packet["port"]]
        return max(port.affinity for port in fitting)

    def _own(self, family: int) -> list[IPv4Address | IPv6Address]:
        first = (self._this[key] for key in ("ip", "ip6") if key in self._this)
        texts = (*first, *self._this.get("extra_ips", ()))
        return [address for address in map(ip_address, texts) if address.version == family]
