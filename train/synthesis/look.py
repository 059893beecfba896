"""The body and the exact shades of one identity: what its attributes leave open, fixed once per person."""

from __future__ import annotations

from dataclasses import dataclass

from .brush import Colour, darker
from .dice import Dice
from .people import Person

TONE_SPREAD = 7.0  # how far two people's "red" lie apart in brightness, of 255
HUE_SPREAD = 3.0  # and in each channel besides

SHADES: dict[str, Colour] = {
    "black": (40, 40, 45),
    "white": (233, 232, 228),
    "grey": (134, 136, 141),
    "red": (188, 36, 42),
    "orange": (228, 122, 36),
    "yellow": (233, 204, 62),
    "green": (48, 126, 68),
    "blue": (42, 84, 174),
    "purple": (112, 60, 146),
    "pink": (238, 146, 180),
    "brown": (110, 72, 46),
    "beige": (210, 186, 148),
}
_HAIR: dict[str, Colour] = {
    "black": (34, 30, 30),
    "brown": (92, 58, 36),
    "blonde": (218, 184, 112),
    "ginger": (176, 82, 34),
    "grey": (172, 172, 172),
    "none": (0, 0, 0),
}
_JEANS: dict[str, Colour] = {
    "blue": (62, 90, 142),
    "black": (48, 49, 56),
    "grey": (120, 124, 132),
    "white": (222, 222, 220),
}
_SKIN: tuple[Colour, ...] = ((240, 205, 180), (228, 184, 152), (205, 156, 118), (160, 112, 80), (112, 76, 56))
_UNDERSHIRT: tuple[Colour, ...] = ((226, 226, 224), (60, 62, 70), (150, 150, 156), (196, 186, 168))


@dataclass(frozen=True)
class Look:
    """Colours as (r, g, b) in 0…255; ``build`` is breadth and ``height`` stature, both about 1."""

    skin: Colour
    hair: Colour
    hat: Colour
    upper: Colour
    accent: Colour
    lower: Colour
    shoes: Colour
    bag: Colour
    carried: Colour
    undershirt: Colour
    build: float
    height: float


def look_of(person: Person, seed: int) -> Look:
    """The same for every picture of the person; body and skin are the same in the whole family."""
    body, cloth = Dice(seed, 1, person.family), Dice(seed, 2, person.pid)
    a = person.attributes

    def shade(table: dict[str, Colour], name: str) -> Colour:
        base = table.get(name, (0.0, 0.0, 0.0))
        level = cloth.bell(TONE_SPREAD)
        red, green, blue = (min(250.0, max(18.0, c + level + cloth.bell(HUE_SPREAD))) for c in base)
        return (red, green, blue)

    male = a["gender"] == "male"
    return Look(
        skin=body.pick(_SKIN),
        hair=darker(_HAIR[a["hair_color"]], body.real(0.9, 1.1)),
        build=1.0 + body.bell(0.055),
        height=(1.0 if male else 0.95) + body.bell(0.03),
        hat=shade(SHADES, a["hat_color"]),
        upper=shade(SHADES, a["upper_color"]),
        accent=shade(SHADES, a["accent"]),
        lower=shade(_JEANS if a["lower"] == "jeans" else SHADES, a["lower_color"]),
        shoes=shade(SHADES, a["shoes_color"]),
        bag=shade(SHADES, a["bag_color"]),
        carried=shade(SHADES, a["carried_color"]),
        undershirt=cloth.pick(_UNDERSHIRT),
    )
