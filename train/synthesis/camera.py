"""What happens between a person and a file: place, light, crop error, occlusion, blur, noise, JPEG.

The constants below are the difficulty of the data: change them here, draw again, and read the hardness
figures that the draw prints.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from .brush import Brush, Colour, Paint, darker
from .dice import Dice
from .figure import draw_person
from .frame import Frame
from .look import SHADES, look_of
from .people import Person
from .pose import stand
from .scenes import HEIGHT, WIDTH, backdrop
from .wardrobe import VIEWS

RENDER_HEIGHT = 224  # px of the canvas before it is scaled to the file's size
TOP_MARGIN = (-3.0, 9.0)  # space above the head, in hundredths of the body's height; below 0 it is cut off
BOTTOM_MARGIN = (-6.0, 7.0)  # and below the feet
SIDE_SHIFT = 4.5  # spread of the middle of the crop
ASPECT = (0.40, 0.50)  # width / height of a crop
OCCLUDED = 0.20  # share of pictures with something in front
PASSER_BY = 0.16  # share with another person behind or at the edge
EXPOSURE = 0.08  # spread of the brightness between two pictures of one camera
CAST = 0.025  # spread of each colour channel's gain between two pictures of one camera
VIEW_SHARE = {"front": 4.0, "back": 3.0, "side": 3.0}


@dataclass(frozen=True)
class Camera:
    """One camera: where it hangs and how it sees. Gains per channel, noise in grey levels, heights in px."""

    place: int
    gain: tuple[float, float, float]
    contrast: float
    lift: float  # grey levels added to black: haze, or a badly lit place when below 0
    noise: float
    blur: tuple[float, float]
    heights: tuple[int, int]
    quality: tuple[int, int]
    light: float  # the side that the light comes from, -1 left to 1 right


CAMERAS: tuple[Camera, ...] = (
    Camera(0, (1.04, 0.99, 0.92), 0.98, 2, 4, (0.2, 0.7), (128, 176), (72, 92), -0.8),
    Camera(1, (0.98, 0.98, 0.97), 0.96, 4, 3, (0.0, 0.6), (144, 192), (80, 94), 0.5),
    Camera(2, (0.94, 1.02, 0.91), 0.92, 14, 3, (0.2, 0.8), (128, 168), (72, 92), 0.9),
    Camera(3, (0.91, 0.97, 1.07), 0.96, 4, 4, (0.3, 1.0), (128, 160), (64, 88), -0.3),
    Camera(4, (0.93, 1.00, 0.95), 0.90, 10, 4, (0.3, 0.9), (128, 152), (64, 88), 0.0),
    Camera(5, (1.05, 0.95, 0.84), 0.94, 2, 5, (0.3, 0.9), (128, 168), (66, 90), 0.3),
)


@dataclass(frozen=True)
class Picture:
    """One finished picture: ``pixels`` (h, w, 3) uint8 before JPEG, and what the labels say about it."""

    pixels: npt.NDArray[np.uint8]
    camera: int  # 1…len(CAMERAS)
    view: str
    quality: int

    def jpeg(self) -> bytes:
        """The file's bytes."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "JPEG", quality=self.quality)
        return file.getvalue()


def cameras_of(person: Person, images: int, seed: int) -> list[tuple[int, str]]:
    """(camera index, view) of each of a person's pictures: no camera twice before all had their turn."""
    dice = Dice(seed, 3, person.pid)
    order: list[int] = []
    while len(order) < images:
        order += dice.shuffled(range(len(CAMERAS)))
    views = [dice.weighted(VIEW_SHARE) for _ in range(images)]
    if len(set(views)) == 1:  # each person is seen from more than one side
        views[-1] = dice.pick([v for v in VIEWS if v != views[0]])
    return list(zip(order, views, strict=False))


