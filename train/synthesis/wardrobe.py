"""What people may look like: attribute slots and values, how common each is, what goes together, and the
prompt sentence of a set of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sdk.attributes import Schema

from .dice import Dice

COLOURS = (
    "black",
    "white",
    "grey",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "beige",
)
_TOP: dict[str, float] = dict(zip(COLOURS, (7, 6, 5, 6, 3, 4, 5, 6, 4, 4, 3, 3), strict=True))
_BOTTOM: dict[str, float] = dict(zip(COLOURS, (8, 4, 6, 3, 1, 1, 3, 6, 2, 2, 4, 5), strict=True))
_SMALL: dict[str, float] = dict(zip(COLOURS, (5, 3, 3, 4, 2, 2, 3, 4, 2, 2, 3, 2), strict=True))
_SHOES: dict[str, float] = {
    "black": 6,
    "white": 6,
    "grey": 3,
    "red": 3,
    "blue": 3,
    "brown": 5,
    "yellow": 1,
    "pink": 1,
    "green": 1,
}
_HAIR: dict[str, float] = {"black": 6, "brown": 6, "blonde": 4, "ginger": 2, "grey": 2}
_JEANS: dict[str, float] = {"blue": 6, "black": 2, "grey": 2, "white": 1}
_PATTERNS: dict[str, float] = {
    "plain": 10,
    "stripes": 4,
    "vertical stripes": 2,
    "checks": 3,
    "dots": 2,
    "logo": 3,
}
_UPPERS: dict[str, dict[str, float]] = {
    "male": {"t-shirt": 6, "shirt": 4, "sweater": 4, "hoodie": 3, "jacket": 5, "coat": 3, "tank top": 1.5},
    "female": {
        "t-shirt": 5,
        "shirt": 3,
        "sweater": 4,
        "hoodie": 2,
        "jacket": 4,
        "coat": 3,
        "tank top": 2,
        "dress": 5,
    },
}
_SLEEVES: dict[str, dict[str, float]] = {
    "t-shirt": {"short": 5, "long": 1},
    "shirt": {"long": 4, "short": 2},
    "tank top": {"sleeveless": 1},
    "dress": {"short": 3, "long": 2, "sleeveless": 3},
}
_LOWERS: dict[str, dict[str, float]] = {
    "male": {"trousers": 5, "jeans": 5, "shorts": 3},
    "female": {"trousers": 4, "jeans": 3, "leggings": 2, "shorts": 2, "skirt": 3, "long skirt": 2},
}
_HAIRS: dict[str, dict[str, float]] = {
    "male": {"bald": 1.5, "short": 9, "shoulder-length": 1.5, "tied back": 0.7},
    "female": {"short": 2.5, "shoulder-length": 4, "long": 5, "tied back": 4},
}
_HATS: dict[str, float] = {"none": 12, "cap": 3, "beanie": 2.5, "brimmed hat": 2}
_FOOTWEAR: dict[str, dict[str, float]] = {
    "male": {"trainers": 6, "boots": 3, "leather shoes": 3, "sandals": 1},
    "female": {"trainers": 5, "boots": 4, "leather shoes": 2, "sandals": 2},
}
_BAGS: dict[str, dict[str, float]] = {
    "male": {"none": 5, "backpack": 4, "shoulder bag": 3},
    "female": {"none": 4, "backpack": 3, "shoulder bag": 3, "handbag": 3},
}
_CARRIED: dict[str, float] = {
    "none": 9,
    "umbrella": 1.3,
    "phone": 1.6,
    "cup": 1.3,
    "box": 1.3,
    "suitcase": 1.6,
    "flowers": 1.2,
}
COLOURED_THINGS = ("umbrella", "suitcase")

_PLAIN = {colour: colour for colour in COLOURS}
_OPTIONAL = {"none": "", **_PLAIN}
_ARTICLE = {colour: f"an {colour}" if colour[0] == "o" else f"a {colour}" for colour in COLOURS}

SCHEMA = Schema(
    name="drawn",
    slots={
        "gender": {"male": "man", "female": "woman"},
        "hair": {
            "bald": "no",
            "short": "short",
            "shoulder-length": "shoulder-length",
            "long": "long",
            "tied back": "tied-back",
        },
        "hair_color": {"none": "", **{c: c for c in _HAIR}},
        "hat": {"none": "no hat", "cap": "a cap", "beanie": "a beanie", "brimmed hat": "a brimmed hat"},
        "hat_color": _OPTIONAL,
        "upper": {"t-shirt": "T-shirt", **{u: u for u in _UPPERS["female"] if u != "t-shirt"}},
        "upper_color": _ARTICLE,
        "pattern": {
            "plain": "no pattern",
            "logo": "logo print",
            **{p: p for p in ("stripes", "vertical stripes", "checks", "dots")},
        },
        "accent": _OPTIONAL,
        "sleeves": {"long": "long sleeves", "short": "short sleeves", "sleeveless": "no sleeves"},
        "lower": {
            "none": "",
            "skirt": "a skirt",
            "long skirt": "a long skirt",
            **{w: w for w in ("trousers", "jeans", "leggings", "shorts")},
        },
        "lower_color": _OPTIONAL,
        "shoes": {s: s for s in _FOOTWEAR["male"]},
        "shoes_color": {c: c for c in _SHOES},
        "bag": {"none": "no bag", **{b: f"a {b}" for b in ("backpack", "shoulder bag", "handbag")}},
        "bag_color": _OPTIONAL,
        "carried": {
            "none": "nothing",
            "umbrella": "an umbrella",
            "flowers": "flowers",
            **{c: f"a {c}" for c in ("phone", "cup", "box", "suitcase")},
        },
        "carried_color": _OPTIONAL,
    },
    clauses=(
        ("A {gender}", "A person"),
        ("with {hair} {hair_color} hair", "with {hair} hair", "with {hair_color} hair"),
        ("wearing {upper_color} {upper}", "wearing {upper_color} top", "wearing a {upper}"),
        ("with {accent} {pattern}", "with {pattern}", "with {accent} details"),
        ("with {sleeves}",),
        ("{lower} in {lower_color}", "{lower}", "{lower_color} legwear"),
        ("{shoes_color} {shoes}", "{shoes}", "{shoes_color} footwear"),
        ("wearing {hat} in {hat_color}", "wearing {hat}", "wearing a hat in {hat_color}"),
        ("with {bag} in {bag_color}", "with {bag}", "with a bag in {bag_color}"),
        ("carrying {carried} in {carried_color}", "carrying {carried}", "carrying something {carried_color}"),
    ),
)
VIEWS = ("front", "side", "back")


def legal(a: Mapping[str, str]) -> bool:
    """Slots that hang together do, and nothing is drawn over what makes it visible."""
    upper, pattern = a["upper"], a["pattern"]
    dress = upper == "dress"
    return (
        upper in _UPPERS[a["gender"]]
        and a["hair"] in _HAIRS[a["gender"]]
        and (a["hair"] == "bald") == (a["hair_color"] == "none")
        and (a["hat"] == "none") == (a["hat_color"] == "none")
        and (pattern == "plain") == (a["accent"] == "none")
        and a["accent"] != a["upper_color"]
        and a["sleeves"] in _SLEEVES.get(upper, {"long": 1})
        and not (upper in ("jacket", "coat") and pattern in ("dots", "logo"))
        and not (dress and pattern == "logo")
        and dress == (a["lower"] == "none") == (a["lower_color"] == "none")
        and (dress or a["lower"] in _LOWERS[a["gender"]])
        and (a["lower"] != "jeans" or a["lower_color"] in _JEANS)
        and (a["bag"] == "none") == (a["bag_color"] == "none")
        and a["bag"] in _BAGS[a["gender"]]
        and not (a["bag"] == "handbag" and a["carried"] == "suitcase")
        and not (a["hat"] == "brimmed hat" and a["carried"] == "umbrella")
        and (a["carried"] in COLOURED_THINGS) == (a["carried_color"] != "none")
    )


GROUPS = (
    *("hair", "hair_color", "hat", "hat_color", "upper", "upper_color", "pattern", "lower", "lower_color"),
    *("shoes", "shoes_color", "bag", "bag_color", "carried"),
)


def reroll(group: str, a: dict[str, str], dice: Dice) -> None:
    """Throw one group of slots anew, in place. The result need not be legal."""
    gender = a["gender"]
    match group:
        case "hair":
            a["hair"] = dice.weighted(_HAIRS[gender])
            if a["hair"] == "bald":
                a["hair_color"] = "none"
            elif a.get("hair_color", "none") == "none":
                a["hair_color"] = dice.weighted(_HAIR)
        case "hair_color" if a["hair_color"] != "none":
            a["hair_color"] = dice.weighted(_HAIR)
        case "hat":
            a["hat"] = dice.weighted(_HATS)
            a["hat_color"] = "none" if a["hat"] == "none" else dice.weighted(_SMALL)
        case "upper":
            a["upper"] = dice.weighted(_UPPERS[gender])
            a["sleeves"] = dice.weighted(_SLEEVES.get(a["upper"], {"long": 1}))
        case "upper_color":
            a["upper_color"] = dice.weighted(_TOP)
        case "pattern":
            a["pattern"] = dice.weighted(_PATTERNS)
            a["accent"] = "none" if a["pattern"] == "plain" else dice.weighted(_TOP)
        case "lower":
            dress = a["upper"] == "dress"
            a["lower"] = "none" if dress else dice.weighted(_LOWERS[gender])
            a["lower_color"] = (
                "none" if dress else dice.weighted(_JEANS if a["lower"] == "jeans" else _BOTTOM)
            )
        case "lower_color" if a["lower"] != "none":
            a["lower_color"] = dice.weighted(_JEANS if a["lower"] == "jeans" else _BOTTOM)
        case "shoes":
            a["shoes"] = dice.weighted(_FOOTWEAR[gender])
            a["shoes_color"] = a.get("shoes_color") or dice.weighted(_SHOES)
        case "shoes_color":
            a["shoes_color"] = dice.weighted(_SHOES)
        case "bag":
            a["bag"] = dice.weighted(_BAGS[gender])
            a["bag_color"] = "none" if a["bag"] == "none" else dice.weighted(_SMALL)
        case "bag_color" | "hat_color" if a[group] != "none":
            a[group] = dice.weighted(_SMALL)
        case "carried":
            a["carried"] = dice.weighted(_CARRIED)
            a["carried_color"] = dice.weighted(_SMALL) if a["carried"] in COLOURED_THINGS else "none"


def new_outfit(gender: str, dice: Dice) -> dict[str, str]:
    """A legal set of all slots, in schema order."""
    while True:
        a = {"gender": gender}
        for group in GROUPS:
            reroll(group, a, dice)
        if legal(a):
            return {slot: a[slot] for slot in SCHEMA.slots}
