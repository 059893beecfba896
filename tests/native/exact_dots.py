"""Dot products and late similarity to the bit, from NumPy alone: no kernel had a hand in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

LANES = 16


def fused(a: Floats, b: Floats, c: Floats) -> Floats:
    """a * b + c, rounded once.

    The product of two float32 is exact in float64. Their sum with c isn't; what it lost, found by Knuth's
    two-sum, is left as a last bit that is 1 ("round to odd"). Rounding that to float32 is then right,
    because float64 has more than two bits to spare (Boldo and Melquiond, 2008).
    """
    with np.errstate(all="ignore"):
        product, addend = a.astype(np.float64) * b, np.asarray(c, np.float64)
        total = np.asarray(product + addend)
        virtual = total - product
        lost = (product - (total - virtual)) + (addend - virtual)
        even = (total.view(np.int64) & 1) == 0
        towards = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
        inexact = np.isfinite(total) & np.isfinite(lost) & (lost != 0) & even
        return np.where(inexact, towards, total).astype(np.float32)


def dots(queries: Floats, rows: Floats) -> Floats:
    """(n, d) and (m, d) to (n, m): fused into lane e mod 16, then the halving tree, and a zero is +0."""
    lanes = np.zeros((len(queries), len(rows), LANES), np.float32)
    for start in range(0, queries.shape[1], LANES):
        a, b = queries[:, None, start : start + LANES], rows[None, :, start : start + LANES]
        width = a.shape[2]
        lanes[:, :, :width] = fused(a, b, lanes[:, :, :width])
    with np.errstate(all="ignore"):
        for half in (8, 4, 2, 1):
            lanes = lanes[:, :, :half] + lanes[:, :, half : 2 * half]
        return lanes[:, :, 0] + np.float32(0)


def late(token_dots: Floats, top_tokens: int) -> Floats:
    """(n, m, t) to (n, m): the mean of the largest, added in descending order; NaN if any isn't finite."""
    best = -np.sort(-token_dots, axis=2)
    with np.errstate(all="ignore"):
        total = best[:, :, 0]
        for token in range(1, top_tokens):
            total = total + best[:, :, token]
        mean = total / np.float32(top_tokens) + np.float32(0)
    return np.where(np.isfinite(token_dots).all(axis=2), mean, np.float32(np.nan))
