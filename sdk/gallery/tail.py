"""Codes of the segment that is being filled: of its full blocks, in memory, as searches come by.

A full block never changes, so it is coded once: at the first search after all of the segment's blocks were
found undamaged. Until it is full, a block is scored from its vectors.
"""

from __future__ import annotations

import threading

import numpy as np

import cpp_ext

from ..types import Floats
from .segments import Bits, Mapped

_PANEL_ROWS = 16


class TailCodes:
    """Grows with its segment, for every snapshot of it; safe to share between threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._rows = 0  # coded so far
        self._panels: Bits | None = None  # of a whole segment, filled from the front
        self._bounds: Floats | None = None
        self._mean: Floats | None = None

    def packed(self, mapped: Mapped, rows: int) -> cpp_ext.Packed | None:
        """The first so many of the ``rows`` rows as are coded, a whole number of blocks; None for none."""
        size = mapped.layout.block_rows
        checked = min(rows, mapped.checked.through.get("vectors", 0)) // size * size
        if not checked or size % _PANEL_ROWS or not cpp_ext.COMPILED_LEVELS:
            return None
        with self.lock:
            while self._rows < checked:
                self._code(mapped, self._rows, self._rows + size)
            assert self._panels is not None
            assert self._bounds is not None
            assert self._mean is not None
            panels = checked * len(self._panels) // mapped.layout.segment_rows
            return cpp_ext.Packed(
                mapped.vectors[:checked], self._panels[:panels], self._bounds[:panels], self._mean
            )

    def _code(self, mapped: Mapped, first: int, last: int) -> None:
        block = cpp_ext.pack(mapped.vectors[first:last], mean=self._mean)
        blocks, per_block = mapped.layout.blocks(mapped.layout.segment_rows), len(block.panels)
        if self._panels is None or self._bounds is None:
            self._panels = np.empty((blocks * per_block, *block.panels.shape[1:]), np.uint8)
            self._bounds = np.empty((blocks * per_block, *block.bounds.shape[1:]), np.float32)
            self._mean = block.mean
        at = slice(first // (last - first) * per_block, (first // (last - first) + 1) * per_block)
        self._panels[at], self._bounds[at] = block.panels, block.bounds
        self._rows = last
