"""What the face accepts: every check of an argument, and its form for the compiled module."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]


def _array(name: str, value: Any, dtype: type[np.generic], shape: str) -> npt.NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array of shape {shape}, got {type(value).__name__}")
    if value.dtype != dtype:
        wanted = np.dtype(dtype).name
        raise TypeError(f"{name} must be {wanted}, got {value.dtype}; convert with {name}.astype('{wanted}')")
    return value


def queries_of(queries: Any) -> Floats:
    """(n, d) float32, finite, C-contiguous (copied if it isn't: queries are few)."""
    array = _array("queries", queries, np.float32, "(n, d)")
    if array.ndim != 2:
        hint = "; one query is queries[None, :]" if array.ndim == 1 else ""
        raise ValueError(f"queries must have shape (n, d), got {array.shape}{hint}")
    if array.shape[1] == 0:
        raise ValueError(f"queries must have at least one dimension d, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise ValueError(f"queries hold NaN or infinity in {bad.size} rows, the first is row {bad[0]}")
    return np.ascontiguousarray(array)


def gallery_of(gallery: Any, d: int) -> Floats:
    """(m, t, d) float32 view: never copied, so the rows must be contiguous; strides may be larger."""
    array = _array("gallery", gallery, np.float32, "(m, d) or (m, t, d)")
    if array.ndim not in (2, 3):
        raise ValueError(f"gallery must have shape (m, d) or (m, t, d), got {array.shape}")
    if array.shape[-1] != d:
        raise ValueError(
            f"gallery rows have d = {array.shape[-1]}, but queries have d = {d}: they must agree"
        )
    items = array if array.ndim == 3 else array[:, None, :]
    if items.shape[1] == 0:
        raise ValueError(f"gallery items need at least one token, got shape {array.shape}")
    loose = (
        not items.flags.aligned or (d > 1 and items.strides[2] != 4) or any(s % 4 for s in items.strides[:2])
    )
    if items.size and loose:
        raise ValueError(
            f"gallery must hold each row's {d} floats contiguous and aligned to 4 bytes, got strides "
            f"{array.strides}; copy it once with numpy.ascontiguousarray"
        )
    return items


def count_of(name: str, value: SupportsIndex, least: int) -> int:
    """A whole number of at least ``least``."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def top_tokens_of(value: SupportsIndex, t: int) -> int:
    """1 to t."""
    number = count_of("top_tokens", value, 1)
    if number > t:
        raise ValueError(f"top_tokens is {number}, but gallery items have {t} token{'s'[: t != 1]}")
    return number


def threads_of(value: SupportsIndex) -> int:
    """0 becomes the number of processors this process may use."""
    number = count_of("threads", value, 0)
    if number:
        return number
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def above_of(min_score: float | None) -> float:
    """The largest float32 below every allowed score, so that the kernels need one comparison."""
    if min_score is None:
        return -math.inf
    if not isinstance(min_score, numbers.Real):
        raise TypeError(f"min_score must be a number or None, got {min_score!r}")
    least = float(min_score)
    if math.isnan(least):
        raise ValueError("min_score is NaN; give a number, or None for no limit")
    with np.errstate(over="ignore"):
        nearest = np.float32(least)
        if float(nearest) < least:
            nearest = np.nextafter(nearest, np.float32(np.inf))
        return float(np.nextafter(nearest, np.float32(-np.inf)))


def mask_of(mask: Any, n: int, m: int) -> Bits | None:
    """Packed bits, (ceil(m/8),) or (n, ceil(m/8)), from those or from booleans, (m,) or (n, m)."""
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray) or mask.dtype not in (np.bool_, np.uint8):
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"mask must be a NumPy array of bool, or of uint8 for packed bits, got {kind}")
    width = m if mask.dtype == np.bool_ else (m + 7) // 8
    if mask.shape not in ((width,), (n, width)):
        raise ValueError(
            f"a mask of {mask.dtype} for {n} queries and {m} rows has shape ({width},) or ({n}, {width}), "
            f"got {mask.shape}"
        )
    bits = np.packbits(mask, axis=-1, bitorder="little") if mask.dtype == np.bool_ else mask
    return np.ascontiguousarray(bits[0] if bits.ndim == 2 and n == 1 else bits)


def exclude_of(exclude: Sequence[Sequence[int]] | None, n: int, m: int) -> tuple[Indices, Indices] | None:
    """All lists one after another, each sorted, and the n + 1 places where they begin."""
    if exclude is None:
        return None
    if len(exclude) != n:
        raise ValueError(f"exclude must hold one list of rows per query: {n} queries, {len(exclude)} lists")
    lists = [index_of(f"exclude[{query}]", rows, m) for query, rows in enumerate(exclude)]
    begin = np.zeros(n + 1, np.int64)
    np.cumsum([len(rows) for rows in lists], out=begin[1:])
    return np.concatenate([np.empty(0, np.int64), *(np.sort(rows) for rows in lists)]), begin


def index_of(name: str, rows: Any, size: int) -> Indices:
    """A flat array of row numbers, each in [0, size)."""
    array = np.asarray(rows)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be a flat list of row numbers, got {rows!r:.80}")
    if array.size and (array.min() < 0 or array.max() >= size):
        wrong = array[(array < 0) | (array >= size)][0]
        raise ValueError(f"{name} holds row {wrong}, but the rows are 0 to {size - 1}")
    return np.ascontiguousarray(array, np.int64)
