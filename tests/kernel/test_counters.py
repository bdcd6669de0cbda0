"""The kernel's counters judge those that netsim prints: ``iptables-save -c`` after the same connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

import pytest

from netsim.base.nat_counts import Amount, NatCounts, Opened
from tests.kernel.case_rules import CaseRules, KernelNodes, load_rules
from tests.kernel.node import OWN, KernelNode
from tests.kernel.packets import build
from tests.kernel.test_cases import NEEDS, OWN_CASES, Json, modes_of, question_of
from tests.kernel.verdict import Fate, Question, attempt

EACH = 6  # connections
BUILT_IN = ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "KUBE-POSTROUTING")
"""These see the judge's own packets, too."""
GROUPS = [
    group
    for group in OWN_CASES
    if "iptables" in modes_of(group) and "sessionAffinity: ClientIP" not in group["manifests"]
]


@pytest.mark.needs(*NEEDS, "iptables-save")
@pytest.mark.parametrize("group", GROUPS, ids=[group["name"] for group in GROUPS])
def test_the_kernel_counts_the_same(nodes: KernelNodes, group: Json) -> None:
    rules = CaseRules("iptables", group)
    node = rules.kernel_node(nodes)
    load_rules(node, "iptables", {4: rules.text(4)})
    opened: list[Opened] = []
    for packet in group["packets"]:
        if ip_address(packet["to"]).version != 4:
            continue
        question = question_of(group, packet, node)
        node.forget_connections()
        opened += [_opened(node, question, fate) for fate in attempt(node, question, EACH)]
    seen = NatCounts(opened, Amount(), Amount(), Amount())
    ours = list(_counted(rules.counters(seen, 4).splitlines()))
    theirs = list(_counted(node.namespace.run("iptables-save", "-c", "-t", "nat").splitlines()))
    assert ours == theirs
    chosen = any("-j DNAT" in line and not line.startswith("[0:0]") for line in theirs)
    assert chosen is any(one.endpoint for one in opened)
    assert opened or all(":" in packet["to"] for packet in group["packets"])


def _opened(node: KernelNode, question: Question, fate: Fate) -> Opened:
    address, _, port = fate.endpoint.rpartition(":")
    endpoint = (ip_address(address).packed, int(port)) if fate.endpoint else None
    amount = Amount(1, len(build(fate.asked)))
    local = node.owns(question.source), node.owns(question.target)
    return Opened(
        "" if question.device == OWN else question.device, question.protocol, question.source.packed,
        question.target.packed, question.port, endpoint, False, amount, *local, True,
    )  # fmt: skip


def _counted(lines: Iterable[str]) -> Iterator[str]:
    """The rules behind their counters, but for those of the built-in chains."""
    return (line for line in lines if line.startswith("[") and line.split()[2] not in BUILT_IN)
