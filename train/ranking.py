"""At which ranks a query's right answers stand, by `cpp_ext.topk` or by sorting every score.

Both rank by the scores that `cpp_ext` defines, one summation order for every machine and thread count, equal
ones in gallery order; so both say the same, and what is judged is what a search returns.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

import cpp_ext
from sdk.errors import VectorError
from sdk.types import Floats
from train.metrics import Metrics, Ranks, metrics_of, rank_metrics

By: TypeAlias = Literal["topk", "sort"]
Bools: TypeAlias = npt.NDArray[np.bool_]

FIRST, GROWTH = 128, 8  # hits asked for at first; then so many times as many where answers are still missing


def judge_scores(
    by: By, queries: Floats, gallery: Floats, relevant: Bools, ignored: Bools, top_tokens: int = 1
) -> Metrics:
    """Metrics of queries (n, d) in a gallery (m, d) or (m, t, d), both float32.

    relevant, ignored: (n, m); an ignored item takes no place in that query's ranking and is never relevant.
    by: "topk" searches, and again for more hits where answers are missing; "sort" scores every pair. Raises
    VectorError for a score that isn't finite.
    """
    if by == "sort":
        return rank_metrics(all_scores(queries, gallery, top_tokens), relevant, ignored)
    return metrics_of(search_ranks(queries, gallery, relevant, ignored, top_tokens))


def all_scores(queries: Floats, gallery: Floats, top_tokens: int = 1) -> Floats:
    """(n, m): every pair's score, equal to the bit to a search's."""
    n, m = len(queries), len(gallery)
    rows, columns = np.divmod(np.arange(n * m), m)
    return cpp_ext.score_pairs(queries, gallery, rows, columns, top_tokens).reshape(n, m)


def search_ranks(
    queries: Floats, gallery: Floats, relevant: Bools, ignored: Bools, top_tokens: int = 1
) -> list[Ranks]:
    """For each query the ascending ranks, from 1, of its relevant items among those it doesn't ignore."""
    never = np.asarray(ignored.all(axis=0))  # junk: one mask for all; the rest are short lists
    wanted = relevant & ~ignored
    count = wanted.sum(axis=1)
    found: list[Ranks] = [np.empty(0, np.int64)] * len(queries)
    open_rows, k = np.flatnonzero(count), FIRST
    while len(open_rows):
        exclude = [np.flatnonzero(ignored[row] & ~never) for row in open_rows]
        hits, _ = cpp_ext.topk(
            queries[open_rows],
            gallery,
            min(k, len(gallery)),
            mask=~never,
            exclude=exclude,  # type: ignore[arg-type]
            top_tokens=top_tokens,
        )
        missing = []
        for row, hit in zip(open_rows, hits, strict=True):
            ranks = np.flatnonzero(wanted[row][hit[hit >= 0]]) + 1
            found[row] = ranks
            if len(ranks) < count[row]:
                missing.append(row)
        if missing and k >= len(gallery):
            raise VectorError(f"gallery: query {missing[0]} has an answer whose score isn't finite")
        open_rows, k = np.array(missing, np.int64), k * GROWTH
    return found
