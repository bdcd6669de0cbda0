"""natOutgoing: what leaves the Pod network takes the node's address.

A Pod network module calls these, once for each family. They are the rules of flannel's chain
FLANNEL-POSTRTG, in its order, with ACCEPT for the RETURN that ends it (flannel-io/flannel
pkg/trafficmngr/iptables/iptables.go, masqRules and masqIP6Rules). Its two rules for Pod to Pod, one for each
end that may be on the node, are one rule for all nodes here: traffic with neither end on a node does not pass
it. Its first rule, for packets that carry kube-proxy's mark, has no counterpart: KUBE-POSTROUTING stands
before it and has already masqueraded those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network

from netsim.base.address import IpNetwork
from netsim.base.cause import Cause, Stage
from netsim.cni.podnetwork import PodNode
from netsim.plan.entries import NODES, Action, Entry, Hook, Match, Rule, Scope

MULTICAST: Mapping[int, IpNetwork] = {4: IPv4Network("224.0.0.0/4"), 6: IPv6Network("ff00::/8")}

POD_TO_POD = 100
TO_OWN_PODS = 110
FROM_PODS = 120
TO_PODS = 130


def cluster_masquerade_entries(pod_subnet: IpNetwork, owner: str) -> Iterator[Entry]:
    """The rules that are the same on every node."""
    family = pod_subnet.version

    def rule(order: int, name: str, match: Match, action: Action, text: str) -> Rule:
        cause = Cause(Stage.NAT, text)
        return Rule(NODES, Hook.POSTROUTING, order, name, match, action, owner, cause, family)

    yield rule(
        POD_TO_POD,
        "flannel-pod-to-pod",
        Match(source=pod_subnet, destination=pod_subnet),
        Action.ACCEPT,
        f"Pod to Pod inside {pod_subnet}: the source stays",
    )
    yield rule(
        FROM_PODS,
        "flannel-from-pods",
        Match(source=pod_subnet, not_destination=MULTICAST[family]),
        Action.MASQUERADE,
        f"natOutgoing: a Pod's packet leaves {pod_subnet} with the node's address",
    )
    yield rule(
        TO_PODS,
        "flannel-to-pods",
        Match(not_source=pod_subnet, destination=pod_subnet),
        Action.MASQUERADE,
        f"a source outside {pod_subnet} takes the node's address on its way to another node's Pods",
    )


def node_masquerade_entries(node: PodNode, pod_subnet: IpNetwork, owner: str) -> Iterator[Entry]:
    """The rule that differs from node to node."""
    for pod_cidr in node.pod_cidrs:
        if pod_cidr.version != pod_subnet.version:
            continue
        yield Rule(
            Scope(node.host),
            Hook.POSTROUTING,
            TO_OWN_PODS,
            "flannel-to-own-pods",
            Match(not_source=pod_subnet, destination=pod_cidr),
            Action.ACCEPT,
            owner,
            Cause(Stage.NAT, f"to a Pod of {node.host} itself: the source stays"),
            pod_cidr.version,
        )
