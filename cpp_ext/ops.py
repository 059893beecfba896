"""The kernels as torch functions with gradients. ``import cpp_ext`` doesn't load this file, nor torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cpp_ext import _mining_ops
from cpp_ext._mining_arguments import rules_of, same_depth

_HALF = (torch.float16, torch.bfloat16)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def batch_hard_triplet_loss(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    *,
    form: Literal["hinge", "soft"] = "hinge",
    margin: float | None = None,
    temperature: float | None = None,
    positives: Literal["hardest", "paired"] = "hardest",
    semi_hard: bool = False,
    exclude_self: bool = False,
    symmetric: bool = True,
) -> Tensor:
    """The triplet loss of every row with its hardest positive and its hardest negative.

    With p and n the scores (dot products) of a row's positive and negative, as
    :func:`cpp_ext.hard_triplets` finds them, a row costs

    - "hinge": max(0, margin + n - p); margin 0.2 unless given.
    - "soft": log(1 + exp((n - p) / temperature)); temperature 1 unless given.

    The loss is the mean over the anchors plus, if ``symmetric``, the mean over the others, which look for
    theirs among the anchors. A row without a positive or without a negative doesn't count; if none counts
    the loss is 0, with a gradient of zeros. "hinge", margin 0.05 and "paired" is the CMT loss of SEN (arXiv
    2307.09059) as its authors released it; "hardest" and one modality is batch hard (arXiv 1703.07737).

    The (n, m) scores are never held, forward or backward: memory is O((n + m) d). Gradients flow through
    the chosen positives and negatives; their sums have a fixed order, so they are the same bits every time.

    Args:
        anchors: (n, d) float32; float16 and bfloat16 are worked on in float32, float64 in plain torch.
            They aren't normalised: for cosines pass ``F.normalize(x, dim=1)``.
        others: (m, d). For one modality the anchors again. n and m may differ, as when a process's own rows
            meet those gathered from all processes; then ``symmetric=False`` leaves to each process the mean
            over its own rows.
        anchor_ids: (n,) whole numbers, on the vectors' device.
        other_ids: (m,) whole numbers.
        form, margin, temperature: see above. A margin or temperature of the other form is refused.
        positives: "hardest", or "paired": row i of the other side (n = m, the same ids).
        semi_hard: negatives score less than their row's positive.
        exclude_self: row i of both sides is one item, not its own positive (n = m, the same ids).

    Returns:
        A scalar, float64 if the vectors are, else float32.

    Raises:
        TypeError, ValueError: a wrong type, shape or value. On the CPU also for NaN or infinity, and for ids
            that contradict "paired" or ``exclude_self``; on a GPU, where looking would wait, NaN or
            infinity makes the loss NaN.
    """
    first, second = _vectors(anchors, others)
    n, m = len(first), len(second)
    rules = rules_of(positives, semi_hard, exclude_self, n, m)
    ids = [
        _ids(*side, anchors.device)
        for side in (("anchor_ids", anchor_ids, "anchors", n), ("other_ids", other_ids, "others", m))
    ]
    cost = _cost(form, margin, temperature)
    of_positive, of_negative, positive, negative = _mining_ops.hard_triplets(first, second, *ids, *rules)
    counted = (positive >= 0) & (negative >= 0)
    difference = torch.where(counted, of_negative - of_positive, 0.0)
    costs = torch.where(counted, cost(difference), 0.0)
    loss: Tensor = costs[:n].sum() / counted[:n].sum().clamp(min=1)
    if symmetric:
        loss = loss + costs[n:].sum() / counted[n:].sum().clamp(min=1)
    if first.device.type == "cpu":
        return loss
    for side in (first.detach(), second.detach()):
        if len(side):
            loss = loss * (1.0 + 0.0 * torch.linalg.vector_norm(side, torch.inf))
    return loss


def _cost(form: str, margin: float | None, temperature: float | None) -> Callable[[Tensor], Tensor]:
    """From n - p to what a row costs."""
    if form == "hinge":
        if temperature is not None:
            raise ValueError("temperature belongs to form='soft'; form='hinge' has a margin")
        distance = 0.2 if margin is None else margin
        return lambda difference: F.relu(difference + distance)
    if form == "soft":
        if margin is not None:
            raise ValueError("margin belongs to form='hinge'; form='soft' has a temperature")
        scale = 1.0 if temperature is None else temperature
        if not scale > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        return lambda difference: F.softplus(difference / scale)
    raise ValueError(f"form is {form!r}; allowed: 'hinge', 'soft'")


def _vectors(anchors: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Both (rows, d), of one device and of one dtype that is float32 or float64."""
    for name, rows in (("anchors", anchors), ("others", others)):
        if not isinstance(rows, Tensor):
            raise TypeError(f"{name} must be a torch tensor of shape (n, d), got {type(rows).__name__}")
        if rows.dtype not in (torch.float32, torch.float64, *_HALF):
            raise TypeError(f"{name} must be float32, float16, bfloat16 or float64, got {rows.dtype}")
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"{name} must have shape (n, d) with d at least 1, got {tuple(rows.shape)}")
    same_depth(anchors.shape[1], others.shape[1])
    if anchors.device != others.device:
        raise ValueError(f"anchors are on {anchors.device}, others on {others.device}: move one to the other")
    first, second = (rows.float() if rows.dtype in _HALF else rows for rows in (anchors, others))
    if first.dtype != second.dtype:
        raise TypeError(f"anchors are {anchors.dtype}, others {others.dtype}: convert one to the other")
    return first, second


def _ids(name: str, ids: Tensor, of: str, n: int, device: torch.device) -> Tensor:
    """(n,) int64."""
    if not isinstance(ids, Tensor) or ids.dtype not in _WHOLE:
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise TypeError(f"{name} must be a torch tensor of whole numbers, got {kind}")
    if ids.shape != (n,):
        raise ValueError(
            f"{name} must hold one id per row: {of} have {n} rows, {name} has shape {tuple(ids.shape)}"
        )
    if ids.device != device:
        raise ValueError(f"{name} are on {ids.device}, the vectors on {device}: move them with {name}.to(…)")
    return ids.to(torch.int64)
