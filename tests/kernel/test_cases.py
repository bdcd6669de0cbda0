"""The Linux kernel judges the cases of kube-proxy: the rules that netsim prints for a case's node are loaded
in a network namespace, and the case's packets are sent through.

What it makes of them is held against the case, and against what netsim's own stack makes of the same packet.
What it does not judge is listed by ``unjudged``, with the reason, and counted.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import proxy_cases
from tests.conformance.suites import FOLDER
from tests.kernel.case_rules import FAMILIES, CaseRules, KernelNodes, load_rules
from tests.kernel.node import OWN, UPLINK, KernelNode
from tests.kernel.packets import PROTOCOLS
from tests.kernel.verdict import Question, ask, attempt

Json = Mapping[str, Any]
FILE = "proxy-cases.json"
MODES = ("iptables", "nftables")
TRIES = 6
MANY = 64  # connections until one was given a certain endpoint of two: more are needed once in 1e19 times
DOCUMENT = Path(__file__).parents[2] / "docs" / "fidelity.md"
REJECT = "REJECT --reject-with icmp-port-unreachable"
JUDGED = "judged by the kernel"
OWN_CASES: list[Json] = json.loads((FOLDER / FILE).read_text(encoding="utf-8"))


def load() -> list[Json]:
    """The groups of the folder that NETSIM_CASES names, or else of our own."""
    chosen = os.environ.get("NETSIM_CASES")
    path = Path(chosen or FOLDER) / FILE
    content: list[Json] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return content


def unjudged(rules: CaseRules, mode: str, packet: Json) -> str:
    """Why the kernel does not judge a packet in a mode; empty: it does."""
    if mode == "ipvs":
        return "IPVS is not in the kernel of the machines that run the tests"
    if mode not in MODES:
        return "netsim prints no rules of this mode"
    given = packet.get("given")
    if given and given["affinity"] in packet["expect"]["endpoints"]:
        timeout = rules.affinity(packet)
        if timeout and given["age_seconds"] >= timeout:
            return "an affinity has timed out, and the kernel's time is real"
    return ""


def modes_of(group: Json) -> tuple[str, ...]:
    return proxy_cases.MODES if group["mode"] == "any" else (group["mode"],)


GROUPS = [(mode, group) for group in load() for mode in modes_of(group) if mode in MODES]
NEEDS = ("root", "netns", "nsenter", "ip", "iptables-restore", "ip6tables-restore", "nft")


@pytest.mark.needs(*NEEDS)
@pytest.mark.parametrize(("mode", "group"), GROUPS, ids=[f"{mode}-{group['name']}" for mode, group in GROUPS])
def test_the_kernel_agrees(nodes: KernelNodes, mode: str, group: Json) -> None:
    rules = CaseRules(mode, group)
    found = judge(nodes, mode, group, {family: rules.text(family) for family in FAMILIES})
    assert not found, "\n".join(found)


@pytest.mark.needs(*NEEDS)
@pytest.mark.parametrize(
    ("mode", "group", "rule", "instead", "found"),
    [
        ("iptables", "clusterip-basics", "-j KUBE-MARK-MASQ", "-j KUBE-PROXY-CANARY", "masquerades: [False]"),
        ("iptables", "clusterip-basics", "to-destination 10.42.2.12", "to-destination 10.42.2.13", "never"),
        ("iptables", "clusterip-basics", "--probability 0.5", "--probability 1.0", "chooses 10.42.2.12"),
        ("iptables", "loadbalancer-source-ranges", "-j DROP", "-j ACCEPT", "DROP, the kernel NOT_HANDLED"),
        ("iptables", "itp-local-none-here--iptables", "-j DROP", "-j REJECT", "DROP, the kernel REJECT"),
        ("iptables", "port-name-mismatch", f"-j {REJECT}", "-j DROP", "REJECT, the kernel DROP"),
        ("iptables", "session-affinity", "--rcheck", "--rcheck --hitcount 9", "the kernel chooses"),
        ("iptables", "udp-and-sctp-nodeports", "--dport 30231", "--dport 30232", "the kernel NOT_HANDLED"),
        ("nftables", "clusterip-basics", "mark | 0x00004000", "mark | 0x00008000", "masquerades: [False]"),
        ("nftables", "clusterip-basics", "dnat to 10.42.2.12:", "dnat to 10.42.2.13:", "never chooses"),
        ("nftables", "clusterip-basics", "{ 0 : goto", "{ 2 : goto", "DNAT, the kernel"),
        ("nftables", "loadbalancer-source-ranges", " drop\n", " accept\n", "DROP, the kernel DNAT"),
        ("nftables", "port-name-mismatch", "goto reject-chain", "drop", "REJECT, the kernel DROP"),
        ("nftables", "session-affinity", "update @affinity", "delete @affinity", "the kernel chooses"),
    ],
)
def test_the_judge_sees_a_wrong_rule(
    nodes: KernelNodes, mode: str, group: str, rule: str, instead: str, found: str
) -> None:
    (chosen,) = (one for one in OWN_CASES if one["name"] == group)
    right = CaseRules(mode, chosen).text(4)
    wrong = right.replace(rule, instead)
    assert wrong != right
    assert found in "\n".join(judge(nodes, mode, chosen, {4: wrong}))


def judge(nodes: KernelNodes, mode: str, group: Json, texts: Mapping[int, str]) -> list[str]:
    """What differs where the rules are those, as sentences."""
    found: list[str] = []
    rules = CaseRules(mode, group)
    node = rules.kernel_node(nodes)
    load_rules(node, mode, texts)
    for number, packet in enumerate(group["packets"], 1):
        if not unjudged(rules, mode, packet):
            about = f"{group['name']}/{number}: {packet['from_kind']} {packet['from']} -> {packet['to']}"
            what = f"{about} {packet['port']}/{packet['protocol']}"
            found += [f"{what}: {text}" for text in _differences(node, mode, group, packet)]
    return found


def test_the_document_says_how_much_the_kernel_judges() -> None:
    counts = Counter(
        (mode, unjudged(rules, mode, packet) or JUDGED)
        for group in OWN_CASES
        for mode in modes_of(group)
        for rules in [CaseRules(mode, group)]
        for packet in group["packets"]
    )
    lines = [f"| {mode} | {number:,} | {what} |" for (mode, what), number in sorted(counts.items())]
    print("\n".join(lines))
    missing = [line for line in lines if line not in DOCUMENT.read_text(encoding="utf-8")]
    assert not missing, "docs/fidelity.md has not in its table:\n" + "\n".join(missing)


def _differences(node: KernelNode, mode: str, group: Json, packet: Json) -> Iterator[str]:
    """Where the kernel, the case and netsim do not say the same, as sentences."""
    expected = packet["expect"]
    wanted = frozenset(expected.get("endpoints") or ())
    question = question_of(group, packet, node)
    got = ask(node, question, wanted, _preparation(node, mode, group, packet, question))
    if got.verdicts != {expected["verdict"]}:
        yield f"the case says {expected['verdict']}, the kernel {' or '.join(sorted(got.verdicts))}"
    if missing := wanted - got.endpoints:
        yield f"the kernel never chooses {', '.join(sorted(missing))}"
    if unwanted := got.endpoints - wanted:
        yield f"the kernel chooses {', '.join(sorted(unwanted))}"
    special = expected.get("masquerade_if") or {}
    for endpoint, masqueraded in sorted(got.masqueraded.items()):
        if masqueraded != {special.get(endpoint, expected["masquerade"])}:
            yield f"to {endpoint}, the kernel masquerades: {sorted(masqueraded)}"
    for endpoint in sorted(got.lost):
        yield f"what {endpoint} answers does not come back as from {packet['to']} {packet['port']}"
    # That netsim reaches them all is what the conformance cases say; here it is asked less often.
    simulated = proxy_cases.ask(mode, group, packet, tries=TRIES)
    if got.verdicts != simulated.verdicts or not simulated.endpoints <= got.endpoints:
        ours, theirs = told(simulated.verdicts, simulated.endpoints), told(got.verdicts, got.endpoints)
        yield f"netsim's stack says {ours}, the kernel {theirs}"
    for endpoint in sorted(got.endpoints & simulated.endpoints):
        if got.masqueraded[endpoint] != {simulated.masqueraded[endpoint]}:
            yield f"to {endpoint}, netsim's stack and the kernel do not masquerade alike"


def told(verdicts: Iterable[str], endpoints: Iterable[str]) -> str:
    return " ".join([*sorted(verdicts), *sorted(endpoints)])


def question_of(group: Json, packet: Json, node: KernelNode) -> Question:
    this = group["this_node"]
    others = [each.get(key) for each in group["nodes"] for key in ("ip", "ip6") if each["name"] != this]
    device = UPLINK
    if packet["from_kind"] == "local-pod":
        device = node.pods
    elif packet["from_kind"] == "node" and packet["from"] not in others:
        device = OWN
    source, target = ip_address(packet["from"]), ip_address(packet["to"])
    return Question(device, PROTOCOLS[packet["protocol"]], source, target, packet["port"])


# --- clients that keep their endpoint -----------------------------------------------------------------------


def _preparation(
    node: KernelNode, mode: str, group: Json, packet: Json, question: Question
) -> Callable[[], None] | None:
    """What makes the node as it is before each connection, if clients keep their endpoints."""
    if "sessionAffinity: ClientIP" not in group["manifests"]:
        return None
    given = packet.get("given")
    if given and packet["expect"]["endpoints"] == [given["affinity"]]:
        return partial(_remember, node, mode, question, given["affinity"])
    return partial(_forget, node, mode)


def _remember(node: KernelNode, mode: str, question: Question, endpoint: str) -> None:
    """Let the client have had an endpoint just now."""
    for _ in range(MANY):
        _forget(node, mode)
        (fate,) = attempt(node, question, 1)
        if fate.endpoint == endpoint:
            return
    pytest.fail(f"the kernel has not chosen {endpoint} once in {MANY} connections")


def _forget(node: KernelNode, mode: str) -> None:
    """Let the node forget which client had which endpoint."""
    if mode == "iptables":
        with node.namespace.entered():
            for path in Path("/proc/thread-self/net/xt_recent").iterdir():
                path.write_text("/\n", encoding="ascii")
        return
    table, flushes = "", []
    for line in node.namespace.run("nft", "list", "sets").splitlines():
        words = line.split()
        if words[0] == "table":
            table = f"{words[1]} {words[2]}"
        elif words[0] == "set" and words[1].startswith("affinity-"):
            flushes.append(f"flush set {table} {words[1]}")
    node.namespace.run("nft", "-f", "-", stdin="\n".join(flushes))
