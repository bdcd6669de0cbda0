"""``[[ … ]]`` of bash and busybox ash: words are not split, ``==`` takes a pattern, ``=~`` an expression.

Parentheses are not understood. Numbers are arithmetic, so that an empty one is 0 (bash(1), CONDITIONAL
EXPRESSIONS).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase

from netsim.programs.shell.expand import Expander, arithmetic
from netsim.programs.shell.tree import Clause, Conditional, Word

NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}

Test = Callable[[tuple[str, ...]], Awaitable[bool]]
"""``test`` with these arguments, for what it shares with ``[[``: ``-f``, ``-z`` and their like."""


async def holds(what: Conditional, expander: Expander, values: Mapping[str, str], test: Test) -> bool:
    """Whether one alternative holds in all its clauses; what is not needed is not expanded.

    ``values`` are the shell's variables, for arithmetic.
    """
    for clauses in what.alternatives:
        for clause in clauses:
            if await _clause(clause, expander, values, test) == clause.negated:
                break
        else:
            return True
    return False


async def _clause(clause: Clause, expander: Expander, values: Mapping[str, str], test: Test) -> bool:
    texts = [await expander.text(word) for word in clause.words]
    if len(texts) == 1:
        return bool(texts[0])
    if len(texts) == 2:
        return await test((texts[0], texts[1]))
    left, operator, right = texts
    if operator in NUMBERS:
        return NUMBERS[operator](arithmetic(left, values), arithmetic(right, values))
    match operator:
        case "=" | "==":
            return _fits(left, right, clause.words[2])
        case "!=":
            return not _fits(left, right, clause.words[2])
        case "<":
            return left < right
        case ">":
            return left > right
        case "=~":
            return _found(left, right)
    return await test((left, operator, right))


def _fits(text: str, pattern: str, word: Word) -> bool:
    """A pattern that stands in quotes is no pattern."""
    return text == pattern if all(part.quoted for part in word) else fnmatchcase(text, pattern)


def _found(text: str, pattern: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False
