"""Segment files: vectors in the order they were written, 65,536 rows to a file, never changed.

A file is ``[place (int64) of each row, padded to a page][vector of each row, float32, row-major]``. A
row's *slot* is where it lies: segment id times rows per segment, plus its offset. Its *place* is its rank
in insertion order, which decides ties; an updated row gets a new slot and keeps its place. All segments
are full, except the one being filled, the tail. Full ones are sealed: what screens their rows in a search
is stored beside them for good (codes.py).

Writes go through ``pwrite`` and are fsynced before SQLite commits how many rows are valid. Bytes past
those are leftovers of a write that never committed: invisible, and overwritten by the next one. Readers
map the valid part. Each block of 4,096 rows has a CRC-32 of its vectors and one of its places, kept in
SQLite and carried on as the block fills.
"""

from __future__ import annotations

import mmap
import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import GalleryDamagedError, GalleryError
from ..types import Floats

Places = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]
Part: TypeAlias = Literal["vectors", "places"]

SEGMENT_ROWS = 65_536
BLOCK_ROWS = 4_096
_PAGE = 4096


@dataclass(frozen=True)
class Layout:
    """Where things lie in a segment file; the row counts are recorded when a gallery is created."""

    dim: int
    tokens: int
    segment_rows: int
    block_rows: int

    @property
    def item(self) -> tuple[int, ...]:
        return (self.dim,) if self.tokens == 1 else (self.tokens, self.dim)

    @property
    def row_bytes(self) -> int:
        return 4 * self.dim * self.tokens

    @property
    def vectors_at(self) -> int:
        return -(-8 * self.segment_rows // _PAGE) * _PAGE

    def length(self, rows: int) -> int:
        """Bytes of a file with ``rows`` valid rows."""
        return self.vectors_at + rows * self.row_bytes

    def blocks(self, rows: int) -> int:
        return -(-rows // self.block_rows)


def segment_name(segment: int) -> str:
    return f"{segment:08d}.seg"


class SegmentFile:
    """A segment open for writing; the caller holds the writer lock."""

    def __init__(self, path: Path, layout: Layout, fresh: bool = False) -> None:
        self._layout = layout
        new = os.O_CREAT | os.O_TRUNC if fresh else 0
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | new, 0o644)

    def write(self, row: int, places: Places, vectors: Floats) -> None:
        """Put rows (at least one) at ``row`` and after."""
        put(self._file, places.data.cast("B"), 8 * row)
        put(self._file, vectors.data.cast("B"), self._layout.length(row))

    def places(self, first: int, last: int) -> Places:
        return np.frombuffer(os.pread(self._file, 8 * (last - first), 8 * first), np.int64)

    def sync(self) -> None:
        os.fsync(self._file)

    def truncate(self, rows: int) -> None:
        """Cut what lies past ``rows``: no reader maps it."""
        if os.fstat(self._file).st_size > self._layout.length(rows):
            os.ftruncate(self._file, self._layout.length(rows))

    def close(self) -> None:
        os.close(self._file)


class Checked:
    """How far each block of a segment has been checked since it was opened."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done: dict[tuple[Part, int], tuple[int, int]] = {}  # part and block: rows done, their CRC
        self.through: dict[Part, int] = {}  # so many rows from the first are done


class Mapped:
    """The first ``rows`` rows of a file, read-only: vectors (rows, d) or (rows, t, d) and places (rows,)."""

    def __init__(self, path: Path, layout: Layout, rows: int, checked: Checked | None = None) -> None:
        """Raises FileNotFoundError, or GalleryDamagedError when the file is too short for its rows."""
        self.name, self.rows, self.layout = path.name, rows, layout
        self.checked = checked or Checked()
        length = layout.length(rows)
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found < length:
                    raise GalleryDamagedError(
                        f"{path} is truncated: {rows} rows need {length} bytes, it has {found}. "
                        "Restore the file from a copy, or index again into a new gallery."
                    )
                data = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise GalleryError(
                f"{path} can't be mapped: {error.strerror}. A gallery keeps two files open per "
                f"{layout.segment_rows} rows; see `ulimit -n`."
            ) from error
        self.places: Places = np.frombuffer(data, np.int64, rows)
        self.vectors: Floats = np.frombuffer(
            data, np.float32, rows * layout.dim * layout.tokens, layout.vectors_at
        ).reshape(rows, *layout.item)

    def check(self, part: Part, block: int, rows: int, expected: int) -> bool:
        """Whether the block's first ``rows`` rows have this checksum; each byte is read once."""
        with self.checked.lock:
            done, crc = self.checked.done.get((part, block), (0, 0))
            if done >= rows:
                return True
            start = block * self.layout.block_rows
            data = self.vectors if part == "vectors" else self.places
            crc = crc_of(data[start + done : start + rows], crc)
            if crc != expected:
                return False
            self.checked.done[part, block] = (rows, crc)
            return True


def crc_of(data: Floats | Places, before: int = 0) -> int:
    """CRC-32 of rows, carried on from that of the rows before them."""
    return zlib.crc32(data.data.cast("B"), before)


def put(file: int, data: memoryview, offset: int) -> None:
    """Write all of the data (bytes) at this offset."""
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def sync_folder(folder: Path) -> None:
    """Make new and removed names in a directory survive power loss."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
