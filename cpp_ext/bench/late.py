"""Late similarity: items of t tokens, scored by the mean of their best ``top_tokens`` dot products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import cpp_ext
from cpp_ext.bench import memory
from cpp_ext.bench.agreement import near_ties, oracle, same_bits
from cpp_ext.bench.data import drawn
from cpp_ext.bench.floors import Floors
from cpp_ext.bench.peers import torch_limited
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.timing import Runs, Way, paired

Floats = npt.NDArray[np.float32]

PEER = "torch einsum + topk"


def rows(
    sizes: Sequence[int],
    tops: Sequence[int],
    k: int,
    floors: Floors,
    threads: int,
    repetitions: int,
    peers: bool,
) -> Iterator[Row]:
    """``sizes``: items, tokens, d, queries; one row per number of ``tops``, then the memory of a search."""
    m, t, d, n = sizes
    tokens, queries = made(m, t, d, n)
    packed = cpp_ext.pack(tokens, threads=threads)
    for top in tops:
        truth = oracle(queries, tokens, k, top_tokens=top)
        search = partial(cpp_ext.topk, queries, packed, k, top_tokens=top, threads=threads)
        ways = {"kernel": Way(search)}
        if peers:
            in_torch(tokens[: 2 * k], queries, k, top)  # loads torch
            ways[PEER] = Way(partial(in_torch, tokens, queries, k, top), partial(torch_limited, threads))
        times, results = paired(ways, repetitions)
        case = {"N": f"{m:,}", "t": str(t), "top": str(top), "d": str(d), "k": str(k), "Q": str(n)}
        faults = [*truth.faults, same_bits("the kernel", results["kernel"], truth.first(n))]
        if peers:
            faults.append(near_ties(PEER, results[PEER], queries, tokens, truth.first(n), top))
        yield Row(
            "late similarity",
            {**case, "threads": str(threads)},
            times["kernel"],
            floor=floors.scan(packed.panels.nbytes + packed.bounds.nbytes, n * packed.panels.size, threads),
            others=(Other(PEER, times[PEER], (PEER,)),) if peers else (),
            facts={"MB of codes": packed.nbytes / 1e6},
            checked=truth.source,
            faults=tuple(fault for fault in faults if fault is not None),
        )
        peaks = {
            way: Runs((memory.peak("late", way, (m, t, d, n, top, threads)),))
            for way in (("kernel", PEER) if peers else ("kernel",))
        }
        yield Row(
            "late similarity: memory of a search",
            {**case, "threads": str(threads)},
            peaks["kernel"],
            unit="MiB",
            others=(Other(PEER, peaks[PEER], (PEER,)),) if peers else (),
        )


def made(m: int, t: int, d: int, n: int) -> tuple[Floats, Floats]:
    """Tokens (m, t, d) and queries (n, d) of unit length."""
    vectors = drawn("random", m * t, d, n)
    return vectors.rows.reshape(m, t, d), vectors.queries


def in_torch(tokens: Floats, queries: Floats, k: int, top: int) -> npt.NDArray[np.int64]:
    import torch

    with torch.inference_mode():
        scores = torch.einsum("qd,mtd->qmt", torch.from_numpy(queries), torch.from_numpy(tokens))
        items = scores.amax(-1) if top == 1 else scores.topk(top, dim=-1).values.mean(-1)
        return items.topk(k).indices.numpy()


def working(way: str, sizes: Sequence[int]) -> Callable[[], Any]:
    """One search, for ``memory``; ``sizes``: items, tokens, d, queries, top_tokens, threads."""
    m, t, d, n, top, threads = sizes
    tokens, queries = made(m, t, d, n)
    k = min(10, m)
    if way == PEER:
        import torch

        torch.set_num_threads(threads)
        return partial(in_torch, tokens, queries, k, top)
    packed = cpp_ext.pack(tokens, threads=threads)
    return partial(cpp_ext.topk, queries, packed, k, top_tokens=top, threads=threads)


def small(sizes: Sequence[int]) -> list[int]:
    """The same work with next to nothing to do: it loads and starts what the true one needs."""
    return [16, *sizes[1:3], 2, *sizes[4:]]
