"""Vectors to search among: screening depends on how they lie, so there are several kinds.

- random: independent directions; nothing is like anything.
- clustered: 5,000 identities, pictures of one at a cosine of about 0.8; queries are further pictures of them.
- cone: as CLIP's features lie. All share a mean, at a cosine of about 0.65 to each other, and one dimension
  is far larger than the rest.
- a file of embeddings, of which some rows become the queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Fill = Callable[[Floats], None]

IDENTITIES = 5_000
BLOCK = 20_000  # rows made at a time, so that what is between stays in the cache


@dataclass(frozen=True)
class Vectors:
    """A gallery and what is asked of it; every row of unit length unless a file said otherwise."""

    name: str
    rows: Floats  # (m, d)
    queries: Floats  # (n, d)


def _noise(random: np.random.Generator, like: Floats) -> None:
    random.standard_normal(out=like, dtype=np.float32)
    like /= np.float32(np.sqrt(like.shape[1]))  # rows of length about 1


def _random(random: np.random.Generator, d: int) -> Fill:
    return lambda out: _noise(random, out)


def _clustered(random: np.random.Generator, d: int) -> Fill:
    centres = np.empty((IDENTITIES, d), np.float32)
    _noise(random, centres)

    def fill(out: Floats) -> None:
        _noise(random, out)
        out *= np.float32(0.5)
        out += centres[random.integers(0, IDENTITIES, len(out))]

    return fill


def _cone(random: np.random.Generator, d: int) -> Fill:
    mean = np.empty((1, d), np.float32)
    _noise(random, mean)
    mean[0, d // 3] = 0.8

    def fill(out: Floats) -> None:
        _noise(random, out)
        out *= np.float32(0.9)
        out += mean

    return fill


KINDS: dict[str, Callable[[np.random.Generator, int], Fill]] = {
    "random": _random,
    "clustered": _clustered,
    "cone": _cone,
}


def drawn(kind: str, m: int, d: int, n: int, seed: int = 0) -> Vectors:
    """``m`` rows and ``n`` queries of one of ``KINDS``, of unit length."""
    random = np.random.default_rng([seed, m, d])
    fill = KINDS[kind](random, d)
    rows, queries = np.empty((m, d), np.float32), np.empty((n, d), np.float32)
    for out in (queries, rows):
        for first in range(0, len(out), BLOCK):
            block = out[first : first + BLOCK]
            fill(block)
            block /= np.sqrt(np.einsum("md,md->m", block, block))[:, None]
    return Vectors(kind, rows, queries)


def read(path: Path, n: int, seed: int = 0) -> Vectors:
    """The rows of a .npy file (m + n, d) of floats; ``n`` of them, drawn by chance, become the queries.

    Raises:
        ValueError: another shape or dtype, NaN or infinity, or fewer than 2n rows.
    """
    array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(f"embeddings: {path} holds {array.dtype} {array.shape}; (m, d) of floats is wanted")
    if len(array) < 2 * n:
        raise ValueError(
            f"embeddings: {path} holds {len(array)} rows; {n} become queries, so give at least {2 * n}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"embeddings: {path} holds NaN or infinity")
    asked = np.zeros(len(array), np.bool_)
    asked[np.random.default_rng(seed).choice(len(array), n, replace=False)] = True
    wide = array.astype(np.float32)
    return Vectors(path.stem, wide[~asked], wide[asked])
