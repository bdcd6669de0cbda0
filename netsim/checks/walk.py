"""The packets behind a failed check, as lines: few, readable, the most telling ones, oldest first.

``report`` calls ``walk`` with what was recorded while the check ran. What is told of a packet is what its own
notes say. ``netsim trace`` tells every hop of every packet; here stand the ends of the way and the decisions.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from netsim.base.cause import Note, Stage
from netsim.capture.dissect import Http, Layer, Summary, layers, summary_of_layers
from netsim.capture.journeys import Journey, about_neighbours, journeys_of
from netsim.capture.record import PacketRecord
from netsim.cluster.trace import without_numbers
from netsim.plan.entries import HostName
from netsim.wire import arp, dns, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp, vxlan

PACKETS = 6
"""How many different packets a walk tells of."""
WIDTH = 200
"""Characters of a reason; longer ones are cut."""
DECISIONS = (Stage.SERVICE, Stage.NAT, Stage.FILTER, Stage.FAULT, Stage.ICMP)
NAMING = (Stage.RESOLVER, Stage.DNS)
STOPPED = (Stage.FILTER, Stage.FAULT)
ECHOES = (icmp.ECHO_REQUEST, icmp.ECHO_REPLY)
ECHOES6 = (icmp6.ECHO_REQUEST, icmp6.ECHO_REPLY)

# How telling a packet is.
BAD_NEWS, OPENING, CONTENT, ASIDE, DULL = range(5)

# What of a packet is told: of bad news also how TCP came to it, of content that it was there.
_TOLD = {BAD_NEWS: (*DECISIONS, Stage.SOCKET), OPENING: DECISIONS}

_PASSING_NUMBER = re.compile(r"0x[0-9a-f]{4}|\b\d+ (?=→ \d+ \[SYN\])|\b[3-6][0-9]{4}\b")
"""DNS ids and clients' ports: packets that differ in nothing else are told of once."""

_Question: TypeAlias = tuple[int, str, int]  # a DNS message's id, its name and type


class _Scene(NamedTuple):
    """One packet: how telling it is, its line, and what was decided about it."""

    rank: int
    time: float
    summary: Summary
    way: str
    reasons: tuple[str, ...]


def walk(
    records: Sequence[PacketRecord], names: Mapping[bytes, str], origin: HostName | None = None
) -> tuple[str, ...]:
    """The lines for what was recorded while a check ran.

    ``names`` are what readers call addresses; a packet is shown as it passed ``origin``, if it did.
    """
    told: dict[tuple[int, str, str], tuple[_Scene, int]] = {}
    scenes = list(_scenes(records, names, origin))
    for scene in scenes:
        key = (scene.rank, _PASSING_NUMBER.sub("", str(scene.summary)), scene.way)
        first, times = told.get(key, (scene, 0))
        told[key] = first, times + 1
    worth = [item for item in told.values() if item[0].rank != DULL]
    worth.sort(key=lambda item: (item[0].rank, item[0].time))
    shown = sorted(worth[:PACKETS], key=lambda item: item[0].time)
    lines = [line for scene, times in shown for line in _lines(scene, times)]
    left = len(scenes) - sum(times for _, times in shown)
    if shown and left:
        lines.append(f"and {left} more packet{'s' if left > 1 else ''}")
    return tuple(lines)


def _lines(scene: _Scene, times: int) -> Iterator[str]:
    repeated = f" ({times} times)" if times > 1 else ""
    yield f"{scene.time:.6f}  {scene.summary}{repeated}"
    if scene.way:
        yield f"  {scene.way}"
    for reason in scene.reasons:
        yield f"  {textwrap.shorten(reason, WIDTH, placeholder=' …')}"


# --- one packet ------------------------------------------------------------------------------------------


def _scenes(
    records: Sequence[PacketRecord], names: Mapping[bytes, str], origin: HostName | None
) -> Iterator[_Scene]:
    journeys = [journey for journey in journeys_of(records) if journey.first.outbound]
    found = {journey.serial: _inner(layers(_view(journey, origin).data)) for journey in journeys}
    asked = {
        question: journey
        for journey in journeys
        for question, answers in _questions(found[journey.serial])
        if not answers
    }
    with_a = {name for _, name, qtype in asked if qtype == dns.A}
    answered = {
        question
        for journey in journeys
        for question, answers in _questions(found[journey.serial])
        if answers and not _was_stopped(journey)
    }
    for journey in journeys:
        seen = found[journey.serial]
        questions = dict(_questions(seen))
        summary = without_numbers(summary_of_layers(seen, names))
        time = journey.first.time
        if not questions:
            rank = _rank(seen, journey)
            reasons = _reasons(journey.notes, _TOLD.get(rank, ()))
            yield _Scene(rank, time, summary, " → ".join(journey.hosts), reasons)
        elif any(questions.values()):
            query = next((asked[question] for question in questions if question in asked), journey)
            reasons = _reasons((*query.notes, *journey.notes), (*NAMING, *STOPPED))
            rank = BAD_NEWS if _was_stopped(journey) else _answer_rank(questions, with_a)
            yield _Scene(rank, time, summary, "", reasons)
        else:
            lost = not answered.intersection(questions) or _was_stopped(journey)
            reasons = _reasons(journey.notes, (*NAMING, *DECISIONS))
            yield _Scene(BAD_NEWS if lost else DULL, time, summary, " → ".join(journey.hosts), reasons)
    sought = {
        layer.destination
        for seen in found.values()
        for layer in seen
        if isinstance(layer, ipv4.Ipv4 | ipv6.Ipv6)
    }
    yield from _unanswered(records, names, sought)


