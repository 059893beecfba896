"""Batch-hard mining in plain torch: on devices that have no kernel of ours, and in float64.

The scores are those of torch's matrix product, so on a GPU they are rounded as it pleases, and tiles of them
are held: never more numbers than the two sides have. What is found is what :mod:`cpp_ext.reference_mining`
says, but that NaN and infinity aren't refused; the gradient is a sum per row in a fixed order.
"""

from __future__ import annotations

import torch
from torch import Tensor

Rows = tuple[Tensor, Tensor, Tensor, Tensor]  # positive, its score, negative, its score: (n + m,) each


def hard_triplets(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    paired: bool,
    semi_hard: bool,
    exclude_self: bool,
) -> Rows:
    """What each of n anchors and then each of m others finds, from (n, d) and (m, d) of one dtype."""
    n, m = len(anchors), len(others)
    none = anchors.new_full((n + m,), torch.inf)
    if paired:
        pairs = torch.arange(n, device=anchors.device)
        scores = torch.linalg.vecdot(anchors, others)
        sound = torch.isfinite(scores)
        positive = torch.where(sound, pairs, -1).repeat(2)
        least = torch.where(sound, scores, torch.inf).repeat(2)
    else:
        positive, negated = _sweep(
            -anchors, others, anchor_ids, other_ids, none, same=True, exclude_self=exclude_self
        )
        least = -negated
    below = least if semi_hard else none
    negative, most = _sweep(anchors, others, anchor_ids, other_ids, below, same=False, exclude_self=False)
    nan = anchors.new_full((), torch.nan)
    return positive, torch.where(positive < 0, nan, least), negative, torch.where(negative < 0, nan, most)


def _sweep(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    below: Tensor,
    *,
    same: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor]:
    """Where each row's largest finite score below ``below`` stands first, and the score; else -1 and -inf.

    Rows meet those of the same id, or those of another.
    """
    n, m = len(anchors), len(others)
    best = anchors.new_full((n + m,), -torch.inf)
    index = torch.full((n + m,), -1, device=anchors.device)
    if n == 0 or m == 0:
        return index, best
    columns = torch.arange(m, device=anchors.device)
    step = max(1, (n + m) * anchors.shape[1] // m)
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        table = anchors[rows] @ others.T
        open_ = ((anchor_ids[rows, None] == other_ids) == same) & (table.abs() < torch.inf)
        if exclude_self:
            open_ &= columns[rows, None] != columns
        top, where = table.where(open_ & (table < below[rows, None]), -torch.inf).max(dim=1)
        best[rows], index[rows] = top, where.where(top > -torch.inf, -1)
        top, where = table.where(open_ & (table < below[n:]), -torch.inf).max(dim=0)
        better = top > best[n:]  # strictly: of equals the lowest row number stays
        best[n:], index[n:] = top.where(better, best[n:]), (where + start).where(better, index[n:])
    return index, best


def gradient(
    anchors: Tensor,
    others: Tensor,
    positive: Tensor,
    d_positive: Tensor,
    negative: Tensor,
    d_negative: Tensor,
) -> tuple[Tensor, Tensor]:
    """The gradients (n, d) and (m, d) of both sides from those of their scores, (n + m,)."""
    n = len(anchors)
    own = [part[:n] for part in (positive, d_positive, negative, d_negative)]
    back = [part[n:] for part in (positive, d_positive, negative, d_negative)]
    return _sum_terms(own, back, others, n), _sum_terms(back, own, anchors, len(others))


def _sum_terms(own: list[Tensor], back: list[Tensor], sources: Tensor, n: int) -> Tensor:
    """What a side of n rows gets: from the rows it chose, and from the rows that chose it."""
    total = sources.new_zeros((n, sources.shape[1]))
    if not len(sources):
        return total
    for index, weight in ((own[0], own[1]), (own[2], own[3])):
        weight = weight.where(index >= 0, 0)  # NaN has no place in a product with 0
        total += sources[index.clamp(min=0)] * weight[:, None]
    target = torch.cat([back[0], back[2]])
    weight = torch.cat([back[1], back[3]])
    target = target.where((target >= 0) & (weight != 0), n)  # to the end, past every segment
    target, order = torch.sort(target, stable=True)
    rows = sources[order % len(sources)] * weight[order].where(target < n, 0)[:, None]
    offsets = torch.searchsorted(target, torch.arange(n + 1, device=target.device))
    return total + torch.segment_reduce(rows, "sum", offsets=offsets, axis=0, initial=0.0, unsafe=True)
