"""The specification of batch-hard mining, in NumPy, with the (n, m) scores that the kernels never hold.

As in :mod:`cpp_ext.reference`: the oracle of meaning, not of bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cpp_ext import reference

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Rows = tuple[Indices, Floats, Indices, Floats]  # positive, its score, negative, its score


def hard_triplets(
    anchors: Floats,
    others: Floats,
    anchor_ids: Indices,
    other_ids: Indices,
    *,
    paired: bool = False,
    semi_hard: bool = False,
    exclude_self: bool = False,
) -> Rows:
    """What each anchor finds among the others, and then what each other finds among the anchors: (n + m,).

    See :func:`cpp_ext.hard_triplets`.
    """
    table = reference.scores(anchors, others)
    same = anchor_ids[:, None] == other_ids[None, :]
    itself = np.eye(*table.shape, dtype=np.bool_)
    positive = same & (itself if paired else ~itself if exclude_self else True)
    negative = ~same
    there = _hardest(table, positive, negative, semi_hard)
    back = _hardest(table.T, positive.T, negative.T, semi_hard)
    return (
        np.concatenate([there[0], back[0]]), np.concatenate([there[1], back[1]]),
        np.concatenate([there[2], back[2]]), np.concatenate([there[3], back[3]]),
    )  # fmt: skip


def _hardest(
    table: Floats, positive: npt.NDArray[np.bool_], negative: npt.NDArray[np.bool_], semi_hard: bool
) -> Rows:
    sound = np.isfinite(table)
    weakest, negated = _first_largest(np.where(positive & sound, -table, -np.inf).astype(np.float32))
    least = np.where(weakest < 0, np.float32(np.nan), -negated)
    if semi_hard:
        negative = negative & ((table < least[:, None]) | (weakest < 0)[:, None])
    strongest, largest = _first_largest(np.where(negative & sound, table, -np.inf).astype(np.float32))
    return weakest, least, strongest, largest


def _first_largest(table: Floats) -> tuple[Indices, Floats]:
    """Where each row's largest value stands first, and the value; -1 and NaN in a row of -inf."""
    n = len(table)
    if not table.size:
        return np.full(n, -1, np.int64), np.full(n, np.nan, np.float32)
    where = table.argmax(axis=1)
    value = table[np.arange(n), where]
    found = value > -np.inf
    return np.where(found, where, -1).astype(np.int64), np.where(found, value, np.float32(np.nan))


def gradient(
    anchors: Floats,
    others: Floats,
    positive: Indices,
    d_positive: Floats,
    negative: Indices,
    d_negative: Floats,
) -> tuple[Floats, Floats]:
    """The gradients (n, d) and (m, d) of the anchors and others, from those of the scores of their triplets.

    positive, d_positive, negative, d_negative: (n + m,), the anchors' and then the others'.
    """
    n, m = len(anchors), len(others)
    weights = np.zeros((n, m), np.float32)  # of each pair's score
    rows, columns = np.arange(n), np.arange(m)
    for index, slope in ((positive, d_positive), (negative, d_negative)):
        forward, backward = index[:n] >= 0, index[n:] >= 0
        np.add.at(weights, (rows[forward], index[:n][forward]), slope[:n][forward])
        np.add.at(weights, (index[n:][backward], columns[backward]), slope[n:][backward])
    return weights @ others, weights.T @ anchors
