"""Which pairs are asked: all of them in a small cluster, representatives in a large one.

What stands for what is told; nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from netsim.cluster.diff.subjects import (
    NODE_PORTS,
    Client,
    ClientKey,
    Destination,
    Dial,
    Kind,
    Survey,
    Wanted,
)

LIMIT = 10_000
"""Pairs that are asked in each cluster before representatives are taken."""
MOST_TRIES = 24
"""Of one pair, to see every place where its connections land. With four for each of six targets that are
chosen at random one is missed in one of 13 pairs; ``Outcome.complete`` says so."""
LEAST_TRIES = 2
CONNECTIONS = 40_000
"""As many as may be needed in each cluster: some 40 seconds."""


class Pairs(NamedTuple):
    """What is asked in all clusters, and how often at most; ``notes`` say what stands for what."""

    clients: tuple[ClientKey, ...]
    destinations: tuple[Destination, ...]
    notes: tuple[str, ...] = ()
    tries: int = MOST_TRIES

    @property
    def size(self) -> int:
        return len(self.clients) * len(self.destinations)


def chosen(surveys: Sequence[Survey], wanted: Wanted, limit: int = LIMIT) -> Pairs:
    """What is asked in each of the clusters: whoever and whatever is in all of them, and every name.

    A name may be asked for where its Service is not: that is an outcome, too.
    """
    clients = [key for key in _common_clients(surveys) if wanted.has_client(key)]
    everywhere = [key for key in _in_order(surveys) if key.kind is Kind.NAME or _in_all(key, surveys)]
    destinations = [key for key in everywhere if wanted.has_destination(key)]
    pairs = Pairs(tuple(clients), tuple(destinations))
    for step in STEPS:
        if pairs.size <= limit:
            break
        pairs = step(pairs, surveys[0])
    tries = max(LEAST_TRIES, min(MOST_TRIES, CONNECTIONS // max(1, pairs.size)))
    if tries == MOST_TRIES:
        return pairs
    note = f"each pair is asked {tries} times at most: one Pod of many that behaves otherwise may be missed"
    return pairs._replace(tries=tries, notes=(*pairs.notes, note))


def dial_of(destination: Destination, surveys: Sequence[Survey], number: int) -> Dial:
    """How that cluster's clients dial it; a name that it has not, as the others do."""
    ordered = (surveys[number], *surveys)
    return next(survey.destinations[destination] for survey in ordered if destination in survey.destinations)


def _in_all(key: Destination, surveys: Sequence[Survey]) -> bool:
    return all(key in survey.destinations for survey in surveys)


def _in_order(surveys: Sequence[Survey]) -> list[Destination]:
    """All destinations of all clusters, kind by kind."""
    merged = dict.fromkeys(key for survey in surveys for key in survey.destinations)
    rank = {kind: number for number, kind in enumerate(Kind)}
    return sorted(merged, key=lambda key: rank[key.kind])


def _common_clients(surveys: Sequence[Survey]) -> list[ClientKey]:
    """Clients that are on the same node in all clusters; of one that never is, any of its Pods."""
    first, *others = surveys
    found: list[ClientKey] = []
    for who in dict.fromkeys(key.who for key in first.clients):
        if not all(any(key.who == who for key in other.clients) for other in others):
            continue
        keys = [key for key in first.clients if key.who == who]
        same = [key for key in keys if all(key in other.clients for other in others)]
        found += same or [ClientKey(who, "")]
    return found


# --- representatives -------------------------------------------------------------------------------------


def _one_of_each(pairs: Pairs, survey: Survey, same: Callable[[Client], tuple[str, ...]], note: str) -> Pairs:
    """One client of those that are the ``same``; the note when that leaves any out."""
    kept: dict[tuple[str, ...], ClientKey] = {}
    for key in pairs.clients:
        kept.setdefault(same(survey.client(key)), key)
    if len(kept) == len(pairs.clients):
        return pairs
    note = note.format(kept=len(kept), all=len(pairs.clients))
    return pairs._replace(clients=tuple(kept.values()), notes=(*pairs.notes, note))


def _one_of_each_workload(pairs: Pairs, survey: Survey) -> Pairs:
    note = "one Pod of each workload and subnet stands for all, whatever its node: {kept} of {all} clients"
    return _one_of_each(pairs, survey, lambda client: (client.who, client.subnet), note)


def _node_ports_at_two_nodes(pairs: Pairs, survey: Survey) -> Pairs:
    nodes = list(dict.fromkeys(key.at for key in pairs.destinations if key.kind in NODE_PORTS))
    dialled = nodes[:2]
    kept = tuple(key for key in pairs.destinations if key.kind not in NODE_PORTS or key.at in dialled)
    if len(kept) == len(pairs.destinations):
        return pairs
    note = f"node ports are dialled at {' and '.join(dialled)}, which stand for all {len(nodes)} nodes"
    return pairs._replace(destinations=kept, notes=(*pairs.notes, note))


def _one_node_of_each_subnet(pairs: Pairs, survey: Survey) -> Pairs:
    def same(client: Client) -> tuple[str, ...]:
        return ("node", client.subnet) if client.who.startswith("node/") else (client.who, client.subnet)

    note = "one node of each subnet stands for all: {kept} of {all} clients"
    return _one_of_each(pairs, survey, same, note)


def _one_workload_of_each_namespace(pairs: Pairs, survey: Survey) -> Pairs:
    def same(client: Client) -> tuple[str, ...]:
        return (client.namespace, client.libc, client.subnet) if client.namespace else (client.who,)

    note = "one Pod of each namespace, C library and subnet stands for all: {kept} of {all} clients"
    return _one_of_each(pairs, survey, same, note)


STEPS = (
    _one_of_each_workload,
    _node_ports_at_two_nodes,
    _one_node_of_each_subnet,
    _one_workload_of_each_namespace,
)
"""What is done, one after the other, until there are few enough pairs."""
