"""Random choices that are the same on every machine and in every NumPy.

NumPy promises that a bit generator's raw 64-bit words never change, but not what `Generator` makes of
them; so everything here is plain arithmetic on the words of PCG64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class Dice:
    """A stream of choices named by non-negative integers: equal keys give equal streams."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))
        self._words: list[int] = []

    def word(self) -> int:
        """The next 64 random bits."""
        if not self._words:
            self._words = self._bits.random_raw(64)[::-1].tolist()
        return self._words.pop()

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return (self.word() * n) >> 64

    def real(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high), from 53 bits."""
        return low + (high - low) * ((self.word() >> 11) * 2.0**-53)

    def bell(self, spread: float) -> float:
        """A number around 0, roughly normal, never beyond 3 `spread`: the sum of four uniform ones."""
        return spread * 1.5 * (self.real() + self.real() + self.real() + self.real() - 2.0)

    def chance(self, share: float) -> bool:
        """True in `share` of the cases."""
        return self.real() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.below(len(options))]

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of the keys, as likely as its weight."""
        left = self.real(0.0, sum(weights.values()))
        for option, weight in weights.items():
            left -= weight
            if left < 0.0:
                return option
        return option

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        rest = list(items)
        for i in range(len(rest) - 1, 0, -1):
            j = self.below(i + 1)
            rest[i], rest[j] = rest[j], rest[i]
        return rest

    def bytes(self, n: int) -> npt.NDArray[np.uint8]:
        """(n,) random bytes."""
        words = self._bits.random_raw((n + 7) // 8)
        return words.astype("<u8").view(np.uint8)[:n]
