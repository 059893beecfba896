"""Bags, and what people hold."""

from __future__ import annotations

from collections.abc import Mapping

from .brush import Colour, Paint, darker
from .frame import Frame
from .look import Look
from .pose import Pose

_CARDBOARD: Colour = (182, 140, 92)
_PETALS: tuple[Colour, ...] = (
    (222, 60, 84),
    (246, 206, 70),
    (240, 150, 190),
    (236, 236, 230),
    (200, 70, 150),
)
_METAL = Paint((70, 72, 78), 0.4)


def draw_bag_behind(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """What the body covers: a backpack seen from the front or the side."""
    if a["bag"] != "backpack":
        return
    bag = Paint(look.bag, 0.7, 0.7)
    if pose.view == "front":
        wide = pose.shoulder + 1.2
        frame.tall(((15.8, wide * 0.55), (18.0, wide * 0.8), (40.0, wide * 1.06), (44.0, wide * 0.9)), bag)
    elif pose.view == "side":
        frame.strip(((19.0, -12.0, -3.0), (22.0, -14.6, -3.0), (40.0, -15.6, -3.0), (44.0, -13.0, -3.0)), bag)
        frame.strip(((31.0, -17.2, -12.0), (41.0, -17.2, -12.0)), Paint(darker(look.bag, 0.78), 0.7, 0.7))


def draw_bag_over(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """What lies over the clothes: straps, a backpack seen from behind, a shoulder bag, a handbag."""
    bag, dark = Paint(look.bag, 0.6, 0.7), Paint(darker(look.bag, 0.7), 0.4)
    view, kind = pose.view, a["bag"]
    if kind == "backpack":
        if view == "back":
            frame.tall(((17.4, 4.5), (19.5, 7.6), (24.0, 8.6), (41.0, 9.2), (44.5, 7.8)), bag)
            frame.tall(((30.5, 6.2), (32.0, 6.8), (41.0, 6.8), (42.4, 6.0)), dark)
            frame.box(-6.6, 26.0, 6.6, 26.8, dark)
        elif view == "front":
            for side in (-1.0, 1.0):
                frame.limb((side * 5.4, 18.4), (side * 6.6, 35.0), 1.5, 1.3, bag)
        else:
            frame.limb((-2.4, 18.8), (2.2, 24.0), 1.3, 1.3, bag)
            frame.limb((2.2, 24.0), (-3.0, 36.0), 1.3, 1.0, bag)
    elif kind == "shoulder bag":
        if view == "side":
            frame.limb((-0.5, 18.0), (-2.0, 46.0), 0.8, 0.8, dark)
            frame.box(-7.0, 45.0, 4.0, 56.5, bag)
            frame.box(-7.0, 45.0, 4.0, 49.0, dark)
        else:
            at = pose.shoulder
            frame.limb((5.2, 18.2), (-at + 0.5, 46.0), 0.9, 0.9, dark)
            frame.box(-at - 4.4, 45.0, -at + 5.0, 56.0, bag)
            frame.box(-at - 4.4, 45.0, -at + 5.0, 48.8, dark)
    elif kind == "handbag":
        x, y = pose.arms[0][2] if view != "side" else pose.arms[1][2]
        if a["carried"] == "box" or (view == "side" and a["carried"] != "none"):
            x, y = (-pose.shoulder - 2.0, 40.0) if view != "side" else (-2.0, 40.0)
        for side in (-2.4, 2.4):
            frame.limb((x, y + 0.5), (x + side, y + 5.5), 0.55, 0.55, dark)
        frame.strip(((y + 5.0, x - 4.0, x + 4.0), (y + 13.5, x - 5.6, x + 5.6)), bag)
        frame.box(x - 4.2, y + 5.0, x + 4.2, y + 6.6, dark)


def draw_carried_behind(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """What stands beside or before the body and is partly covered by it."""
    if a["carried"] == "suitcase":
        _suitcase(frame, look, pose)
    elif a["carried"] == "box" and pose.view == "back":
        _box(frame, 0.0, 15.0)


def draw_carried_over(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """What the holding hand shows."""
    x, y = pose.arms[1][2]
    match a["carried"]:
        case "phone":
            frame.strip(((y - 4.6, x - 0.9, x + 1.5), (y + 1.6, x - 1.1, x + 1.3)), Paint((28, 30, 36), 0.1))
        case "cup":
            frame.strip(
                ((y - 4.4, x - 2.1, x + 2.1), (y + 2.2, x - 1.5, x + 1.5)), Paint((240, 238, 232), 0.5)
            )
            frame.box(x - 2.3, y - 5.2, x + 2.3, y - 4.0, Paint((92, 60, 44), 0.3))
            frame.strip(
                ((y - 2.4, x - 1.9, x + 1.9), (y - 0.4, x - 1.8, x + 1.8)), Paint((150, 104, 70), 0.4)
            )
        case "umbrella":
            _umbrella(frame, look, x, y, 2.0 if pose.view != "side" else 1.0)
        case "box" if pose.view != "back":
            _box(frame, 14.0 if pose.view == "side" else 0.0, 6.8 if pose.view == "side" else 10.5)
        case "flowers":
            frame.limb((x, y), (x, y + 4.5), 0.9, 0.5, Paint((60, 120, 60), 0.4))
            frame.strip(((y - 3.5, x - 3.6, x + 3.6), (y + 1.5, x - 1.2, x + 1.2)), Paint((66, 132, 70), 0.5))
            for i, (dx, dy) in enumerate(((-3.2, -4.6), (3.0, -4.8), (0.0, -7.6), (-1.6, -5.0), (1.6, -4.4))):
                frame.oval((x + dx, y + dy), 2.2, 2.1, Paint(_PETALS[i], 0.7))


def _box(frame: Frame, x: float, half: float) -> None:
    frame.box(x - half, 33.5, x + half, 46.0, Paint(_CARDBOARD, 0.3))
    frame.box(x - half, 33.5, x + half, 35.2, Paint(darker(_CARDBOARD, 1.16), 0.1))
    frame.box(x - 1.2, 33.5, x + 1.2, 46.0, Paint((206, 180, 132), 0.1))


def _suitcase(frame: Frame, look: Look, pose: Pose) -> None:
    x, y = pose.arms[1][2]
    middle = x - 6.0 if pose.view == "side" else x + 2.2
    half = 5.6
    shell = Paint(look.carried, 0.4, 0.4)
    for side in (-2.2, 2.2):
        frame.limb(
            (x if pose.view == "side" else middle + side * 0.6, y + 0.5),
            (middle + side, 66.0),
            0.45,
            0.45,
            _METAL,
        )
    for side in (-3.8, 3.8):
        frame.oval((middle + side, 97.6), 1.5, 1.5, Paint((30, 30, 32), 0.3))
    frame.strip(
        (
            (65.0, middle - half + 1, middle + half - 1),
            (66.5, middle - half, middle + half),
            (95.0, middle - half, middle + half),
            (96.8, middle - half + 1, middle + half - 1),
        ),
        shell,
    )
    for side in (-2.6, 0.0, 2.6):
        frame.box(
            middle + side - 0.4, 68.0, middle + side + 0.4, 94.0, Paint(darker(look.carried, 0.72), 0.0)
        )


def _umbrella(frame: Frame, look: Look, x: float, y: float, over: float) -> None:
    top = x - over
    frame.limb((x, y + 2.0), (top, -10.0), 0.5, 0.5, _METAL)
    frame.oval((top - 3.0, 0.8), 18.5, 13.0, Paint(look.carried, 0.7, 0.3), bottom=0.8)
    rib = Paint(darker(look.carried, 0.72), 0.0)
    for reach in (-9.0, 0.0, 9.0):
        frame.limb((top - 3.0, -12.0), (top - 3.0 + reach, 0.6), 0.35, 0.35, rib)
    frame.limb((top - 3.0, -14.5), (top - 3.0, -12.0), 0.5, 0.5, _METAL)
