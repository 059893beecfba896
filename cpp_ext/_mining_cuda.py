"""The mining operators on torch's tensors in a GPU's memory: torch allocates, from its cache."""

from __future__ import annotations

import torch
from torch import Tensor

from cpp_ext._cuda_module import load

Rows = tuple[Tensor, Tensor, Tensor, Tensor]  # positive, its score, negative, its score: (n + m,) each


def takes(anchors: Tensor, others: Tensor) -> bool:
    """Whether the kernels are there and made for these (n, d) and (m, d)."""
    try:
        module = load()
    except ImportError:
        return False
    most = max(len(anchors), len(others))
    fits = most <= int(module.MINING_ROWS) and anchors.shape[1] <= int(module.MINING_DEPTH)
    return anchors.dtype == torch.float32 and fits


def hard_triplets(
    anchors: Tensor,
    others: Tensor,
    anchor_ids: Tensor,
    other_ids: Tensor,
    paired: bool,
    semi_hard: bool,
    exclude_self: bool,
) -> Rows:
    module = load()
    first, second = _rows(anchors), _rows(others)
    ids, other = anchor_ids.contiguous(), other_ids.contiguous()
    (n, d), m = first.shape, len(second)
    device = first.device
    index, score, other_index, other_score = (
        torch.empty(n + m, dtype=dtype, device=device) for dtype in (torch.int64, torch.float32) * 2
    )
    found = index, score, other_index, other_score
    space = torch.empty(module.mining_workspace(n, m, d), dtype=torch.uint8, device=device)
    module.hard_triplets(
        (first.data_ptr(), n, first.stride(0), ids.data_ptr()),
        (second.data_ptr(), m, second.stride(0), other.data_ptr()),
        d, "float32", True, (paired, semi_hard, exclude_self), tuple(part.data_ptr() for part in found),
        space.data_ptr(), device.index, torch.cuda.current_stream(device).cuda_stream,
    )  # fmt: skip
    return found


def gradient(
    anchors: Tensor,
    others: Tensor,
    positive: Tensor,
    d_positive: Tensor,
    negative: Tensor,
    d_negative: Tensor,
) -> tuple[Tensor, Tensor]:
    module = load()
    first, second = _rows(anchors), _rows(others)
    (n, d), m = first.shape, len(second)
    device = first.device
    slopes = [part.contiguous() for part in (positive, d_positive, negative, d_negative)]
    to_first, to_second = (torch.empty((rows, d), dtype=torch.float32, device=device) for rows in (n, m))
    space = torch.empty(module.mining_gradient_workspace(n, m), dtype=torch.uint8, device=device)
    module.hard_triplets_gradient(
        (first.data_ptr(), n, first.stride(0), 0), (second.data_ptr(), m, second.stride(0), 0), d, "float32",
        tuple(part.data_ptr() for part in slopes), to_first.data_ptr(), to_second.data_ptr(),
        space.data_ptr(), device.index, torch.cuda.current_stream(device).cuda_stream,
    )  # fmt: skip
    return to_first, to_second


def _rows(side: Tensor) -> Tensor:
    return side if side.stride(1) == 1 or side.shape[1] == 1 else side.contiguous()
