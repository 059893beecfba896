"""What this machine can do at most: streaming reads, and multiply-adds in registers.

Read: the best of every level's loads, with and without fetching ahead, over a buffer of huge pages that is
more than four times the last cache. Multiply-adds: chains of one instruction on registers, twelve or sixteen
at once, per level.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpp_ext._levels import LEVELS, core

AHEAD = (0, 512, 1024, 4096)  # bytes between a load and the line fetched with it
LEAST = 512 << 20  # bytes of the buffer; several times what a guest is told of its host's cache
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
PAGE = 4096


@dataclass(frozen=True)
class Floor:
    """The least time of a scan, and what sets it."""

    ms: float
    bound: str


@dataclass(frozen=True)
class Floors:
    """Measured ceilings, each by the number of threads."""

    read: dict[int, float]  # GB/s
    fma: dict[str, dict[int, float]]  # level → float32 GMAC/s
    mac: dict[str, dict[int, float]]  # level → int8 GMAC/s

    def scan(self, bytes_read: float, macs: float, threads: int) -> Floor:
        """Reading the codes once and multiplying each with every query, whichever takes longer."""
        rates = [rate[threads] for rate in (self.mac or self.fma).values()]
        return self._longer(bytes_read, macs, max(rates), threads)

    def product(self, bytes_read: float, macs: float, threads: int) -> Floor:
        """The same for a product in float32."""
        return self._longer(bytes_read, macs, max(rate[threads] for rate in self.fma.values()), threads)

    def _longer(self, bytes_read: float, macs: float, rate: float, threads: int) -> Floor:
        reading, multiplying = bytes_read / self.read[threads] / 1e6, macs / rate / 1e6
        return Floor(reading, "read") if reading >= multiplying else Floor(multiplying, "multiply")


def measure(threads: Sequence[int], seconds: float = 0.02, size: int | None = None, tries: int = 5) -> Floors:
    """Every loop of every level of this machine, at each number of threads; some seconds.

    ``seconds`` is how long a loop runs each time at least, ``size`` the bytes of the buffer; the best of
    ``tries`` counts.

    Raises:
        RuntimeError: there is no compiled module.
    """
    if core is None:
        raise RuntimeError("the floors are loops of the compiled module, which isn't there; install Labrador")
    data = huge(size if size is not None else max(LEAST, 5 * last_cache()))
    read = {
        count: max(
            best(level, "read", data, ahead, count, seconds, tries) for level in LEVELS for ahead in AHEAD
        )
        for count in threads
    }
    rates: dict[str, dict[str, dict[int, float]]] = {}
    for loop in ("fma", "mac"):
        every = {
            level: {count: best(level, loop, data, 0, count, seconds, tries) for count in threads}
            for level in LEVELS
        }
        rates[loop] = {level: rate for level, rate in every.items() if all(rate.values())}
    return Floors(read, rates["fma"], rates["mac"])


def best(
    level: str, loop: str, data: npt.NDArray[np.uint8], ahead: int, threads: int, seconds: float, tries: int
) -> float:
    """Billions of bytes or multiply-adds per second; 0 where the level has no such loop."""
    assert core is not None
    rounds, found = 1, 0.0
    while True:  # the first readings also bring the buffer and the clock up
        operations, took = core.run_floor(level, loop, data, ahead, rounds, threads)
        if not operations:
            return 0.0
        if took >= seconds:
            break
        rounds = max(2 * rounds, int(1.2 * rounds * seconds / max(took, 1e-9)))
    for _ in range(tries):
        operations, took = core.run_floor(level, loop, data, ahead, rounds, threads)
        found = max(found, operations / took / 1e9)
    return found


def huge(size: int) -> npt.NDArray[np.uint8]:
    """A buffer of ones, whole pages, on huge pages where the system gives them."""
    memory = mmap.mmap(-1, -(-size // PAGE) * PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    data = np.frombuffer(memory, np.uint8)
    data.fill(1)
    return data


def last_cache() -> int:
    """Bytes of the largest cache; 0 where Linux doesn't say."""
    units = {"": 1, "K": 1 << 10, "M": 1 << 20}
    sizes = [0]
    for path in CACHES.glob("index*/size"):
        if match := re.fullmatch(r"(\d+)([KM]?)", path.read_text().strip()):
            sizes.append(int(match[1]) * units[match[2]])
    return max(sizes)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
