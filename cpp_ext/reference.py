"""The specification: what a top-k is, in NumPy, one step at a time.

It is the oracle of meaning (who is a hit, in which order, with which padding) and it sums in the
kernels' lanes and tree. It isn't the oracle of bits: NumPy has no fused multiply-add, so its products
are rounded once more. On integer-valued data small enough for float32 both are exact and equal; on
other data they agree within 2(d/16 + 5)·2⁻²⁴·‖q‖·‖x‖, the rounding of the lanes and the tree. It
builds the (n, m) scores that the kernels never hold, and is slow: use it to check, not to serve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_LANES = 16
_SCRATCH = 1 << 24  # floats of scratch: 64 MiB


def dots(queries: Floats, rows: Floats) -> Floats:
    """(n, d) and (m, d) to (n, m) dot products: lane e mod 16, then the halving tree."""
    lanes = np.zeros((len(queries), len(rows), _LANES), np.float32)
    for start in range(0, queries.shape[1], _LANES):
        products = queries[:, None, start : start + _LANES] * rows[None, :, start : start + _LANES]
        lanes[:, :, : products.shape[2]] += products
    for half in (8, 4, 2, 1):
        lanes = lanes[:, :, :half] + lanes[:, :, half : 2 * half]
    sums: Floats = lanes[:, :, 0] + np.float32(0)  # -0 becomes +0
    return sums


def late_scores(token_dots: Floats, top_tokens: int) -> Floats:
    """(n, m, t) dot products to (n, m): the mean of the ``top_tokens`` largest, NaN if any isn't finite."""
    best = -np.sort(-token_dots, axis=2)[:, :, :top_tokens]
    total = best[:, :, 0]
    for token in range(1, top_tokens):
        total = total + best[:, :, token]
    means = total / np.float32(top_tokens) + np.float32(0)
    sound = np.isfinite(token_dots).all(axis=2)
    scores: Floats = np.where(sound, means, np.float32(np.nan))
    return scores


def scores(queries: Floats, gallery: Floats, top_tokens: int = 1) -> Floats:
    """(n, d) queries and an (m, d) or (m, t, d) gallery to (n, m) scores."""
    items = gallery if gallery.ndim == 3 else gallery[:, None, :]
    m, t, d = items.shape
    result = np.empty((len(queries), m), np.float32)
    step = max(1, _SCRATCH // max(1, len(queries) * t * _LANES))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, m, step):
            block = items[start : start + step]
            token_dots = dots(queries, block.reshape(-1, d)).reshape(len(queries), len(block), t)
            result[:, start : start + step] = late_scores(token_dots, top_tokens)
    return result


def topk(
    queries: Floats,
    gallery: Floats,
    k: int,
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    exclude: Sequence[Sequence[int]] | None = None,
    min_score: float | None = None,
    top_tokens: int = 1,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k best rows of each query, as :func:`cpp_ext.topk` defines them; ``mask`` is (m,) or (n, m)."""
    table = scores(queries, gallery, top_tokens)
    eligible = np.isfinite(table)
    if mask is not None:
        eligible &= mask
    if exclude is not None:
        for query, barred in enumerate(exclude):
            eligible[query, list(barred)] = False
    if min_score is not None:
        eligible &= table.astype(np.float64) >= min_score
    indices = np.full((len(table), k), -1, np.int64)
    best = np.full((len(table), k), -np.inf, np.float32)
    for query in range(len(table)):
        rows = np.flatnonzero(eligible[query])
        hits = rows[np.argsort(-table[query, rows], kind="stable")][:k]  # stable: equal scores by index
        indices[query, : len(hits)] = hits
        best[query, : len(hits)] = table[query, hits]
    return indices, best
