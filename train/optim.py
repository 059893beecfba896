"""Parameter groups, optimiser and schedule.

Two rules. ``plain``, for training from nothing: AdamW, and no decay on vectors (norms, biases) and
embeddings. ``irra`` (arXiv 2303.12501, its released code): Adam with L2 decay, and factors by substrings of
the parameter's name, applied in this order: "cross" 5 x lr; "bias" 2 x lr and no decay; "classifier" or
"mlm_head" 5 x lr. So the bias of a cross module gets 2 x, that of a classifier 5 x and no decay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

Rule: TypeAlias = Literal["plain", "irra"]
EMBEDDINGS = ("token_embedding", "positional_embedding", "class_embedding", "logit_scale")


def param_groups(
    named: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float, rule: Rule = "plain"
) -> list[dict[str, Any]]:
    """Groups for a torch optimiser, one per (lr, weight decay); each keeps its peak lr as ``initial_lr``.

    Frozen parameters are left out.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            factor, decays = (_irra if rule == "irra" else _plain)(name, parameter)
            groups.setdefault((lr * factor, weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def build_optimizer(groups: list[dict[str, Any]], rule: Rule, eps: float) -> torch.optim.Optimizer:
    """AdamW for ``plain``, Adam with L2 decay for ``irra``; betas (0.9, 0.999)."""
    kind = torch.optim.Adam if rule == "irra" else torch.optim.AdamW
    return kind(groups, eps=eps, fused=True)  # fused: the vocabulary table makes the plain loop slow


def warmup_cosine(at: float, total: float, warmup: float, start: float = 0.1) -> float:
    """Factor on the peak lr: linear from ``start`` to 1 over ``warmup``, then a cosine to 0 at ``total``.

    at, total, warmup are in one unit, epochs or steps; IRRA steps it once an epoch (60, 5).
    """
    if at < warmup:
        return start * (1 - at / warmup) + at / warmup
    if at >= total:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (at - warmup) / (total - warmup)))


def set_factor(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's lr to its peak times the factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _plain(name: str, parameter: nn.Parameter) -> tuple[float, bool]:
    return 1.0, parameter.ndim >= 2 and not any(part in name for part in EMBEDDINGS)


def _irra(name: str, parameter: nn.Parameter) -> tuple[float, bool]:
    factor, decays = 1.0, True
    if "cross" in name:
        factor = 5.0
    if "bias" in name:
        factor, decays = 2.0, False
    if "classifier" in name or "mlm_head" in name:
        factor = 5.0
    return factor, decays
