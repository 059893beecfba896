"""Losses as pure functions of embeddings and identities; each returns a scalar, lower is better.

image, text: (b, d) paired features, normalised here where the loss works on angles. ids: (b,) int64 person
labels. temperature: positive, a number or a learned scalar. A batch of none is legal and gives a zero that
has a gradient. Work in float32: cast features before calling.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def infonce(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    temperature: float | Tensor,
    repeats: Literal["positives", "masked"] = "positives",
) -> Tensor:
    """Symmetric InfoNCE in which every pair of one identity is a positive.

    With s_ij the cosine of image i and text j and q_ij = 1[id_i = id_j] / Σ_k 1[id_i = id_k]:
    ½ · mean_i(Σ_j q_ij · -log softmax_j(s_ij/τ)) + the same over columns. With distinct ids it is CLIP's loss
    (arXiv 2103.00020, figure 3); its least value is the mean log of the number of positives. "masked" leaves
    the other pairs of an identity out of the sum: each item then has its own pair and the other identities.
    """
    if not len(ids):
        return _zero(image, text)
    if repeats == "masked":
        others = (ids[:, None] == ids[None, :]) & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
        alone = (_cosines(image, text) / temperature).masked_fill(others, -torch.inf)
        own = torch.arange(len(ids), device=ids.device)
        return (F.cross_entropy(alone, own) + F.cross_entropy(alone.T, own)) / 2
    logits, target = _cosines(image, text) / temperature, _positives(ids)
    rows = -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
    columns = -(target * F.log_softmax(logits.T, dim=1)).sum(dim=1).mean()
    return (rows + columns) / 2


def sdm(
    image: Tensor, text: Tensor, ids: Tensor, temperature: float | Tensor, epsilon: float = 1e-8
) -> Tensor:
    """Similarity distribution matching of IRRA (arXiv 2303.12501, eq. 5-6).

    KL(p‖q) with p_ij = softmax_j(s_ij/τ) and q as in ``infonce``, ε inside log(q + ε), the mean over rows;
    the sum of both directions, not their mean.
    """
    if not len(ids):
        return _zero(image, text)
    logits, target = _cosines(image, text) / temperature, torch.log(_positives(ids) + epsilon)
    total = logits.new_zeros(())
    for one in (logits, logits.T):
        log_p = F.log_softmax(one, dim=1)
        total = total + (log_p.exp() * (log_p - target)).sum(dim=1).mean()
    return total


def identity(image: Tensor, text: Tensor, ids: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Classification of both modalities by one linear layer, on features as they come (IRRA, §3.3).

    weight: (classes, d), bias: (classes,); ids in [0, classes). (cross-entropy of images + of texts) / 2.
    """
    if not len(ids):
        return _zero(image, text, weight, bias)
    both = F.linear(torch.cat([image, text]), weight, bias)
    return F.cross_entropy(both, torch.cat([ids, ids]))


def irr(logits: Tensor, targets: Tensor) -> Tensor:
    """Implicit relation reasoning of IRRA (arXiv 2303.12501, eq. 2): guessing hidden words with the picture.

    logits: (k, vocabulary) at k tokens, targets: (k,) int64 ids, 0 where nothing was hidden. Cross-entropy,
    the mean over the hidden ones; 0 with a gradient when there are none.
    """
    total = F.cross_entropy(logits, targets, ignore_index=0, reduction="sum")
    return total / (targets > 0).sum().clamp(min=1)


def cmt(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    margin: float = 0.05,
    *,
    form: Literal["hinge", "soft"] = "hinge",
    positives: Literal["paired", "hardest"] = "paired",
    temperature: float = 0.02,
) -> Tensor:
    """Cross-modal triplets of SEN (arXiv 2307.09059), by the fused mining of ``cpp_ext``.

    With s the cosine: mean over texts of max(0, margin + s(text, hardest image of another person) - s(text,
    its image)), plus the same over images. "paired" and the hinge are what the authors released; "hardest"
    takes the least similar image of the person, and "soft" log(1 + exp(·/temperature)) in the place of the
    hinge. A row whose batch holds no other person doesn't count.
    """
    if not len(ids):
        return _zero(image, text)
    # here, for its kernels register with torch when first wanted
    from cpp_ext.ops import batch_hard_triplet_loss

    image, text = F.normalize(image, dim=1), F.normalize(text, dim=1)
    scales = (margin, None) if form == "hinge" else (None, temperature)
    return batch_hard_triplet_loss(
        text, image, ids, ids, form=form, margin=scales[0], temperature=scales[1], positives=positives
    )


def _cosines(image: Tensor, text: Tensor) -> Tensor:
    """(b, d), (b, d) → (b, b)."""
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T


def _positives(ids: Tensor) -> Tensor:
    """(b,) → (b, b), each row spread evenly over the items of its identity."""
    same = (ids[:, None] == ids[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def _zero(*tensors: Tensor) -> Tensor:
    return sum((t.sum() * 0.0 for t in tensors), torch.zeros(()))
