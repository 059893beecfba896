"""A person, from the ground up: legs, shoes, clothes, arms, and the order in which they cover each other."""

from __future__ import annotations

from collections.abc import Mapping

from .brush import Colour, Paint, between, darker
from .frame import Frame
from .head import back_hair, draw_head, front_locks
from .legs import draw_legs
from .look import Look
from .pose import Limb, Pose
from .things import draw_bag_behind, draw_bag_over, draw_carried_behind, draw_carried_over
from .torso import LOOSE, draw_torso

_PERIOD = {"stripes": 5.6, "vertical stripes": 4.4, "checks": 5.6, "dots": 4.4}  # body units


def draw_person(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """Paint one figure. ``a`` has every slot of the drawn schema."""
    frame.oval((0.0, 98.5), 15.0, 2.6, Paint((20, 20, 24), round=0.0), alpha=0.34)
    cloth = _cloth(look, a)
    if pose.view == "side":
        _arm(frame, look, a, pose.arms[0], cloth, far=True)
    draw_carried_behind(frame, look, a, pose)
    draw_bag_behind(frame, look, a, pose)
    if pose.view == "back" and a["carried"] == "box":
        _arms(frame, look, a, pose, cloth)
    if pose.view != "back":
        back_hair(frame, look, a, pose)
    draw_legs(frame, look, a, pose)
    draw_torso(frame, look, a, pose, cloth)
    if pose.view == "back":
        if a["carried"] != "box":
            _arms(frame, look, a, pose, cloth)
        draw_bag_over(frame, look, a, pose)
        draw_head(frame, look, a, pose)
        back_hair(frame, look, a, pose)
    else:
        draw_head(frame, look, a, pose)
        front_locks(frame, look, a, pose)
        if pose.view == "front":
            draw_bag_over(frame, look, a, pose)
            if a["carried"] == "box":
                draw_carried_over(frame, look, a, pose)
            _arms(frame, look, a, pose, cloth)
            if a["carried"] == "box":
                return
        else:
            _arm(frame, look, a, pose.arms[1], cloth, far=False)
            draw_bag_over(frame, look, a, pose)
    draw_carried_over(frame, look, a, pose)


def _cloth(look: Look, a: Mapping[str, str]) -> Paint:
    pattern = a["pattern"] if a["pattern"] in _PERIOD else "plain"
    return Paint(look.upper, 0.7, 1.0, pattern, look.accent, _PERIOD.get(pattern, 1.0))


def _toned(paint: Paint, share: float) -> Paint:
    return Paint(
        darker(paint.colour, share),
        paint.round,
        paint.folds,
        paint.pattern,
        darker(paint.accent, share),
        paint.period,
    )


def _arms(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose, cloth: Paint) -> None:
    for limb in pose.arms:
        _arm(frame, look, a, limb, cloth, far=False)


def _arm(frame: Frame, look: Look, a: Mapping[str, str], limb: Limb, cloth: Paint, far: bool) -> None:
    shoulder, elbow, hand = limb
    size = look.build * (1.0 if a["gender"] == "male" else 0.86)
    tone = 0.76 if far else 0.93
    skin: Colour = darker(look.skin, 0.8 if far else 1.0)
    flesh, sleeve = Paint(skin, 0.8), _toned(cloth, tone)
    bulk = 0.4 * LOOSE.get(a["upper"], 0.0)
    if not far:  # its shadow on the body, or arm and body of one colour would run together
        shadow = Paint(darker(look.upper, 0.45), 0.0)
        frame.limb(
            (shoulder[0], shoulder[1] + 2.0), elbow, 3.7 * size + bulk, 3.3 * size + bulk, shadow, 0.45
        )
        if a["sleeves"] == "long":
            frame.limb(elbow, between(elbow, hand, 0.85), 3.2 * size + bulk, 2.7 * size + bulk, shadow, 0.45)
    frame.oval(hand, 2.0 * size, 2.3 * size, flesh)
    if a["sleeves"] == "long":
        frame.limb(elbow, between(elbow, hand, 0.88), 2.6 * size + bulk, 2.1 * size + bulk, sleeve)
        frame.limb(shoulder, elbow, 3.2 * size + bulk, 2.7 * size + bulk, sleeve)
        return
    frame.limb(elbow, hand, 2.2 * size, 1.6 * size, flesh)
    frame.limb(shoulder, elbow, 2.7 * size, 2.2 * size, flesh)
    if a["sleeves"] == "short":
        frame.limb(shoulder, between(shoulder, elbow, 0.55), 3.4 * size + bulk, 3.3 * size + bulk, sleeve)
