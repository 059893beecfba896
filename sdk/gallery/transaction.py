"""One write to a gallery: rows behind the committed ones, made visible by one SQLite commit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Floats
from . import rows
from .codes import codes_name
from .columns import encode
from .sealing import missing, seal
from .segments import Mapped, Places, SegmentFile, crc_of, segment_name, sync_folder

_OLDER = 4  # segments without codes that a call codes besides those it fills: no add() may take minutes


@dataclass
class Filling:
    """A segment as this transaction will leave it."""

    id: int
    file: SegmentFile | None  # open once rows are written to it
    committed: int | None  # rows before the transaction; None for a new segment
    rows: int
    ordered: bool
    dead: bytearray | None
    vector_crcs: list[int]
    place_crcs: list[int]


class Transaction:
    """Rows written past the committed ones and marks on old ones: all visible at ``commit``, or none."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, trusted: set[int]) -> None:
        """``trusted``: segments whose last block was checked since the writer lock was taken."""
        self.connection = connection
        self.state = rows.read_state(connection)
        self._begun = self.state.generation
        self._folder, self._trusted = folder, trusted
        self._touched: dict[int, Filling] = {}
        self._dropped: list[int] = []
        last = connection.execute("SELECT id, rows FROM segments ORDER BY id DESC LIMIT 1").fetchone()
        self.tail: int | None = last[0] if last and last[1] < self.state.layout.segment_rows else None
        self.killed: set[int] = set()  # segments in which rows were marked as gone
        self.uncoded: set[int] = set()  # full segments whose codes `commit` is to make

    def append(self, places: Places, vectors: Floats, documents: Sequence[dict[str, Any]]) -> Places:
        """Write rows at these places after the last one; returns their slots (n,)."""
        size = self.state.layout.segment_rows
        slots, done = np.empty(len(places), np.int64), 0
        while done < len(places):
            tail = self._create() if self.tail is None else self._load(self.tail)
            self._step_over_damage(tail)
            first = tail.rows
            take = min(size - first, len(places) - done)
            if take:  # unless a damaged block was the segment's last
                part = slice(done, done + take)
                self._write(tail, places[part], vectors[part], documents[part])
                slots[part] = np.arange(tail.id * size + first, tail.id * size + first + take)
                done += take
            self.tail = None if tail.rows == size else tail.id
        return slots

    def kill(self, slots: Places) -> None:
        """Mark rows as gone; their bytes stay until the segment is compacted."""
        numbers, offsets = np.divmod(slots, self.state.layout.segment_rows)
        for number in np.unique(numbers).tolist():
            segment = self._load(number)
            if segment.dead is None:
                segment.dead = bytearray(self.state.layout.segment_rows // 8)
            bits = np.frombuffer(segment.dead, np.uint8)
            rows_gone = offsets[numbers == number]
            np.bitwise_or.at(bits, rows_gone // 8, np.uint8(1) << (rows_gone % 8).astype(np.uint8))
            self.killed.add(number)

    def live(self, number: int) -> npt.NDArray[np.bool_]:
        """(rows,) which rows of a segment exist at this point of the transaction."""
        segment = self._load(number)
        if segment.dead is None:
            return np.ones(segment.rows, np.bool_)
        bits = np.frombuffer(segment.dead, np.uint8)
        return ~np.unpackbits(bits, count=segment.rows, bitorder="little").view(np.bool_)

    def drop(self, segment: int) -> None:
        """Take a segment out; its file goes after the commit. Its live rows are to be appended again."""
        self._dropped.append(segment)
        self.uncoded.discard(segment)
        if segment == self.tail:
            self.tail = None
        self._touched.pop(segment, None)
        self.connection.execute("DELETE FROM segments WHERE id = ?", (segment,))
        self.connection.execute(
            "DELETE FROM columns WHERE field IN (SELECT id FROM fields) AND segment = ?", (segment,)
        )

    def commit(self) -> None:
        """Vectors first, then codes, which don't matter, then the rows that point at the vectors."""
        written = [s for s in self._touched.values() if s.file]
        for segment in written:
            assert segment.file
            segment.file.sync()
        if any(s.committed is None for s in written):
            sync_folder(self._folder)
        self._code()
        self.state.generation += 1
        for s in self._touched.values():
            crcs = [np.array(c, np.uint32).tobytes() for c in (s.vector_crcs, s.place_crcs)]
            values = (s.id, s.rows, s.ordered, s.dead, *crcs, self.state.generation)
            self.connection.execute("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        rows.write_state(self.connection, self.state)
        rows.commit(self.connection)

    def is_committed(self) -> bool:
        """Whether ``commit`` took place, told by the database."""
        return (
            not self.connection.in_transaction and rows.read_state(self.connection).generation > self._begun
        )

    def finish(self) -> None:
        """After the commit: close files, delete dropped ones. A reader that maps one keeps it until then."""
        self.close()
        for number in self._dropped:
            for name in (codes_name(number), segment_name(number)):
                with contextlib.suppress(OSError):  # swept when the next writer starts
                    (self._folder / name).unlink()
        if self._dropped:
            with contextlib.suppress(OSError):
                sync_folder(self._folder)

    def undo(self) -> None:
        """Give back the disk space of what wasn't committed."""
        size = self.state.layout.segment_rows
        for segment in self._touched.values():
            if segment.rows == size and segment.committed != size:
                with contextlib.suppress(OSError):
                    (self._folder / codes_name(segment.id)).unlink()
            with contextlib.suppress(OSError):
                if segment.file and segment.committed is None:
                    (self._folder / segment_name(segment.id)).unlink()
                elif segment.file and segment.committed is not None:
                    segment.file.truncate(segment.committed)
        self.close()

    def close(self) -> None:
        for segment in self._touched.values():
            if segment.file:
                segment.file.close()
                segment.file = None

    def _code(self) -> None:
        """Make codes for the segments that are full now, and for some that lack them."""
        size = self.state.layout.segment_rows
        full = {s.id for s in self._touched.values() if s.rows == size and s.committed != size}
        if full:
            sealed = self.connection.execute("SELECT id FROM segments WHERE rows = ? ORDER BY id", (size,))
            self.uncoded.update(islice(missing(self._folder, [row[0] for row in sealed]), _OLDER))
        for number in sorted(full | self.uncoded):
            seal(self._folder, self.state.layout, number, self._load(number).vector_crcs)

    def _load(self, number: int) -> Filling:
        if number not in self._touched:
            count, ordered, dead, *crcs = self.connection.execute(
                "SELECT rows, ordered, dead, vector_crcs, place_crcs FROM segments WHERE id = ?", (number,)
            ).fetchone()
            vector_crcs, place_crcs = (np.frombuffer(c, np.uint32).tolist() for c in crcs)
            dead = None if dead is None else bytearray(dead)
            self._touched[number] = Filling(
                number, None, count, count, bool(ordered), dead, vector_crcs, place_crcs
            )
        return self._touched[number]

    def _create(self) -> Filling:
        number = self.state.next_segment
        self.state.next_segment += 1
        self._touched[number] = Filling(number, None, None, 0, True, None, [], [])
        return self._touched[number]

    def _write(
        self, segment: Filling, places: Places, vectors: Floats, documents: Sequence[dict[str, Any]]
    ) -> None:
        file = self._file(segment)
        first, last = segment.rows, segment.rows + len(places)
        before = file.places(max(first - 1, 0), first)
        segment.ordered &= bool((np.diff(np.concatenate([before, places])) > 0).all())
        file.write(first, places, vectors)
        segment.rows = last
        size = self.state.layout.block_rows
        for block in range(first // size, self.state.layout.blocks(last)):
            start, stop = max(first, block * size), min(last, (block + 1) * size)
            if start == block * size:
                segment.vector_crcs.append(0)
                segment.place_crcs.append(0)
            part = slice(start - first, stop - first)
            segment.vector_crcs[block] = crc_of(vectors[part], segment.vector_crcs[block])
            segment.place_crcs[block] = crc_of(places[part], segment.place_crcs[block])
            if stop == (block + 1) * size:
                earlier = self._documents(segment, block * size, start)
                self._store_columns(segment.id, block, [*earlier, *documents[part]])

    def _file(self, segment: Filling) -> SegmentFile:
        if segment.file is None:
            path = self._folder / segment_name(segment.id)
            segment.file = SegmentFile(path, self.state.layout, fresh=segment.committed is None)
        return segment.file

    def _step_over_damage(self, segment: Filling) -> None:
        """Leave a last block that fails its checksum with the rows it has: rows that joined it would be lost
        with it, and fresh vectors for its rows must lie elsewhere."""
        layout = self.state.layout
        block, filled = divmod(segment.rows, layout.block_rows)
        if segment.id in self._trusted or not filled:
            return
        mapped = Mapped(self._folder / segment_name(segment.id), layout, segment.rows)
        good = mapped.check("places", block, filled, segment.place_crcs[block])
        if not (good and mapped.check("vectors", block, filled, segment.vector_crcs[block])):
            last = (block + 1) * layout.block_rows
            start = segment.id * layout.segment_rows
            slots = np.arange(start + last - layout.block_rows, start + last)
            known = rows.in_slots(self.connection, int(slots[0]), int(slots[-1]) + 1, "metadata")
            documents = rows.documents(known.get(slot, "{}") for slot in slots.tolist())
            self._store_columns(segment.id, block, documents)
            self.kill(slots[filled:])
            nothing: Floats = np.zeros((1, *layout.item), np.float32)
            self._file(segment).write(last - 1, np.zeros(1, np.int64), nothing)
            segment.rows = last
        else:
            self._trusted.add(segment.id)

    def _documents(self, segment: Filling, start: int, stop: int) -> list[dict[str, Any]]:
        """Metadata of rows written earlier; whatever for rows that are gone."""
        assert segment.file
        places = segment.file.places(start, stop).tolist()
        found = rows.at_places(self.connection, places, "metadata")
        return rows.documents(found.get(place, ("{}",))[0] for place in places)

    def _store_columns(self, segment: int, block: int, documents: list[dict[str, Any]]) -> None:
        for name, data in encode(documents).items():
            number = rows.name_id(self.connection, "fields", name)
            self.connection.execute("INSERT INTO columns VALUES (?, ?, ?, ?)", (number, segment, block, data))
