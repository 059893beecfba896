"""The result as Markdown tables, under what they were taken on."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cpp_ext.bench import machine
from train.bench.turns import Times
from train.bench.waits import Waits
from train.bench.ways import OPEN_CLIP, Way

PACKAGES = ("torch", "open_clip_torch", "accelerate")


def header(accelerator: Any, arguments: Sequence[str]) -> str:
    facts = machine.describe(PACKAGES)
    gpu = accelerator.device.type == "cuda"
    facts["steps on"] = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} threads"
    facts["precision"] = {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
    facts["command"] = shlex.join(["python", "-m", "train.bench", *arguments])
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def of_steps(ways: Sequence[Way], times: Mapping[str, Times]) -> str:
    titles = ["step", "ids", "ms", "images/s", "over open_clip", "over open_clip as it is", "over sdm"]
    rows = []
    for way in ways:
        own = times[way.name]
        beside = [way.beside, OPEN_CLIP, "sdm" if way.name == "sdm+cmt" else None]
        ratios = [_ratio(own, times.get(name or "")) if name != way.name else "" for name in beside]
        spread = f"{own.median:.1f} ({min(own.each):.1f} … {max(own.each):.1f})"
        ids = f"{statistics.median_low(own.tokens)}"
        rows.append([way.name, ids, spread, f"{1e3 * way.cfg.batch / own.median:.1f}", *ratios])
    return _table(titles, rows)


def of_waits(found: Sequence[Waits]) -> str:
    titles = ["step", "pictures from", "workers", "wait, ms", "longest", "step, ms", "waiting", "images/s"]
    rows = []
    for one in found:
        wait, step = one.medians
        figures = [
            f"{wait:.1f}",
            f"{max(one.wait):.1f}",
            f"{step:.1f}",
            f"{one.share:.1%}",
            f"{one.rate:.1f}",
        ]
        rows.append([one.way, one.pictures, str(one.workers), *figures])
    return _table(titles, rows)


def _ratio(own: Times, other: Times | None) -> str:
    if other is None:
        return ""
    ratio, low, high = own.over(other)
    return f"{ratio:.3f} ({low:.3f} … {high:.3f})"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in (titles, *rows)) for i in range(len(titles))]
    lines = [titles, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
