"""A-IoU guided intra-modal contrast, AIMA's loss that spreads prompts by what they say (arXiv 2406.03721)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Target: TypeAlias = Literal["softmax", "linear"]
Divergence: TypeAlias = Literal["pq", "qp"]

EPSILON = 1e-8  # as in losses.sdm


def iou(said: Tensor) -> Tensor:
    """(b, v) of 0 and 1, what each prompt says → (b, b): shared / all that two say; 1 for two empty sets."""
    sets = said.float()
    both = sets @ sets.T
    size = sets.sum(dim=1)
    either = size[:, None] + size[None, :] - both
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))


def a_iou_imc(
    text: Tensor, said: Tensor, temperature: float, target: Target = "softmax", divergence: Divergence = "pq"
) -> Tensor:
    """How far the prompts' similarities are from the overlaps of what they say.

    text: (b, d) features; said: (b, v) of 0 and 1, the (slot, value) pairs spoken. With s the cosine,
    p_ij = softmax_j(s_ij/τ), and q_ij = softmax_j(IoU_ij/τ), or for "linear" IoU_ij / Σ_k IoU_ik: the mean
    over rows of KL(p‖q), "pq", ε inside log(q + ε), or of KL(q‖p), "qp". An item meets itself too.

    Which q, direction and τ the authors took isn't known to us. With the softmax the optimum is s = IoU +
    constant. With the linear target it is s_ij = 1 + τ ln IoU_ij, and a small τ would pull all prompts
    together: take 0.2.
    """
    if not len(text):
        return text.sum() * 0.0
    features, overlap = F.normalize(text, dim=1), iou(said).to(text.dtype)
    log_p = F.log_softmax(features @ features.T / temperature, dim=1)
    if target == "softmax":
        q = F.softmax(overlap / temperature, dim=1)
    else:
        q = overlap / overlap.sum(dim=1, keepdim=True)
    log_q = torch.log(q + EPSILON)
    terms = log_p.exp() * (log_p - log_q) if divergence == "pq" else q * (log_q - log_p)
    return terms.sum(dim=1).mean()
