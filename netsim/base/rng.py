"""Seeded chance.

Everything random in netsim comes from an ``Rng`` that was derived, by name, from the Topology's seed, so
that two runs agree whatever PYTHONHASHSEED is, and one consumer's draws never shift another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Rng:
    """A deterministic stream of chance; ``derive`` gives an independent stream for a named consumer."""

    __slots__ = ("_drawn", "path", "seed")

    def __init__(self, seed: int, path: str = "") -> None:
        self.seed = seed
        self.path = path
        self._drawn: Random | None = None  # most streams are never drawn from, and a Random takes 2.5 kB

    @property
    def _random(self) -> Random:
        if self._drawn is None:
            digest = hashlib.sha256(f"{self.seed}/{self.path}".encode()).digest()
            self._drawn = Random(int.from_bytes(digest[:16], "big"))
        return self._drawn

    def derive(self, name: str) -> Rng:
        """An independent stream: the same seed and name always give the same stream."""
        return Rng(self.seed, f"{self.path}/{name}")

    def random(self) -> float:
        """A float in [0, 1)."""
        return self._random.random()

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        return self._random.randrange(bound)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return self._random.randint(low, high)

    def choice(self, items: Sequence[T]) -> T:
        """One item of a non-empty sequence."""
        return items[self._random.randrange(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A new list with the items in a random order."""
        copy = list(items)
        self._random.shuffle(copy)
        return copy

    def text(self, length: int, alphabet: str) -> str:
        """A random word, as Kubernetes appends to generated names."""
        return "".join(alphabet[self._random.randrange(len(alphabet))] for _ in range(length))
