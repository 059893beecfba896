"""What one search sees: the committed segments at one generation, checked as they are read."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

import cpp_ext

from ..errors import GalleryDamagedError
from ..types import Floats, Id
from .codes import codes_name
from .filters import Node
from .rows import Connections, in_slots, read_state
from .screen import Screen
from .segments import Bits, Checked, Layout, Mapped, Part, segment_name
from .tail import TailCodes

Item = TypeVar("Item")

_RETRIES = 20
_PARALLEL_BYTES = 1 << 26


@dataclass(frozen=True)
class Segment:
    """``rows`` rows of a mapped file, of which ``live`` says the ones that exist (None: all)."""

    id: int
    rows: int
    ordered: bool  # places ascend, so that a lower row wins a tie
    live: Bits | None  # one bit per row, little bit order, zero past the last row
    mapped: Mapped
    vector_crcs: npt.NDArray[np.uint32]  # one per block
    place_crcs: npt.NDArray[np.uint32]
    screen: Screen | None  # of a full segment
    tail: TailCodes | None  # of another one


@dataclass(frozen=True)
class Snapshot:
    """A gallery at one generation. ``masks`` keeps the filters evaluated for it, one entry per segment."""

    generation: int
    count: int
    id_kind: str | None
    layout: Layout
    segments: tuple[Segment, ...]
    masks: dict[Node, list[Bits]] = field(default_factory=dict)


class Snapshots:
    """Hands out the current snapshot with a connection that sees the same moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connections = Connections(folder)
        self._lock = threading.Lock()
        self._latest: Snapshot | None = None

    @contextmanager
    def view(self) -> Iterator[tuple[sqlite3.Connection, Snapshot]]:
        """Rows read through the connection and vectors of the snapshot belong together."""
        for attempt in range(_RETRIES):
            with self._connections.reading() as connection:
                try:
                    snapshot = self._at(connection)
                except FileNotFoundError as error:
                    # A compaction replaced the file between the transaction's start and the mapping.
                    if attempt + 1 < _RETRIES:
                        continue
                    raise GalleryDamagedError(
                        f"{error.filename} is missing. Restore it from a copy, or index again into a new "
                        "gallery."
                    ) from error
                yield connection, snapshot
                return

    def latest(self) -> Snapshot:
        """What is committed, for the writer: while it holds the lock, nobody replaces the files."""
        with self.view() as (_, snapshot):
            return snapshot

    def forget(self) -> None:
        """After fork: the parent's connections and locks are its own; the maps stay valid."""
        self._connections.forget()
        self._lock = threading.Lock()
        for segment in self._latest.segments if self._latest else ():
            segment.mapped.checked.lock = threading.Lock()
            if segment.screen is not None:
                segment.screen.lock = threading.RLock()
            if segment.tail is not None:
                segment.tail.lock = threading.Lock()

    def close(self) -> None:
        self._connections.close()
        self._latest = None

    def _at(self, connection: sqlite3.Connection) -> Snapshot:
        (generation,) = connection.execute("SELECT generation FROM state").fetchone()
        latest = self._latest
        if latest is not None and latest.generation == generation:
            return latest
        with self._lock:
            latest = self._latest
            if latest is not None and latest.generation == generation:
                return latest
            newer = latest is not None and latest.generation > generation  # another thread got ahead
            snapshot = self._load(connection, None if newer else latest)
            if not newer:
                self._latest = snapshot
            return snapshot

    def _load(self, connection: sqlite3.Connection, base: Snapshot | None) -> Snapshot:
        state = read_state(connection)
        known = {s.id: s for s in base.segments} if base else {}
        changed = connection.execute(
            "SELECT id, rows, ordered, dead, vector_crcs, place_crcs FROM segments WHERE generation > ?",
            (base.generation if base else 0,),
        )
        for number, rows, ordered, dead, vector_crcs, place_crcs in changed:
            old = known[number].mapped if number in known else None
            if old is None or old.rows < rows:
                checked = old.checked if old else Checked()
                old = Mapped(self._folder / segment_name(number), state.layout, rows, checked)
            live = None if dead is None else _live(rows, dead)
            crcs = np.frombuffer(vector_crcs, np.uint32), np.frombuffer(place_crcs, np.uint32)
            screen = known[number].screen if number in known else None
            if screen is not None:
                screen = screen.renewed(crcs[0])
            elif rows == state.layout.segment_rows and cpp_ext.COMPILED_LEVELS:  # the specification has none
                screen = Screen(self._folder / codes_name(number), old, number, crcs[0])
            tail = known[number].tail if number in known else TailCodes()
            tail = tail if rows < state.layout.segment_rows else None
            known[number] = Segment(number, rows, bool(ordered), live, old, *crcs, screen, tail)
        ids = [row[0] for row in connection.execute("SELECT id FROM segments ORDER BY id")]
        segments = tuple(known[number] for number in ids)
        return Snapshot(state.generation, state.count, state.id_kind, state.layout, segments)


