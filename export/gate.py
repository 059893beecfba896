"""The limits of an export, and the comparisons that are held against them. Pure NumPy.

Nothing raises on a difference: each comparison gives a `Check`, so that one report shows every failure
beside its limit. A value that can't be computed (NaN, another shape) fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.text import Text

Array = npt.NDArray[Any]

MAX_ABS = 1e-4  # between torch's and the engine's features, which have unit length
MIN_COSINE = 0.99999
BATCH_ABS = 1e-5  # one input's features in batches of different sizes: what the encoder promises
NORM_ABS = 1e-5  # of |features| - 1; fp32 square root and division leave some 1e-7
DUPLICATE_ABS = 1e-6  # rows of one input within one batch; usually 0, but an engine may tile a last row
LOG_ABS = 1e-3  # of logarithms of probabilities, the logits' own differences: fp32 sums of ± 50 leave 1e-4
LEAST = 1e-30  # probabilities below count as this one; fp32's smallest is some 1e-38
TOP = 10
POINTS = 0.1  # of Rank-1 and mAP, in percent


@dataclass(frozen=True)
class Check:
    """One thing held against one limit. ``value`` is a number, or words where there is none."""

    name: str
    passed: bool
    value: float | str
    limit: str
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        value = self.value
        if isinstance(value, float) and not math.isfinite(value):
            value = str(value)  # JSON has no NaN
        return {
            "name": self.name,
            "passed": self.passed,
            "value": value,
            "limit": self.limit,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class Report:
    """Every check of one export, and on what it was made (``setting``: plain data)."""

    checks: tuple[Check, ...]
    setting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """Plain data, kept as the manifest's ``parity``."""
        return {
            "passed": self.passed,
            **self.setting,
            "checks": [check.to_json() for check in self.checks],
        }

    def print(self, console: Console) -> None:
        """The ✓/✗ list: what, value, limit. What else is known stands below a failure, and elsewhere where
        the line has room for it."""
        on = "; ".join(f"{name}: {value}" for name, value in self.setting.items())
        console.print(Text(f"the gate. {on}"), soft_wrap=True)
        width = max((len(check.name) for check in self.checks), default=0)
        for check in self.checks:
            mark, style = ("✓", "green") if check.passed else ("✗", "bold red")
            line = Text(f"{mark} ", style).append(f"{check.name:<{width}}", "" if check.passed else style)
            line.append(f"  {number(check.value)}  ({check.limit})", "default not bold")
            room = line.cell_len + 2 + len(check.detail) <= console.width
            if check.detail and (room or not check.passed):
                line.append(("  " if room else "\n    ") + check.detail, "dim default not bold")
            console.print(line, soft_wrap=True)
        good = sum(check.passed for check in self.checks)
        verdict = ("the gate is open", "green") if self.passed else ("the gate stays shut", "bold red")
        console.print(Text(f"{good} of {len(self.checks)} checks hold: ").append(*verdict))


def number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 0.9 else f"{value:.7g}"


def parity(
    name: str, torch: Mapping[int, Array], engine: Mapping[int, Array], unit: bool = True
) -> list[Check]:
    """Features of the same inputs at several batch sizes: ``{b: (b, d) or (b, t, d)}`` of each side.

    Three checks, on the worst batch: largest absolute difference, smallest cosine and, where the rows are
    to be of ``unit`` length, the distance from it.
    """
    difference = {b: _difference(torch[b], engine[b]) for b in torch}
    cosine = {b: _cosine(torch[b], engine[b]) for b in torch}
    length = {b: _length(engine[b]) for b in torch}
    return [
        _most(f"{name}: largest difference from torch", difference, MAX_ABS),
        _least(f"{name}: smallest cosine with torch", cosine, MIN_COSINE),
        *([_most(f"{name}: distance from unit length", length, NORM_ABS)] if unit else []),
    ]


def independence(name: str, engine: Mapping[int, Array]) -> list[Check]:
    """Row 0 of every batch is the same input, and so is the last row of each batch of 2 and more."""
    first = engine[min(engine)][0]
    between = {b: _difference(first, rows[0]) for b, rows in engine.items()}
    within = {b: _difference(rows[0], rows[-1]) for b, rows in engine.items() if b > 1}
    return [
        _most(f"{name}: one input in batches of different sizes", between, BATCH_ABS),
        _most(f"{name}: one input twice in a batch", within, DUPLICATE_ABS),
    ]


