"""The face of the top-k kernels: check, choose a level, allocate, call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from cpp_ext import _arguments as arguments
from cpp_ext import reference
from cpp_ext._levels import REFERENCE, choose, core
from cpp_ext._levels import level as default_level

Floats = npt.NDArray[np.float32]


def topk(
    queries: Floats,
    gallery: Floats,
    k: SupportsIndex,
    *,
    mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8] | None = None,
    exclude: Sequence[Sequence[int]] | None = None,
    min_score: float | None = None,
    top_tokens: SupportsIndex = 1,
    threads: SupportsIndex = 0,
    level: str | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k rows of the gallery with the highest score for each query, exactly.

    Args:
        queries: (n, d) float32, finite.
        gallery: (m, d) or (m, t, d) float32; each row contiguous, strides between rows free, read-only
            and memory-mapped arrays welcome. It isn't searched for NaN, which would cost a second
            reading: whoever stores the vectors checks them. An item with a dot product that isn't
            finite is never a hit.
        k: hits per query, at least 1; may exceed m.
        mask: eligible rows: bool (m,) or (n, m), or the same as packed bits (uint8, little bit order,
            the last axis ceil(m/8)). Rows no query may see aren't read.
        exclude: one short list of row numbers per query that must not be its hits. Costs nothing per row.
        min_score: hits score at least this.
        top_tokens: how many of an item's t dot products are averaged; 1 to t.
        threads: 0 takes every processor this process may use. Small problems use fewer. The result
            doesn't depend on it.
        level: one of ``LEVELS`` or "reference"; None is ``level()``.

    Returns:
        indices (n, k) int64 and scores (n, k) float32, best first, equal scores by ascending index;
        missing places are -1 and -inf.

    Raises:
        TypeError: a wrong type or dtype; nothing is converted silently.
        ValueError: a wrong shape or value, or queries with NaN or infinity.
    """
    q = arguments.queries_of(queries)
    items = arguments.gallery_of(gallery, q.shape[1])
    n, m = len(q), len(items)
    hits = arguments.count_of("k", k, 1)
    bits = arguments.mask_of(mask, n, m)
    excluded = arguments.exclude_of(exclude, n, m)
    above = arguments.above_of(min_score)
    top = arguments.top_tokens_of(top_tokens, items.shape[1])
    workers = arguments.threads_of(threads)
    name = default_level() if level is None else choose(level, "the argument level")
    if core is None or name == REFERENCE:
        booleans = None if bits is None else np.unpackbits(bits, axis=-1, count=m, bitorder="little") != 0
        return reference.topk(
            q, items, hits, mask=booleans, exclude=exclude, min_score=min_score, top_tokens=top
        )
    indices = np.empty((n, hits), np.int64)
    scores = np.empty((n, hits), np.float32)
    lists, begin = excluded if excluded is not None else (None, None)
    core.topk(q, items, bits, lists, begin, above, top, workers, name, indices, scores)
    return indices, scores


def score_pairs(
    queries: Floats,
    gallery: Floats,
    query_index: Any,
    gallery_index: Any,
    top_tokens: SupportsIndex = 1,
    *,
    level: str | None = None,
) -> Floats:
    """The exact scores of given pairs, equal to the bit to those :func:`topk` returns for them.

    Args:
        queries: (n, d) float32, finite.
        gallery: (m, d) or (m, t, d) float32, as for :func:`topk`.
        query_index: p row numbers of queries.
        gallery_index: p row numbers of gallery items.
        top_tokens: as for :func:`topk`.
        level: as for :func:`topk`.

    Returns:
        (p,) float32; NaN for an item with a dot product that isn't finite.

    Raises:
        TypeError, ValueError: as for :func:`topk`, and for lists of different length.
    """
    q = arguments.queries_of(queries)
    items = arguments.gallery_of(gallery, q.shape[1])
    which_query = arguments.index_of("query_index", query_index, len(q))
    which_item = arguments.index_of("gallery_index", gallery_index, len(items))
    if len(which_query) != len(which_item):
        raise ValueError(
            f"query_index has {len(which_query)} entries, gallery_index {len(which_item)}: they name pairs"
        )
    top = arguments.top_tokens_of(top_tokens, items.shape[1])
    name = default_level() if level is None else choose(level, "the argument level")
    scores = np.empty(len(which_query), np.float32)
    if core is None or name == REFERENCE:
        for pair, (i, j) in enumerate(zip(which_query, which_item, strict=True)):
            scores[pair] = reference.scores(q[i : i + 1], items[j : j + 1], top)[0, 0]
        return scores
    core.score_pairs(q, items, which_query, which_item, top, name, scores)
    return scores
