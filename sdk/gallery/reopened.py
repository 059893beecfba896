"""A gallery as a search service meets it, filled and closed before it was opened: ``python -m cpp_ext.bench``
finds it by its entry point and times its searches beside the kernel's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..types import Floats, Gallery, Hits, Space
from . import open_gallery

BATCH = 50_000  # rows added at a time


@dataclass(frozen=True)
class Reopened:
    """Row i of what it was filled with has the id i."""

    gallery: Gallery
    facts: Mapping[str, float]

    def search(self, queries: Floats, k: int, mark: str | None) -> Hits:
        """Queries (n, d); ``mark``: only rows that carry it."""
        return self.gallery.search(queries, k, None if mark is None else {mark: True})

    def found(self, result: Hits) -> tuple[npt.NDArray[np.int64], Floats]:
        """Row numbers (n, k), -1 where there is none, and scores (n, k)."""
        numbers = [[-1 if id is None else id for id in row] for row in result.ids.tolist()]
        return np.array(numbers, np.int64).reshape(result.ids.shape), result.scores


@contextmanager
def reopened(rows: Floats, marks: Mapping[str, npt.NDArray[np.bool_]]) -> Iterator[Reopened]:
    """Rows (m, d) float32 in a temporary local gallery; a mark (m,) is metadata of the rows it's true for.

    ``facts``: seconds of filling, milliseconds of opening and of the first search, which also checks every
    stored code once.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/bench.gallery"
        began = time.perf_counter()
        filling = open_gallery(path, Space("", rows.shape[1]), write=True)
        for first in range(0, len(rows), BATCH):
            ids = range(first, min(first + BATCH, len(rows)))
            metadata = [{name: True for name, marked in marks.items() if marked[i]} for i in ids]
            filling.add(list(ids), rows[first : first + BATCH], metadata)
        filling.close()
        filled = time.perf_counter()
        gallery = open_gallery(path, write=False)
        opened = time.perf_counter()
        gallery.search(rows[:1], 1)
        searched = time.perf_counter()
        facts = {
            "fill s": filled - began,
            "open ms": 1e3 * (opened - filled),
            "first search ms": 1e3 * (searched - opened),
        }
        try:
            yield Reopened(gallery, facts)
        finally:
            gallery.close()
