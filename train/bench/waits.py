"""How long a step waits for its batch, with the loader that train.loop makes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from train import loop
from train.bench.turns import WARMING, timed
from train.bench.ways import Way


@dataclass(frozen=True)
class Waits:
    """Milliseconds of steps that followed each other, and of waiting before each."""

    way: str
    pictures: str  # where they come from
    workers: int
    batch: int
    wait: tuple[float, ...]
    step: tuple[float, ...]

    @property
    def share(self) -> float:
        """Of all the time, what was spent waiting."""
        return sum(self.wait) / (sum(self.wait) + sum(self.step))

    @property
    def rate(self) -> float:
        """Images a second, with the waiting."""
        return 1e3 * self.batch * len(self.step) / (sum(self.wait) + sum(self.step))

    @property
    def medians(self) -> tuple[float, float]:
        """Of the waits and of the steps."""
        return statistics.median(self.wait), statistics.median(self.step)


def waits(way: Way, steps: int, workers: int) -> Iterator[Waits]:
    """With pictures kept in memory, then decoded each time: in this process, and by so many workers."""
    cases = [("memory", True, 0), ("files", False, 0), ("files", False, workers)]
    for pictures, cache, processes in cases if workers else cases[:2]:
        data = way.items(cache)
        plan: list[Any] = []
        for epoch in range(WARMING + steps):  # as many as it takes, by one loader: workers start once
            if len(plan) < WARMING + steps:
                plan += way.epoch(data, epoch)
        batches = iter(loop.epoch_batches(data, plan[: WARMING + steps], 0, processes))
        wait, step = [], []
        for _ in range(WARMING + steps):
            began = time.perf_counter()
            batch = next(batches)
            wait.append(1e3 * (time.perf_counter() - began))
            step.append(timed(way, batch))
        yield Waits(
            way.name, pictures, processes, way.cfg.batch, tuple(wait[WARMING:]), tuple(step[WARMING:])
        )
