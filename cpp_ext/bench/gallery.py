"""One gallery to search: its vectors, its codes, its store, and what packing cost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import cpp_ext
from cpp_ext.bench import store as stores
from cpp_ext.bench.data import Vectors
from cpp_ext.bench.floors import Floor, Floors
from cpp_ext.bench.row import Row
from cpp_ext.bench.timing import Runs, Way, paired

PACKINGS = 3  # times a gallery is packed


@dataclass(frozen=True)
class Given:
    """What the rows of one gallery share. ``marks``: by their share, which rows a mask lets through."""

    vectors: Vectors
    packed: cpp_ext.Packed
    packing: Runs
    marks: dict[str, npt.NDArray[np.bool_]]
    store_name: str
    store: stores.Store | None
    floors: Floors
    threads: int
    repetitions: int

    @property
    def case(self) -> dict[str, str]:
        """The columns that every row of this gallery begins with."""
        m, d = self.vectors.rows.shape
        return {"data": self.vectors.name, "N": f"{m:,}", "d": str(d)}

    def floor(self, queries: int, threads: int) -> Floor:
        """Of a search that reads every code and multiplies it with every query."""
        codes = self.packed.panels
        return self.floors.scan(codes.nbytes + self.packed.bounds.nbytes, queries * codes.size, threads)

    def ways(
        self, queries: npt.NDArray[np.float32], k: int, threads: int, mark: str | None
    ) -> dict[str, Way]:
        """The kernel, and the store if there is one, which is allowed so many processors."""
        bits = None if mark is None else np.packbits(self.marks[mark], bitorder="little")
        found = {"kernel": Way(partial(cpp_ext.topk, queries, self.packed, k, mask=bits, threads=threads))}
        if self.store is not None:
            search = partial(self.store.search, queries, k, mark)
            found[self.store_name] = Way(search, partial(confined, threads))
        return found

    def packing_row(self) -> Row:
        m, ms = len(self.vectors.rows), self.packing.median
        facts: dict[str, Any] = {
            "rows/s": 1e3 * m / ms,
            "GB/s of vectors": self.vectors.rows.nbytes / ms / 1e6,
            "MB of codes": self.packed.nbytes / 1e6,
            "MB of vectors": self.vectors.rows.nbytes / 1e6,
        }
        if self.store is not None:
            facts |= {f"{self.store_name}, {key}": value for key, value in self.store.facts.items()}
        return Row("packing", {**self.case, "threads": str(self.threads)}, self.packing, facts=facts)


@contextmanager
def given(
    vectors: Vectors,
    shares: tuple[float, ...],
    store: tuple[str, stores.Factory] | None,
    floors: Floors,
    threads: int,
    repetitions: int,
) -> Iterator[Given]:
    """Packs and stores ``vectors``; each of ``shares`` is a mark that so many of the rows carry."""
    random = np.random.default_rng(1)
    marks = {f"{share:.3g}": random.random(len(vectors.rows)) < share for share in shares}
    times, results = paired({"pack": Way(partial(cpp_ext.pack, vectors.rows, threads=threads))}, PACKINGS)
    name, factory = store if store is not None else ("", None)
    with nullcontext() if factory is None else factory(vectors.rows, marks) as opened:
        yield Given(
            vectors, results["pack"], times["pack"], marks, name, opened, floors, threads, repetitions
        )


@contextmanager
def confined(threads: int) -> Iterator[None]:
    """The calling thread, and those it starts, on so many of its processors."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[:threads]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
