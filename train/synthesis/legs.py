"""Legs, lower garments and shoes."""

from __future__ import annotations

from collections.abc import Mapping

from .brush import Paint, Point, between, darker
from .frame import Frame
from .look import Look
from .pose import Pose


def draw_legs(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """Both legs, the far one first, then what spans them."""
    build = look.build * (1.0 if a["gender"] == "male" else 0.93)
    lower = a["lower"]
    for order, (hip, knee, ankle) in enumerate(pose.legs):
        tone = 0.84 if order == 0 else 1.0
        skin = Paint(darker(look.skin, tone), 0.7)
        cloth = Paint(darker(look.lower, tone), 0.8, 1.3 if lower == "jeans" else 1.0)
        bare = lower in ("shorts", "skirt", "long skirt", "none")
        if bare:
            frame.limb(hip, knee, 5.0 * build, 3.4 * build, skin)
            frame.limb(knee, ankle, 3.4 * build, 1.9 * build, skin)
        _shoe(frame, look, a, pose, ankle, tone)
        if lower in ("trousers", "jeans", "leggings"):
            thigh, shin, cuff = {
                "trousers": (5.6, 4.5, 3.6),
                "jeans": (5.4, 4.1, 3.1),
                "leggings": (5.0, 3.4, 2.2),
            }[lower]
            frame.limb(hip, knee, thigh * build, shin * build, cloth)
            end = between(knee, ankle, 0.97 if lower != "leggings" else 0.92)
            frame.limb(knee, end, shin * build, cuff * build, cloth)
            if lower == "jeans":
                fade = Paint(darker(look.lower, 1.22 * tone), 0.0, 1.3)
                frame.limb(
                    between(hip, knee, 0.35), between(hip, knee, 0.85), 1.5 * build, 1.2 * build, fade, 0.6
                )
        elif lower == "shorts":
            frame.limb(hip, between(hip, knee, 0.72), 5.7 * build, 5.2 * build, cloth)
        if a["shoes"] == "boots":  # over narrow trousers too, or nobody could tell them from shoes
            shaft = 3.1 if bare or lower == "leggings" else 3.7
            boot = Paint(darker(look.shoes, tone), 0.8)
            frame.limb(
                between(knee, ankle, 0.45 if shaft == 3.1 else 0.66), ankle, shaft * build, 2.6 * build, boot
            )
    hips = 7.4 if pose.view == "side" else 9.4 if a["gender"] == "male" else 9.9
    hips *= look.build
    cloth = Paint(look.lower, 0.7, 1.0)
    if lower in ("trousers", "jeans", "leggings", "shorts"):
        frame.tall(((45.0, hips * 0.9), (50.0, hips), (54.5, hips * 0.93)), cloth)
    elif lower == "skirt":
        frame.tall(((44.0, hips * 0.82), (51.0, hips * 1.06), (70.0, hips * 1.28)), cloth)
    elif lower == "long skirt":
        frame.tall(((44.0, hips * 0.82), (51.0, hips * 1.05), (72.0, hips * 1.22), (91.5, hips * 1.4)), cloth)


def _shoe(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose, ankle: Point, tone: float) -> None:
    x, y = ankle
    leather = Paint(darker(look.shoes, tone), 0.5)
    sole = Paint(darker((236, 236, 232) if a["shoes"] == "trainers" else (52, 42, 36), tone), 0.2)
    kind = a["shoes"]
    if pose.view == "side":
        heel, toe = (x - 1.2, y + 2.4), (x + 5.4, y + 3.2)
        if kind == "sandals":
            frame.limb(heel, toe, 1.6, 1.2, Paint(darker(look.skin, tone), 0.4))
            frame.limb((x + 0.6, y + 1.2), (x + 3.6, y + 3.0), 0.9, 0.9, leather)
        else:
            frame.limb(heel, toe, 2.5, 1.7, leather)
        frame.limb((x - 2.4, y + 4.3), (x + 6.4, y + 4.3), 0.75, 0.75, leather if kind == "sandals" else sole)
    else:
        size = 3.2 if kind in ("boots", "trainers") else 2.8
        drop = 2.9 if pose.view == "front" else 2.3
        if kind == "sandals":
            frame.oval((x, y + drop), size, 2.7, Paint(darker(look.skin, tone), 0.4))
            frame.limb((x - 2.2, y + 1.6), (x + 2.2, y + 1.6), 0.8, 0.8, leather)
        else:
            frame.oval((x, y + drop), size, 3.1, leather)
        frame.oval(
            (x, y + drop + 1.4), size + 0.1, 1.9, leather if kind == "sandals" else sole, top=y + drop + 1.7
        )
    if kind == "boots":
        frame.limb((x, y - 5.0), (x, y + 1.5), 2.9, 2.7, leather)
