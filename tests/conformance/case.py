"""What a case is to the runners: a name, what it is about, and a function that gives the differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """One thing that is not as expected."""

    what: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"    {self.what}\n      expected {self.expected}\n      got      {self.got}"


class Case(NamedTuple):
    """``name`` is ``file/group/number``. ``run`` may raise: that is a failure too."""

    name: str
    about: str
    run: Callable[[], list[Difference]]


def compare(what: str, expected: Any, got: Any) -> list[Difference]:
    """Nothing when the two are equal."""
    return [] if expected == got else [Difference(what, expected, got)]
