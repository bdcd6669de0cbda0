"""proxy-cases.json: Services and EndpointSlices on a node, a packet, and what becomes of it there.

A case goes the whole way: manifests, ``Proxier``, plan, the node's ``Stack`` on a plane, a packet by the
interface that its source is behind, and the frames that leave. It is sent again and again as new connections,
days apart, so that every endpoint is seen that may be; what a ``given`` affinity says has come about before
each of them, by a connection at a time when there was no other endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from tests.conformance.case import Case, Difference, compare
from tests.conformance.proxy_node import Fate, ProxyNode, Question

Json = Mapping[str, Any]
MODES = ("iptables", "nftables", "ipvs")
TRIES_PER_ENDPOINT = 24  # one of four that is chosen at random is missed in a hundred connections by 3e-13


class Outcome(NamedTuple):
    """What the connections of a case have met."""

    verdicts: frozenset[str]
    endpoints: frozenset[str]
    masqueraded: Mapping[str, bool | None]


def cases(content: Sequence[Json]) -> Iterator[Case]:
    """One case per packet."""
    for group in content:
        for number, packet in enumerate(group["packets"], 1):
            about = f"{packet['from_kind']} {packet['from']} -> {packet['to']} {packet['port']}"
            text = f"{group['mode']}: {about}/{packet['protocol']} {packet.get('note', '')}"
            yield Case(f"{group['name']}/{number}", text.strip(), partial(_run, group, packet))


def _run(group: Json, packet: Json) -> list[Difference]:
    modes = MODES if group["mode"] == "any" else (group["mode"],)
    return [found for mode in modes for found in _in_mode(mode, group, packet)]


def _in_mode(mode: str, group: Json, packet: Json) -> list[Difference]:
    expected = packet["expect"]
    endpoints = expected.get("endpoints") or []
    got = ask(mode, group, packet, tries=max(3, TRIES_PER_ENDPOINT * len(endpoints)))
    found = compare(f"{mode}: verdict", expected["verdict"], "/".join(sorted(got.verdicts)))
    found += compare(f"{mode}: endpoints", sorted(endpoints), sorted(got.endpoints))
    special = expected.get("masquerade_if") or {}
    for endpoint, masqueraded in sorted(got.masqueraded.items()):
        wanted = special.get(endpoint, expected["masquerade"])
        found += compare(f"{mode}: masquerade to {endpoint}", wanted, masqueraded)
    return found


def ask(mode: str, group: Json, packet: Json, *, tries: int) -> Outcome:
    """What netsim's stack makes of a case's packet."""
    node = ProxyNode(mode, group)
    question = Question.of(packet)
    given = packet.get("given") or {}
    fates: list[Fate] = []
    for attempt in range(tries):
        if given:
            node.stick(question, given["affinity"], given["age_seconds"])
            node.visit(question, attempt)
        fates.append(node.send(question._replace(source_port=20000 + attempt)))
        node.rest()
    masqueraded: dict[str, bool | None] = {}
    for fate in fates:
        if fate.endpoint:
            before = masqueraded.setdefault(fate.endpoint, fate.masqueraded)
            masqueraded[fate.endpoint] = fate.masqueraded if before == fate.masqueraded else None
    return Outcome(
        frozenset(fate.verdict for fate in fates),
        frozenset(fate.endpoint for fate in fates if fate.endpoint),
        masqueraded,
    )
