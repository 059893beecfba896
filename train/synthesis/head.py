"""Head, face, hair and hats."""

from __future__ import annotations

from collections.abc import Mapping

from .brush import Paint, darker
from .frame import Frame
from .look import Look
from .pose import Pose


def draw_head(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """The head with the hair that lies on it, then the hat."""
    {"front": _face, "back": _nape, "side": _profile}[pose.view](frame, look, a)
    if a["hat"] != "none":
        {"cap": _cap, "beanie": _beanie, "brimmed hat": _brimmed}[a["hat"]](frame, look, pose.view)


def back_hair(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """Hair that hangs behind: before the body in a front view, over everything in a back view."""
    hair = Paint(darker(look.hair, 0.86), 0.7, 1.4)
    length = {"shoulder-length": 17.5, "long": 32.0}.get(a["hair"], 0.0)
    if pose.view == "side":
        if length:
            frame.strip(
                (
                    (3.0, -5.2, 0.5),
                    (9.0, -6.0, -0.2),
                    (16.0, -6.6, -0.6),
                    (length, -7.4 if length > 20 else -5.6, -2.6),
                ),
                hair,
            )
        elif a["hair"] == "tied back":
            frame.limb((-4.8, 5.0), (-8.2, 9.0), 1.5, 2.0, hair)
            frame.limb((-8.2, 9.0), (-8.6, 21.0), 2.0, 0.9, hair)
    elif length:
        wide = 6.6 if a["hair"] == "long" else 6.2
        frame.tall(((3.0, 4.9), (9.0, 5.7), (15.0, wide), (length - 1.5, wide), (length, wide - 1.6)), hair)
    elif a["hair"] == "tied back" and pose.view == "back":
        frame.limb((0.0, 7.0), (0.4, 15.0), 1.5, 2.2, hair)
        frame.limb((0.4, 15.0), (0.8, 24.0), 2.2, 0.9, hair)


def front_locks(frame: Frame, look: Look, a: Mapping[str, str], pose: Pose) -> None:
    """Hair that falls in front of the shoulders; only a front view shows it."""
    if pose.view != "front":
        return
    hair = Paint(look.hair, 0.6, 1.4)
    if a["hair"] == "long":
        for side in (-1.0, 1.0):
            inner, outer = side * 3.9, side * 6.4
            lock = [
                (y, inner * k, outer * m)
                for y, k, m in ((8.0, 1.05, 0.9), (16.0, 1.0, 1.0), (28.0, 1.05, 1.0))
            ]
            frame.strip([(y, min(p, q), max(p, q)) for y, p, q in lock], hair)
    elif a["hair"] == "tied back":
        frame.limb((4.4, 11.0), (5.6, 23.0), 1.1, 1.2, hair)


def _face(frame: Frame, look: Look, a: Mapping[str, str]) -> None:
    skin, hair = Paint(look.skin, 0.5), Paint(look.hair, 0.6, 1.4)
    dark = Paint((44, 34, 32), 0.0)
    if a["hair"] != "bald":
        frame.oval((0.0, 5.3), 5.3, 6.0, hair)
    for side in (-4.5, 4.5):
        frame.oval((side, 7.4), 0.9, 1.4, Paint(darker(look.skin, 0.9), 0.3))
    frame.oval((0.0, 6.7), 4.4, 6.3, skin)
    if a["hair"] != "bald":
        frame.oval((0.0, 2.4), 4.6, 2.7, hair)
        if a["hair"] in ("long", "shoulder-length"):
            for side in (-1.0, 1.0):
                frame.strip(
                    [
                        (y, min(side * p, side * q), max(side * p, side * q))
                        for y, p, q in ((2.0, 3.2, 5.2), (7.0, 3.9, 5.6), (13.0, 4.0, 5.8))
                    ],
                    hair,
                )
    for side in (-1.8, 1.8):
        frame.oval((side, 6.8), 0.72, 0.55, dark)
        frame.limb((side - 0.8, 5.5), (side + 0.8, 5.5), 0.25, 0.25, Paint(darker(look.hair, 0.8), 0.0), 0.7)
    frame.limb((0.0, 7.4), (0.0, 8.7), 0.4, 0.6, Paint(darker(look.skin, 0.82), 0.0), 0.7)
    mouth = (186, 70, 78) if a["gender"] == "female" else darker(look.skin, 0.62)
    frame.limb((-1.2, 10.5), (1.2, 10.5), 0.4, 0.4, Paint(mouth, 0.0), 0.85)


def _nape(frame: Frame, look: Look, a: Mapping[str, str]) -> None:
    for side in (-4.5, 4.5):
        frame.oval((side, 7.4), 0.9, 1.4, Paint(darker(look.skin, 0.85), 0.3))
    if a["hair"] == "bald":
        frame.oval((0.0, 6.4), 4.7, 6.3, Paint(look.skin, 0.7))
    else:
        frame.oval((0.0, 6.8), 4.4, 6.3, Paint(darker(look.skin, 0.88), 0.6))
        frame.oval((0.0, 5.4), 5.1, 5.9, Paint(look.hair, 0.8, 1.4))


def _profile(frame: Frame, look: Look, a: Mapping[str, str]) -> None:
    skin, hair = Paint(look.skin, 0.5), Paint(look.hair, 0.7, 1.4)
    frame.oval((0.2, 6.2), 4.9, 6.0, skin)
    frame.limb((1.6, 10.0), (3.2, 11.2), 2.4, 1.6, skin)
    frame.limb((4.6, 6.6), (5.5, 8.2), 0.6, 0.8, skin)
    if a["hair"] != "bald":
        frame.oval((-0.5, 3.4), 5.2, 4.0, hair, bottom=4.6)
        frame.oval((-2.5, 5.4), 3.4, 5.4, hair)
    frame.oval((-0.4, 7.4), 0.9, 1.5, Paint(darker(look.skin, 0.86), 0.3))
    frame.oval((3.4, 6.4), 0.6, 0.6, Paint((44, 34, 32), 0.0))
    mouth = (186, 70, 78) if a["gender"] == "female" else darker(look.skin, 0.62)
    frame.limb((3.4, 10.2), (4.4, 10.1), 0.35, 0.35, Paint(mouth, 0.0), 0.85)


def _cap(frame: Frame, look: Look, view: str) -> None:
    cloth, peak = Paint(look.hat, 0.8), Paint(darker(look.hat, 0.7), 0.3)
    frame.oval((-0.3 if view == "side" else 0.0, 4.2), 5.5, 5.4, cloth, bottom=4.4)
    if view == "front":
        frame.oval((0.0, 4.6), 5.4, 1.5, peak)
    elif view == "side":
        frame.limb((4.0, 4.2), (9.6, 5.0), 0.9, 0.6, peak)
    else:
        frame.oval((0.0, 4.6), 2.0, 1.3, Paint(darker(look.hat, 0.55), 0.0), bottom=4.6)


def _beanie(frame: Frame, look: Look, view: str) -> None:
    x = -0.6 if view == "side" else 0.0
    frame.oval((x, 3.8), 5.7, 6.2, Paint(look.hat, 0.8, 1.4), bottom=4.6)
    frame.strip(((2.9, x - 5.7, x + 5.7), (5.4, x - 5.6, x + 5.6)), Paint(darker(look.hat, 1.18), 0.7, 1.4))
    frame.oval((x, -2.6), 1.7, 1.6, Paint(darker(look.hat, 1.3), 0.6))


def _brimmed(frame: Frame, look: Look, view: str) -> None:
    x = -0.4 if view == "side" else 0.0
    frame.oval((x, 3.5), 10.2, 1.8, Paint(darker(look.hat, 0.86), 0.3))
    frame.strip(
        ((-2.4, x - 3.8, x + 3.8), (-1.4, x - 4.6, x + 4.6), (3.4, x - 5.2, x + 5.2)), Paint(look.hat, 0.8)
    )
    frame.strip(((1.4, x - 5.0, x + 5.0), (3.2, x - 5.2, x + 5.2)), Paint(darker(look.hat, 0.5), 0.4))
