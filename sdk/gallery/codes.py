"""Codes files: beside each full segment, 8 bits per element that screen its rows for a search.

A file is ``[head][bounds][checksums of items][panels]``, each beginning a page; panels that fill a huge page
begin one, since a search reads them a tenth faster where the file system's cache holds such pages.

- head: the numbers below, the mean that was subtracted from every row (d,) float32, a CRC-32 per block,
  and the CRC-32 of all that;
- bounds (p, 3, 16) float32 and panels (p, depth / 4, 16, 4) uint8, as ``cpp_ext.Packed`` has them, with
  depth = d rounded up to whole sixteens. A panel holds 16 items of one token; an item of t tokens begins
  a panel and fills ceil(t / 16) of them;
- for each item the CRC-32 of its vector in the segment file: a search that doesn't read a whole segment
  checks what it did read.

A block's CRC-32 covers its panels, its bounds and its items' checksums. Blocks are the segment's, made
longer where a panel would straddle two.

The file is derived and says from what: the number of its segment, and the CRC-32 of the checksums of that
segment's vectors. It is written under another name, fsynced and renamed, and never changed afterwards. Any
file that is not exactly what was written for these vectors counts as none; a block that could not be made
from sound vectors is stored with a checksum that it fails.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GalleryError
from ..types import Floats
from .segments import Bits, Layout, put

Checksums = npt.NDArray[np.uint32]

MAGIC, VERSION = b"LabCodes", 1
SUFFIX, UNFINISHED = ".codes", ".codes.new"
PANEL_ROWS, PANEL_STEP, _DEPTH = 16, 4, 16
# Magic, version, d, t, rows, rows of a block, rows of a panel, elements of a step, depth, number of the
# segment, CRC-32 of its vectors' checksums.
_NUMBERS = struct.Struct("<8s8IQI")
_PAGE, _HUGE_PAGE = 4096, 2 << 20
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def codes_name(segment: int) -> str:
    return f"{segment:08d}{SUFFIX}"


def source_of(vector_crcs: Checksums) -> int:
    """What ties codes to the vectors of a full segment, from the checksums of its blocks."""
    return zlib.crc32(np.ascontiguousarray(vector_crcs, np.uint32).tobytes())


@dataclass(frozen=True)
class CodesLayout:
    """Where things lie in a codes file."""

    segment: Layout

    @property
    def block_rows(self) -> int:
        """Items under one checksum; the last block may have fewer."""
        rows = self.segment.block_rows
        return rows if self.segment.tokens > 1 else math.lcm(rows, PANEL_ROWS)

    @property
    def blocks(self) -> int:
        return -(-self.segment.segment_rows // self.block_rows)

    @property
    def depth(self) -> int:
        return -(-self.segment.dim // _DEPTH) * _DEPTH

    def panels(self, rows: int) -> int:
        """Panels of the first ``rows`` items, which end a block."""
        tokens = self.segment.tokens
        return -(-rows // PANEL_ROWS) if tokens == 1 else rows * -(-tokens // PANEL_ROWS)

    def rows_of(self, block: int) -> slice:
        return slice(block * self.block_rows, min(self.segment.segment_rows, (block + 1) * self.block_rows))

    def panels_of(self, rows: slice) -> slice:
        return slice(self.panels(rows.start), self.panels(rows.stop))

    @property
    def panel_shape(self) -> tuple[int, int, int]:
        return (self.depth // PANEL_STEP, PANEL_ROWS, PANEL_STEP)

    @property
    def _head(self) -> int:
        return _NUMBERS.size + 4 * self.segment.dim + 4 * self.blocks + 4

    @property
    def bounds_at(self) -> int:
        return _pages(self._head)

    @property
    def items_at(self) -> int:
        return _pages(self.bounds_at + 12 * PANEL_ROWS * self.panels(self.segment.segment_rows))

    @property
    def panels_at(self) -> int:
        page = _HUGE_PAGE if self._panel_bytes >= _HUGE_PAGE else _PAGE
        return _pages(self.items_at + 4 * self.segment.segment_rows, page)

    @property
    def length(self) -> int:
        return self.panels_at + self._panel_bytes

    @property
    def _panel_bytes(self) -> int:
        return self.depth * PANEL_ROWS * self.panels(self.segment.segment_rows)

    def numbers(self, number: int, source: int) -> bytes:
        """The first bytes of the file of segment ``number``."""
        part = self.segment
        return _NUMBERS.pack(
            MAGIC, VERSION, part.dim, part.tokens, part.segment_rows, self.block_rows, PANEL_ROWS, PANEL_STEP,
            self.depth, number, source,
        )  # fmt: skip

    def head(self, number: int, source: int, mean: Floats, checksums: Checksums) -> bytes:
        head = self.numbers(number, source) + mean.tobytes() + checksums.tobytes()
        return head + zlib.crc32(head).to_bytes(4, "little")


@dataclass(frozen=True)
class Block:
    """The codes of a block's items; ``sound`` is False when its vectors fail their checksum."""

    panels: Bits
    bounds: Floats
    items: Checksums
    sound: bool = True

    def checksum(self) -> int:
        crc = zlib.crc32(_bytes(self.panels))
        return zlib.crc32(_bytes(self.items), zlib.crc32(_bytes(self.bounds), crc))


