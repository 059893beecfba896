"""A small painter: anti-aliased shapes with fabric patterns and soft shading, on a float canvas.

Only NumPy's elementwise + - * / and square root are used on pixels: each is rounded the same way on every
machine, which a general 2-D library doesn't promise. Units are pixels; x to the right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .dice import Dice

Pixels = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]

_FOLDS = 256  # side of the table of cloth folds
_F = np.float32


def _fold_table() -> Pixels:
    """(512, 512) gentle bumps around 1, wrapping every 256: random cells, blurred, mostly vertical."""
    cells = Dice(0xF01D).bytes(_FOLDS * _FOLDS).reshape(_FOLDS, _FOLDS).astype(np.int64)
    for axis, width in ((0, 17), (1, 7), (0, 17), (1, 7)):
        cells = sum(np.roll(cells, shift, axis) for shift in range(width)) // width  # type: ignore[assignment]
    bumps = 1.0 + (cells.astype(_F) - _F(127.5)) * _F(0.009)
    return np.tile(bumps.astype(_F), (2, 2))


FOLDS = _fold_table()


@dataclass(frozen=True)
class Paint:
    """What a shape is covered with.

    ``round`` darkens towards the sides (0 flat, 1 like a tube); ``folds`` is how much cloth texture shows;
    a ``pattern`` in ``accent`` repeats every ``period`` pixels.
    """

    colour: Colour
    round: float = 0.6
    folds: float = 0.0
    pattern: str = "plain"
    accent: Colour = (0.0, 0.0, 0.0)
    period: float = 8.0


def darker(colour: Colour, share: float) -> Colour:
    """The colour times `share`; above 1 it is lighter, up to white."""
    red, green, blue = (min(255.0, c * share) for c in colour)
    return (red, green, blue)


def between(a: Point, b: Point, share: float) -> Point:
    """The point at this share of the way from a to b."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


