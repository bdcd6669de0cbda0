"""``exec: [ARGV]``: a command on the host, in netsim's own shell and tools."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netsim.checks.verb import Expect, Judgement, Verb
from netsim.objects.topology import Check
from netsim.programs.terminal import Outcome

if TYPE_CHECKING:
    from netsim.checks.targets import Book
    from netsim.cluster.cluster import Cluster

SHOWN_OUTPUT = 2000
"""Characters of output that a report shows."""


async def observe(cluster: Cluster, check: Check) -> Outcome:
    """Run the command and wait for its end."""
    arguments = check.arguments
    return await cluster.find(check.origin).exec(arguments["exec"], stdin=arguments.get("stdin", ""))


def judge_exit(outcome: Outcome, expect: Expect, book: Book) -> Judgement:
    return Judgement(outcome.exit == expect["exit"], outcome.exit)


def judge_stdout(outcome: Outcome, expect: Expect, book: Book) -> Judgement:
    """The regular expression is found in the output; ``^`` and ``$`` are the ends of each line."""
    found = re.search(expect["stdout"], outcome.stdout, re.MULTILINE)
    return Judgement(found is not None, outcome.stdout[:SHOWN_OUTPUT])


def detail(outcome: Outcome) -> str:
    """The last line of stderr."""
    return next(reversed(outcome.stderr.strip().splitlines()), "")


EXEC = Verb[Outcome](
    "exec",
    observe,
    {"exit": judge_exit, "stdout": judge_stdout},
    at_least={"exit": 0},
    detail=detail,
)
