"""What the kernels cost on this GPU, beside its ceilings and torch.

    python -m cpp_ext.bench.gpu
    python -m cpp_ext.bench.gpu --tables mining --json mining.jsonl

Each figure is the median of 21 turns between CUDA events, in which the kernel and torch took turns, each turn
on the next of several inputs that together exceed the second-level cache. "Of floor" is the share of what the
GPU can do at most, measured at the start of the run: a copy of memory, and products of matrices in bf16 and
int8. Searches are compared with the CPU's kernels, to the bit; so are triplets. Whatever is wrong is printed
last, and then the exit status is 1.

On a machine where nothing is installed, scripts/gpu_check builds the kernels first and runs this too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import tyro

from cpp_ext import cuda
from cpp_ext.bench.gpu.run import Table, run


def bench(tables: tuple[Table, ...] = get_args(Table), json: Path | None = None) -> int:
    """Measure, print the tables, and return 1 if any result was wrong.

    Args:
        tables: which.
        json: also append every row to this file, one JSON object per line, as soon as it is measured.
    """
    if cuda.device_count() == 0:
        print("no GPU answers, or cpp_ext was built without CUDA", file=sys.stderr)
        return 1
    return run(json, tables)


if __name__ == "__main__":
    sys.exit(tyro.cli(bench, description=__doc__))
