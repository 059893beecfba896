"""Making the codes file of a segment that is full. Called by the writer, between fsyncing rows and committing
them, so that no reader sees a full segment without codes; but no commit depends on it."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

import cpp_ext

from ..errors import GalleryError
from ..types import Floats
from .codes import PANEL_ROWS, Block, Checksums, CodesLayout, codes_name, source_of, write_codes
from .segments import Layout, Mapped, segment_name

_SAMPLE = 4096  # vectors whose mean is as good to centre by as that of all


def seal(folder: Path, layout: Layout, number: int, vector_crcs: Iterable[int]) -> None:
    """Write the codes of a full segment. Where that can't be done, or would take the room that the commit
    needs, the segment stays without: each reader then makes codes of its own, until the writer seals another
    segment or compacts."""
    if not cpp_ext.COMPILED_LEVELS:  # the NumPy specification doesn't screen
        return
    with contextlib.suppress(OSError, MemoryError, GalleryError):
        if shutil.disk_usage(folder).free > 2 * CodesLayout(layout).length:
            _write(folder, layout, number, np.fromiter(vector_crcs, np.uint32))


def missing(folder: Path, numbers: Iterable[int]) -> Iterator[int]:
    """Those of these full segments that have no codes file."""
    return (number for number in numbers if not (folder / codes_name(number)).exists())


def _write(folder: Path, layout: Layout, number: int, vector_crcs: Checksums) -> None:
    codes, size = CodesLayout(layout), layout.block_rows
    mapped = Mapped(folder / segment_name(number), layout, layout.segment_rows)
    sound = np.array(
        [
            mapped.check("vectors", block, min(size, layout.segment_rows - block * size), int(crc))
            for block, crc in enumerate(vector_crcs)
        ]
    )
    mean = _mean(mapped, np.repeat(sound, size)[: layout.segment_rows])

    def blocks() -> Iterator[Block]:
        for at in range(codes.blocks):
            rows = codes.rows_of(at)
            if sound[rows.start // size : -(-rows.stop // size)].all():
                packed = cpp_ext.pack(mapped.vectors[rows], mean=mean)
                yield Block(packed.panels, packed.bounds, _checksums(mapped, rows))
            else:  # codes of damaged vectors would hide the damage
                panels = codes.panels_of(rows)
                count = panels.stop - panels.start
                yield Block(
                    np.zeros((count, *codes.panel_shape), np.uint8),
                    np.zeros((count, 3, PANEL_ROWS), np.float32),
                    np.zeros(rows.stop - rows.start, np.uint32),
                    sound=False,
                )

    write_codes(folder / codes_name(number), codes, number, source_of(vector_crcs), mean, blocks())


def _mean(mapped: Mapped, sound: npt.NDArray[np.bool_]) -> Floats:
    rows = np.flatnonzero(sound)
    step = max(1, len(rows) * mapped.layout.tokens // _SAMPLE)
    if len(rows) == 0:
        return np.zeros(mapped.layout.dim, np.float32)
    return cpp_ext.pack(mapped.vectors[rows[::step]]).mean


def _checksums(mapped: Mapped, rows: slice) -> Checksums:
    size, data = mapped.layout.row_bytes, mapped.vectors[rows].data.cast("B")
    each = [zlib.crc32(data[at : at + size]) for at in range(0, len(data), size)]
    return np.array(each, np.uint32)
