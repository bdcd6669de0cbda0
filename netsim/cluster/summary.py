"""What matters of a traced connection, in a dozen lines: name, choice, way, envelope, way back, result.

``Trace`` puts it before the walk that tells every hop. It takes the same notes, and asks no table either.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from netsim.base.cause import Stage
from netsim.capture.journeys import Journey
from netsim.cluster.connection import Connection, Target

if TYPE_CHECKING:
    from netsim.resolver.commands import Lookup

WIDTH = 140
"""Characters of a line; what does not fit goes on in the next one."""
MOST_STOPS = 3
_REWRITES = (Stage.SERVICE, Stage.NAT)
_STOPS = (Stage.FILTER, Stage.FAULT, Stage.ICMP)
_CANDIDATES = re.compile(r"(picked at random among \d+|IPVS \w+: \w+ of \d+): (.*)")


def summary_lines(
    target: Target, connection: Connection, journeys: Sequence[Journey], *, titles: Mapping[str, str]
) -> Iterator[str]:
    """One line per step; only what happened is there. ``titles`` are what readers call the hosts."""
    lookup = connection.lookup
    if lookup is not None:
        yield from _line("resolve", _resolved(lookup, journeys))
    opening, reply = _handshake(target, journeys)
    if opening is not None:
        yield from _steps(opening, "way", titles)
    if reply is not None:
        yield from _steps(reply, "way back", titles)
    stops = [note for journey in journeys for note in journey.notes if note.cause.stage in _STOPS]
    for note in list(dict.fromkeys(stops))[:MOST_STOPS]:
        yield from _line(note.cause.stage.value, f"{note.where}: {note.cause.text}")
    yield from _line("result", f"{connection.result} ({connection.detail})")


def without_candidates(text: str) -> str:
    """A choice without the list of what else could have been chosen."""
    return _CANDIDATES.sub(r"\1", text)


def candidates(text: str) -> str:
    """What a choice was made among; empty when it says nothing about that."""
    found = _CANDIDATES.search(text)
    return found[2] if found else ""


def wrapped(first: str, text: str) -> Iterator[str]:
    """The text behind ``first``, going on below itself; words stay whole."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _line(title: str, text: str) -> Iterator[str]:
    return wrapped(f"  {title:<9} ", text)


def _resolved(lookup: Lookup, journeys: Sequence[Journey]) -> str:
    reasons = [note.cause.text for j in journeys for note in j.notes if note.cause.stage is Stage.RESOLVER]
    last = f", the last: {reasons[-1]}" if reasons else ""
    count = len(lookup.queries)
    asked = f"after {count} quer{'y' if count == 1 else 'ies'}{last}" if count else "without a query"
    if lookup.error is not None:
        return f"{lookup.name}: {lookup.reason}, {asked}"
    return f"{lookup.name} is {', '.join(map(str, lookup.addresses))}, {asked}"


def _handshake(target: Target, journeys: Sequence[Journey]) -> tuple[Journey | None, Journey | None]:
    """The packet that opens the connection, and the first that comes back."""
    said = f"connect to {target}"
    rest = iter(journeys)
    opening = next(
        (journey for journey in rest if any(note.cause.text == said for note in journey.notes)), None
    )
    if opening is None:
        return None, None
    home = opening.first.port.host
    return opening, next((journey for journey in rest if journey.records[-1].port.host == home), None)


def _steps(journey: Journey, title: str, titles: Mapping[str, str]) -> Iterator[str]:
    """The hosts that a packet crossed, its rewrites and its envelope."""
    yield from _line(title, " → ".join(titles.get(host, host) for host in journey.hosts))
    for where, cause in journey.notes:
        envelope = cause.stage is Stage.ENCAP and "taken off" not in cause.text
        if cause.stage in _REWRITES or envelope:
            yield from _line(f"  {cause.stage.value}", f"{where}: {without_candidates(cause.text)}")