def logarithms(name: str, torch: Mapping[int, Array], engine: Mapping[int, Array]) -> Check:
    """Probabilities of the same inputs, ``{b: (b, v)}`` of each side, as their logarithms.

    A difference in a value that is hardly ever likely is below MAX_ABS wherever one looks; here it counts
    as much as in any other.
    """
    with np.errstate(invalid="ignore"):  # NaN stays NaN, and fails
        left, right = ({b: np.log(np.maximum(p, LEAST)) for b, p in side.items()} for side in (torch, engine))
    difference = {b: _difference(left[b], right[b]) for b in torch}
    return _most(f"{name}: largest difference of logarithms", difference, LOG_ABS)


def same(name: str, left: Array, right: Array, what: str) -> Check:
    """Equal to the bit: shape, type and every element. ``what`` is one row, in plural."""
    if left.shape != right.shape or left.dtype != right.dtype:
        value = f"{right.dtype}{list(right.shape)} instead of {left.dtype}{list(left.shape)}"
        return Check(name, False, value, "equal to the bit")
    wrong = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a.tobytes() != b.tobytes()]
    detail = f"first at {what} {wrong[0]}" if wrong else f"{len(left)} {what}"
    return Check(name, not wrong, float(len(wrong)), "0 differ, to the bit", detail)


def ranking(scores: Array, found: Sequence[Sequence[int]], error: float, k: int = TOP) -> Check:
    """Top-k of the finished system against torch's scores (n, m), which come from elsewhere.

    ``found``: n lists of k different gallery rows, best first. Rows may change places only where torch's
    own scores lie closer than twice ``error``, the largest score difference measured between the two;
    an error above MAX_ABS excuses no more than MAX_ABS.
    """
    k, error = min(k, scores.shape[1]), min(error, MAX_ABS)
    wrong, moved, gap = 0, 0, 0.0
    for row, got in zip(scores, found, strict=True):
        best = np.lexsort((np.arange(len(row)), -row))[:k]
        if len(got) != k or len(set(got)) != k:
            wrong += 1
            continue
        change = np.abs(row[best] - row[np.asarray(got, np.int64)])
        moved += int((best != np.asarray(got)).any())
        wrong += not ((change == 0) | (change < 2 * error)).all()  # so that NaN is wrong
        gap = max(gap, float(change.max()))
    detail = (
        f"{len(scores)} queries, {scores.shape[1]} items; {moved} rankings with swaps, by {gap:.1e} at most"
    )
    limit = f"0 rankings differ by ≥ {2 * error:.1e}"
    return Check(f"top {k} as torch ranks them", not wrong, float(wrong), limit, detail)


def score_matrix(queries: Array, gallery: Array, top_tokens: int) -> Array:
    """(n, d) · (m, d) or (m, t, d) → (n, m) float64; the mean of the `top_tokens` largest of t products."""
    tokens = gallery.reshape(len(gallery), -1, queries.shape[1]).astype(np.float64)
    each = np.einsum("nd,mtd->nmt", queries.astype(np.float64), tokens)
    best: Array = np.sort(each, axis=2)[:, :, -top_tokens:].mean(axis=2)
    return best


def points(name: str, torch: float, engine: float, queries: int) -> Check:
    """A metric in percent on both sides."""
    change = abs(torch - engine)
    detail = f"torch {torch:.2f}, bundle {engine:.2f}, {queries} queries"
    return Check(f"{name}: difference in points", bool(change <= POINTS), change, f"≤ {POINTS}", detail)


def _most(name: str, values: Mapping[int, float], limit: float) -> Check:
    worst = _worst(values.values(), max)
    return Check(name, bool(worst <= limit), worst, f"≤ {limit:g}", _by_batch(values))


def _least(name: str, values: Mapping[int, float], limit: float) -> Check:
    worst = _worst(values.values(), min)
    return Check(name, bool(worst >= limit), worst, f"≥ {limit}", _by_batch(values))


def _worst(values: Iterable[float], choose: Any) -> float:
    """NaN wins: max() and min() may lose it."""
    every = list(values)
    return float("nan") if any(math.isnan(v) for v in every) else float(choose(every))


def _by_batch(values: Mapping[int, float]) -> str:
    return "batch " + ", ".join(f"{b}: {number(value)}" for b, value in values.items())


def _difference(left: Array, right: Array) -> float:
    if left.shape != right.shape:
        return float("nan")
    return float(np.abs(left.astype(np.float64) - right.astype(np.float64)).max())


def _cosine(left: Array, right: Array) -> float:
    if left.shape != right.shape:
        return float("nan")
    a, b = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return float(each.min())  # min() of an array keeps NaN


def _length(rows: Array) -> float:
    return float(np.abs(np.linalg.norm(rows.astype(np.float64), axis=-1) - 1).max())
