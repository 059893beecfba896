"""The upper body: its outline by garment and view, and what makes a shirt a shirt."""

from __future__ import annotations

from collections.abc import Mapping

from .brush import Paint, darker
from .frame import Frame
from .look import Look
from .pose import Pose

_HEM = {
    "t-shirt": 52.0,
    "shirt": 53.5,
    "sweater": 52.5,
    "hoodie": 53.0,
    "jacket": 54.0,
    "coat": 73.0,
    "tank top": 51.0,
}
LOOSE = {
    "t-shirt": 0.5,
    "shirt": 0.5,
    "sweater": 0.9,
    "hoodie": 1.3,
    "jacket": 1.4,
    "coat": 1.6,
    "dress": 0.2,
}
_DRESS_HEM = 71.0


def draw_torso(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose, cloth: Paint) -> None:
    """Neck, trunk and the upper garment, in `cloth`, without the arms."""
    upper, male = a["upper"], a["gender"] == "male"
    loose, b = LOOSE.get(upper, 0.0), look.build
    neck = Paint(darker(look.skin, 0.88), 0.7)
    frame.limb((-0.4 if pose.view == "side" else 0.0, 11.0), (0.0, 18.5), 2.5, 3.0, neck)
    if pose.view == "side":
        chest, waist, seat = 6.8 * b + loose, (6.2 if male else 5.4) * b + loose, 7.4 * b + loose
        outline = [(17.2, 2.6), (19.5, chest * 0.78), (27.0, chest), (39.0, waist), (48.0, seat)]
    else:
        wide, waist, seat = (
            pose.shoulder + 1.0,
            (9.2 if male else 7.6) * b + loose,
            (9.4 if male else 9.9) * b + loose,
        )
        outline = [
            (17.0, 3.2),
            (18.4, wide * 0.72),
            (20.6, wide + 0.6),
            (26.0, wide * 0.95),
            (39.0, waist),
            (47.0, seat),
        ]
    if a["sleeves"] == "sleeveless":
        frame.tall(outline[:4], Paint(look.skin, 0.6))
        strap = 5.2 if pose.view != "side" else 3.4
        outline = [(17.8, strap), (22.0, strap + 0.8), (26.0, outline[3][1] * 0.97), *outline[4:]]
    if upper == "dress":
        outline += [(54.0, seat * 1.12), (_DRESS_HEM, seat * 1.45)]
    elif upper == "coat":
        outline += [(56.0, seat * 1.08), (_HEM[upper], seat * 1.18)]
    else:
        outline += [(_HEM[upper], seat * (1.02 if upper != "tank top" else 0.97))]
    frame.tall(outline, cloth)
    if upper == "dress":
        frame.box(-waist * 0.98, 38.6, waist * 0.98, 40.4, Paint(darker(look.upper, 0.62), 0.5))
    if pose.view == "side":
        _profile_details(frame, look, a, outline)
    else:
        _details(frame, look, a, pose, outline)


def _profile_details(
    frame: Frame, look: Look, a: Mapping[str, str], outline: list[tuple[float, float]]
) -> None:
    dark = Paint(darker(look.upper, 0.66), 0.3)
    hem = outline[-1]
    if a["upper"] == "hoodie":
        frame.oval((-3.4, 17.5), 4.2, 3.2, Paint(darker(look.upper, 0.86), 0.7))
    if a["upper"] in ("hoodie", "sweater", "jacket"):
        frame.box(-hem[1], hem[0] - 2.2, hem[1], hem[0], dark)
    if a["upper"] in ("jacket", "coat", "shirt"):
        frame.limb((0.0, 17.4), (3.6, 18.6), 1.2, 0.9, dark)


def _details(
    frame: Frame, look: Look, a: Mapping[str, str], pose: Pose, outline: list[tuple[float, float]]
) -> None:
    upper, hem = a["upper"], outline[-1]
    dark, light = Paint(darker(look.upper, 0.62), 0.2), Paint(darker(look.upper, 1.2), 0.2)
    front = pose.view == "front"
    if upper == "hoodie":
        hood = Paint(darker(look.upper, 0.84), 0.8)
        if front:
            frame.oval((0.0, 17.4), 6.6, 3.0, hood)
            frame.oval((0.0, 15.6), 3.6, 2.6, Paint(darker(look.skin, 0.8), 0.4))
            frame.strip(
                ((41.0, -5.0, 5.0), (43.0, -6.4, 6.4), (49.0, -6.8, 6.8)), Paint(darker(look.upper, 0.8), 0.2)
            )
            frame.box(-1.9, 19.5, -1.3, 26.0, light)
            frame.box(1.3, 19.5, 1.9, 26.0, light)
        else:
            frame.oval((0.0, 20.0), 6.2, 4.6, hood)
            frame.oval((0.0, 19.0), 4.2, 2.6, Paint(darker(look.upper, 0.6), 0.2))
    if upper in ("hoodie", "sweater"):
        frame.box(-hem[1], hem[0] - 2.4, hem[1], hem[0], Paint(darker(look.upper, 0.74), 0.7))
    if not front:
        if upper == "coat":
            frame.box(-0.4, 56.0, 0.4, hem[0], dark)
            frame.box(-outline[4][1], 40.0, outline[4][1], 42.2, Paint(darker(look.upper, 0.7), 0.5))
        return
    if upper in ("t-shirt", "tank top", "dress", "sweater"):
        deep = {"t-shirt": 2.0, "tank top": 4.0, "dress": 4.0, "sweater": 1.2}[upper]
        frame.oval((0.0, 17.2), 3.6, deep + 1.2, Paint(darker(look.skin, 0.95), 0.2), top=16.8)
    elif upper == "shirt":
        frame.limb((-0.6, 20.4), (-3.2, 17.4), 1.0, 1.3, light)
        frame.limb((0.6, 20.4), (3.2, 17.4), 1.0, 1.3, light)
        frame.box(-0.35, 20.5, 0.35, hem[0], dark)
    elif upper in ("jacket", "coat"):
        gap = 2.6 if upper == "jacket" else 1.6
        end = hem[0] if upper == "jacket" else 38.0
        frame.strip(
            ((17.4, -3.0, 3.0), (28.0, -gap, gap), (end, -gap * 0.8, gap * 0.8)),
            Paint(look.undershirt, 0.1, 1.0),
        )
        for side in (-1.0, 1.0):
            frame.limb((side * 3.4, 17.2), (side * (gap + 1.0), 27.0), 1.5, 0.9, dark)
        if upper == "coat":
            frame.box(-0.4, 38.0, 0.4, hem[0], dark)
            for y in (42.0, 48.0, 54.0):
                frame.oval((1.9, y), 0.7, 0.7, dark)
        else:
            frame.box(-hem[1], hem[0] - 2.0, -gap, hem[0], dark)
            frame.box(gap, hem[0] - 2.0, hem[1], hem[0], dark)
    if a["pattern"] == "logo":
        print_ = Paint(look.accent, 0.2)
        frame.oval((0.0, 28.0), 4.4, 4.4, print_)
        frame.oval((0.0, 28.0), 2.1, 2.1, Paint(look.upper, 0.2))
        frame.box(-5.0, 34.0, 5.0, 35.8, print_)