def photograph(
    person: Person, index: int, camera: int, view: str, others: list[Person], seed: int
) -> Picture:
    """Picture number `index` of a person; `others` are whom it may show in passing."""
    dice, cam = Dice(seed, 4, person.pid, index), CAMERAS[camera]
    look = look_of(person, seed)
    a = person.attributes
    height = 2 * (cam.heights[0] // 2 + dice.below((cam.heights[1] - cam.heights[0]) // 2 + 1))
    width = 2 * int(height * dice.real(*ASPECT) * 0.5)
    top = dice.real(*TOP_MARGIN) + (
        14.0 if a["carried"] == "umbrella" else 2.5 if a["hat"] != "none" else 0.0
    )
    bottom = dice.real(*BOTTOM_MARGIN)
    canvas_width = round(RENDER_HEIGHT * width / height)
    unit = RENDER_HEIGHT / (top + 100.0 + bottom)
    mirror = dice.chance(0.5)
    reach = {"suitcase": -4.0 if view == "side" else 4.0}.get(a["carried"], 0.0)
    if a["bag"] == "backpack" and view == "side":
        reach -= 3.0
    shift = (-reach if not mirror else reach) + dice.bell(SIDE_SHIFT)
    middle = canvas_width / 2 + shift * unit

    pixels = _background(cam, canvas_width, dice)
    brush = Brush(pixels, cam.light, (dice.below(256), dice.below(256)))
    if dice.chance(PASSER_BY):
        _passer_by(brush, dice.pick(others), seed, middle, unit, dice)
    pose = stand(view, look.build, a["gender"], a["carried"], dice)
    draw_person(Frame(brush, middle, top * unit, unit, mirror), look, a, pose)
    if dice.chance(OCCLUDED):
        _occlude(brush, middle, unit, top * unit, dice)
    return Picture(
        _develop(pixels, (width, height), cam, dice),
        camera + 1,
        view,
        cam.quality[0] + dice.below(cam.quality[1] - cam.quality[0] + 1),
    )


def _background(cam: Camera, width: int, dice: Dice) -> npt.NDArray[np.float32]:
    """(RENDER_HEIGHT, width, 3): a window of the camera's place, never twice the same."""
    zoom = dice.real(0.9, 1.25)
    rows, columns = int(RENDER_HEIGHT * zoom), int(width * zoom)
    bottom = HEIGHT - dice.below(24)
    left = dice.below(WIDTH - columns)
    window = Image.fromarray(backdrop(cam.place)[bottom - rows : bottom, left : left + columns])
    return np.asarray(window.resize((width, RENDER_HEIGHT), Image.Resampling.BILINEAR), np.float32)


def _passer_by(brush: Brush, other: Person, seed: int, middle: float, unit: float, dice: Dice) -> None:
    """Someone farther away, half hidden by the person or cut by the edge."""
    far = unit * dice.real(0.55, 0.85)
    side = dice.pick((-1.0, 1.0))
    x = middle + side * unit * dice.real(15.0, 26.0)
    look = look_of(other, seed)
    view = dice.pick(VIEWS)
    top = brush.height * 0.93 - 100 * far - dice.real(0.0, 12.0)
    pose = stand(view, look.build, other.attributes["gender"], other.attributes["carried"], dice)
    draw_person(Frame(brush, x, top, far, dice.chance(0.5)), look, other.attributes, pose)


def _occlude(brush: Brush, middle: float, unit: float, top: float, dice: Dice) -> None:
    """Something between camera and person that hides a part, never the whole."""
    kind = dice.pick(("pole", "box", "bush", "bonnet", "bollard"))
    side = dice.pick((-1.0, 1.0))
    feet = top + 100 * unit
    if kind == "pole":
        x = middle + side * unit * dice.real(3.0, 15.0)
        half = unit * dice.real(1.6, 3.0)
        brush.box(
            x - half,
            -2,
            x + half,
            brush.height + 2,
            Paint(dice.pick(((88, 92, 96), (60, 74, 66), (140, 140, 136))), 1.2),
        )
    elif kind == "box":
        x, size = middle + side * unit * dice.real(8.0, 20.0), unit * dice.real(9.0, 14.0)
        high = feet - unit * dice.real(12.0, 30.0)
        tone: Colour = dice.pick(((70, 92, 76), (124, 126, 130), (152, 116, 78), (54, 72, 108)))
        brush.box(x - size, high, x + size, brush.height + 2, Paint(tone, 0.3, 0.8))
        brush.box(x - size, high, x + size, high + unit * 2.4, Paint(darker(tone, 1.25), 0.1))
    elif kind == "bush":
        x = middle + side * unit * dice.real(6.0, 18.0)
        for _ in range(12):
            at = (x + dice.bell(unit * 6), feet - unit * dice.real(0.0, 20.0))
            brush.oval(
                at,
                unit * dice.real(4, 7),
                unit * dice.real(4, 6),
                Paint(darker((66, 112, 58), dice.real(0.7, 1.2)), 0.3, 2.0),
            )
        brush.box(
            x - unit * 12, feet - unit * 6, x + unit * 12, brush.height + 2, Paint((62, 104, 56), 0.2, 2.4)
        )
    elif kind == "bonnet":
        high = feet - unit * dice.real(14.0, 26.0)
        tone = SHADES[dice.pick(("red", "white", "blue", "grey", "black"))]
        x = middle + side * unit * dice.real(10.0, 22.0)
        wide = unit * 26
        brush.strip(
            (
                (high, x - wide * 0.7, x + wide * 0.7),
                (high + unit * 5, x - wide, x + wide),
                (brush.height + 4.0, x - wide, x + wide),
            ),
            Paint(tone, 0.2),
        )
        brush.oval((x - side * wide * 0.72, high + unit * 8), unit * 3, unit * 2, Paint((246, 242, 220), 0.2))
    else:
        x = middle + side * unit * dice.real(4.0, 12.0)
        high = feet - unit * dice.real(18.0, 32.0)
        brush.box(x - unit * 3, high, x + unit * 3, brush.height + 2, Paint((76, 78, 82), 1.0))
        brush.box(x - unit * 3, high + unit * 3, x + unit * 3, high + unit * 6, Paint((236, 196, 60), 0.8))


def _develop(
    pixels: npt.NDArray[np.float32], size: tuple[int, int], cam: Camera, dice: Dice
) -> npt.NDArray[np.uint8]:
    """Light and colour cast, optics, scaling to `size` (width, height), sensor noise."""
    exposure = 1.0 + dice.bell(EXPOSURE)
    table: list[int] = []
    steps = np.arange(256, dtype=np.float64)
    for gain in cam.gain:
        level = ((steps - 110.0) * cam.contrast + 110.0) * (gain * (exposure + dice.bell(CAST))) + cam.lift
        table += np.clip(level + 0.5, 0, 255).astype(np.int64).tolist()
    image = Image.fromarray((pixels + np.float32(0.5)).astype(np.uint8)).point(table)
    image = image.resize(size, Image.Resampling.BILINEAR)
    blur = dice.real(*cam.blur)
    if blur > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    grain = dice.bytes(3 * size[0] * size[1]).reshape(size[1], size[0], 3).astype(np.int16)
    shared = dice.bytes(size[0] * size[1]).reshape(size[1], size[0], 1).astype(np.int16)
    # A uniform byte has a spread of 74, so twice the shared one plus the channel's own has one of 165.
    noise = ((shared - 128) * 2 + (grain - 128)) * np.int16(cam.noise * 1024 / 165) // 1024
    exposed: npt.NDArray[np.uint8] = np.clip(np.asarray(image, np.int16) + noise, 0, 255).astype(np.uint8)
    return exposed
