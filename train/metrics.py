"""Ranking metrics over a score matrix: Rank-k, mAP, mINP, with bootstrap intervals. NumPy only.

The definitions are IRRA's (person search has several mAPs; figures under another one aren't comparable).
For one query, rank the gallery by score, highest first, equal scores in gallery order; let R be the number
of relevant items and r_1 < … < r_R their 1-based ranks, counted after ignored items were taken out:

- Rank-k: 1 if r_1 ≤ k, else 0.
- AP = (1/R) Σ_j j / r_j, the mean precision at the hits.
- INP = R / r_R, how far down the last relevant item lies.
- AP, trapezoidal = (1/R) Σ_j ½[(j-1)/(r_j - 1) + j / r_j], the precision before the hit being 1 at r_j = 1.
  It is what the Oxford and Market-1501 tools and ASMR report; logged beside, never called mAP.

A query with no relevant item has none of these; it is left out of every mean and counted in `skipped`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk.errors import VectorError

Floats: TypeAlias = npt.NDArray[np.float64]
Ranks: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

# name -> heading of its column; "map_trapezoid" stands apart because it answers another definition
NAMES: Mapping[str, str] = {
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "map": "mAP",
    "minp": "mINP",
    "map_trapezoid": "mAP trapezoidal",
}


@dataclass(frozen=True)
class Metrics:
    """What each counted query scored; q queries have a match, `skipped` have none.

    first: (q,) int64 rank of the first relevant item, from 1. ap, inp, ap_trapezoid: (q,) float64 in 0…1.
    query: (q,) int64 row of the score matrix that each of them was.
    """

    query: npt.NDArray[np.int64]
    first: Ranks
    ap: Floats
    inp: Floats
    ap_trapezoid: Floats
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.first)

    @property
    def rank1(self) -> Bools:
        """(q,) the best-ranked item is relevant."""
        return self.rank(1)

    @property
    def rank5(self) -> Bools:
        return self.rank(5)

    @property
    def rank10(self) -> Bools:
        return self.rank(10)

    def rank(self, k: int) -> Bools:
        """(q,) a relevant item is among the first k."""
        return self.first <= k

    def per_query(self) -> dict[str, Floats]:
        """Name -> (q,) values in 0…1, in the order of NAMES."""
        hit = {f"rank{k}": self.rank(k).astype(np.float64) for k in (1, 5, 10)}
        return {**hit, "map": self.ap, "minp": self.inp, "map_trapezoid": self.ap_trapezoid}

    def means(self) -> dict[str, float]:
        """Name -> mean over the counted queries in percent; NaN when no query was counted."""
        return {
            name: 100 * float(values.mean()) if len(self) else float("nan")
            for name, values in self.per_query().items()
        }

    def to_json(self, intervals: Mapping[str, tuple[float, float]] | None = None) -> dict[str, Any]:
        """Plain data: percent means (null without a counted query), counts, and `low`/`high` if given."""
        means: dict[str, Any] = {name: value if len(self) else None for name, value in self.means().items()}
        out: dict[str, Any] = {**means, "queries": len(self), "skipped": self.skipped}
        if intervals is not None:
            out["interval95"] = {name: list(intervals[name]) if len(self) else None for name in NAMES}
        return out

    def table(self, intervals: Mapping[str, tuple[float, float]] | None = None) -> list[tuple[str, str, str]]:
        """(heading, percent, 95 % interval) per metric, ready to print."""
        means = self.means()
        return [
            (heading, f"{means[name]:.2f}", "{:.2f} … {:.2f}".format(*intervals[name]) if intervals else "")
            for name, heading in NAMES.items()
        ]


def rank_metrics(
    scores: npt.NDArray[np.floating[Any]], relevant: Bools, ignored: Bools | None = None
) -> Metrics:
    """Judge rankings by score. scores (n, m) floating, higher is better; relevant, ignored (n, m) bool.

    An ignored item takes no place in that query's ranking; it is never relevant, whatever `relevant` says.
    Works a row at a time, so it needs O(m) memory beyond its arguments; judge a matrix too large to hold in
    blocks of queries and `join` them. Raises VectorError for other shapes or dtypes, and for NaN scores.
    """
    scores, relevant = np.asarray(scores), np.asarray(relevant)
    if scores.ndim != 2 or not np.issubdtype(scores.dtype, np.floating):
        raise VectorError(f"scores: got {scores.dtype} of shape {scores.shape}; give floats of shape (n, m)")
    for name, mask in (("relevant", relevant), ("ignored", ignored)):
        if mask is not None and (mask.shape != scores.shape or mask.dtype != np.bool_):
            raise VectorError(
                f"{name}: got {mask.dtype} of shape {mask.shape}; give bool of shape {scores.shape}"
            )
    ranks = []
    for i, row in enumerate(scores):
        if np.isnan(row).any():
            raise VectorError(f"scores: row {i} holds NaN, which has no place in a ranking")
        hit = relevant[i]
        if ignored is not None:
            kept = ~ignored[i]
            row, hit = row[kept], hit[kept]
        ranks.append(_ranks(row, np.flatnonzero(hit)))
    return metrics_of(ranks)


def metrics_of(ranks: Sequence[Ranks]) -> Metrics:
    """Metrics from each query's ascending ranks of its relevant items, from 1; empty where it has none."""
    rows = [i for i, r in enumerate(ranks) if len(r)]
    ap, trapezoid = np.empty(len(rows)), np.empty(len(rows))
    for place, i in enumerate(rows):
        r, found = ranks[i], np.arange(1, len(ranks[i]) + 1)
        precision = found / r
        before = np.where(r > 1, (found - 1) / np.maximum(r - 1, 1), 1.0)
        ap[place], trapezoid[place] = precision.mean(), (precision + before).mean() / 2
    return Metrics(
        query=np.array(rows, np.int64),
        first=np.array([ranks[i][0] for i in rows], np.int64),
        ap=ap,
        inp=np.array([len(ranks[i]) / ranks[i][-1] for i in rows], np.float64),
        ap_trapezoid=trapezoid,
        skipped=len(ranks) - len(rows),
    )


