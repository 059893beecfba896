"""How a person stands in one picture: where the joints are, in units of a hundredth of the body's height.

x = 0 is the body's middle, y = 0 the crown, y = 100 the ground. A side view looks towards +x, and in every
view the hand that holds something is the one at +x (`Frame` mirrors half of the pictures).
"""

from __future__ import annotations

from dataclasses import dataclass

from .brush import Point
from .dice import Dice

Limb = tuple[Point, Point, Point]  # shoulder, elbow, hand or hip, knee, ankle


@dataclass(frozen=True)
class Pose:
    """Joints of one stance; the far or free arm and leg come first, the near or holding one last."""

    view: str
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    shoulder: float  # half the distance between the shoulder joints, as seen


def stand(view: str, build: float, gender: str, carried: str, dice: Dice) -> Pose:
    """A walking or standing pose; ``build`` is about 1, larger is broader."""
    if view == "side":
        return _in_profile(carried, dice)
    return _facing(view, build, gender, carried, dice)


def _facing(view: str, build: float, gender: str, carried: str, dice: Dice) -> Pose:
    shoulder = (10.3 if gender == "male" else 9.0) * build
    hip = (4.3 if gender == "male" else 4.6) * build
    stride, lean = dice.real(-1.0, 1.0), dice.bell(0.8)
    legs = []
    for side in (-1.0, 1.0):
        back = max(0.0, stride * side)  # the leg behind: its foot is higher in the picture, its knee bent
        knee = (side * (hip + 0.4) + lean, 72.5 - 1.5 * back)
        ankle = (side * (hip + 0.9 - 2.2 * back) + 1.4 * lean, 94.5 - 4.5 * back)
        legs.append(((side * hip, 51.0), knee, ankle))
    legs.sort(key=lambda leg: leg[2][1])
    swing = dice.real(-1.0, 1.0)
    free: Limb = (
        (-shoulder, 21.0),
        (-shoulder - 2.0 - dice.real(0.0, 1.5), 35.5 - 0.8 * abs(swing)),
        (-shoulder - 2.2 - swing, 49.0 - 2.5 * abs(swing)),
    )
    elbow, hand = {
        "none": ((shoulder + 2.0 + dice.real(0.0, 1.5), 35.5), (shoulder + 2.2 - swing, 48.5)),
        "phone": ((shoulder + 4.8, 31.5), (5.8, 11.5)),
        "cup": ((shoulder + 2.6, 36.0), (shoulder + 3.2, 28.5)),
        "umbrella": ((shoulder + 2.4, 35.0), (shoulder - 0.5, 27.0)),
        "box": ((shoulder + 2.4, 35.0), (8.5, 42.5)),
        "suitcase": ((shoulder + 2.6, 35.5), (shoulder + 4.4, 50.0)),
        "flowers": ((shoulder + 2.8, 36.0), (shoulder + 1.6, 33.0)),
    }[carried]
    if carried == "box":
        free = ((-shoulder, 21.0), (-shoulder - 2.4, 35.0), (-8.5, 42.5))
    return Pose(view, (free, ((shoulder, 21.0), elbow, hand)), (legs[0], legs[1]), shoulder)


def _in_profile(carried: str, dice: Dice) -> Pose:
    stride = dice.real(0.25, 1.0)
    ahead: Limb = ((0.6, 51.0), (1.5 + 4.5 * stride, 72.5), (1.5 + 9.5 * stride, 95.0 - stride))
    behind: Limb = ((-0.6, 51.0), (-1.0 - 2.0 * stride, 73.0), (-2.0 - 11.0 * stride, 94.5 - 3.0 * stride))
    near_ahead = dice.chance(0.5)
    swing = dice.real(0.2, 1.0) * (-1.0 if near_ahead else 1.0)

    def hanging(swung: float) -> Limb:
        return ((0.0, 21.5), (-1.6 + 3.2 * swung, 36.0), (0.5 + 7.5 * swung, 48.5 - 1.5 * abs(swung)))

    near: Limb = {
        "none": hanging(swing),
        "phone": ((0.0, 21.5), (5.5, 33.0), (2.2, 12.0)),
        "cup": ((0.0, 21.5), (-1.0, 36.0), (9.0, 32.0)),
        "umbrella": ((0.0, 21.5), (0.0, 35.5), (7.0, 28.0)),
        "box": ((0.0, 21.5), (0.5, 36.0), (10.0, 42.0)),
        "suitcase": ((0.0, 21.5), (-4.5, 35.0), (-9.0, 48.5)),
        "flowers": ((0.0, 21.5), (-0.5, 36.0), (9.0, 34.0)),
    }[carried]
    far = ((1.0, 21.5), (1.5, 36.0), (11.0, 42.0)) if carried == "box" else hanging(-swing)
    return Pose("side", (far, near), (behind, ahead) if near_ahead else (ahead, behind), 3.0)
