"""A ping to a ClusterIP, which no rule about a port is for: what the kernel makes of it in each mode."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.kernel.case_rules import FAMILIES, CaseRules, KernelNodes, load_rules
from tests.kernel.node import OWN
from tests.kernel.packets import ICMP, ICMP6, Unreachable
from tests.kernel.test_cases import NEEDS, OWN_CASES
from tests.kernel.verdict import Question, ask, attempt

(GROUP,) = (group for group in OWN_CASES if group["name"] == "nodeport-addresses-default-iptables")


@pytest.mark.needs(*NEEDS)
@pytest.mark.parametrize(
    ("mode", "verdict"),
    [
        ("iptables", "NOT_HANDLED"),  # it goes to where the address would be, and nobody has it
        ("nftables", "REJECT"),  # cluster-ips-check
    ],
)
@pytest.mark.parametrize(
    ("protocol", "pod", "gateway", "own", "target"),
    [
        (ICMP, "10.42.1.200", "10.42.1.1", "192.0.2.11", "10.96.6.1"),
        (ICMP6, "2001:db8:42:1::c8", "2001:db8:42:1::1", "2001:db8:0:1::11", "2001:db8:96::61"),
    ],
)
def test_a_ping_to_a_cluster_ip(
    nodes: KernelNodes, mode: str, verdict: str, protocol: int, pod: str, gateway: str, own: str, target: str
) -> None:
    rules = CaseRules(mode, GROUP)
    node = rules.kernel_node(nodes)
    load_rules(node, mode, {family: rules.text(family) for family in FAMILIES})
    for device, source, refuser in ((node.pods, pod, gateway), (OWN, own, own)):
        question = Question(device, protocol, ip_address(source), ip_address(target), 0)
        assert ask(node, question, frozenset()).verdicts == {verdict}
        refusals = [fate.seen.packet for fate in attempt(node, question, 1) if fate.seen is not None]
        refusers = {refusal.source for refusal in refusals if isinstance(refusal, Unreachable)}
        assert refusers == ({ip_address(refuser)} if verdict == "REJECT" else set())