def _ranks(row: npt.NDArray[Any], places: npt.NDArray[np.int64]) -> Ranks:
    """Ascending 1-based ranks of row[places], ranking by score descending, then index ascending.

    Sorting the values and counting what lies above is several times quicker than a stable argsort.
    """
    if not len(places):
        return np.empty(0, np.int64)
    ordered = np.sort(row)
    values = row[places]
    high = np.searchsorted(ordered, values, "right")
    ranks = len(row) - high + 1
    tied = high - np.searchsorted(ordered, values, "left") > 1
    for value in np.unique(values[tied]):
        mine = tied & (values == value)
        ranks[mine] += np.searchsorted(np.flatnonzero(row == value), places[mine])
    return np.sort(ranks).astype(np.int64)


def join(blocks: Iterable[tuple[int, Metrics]]) -> Metrics:
    """One Metrics from blocks of queries: (row of the block's first query, its metrics), in order."""
    starts, parts = zip(*blocks, strict=True)
    return Metrics(
        np.concatenate([start + part.query for start, part in zip(starts, parts, strict=True)]),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.ap for part in parts]),
        np.concatenate([part.inp for part in parts]),
        np.concatenate([part.ap_trapezoid for part in parts]),
        skipped=sum(part.skipped for part in parts),
    )


def bootstrap(
    metrics: Metrics, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Name -> (low, high) in percent: the percentile bootstrap over queries.

    The q counted queries are drawn q times with replacement, `resamples` times over; the interval holds the
    middle `level` of the means. The gallery stays fixed and queries count as independent, so this is the
    spread from the choice of queries. Captions of one person aren't independent: where a person has
    several, the true interval over people is wider.
    """
    if not len(metrics):
        return dict.fromkeys(NAMES, (float("nan"), float("nan")))
    values = np.stack(list(metrics.per_query().values()))  # (metrics, q)
    size = len(metrics)
    rng = np.random.default_rng(seed)
    means = np.stack(
        [values @ np.bincount(rng.integers(size, size=size), minlength=size) / size for _ in range(resamples)]
    )
    low, high = np.quantile(100 * means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(NAMES, low, high, strict=True)}
