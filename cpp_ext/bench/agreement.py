"""Whether two searches found the same: ours to the bit, a peer's up to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import cpp_ext

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Found = tuple[Indices, Floats]

SERIAL = 2e9  # multiply-adds the serial level is given, some seconds: it is the oracle, and slow


@dataclass(frozen=True)
class Oracle:
    """What a search must find, and how that is known."""

    indices: Indices
    scores: Floats
    source: str
    faults: tuple[str, ...]

    def first(self, n: int) -> Found:
        return self.indices[:n], self.scores[:n]


def oracle(
    queries: Floats,
    gallery: Floats,
    k: int,
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    top_tokens: int = 1,
) -> Oracle:
    """Every query by the unscreened scan of the level in use; as many as there is time for by serial.

    gallery: (m, d) or (m, t, d).
    """
    found = cpp_ext.topk(queries, gallery, k, mask=mask, top_tokens=top_tokens)
    some = int(np.clip(SERIAL / gallery.size, 1, len(queries)))
    asked = np.unique(np.linspace(0, len(queries) - 1, some).round().astype(np.int64))
    serial = cpp_ext.topk(queries[asked], gallery, k, mask=mask, top_tokens=top_tokens, level="serial")
    fault = same_bits("the unscreened scan", (found[0][asked], found[1][asked]), serial)
    source = f"serial level for {len(asked)} of {len(queries)} queries, unscreened scan for all"
    return Oracle(*found, source, () if fault is None else (fault,))


def same_bits(name: str, found: Found, meant: Found) -> str | None:
    """None, or where the indices or the bits of the scores differ."""
    bits = [part[1].view(np.uint32) for part in (found, meant)]
    if found[0].shape != meant[0].shape or bits[0].shape != bits[1].shape:
        return f"{name}: shape {found[0].shape} instead of {meant[0].shape}"
    wrong = np.argwhere((found[0] != meant[0]) | (bits[0] != bits[1]))
    if not len(wrong):
        return None
    q, place = wrong[0]
    return (
        f"{name}: {len(wrong)} hits differ from the serial level's, the first for query {q}, place {place}: "
        f"row {found[0][q, place]} with {found[1][q, place]!r} instead of row {meant[0][q, place]} with "
        f"{meant[1][q, place]!r}"
    )


def near_ties(
    name: str, indices: Indices, queries: Floats, gallery: Floats, meant: Found, top_tokens: int = 1
) -> str | None:
    """None, or a query for which ``indices`` (n, k) holds a row that rounding can't excuse.

    Sums of d products in any order are within d·2^-24·‖q‖·‖x‖ of the true one; two rows are compared, and a
    peer that rotates its vectors first rounds as often again, which makes four of these.
    """
    d = queries.shape[1]
    lengths = np.linalg.norm(queries, axis=1) * max(
        float(np.linalg.norm(gallery[meant[0][meant[0] >= 0]], axis=-1).max(initial=0)),
        float(np.linalg.norm(gallery[indices[indices >= 0]], axis=-1).max(initial=0)),
    )
    for q, row in enumerate(indices):
        others = np.setdiff1d(row, meant[0][q])
        if len(np.unique(row)) != len(row) or (others < 0).any():
            return f"{name}: query {q} has rows {row.tolist()}: one twice, or none where there is one"
        scores = cpp_ext.score_pairs(
            queries[q : q + 1], gallery, np.zeros(len(others), int), others, top_tokens
        )
        least = meant[1][q, -1] - 4 * d * 2.0**-24 * lengths[q]
        if len(scores) and scores.min() < least:
            return (
                f"{name}: query {q} has row {others[scores.argmin()]} with {scores.min()!r}, below {least!r}"
            )
    return None


def recall(indices: Indices, meant: Indices) -> float:
    """The share of the exact hits that an approximate search found."""
    both = [len(np.intersect1d(*pair)) for pair in zip(indices, meant, strict=True)]
    return float(np.sum(both) / meant.size)
