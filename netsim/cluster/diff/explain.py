"""Why an outcome is what it is: one more question, and the deciding causes from its packets' notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netsim.base.cause import Note, Stage
from netsim.capture.journeys import Journey, journeys_of
from netsim.capture.record import Recorder
from netsim.cluster.diff.outcome import Aspect
from netsim.cluster.diff.probe import Asked, Prober
from netsim.cluster.diff.subjects import Client, Dial, Kind
from netsim.cluster.summary import without_candidates

MOST_TRIES = 12
"""To land where the difference is."""
_STAGES = {
    "result": (Stage.SERVICE, Stage.NAT, Stage.FILTER, Stage.FAULT, Stage.ICMP),
    "targets": (Stage.SERVICE, Stage.NAT),
    "source": (Stage.SERVICE, Stage.NAT),
    "path": (Stage.ENCAP, Stage.ROUTE),
}
WITHOUT_PROXY = (Kind.OUTSIDE, Kind.OUTSIDE6, Kind.OUTSIDE_NAME, Kind.POD, Kind.POD6)
_STOPS = (Stage.FILTER, Stage.FAULT, Stage.ICMP)
Explained = tuple[str, ...]


class Question(NamedTuple):
    """What is to be explained."""

    client: Client
    kind: Kind
    dial: Dial
    aspects: tuple[Aspect, ...]


def explain(prober: Prober, question: Question) -> Explained:
    """The deciding causes, a line each, in the order in which they were met."""
    wanted = next((aspect.relation for aspect in question.aspects if aspect.relation), "")
    for _ in range(MOST_TRIES):
        recorder = Recorder()
        asked = prober.ask_once(question.client, question.dial, recorder)
        if not wanted or any(landed.relation == wanted for landed in asked.outcome.landed):
            break
    return tuple(dict.fromkeys(_lines(question, asked, journeys_of(recorder.records))))


def _lines(question: Question, asked: Asked, journeys: Sequence[Journey]) -> Iterator[str]:
    names = [aspect.name for aspect in question.aspects]
    if "answer" in names or "queries" in names:
        queries = asked.outcome.queries
        yield f"the resolver asks {', '.join(queries)}" if queries else "the resolver asks nobody"
    stages = {stage for name in names for stage in _STAGES.get(name, ())}
    if not stages:
        return
    way = [journey for journey in journeys if journey.notes and journey.notes[0].cause.text == asked.said]
    home = asked.host
    back = [journey for journey in journeys if journey not in way and journey.records[-1].port.host == home]
    opening = way[0].notes if way else ()
    if "result" in names and question.kind not in WITHOUT_PROXY:
        yield from _passed_on(opening)
    for note in opening:
        if note.cause.stage in stages and _tells(note, names):
            yield _line(note)
    if "result" in names:
        stops = (note for journey in back for note in journey.notes if note.cause.stage in _STOPS)
        yield from map(_line, stops)


def _passed_on(notes: Sequence[Note]) -> Iterator[str]:
    """What a node did with a packet to a Service that no rule of its kube-proxy took."""
    chosen = any("DNAT" in note.cause.text or note.cause.stage in _STOPS for note in notes)
    routes = [note for note in notes if note.cause.stage is Stage.ROUTE and note.where.startswith("node ")]
    if routes and not chosen and not any(note.cause.stage is Stage.SERVICE for note in notes):
        yield f"{routes[-1].where}: no rule of kube-proxy takes it; forwarded: {routes[-1].cause.text}"


def _tells(note: Note, names: Sequence[str]) -> bool:
    """Whether a note has to do with what differs."""
    cause = note.cause
    if cause.stage is Stage.ENCAP:
        return "taken off" not in cause.text
    if cause.stage is Stage.ROUTE:
        return note.where.startswith(("node ", "router")) and "connected:" not in cause.text
    if cause.stage is Stage.NAT and "SNAT" in cause.text:
        return "source" in names
    return True


def _line(note: Note) -> str:
    return f"{note.where}: {without_candidates(note.cause.text)}"
