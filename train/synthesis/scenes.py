"""Six places where a camera hangs: wide backdrops, painted once, that pictures cut their background from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from .brush import Brush, Colour, Paint, darker
from .dice import Dice

WIDTH, HEIGHT = 1400, 320
GROUND = 190  # row where the ground meets what stands behind
_LOOK = 0x5CE4E  # the places don't depend on the draw's seed: camera 3 is the same park in every draw


def _flat(colour: Colour, folds: float = 0.0) -> Paint:
    return Paint(colour, round=0.0, folds=folds)


def _ground(brush: Brush, near: Colour, far: Colour, dice: Dice, slab: int) -> None:
    """Pavement that gets lighter with distance, with joints that get narrower."""
    rows = HEIGHT - GROUND
    for i in range(0, rows, 6):
        share = i / rows
        mixed = tuple(f + (n - f) * share for n, f in zip(near, far, strict=True))
        brush.box(-2, GROUND + i, WIDTH + 2, GROUND + i + 7, _flat((mixed[0], mixed[1], mixed[2]), 1.2))
    if not slab:
        return
    joint = _flat(darker(near, 0.84))
    y, step = float(GROUND), 7.0
    while y < HEIGHT:
        brush.box(-2, y, WIDTH + 2, y + 1.2, joint, 0.7)
        start = -dice.below(slab)
        for x in range(start, WIDTH, slab):
            brush.box(x, y, x + 1.2, y + step, joint, 0.7)
        y, step = y + step, step * 1.45


def _tree(brush: Brush, x: float, crown: float, dice: Dice, leaf: Colour) -> None:
    brush.strip(((60.0, x - 5, x + 5), (GROUND + 12.0, x - 9, x + 9)), Paint((84, 62, 46), 0.8, 1.6))
    for _ in range(22):
        at = (x + dice.bell(crown * 0.5), 42 + dice.bell(28))
        tone = dice.real(0.7, 1.25)
        brush.oval(at, dice.real(14, 30), dice.real(12, 24), Paint(darker(leaf, tone), 0.3, 2.2))


def _car(brush: Brush, x: float, y: float, colour: Colour) -> None:
    """A parked car, 190 long, its wheels on row y."""
    body = Paint(colour, 0.1)
    glass = _flat((54, 66, 78))
    brush.oval((x + 95, y), 100, 6, _flat((20, 20, 22)), 0.5)
    brush.strip(((y - 62, x + 58, x + 128), (y - 40, x + 34, x + 158)), body)
    brush.strip(((y - 58, x + 62, x + 92), (y - 40, x + 44, x + 92)), glass)
    brush.strip(((y - 58, x + 97, x + 125), (y - 40, x + 97, x + 148)), glass)
    brush.strip(((y - 41, x + 6, x + 182), (y - 30, x, x + 190), (y - 8, x + 2, x + 188)), body)
    brush.box(x, y - 18, x + 190, y - 15, _flat(darker(colour, 0.7)))
    brush.oval((x + 184, y - 28), 6, 4, _flat((246, 240, 210)))
    brush.oval((x + 5, y - 28), 5, 4, _flat((180, 40, 40)))
    for wheel in (40, 148):
        brush.oval((x + wheel, y - 9), 16, 16, _flat((28, 28, 30)))
        brush.oval((x + wheel, y - 9), 8, 8, _flat((150, 152, 156)))


def _brick(brush: Brush, dice: Dice) -> None:
    brush.box(-2, -2, WIDTH + 2, GROUND, _flat((150, 136, 124)))
    for row in range(GROUND // 9 + 1):
        for x in range(-30 + (row % 2) * 11, WIDTH, 22):
            tone = dice.real(0.86, 1.12)
            brush.box(x, row * 9, x + 20.6, row * 9 + 7.6, _flat(darker((158, 84, 66), tone)))
    for x in (150, 620, 1130):
        brush.box(x, 40, x + 84, GROUND, _flat((70, 58, 52)))
        brush.box(
            x + 6,
            46,
            x + 78,
            GROUND,
            Paint(dice.pick(((60, 92, 82), (112, 48, 44), (58, 66, 104))), 0.1, 0.6),
        )
        brush.box(x + 16, 58, x + 68, 108, _flat((150, 168, 176)))
        brush.oval((x + 70, 126), 3, 3, _flat((220, 196, 120)))
    for x in (330, 440, 820, 930, 1290):
        brush.box(x, 20, x + 70, 110, _flat((226, 220, 208)))
        brush.box(x + 6, 26, x + 64, 104, _flat((74, 92, 110), 2.0))
        brush.box(x + 33, 26, x + 37, 104, _flat((226, 220, 208)))
    for x in (110, 740, 1060):
        brush.box(x, -2, x + 9, GROUND, Paint((96, 98, 102), 1.0))
    _ground(brush, (150, 146, 140), (172, 168, 160), dice, 70)
    brush.box(-2, GROUND - 3, WIDTH + 2, GROUND + 3, _flat((98, 92, 88)))


def _shops(brush: Brush, dice: Dice) -> None:
    brush.box(-2, -2, WIDTH + 2, GROUND, _flat((206, 198, 184), 1.0))
    signs = ((176, 52, 56), (46, 104, 92), (52, 74, 140), (214, 160, 54), (112, 62, 120), (64, 64, 70))
    for i, x in enumerate(range(-40, WIDTH, 240)):
        sign = signs[i % len(signs)]
        brush.box(x + 6, 24, x + 226, GROUND, _flat(darker(sign, 0.62)))
        brush.box(x + 6, 8, x + 226, 34, _flat(sign))
        for k in range(7 + dice.below(4)):  # a sign's lettering, seen from afar
            brush.box(x + 40 + k * 15, 14, x + 48 + k * 15 + dice.below(4), 27, _flat((244, 238, 224)))
        brush.box(x + 14, 62, x + 164, 176, _flat((118, 132, 140), 2.4))
        brush.box(x + 14, 62, x + 164, 96, _flat((160, 172, 178), 2.0), 0.6)
        brush.box(x + 176, 56, x + 218, GROUND, _flat((86, 98, 106), 2.0))
        for k in range(3):  # goods on stands
            tone = dice.pick(((190, 60, 70), (70, 110, 170), (230, 200, 110), (220, 220, 216), (80, 130, 90)))
            gx = x + 36 + k * 48
            brush.strip(
                ((98, gx - 7, gx + 7), (104, gx - 12, gx + 12), (148, gx - 9, gx + 9)), Paint(tone, 0.6, 1.0)
            )
            brush.box(gx - 1, 148, gx + 1, 174, _flat((60, 56, 54)))
        for k in range(14):
            stripe = (238, 234, 226) if k % 2 else sign
            brush.strip(
                ((36, x + 6 + k * 15.7, x + 21.7 + k * 15.7), (58, x + 2 + k * 16.3, x + 18.3 + k * 16.3)),
                _flat(stripe),
            )
    _ground(brush, (188, 178, 166), (202, 194, 182), dice, 46)


def _park(brush: Brush, dice: Dice) -> None:
    for i in range(0, GROUND, 6):
        brush.box(-2, i, WIDTH + 2, i + 7, _flat((186 + i * 0.2, 208 + i * 0.1, 226), 0.6))
    for _ in range(160):  # the far wood
        at = (dice.real(0, WIDTH), 120 + dice.bell(22))
        brush.oval(
            at,
            dice.real(20, 46),
            dice.real(16, 40),
            Paint(darker((92, 128, 84), dice.real(0.75, 1.15)), 0.2, 2.0),
        )
    brush.box(-2, 142, WIDTH + 2, GROUND + 2, _flat((86, 124, 66), 2.6))
    _ground(brush, (178, 164, 132), (196, 184, 156), dice, 0)
    brush.box(-2, GROUND, WIDTH + 2, GROUND + 22, _flat((104, 146, 74), 2.6))
    for x in (60, 300, 560, 840, 1060, 1310):
        _tree(brush, x + dice.bell(14), 90, dice, dice.pick(((74, 122, 60), (104, 138, 62), (58, 104, 66))))
    for x in (170, 700, 1180):
        for y in (150, 160, 172):
            brush.box(x, y, x + 90, y + 6, Paint((126, 84, 54), 0.0, 1.4))
        for leg in (8, 78):
            brush.box(x + leg, 150, x + leg + 5, 204, _flat((58, 58, 60)))
    for _ in range(260):
        at = (dice.real(0, WIDTH), dice.real(GROUND + 30, HEIGHT))
        brush.oval(at, 2.2, 1.0, _flat(darker((178, 164, 132), dice.real(0.72, 1.14))), 0.7)


def _road(brush: Brush, dice: Dice) -> None:
    brush.box(-2, -2, WIDTH + 2, GROUND, _flat((168, 176, 186), 0.8))
    for i, x in enumerate(range(-20, WIDTH, 170)):
        wall = ((196, 190, 182), (164, 150, 140), (182, 194, 200), (210, 200, 176))[i % 4]
        brush.box(x, 10 + 20 * (i % 3), x + 168, GROUND, _flat(wall, 1.0))
        for wx in range(12, 150, 38):
            for wy in range(30 + 20 * (i % 3), 150, 40):
                brush.box(x + wx, wy, x + wx + 22, wy + 26, _flat((84, 98, 114), 2.0))
    brush.box(-2, GROUND - 14, WIDTH + 2, GROUND, _flat((150, 150, 150), 1.0))
    _ground(brush, (92, 94, 100), (112, 114, 120), dice, 0)
    paints = ((170, 40, 44), (222, 224, 226), (40, 70, 130), (36, 38, 42), (150, 156, 160), (214, 178, 60))
    for i, x in enumerate(range(20, WIDTH, 232)):
        _car(brush, x + dice.bell(10), GROUND + 14, paints[i % len(paints)])
    for x in range(-30, WIDTH, 64):
        brush.strip(((246, x + 10, x + 42), (HEIGHT, x - 6, x + 34)), _flat((214, 214, 210), 1.4), 0.9)


def _station(brush: Brush, dice: Dice) -> None:
    brush.box(-2, -2, WIDTH + 2, GROUND, _flat((150, 158, 152)))
    for x in range(0, WIDTH, 24):
        for y in range(0, GROUND, 24):
            brush.box(x, y, x + 22.8, y + 22.8, _flat(darker((202, 212, 204), dice.real(0.93, 1.05))))
    brush.box(-2, 96, WIDTH + 2, 120, _flat((48, 112, 112)))
    posters = ((206, 84, 60), (72, 108, 176), (232, 202, 92), (128, 78, 138), (92, 152, 96), (228, 226, 220))
    for i, x in enumerate(range(60, WIDTH, 226)):
        brush.box(x, 26, x + 118, 168, _flat((60, 62, 64)))
        brush.box(x + 5, 31, x + 113, 163, _flat(posters[i % len(posters)], 1.2))
        brush.oval((x + 40 + dice.real(0, 40), 84), 26, 26, _flat(posters[(i + 3) % len(posters)]))
        for k in range(3):
            brush.box(x + 20, 122 + k * 11, x + 60 + dice.below(40), 127 + k * 11, _flat((250, 248, 244)))
    _ground(brush, (132, 138, 136), (166, 172, 168), dice, 58)
    brush.box(-2, GROUND + 22, WIDTH + 2, GROUND + 32, _flat((222, 188, 58), 1.6))
    for x in (20, 500, 980):
        brush.box(x, -2, x + 44, GROUND + 26, Paint((176, 182, 180), 0.9))


def _evening(brush: Brush, dice: Dice) -> None:
    for i in range(0, GROUND, 6):
        brush.box(-2, i, WIDTH + 2, i + 7, _flat((58 + i * 0.32, 56 + i * 0.2, 88 - i * 0.06)))
    for i, x in enumerate(range(-30, WIDTH, 210)):
        brush.box(
            x,
            24 + 26 * (i % 2),
            x + 206,
            GROUND,
            _flat(((72, 62, 66), (58, 60, 78), (84, 70, 62))[i % 3], 1.4),
        )
        for wx in range(16, 180, 44):
            for wy in range(44 + 26 * (i % 2), 160, 42):
                lit = dice.chance(0.55)
                pane = darker((246, 204, 122), dice.real(0.8, 1.05)) if lit else (44, 50, 68)
                brush.box(x + wx, wy, x + wx + 26, wy + 28, _flat(pane, 1.2))
    _ground(brush, (104, 92, 84), (130, 112, 96), dice, 34)
    for x in (90, 390, 690, 990, 1290):
        brush.box(x - 3, 24, x + 3, GROUND + 10, _flat((34, 34, 38)))
        for size, strength in ((60, 0.12), (34, 0.2), (14, 0.9)):
            brush.oval((x, 22), size, size, _flat((255, 226, 160)), strength)


_PLACES: tuple[Callable[[Brush, Dice], None], ...] = (_brick, _shops, _park, _road, _station, _evening)
PLACES = ("brick street", "shop windows", "park", "crossing", "station", "evening square")


@cache
def backdrop(place: int) -> npt.NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3) picture of the place with this number, 0…5, without people."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    _PLACES[place](Brush(pixels), Dice(_LOOK, place))
    finished: npt.NDArray[np.uint8] = (pixels + np.float32(0.5)).astype(np.uint8)
    return finished
