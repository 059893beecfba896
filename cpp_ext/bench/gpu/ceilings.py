"""What this GPU can do at most, measured as the figures are: copying memory, and multiplying matrices.

On random numbers: a product of zeros runs faster than any that is of use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from cpp_ext.bench.floors import Floor
from cpp_ext.bench.gpu.timing import paired

COPIED = 4 << 30  # bytes, or a quarter of the GPU's memory where that is less
SIDE = 8192


@dataclass(frozen=True)
class Ceilings:
    copy: float  # GB/s, bytes read and bytes written
    bf16: float  # TFLOP/s
    int8: float  # TOP/s; twice bf16 where torch has no product of bytes

    def scan(self, bytes_read: float, macs: float) -> Floor:
        """Reading codes once at the rate of copies, or multiplying them in int8, whichever takes longer."""
        reading, multiplying = bytes_read / self.copy / 1e6, 2 * macs / self.int8 / 1e9
        return Floor(reading, "read") if reading >= multiplying else Floor(multiplying, "int8")

    def product(self, macs: float) -> Floor:
        """One product of matrices in bf16."""
        return Floor(2 * macs / self.bf16 / 1e9, "bf16")


def measure() -> Ceilings:
    """Some seconds."""
    bf16 = _product(torch.randn(SIDE, SIDE, device="cuda").bfloat16(), torch.matmul)
    bytes_ = torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8, device="cuda")
    try:
        int8 = _product(bytes_, torch._int_mm)
    except RuntimeError:  # this GPU or this build has none
        int8 = 2 * bf16
    return Ceilings(_copy(), bf16, int8)


def _copy() -> float:
    size = min(COPIED, torch.cuda.mem_get_info()[0] // 4)
    source = torch.empty(size, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    times, _ = paired({"": lambda _: target.copy_(source)})
    return 2 * size / times[""].median / 1e6


def _product(square: torch.Tensor, multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
    columns = square.T  # as libraries like the second factor best
    times, _ = paired({"": lambda _: multiply(square, columns)})
    return 2 * SIDE**3 / times[""].median / 1e9
