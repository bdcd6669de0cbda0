"""What ``netsim diff`` prints: one paragraph for each way in which clusters differ, or all of it as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence, Sized
from typing import Any

from netsim.cli.outcome import mark
from netsim.cluster.diff.comparison import Block, Comparison, Difference
from netsim.cluster.diff.outcome import Aspect
from netsim.cluster.diff.subjects import ClientKey, Destination, Kind
from netsim.cluster.summary import wrapped

LONGEST_LABEL = 16
"""Characters of a cluster's title that stand before its reasons; longer ones are A and B."""
MOST_BLOCKS = 4
"""Groups of pairs that are told one by one."""
FEW = 2
"""Up to so many Services are named even when they are all that there are."""


def render(comparison: Comparison) -> str:
    """The comparison as text."""
    return "".join(f"{line}\n" for line in _lines(comparison))


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON."""
    return {
        "before": comparison.before,
        "after": comparison.after,
        "alike": comparison.alike,
        "pairs": comparison.pairs,
        "differing": comparison.differing,
        "clients": [
            {"client": str(key), "pods": pods if key.on else None} for key, pods in comparison.clients.items()
        ],
        "notes": list(comparison.notes),
        "onlyBefore": list(comparison.only_before),
        "onlyAfter": list(comparison.only_after),
        "differences": [_document(difference) for difference in comparison.differences],
    }


def _document(difference: Difference) -> dict[str, Any]:
    return {
        "aspects": [
            {"aspect": one.name, "before": one.before, "after": one.after, "where": one.relation or None}
            for one in difference.aspects
        ],
        "pairs": difference.pairs,
        "between": [
            {
                "clients": list(map(str, block.clients)),
                "destinations": [
                    {"kind": to.kind.name.lower().replace("_", "-"), "of": to.of, "at": to.at or None}
                    for to in block.destinations
                ],
            }
            for block in difference.blocks
        ],
        "why": {"before": list(difference.before), "after": list(difference.after)},
    }


def _lines(comparison: Comparison) -> Iterator[str]:
    labels = _labels(comparison)
    yield mark(f"{labels[0]} -> {labels[1]}", "bold", stream=sys.stdout)
    if labels[0] != comparison.before:
        yield f"  {labels[0]} is {comparison.before}, {labels[1]} is {comparison.after}"
    for text, missing in zip(labels, (comparison.only_before, comparison.only_after), strict=True):
        if missing:
            yield ""
            yield f"only in {text}"
            yield from (f"  {line}" for line in missing)
    for difference in comparison.differences:
        yield ""
        yield from _paragraph(difference, comparison, labels)
    yield ""
    yield from (f"note: {note}" for note in comparison.notes)
    yield _total(comparison)


def _labels(comparison: Comparison) -> tuple[str, str]:
    titles = comparison.before, comparison.after
    return titles if max(map(len, titles)) <= LONGEST_LABEL else ("A", "B")


def _total(comparison: Comparison) -> str:
    asked = f"{_many('client', comparison.clients)}, {_many('destination', comparison.destinations)}"
    if not comparison.differences:
        return f"{comparison.pairs} pairs are alike ({asked})"
    told = f"{comparison.differing} of {comparison.pairs} pairs differ"
    return f"{told}, in {_many('way', comparison.differences)} ({asked})"


def _many(word: str, things: Sized) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _paragraph(difference: Difference, comparison: Comparison, labels: tuple[str, str]) -> Iterator[str]:
    for number, aspect in enumerate(difference.aspects):
        count = f"  ({difference.pairs} pair{'s' * (difference.pairs > 1)})" if not number else ""
        yield from _headline(aspect, count)
    blocks = difference.blocks if len(difference.blocks) <= MOST_BLOCKS else (_whole(difference.blocks),)
    for block in blocks:
        yield from wrapped("  ", _clients(block.clients, comparison))
        for phrase in _destinations(block, comparison):
            yield from wrapped("    -> ", phrase)
    if len(blocks) < len(difference.blocks):
        combined = len(blocks[0].clients) * len(blocks[0].destinations)
        yield f"    ({difference.pairs} of these {combined} pairs; -o json names each)"
    width = max(map(len, labels)) + 1
    for label, reasons in zip(labels, (difference.before, difference.after), strict=True):
        for number, reason in enumerate(reasons):
            title = f"{label}:" if not number else ""
            yield from wrapped(f"  {title:<{width}} ", reason)


def _whole(blocks: Sequence[Block]) -> Block:
    """All clients and all destinations of several blocks."""
    clients = dict.fromkeys(key for block in blocks for key in block.clients)
    destinations = dict.fromkeys(key for block in blocks for key in block.destinations)
    rank = {kind: number for number, kind in enumerate(Kind)}
    return Block(tuple(clients), tuple(sorted(destinations, key=lambda key: rank[key.kind])))


def _headline(aspect: Aspect, count: str) -> Iterator[str]:
    where = f" (target {aspect.relation})" if aspect.relation else ""
    text = f"{aspect.name}{where}: {aspect.before or 'nothing'} -> {aspect.after or 'nothing'}{count}"
    return (mark(line, "yellow", stream=sys.stdout) for line in wrapped("", text))


# --- many in few words -----------------------------------------------------------------------------------


def _clients(keys: Sequence[ClientKey], comparison: Comparison) -> str:
    """``every Pod, node/node1``; a workload of which all Pods are meant stands without its nodes."""
    everyone = list(comparison.clients)
    if len(everyone) > 1 and len(keys) == len(everyone):
        return "every client"
    words: list[str] = []
    rest = list(keys)
    for title, prefix in (("every node", "node/"), ("every host outside", "external/"), ("every Pod", "")):
        kind = [key for key in everyone if _is(key, prefix)]
        if len(kind) > 1 and set(kind) <= set(rest):
            words.insert(0, title)
            rest = [key for key in rest if key not in kind]
    return ", ".join([*words, *_workloads(rest, everyone)])


def _is(key: ClientKey, prefix: str) -> bool:
    """Whether a client is a node or a host outside, or, with no prefix, a Pod."""
    others = ("node/", "external/")
    return key.who.startswith(prefix) if prefix else not key.who.startswith(others)


def _workloads(keys: Sequence[ClientKey], everyone: Sequence[ClientKey]) -> Iterator[str]:
    nodes: dict[str, list[str]] = {}
    for key in keys:
        nodes.setdefault(key.who, []).append(key.on)
    for who, on in nodes.items():
        everywhere = len(on) == sum(key.who == who for key in everyone)
        yield who if everywhere or not any(on) else f"{who} on {' and '.join(on)}"


def _destinations(block: Block, comparison: Comparison) -> Iterator[str]:
    """A phrase for each kind, and for each set of places where they are dialled."""
    kinds: dict[Kind, dict[str, list[str]]] = {}
    for destination in block.destinations:
        kinds.setdefault(destination.kind, {}).setdefault(destination.of, []).append(destination.at)
    for kind, services in kinds.items():
        places: dict[tuple[str, ...], list[str]] = {}
        for of, at in services.items():
            places.setdefault(tuple(at), []).append(of)
        for where, names in places.items():
            named = _services(kind, names, comparison.destinations)
            yield kind.value.format(of=named, at=", ".join(where))


def _services(kind: Kind, names: Sequence[str], everything: Sequence[Destination]) -> str:
    total = {destination.of for destination in everything if destination.kind is kind}
    if kind.has_services and len(names) > FEW and len(names) == len(total):
        return f"every Service ({len(names)})"
    ports: dict[str, list[str]] = {}
    for name in names:
        service, _, port = name.rpartition(":")
        ports.setdefault(service or name, []).append(port)
    return ", ".join(_with_ports(service, numbers) for service, numbers in ports.items())


def _with_ports(service: str, numbers: Sequence[str]) -> str:
    """``prod/ent:8080``, ``kube-system/kube-dns:{53/udp,53}``; a Service alone where no port is dialled."""
    if len(numbers) > 1:
        return f"{service}:{{{','.join(numbers)}}}"
    return service if numbers[0] == service else f"{service}:{numbers[0]}"
