"""Several ways to one result on a GPU, timed with its own events, in turns.

The GPU is kept busy while a call is queued, so that what the events enclose is the call's kernels and not
Python. A way that waits for the GPU in between, as some of torch's do, shows its waiting, as it would in
use. Every call gets the next of several inputs: together they exceed the second-level cache, which would
otherwise answer for the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from cpp_ext.bench.timing import Runs

Way = Callable[[int], Any]
"""Called with the number of the turn, by which it takes its input."""

REPETITIONS = 21
WARM = 3
HEAD_START = 6_000_000  # cycles, about three milliseconds: more than it takes to queue any of the ways


def paired(ways: Mapping[str, Way], repetitions: int = REPETITIONS) -> tuple[dict[str, Runs], dict[str, Any]]:
    """Each way's milliseconds per turn, and its result for turn 0."""
    results = {name: way(0) for name, way in ways.items()}
    for turn in range(1, WARM):
        for way in ways.values():
            way(turn)
    each: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repetitions):
        for name, way in ways.items():
            each[name].append(milliseconds(way, turn))
    return {name: Runs(tuple(times)) for name, times in each.items()}, results


def milliseconds(way: Way, turn: int) -> float:
    """Of one call."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    torch.cuda._sleep(HEAD_START)  # type: ignore[no-untyped-call]
    began.record()
    kept = way(turn)
    ended.record()
    ended.synchronize()
    del kept
    return float(began.elapsed_time(ended))


def peak(way: Way, forget: Callable[[], None] = lambda: None) -> float:
    """MiB of GPU memory that a call takes beyond what is held before it, what it leaves behind included.

    ``forget`` frees what calls leave behind.
    """
    way(0)
    forget()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = way(0)
    torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated()
    del kept
    return (most - before) / 2**20
