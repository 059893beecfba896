"""Body units to pixels: the brush as the figure's files use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .brush import Brush, Paint, Point


class Frame:
    """Paints in body units (see pose.py): middle ``x`` and crown ``top`` in px, ``unit`` px per unit."""

    def __init__(self, brush: Brush, x: float, top: float, unit: float, mirror: bool) -> None:
        self._brush, self._x, self._top, self.unit = brush, x, top, unit
        self._sign = -1.0 if mirror else 1.0

    def _at(self, point: Point) -> Point:
        return self._x + self._sign * self.unit * point[0], self._top + self.unit * point[1]

    def _scaled(self, paint: Paint) -> Paint:
        return paint if paint.pattern == "plain" else replace(paint, period=paint.period * self.unit)

    def strip(self, knots: Sequence[tuple[float, float, float]], paint: Paint, alpha: float = 1.0) -> None:
        """Knots (y, left, right)."""
        placed = []
        for y, left, right in knots:
            (a, row), (b, _) = self._at((left, y)), self._at((right, y))
            placed.append((row, min(a, b), max(a, b)))
        self._brush.strip(placed, self._scaled(paint), alpha)

    def tall(self, knots: Sequence[tuple[float, float]], paint: Paint, alpha: float = 1.0) -> None:
        """A strip around x = 0: knots (y, half width)."""
        self.strip([(y, -half, half) for y, half in knots], paint, alpha)

    def limb(
        self, a: Point, b: Point, radius_a: float, radius_b: float, paint: Paint, alpha: float = 1.0
    ) -> None:
        """A tube from a to b."""
        self._brush.limb(
            self._at(a), self._at(b), radius_a * self.unit, radius_b * self.unit, self._scaled(paint), alpha
        )

    def oval(
        self,
        centre: Point,
        radius_x: float,
        radius_y: float,
        paint: Paint,
        alpha: float = 1.0,
        top: float = -1e6,
        bottom: float = 1e6,
    ) -> None:
        """An ellipse, optionally only between two heights."""
        rows = {}
        if top > -1e6:
            rows["top"] = self._at((0.0, top))[1]
        if bottom < 1e6:
            rows["bottom"] = self._at((0.0, bottom))[1]
        self._brush.oval(
            self._at(centre), radius_x * self.unit, radius_y * self.unit, self._scaled(paint), alpha, **rows
        )

    def box(
        self, left: float, top: float, right: float, bottom: float, paint: Paint, alpha: float = 1.0
    ) -> None:
        """A rectangle."""
        self.strip(((top, left, right), (bottom, left, right)), paint, alpha)
