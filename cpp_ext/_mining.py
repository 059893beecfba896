"""The face of the mining kernels: check, choose a level, allocate, call."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, SupportsIndex

import numpy as np
import numpy.typing as npt

from cpp_ext import _mining_arguments as arguments
from cpp_ext import reference_mining
from cpp_ext._arguments import threads_of
from cpp_ext._levels import REFERENCE, choose, core
from cpp_ext._levels import level as default_level

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Rows = tuple[Indices, Floats, Indices, Floats]


class Hardest(NamedTuple):
    """For each of n rows, two rows of the other side. Where there is none the index is -1, the score NaN."""

    positive_index: Indices
    """(n,) int64: of the rows with the same id, the one with the least score."""
    positive_score: Floats
    """(n,) float32."""
    negative_index: Indices
    """(n,) int64: of the rows with another id, the one with the largest score."""
    negative_score: Floats
    """(n,) float32."""


class HardTriplets(NamedTuple):
    """Both directions of one batch."""

    anchor_to_other: Hardest
    """What each anchor finds among the others."""
    other_to_anchor: Hardest
    """What each other finds among the anchors."""


def hard_triplets(
    anchors: Floats,
    others: Floats,
    anchor_ids: Any,
    other_ids: Any,
    *,
    positives: Literal["hardest", "paired"] = "hardest",
    semi_hard: bool = False,
    exclude_self: bool = False,
    threads: SupportsIndex = 0,
    level: str | None = None,
) -> HardTriplets:
    """The hardest positive and the hardest negative of every row, in both directions, from one pass.

    A pair's score is that of :func:`cpp_ext.topk`, bit for bit, and so is the result at every level and
    number of threads; of equal scores the lowest row number wins. The (n, m) scores are never held: what
    is needed beside the result is O(n + m), and a copy of vectors whose rows don't begin cache lines. A
    pair whose score overflows float32 doesn't count.

    Args:
        anchors: (n, d) float32, finite. Rows may lie apart; none is legal.
        others: (m, d) float32, finite. For one modality these are the anchors again.
        anchor_ids: (n,) whole numbers: whom each anchor shows.
        other_ids: (m,) whole numbers.
        positives: "hardest": the row of the same id with the least score. "paired": row i of the other
            side, as for pictures and their own captions; n = m and both have the same ids.
        semi_hard: negatives score less than their row's positive; a row without a positive isn't limited.
        exclude_self: row i of both sides is one item, which can't be its own positive; n = m and both have
            the same ids.
        threads: 0 takes every processor this process may use. Small batches use fewer.
        level: one of ``LEVELS`` or "reference"; None is ``level()``.

    Raises:
        TypeError: a wrong type or dtype; nothing is converted silently.
        ValueError: a wrong shape or value, or vectors with NaN or infinity.
    """
    n = len(anchors)
    rows = choices(
        anchors, others, anchor_ids, other_ids,
        positives=positives, semi_hard=semi_hard, exclude_self=exclude_self, threads=threads, level=level,
    )  # fmt: skip
    return HardTriplets(_side(rows, slice(n)), _side(rows, slice(n, None)))


def _side(rows: Rows, part: slice) -> Hardest:
    return Hardest(rows[0][part], rows[1][part], rows[2][part], rows[3][part])


def choices(
    anchors: Floats,
    others: Floats,
    anchor_ids: Any,
    other_ids: Any,
    *,
    positives: str,
    semi_hard: bool,
    exclude_self: bool,
    threads: SupportsIndex,
    level: str | None,
) -> Rows:
    """:func:`hard_triplets` as four arrays (n + m,): the anchors' rows, and then the others'."""
    a, o = arguments.rows_of("anchors", anchors), arguments.rows_of("others", others)
    arguments.same_depth(a.shape[1], o.shape[1])
    n, m = len(a), len(o)
    rules = arguments.rules_of(positives, semi_hard, exclude_self, n, m)
    first = arguments.ids_of("anchor_ids", anchor_ids, "anchors", n)
    second = arguments.ids_of("other_ids", other_ids, "others", m)
    arguments.same_ids(rules, first, second)
    workers = threads_of(threads)
    name = default_level() if level is None else choose(level, "the argument level")
    if core is None or name == REFERENCE:
        return reference_mining.hard_triplets(a, o, first, second, **rules._asdict())
    index, score = np.empty((2, n + m), np.int64), np.empty((2, n + m), np.float32)
    core.hard_triplets(a, o, first, second, *rules, workers, name, index[0], score[0], index[1], score[1])
    return index[0], score[0], index[1], score[1]


def gradient(
    anchors: Floats,
    others: Floats,
    positive: Indices,
    d_positive: Floats,
    negative: Indices,
    d_negative: Floats,
    *,
    threads: int,
) -> tuple[Floats, Floats]:
    """The gradients (n, d) and (m, d) of both sides from those of the scores of :func:`choices`, (n + m,)."""
    if core is None or default_level() == REFERENCE:
        return reference_mining.gradient(anchors, others, positive, d_positive, negative, d_negative)
    a, o = (rows if rows.strides[1] == 4 else np.ascontiguousarray(rows) for rows in (anchors, others))
    d_anchors, d_others = np.empty(a.shape, np.float32), np.empty(o.shape, np.float32)
    slopes = np.ascontiguousarray(d_positive), np.ascontiguousarray(d_negative)
    core.hard_triplets_gradient(a, o, threads, positive, slopes[0], negative, slopes[1], d_anchors, d_others)
    return d_anchors, d_others
