"""What is measured on the GPU, in which sizes, and the run itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from cpp_ext.bench import table
from cpp_ext.bench.gpu import ceilings, mining, search
from cpp_ext.bench.row import Row

Table = Literal["search", "mining"]


@dataclass(frozen=True)
class Plan:
    """Sizes; the defaults are those that the documented figures have."""

    items: int = 1_000_000
    dim: int = 512
    k: int = 10
    queries: tuple[int, ...] = (1, 8, 16, 64, 256, 1024)
    batches: tuple[int, ...] = (2048, 8192, 16384)


def run(path: str | Path | None = None, tables: Sequence[Table] = get_args(Table)) -> int:
    """Measure, print the tables, and return 1 if any result was wrong.

    Args:
        path: a file that gets one JSON object per row, as soon as the row is measured.
        tables: which.
    """
    limits = ceilings.measure()
    known = {
        "machine": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copy": f"{limits.copy:.0f} GB/s, bytes read and written",
        "matrix products": f"{limits.bf16:.0f} TFLOP/s in bf16, {limits.int8:.0f} TOP/s in int8",
    }
    print(*(f"{name}: {value}" for name, value in known.items()), sep="\n", flush=True)
    measured = []
    for row in _rows(Plan(), tables, limits):
        measured.append(row)
        print(f"{row.table} {' '.join(row.case.values())}: {row.runs.median:.4g} {row.unit}", file=sys.stderr)
        if path is not None:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({**known, **row.as_json()}) + "\n")
    print(f"\n{table.tables(measured)}")
    faults = table.faults(measured)
    if faults:
        print("\nWRONG RESULTS:", *faults, sep="\n")
    return 1 if faults else 0


def _rows(plan: Plan, tables: Sequence[Table], limits: ceilings.Ceilings) -> Iterator[Row]:
    if "search" in tables:
        yield from search.rows(plan.items, plan.dim, plan.queries, plan.k, limits)
    if "mining" in tables:
        for b in plan.batches:
            yield from mining.rows(b, plan.dim, limits)
            torch.cuda.empty_cache()
