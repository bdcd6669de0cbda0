"""What a verb of the checks is made of. ``verbs`` lists them; ``report`` runs them.

A verb observes first, and judges then: ``observe`` does what the check says and gives a frozen value of all
that happened; each key of ``expect`` has a judge, which looks at that value and at nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from netsim.checks.targets import Book
from netsim.objects.topology import Check

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

Observation = TypeVar("Observation")
Expect: TypeAlias = Mapping[str, Any]
NOTHING: Expect = {}


class Judgement(NamedTuple):
    """Whether one expectation holds; ``observed`` is what was there, as a JSON value."""

    passed: bool
    observed: Any


class Verb(NamedTuple, Generic[Observation]):
    """One thing that a check can do.

    ``judges`` has one judge per ``expect`` key, which gets the whole ``expect``. ``assumed`` is expected
    unless the check says something else of those keys; ``at_least`` is what a check without ``expect``
    expects.
    ``detail`` gives the reason behind a failure in a line, or nothing.
    """

    name: str
    observe: Callable[[Cluster, Check], Coroutine[Any, Any, Observation]]
    judges: Mapping[str, Callable[[Observation, Expect, Book], Judgement]]
    assumed: Expect = NOTHING
    at_least: Expect = NOTHING
    detail: Callable[[Observation], str] = lambda _: ""

    def expectation(self, check: Check) -> Expect:
        """All that must hold: what the check says, and what goes without saying."""
        return {**self.assumed, **(check.expect or self.at_least)}

    def judge(self, seen: Observation, expect: Expect, book: Book) -> tuple[bool, dict[str, Any]]:
        """Whether all of it holds, and what was there for each key."""
        judged = {key: self.judges[key](seen, expect, book) for key in expect}
        observed = {key: judgement.observed for key, judgement in judged.items()}
        return all(judgement.passed for judgement in judged.values()), observed


def one_or_all(values: Iterable[Any]) -> Any:
    """What was the same every time stands alone; what differed, as the list of the different values.

    None when there is nothing at all.
    """
    different: list[Any] = []
    for value in values:
        if value not in different:
            different.append(value)
    return different if len(different) > 1 else next(iter(different), None)
