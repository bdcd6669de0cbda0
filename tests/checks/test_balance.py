"""Whether a split over equally likely targets is called equal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.rng import Rng
from netsim.checks.balance import SIGNIFICANCE, split, survival

SEEDS = 1000

# Abramowitz and Stegun, table 26.8: chi-square that is exceeded with probability 0.01, and 0.05.
CRITICAL = {1: (6.63490, 3.84146), 2: (9.21034, 5.99146), 3: (11.3449, 7.81473), 4: (13.2767, 9.48773),
            9: (21.6660, 16.9190), 30: (50.8922, 43.7730), 100: (135.807, 124.342)}  # fmt: skip


@pytest.mark.parametrize("freedom", CRITICAL)
def test_the_distribution_has_its_tabulated_critical_values(freedom: int) -> None:
    at_one_percent, at_five_percent = CRITICAL[freedom]
    assert survival(at_one_percent, freedom) == pytest.approx(0.01, rel=1e-4)
    assert survival(at_five_percent, freedom) == pytest.approx(0.05, rel=1e-4)


@given(st.floats(0, 500), st.integers(1, 200))
def test_a_probability_is_a_probability_and_falls_as_the_statistic_grows(x: float, freedom: int) -> None:
    assert 0 <= survival(x + 1, freedom) <= survival(x, freedom) + 1e-12
    assert survival(x, freedom) <= 1


@given(st.lists(st.integers(0, 200), min_size=2, max_size=8))
def test_the_order_of_the_targets_does_not_matter(counts: list[int]) -> None:
    assert math.isclose(split(counts).statistic, split(sorted(counts)).statistic)
    assert split(counts).equal == split(sorted(counts)).equal


@given(st.integers(2, 20), st.integers(5, 50))
def test_the_same_count_everywhere_is_equal(targets: int, each: int) -> None:
    assert split([each] * targets).equal


@given(st.integers(2, 20), st.integers(10, 400))
def test_everything_on_one_target_is_never_equal(targets: int, count: int) -> None:
    assert not split([count] + [0] * (targets - 1)).equal


@given(st.lists(st.integers(1, 100), min_size=2, max_size=6), st.integers(2, 50))
def test_more_connections_with_the_same_shares_are_never_more_equal(counts: list[int], factor: int) -> None:
    more = [count * factor for count in counts]
    assert split(more).probability <= split(counts).probability + 1e-12


@pytest.mark.parametrize(("targets", "count"), [(2, 20), (3, 20), (3, 60), (10, 200)])
def test_a_fair_die_is_called_unequal_about_once_in_a_hundred_seeds(targets: int, count: int) -> None:
    unequal = 0
    for seed in range(SEEDS):
        rng = Rng(seed)
        counts = [0] * targets
        for _ in range(count):
            counts[rng.below(targets)] += 1
        unequal += not split(counts).equal
    assert 0 < unequal < 2.5 * SIGNIFICANCE * SEEDS


def test_a_die_that_favours_one_side_is_found_out() -> None:
    found = 0
    for seed in range(100):
        rng = Rng(seed)
        counts = [0, 0, 0]
        for _ in range(60):
            counts[max(0, rng.below(6) - 3)] += 1  # two thirds fall on the first
        found += not split(counts).equal
    assert found > 95


@pytest.mark.parametrize("counts", [[0, 0], [1, 0], [0, 0, 1], [6, 0]])
def test_too_few_connections_decide_nothing(counts: list[int]) -> None:
    verdict = split(counts)
    assert not verdict.decidable
    assert not verdict.equal


def test_seven_connections_are_enough_to_call_two_targets_unequal() -> None:
    assert split([7, 0]).decidable
    assert not split([7, 0]).equal
    assert split([4, 3]).equal


def test_one_target_gets_everything_and_that_is_equal() -> None:
    assert split([3]).equal
    assert not split([0]).equal
