"""Galleries that a screen could stumble over, each by name."""

from __future__ import annotations

import numpy as np

KINDS = (
    "unit", "clustered", "cone", "duplicates", "equal", "norms", "huge", "tiny", "low rank", "one cluster",
    "outlier", "sparse", "damaged", "whole",
)  # fmt: skip


def rows(kind: str, m: int, d: int, random: np.random.Generator) -> np.ndarray:
    """(m, d) float32."""
    x = random.standard_normal((m, d)).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    if kind == "unit":
        return unit
    if kind == "clustered":
        return (unit[random.integers(0, max(1, m // 40), m)] + 0.1 * x / np.sqrt(d)).astype(np.float32)
    if kind == "cone":
        return x * np.float32(0.1) + np.float32(3)
    if kind == "duplicates":
        return x[random.integers(0, max(1, m // 50), m)]
    if kind == "equal":
        return np.repeat(x[:1], m, axis=0)
    if kind == "norms":
        return x * np.exp(random.uniform(-40, 40, (m, 1))).astype(np.float32)
    if kind == "huge":
        return x * np.float32(1e19)
    if kind == "tiny":
        return x * np.float32(1e-38)
    if kind == "low rank":
        return (x[:, :2] @ random.standard_normal((2, d))).astype(np.float32)
    if kind == "one cluster":
        return (x[:1] + np.float32(1e-3) * x).astype(np.float32)
    if kind == "outlier":
        x[:, 0] *= 500
        return x
    if kind == "sparse":
        return x * (random.random((m, d)) < 0.02)
    if kind == "damaged":
        x[random.random(m) < 0.05, 0] = np.nan
        x[random.random(m) < 0.02] = np.inf
        return x
    assert kind == "whole", kind
    return random.integers(-2, 3, (m, d)).astype(np.float32)


def queries(kind: str, n: int, gallery: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, d) float32, finite: some drawn like the gallery's rows, some of them exactly, the last zero."""
    found = rows("unit" if kind == "damaged" else kind, n, gallery.shape[1], random)
    some = gallery[random.integers(0, len(gallery), n)]
    sound = np.isfinite(some).all(axis=1) & (np.arange(n) % 2 == 0)
    found[sound] = some[sound]
    found[-1] = 0
    return np.ascontiguousarray(found)


def rotated(x: np.ndarray) -> np.ndarray:
    """(m, d) float64 as include/rotation.h turns it: signs, then Hadamard blocks of powers of two."""
    found = np.array(x, np.float64)
    d = found.shape[1]
    found *= signs(d)
    begin = 0
    while begin < d:
        size = 1 << ((d - begin).bit_length() - 1)
        found[:, begin : begin + size] @= hadamard(size)
        begin += size
    return found


def turned_back(x: np.ndarray) -> np.ndarray:
    """The inverse: Hadamard blocks are their own, and so are signs."""
    found = rotated(x * signs(x.shape[1]))
    return found * signs(x.shape[1])


def signs(d: int) -> np.ndarray:
    return 1 - 2.0 * ((np.arange(d, dtype=np.uint64) * 2654435761) % 2**32 >> 31)


def hadamard(size: int) -> np.ndarray:
    found = np.ones((1, 1))
    while len(found) < size:
        found = np.block([[found, found], [found, -found]])
    return found / np.sqrt(size)