def first_rows(rows: int) -> Bits:
    """Packed bits with the first ``rows`` set."""
    return np.packbits(np.ones(rows, np.bool_), bitorder="little")


def _live(rows: int, dead: bytes) -> Bits:
    live: Bits = first_rows(rows)
    live &= ~np.frombuffer(dead, np.uint8, len(live))
    return live


def verify(
    connection: sqlite3.Connection,
    snapshot: Snapshot,
    wanted: Sequence[tuple[Segment, Bits | None]],
    parts: tuple[Part, ...] = ("places", "vectors"),
) -> None:
    """Check the blocks that hold the wanted rows (bits; None: all), each once since it was opened.

    Raises GalleryDamagedError with the ids of the first bad block.
    """
    size, todo = snapshot.layout.block_rows, []
    for segment, bits in wanted:
        checked = segment.mapped.checked
        if all(checked.through.get(part, 0) >= segment.rows for part in parts):
            continue
        new = []
        for block in range(snapshot.layout.blocks(segment.rows)):
            rows = min(size, segment.rows - block * size)
            if any(checked.done.get((part, block), (0,))[0] < rows for part in parts):
                new.append((block, rows))
        if not new:
            checked.through.update(dict.fromkeys(parts, segment.rows))
        for block, rows in new:
            if bits is None or bits[block * size // 8 : (block + 1) * size // 8].any():
                todo.append((segment, block, rows))

    def good(item: tuple[Segment, int, int]) -> bool:
        segment, block, rows = item
        crcs = {"vectors": segment.vector_crcs, "places": segment.place_crcs}
        return all(segment.mapped.check(part, block, rows, int(crcs[part][block])) for part in parts)

    results = each(good, todo, size * snapshot.layout.row_bytes)
    for (segment, block, rows), fine in zip(todo, results, strict=True):
        if not fine:
            raise _damaged(connection, snapshot, segment, block, rows)


def each(check: Callable[[Item], bool], items: Sequence[Item], size: int) -> list[bool]:
    """``check`` of each item, side by side when there is much to read; an item is ``size`` bytes."""
    if len(items) * size <= _PARALLEL_BYTES:
        return [check(item) for item in items]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(check, items))


def read_vectors(connection: sqlite3.Connection, snapshot: Snapshot, slots: Sequence[int]) -> Floats:
    """Copies (n, d) or (n, t, d) of the vectors in these slots, checked."""
    vectors: Floats = np.empty((len(slots), *snapshot.layout.item), np.float32)
    numbers, offsets = np.divmod(np.array(slots, np.int64), snapshot.layout.segment_rows)
    for segment in snapshot.segments:
        ours = numbers == segment.id
        if ours.any():
            wanted = np.zeros(8 * -(-segment.rows // 8), np.bool_)
            wanted[offsets[ours]] = True
            verify(connection, snapshot, [(segment, np.packbits(wanted, bitorder="little"))])
            vectors[ours] = segment.mapped.vectors[offsets[ours]]
    return vectors


def _damaged(
    connection: sqlite3.Connection, snapshot: Snapshot, segment: Segment, block: int, rows: int
) -> GalleryDamagedError:
    first = segment.id * snapshot.layout.segment_rows + block * snapshot.layout.block_rows
    ids: list[Id] = list(in_slots(connection, first, first + rows, "id").values())
    shown = ", ".join(repr(i) for i in ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
    start = block * snapshot.layout.block_rows
    error = GalleryDamagedError(
        f"{segment.mapped.name}, rows {start} to {start + rows - 1}, fail their checksum. Their ids: {shown} "
        "(all in the error's `ids`). Give them fresh vectors with update(), or remove() them;"
        " or restore the file."
    )
    error.ids = tuple(ids)
    return error
