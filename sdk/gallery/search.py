"""The best rows of a snapshot: each segment by ``cpp_ext.topk``, merged by score, then by place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import cpp_ext

from ..types import Floats
from .segments import Bits, Places
from .snapshot import Segment, Snapshot

_NOWHERE = np.iinfo(np.int64).max  # the place of padding: after every row
_BATCH = 64  # segments' worth of candidates merged at a time, which bounds the memory of a merge


def best(
    snapshot: Snapshot,
    masks: Sequence[Bits | None],
    queries: Floats,
    k: int,
    excluded: Sequence[Sequence[int]] | None,
    min_score: float | None,
    top_tokens: int,
) -> tuple[Places, Floats]:
    """Places (n, k) and scores (n, k), best first, ties by place; missing ones are -1 and -inf.

    ``masks`` per segment; ``excluded`` slots per query.
    """
    n = len(queries)
    places, scores = np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)
    found: list[tuple[Places, Floats]] = []
    if n:
        for segment, mask in zip(snapshot.segments, masks, strict=True):
            if mask is not None and not mask.any():
                continue
            skip = _rows_in(segment, snapshot.layout.segment_rows, excluded)
            found.append(_segment(segment, mask, queries, k, skip, min_score, top_tokens))
            if len(found) == _BATCH:
                places, scores = _first([(places, scores), *found], k)
                found = []
    places, scores = _first([(places, scores), *found], k)
    places = np.where(places == _NOWHERE, -1, places)
    short = ((0, 0), (0, k - places.shape[1]))
    return np.pad(places, short, constant_values=-1), np.pad(scores, short, constant_values=-np.inf)


def _segment(
    segment: Segment,
    mask: Bits | None,
    queries: Floats,
    k: int,
    excluded: list[list[int]] | None,
    min_score: float | None,
    top_tokens: int,
) -> tuple[Places, Floats]:
    vectors = segment.mapped.vectors[: segment.rows]
    places = segment.mapped.places
    wanted = min(k, segment.rows)
    asked = wanted
    while True:
        rows, scores = cpp_ext.topk(
            queries, vectors, asked, mask=mask, exclude=excluded, min_score=min_score, top_tokens=top_tokens
        )
        found = np.where(rows < 0, _NOWHERE, places[rows])
        if segment.ordered:
            return found, scores
        # An updated row lies after rows that come later in insertion order, so the kernel may have cut a
        # tie at the wrong place: ask on until the last score asked for is below the last one wanted.
        if asked == segment.rows or (asked > wanted and not _tied(found, scores, wanted)):
            return _first([(found, scores)], wanted)
        asked = min(segment.rows, 4 * asked)


def _tied(places: Places, scores: Floats, wanted: int) -> bool:
    return bool(((places[:, -1] != _NOWHERE) & (scores[:, -1] == scores[:, wanted - 1])).any())


def _first(found: Sequence[tuple[Places, Floats]], k: int) -> tuple[Places, Floats]:
    """The k best of several candidate lists."""
    if len(found) == 1 and found[0][0].shape[1] == 0:
        return found[0]
    places = np.concatenate([f[0] for f in found], axis=1)
    scores = np.concatenate([f[1] for f in found], axis=1)
    order: npt.NDArray[Any] = np.lexsort((places, -scores), axis=1)[:, :k]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _rows_in(
    segment: Segment, segment_rows: int, excluded: Sequence[Sequence[int]] | None
) -> list[list[int]] | None:
    if excluded is None:
        return None
    rows = [
        [slot % segment_rows for slot in slots if slot // segment_rows == segment.id] for slots in excluded
    ]
    return rows if any(rows) else None
