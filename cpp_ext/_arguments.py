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


ELEMENTS = ("float32", "float16", "bfloat16", "int8")


def gallery_of(gallery: Any, name: str = "gallery") -> npt.NDArray[Any]:
    """(m, t, d) view: never copied, so the rows must be contiguous; strides may be larger."""
    if not isinstance(gallery, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array of shape (m, d) or (m, t, d), got {type(gallery).__name__}"
        )
    if gallery.dtype.name not in ELEMENTS or not gallery.dtype.isnative:
        raise TypeError(
            f"{name} must be {', '.join(ELEMENTS[:-1])} or {ELEMENTS[-1]}, got {gallery.dtype}; "
            f"convert with {name}.astype('float32')"
        )
    if gallery.ndim not in (2, 3):
        raise ValueError(f"{name} must have shape (m, d) or (m, t, d), got {gallery.shape}")
    items = gallery if gallery.ndim == 3 else gallery[:, None, :]
    if items.shape[1] == 0 or items.shape[2] == 0:
        raise ValueError(f"{name} needs at least one token and one dimension, got shape {gallery.shape}")
    width = items.itemsize
    loose = (
        not items.flags.aligned
        or (items.shape[2] > 1 and items.strides[2] != width)
        or any(s % width for s in items.strides[:2])
    )
    if items.size and loose:
        raise ValueError(
            f"{name} must hold each row's {items.shape[2]} elements contiguous and aligned to {width} bytes, "
            f"got strides {gallery.strides}; copy it once with numpy.ascontiguousarray"
        )
    return items


def part_of(
    items: npt.NDArray[Any],
    mask: Bits | None = None,
    labels: Indices | None = None,
    codes: tuple[Bits, Floats, Floats] | None = None,
    read: Bits | None = None,
) -> tuple[Any, ...]:
    """What the compiled module takes for a part: (m, t, d) items and what goes with them."""
    name = items.dtype.name
    plain = items.view(np.uint16) if name == "bfloat16" else items  # NumPy alone doesn't know bfloat16
    return (plain, name, mask, labels, *(codes or (None, None, None)), read)


def labels_of(name: str, labels: Any, m: int) -> Indices | None:
    """(m,) int64 or None."""
    if labels is None:
        return None
    array = _array(name, labels, np.int64, "(m,)")
    if array.shape != (m,):
        raise ValueError(f"{name} must hold one number per item, shape ({m},), got {array.shape}")
    return np.ascontiguousarray(array)


def read_of(name: str, read: Any, m: int) -> Bits | None:
    """(ceil(m/8),) uint8 that can be written, or None."""
    if read is None:
        return None
    array = _array(name, read, np.uint8, "(ceil(m/8),)")
    if array.shape != ((m + 7) // 8,) or not array.flags.c_contiguous or not array.flags.writeable:
        raise ValueError(
            f"{name} must hold one bit per item, contiguous and writable, shape ({(m + 7) // 8},), got "
            f"{array.shape}"
        )
    return array


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


def mask_of(mask: Any, n: int, m: int, name: str = "mask") -> Bits | None:
    """Packed bits, (ceil(m/8),) or (n, ceil(m/8)), from those or from booleans, (m,) or (n, m)."""
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray) or mask.dtype not in (np.bool_, np.uint8):
        kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"{name} must be a NumPy array of bool, or of uint8 for packed bits, got {kind}")
    width = m if mask.dtype == np.bool_ else (m + 7) // 8
    if mask.shape not in ((width,), (n, width)):
        raise ValueError(
            f"{name} of {mask.dtype} for {n} queries and {m} rows has shape ({width},) or ({n}, {width}), "
            f"got {mask.shape}"
        )
    bits = np.packbits(mask, axis=-1, bitorder="little") if mask.dtype == np.bool_ else mask
    return np.ascontiguousarray(bits[0] if bits.ndim == 2 and n == 1 else bits)


def exclude_of(
    exclude: Sequence[Sequence[int]] | None, n: int, m: int | None
) -> tuple[Indices, Indices] | None:
    """All lists one after another, each sorted, and the n + 1 places where they begin. ``m`` None: labels,
    which may be any numbers."""
    if exclude is None:
        return None
    if len(exclude) != n:
        raise ValueError(f"exclude must hold one list of rows per query: {n} queries, {len(exclude)} lists")
    lists = [index_of(f"exclude[{query}]", rows, m) for query, rows in enumerate(exclude)]
    begin = np.zeros(n + 1, np.int64)
    np.cumsum([len(rows) for rows in lists], out=begin[1:])
    return np.concatenate([np.empty(0, np.int64), *(np.sort(rows) for rows in lists)]), begin


def index_of(name: str, rows: Any, size: int | None) -> Indices:
    """A flat array of row numbers, each in [0, size); of any numbers for size None."""
    array = np.asarray(rows)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be a flat list of row numbers, got {rows!r:.80}")
    if size is not None and array.size and (array.min() < 0 or array.max() >= size):
        wrong = array[(array < 0) | (array >= size)][0]
        raise ValueError(f"{name} holds row {wrong}, but the rows are 0 to {size - 1}")
    return np.ascontiguousarray(array, np.int64)
