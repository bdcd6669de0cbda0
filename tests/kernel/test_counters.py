"""The kernel's counters judge those that netsim prints: ``iptables-save -c`` after the same packets.

Each packet that the kernel's node is given (also those by which the judge sees that others are through) goes
to netsim's stack, too; and a connection gets the endpoint that the kernel has chosen. Then both texts must be
the same, from the first policy to the last rule. Left out are two lines of IPv6, for which the kernel has
packets of its own accord (MLD, RFC 3810).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from random import Random

import pytest

from netsim.base.rng import Rng
from netsim.net.conntrack_tuple import Tuple
from netsim.net.services import Services
from netsim.net.tables import ServerChoice, Service
from tests.conformance.proxy_node import ProxyNode
from tests.kernel.case_rules import FAMILIES, CaseRules, KernelNodes, load_rules
from tests.kernel.node import OWN, KernelNode
from tests.kernel.packets import TCP, Packet, build
from tests.kernel.test_cases import NEEDS, OWN_CASES, Json, modes_of, question_of
from tests.kernel.test_random import random_group
from tests.kernel.verdict import Fate, attempt

EACH = 6  # connections
SAVE = {4: "iptables-save", 6: "ip6tables-save"}
BUSY = {4: (), 6: (":OUTPUT ACCEPT", "-A OUTPUT -j KUBE-FIREWALL")}
SEEDS = range(100, 108)


def without_sctp(group: Json) -> Json:
    """Here the judge's socket answers for the node in SCTP; netsim's says that nobody speaks it."""
    return {**group, "packets": [packet for packet in group["packets"] if packet["protocol"] != "SCTP"]}


GROUPS = [
    *(
        (family, group)
        for group in OWN_CASES
        for family in FAMILIES
        if "iptables" in modes_of(group)
        and any(ip_address(packet["to"]).version == family for packet in group["packets"])
    ),
    *((4, without_sctp(random_group(Random(seed), seed))) for seed in SEEDS),
]


class Twin:
    """netsim's stack beside a node in the kernel: it gets what that is given."""

    def __init__(self, group: Json, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = ProxyNode("iptables", group)
        self._given: list[tuple[str, Packet]] = []
        self._endpoint = ""
        self._clients: dict[tuple[str, bytes], None] = {}
        put = KernelNode._put

        def recorded(node: KernelNode, packet: Packet, device: str) -> None:
            self._given.append((device, packet))
            put(node, packet, device)

        monkeypatch.setattr(KernelNode, "_put", recorded)
        monkeypatch.setattr(Services, "pick", self._pick)

    def _pick(
        self, service: Service, backends: Sequence[ServerChoice], source: bytes, now: float, rng: Rng
    ) -> tuple[ServerChoice, bool]:
        """In place of chance, what the kernel chose."""
        address, _, port = self._endpoint.rpartition(":")
        wanted = ip_address(address.strip("[]")).packed, int(port)
        (chosen,) = (backend for backend in backends if (backend.address, backend.port) == wanted)
        known = service.affinity is not None and (service.name, source) in self._clients
        self._clients[service.name, source] = None
        return chosen, known

    def follow(self, fates: Sequence[Fate]) -> None:
        """Get what the kernel's node was given since the last time; these are what became of connections."""
        known = {fate.asked.token: fate for fate in fates}
        for device, packet in self._given:
            fate = known.get(packet.token)
            self._endpoint = fate.endpoint if fate is not None else ""
            if packet.answers:
                assert fate is not None
                packet = self._as_here(packet, fate.asked)
            self.node.give(device, build(packet))
        self._given.clear()

    def _as_here(self, answer: Packet, asked: Packet) -> Packet:
        """An answer to where the connection comes from here: masquerading has chosen another port."""
        key = asked.protocol, asked.source.packed, asked.source_port, asked.target.packed, asked.port
        flow = self.node.flow_of(Tuple(*key))
        assert flow is not None
        target, port = ip_address(flow.reply.destination), flow.reply.destination_port
        return answer._replace(target=target, port=port)


@pytest.mark.needs(*NEEDS, *SAVE.values())
@pytest.mark.parametrize(("family", "group"), GROUPS, ids=[f"{group['name']}-{of}" for of, group in GROUPS])
def test_the_kernel_counts_the_same(
    nodes: KernelNodes, family: int, group: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = CaseRules("iptables", group)
    node = rules.kernel_node(nodes)
    load_rules(node, "iptables", {family: rules.text(family)})
    twin = Twin(group, monkeypatch)
    for packet in group["packets"]:
        if ip_address(packet["to"]).version == family:
            question = question_of(group, packet, node)
            node.forget_connections()
            twin.node.rest()
            fates = attempt(node, question, EACH)
            twin.follow(fates)
            if question.device != OWN or node.owns(question.source):  # else no answer finds the way
                _answer(node, fates)
                twin.follow(fates)
    ours = rules.counters(twin.node.counts(family), family).splitlines()
    theirs = node.namespace.run(SAVE[family], "-c").splitlines()
    assert list(_quiet(ours, family)) == list(_quiet(theirs, family))
    assert any(line.startswith("[") and not line.startswith("[0:0]") for line in ours)


INVALID = "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"


@pytest.mark.needs(*NEEDS, *SAVE.values())
@pytest.mark.parametrize(
    ("source", "target"),
    [("10.42.1.200", "203.0.113.7"), ("2001:db8:42:1::c8", "2001:db8:ff::7")],
    ids=["IPv4", "IPv6"],
)
def test_what_is_of_no_connection_is_counted_where_it_is_dropped(
    nodes: KernelNodes, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (group,) = (group for group in OWN_CASES if group["name"] == "nodeport-addresses-default-iptables")
    rules = CaseRules("iptables", group)
    node, family = rules.kernel_node(nodes), ip_address(target).version
    load_rules(node, "iptables", {family: rules.text(family)})
    node.forget_connections()
    twin = Twin(group, monkeypatch)
    ends = (ip_address(source), 40000, ip_address(target), 80)
    resets = [Packet(TCP, *ends, node.token(), resets=True) for _ in range(EACH)]
    node.send(resets, node.pods)
    twin.follow(())
    ours = rules.counters(twin.node.counts(family), family).splitlines()
    theirs = node.namespace.run(SAVE[family], "-c").splitlines()
    assert list(_quiet(ours, family)) == list(_quiet(theirs, family))
    assert f"[{EACH}:{sum(len(build(reset)) for reset in resets)}] {INVALID}" in theirs


def _quiet(lines: Iterable[str], family: int) -> Iterator[str]:
    """All but comments and what else the kernel sends counts for, too."""
    return (line for line in lines if line[0] != "#" and not any(busy in line for busy in BUSY[family]))


def _answer(node: KernelNode, fates: Sequence[Fate]) -> None:
    """Let every endpoint behind a device answer."""
    for fate in fates:
        if fate.endpoint and fate.seen is not None and fate.seen.device != OWN:
            assert isinstance(fate.seen.packet, Packet)
            node.send([fate.seen.packet.answer], fate.seen.device)
