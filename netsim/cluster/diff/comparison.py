"""Clusters side by side: which pairs differ, and which of those are one and the same thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from netsim.cluster.diff.explain import Explained, Question, explain
from netsim.cluster.diff.grouping import Pairs, chosen, dial_of
from netsim.cluster.diff.outcome import Aspect, Outcome, aspects, together
from netsim.cluster.diff.probe import Prober
from netsim.cluster.diff.sides import Side
from netsim.cluster.diff.subjects import ClientKey, Destination, Kind, Survey, Wanted, survey, would_ask

Progress = Callable[[str], None]
Pair = tuple[ClientKey, Destination]
Outcomes = Mapping[Pair, Outcome]
EVERYTHING = Wanted()


class Block(NamedTuple):
    """Each of some clients with each of some destinations."""

    clients: tuple[ClientKey, ...]
    destinations: tuple[Destination, ...]


class Difference(NamedTuple):
    """Pairs that differ in the same aspects. ``before`` and ``after`` say why, for the first of them."""

    aspects: tuple[Aspect, ...]
    blocks: tuple[Block, ...]
    before: Explained
    after: Explained

    @property
    def pairs(self) -> int:
        return sum(len(block.clients) * len(block.destinations) for block in self.blocks)


class Comparison(NamedTuple):
    """Two clusters, by their titles.

    ``only_before`` and ``only_after`` are clients and destinations that the other has not. ``clients`` are
    all that asked, with the number of Pods of each, ``destinations`` all that were dialled; of ``pairs`` that
    were compared ``differing`` differ; ``notes`` say what stands for what.
    """

    before: str
    after: str
    differences: tuple[Difference, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    clients: Mapping[ClientKey, int]
    destinations: tuple[Destination, ...]
    pairs: int
    differing: int
    notes: tuple[str, ...]

    @property
    def alike(self) -> bool:
        return not (self.differences or self.only_before or self.only_after)


def compare(
    sides: Sequence[Side], wanted: Wanted = EVERYTHING, progress: Progress = lambda text: None
) -> list[Comparison]:
    """Compare each of the other clusters with the first; ``progress`` hears how far it is.

    UsageError when ``wanted`` leaves nothing.
    """
    surveys = [survey(side.cluster) for side in sides]
    wanted.refuse_nothing(surveys)
    pairs = chosen(surveys, wanted)
    probers = [Prober(side.cluster, pairs.tries) for side in sides]
    asking = _Asking(sides, surveys, probers, pairs)
    outcomes = [asking.outcomes(number, progress) for number in range(len(sides))]
    return [asking.comparison(number, outcomes, wanted) for number in range(1, len(sides))]


class _Asking(NamedTuple):
    """The clusters, and what is asked in them."""

    sides: Sequence[Side]
    surveys: Sequence[Survey]
    probers: Sequence[Prober]
    pairs: Pairs

    def outcomes(self, number: int, progress: Progress) -> Outcomes:
        """All of one cluster."""
        found: dict[Pair, Outcome] = {}
        for key in self.pairs.clients:
            client = self.surveys[number].client(key)
            dials = {
                destination: dial_of(destination, self.surveys, number)
                for destination in self.pairs.destinations
                if would_ask(client, destination)
            }
            progress(f"{self.sides[number].title}: {len(found):,} of {self.pairs.size:,} pairs asked")
            answers = self.probers[number].ask(client, dials)
            found.update(((key, destination), outcome) for destination, outcome in answers.items())
        return found

    def comparison(self, number: int, outcomes: Sequence[Outcomes], wanted: Wanted) -> Comparison:
        """That cluster against the first."""
        before, after = self.surveys[0], self.surveys[number]
        differing: dict[tuple[Aspect, ...], list[Pair]] = {}
        for pair, outcome in outcomes[0].items():
            for found in together(aspects(outcome, outcomes[number][pair])):
                differing.setdefault(found, []).append(pair)
        return Comparison(
            self.sides[0].title,
            self.sides[number].title,
            tuple(self._difference(number, *item) for item in differing.items()),
            tuple(_missing(before, after, wanted)),
            tuple(_missing(after, before, wanted)),
            {key: before.client(key).pods for key in self.pairs.clients},
            self.pairs.destinations,
            len(outcomes[0]),
            len({pair for pairs in differing.values() for pair in pairs}),
            (*self.pairs.notes, *self._notes(number)),
        )

    def _notes(self, number: int) -> Iterator[str]:
        """What was not compared: what a Topology does later, and Pods where the other has none of them."""
        for here, there in ((0, number), (number, 0)):
            title, untold = self.sides[here].title, self.sides[here].untold
            if untold:
                yield f"{title}: the state at convergence; {untold} changes and faults did not happen"
            for key in self.surveys[here].clients:
                common = key.who in {other.who for other in self.pairs.clients}
                if key.on and common and key not in self.surveys[there].clients:
                    yield f"{title}: {key.who} is on {key.on}, where the other has none: not asked from there"

    def _difference(self, number: int, found: tuple[Aspect, ...], pairs: Sequence[Pair]) -> Difference:
        client, destination = pairs[0]
        before, after = (
            explain(
                self.probers[side],
                Question(
                    self.surveys[side].client(client),
                    destination.kind,
                    dial_of(destination, self.surveys, side),
                    found,
                ),
            )
            for side in (0, number)
        )
        return Difference(found, tuple(_blocks(pairs)), before, after)


def _blocks(pairs: Sequence[Pair]) -> Iterator[Block]:
    """The pairs, with destinations that have the same clients together."""
    clients: dict[Destination, list[ClientKey]] = {}
    for client, destination in pairs:
        clients.setdefault(destination, []).append(client)
    together: dict[tuple[ClientKey, ...], list[Destination]] = {}
    for destination, asking in clients.items():
        together.setdefault(tuple(asking), []).append(destination)
    for asking_all, destinations in together.items():
        yield Block(asking_all, tuple(destinations))


def _missing(here: Survey, there: Survey, wanted: Wanted) -> Iterator[str]:
    """What only ``here`` has: workloads, nodes and hosts; whole Services, or else single ways to them."""
    others = {key.who for key in there.clients}
    clients = {key.who: None for key in here.clients if key.who not in others and wanted.has_client(key)}
    for who in clients:
        yield f"client {who}"
    known = {key.of for key in there.destinations if key.kind is Kind.NAME}
    for key in here.destinations:
        if key in there.destinations or not wanted.has_destination(key):
            continue
        if key.kind is Kind.NAME:
            yield f"Service {key.of}"
        elif key.of in known:
            yield str(key)
