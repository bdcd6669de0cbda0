"""What came of asking, in words that mean the same in all clusters, and how two outcomes differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netsim.cluster.diff.identity import counted


class Landed(NamedTuple):
    """One way that connections took. ``relation`` is where the target is, seen from the client; ``source`` is
    whom it saw; ``encapsulation`` is vxlan or none."""

    who: str
    relation: str
    source: str
    encapsulation: str


class Outcome(NamedTuple):
    """Of one client and one destination.

    ``results`` are all that there were: ok, refused …, in order. ``targets`` are who may be reached, with the
    number of their Pods, 0 where no packet says it. ``complete``: each of them was reached at least once.
    ``answer`` is what the name gave, empty without a name; ``queries`` what was asked for it.
    """

    results: tuple[str, ...] = ()
    targets: tuple[tuple[str, int], ...] = ()
    landed: tuple[Landed, ...] = ()
    complete: bool = True
    answer: str = ""
    queries: tuple[str, ...] = ()


class Aspect(NamedTuple):
    """One thing that differs. ``name`` is result, targets, source, path, answer or queries; ``relation`` says
    of which targets it is so, where it is not so of all."""

    name: str
    before: str
    after: str
    relation: str = ""


def together(found: Sequence[Aspect]) -> list[tuple[Aspect, ...]]:
    """Aspects that are told together: what is found, asked and reached; each way there by itself."""
    ends = tuple(aspect for aspect in found if not aspect.relation)
    return [*([ends] if ends else []), *((aspect,) for aspect in found if aspect.relation)]


def aspects(before: Outcome, after: Outcome) -> tuple[Aspect, ...]:
    """In what two outcomes differ; nothing where they are alike as far as they were seen."""
    return tuple(_aspects(before, after))


def _aspects(before: Outcome, after: Outcome) -> Iterator[Aspect]:
    if before.answer != after.answer:
        yield Aspect("answer", before.answer, after.answer)
    if len(before.queries) != len(after.queries):
        yield Aspect("queries", str(len(before.queries)), str(len(after.queries)))
    if _results_differ(before, after):
        yield Aspect("result", " or ".join(before.results), " or ".join(after.results))
    if not (before.landed and after.landed):
        return
    if _targets_differ(before, after):
        yield Aspect("targets", _targets(before), _targets(after))
    yield from _ways(before, after)


def _results_differ(before: Outcome, after: Outcome) -> bool:
    """A result that one side lacks does not count when it has not seen all."""
    here, there = set(before.results), set(after.results)
    return bool(here - there and (after.complete or not here & there)) or bool(
        there - here and (before.complete or not here & there)
    )


def _targets_differ(before: Outcome, after: Outcome) -> bool:
    here, there = dict(before.targets), dict(after.targets)
    if all(here.values()) and all(there.values()):
        return here != there
    return here.keys() != there.keys() and before.complete and after.complete


def _targets(outcome: Outcome) -> str:
    return ", ".join(counted(who, count) for who, count in outcome.targets)


def _ways(before: Outcome, after: Outcome) -> Iterator[Aspect]:
    """Whom targets in the same place saw, and how packets came there."""
    here, there = _by_relation(before), _by_relation(after)
    for relation in sorted(here.keys() & there.keys()):
        for name, index in (("source", 0), ("path", 1)):
            old, new = ({way[index] for way in side[relation]} for side in (here, there))
            if old != new:
                yield Aspect(name, " or ".join(sorted(old)), " or ".join(sorted(new)), relation)


def _by_relation(outcome: Outcome) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for landed in outcome.landed:
        found.setdefault(landed.relation, set()).add((landed.source, landed.encapsulation))
    return found
