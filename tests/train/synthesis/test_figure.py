"""The figure shows what its attributes say, in every view that can show it."""

from collections.abc import Mapping

import numpy as np
import pytest

from train.synthesis.brush import Brush, Paint
from train.synthesis.dice import Dice
from train.synthesis.figure import draw_person
from train.synthesis.frame import Frame
from train.synthesis.look import look_of
from train.synthesis.people import Person
from train.synthesis.pose import stand
from train.synthesis.wardrobe import SCHEMA, VIEWS

PLAIN = {
    "gender": "female",
    "hair": "short",
    "hair_color": "brown",
    "hat": "none",
    "hat_color": "none",
    "upper": "t-shirt",
    "upper_color": "white",
    "pattern": "plain",
    "accent": "none",
    "sleeves": "short",
    "lower": "trousers",
    "lower_color": "grey",
    "shoes": "leather shoes",
    "shoes_color": "black",
    "bag": "none",
    "bag_color": "none",
    "carried": "none",
    "carried_color": "none",
}


def painted(a: Mapping[str, str], view: str, mirror: bool = False) -> np.ndarray:
    """(300, 150, 3) the figure on grey, its body 240 px high."""
    pixels = np.full((300, 150, 3), 128, np.float32)
    look = look_of(Person(1, "test", 1, a), 0)
    pose = stand(view, look.build, a["gender"], a["carried"], Dice(2))
    draw_person(Frame(Brush(pixels), 75.0, 45.0, 2.4, mirror), look, a, pose)
    return pixels


def changed(first: np.ndarray, second: np.ndarray, level: int = 24) -> int:
    """How many pixels differ by more than `level` of 255."""
    return int((np.abs(first - second).max(2) > level).sum())


def dressed(slot: str, value: str) -> dict[str, str]:
    """PLAIN with one slot changed, and what that needs."""
    a = {**PLAIN, slot: value}
    if slot in ("hat", "bag"):
        a[f"{slot}_color"] = "red"
    if value in ("umbrella", "suitcase"):
        a["carried_color"] = "red"
    if slot == "pattern":
        a["accent"] = "blue"
    if value == "dress":
        a |= {"lower": "none", "lower_color": "none"}
    return a


KINDS = [
    (slot, value)
    for slot in ("gender", "hair", "hat", "upper", "pattern", "sleeves", "lower", "shoes", "bag", "carried")
    for value in SCHEMA.slots[slot]
    if value not in ("none", PLAIN[slot])
]


@pytest.mark.parametrize(("slot", "value"), KINDS)
def test_every_kind_is_seen(slot: str, value: str) -> None:
    for view in VIEWS:
        if value == "logo" and view != "front":  # printed on the chest; captions don't name it elsewhere
            continue
        assert changed(painted(PLAIN, view), painted(dressed(slot, value), view)) >= 60, view


@pytest.mark.parametrize("slot", ["hair", "hat", "upper", "lower", "shoes", "bag", "carried"])
def test_kinds_of_one_slot_differ_from_each_other(slot: str) -> None:
    outfits = [dressed(s, v) for s, v in KINDS if s == slot]
    for view in VIEWS:
        figures = [painted(a, view) for a in outfits]
        for i, first in enumerate(figures):
            for second in figures[:i]:
                assert changed(first, second) >= 60


@pytest.mark.parametrize(
    ("slot", "wearing"),
    [
        ("hair_color", {}),
        ("hat_color", {"hat": "cap"}),
        ("upper_color", {}),
        ("lower_color", {}),
        ("shoes_color", {}),
        ("bag_color", {"bag": "handbag"}),
        ("carried_color", {"carried": "suitcase"}),
        ("accent", {"pattern": "dots"}),
    ],
)
def test_every_colour_is_seen(slot: str, wearing: dict[str, str]) -> None:
    for view in VIEWS:
        red = {**PLAIN, **wearing, slot: "ginger" if slot == "hair_color" else "red"}
        black = {**red, slot: "black"}
        assert changed(painted(red, view), painted(black, view)) >= 60


def test_views_differ_and_a_mirrored_figure_is_the_mirror_image() -> None:
    shown = {view: painted({**PLAIN, "carried": "cup"}, view) for view in VIEWS}
    assert changed(shown["front"], shown["back"]) > 60
    assert changed(shown["front"], shown["side"]) > 600
    for view in VIEWS:
        mirrored = painted({**PLAIN, "carried": "cup"}, view, mirror=True)
        assert changed(mirrored[:, ::-1], shown[view], level=70) < 30  # only cloth folds don't turn with it


def test_the_figure_stays_in_its_place() -> None:
    for _, value in KINDS:
        slot = next(s for s, v in KINDS if v == value)
        for view in VIEWS:
            touched = np.abs(painted(dressed(slot, value), view) - 128).max(2) > 1
            rows = np.flatnonzero(touched.any(1))
            assert rows[0] >= 5  # an open umbrella reaches 15 units above the head
            assert 280 <= rows[-1] <= 292


def test_shapes_cover_their_area() -> None:
    pixels = np.zeros((60, 60, 3), np.float32)
    brush = Brush(pixels)
    white = Paint((255.0, 255.0, 255.0), round=0.0)
    brush.box(10, 10, 30, 20, white)
    assert pixels[..., 0].sum() / 255 == pytest.approx(200, rel=0.01)
    assert pixels[15, 20].tolist() == [255.0] * 3
    pixels[:] = 0
    brush.oval((30, 30), 10, 20, white)
    assert pixels[..., 0].sum() / 255 == pytest.approx(np.pi * 200, rel=0.03)
    pixels[:] = 0
    brush.limb((10, 10), (10, 40), 5, 5, white)
    assert pixels[..., 0].sum() / 255 == pytest.approx(300 + np.pi * 25, rel=0.02)
    pixels[:] = 0
    brush.strip(((10, 20, 20), (30, 0, 40)), white)
    assert pixels[..., 0].sum() / 255 == pytest.approx(400, rel=0.03)


def test_shapes_outside_the_canvas_paint_nothing() -> None:
    pixels = np.zeros((20, 20, 3), np.float32)
    brush, white = Brush(pixels), Paint((255.0, 255.0, 255.0))
    brush.box(-30, -30, -10, -10, white)
    brush.oval((50, 5), 10, 10, white)
    brush.limb((5, 60), (5, 90), 4, 4, white)
    assert not pixels.any()
    brush.box(15, 15, 40, 40, white)  # cut at the edge
    assert pixels[16:, 16:].all()


@pytest.mark.parametrize(
    ("pattern", "share"), [("stripes", 0.5), ("vertical stripes", 0.5), ("checks", 0.5), ("dots", 0.28)]
)
def test_patterns_cover_their_share(pattern: str, share: float) -> None:
    pixels = np.zeros((128, 128, 3), np.float32)
    white = (255.0, 255.0, 255.0)
    Brush(pixels).box(0, 0, 128, 128, Paint((0.0, 0.0, 0.0), 0.0, 0.0, pattern, white, 16.0))
    assert pixels[2:-2, 2:-2, 0].mean() / 255 == pytest.approx(share, abs=0.04)
