"""What the mining accepts: every check of an argument, and its form for the compiled module."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

POSITIVES = ("hardest", "paired")


class Rules(NamedTuple):
    paired: bool
    semi_hard: bool
    exclude_self: bool


def rows_of(name: str, rows: Any) -> Floats:
    """(n, d) float32, finite, each row contiguous (copied if it isn't)."""
    if not isinstance(rows, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array of shape (n, d), got {type(rows).__name__}")
    if rows.dtype != np.float32:
        raise TypeError(f"{name} must be float32, got {rows.dtype}; convert with {name}.astype('float32')")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, d) with d at least 1, got {rows.shape}")
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise ValueError(f"{name} hold NaN or infinity in {bad.size} rows, the first is row {bad[0]}")
    loose = not rows.flags.aligned or rows.strides[1] != 4 or rows.strides[0] % 4
    return np.ascontiguousarray(rows) if loose else rows


def same_depth(d: int, other_d: int) -> None:
    """Both sides have one d."""
    if d != other_d:
        raise ValueError(f"anchors have d = {d}, but others have d = {other_d}: they must agree")


def ids_of(name: str, ids: Any, of: str, n: int) -> Indices:
    """(n,) int64."""
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be whole numbers, got {array.dtype}; "
            f"numpy.unique(…, return_inverse=True) numbers anything else, both sides together"
        )
    if array.shape != (n,):
        raise ValueError(
            f"{name} must hold one id per row: {of} have {n} rows, {name} has shape {array.shape}"
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} hold {array.max()}, which is more than an int64 can")
    return np.ascontiguousarray(array, np.int64)


def rules_of(positives: str, semi_hard: bool, exclude_self: bool, n: int, m: int) -> Rules:
    """``paired`` and ``exclude_self`` need rows that answer each other."""
    if positives not in POSITIVES:
        raise ValueError(f"positives is {positives!r}; allowed: {', '.join(map(repr, POSITIVES))}")
    for name, value in (("semi_hard", semi_hard), ("exclude_self", exclude_self)):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    paired = positives == "paired"
    if paired and exclude_self:
        raise ValueError("exclude_self forbids the very positives that positives='paired' asks for")
    if (paired or exclude_self) and n != m:
        asked = "positives='paired'" if paired else "exclude_self=True"
        raise ValueError(f"{asked} needs as many others as anchors, got {n} anchors and {m} others")
    return Rules(paired, bool(semi_hard), bool(exclude_self))


def same_ids(rules: Rules, anchor_ids: Indices, other_ids: Indices) -> None:
    """Rows that answer each other show the same."""
    if not (rules.paired or rules.exclude_self):
        return
    wrong = np.flatnonzero(anchor_ids != other_ids)
    if wrong.size:
        row = wrong[0]
        asked = "positives='paired'" if rules.paired else "exclude_self=True"
        raise ValueError(
            f"{asked} needs the same id for row i of both sides; "
            f"row {row} has {anchor_ids[row]} among the anchors and {other_ids[row]} among the others"
        )