class Brush:
    """Paints on ``pixels`` (h, w, 3) float32 in 0…255, in place; ``light`` is its side, -1…1."""

    def __init__(self, pixels: Pixels, light: float = 0.0, fold_at: tuple[int, int] = (0, 0)) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self._x = np.arange(self.width, dtype=_F)[None, :] + _F(0.5)
        self._y = np.arange(self.height, dtype=_F)[:, None] + _F(0.5)
        self._light = light
        self._fold_at = fold_at

    def strip(self, knots: Sequence[tuple[float, float, float]], paint: Paint, alpha: float = 1.0) -> None:
        """The area between two edges: knots (y, left x, right x) from top to bottom, straight in between."""
        top, bottom = knots[0][0], knots[-1][0]
        left, right = min(k[1] for k in knots), max(k[2] for k in knots)
        box = self._window(left, top, right, bottom)
        if box is None:
            return
        rows, columns = box
        y, x = self._y[rows], self._x[:, columns]
        table = np.asarray(knots, _F)
        ys = y[:, 0]
        below = np.clip(np.searchsorted(table[:, 0], ys), 1, len(knots) - 1)
        a, b = table[below - 1], table[below]
        share = np.clip((ys - a[:, 0]) / np.maximum(b[:, 0] - a[:, 0], _F(1e-3)), _F(0), _F(1))[:, None]
        edges = a + share * (b - a)
        lo, hi = edges[:, 1:2], edges[:, 2:3]
        cover = np.minimum(x - lo, hi - x)
        cover += _F(0.5)
        np.minimum(cover, np.minimum(y - _F(top), _F(bottom) - y) + _F(0.5), out=cover)
        half = np.maximum((hi - lo) * _F(0.5), _F(0.5))
        u = (x - (lo + hi) * _F(0.5)) / half
        self._lay(rows, columns, cover, u, y - _F(top), u * half, paint, alpha)

    def limb(
        self, a: Point, b: Point, radius_a: float, radius_b: float, paint: Paint, alpha: float = 1.0
    ) -> None:
        """A tube with round ends from a to b."""
        reach = max(radius_a, radius_b)
        box = self._window(
            min(a[0], b[0]) - reach, min(a[1], b[1]) - reach, max(a[0], b[0]) + reach, max(a[1], b[1]) + reach
        )
        if box is None:
            return
        rows, columns = box
        dx, dy = b[0] - a[0], b[1] - a[1]
        square = max(dx * dx + dy * dy, 1e-3)
        x, y = self._x[:, columns] - _F(a[0]), self._y[rows] - _F(a[1])
        along = x * _F(dx / square) + y * _F(dy / square)
        share = np.clip(along, _F(0), _F(1))
        off_x, off_y = x - share * _F(dx), y - share * _F(dy)
        distance = np.sqrt(off_x * off_x + off_y * off_y)
        radius = _F(radius_a) + share * _F(radius_b - radius_a)
        length = math.sqrt(square)
        side = x * _F(-dy / length) + y * _F(dx / length)
        if dy > 0:
            side = -side  # the light's side stays the light's side, whichever way the limb points
        u = np.clip(side / radius, _F(-1), _F(1))
        self._lay(rows, columns, radius - distance + _F(0.5), u, along * _F(length), side, paint, alpha)

    def oval(
        self,
        centre: Point,
        radius_x: float,
        radius_y: float,
        paint: Paint,
        alpha: float = 1.0,
        top: float = -1e9,
        bottom: float = 1e9,
    ) -> None:
        """An ellipse, optionally only its rows between top and bottom."""
        box = self._window(
            centre[0] - radius_x,
            max(centre[1] - radius_y, top),
            centre[0] + radius_x,
            min(centre[1] + radius_y, bottom),
        )
        if box is None:
            return
        rows, columns = box
        y = self._y[rows]
        u = (self._x[:, columns] - _F(centre[0])) / _F(radius_x)
        v = (y - _F(centre[1])) / _F(radius_y)
        cover = (_F(1) - np.sqrt(u * u + v * v)) * _F(min(radius_x, radius_y)) + _F(0.5)
        if top > -1e9 or bottom < 1e9:
            np.minimum(cover, np.minimum(y - _F(top), _F(bottom) - y) + _F(0.5), out=cover)
        offset = y - _F(centre[1] - radius_y)
        self._lay(rows, columns, cover, u, offset, u * _F(radius_x), paint, alpha)

    def box(
        self, left: float, top: float, right: float, bottom: float, paint: Paint, alpha: float = 1.0
    ) -> None:
        """An upright rectangle."""
        self.strip(((top, left, right), (bottom, left, right)), paint, alpha)

    def _window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """Rows and columns that a shape can touch; None when it lies outside."""
        rows = slice(max(0, int(top - 0.5)), min(self.height, int(max(bottom, 0.0) + 1.5)))
        columns = slice(max(0, int(left - 0.5)), min(self.width, int(max(right, 0.0) + 1.5)))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def _lay(
        self,
        rows: slice,
        columns: slice,
        cover: Pixels,
        u: Pixels,
        v: Pixels,
        across: Pixels,
        paint: Paint,
        alpha: float,
    ) -> None:
        """Blend the paint in: u in -1…1 across the shape, v and across in pixels from its top and middle."""
        cover = np.clip(cover, _F(0), _F(1))
        if alpha != 1.0:
            cover = cover * _F(alpha)
        colour = np.asarray(paint.colour, _F)
        area = self.pixels[rows, columns]
        layer: Pixels = colour
        if paint.pattern != "plain":
            worn = _PATTERNS[paint.pattern](v, across, _F(paint.period))
            layer = colour + worn[..., None] * (np.asarray(paint.accent, _F) - colour)
        if paint.round or paint.folds:
            shade = u * (_F(0.16 * self._light) - u * _F(0.30)) * _F(paint.round) + _F(1.0)
            if paint.folds:
                oy, ox = self._fold_at
                oy, ox = (oy + rows.start) % _FOLDS, (ox + columns.start) % _FOLDS
                bumps = FOLDS[oy : oy + cover.shape[0], ox : ox + cover.shape[1]]
                if bumps.shape != cover.shape:  # a backdrop is wider than the table
                    bumps = FOLDS[
                        (oy + np.arange(cover.shape[0]))[:, None] % _FOLDS,
                        np.arange(ox, ox + cover.shape[1]) % _FOLDS,
                    ]
                shade = shade * (bumps if paint.folds == 1.0 else (bumps - _F(1)) * _F(paint.folds) + _F(1))
            layer = np.minimum(shade[..., None] * layer, _F(255))
        area += cover[..., None] * (layer - area)


def _bands(position: Pixels, period: np.float32) -> Pixels:
    """1 inside every second half period, with a soft edge of a pixel; (any shape)."""
    turn = position / period
    turn = turn - np.floor(turn)
    soft: Pixels = np.clip((_F(0.25) - np.abs(turn - _F(0.5))) * period + _F(0.5), _F(0), _F(1))
    return soft


def _stripes(v: Pixels, across: Pixels, period: np.float32) -> Pixels:
    worn: Pixels = _bands(v, period) + _F(0) * across
    return worn


def _vertical(v: Pixels, across: Pixels, period: np.float32) -> Pixels:
    worn: Pixels = _bands(across, period * _F(0.8)) + _F(0) * v
    return worn


def _checks(v: Pixels, across: Pixels, period: np.float32) -> Pixels:
    """Two sets of bands, full where they cross and half elsewhere, like woven cloth."""
    worn: Pixels = (_bands(v, period) + _bands(across, period)) * _F(0.5)
    return worn


def _dots(v: Pixels, across: Pixels, period: np.float32) -> Pixels:
    row = np.floor(v / period)
    x = across / period + (row - _F(2) * np.floor(row * _F(0.5))) * _F(0.5)
    x, y = x - np.floor(x) - _F(0.5), v / period - row - _F(0.5)
    worn: Pixels = np.clip((_F(0.3) - np.sqrt(x * x + y * y)) * period + _F(0.5), _F(0), _F(1))
    return worn


_PATTERNS = {"stripes": _stripes, "vertical stripes": _vertical, "checks": _checks, "dots": _dots}
