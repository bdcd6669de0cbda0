"""How connections are judged, with landings made up for it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.checks.balance import split
from netsim.checks.connect import Attempt, judge_balanced, judge_order, judge_reached, judge_result
from netsim.checks.targets import Book
from netsim.cluster.landing import NOWHERE, Landing

SERVICE = IPv4Address("10.96.1.1")


@pytest.fixture(scope="module")
def pods(book: Book) -> list[IPv4Address]:
    """The addresses of the shop's three Pods."""
    found = sorted(book.addresses("deploy/prod/shop"), key=int)
    assert len(found) == 3
    return [IPv4Address(str(address)) for address in found]


def attempts(landed: Sequence[IPv4Address | None], result: str = "ok") -> tuple[Attempt, ...]:
    """Connections to the shop's Service that landed there."""
    return tuple(
        Attempt(result, "", Landing(address) if address is not None else NOWHERE, (SERVICE,))
        for address in landed
    )


def spread(pods: Sequence[IPv4Address], counts: Sequence[int]) -> tuple[Attempt, ...]:
    return attempts([pod for pod, count in zip(pods, counts, strict=True) for _ in range(count)])


COUNTS = st.lists(st.integers(0, 60), min_size=3, max_size=3).filter(lambda counts: sum(counts) > 4)


@given(counts=COUNTS)
def test_balanced_is_the_verdict_of_the_split_over_the_targets(
    book: Book, pods: list[IPv4Address], counts: list[int]
) -> None:
    seen = spread(pods, counts)
    for expect in ({}, {"reached": ["deploy/prod/shop"]}, {"reached": ["svc/prod/shop"]}):
        assert judge_balanced(seen, {**expect, "balanced": True}, book).passed is split(counts).equal
        assert judge_balanced(seen, {**expect, "balanced": False}, book).passed is not split(counts).equal


@given(counts=COUNTS)
def test_whoever_is_never_chosen_counts_as_a_target_that_got_nothing(
    book: Book, pods: list[IPv4Address], counts: list[int]
) -> None:
    everything = sum(counts)
    only_one = spread(pods, [everything, 0, 0])
    assert not judge_balanced(only_one, {"balanced": True}, book).passed
    assert judge_balanced(only_one, {"balanced": True, "reached": [str(pods[0])]}, book).passed


@given(counts=COUNTS, stray=st.sampled_from([None, IPv4Address("10.9.9.9")]))
def test_a_connection_that_lands_elsewhere_is_neither_balanced_nor_unbalanced(
    book: Book, pods: list[IPv4Address], counts: list[int], stray: IPv4Address | None
) -> None:
    seen = spread(pods, counts) + attempts([stray])
    for wanted in (True, False):
        verdict = judge_balanced(seen, {"balanced": wanted}, book)
        assert not verdict.passed
        assert "elsewhere 1" in verdict.observed


def test_too_few_connections_to_tell_are_told(book: Book, pods: list[IPv4Address]) -> None:
    for wanted in (True, False):
        verdict = judge_balanced(spread(pods, [1, 1, 1]), {"balanced": wanted}, book)
        assert not verdict.passed
        assert verdict.observed.endswith("too few connections to tell, raise count")


def test_all_that_is_listed_must_be_reached_and_nothing_else(book: Book, pods: list[IPv4Address]) -> None:
    first, second, third = map(str, pods)
    seen = spread(pods, [2, 1, 0])
    assert judge_reached(seen, {"reached": [first, second]}, book).passed
    assert judge_reached(seen, {"reached": ["deploy/prod/shop"]}, book).passed
    assert not judge_reached(seen, {"reached": [first]}, book).passed
    assert not judge_reached(seen, {"reached": [first, second, third]}, book).passed
    assert not judge_reached((*seen, *attempts([None])), {"reached": [first, second]}, book).passed


def test_reached_counts_by_name(book: Book, pods: list[IPv4Address]) -> None:
    seen = (*spread(pods, [2, 1, 0]), *attempts([None, IPv4Address("10.9.9.9")]))
    observed = judge_reached(seen, {"reached": ["deploy/prod/shop"]}, book).observed
    assert observed == {"10.9.9.9": 1, book.name(pods[0]): 2, book.name(pods[1]): 1, "nowhere": 1}


def test_order_is_connection_by_connection(book: Book, pods: list[IPv4Address]) -> None:
    first, second, _ = map(str, pods)
    seen = attempts([pods[0], pods[1], pods[0]])
    assert judge_order(seen, {"order": [first, second, first]}, book).passed
    assert not judge_order(seen, {"order": [second, first, first]}, book).passed
    assert not judge_order(seen, {"order": [first, second]}, book).passed
    assert not judge_order(attempts([None]), {"order": [first]}, book).passed


@pytest.mark.parametrize(
    ("order", "passed"),
    [
        ("bacbacb", True),
        ("abcab", True),
        ("abcac", False),
        ("aabbcc", False),
        ("abab", False),
        ("abc", False),
    ],
)
def test_in_turn_is_one_round_that_repeats(
    book: Book, pods: list[IPv4Address], order: str, passed: bool
) -> None:
    seen = attempts([pods["abc".index(letter)] for letter in order])
    expect = {"order": "rr", "reached": ["deploy/prod/shop"]}
    assert judge_order(seen, expect, book).passed is passed


def test_too_few_connections_are_no_order(book: Book, pods: list[IPv4Address]) -> None:
    verdict = judge_order(attempts(pods), {"order": "rr", "reached": ["deploy/prod/shop"]}, book)
    assert not verdict.passed
    assert str(verdict.observed).endswith("too few connections to tell, raise count")


def test_mixed_results_are_counted(book: Book) -> None:
    seen = (*attempts([SERVICE]), *attempts([None, None], "timeout"))
    verdict = judge_result(seen, {"result": "ok"}, book)
    assert not verdict.passed
    assert verdict.observed == {"ok": 1, "timeout": 2}
