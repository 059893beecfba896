"""A gallery with its screening codes: 8 bits per element, in the panels that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from cpp_ext import _arguments as arguments
from cpp_ext._levels import REFERENCE, choose, core
from cpp_ext._levels import level as default_level

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]

PANEL_ROWS = 16
_DEPTH = 16  # a row's codes are padded to a multiple of these
_LINE = 64


@dataclass(frozen=True, eq=False)
class Packed:
    """Vectors beside the codes that screen them: :func:`cpp_ext.topk` reads the codes of every row, and
    the vectors of only those rows whose codes can't rule them out. What it returns is the same.

    The arrays may be memory-mapped. Codes made of other vectors than these give wrong results: whoever
    stores them checks them.

    Args:
        vectors: (m, d) or (m, t, d), float32, float16, bfloat16 or int8, as :func:`cpp_ext.topk` takes it.
        panels: (p, depth / 4, 16, 4) uint8 with depth = d rounded up to a multiple of 16: for 16 rows,
            four codes of each in turn, stored plus 128. p is ceil(m / 16); for items of several tokens,
            each of which begins a panel, m · ceil(t / 16).
        bounds: (p, 3, 16) float32: of each row the scale of its codes, the norm of what they stand for
            and the norm of what they leave out, the norms rounded up.
        mean: (d,) float32, what was subtracted from every row before it was rotated (include/rotation.h)
            and coded.

    Raises:
        TypeError, ValueError: an array of another dtype, shape or layout.
    """

    vectors: npt.NDArray[Any]
    panels: Bits
    bounds: Floats
    mean: Floats
    items: npt.NDArray[Any] = field(init=False, repr=False)  # the vectors as (m, t, d)

    def __post_init__(self) -> None:
        items = arguments.gallery_of(self.vectors)
        object.__setattr__(self, "items", items)
        panels, depth = panel_shape(items.shape)
        _check("panels", self.panels, np.uint8, (panels, depth // 4, PANEL_ROWS, 4))
        _check("bounds", self.bounds, np.float32, (panels, 3, PANEL_ROWS))
        _check("mean", self.mean, np.float32, (items.shape[2],))

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and what belongs to them, without the vectors."""
        return self.panels.nbytes + self.bounds.nbytes + self.mean.nbytes


def panel_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """(panels, depth) of a gallery of shape (m, t, d)."""
    m, t, d = shape
    panels = -(-m // PANEL_ROWS) if t == 1 else m * -(-t // PANEL_ROWS)
    return panels, -(-d // _DEPTH) * _DEPTH


def pack(
    gallery: npt.NDArray[Any],
    *,
    mean: Floats | None = None,
    threads: SupportsIndex = 0,
    level: str | None = None,
) -> Packed:
    """Code a gallery for screened search: (1 + 12/d) bytes per element beside the vectors.

    Args:
        gallery: (m, d) or (m, t, d), float32, float16, bfloat16 or int8, kept as it is.
        mean: (d,) float32 to centre the rows by; any vector is right, one near their mean makes the
            screen sharp. None takes the mean of up to 16,384 of them.
        threads: 0 takes every processor this process may use.
        level: as for :func:`cpp_ext.topk`; the codes don't depend on it.

    Raises:
        TypeError, ValueError: as for :func:`cpp_ext.topk`, and for a mean that isn't finite.
        RuntimeError: the compiled module is missing; the NumPy specification doesn't screen.
    """
    items = arguments.gallery_of(gallery)
    workers = arguments.threads_of(threads)
    name = default_level() if level is None else choose(level, "the argument level")
    if core is None:
        raise RuntimeError("pack needs cpp_ext's compiled module; the NumPy specification doesn't screen")
    if name == REFERENCE:
        name = "serial"
    parts = [arguments.part_of(items)]
    if mean is None:
        centre = np.zeros(items.shape[2], np.float32)
        core.mean_of(parts, name, centre)
    else:
        _check("mean", mean, np.float32, (items.shape[2],))
        if not np.isfinite(mean).all():
            raise ValueError("mean holds NaN or infinity")
        centre = np.array(mean)
    panels, depth = panel_shape(items.shape)
    codes = _aligned(panels * depth * PANEL_ROWS).reshape(panels, depth // 4, PANEL_ROWS, 4)
    bounds = _aligned(panels * 12 * PANEL_ROWS).view(np.float32).reshape(panels, 3, PANEL_ROWS)
    core.encode(parts, centre, workers, name, codes, bounds)
    return Packed(gallery, codes, bounds, centre)


def _aligned(size: int) -> Bits:
    """Unset bytes that begin a cache line: a panel's every load is then of one line."""
    buffer = np.empty(size + _LINE, np.uint8)
    start = -buffer.ctypes.data % _LINE
    return buffer[start : start + size]


def _check(name: str, array: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be a NumPy array of {np.dtype(dtype).name}, got {kind}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape} for these vectors, got {array.shape}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be contiguous and aligned, got strides {array.strides}")
