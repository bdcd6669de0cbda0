"""What the kernel makes of a connection that is tried again and again, and of the answers to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import NamedTuple

from tests.kernel.node import OWN, KernelNode, Seen
from tests.kernel.packets import ECHO, Ip, Packet, Unreachable

BURST = 24  # connections for each endpoint that there may be, before one is said to be missing
BURSTS = 8  # one of two, chosen at random, is missed in all of them with a chance of 1e-19 at the most
FEW = 4  # connections for each of them where every one needs preparation, and where no endpoint is wanted
FIRST_PORT, PORTS = 2000, 60000


class Question(NamedTuple):
    """A connection, from where it comes: a device of the node, or its own programs (OWN)."""

    device: str
    protocol: int
    source: Ip
    target: Ip
    port: int

    def packet(self, token: int) -> Packet:
        """The first packet of one more connection."""
        source_port = 0 if self.protocol in ECHO else FIRST_PORT + token % PORTS
        return Packet(self.protocol, self.source, source_port, self.target, self.port, token)


class Fate(NamedTuple):
    """What became of one connection: the verdict in the words of the cases, and where it was seen last."""

    verdict: str
    asked: Packet
    seen: Seen | None = None

    @property
    def endpoint(self) -> str:
        """Where it was sent to, as kube-proxy writes it; empty when nowhere."""
        if self.verdict != "DNAT" or self.seen is None or not isinstance(self.seen.packet, Packet):
            return ""
        target = self.seen.packet.target
        return (
            f"{target}:{self.seen.packet.port}"
            if target.version == 4
            else f"[{target}]:{self.seen.packet.port}"
        )

    @property
    def masqueraded(self) -> bool:
        """Whether it has another source. (The node's own address may get itself, with another port.)"""
        assert self.seen is not None
        assert isinstance(self.seen.packet, Packet)
        return self.seen.packet[1:3] != self.asked[1:3]


class Outcome(NamedTuple):
    """What all of a question's connections have met. ``masqueraded`` is by endpoint, ``lost`` are the
    endpoints whose answers did not come back as from the address that was asked."""

    verdicts: frozenset[str]
    masqueraded: Mapping[str, frozenset[bool]]
    lost: frozenset[str]

    @property
    def endpoints(self) -> frozenset[str]:
        return frozenset(self.masqueraded)


def ask(
    node: KernelNode, question: Question, wanted: Set[str], before_each: Callable[[], None] | None = None
) -> Outcome:
    """Try a connection until every wanted endpoint was reached, or for long enough to say that one is not.

    ``before_each`` makes the node as it is to be for each connection; without it they go in bursts.
    """
    node.forget_connections()
    fates: list[Fate] = []
    for _ in range(BURSTS):
        count = max(FEW, BURST * len(wanted))
        if before_each is None:
            fates += attempt(node, question, count)
        else:
            for _ in range(FEW * count // BURST):
                before_each()
                fates += attempt(node, question, 1)
        if wanted <= {fate.endpoint for fate in fates}:
            break
    masqueraded: dict[str, set[bool]] = {}
    for fate in fates:
        if fate.endpoint:
            masqueraded.setdefault(fate.endpoint, set()).add(fate.masqueraded)
    return Outcome(
        frozenset(fate.verdict for fate in fates),
        {endpoint: _settled(question, found) for endpoint, found in masqueraded.items()},
        frozenset(_lost(node, question, fates)),
    )


def attempt(node: KernelNode, question: Question, count: int) -> list[Fate]:
    """What becomes of some connections."""
    packets = [question.packet(node.token()) for _ in range(count)]
    seen: dict[int, list[Seen]] = {}
    for one in node.send(packets, question.device):
        if isinstance(one.packet, Unreachable) or not one.packet.answers:
            seen.setdefault(one.packet.token, []).append(one)
    return [_fate(packet, seen.get(packet.token, ())) for packet in packets]


def _settled(question: Question, found: set[bool]) -> frozenset[bool]:
    """The node's own packets keep address and port if masquerading happens to choose that port for one."""
    return frozenset({True} if question.device == OWN and found == {True, False} else found)


def _fate(asked: Packet, seen: Iterable[Seen]) -> Fate:
    refused: Seen | None = None
    for one in seen:
        if isinstance(one.packet, Unreachable):
            refused = one
        elif (one.packet.target, one.packet.port) == (asked.target, asked.port):
            return Fate("NOT_HANDLED", asked, one)  # a port without a program is "unreachable", too
        else:
            return Fate("DNAT", asked, one)
    return Fate("REJECT" if refused is not None else "DROP", asked, refused)


def _lost(node: KernelNode, question: Question, fates: Iterable[Fate]) -> Iterable[str]:
    """Let each endpoint answer once; those whose answer is not what the client waits for.

    An endpoint among the node's own programs is left out, for the answer would have to come from there; and a
    client that has no address of the node, for the answer would not come there.
    """
    if question.device == OWN and not node.owns(question.source):
        return
    by_endpoint = {fate.endpoint: fate for fate in fates if fate.endpoint}
    for endpoint, fate in by_endpoint.items():
        assert fate.seen is not None
        assert isinstance(fate.seen.packet, Packet)
        if fate.seen.device == OWN:
            continue
        back = node.send([fate.seen.packet.answer], fate.seen.device)
        if Seen(question.device, fate.asked.answer) not in back:
            yield endpoint
