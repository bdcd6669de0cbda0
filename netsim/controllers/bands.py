"""Picking a free number out of a range that has a static and a dynamic band.

Numbers that users write down by hand are likely to be low, so what nobody chose is picked at random in the
upper band first, and in the lower one only when the upper is full (KEP-3070, KEP-3668).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netsim.base.rng import Rng


class Bands(NamedTuple):
    """Numbers [first, last]; those from ``dynamic`` on are the upper band."""

    first: int
    dynamic: int
    last: int

    def pick(self, rng: Rng, is_free: Callable[[int], bool]) -> int | None:
        """A free number, or None when there is none."""
        for low, high in ((self.dynamic, self.last), (self.first, self.dynamic - 1)):
            size = high - low + 1
            if size <= 0:
                continue
            start = rng.below(size)
            for step in range(size):
                number = low + (start + step) % size
                if is_free(number):
                    return number
        return None


def static_size(size: int, *, least: int, part: int, most: int) -> int:
    """How many numbers the lower band has: min(max(least, size / part), most)."""
    return min(max(least, size // part), most)
