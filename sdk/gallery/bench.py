"""How fast a local gallery adds, opens, filters and searches on this machine.

    python -m sdk.gallery.bench --rows 1000000 --dim 512

A filter's cost is that of a whole search with it, less the median search without any, so it can come out
below zero where the filter spares the search more than it costs. "first": the filter is new to an open
gallery; "again": the median of nine searches more.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..types import Space
from . import open_gallery

BATCH = 50_000
FILTERS: dict[str, dict[str, Any]] = {
    "camera = 3": {"camera": 3},
    "camera ≠ 3": {"camera": {"$ne": 3}},
    "zone in two, and hat": {"zone": {"$in": ["z1", "z50"]}, "hat": True},
    "time range, camera not in two": {
        "time": {"$gte": 1_000, "$lt": 900_000},
        "camera": {"$nin": [1, 2]},
    },
    "time in 100 numbers": {"time": {"$in": list(range(0, 100_000, 1_000))}},
    "path in 100 strings": {"path": {"$in": [f"images/{i:09d}.jpg" for i in range(0, 100_000, 1_000)]}},
}


def _ms(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


def _metadata(i: int) -> dict[str, Any]:
    return {
        "camera": i % 12, "time": i, "zone": f"z{i % 97}", "hat": i % 7 == 0, "path": f"images/{i:09d}.jpg",
    }  # fmt: skip


def bench(rows: int = 1_000_000, dim: int = 512) -> None:
    """Fill a temporary gallery and print what adding, opening, searching and filtering it took.

    Args:
        rows: gallery rows, each with five metadata fields.
        dim: of the vectors, float32.
    """
    rng = np.random.default_rng(0)
    query = rng.standard_normal((1, dim), dtype=np.float32)
    table = Table("what", "ms", title=f"{rows:,} rows x {dim}, {platform.machine()}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        path, adding = f"{folder}/bench.gallery", 0.0
        filling = open_gallery(path, Space("", dim))
        for first in range(0, rows, BATCH):
            ids = list(range(first, min(first + BATCH, rows)))
            vectors = rng.standard_normal((len(ids), dim), dtype=np.float32)
            metadata = [_metadata(i) for i in ids]
            adding += _ms(partial(filling.add, ids, vectors, metadata))
        filling.close()
        table.add_row(f"add, batches of {BATCH:,}", f"{adding:,.0f} ({1e3 * rows / adding:,.0f} rows/s)")
        began = time.perf_counter()
        gallery = open_gallery(path, write=False)
        table.add_row("open", f"{1e3 * (time.perf_counter() - began):.1f}")
        table.add_row("first search, k = 10", f"{_ms(partial(gallery.search, query, 10)):.1f}")
        plain = statistics.median(_ms(partial(gallery.search, query, 10)) for _ in range(9))
        table.add_row("next searches", f"{plain:.1f}")
        for name, where in FILTERS.items():
            times = [_ms(partial(gallery.search, query, 10, where)) - plain for _ in range(10)]
            table.add_row(
                f"filter: {name}", f"first {times[0]:.1f}, again {statistics.median(times[1:]):.1f}"
            )
        gallery.close()
    Console().print(table)


if __name__ == "__main__":
    import tyro

    tyro.cli(bench, description=__doc__)