def _view(journey: Journey, origin: HostName | None) -> PacketRecord:
    """The packet as the check's host sent it or got it; else as it was when it began."""
    if journey.first.port.host == origin:
        return journey.first
    return next((record for record in reversed(journey.records) if record.port.host == origin), journey.first)


def _inner(found: Sequence[Layer]) -> Sequence[Layer]:
    """The layers without a VXLAN envelope."""
    for index, layer in enumerate(found):
        if isinstance(layer, vxlan.Vxlan):
            return found[index + 1 :]
    return found


def _was_stopped(journey: Journey) -> bool:
    """Whether a filter or a fault had something against a packet."""
    return any(note.cause.stage in STOPPED for note in journey.notes)


def _rank(found: Sequence[Layer], journey: Journey) -> int:
    """Errors and what was stopped first, then what opens a conversation, then what was said in it."""
    if _was_stopped(journey):
        return BAD_NEWS
    match found:
        case [_, ipv4.Ipv4(), icmp.Icmp() as message, *_]:
            return OPENING if message.type in ECHOES else BAD_NEWS
        case [_, ipv6.Ipv6(), icmp6.Icmp6() as message6, *_]:
            return OPENING if message6.type in ECHOES6 else BAD_NEWS
        case [_, ipv4.Ipv4() | ipv6.Ipv6(), tcp.Tcp() as segment, *rest]:
            if segment.flags & tcp.RST:
                return BAD_NEWS
            if segment.flags & (tcp.SYN | tcp.ACK) == tcp.SYN:
                return OPENING
            return CONTENT if any(isinstance(layer, Http) for layer in rest) else DULL
        case [_, ipv4.Ipv4() | ipv6.Ipv6(), udp.Udp(), *_]:
            return OPENING
    return DULL


def _answer_rank(questions: Iterable[_Question], with_a: Container[str]) -> int:
    """Of the two questions for a name's addresses, that for IPv4 tells enough."""
    doubled = all(qtype == dns.AAAA and name in with_a for _, name, qtype in questions)
    return DULL if doubled else CONTENT


def _questions(found: Sequence[Layer]) -> Iterator[tuple[_Question, bool]]:
    """The DNS questions in a packet, and whether it answers them."""
    for layer in found:
        if isinstance(layer, dns.Message):
            for question in layer.questions:
                yield (layer.id, question.name.lower(), question.qtype), layer.response


def _reasons(notes: Sequence[Note], stages: Sequence[Stage]) -> tuple[str, ...]:
    """The decisions of those stages, in order."""
    return tuple(dict.fromkeys(str(note) for note in notes if note.cause.stage in stages))


def _unanswered(
    records: Sequence[PacketRecord], names: Mapping[bytes, str], sought: Container[bytes]
) -> Iterator[_Scene]:
    """Questions for a neighbour that nobody answered. Those for addresses to which no packet went matter
    less: they may be left over from before."""
    asked: dict[bytes, PacketRecord] = {}
    answered: set[bytes] = set()
    for record in records:
        match layers(record.data) if about_neighbours(record.data) else ():
            case [_, arp.Arp(operation=arp.REQUEST) as message]:
                asked.setdefault(message.target_ip, record)
            case [_, arp.Arp(operation=arp.REPLY) as message]:
                answered.add(message.sender_ip)
            case [_, _, ndp.Ndp(type=ndp.SOLICITATION) as question]:
                asked.setdefault(question.target, record)
            case [_, _, ndp.Ndp() as answer]:
                answered.add(answer.target)
    for target, record in asked.items():
        if target not in answered:
            summary = summary_of_layers(layers(record.data), names)
            reasons = _reasons(record.notes, (Stage.NEIGHBOUR, Stage.NDP))
            rank = BAD_NEWS if target in sought else ASIDE
            yield _Scene(rank, record.time, summary, "", (*reasons, "nobody answered"))
