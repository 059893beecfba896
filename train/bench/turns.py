"""Steps timed in turns in one process, and how many times one takes what another does."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sdk.errors import InputError
from train.bench.ways import Way

WARMING = 2  # rounds that don't count: optimisers make their state, the allocator learns the sizes


@dataclass(frozen=True)
class Times:
    """Milliseconds of a way's step, one per round, and how long the ids were that it read."""

    each: tuple[float, ...]
    tokens: tuple[int, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    def over(self, other: Times) -> tuple[float, float, float]:
        """This step's time through the other's: the median over the rounds, and its ``interval``."""
        ratios = [mine / its for mine, its in zip(self.each, other.each, strict=True)]
        return statistics.median(ratios), *interval(ratios)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median of what they were drawn from lies, with 95 % confidence and whatever it looks like.

    Between two of the values themselves: of n, j or fewer lie below the median with a chance of
    (C(n, 0) + … + C(n, j)) / 2^n. Fewer than six can't say as much; then it is the least and the most.
    """
    ordered, n = sorted(values), len(values)
    outside, place = 0, 0
    for j in range(n // 2):
        outside += math.comb(n, j)
        if 2 * outside <= 0.05 * 2**n:
            place = j
    return ordered[place], ordered[n - 1 - place]


def in_turns(ways: Sequence[Way], rounds: int, seed: int = 0) -> dict[str, Times]:
    """Rounds of one step of each way on the same pictures, in an order that is drawn anew each time.

    Raises InputError when the data hold fewer pictures than a batch.
    """
    pictures, batch = len(ways[0].place), ways[0].cfg.batch
    if pictures < batch:
        raise InputError(f"batch: {batch} different pictures are wanted, the data hold {pictures}")
    rng = np.random.default_rng(seed)
    sets = {way.name: way.items(False) for way in ways}
    took: dict[str, list[float]] = {way.name: [] for way in ways}
    tokens: dict[str, list[int]] = {way.name: [] for way in ways}
    for turn in range(-WARMING, rounds):
        chosen = rng.permutation(pictures)[:batch]
        batches = {way.name: sets[way.name].batch(way.place[chosen]) for way in ways}
        for at in rng.permutation(len(ways)):
            way, made = ways[at], batches[ways[at].name]
            milliseconds = timed(way, made)
            if turn >= 0:
                took[way.name].append(milliseconds)
                tokens[way.name].append(way.cut(made[1]).shape[1])
    return {name: Times(tuple(took[name]), tuple(tokens[name])) for name in took}


def timed(way: Way, batch: tuple[torch.Tensor, ...]) -> float:
    """Milliseconds of a step, until a GPU has done it too."""
    began = time.perf_counter()
    way.step(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)
