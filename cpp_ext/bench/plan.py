"""What is measured, in which sizes, and the run itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cpp_ext.bench import data, late, masks, mining, search
from cpp_ext.bench.data import Vectors
from cpp_ext.bench.floors import Floors
from cpp_ext.bench.gallery import given
from cpp_ext.bench.row import Row
from cpp_ext.bench.store import Factory

Table = Literal["search", "masks", "late", "mining"]
Kind = Literal["random", "clustered", "cone"]


@dataclass(frozen=True)
class Plan:
    """Sizes; the defaults are those that the documented figures have."""

    items: tuple[int, ...] = (200_000, 1_000_000)
    dim: int = 512
    queries: tuple[int, ...] = (1, 8, 64, 256, 1024)
    k: int = 10
    masked_queries: int = 64
    shares: tuple[float, ...] = (0.5, 0.01)  # of the rows that a mask lets through
    late: tuple[int, int, int, int] = (20_000, 32, 256, 16)  # items, tokens, dim, queries
    top_tokens: tuple[int, ...] = (1, 4)
    batch: int = 2048
    memory_batch: int = 8192
    repetitions: int = 9


def run(
    plan: Plan,
    tables: Sequence[Table],
    kinds: Sequence[Kind],
    embeddings: Path | None,
    floors: Floors,
    threads: int,
    peers: bool,
    store: tuple[str, Factory] | None,
) -> Iterator[Row]:
    """The rows as they come."""
    if {"search", "masks"} & set(tables):
        for make in _galleries(plan, kinds, embeddings):
            yield from _searches(plan, tables, make(), floors, threads, peers, store)
    if "late" in tables:
        yield from late.rows(plan.late, plan.top_tokens, plan.k, floors, threads, plan.repetitions, peers)
    if "mining" in tables:
        yield from mining.rows(plan.batch, plan.dim, floors, threads, plan.repetitions, peers)
        yield from mining.memory_rows(plan.memory_batch, plan.dim, threads, peers)


def _galleries(plan: Plan, kinds: Sequence[Kind], embeddings: Path | None) -> Iterator[Callable[[], Vectors]]:
    """One at a time: a million rows of 512 are 2 GB, and an index of each peer is as much again."""
    most = max((*plan.queries, plan.masked_queries))
    for m in plan.items:
        for kind in kinds:
            yield lambda m=m, kind=kind: data.drawn(kind, m, plan.dim, most)  # type: ignore[misc]
    if embeddings is not None:
        yield lambda: data.read(embeddings, most)


def _searches(
    plan: Plan,
    tables: Sequence[Table],
    vectors: Vectors,
    floors: Floors,
    threads: int,
    peers: bool,
    store: tuple[str, Factory] | None,
) -> Iterator[Row]:
    with given(vectors, plan.shares, store, floors, threads, plan.repetitions) as gallery:
        yield gallery.packing_row()
        if "search" in tables:
            yield from search.rows(gallery, plan.queries, plan.k, peers)
        if "masks" in tables:
            yield from masks.rows(gallery, plan.masked_queries, plan.k)