class CodesFile:
    """A codes file mapped for reading. The arrays may hold anything until ``fits`` has said otherwise."""

    def __init__(self, data: mmap.mmap, layout: CodesLayout) -> None:
        dim, rows = layout.segment.dim, layout.segment.segment_rows
        panels = layout.panels(rows)
        self._layout = layout
        self.mean: Floats = np.frombuffer(data, np.float32, dim, _NUMBERS.size).copy()
        self._checksums: Checksums = np.frombuffer(
            data, np.uint32, layout.blocks, _NUMBERS.size + 4 * dim
        ).copy()
        self.bounds: Floats = np.frombuffer(
            data, np.float32, panels * 3 * PANEL_ROWS, layout.bounds_at
        ).reshape(panels, 3, PANEL_ROWS)
        self.items: Checksums = np.frombuffer(data, np.uint32, rows, layout.items_at)
        self.panels: Bits = np.frombuffer(
            data, np.uint8, panels * PANEL_ROWS * layout.depth, layout.panels_at
        ).reshape(panels, *layout.panel_shape)

    def fits(self, block: int) -> bool:
        """Whether a block is what was written, which reads all of it."""
        rows = self._layout.rows_of(block)
        panels = self._layout.panels_of(rows)
        found = Block(self.panels[panels], self.bounds[panels], self.items[rows])
        return found.checksum() == int(self._checksums[block])


def open_codes(path: Path, layout: CodesLayout, number: int, source: int) -> CodesFile | None:
    """The file of segment ``number``, of which only the head is read; None when there is none that can be
    read, or when it was made for other vectors, by another version, or is damaged in its head or length.
    Raises GalleryError when the process may open no more files."""
    begin = layout.numbers(number, source)
    end = len(begin) + 4 * layout.segment.dim + 4 * layout.blocks
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(end + 4)
            if os.fstat(file.fileno()).st_size != layout.length or not head.startswith(begin):
                return None
            if head[end:] != zlib.crc32(head[:end]).to_bytes(4, "little"):
                return None
            data = mmap.mmap(file.fileno(), layout.length, access=mmap.ACCESS_READ)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                with contextlib.suppress(OSError):  # a kernel without them
                    data.madvise(mmap.MADV_HUGEPAGE)
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            return None
        raise GalleryError(
            f"{path} can't be mapped: {error.strerror}. A gallery keeps two files open per "
            f"{layout.segment.segment_rows} rows; see `ulimit -n`."
        ) from error
    return CodesFile(data, layout)


def write_codes(
    path: Path, layout: CodesLayout, number: int, source: int, mean: Floats, blocks: Iterable[Block]
) -> None:
    """Write the file of segment ``number``, its blocks in order; an error leaves none. Raises OSError."""
    unfinished = path.with_suffix(UNFINISHED)
    file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        try:
            checksums = np.zeros(layout.blocks, np.uint32)
            for at, block in enumerate(blocks):
                rows = layout.rows_of(at)
                panel = layout.panels(rows.start)
                put(file, _bytes(block.panels), layout.panels_at + panel * PANEL_ROWS * layout.depth)
                put(file, _bytes(block.bounds), layout.bounds_at + panel * PANEL_ROWS * 12)
                put(file, _bytes(block.items), layout.items_at + 4 * rows.start)
                checksums[at] = block.checksum() ^ (0 if block.sound else 0xFFFFFFFF)
            put(file, memoryview(layout.head(number, source, mean, checksums)), 0)
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def _pages(size: int, page: int = _PAGE) -> int:
    return -(-size // page) * page


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
