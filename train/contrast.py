"""What runs of a recipe's variants say together: means, intervals, differences, as a table and as a picture.

A result is a dict with `variant`, `seed`, `steps`, `seconds` and `figures` (train/metrics.py), as
train.ablate writes them. Intervals are Student's, 95 %, over seeds; differences are paired by seed, since the
runs of one seed share their weights' first values and the order of their pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Results = Sequence[Mapping[str, Any]]
SHOWN = {"rank1": "Rank-1", "map": "mAP"}


@dataclass(frozen=True)
class Mean:
    """The mean of `runs` values; the interval is value ± half, which one run alone doesn't have (None)."""

    value: float
    half: float | None
    runs: int

    def __str__(self) -> str:
        return f"{self.value:.2f}" + ("" if self.half is None else f" ± {self.half:.2f}")


def mean_of(values: Sequence[float]) -> Mean:
    """Student's 95 % interval for the mean of a normal variable; NaN without a value."""
    n = len(values)
    if n == 0:
        return Mean(math.nan, None, 0)
    if n == 1:
        return Mean(float(values[0]), None, 1)
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Mean(float(np.mean(values)), float(stats.t.ppf(0.975, n - 1)) * error, n)


def figures(results: Results, variant: str, name: str) -> dict[int, float]:
    """Seed → the figure of that variant's run."""
    return {r["seed"]: float(r["figures"][name]) for r in results if r["variant"] == variant}


def above(results: Results, variant: str, base: str, name: str) -> Mean:
    """How much the variant's figure lies above the base's, over the seeds that both have."""
    mine, other = figures(results, variant, name), figures(results, base, name)
    return mean_of([mine[seed] - other[seed] for seed in mine if seed in other])


def table(results: Results, variants: Sequence[str]) -> str:
    """Markdown: a row per variant; the first one is what the others are compared with."""
    base = variants[0]
    heads = [
        "variant",
        "runs",
        "steps",
        "minutes",
        *SHOWN.values(),
        *(f"{h} above {base}" for h in SHOWN.values()),
    ]
    lines = [heads, ["---"] * len(heads)]
    for variant in variants:
        mine = [r for r in results if r["variant"] == variant]
        if not mine:
            lines.append([variant, "0", *[""] * (len(heads) - 2)])
            continue
        steps = sorted({r["steps"] for r in mine})
        took = np.mean([r["seconds"] for r in mine]) / 60
        row = [
            variant,
            str(len(mine)),
            " … ".join(map(str, dict.fromkeys(steps[:1] + steps[-1:]))),
            f"{took:.1f}",
        ]
        row += [str(mean_of(list(figures(results, variant, name).values()))) for name in SHOWN]
        row += ["" if variant == base else _signed(above(results, variant, base, name)) for name in SHOWN]
        lines.append(row)
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)


def _signed(mean: Mean) -> str:
    return f"{mean.value:+.2f}" + ("" if mean.half is None else f" ± {mean.half:.2f}")


def draw(results: Results, variants: Sequence[str], path: str | Path) -> None:
    """Every run as a dot, one colour a seed, with the means and their intervals, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(SHOWN), 3.6), layout="constrained")
    FigureCanvasAgg(figure)  # no window, no global state
    seeds = sorted({r["seed"] for r in results})
    for axes, (name, head) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        for place, variant in enumerate(variants):
            mine = figures(results, variant, name)
            mean = mean_of(list(mine.values()))
            axes.errorbar(place, mean.value, mean.half or 0, fmt="_", color="black", markersize=18, capsize=4)
            for seed, value in mine.items():
                label = None if place else f"seed {seed}"
                axes.plot(
                    place + 0.12, value, "o", color=f"C{seeds.index(seed) % 10}", markersize=4, label=label
                )
        axes.set_xticks(range(len(variants)), variants, rotation=20)
        axes.set(title=f"{head} (%)", xlim=(-0.5, len(variants) - 0.5))
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
