"""One or many processes: the precision they work in, and features and means of all of them with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor


def accelerator(precision: str) -> Accelerator:
    """accelerate's Accelerator; precision: "fp32", "bf16", "fp16", or "auto": bf16, else fp16, on a GPU."""
    gpu = torch.cuda.is_available()
    if precision == "auto":
        precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if gpu else "fp32"
    # cpu=True: or it would overlook torchrun's other processes on a machine without a GPU
    return Accelerator(cpu=not gpu, mixed_precision="no" if precision == "fp32" else precision)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.size = len(local)
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)  # gloo has no reduce_scatter
        start = dist.get_rank() * ctx.size
        return gradient[start : start + ctx.size]


def gather(local: Tensor) -> Tensor:
    """(b, …) of this process → (processes · b, …) in rank order; every process must bring the same b.

    The gradient is summed over the processes. So when each one computes the loss of the whole batch and
    DistributedDataParallel averages parameter gradients, those are exactly that loss's gradients.
    Alone, the tensor comes back as it is.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


def mean(local: Tensor, count: int) -> Tensor:
    """The mean over the terms of all processes, from this one's mean, (), over `count` terms.

    With gradients as ``gather`` has them. Alone, it comes back as it is.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return local
    terms = gather(torch.tensor([float(count)], device=local.device))
    return (gather(local.reshape(1) * count) / terms.sum().clamp(min=1)).sum()
