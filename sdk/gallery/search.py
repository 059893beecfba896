"""The best rows of a snapshot: one ``cpp_ext.topk`` over all segments, of nothing that wasn't checked.

A search returns what it would return on undamaged files, or raises. Before the scan, each block with a
wanted row has its places checked, and its codes where the segment has some, else its vectors: once each
since the gallery was opened. After the scan, each vector that it read, to score a row that codes alone could
not rule out, is compared with the checksum stored with the codes. Damage to vectors that no search has had
to read is found when one does, or by ``get``, ``update``, ``compact`` or ``erase``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import cpp_ext

from ..types import Floats
from .screen import Screen
from .segments import Bits, Places
from .snapshot import Segment, Snapshot, each, verify


@dataclass(frozen=True)
class Reading:
    """Where a scan notes which vectors behind codes it read."""

    segment: Segment
    screen: Screen
    first: int  # byte of the segment's bits
    bits: slice  # of the scan's notes


def best(
    connection: sqlite3.Connection,
    snapshot: Snapshot,
    masks: Sequence[Bits | None],
    queries: Floats,
    k: int,
    excluded: Sequence[Sequence[int]] | None,
    min_score: float | None,
    top_tokens: int,
) -> tuple[Places, Floats]:
    """Places (n, k) and scores (n, k), best first, ties by place; missing ones are -1 and -inf.

    ``masks`` per segment, None for all rows; ``excluded`` places per query. Raises GalleryDamagedError with
    the ids of the first bad block.
    """
    wanted = [(s, m) for s, m in zip(snapshot.segments, masks, strict=True) if m is None or m.any()]
    places = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    hits = min(k, snapshot.count)
    while len(queries) and wanted:
        _check(connection, snapshot, wanted)
        scanned = _scan(wanted, queries, hits, excluded, min_score, top_tokens)
        if scanned is not None and _compare(connection, snapshot, *scanned[:2]):
            places[:, :hits], scores[:, :hits] = scanned[2]
            break
    return places, scores


def _check(
    connection: sqlite3.Connection, snapshot: Snapshot, wanted: list[tuple[Segment, Bits | None]]
) -> None:
    """Make all blocks with wanted rows (bits; None: all) ready to be searched."""
    verify(connection, snapshot, [(s, bits) for s, bits in wanted if s.screen is None])
    coded = [(s, s.screen, bits) for s, bits in wanted if s.screen is not None]
    verify(connection, snapshot, [(s, bits) for s, _, bits in coded], ("places",))
    todo = [(s, screen, block) for s, screen, bits in coded for block in screen.unready(bits)]
    size = snapshot.layout.block_rows
    fits = each(lambda item: item[1].check(item[2]), todo, size * snapshot.layout.row_bytes // 4)
    for (segment, screen, block), fine in zip(todo, fits, strict=True):
        if not fine:
            rows = np.arange(block * size, min(segment.rows, (block + 1) * size))
            verify(connection, snapshot, [(segment, _bits(segment, rows))], ("vectors",))
            screen.make(block)


def _scan(
    wanted: list[tuple[Segment, Bits | None]],
    queries: Floats,
    k: int,
    excluded: Sequence[Sequence[int]] | None,
    min_score: float | None,
    top_tokens: int,
) -> tuple[Bits, list[Reading], tuple[Places, Floats]] | None:
    """What was read, and the places and scores (n, k) that came of it; None where blocks aren't ready."""
    parts: list[Floats | cpp_ext.Packed] = []
    labels: list[Places] = []
    masks: list[Bits | None] = []
    reads: list[Bits | None] = []
    readings: list[Reading] = []
    notes = np.zeros(sum(-(-segment.rows // 8) for segment, _ in wanted), np.uint8)
    noted = 0
    for segment, bits in wanted:
        if segment.screen is None:
            packed = segment.tail.packed(segment.mapped, segment.rows) if segment.tail else None
            coded = len(packed.vectors) if packed else 0
            for part, rows in (
                (packed, slice(0, coded)),
                (segment.mapped.vectors[coded : segment.rows], slice(coded, segment.rows)),
            ):
                if part is not None and rows.stop > rows.start:
                    parts.append(part)
                    labels.append(segment.mapped.places[rows])
                    masks.append(None if bits is None else bits[rows.start // 8 : -(-rows.stop // 8)])
                    reads.append(None)
            continue
        pieces = segment.screen.pieces(bits)
        if pieces is None:
            return None
        for piece in pieces:
            rows = piece.rows
            first, last = rows.start // 8, -(-rows.stop // 8)
            parts.append(piece.packed)
            labels.append(segment.mapped.places[rows])
            masks.append(None if bits is None else bits[first:last])
            if piece.compared:
                here = slice(noted, noted := noted + last - first)
                reads.append(notes[here])
                readings.append(Reading(segment, segment.screen, first, here))
            else:
                reads.append(None)
    found = cpp_ext.topk(
        queries, parts, k, mask=masks, labels=labels, exclude=excluded, min_score=min_score,
        top_tokens=top_tokens, read=reads,
    )  # fmt: skip
    return notes, readings, found


def _compare(
    connection: sqlite3.Connection, snapshot: Snapshot, notes: Bits, readings: list[Reading]
) -> bool:
    """Whether the vectors that were read are those that were coded; False: search again, without a codes
    file that turned out to be of others."""
    at = np.flatnonzero(notes)
    edges = np.searchsorted(at, [reading.bits.stop for reading in readings]).tolist()
    places, bits = at.tolist(), notes[at].tolist()
    for reading, begin, end in zip(readings, [0, *edges], edges, strict=False):
        shift = reading.first - reading.bits.start
        row = reading.screen.compare([place + shift for place in places[begin:end]], bits[begin:end])
        if row is not None:
            wanted = [(reading.segment, _bits(reading.segment, np.array([row])))]
            verify(connection, snapshot, wanted, ("vectors",))
            reading.screen.distrust()
            return False
    return True


def _bits(segment: Segment, rows: npt.NDArray[np.int64]) -> Bits:
    """Packed bits of a segment with these rows set."""
    chosen = np.zeros(segment.rows, np.bool_)
    chosen[rows] = True
    return np.packbits(chosen, bitorder="little")
