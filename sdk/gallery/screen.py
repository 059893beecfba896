"""What a full segment is screened by in a search: its codes file, checked as it is read.

A file's block is checked at its first scan. One that fails, and every block of a segment that has no usable
file, is coded anew from the segment's vectors, in memory; those vectors are checked first, so that damage is
an error and never becomes codes. The writer makes the file again when it seals a segment or compacts.

Where a search screens, it reads few of a segment's vectors. Each that it does read is compared, once, with
the checksum that was stored with its codes.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cpp_ext

from .codes import Checksums, CodesFile, CodesLayout, open_codes, source_of
from .segments import Bits, Mapped


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a segment with their codes; ``compared`` when these came with checksums."""

    rows: slice  # from and to a multiple of 8, or to the end
    packed: cpp_ext.Packed
    compared: bool


class Screen:
    """The codes of one full segment, mapped at its first search; safe to share between threads."""

    def __init__(self, path: Path, mapped: Mapped, number: int, vector_crcs: Checksums) -> None:
        """Reads nothing yet. ``vector_crcs``: one per block of the segment's vectors."""
        self.lock = threading.RLock()
        self._path, self._mapped, self._number = path, mapped, number
        self._source = source_of(vector_crcs)
        self._layout = CodesLayout(mapped.layout)
        self._opened = False
        self._found: int | None = None  # which file was opened
        self._file: CodesFile | None = None
        self._failed = np.ones(self._layout.blocks, np.bool_)  # blocks of the file that don't count
        self._ready = np.zeros(mapped.layout.blocks(mapped.rows), np.bool_)  # the segment's blocks
        self._whole = False  # all are ready
        self._made: dict[int, cpp_ext.Packed] = {}  # the segment's blocks coded in memory
        self._pieces: list[Piece] | None = None
        self._data = mapped.vectors.data.cast("B")
        self._same = bytearray(-(-mapped.rows // 8))  # bits of the rows compared with their checksums

    def is_stored(self) -> bool:
        """Whether the file is there, for these vectors, with no block known to be damaged."""
        return self._open() is not None and not self._failed.any()

    def renewed(self, vector_crcs: Checksums) -> Screen:
        """This one, unless it lacks something and the writer has made the file anew."""
        lacks = self._opened and (self._file is None or bool(self._failed.any()))
        if not lacks or _inode(self._path) == self._found:
            return self
        return Screen(self._path, self._mapped, self._number, vector_crcs)

    def unready(self, wanted: Bits | None) -> list[int]:
        """The segment's blocks that hold wanted rows (bits; None: all) and aren't ready to be searched."""
        if self._whole:
            return []
        step = self._mapped.layout.block_rows // 8
        blocks: list[int] = np.flatnonzero(~self._ready).tolist()
        return [b for b in blocks if wanted is None or wanted[b * step : (b + 1) * step].any()]

    def check(self, block: int) -> bool:
        """Make a block of the segment ready from the file, if the file's block is undamaged."""
        with self.lock:
            if self._ready[block]:
                return True
            file = self._open()
            at = block * self._mapped.layout.block_rows // self._layout.block_rows
            if file is None or self._failed[at]:
                return False
            if not file.fits(at):
                self._failed[at], self._pieces = True, None
                return False
            rows = self._layout.rows_of(at)
            size = self._mapped.layout.block_rows
            self._set_ready(slice(rows.start // size, -(-rows.stop // size)))
            return True

    def make(self, block: int) -> None:
        """Code a block of the segment in memory; the caller has checked its vectors."""
        with self.lock:
            if block not in self._made:
                self._made[block] = cpp_ext.pack(self._mapped.vectors[self._rows(block)])
                self._pieces = None
            self._set_ready(slice(block, block + 1))

    def distrust(self) -> None:
        """Use nothing more of the file: it was coded from other vectors than these."""
        with self.lock:
            self._failed[:], self._pieces = True, None
            self._ready[:] = [block in self._made for block in range(len(self._ready))]
            self._whole = bool(self._ready.all())

    def pieces(self, wanted: Bits | None) -> list[Piece] | None:
        """In order, all rows that are ready; rows of other blocks may lie between them. None when a wanted
        row isn't, any more: another thread has had to distrust the file."""
        with self.lock:
            if self.unready(wanted):
                return None
            if self._pieces is None:
                self._pieces = self._cut()
            return self._pieces

    def compare(self, at: Sequence[int], read: Sequence[int]) -> int | None:
        """The first of the rows that were read whose vector isn't the one that was coded; each is compared
        once. ``read``: bytes of bits, ``at``: which of the segment's bytes of bits they are."""
        assert self._file is not None
        same, size, data, items = self._same, self._mapped.layout.row_bytes, self._data, self._file.items.data
        for byte, bits in zip(at, read, strict=True):
            new = bits & ~same[byte]
            while new:
                bit = new & -new
                row = 8 * byte + bit.bit_length() - 1
                if zlib.crc32(data[row * size : (row + 1) * size]) != items[row]:
                    return row
                same[byte] |= bit  # two threads may both do this: then the row is compared once more
                new ^= bit
        return None

    def _rows(self, block: int) -> slice:
        size = self._mapped.layout.block_rows
        return slice(block * size, min(self._mapped.rows, (block + 1) * size))

    def _set_ready(self, blocks: slice) -> None:
        self._ready[blocks] = True
        self._whole = bool(self._ready.all())

    def _open(self) -> CodesFile | None:
        if not self._opened:
            with self.lock:
                if not self._opened:
                    self._found = _inode(self._path)
                    self._file = open_codes(self._path, self._layout, self._number, self._source)
                    if self._file is not None:
                        self._failed[:] = False
                    self._opened = True
        return self._file

    def _cut(self) -> list[Piece]:
        pieces: list[Piece] = []
        begin: int | None = None  # of a run of the file's blocks
        size = self._mapped.layout.block_rows
        for at in range(self._layout.blocks):
            rows = self._layout.rows_of(at)
            if not self._failed[at]:
                begin = rows.start if begin is None else begin
                continue
            if begin is not None:
                pieces.append(self._stored(slice(begin, rows.start)))
                begin = None
            for block in range(rows.start // size, -(-rows.stop // size)):
                if block in self._made:
                    pieces.append(Piece(self._rows(block), self._made[block], False))
        if begin is not None:
            pieces.append(self._stored(slice(begin, self._mapped.rows)))
        return pieces

    def _stored(self, rows: slice) -> Piece:
        file = self._file
        assert file is not None
        panels = self._layout.panels_of(rows)
        vectors = self._mapped.vectors[rows]
        return Piece(rows, cpp_ext.Packed(vectors, file.panels[panels], file.bounds[panels], file.mean), True)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
