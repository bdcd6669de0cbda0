"""Is a load balancer's split equal? Pearson's chi-square test at 1 %, without a statistics library.

``connect`` judges ``balanced`` with it. An equal split fails this test with one seed in a hundred, but with
one seed always or never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

SIGNIFICANCE = 0.01


class Split(NamedTuple):
    """The verdict on some counts: ``statistic`` is chi-square, ``probability`` that of one at least as large.

    ``decidable`` is False when there were too few draws for any outcome to be called unequal.
    """

    statistic: float
    probability: float
    decidable: bool

    @property
    def equal(self) -> bool:
        return self.decidable and self.probability >= SIGNIFICANCE


def split(counts: Sequence[int]) -> Split:
    """Test how often each of several equally likely outcomes came; ``counts`` has their zeros, too."""
    draws, outcomes = sum(counts), len(counts)
    if outcomes < 2:
        return Split(0.0, 1.0, draws > 0)
    if not draws:
        return Split(0.0, 1.0, False)
    share = draws / outcomes
    statistic = sum((count - share) ** 2 for count in counts) / share
    freedom = outcomes - 1
    most_unequal = draws * freedom  # chi-square when one outcome came every time
    decidable = survival(most_unequal, freedom) < SIGNIFICANCE
    return Split(statistic, survival(statistic, freedom), decidable)


def survival(statistic: float, freedom: int) -> float:
    """The probability that chi-square with ``freedom`` degrees exceeds ``statistic``.

    This is the regularised upper incomplete gamma function Q(freedom/2, statistic/2), by its recurrence
    Q(a+1, x) = Q(a, x) + x^a e^-x / Γ(a+1) from Q(1/2, x) = erfc(√x) or Q(1, x) = e^-x (Abramowitz and
    Stegun, 6.5.21 and 26.4.4).
    """
    x = statistic / 2
    if x <= 0:
        return 1.0
    a = 0.5 if freedom % 2 else 1.0
    result = math.erfc(math.sqrt(x)) if freedom % 2 else math.exp(-x)
    while a < freedom / 2:
        result += math.exp(a * math.log(x) - x - math.lgamma(a + 1))
        a += 1
    return min(result, 1.0)
