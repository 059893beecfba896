"""Taking removed rows out of the files."""

from __future__ import annotations

import sqlite3

import numpy as np

from ..errors import GalleryError, GalleryWriteError
from ..types import Floats
from . import rows
from .segments import Places
from .snapshot import Snapshot, verify
from .transaction import Transaction


def compact(transaction: Transaction, snapshot: Snapshot) -> None:
    """Write the live rows of every segment that lost rows, or whose updated rows are out of order, to new
    segments, in insertion order. The tail moves along, so that full segments stay full. Full segments that
    stay, and whose codes are missing or known to be damaged, get new ones.

    ``snapshot`` is the gallery as it was before the transaction.
    """
    dirty = {s.id for s in snapshot.segments if s.live is not None or not s.ordered} | transaction.killed
    kept = [s for s in snapshot.segments if s.id not in dirty]
    transaction.uncoded.update(s.id for s in kept if s.screen and not s.screen.is_stored())
    if not dirty:
        return
    if transaction.tail is not None:
        dirty.add(transaction.tail)
    old = [s for s in snapshot.segments if s.id in dirty]
    live = [transaction.live(s.id) for s in old]
    verify(
        transaction.connection,
        snapshot,
        [(s, np.packbits(x, bitorder="little")) for s, x in zip(old, live, strict=True)],
    )
    offsets = [np.flatnonzero(x) for x in live]
    places = np.concatenate([s.mapped.places[o] for s, o in zip(old, offsets, strict=True)])
    source = np.repeat(np.arange(len(old)), [len(o) for o in offsets])
    row = np.concatenate(offsets)
    order = np.argsort(places)
    for segment in old:
        transaction.drop(segment.id)
    step = snapshot.layout.block_rows
    for start in range(0, len(order), step):
        chunk = order[start : start + step]
        vectors: Floats = np.empty((len(chunk), *snapshot.layout.item), np.float32)
        for number in np.unique(source[chunk]).tolist():
            ours = source[chunk] == number
            vectors[ours] = old[number].mapped.vectors[row[chunk[ours]]]
        _append(transaction, places[chunk], vectors)
    transaction.connection.execute("DELETE FROM fields WHERE id NOT IN (SELECT field FROM columns)")


def _append(transaction: Transaction, places: Places, vectors: Floats) -> None:
    plain = places.tolist()
    texts = rows.at_places(transaction.connection, plain, "metadata")
    slots = transaction.append(places, vectors, rows.documents(texts[place][0] for place in plain))
    transaction.connection.executemany(
        "UPDATE rows SET slot = ? WHERE place = ?", zip(slots.tolist(), plain, strict=True)
    )


def scrub(connection: sqlite3.Connection) -> None:
    """Rewrite the database without free space and empty its log. ``secure_delete`` alone isn't enough: pages
    keep stale copies of cells that a rebalancing moved elsewhere."""
    again = "The rows are removed, but their bytes may remain in the database: call erase([]) to go on."
    try:
        connection.execute("VACUUM")
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise GalleryWriteError(f"erase: {error}. {again}") from error
    if busy:
        raise GalleryError(f"erase: a search has been reading for 30 seconds. {again}")
