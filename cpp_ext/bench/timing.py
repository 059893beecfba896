"""Several ways to one result, timed in turns in one process.

A machine drifts: its clock, its neighbours, its memory. So the ways take turns, and what is compared are the
times of one turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

BURST = 0.03  # seconds of calls that make one repetition of a short way, so that it runs warm like a long one
PATIENCE = 10.0  # seconds of repetitions for one way; of a slower one the first run is all there is
SHORT_PATIENCE = 3.0  # for each of the many others


@dataclass(frozen=True)
class Runs:
    """One figure per repetition: milliseconds of a call, or mebibytes."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    def over(self, other: Runs) -> float:
        """How many times ``other``'s figure this is: the median over the turns both took."""
        return statistics.median(mine / its for mine, its in zip(self.each, other.each, strict=False))


@dataclass(frozen=True)
class Way:
    """``run`` is timed. ``around`` is entered before it and left after it, untimed. ``patience``: seconds."""

    run: Callable[[], Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    patience: float = PATIENCE


def paired(ways: Mapping[str, Way], repetitions: int) -> tuple[dict[str, Runs], dict[str, Any]]:
    """Each way's times, and the result of its first run, which warms up: it counts if it's the only one."""
    first: dict[str, float] = {}
    results: dict[str, Any] = {}
    for name, way in ways.items():
        with way.around():
            quiet()
            began = time.perf_counter()
            results[name] = way.run()
            first[name] = time.perf_counter() - began
    turns = {n: min(repetitions, int(way.patience / max(first[n], BURST))) for n, way in ways.items()}
    each: dict[str, list[float]] = {name: [] if turns[name] else [1e3 * first[name]] for name in ways}
    for turn in range(repetitions):
        for name, way in ways.items():
            if turn < turns[name]:
                with way.around():
                    quiet()
                    each[name].append(burst(way.run))
    return {name: Runs(tuple(times)) for name, times in each.items()}, results


def burst(run: Callable[[], Any]) -> float:
    """Milliseconds per call, of as many calls as fill ``BURST``."""
    calls, began = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        took = time.perf_counter() - began
        if took >= BURST:
            return 1e3 * took / calls


def quiet(limit: float = 2.0) -> None:
    """Wait until no thread of this process computes: those of OpenMP and BLAS spin on after their work.

    Raises:
        RuntimeError: one still spins after ``limit`` seconds.
    """
    until = time.monotonic() + limit
    while time.monotonic() < until:
        used, began = time.process_time(), time.monotonic()
        time.sleep(0.005)
        if time.process_time() - used < 0.1 * (time.monotonic() - began):
            return
    raise RuntimeError(
        f"a thread of this process has been computing for {limit} s with nothing to do, which would slow "
        "what is timed next; unset OMP_WAIT_POLICY, GOMP_SPINCOUNT and KMP_BLOCKTIME"
    )


def fastest(names: Sequence[str], times: Mapping[str, Runs]) -> str:
    """The one of ``names`` with the least median."""
    return min(names, key=lambda name: times[name].median)
