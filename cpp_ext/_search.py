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
from cpp_ext._parts import Gallery, Mask, Part, parts_of

Floats = npt.NDArray[np.float32]


def topk(
    queries: Floats,
    gallery: Gallery | Sequence[Gallery],
    k: SupportsIndex,
    *,
    mask: Mask | Sequence[Mask | None] | None = None,
    labels: npt.NDArray[np.int64] | Sequence[npt.NDArray[np.int64] | None] | None = None,
    exclude: Sequence[Sequence[int]] | None = None,
    min_score: float | None = None,
    top_tokens: SupportsIndex = 1,
    threads: SupportsIndex = 0,
    level: str | None = None,
    read: npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8] | None] | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k items of the gallery with the highest score for each query, exactly.

    Args:
        queries: (n, d) float32, finite.
        gallery: (m, d) or (m, t, d), float32, float16, bfloat16 (a NumPy array of that name) or int8,
            whose elements are widened to float32, exactly; each row contiguous, strides between rows
            free, read-only and memory-mapped arrays welcome. It isn't searched for NaN, which would cost
            a second reading: whoever stores the vectors checks them. An item with a dot product that
            isn't finite is never a hit. A :class:`Packed` is searched the fast way, with the same
            result. A sequence of arrays and Packed is one gallery, its parts one after another.
        k: hits per query, at least 1; may exceed m.
        mask: eligible items: bool (m,) or (n, m), or the same as packed bits (uint8, little bit order,
            the last axis ceil(m/8)). Items no query may see aren't read. For a gallery in parts, a
            sequence of masks, None for a part that is eligible as a whole.
        labels: int64 (m,), or a sequence of these for a gallery in parts: what items are called in the
            result and in ``exclude``, and by what ties are broken. Unique and not negative, which isn't
            checked. None numbers the items as they come.
        exclude: one short list per query of what must not be its hits. Costs nothing per item.
        min_score: hits score at least this.
        top_tokens: how many of an item's t dot products are averaged; 1 to t.
        threads: 0 takes every processor this process may use. Small problems use fewer. The result
            doesn't depend on it.
        level: one of ``LEVELS`` or "reference"; None is ``level()``.
        read: uint8 (ceil(m/8),), or a sequence of these for a gallery in parts, which is written to: the
            bits (little order) of items whose vectors were read are set. The result depends on no vector
            of another item, so where vectors come from a disk, these are the ones to check.

    Returns:
        indices (or labels) (n, k) int64 and scores (n, k) float32, best first, equal scores by ascending
        index; missing places are -1 and -inf.

    Raises:
        TypeError: a wrong type or dtype; nothing is converted silently.
        ValueError: a wrong shape or value, or queries with NaN or infinity.
    """
    q = arguments.queries_of(queries)
    n = len(q)
    parts = parts_of(gallery, q.shape[1], n, mask, labels, read)
    labelled = parts[0].labels is not None
    hits = arguments.count_of("k", k, 1)
    excluded = arguments.exclude_of(exclude, n, None if labelled else sum(len(p.items) for p in parts))
    above = arguments.above_of(min_score)
    top = arguments.top_tokens_of(top_tokens, parts[0].items.shape[1])
    workers = arguments.threads_of(threads)
    name = default_level() if level is None else choose(level, "the argument level")
    if core is None or name == REFERENCE:
        return _specified(q, parts, hits, exclude, min_score, top)
    indices = np.empty((n, hits), np.int64)
    scores = np.empty((n, hits), np.float32)
    lists, begin = excluded if excluded is not None else (None, None)
    core.topk(q, [part.given() for part in parts], lists, begin, above, top, workers, name, indices, scores)
    return indices, scores


def _specified(
    queries: Floats,
    parts: list[Part],
    k: int,
    exclude: Sequence[Sequence[int]] | None,
    min_score: float | None,
    top_tokens: int,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The NumPy specification on the parts put together, in the order of their labels."""
    items = np.concatenate([part.items.astype(np.float32) for part in parts])
    masks = [_booleans(part, len(queries)) for part in parts]
    for part, seen in zip(parts, masks, strict=True):
        if part.read is not None:
            np.bitwise_or(part.read, np.packbits(seen.any(axis=0), bitorder="little"), out=part.read)
    names = np.arange(len(items))
    if parts[0].labels is not None:
        names = np.concatenate([part.labels for part in parts if part.labels is not None])
    order = np.argsort(names, kind="stable")
    barred = (
        None
        if exclude is None
        else [np.flatnonzero(np.isin(names[order], rows)).tolist() for rows in exclude]
    )
    rows, scores = reference.topk(
        queries, items[order], k, mask=np.concatenate(masks, axis=1)[:, order], exclude=barred,
        min_score=min_score, top_tokens=top_tokens,
    )  # fmt: skip
    return np.where(rows < 0, -1, names[order][rows] if len(names) else -1), scores


def _booleans(part: Part, n: int) -> npt.NDArray[np.bool_]:
    m = len(part.items)
    if part.mask is None:
        return np.ones((n, m), np.bool_)
    bits = np.unpackbits(part.mask, axis=-1, count=m, bitorder="little") != 0
    return np.broadcast_to(bits, (n, m))


def score_pairs(
    queries: Floats,
    gallery: Gallery,
    query_index: Any,
    gallery_index: Any,
    top_tokens: SupportsIndex = 1,
    *,
    level: str | None = None,
) -> Floats:
    """The exact scores of given pairs, equal to the bit to those :func:`topk` returns for them.

    Args:
        queries: (n, d) float32, finite.
        gallery: one array or :class:`Packed`, as for :func:`topk`.
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
    [part] = parts_of([gallery], q.shape[1], len(q))
    items = part.items
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
            scores[pair] = reference.scores(q[i : i + 1], items[j : j + 1].astype(np.float32), top)[0, 0]
        return scores
    core.score_pairs(q, [part.given()], which_query, which_item, top, name, scores)
    return scores
