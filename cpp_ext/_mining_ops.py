"""The mining as two torch operators: the search with its four scores, and their gradient.

``labrador::hard_triplets`` is differentiable in its scores, so any loss of them is. In float32 both run the
kernels, on the CPU with torch's number of threads, on an NVIDIA GPU where they are built for it; elsewhere
:mod:`cpp_ext._mining_torch`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cpp_ext import _mining, _mining_cuda, _mining_torch
from cpp_ext._mining_arguments import Rules, same_ids

Rows = tuple[Tensor, Tensor, Tensor, Tensor]  # scores of positives, of negatives; who they are: (n + m,) each


def _search(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    paired: bool,
    semi_hard: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    positive, positive_score, negative, negative_score = _mining_torch.hard_triplets(
        anchors, others, anchor_ids, other_ids, paired, semi_hard, exclude_self
    )
    return positive_score, negative_score, positive, negative


def _search_cpu(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    paired: bool,
    semi_hard: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if anchors.dtype != torch.float32:
        for name, rows in (("anchors", anchors), ("others", others)):
            if not torch.isfinite(rows).all():
                raise ValueError(f"{name} hold NaN or infinity")
        same_ids(Rules(paired, semi_hard, exclude_self), anchor_ids.numpy(), other_ids.numpy())
        return _search(anchors, others, anchor_ids, other_ids, paired, semi_hard, exclude_self)
    found = _mining.choices(
        anchors.detach().numpy(), others.detach().numpy(), anchor_ids.numpy(), other_ids.numpy(),
        positives="paired" if paired else "hardest", semi_hard=semi_hard, exclude_self=exclude_self,
        threads=torch.get_num_threads(), level=None,
    )  # fmt: skip
    positive, positive_score, negative, negative_score = map(torch.from_numpy, found)
    return positive_score, negative_score, positive, negative


def _search_cuda(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    paired: bool,
    semi_hard: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not _mining_cuda.takes(anchors, others):
        return _search(anchors, others, anchor_ids, other_ids, paired, semi_hard, exclude_self)
    positive, positive_score, negative, negative_score = _mining_cuda.hard_triplets(
        anchors, others, anchor_ids, other_ids, paired, semi_hard, exclude_self
    )
    return positive_score, negative_score, positive, negative


def _search_shapes(anchors: Tensor, others: Tensor, *_: Any) -> Rows:
    rows = anchors.shape[0] + others.shape[0]
    index, score = anchors.new_empty((rows,), dtype=torch.int64), anchors.new_empty((rows,))
    return score, torch.empty_like(score), index, torch.empty_like(index)


def _gradient(
    anchors: Tensor,
    others: Tensor,
    positive: Tensor,
    d_positive: Tensor,
    negative: Tensor,
    d_negative: Tensor,
) -> tuple[Tensor, Tensor]:
    return _mining_torch.gradient(anchors, others, positive, d_positive, negative, d_negative)


def _gradient_cpu(
    anchors: Tensor,
    others: Tensor,
    positive: Tensor,
    d_positive: Tensor,
    negative: Tensor,
    d_negative: Tensor,
) -> tuple[Tensor, Tensor]:
    if anchors.dtype != torch.float32:
        return _gradient(anchors, others, positive, d_positive, negative, d_negative)
    arrays = (part.detach().numpy() for part in (anchors, others, positive, d_positive, negative, d_negative))
    d_anchors, d_others = _mining.gradient(*arrays, threads=torch.get_num_threads())
    return torch.from_numpy(d_anchors), torch.from_numpy(d_others)


def _gradient_cuda(
    anchors: Tensor,
    others: Tensor,
    positive: Tensor,
    d_positive: Tensor,
    negative: Tensor,
    d_negative: Tensor,
) -> tuple[Tensor, Tensor]:
    if not _mining_cuda.takes(anchors, others):
        return _gradient(anchors, others, positive, d_positive, negative, d_negative)
    return _mining_cuda.gradient(anchors, others, positive, d_positive, negative, d_negative)


def _gradient_shapes(anchors: Tensor, others: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return anchors.new_empty(anchors.shape), others.new_empty(others.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Rows) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[2], output[3])


def _backward(ctx: Any, d_positive: Tensor, d_negative: Tensor, *_: Any) -> tuple[Any, ...]:
    anchors, others, positive, negative = ctx.saved_tensors
    slopes = hard_triplets_gradient(anchors, others, positive, d_positive, negative, d_negative)
    return (*slopes, None, None, None, None, None)


def _operator(name: str, schema: str, anywhere: Any, on_cpu: Any, on_cuda: Any, shapes: Any) -> Any:
    # Not torch.library.custom_op: the first call of one loads torch._dynamo, more than a second.
    torch.library.define(f"labrador::{name}", schema)
    torch.library.impl(f"labrador::{name}", "default", anywhere)
    torch.library.impl(f"labrador::{name}", "cpu", on_cpu)
    torch.library.impl(f"labrador::{name}", "cuda", on_cuda)
    torch.library.register_fake(f"labrador::{name}", shapes)
    return getattr(torch.ops.labrador, name).default


hard_triplets = _operator(
    "hard_triplets",
    "(Tensor anchors, Tensor others, Tensor anchor_ids, Tensor other_ids, bool paired, bool semi_hard, "
    "bool exclude_self) -> (Tensor, Tensor, Tensor, Tensor)",
    _search,
    _search_cpu,
    _search_cuda,
    _search_shapes,
)
hard_triplets_gradient = _operator(
    "hard_triplets_gradient",
    "(Tensor anchors, Tensor others, Tensor positive, Tensor d_positive, Tensor negative, "
    "Tensor d_negative) -> (Tensor, Tensor)",
    _gradient,
    _gradient_cpu,
    _gradient_cuda,
    _gradient_shapes,
)
torch.library.register_autograd("labrador::hard_triplets", _backward, setup_context=_keep)
