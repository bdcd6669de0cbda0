"""``table: {node, show}``: what stands in a node's table, in the format of the tool that prints it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from netsim.checks.verb import Expect, Judgement, Verb
from netsim.objects.topology import Check

if TYPE_CHECKING:
    from netsim.checks.targets import Book
    from netsim.cluster.cluster import Cluster

NEAR_LINES = 3
"""Lines that a report shows for a text that is not there."""


async def observe(cluster: Cluster, check: Check) -> str:
    """The table's text at this moment."""
    asked = check.arguments["table"]
    return cluster.table(asked["show"], asked["node"])


def judge_contains(table: str, expect: Expect, book: Book) -> Judgement:
    """Every text stands in a line of the table; how wide the columns are does not count."""
    lines = _lines(table)
    observed: list[str] = []
    missing = False
    for text in _texts(expect["contains"]):
        found = [line for line in lines if text in line]
        missing = missing or not found
        observed += found[:1] or difflib.get_close_matches(text, lines, NEAR_LINES, cutoff=0)
    return Judgement(not missing, list(dict.fromkeys(observed)))


def judge_lacks(table: str, expect: Expect, book: Book) -> Judgement:
    """None of the texts stands in any line."""
    texts = _texts(expect["lacks"])
    found = [line for line in _lines(table) if any(text in line for text in texts)]
    return Judgement(not found, found)


def _texts(value: str | list[str]) -> list[str]:
    return [" ".join(text.split()) for text in ([value] if isinstance(value, str) else value)]


def _lines(table: str) -> list[str]:
    return [" ".join(line.split()) for line in table.splitlines()]


TABLE = Verb[str](
    "table",
    observe,
    {"contains": judge_contains, "lacks": judge_lacks},
)
