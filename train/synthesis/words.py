"""The words that captions and edit texts use for each value, and noun phrases built from them."""

from __future__ import annotations

from collections.abc import Mapping

from .dice import Dice
from .wardrobe import COLOURED_THINGS

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    **{c: (c,) for c in ("black", "white", "red", "orange", "yellow", "green", "blue", "pink", "brown")},
    "grey": ("grey", "grey", "gray"),
    "purple": ("purple", "purple", "violet"),
    "beige": ("beige", "beige", "tan"),
    "blonde": ("blonde", "blonde", "fair"),
    "ginger": ("ginger", "ginger", "auburn"),
}
NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "gender": {"male": ("man", "man", "guy", "gentleman"), "female": ("woman", "woman", "lady")},
    "hat": {
        "cap": ("cap", "baseball cap"),
        "beanie": ("beanie", "woolly hat", "knitted hat"),
        "brimmed hat": ("brimmed hat", "wide-brimmed hat", "sun hat"),
    },
    "upper": {
        "t-shirt": ("T-shirt", "T-shirt", "tee"),
        "shirt": ("shirt", "button-up shirt"),
        "sweater": ("sweater", "jumper", "pullover"),
        "hoodie": ("hoodie", "hooded top"),
        "jacket": ("jacket", "open jacket"),
        "coat": ("coat", "long coat", "overcoat"),
        "tank top": ("tank top", "sleeveless top"),
        "dress": ("dress",),
    },
    "lower": {
        "trousers": ("trousers", "pants"),
        "jeans": ("jeans", "denim jeans"),
        "leggings": ("leggings", "tights"),
        "shorts": ("shorts", "short trousers"),
        "skirt": ("skirt", "knee-length skirt"),
        "long skirt": ("long skirt", "ankle-length skirt"),
    },
    "shoes": {
        "trainers": ("trainers", "sneakers", "sports shoes"),
        "boots": ("boots",),
        "leather shoes": ("leather shoes", "shoes"),
        "sandals": ("sandals",),
    },
    "bag": {
        "backpack": ("backpack", "rucksack"),
        "shoulder bag": ("shoulder bag", "crossbody bag"),
        "handbag": ("handbag", "purse"),
    },
    "carried": {
        "umbrella": ("umbrella",),
        "phone": ("phone", "mobile phone"),
        "cup": ("cup", "paper cup", "coffee cup"),
        "box": ("box", "cardboard box"),
        "suitcase": ("suitcase", "trolley case"),
        "flowers": ("flowers", "bunch of flowers", "bouquet of flowers"),
    },
}
PATTERN_NOUNS = {
    "stripes": ("stripes", "horizontal stripes"),
    "vertical stripes": ("vertical stripes", "pinstripes"),
    "checks": ("checks", "plaid"),
    "dots": ("dots", "polka dots", "spots"),
    "logo": ("logo", "print on the chest", "logo on the front"),
}
PATTERN_WORDS = {
    "stripes": ("striped",),
    "vertical stripes": ("vertically striped", "pinstriped"),
    "checks": ("checked", "checkered", "plaid"),
    "dots": ("dotted", "polka-dot", "spotted"),
}
SLEEVE_WORDS = {"long": "long-sleeved", "short": "short-sleeved", "sleeveless": "sleeveless"}
HAIR_WORDS = {"short": ("short",), "shoulder-length": ("shoulder-length", "medium-length"), "long": ("long",)}


def a_or_an(phrase: str) -> str:
    """The phrase after its indefinite article."""
    return f"an {phrase}" if phrase[0].lower() in "aeiou" else f"a {phrase}"


def colour(name: str, dice: Dice) -> str:
    """A word for the colour."""
    return dice.pick(COLOUR_WORDS[name])


def top(a: Mapping[str, str], dice: Dice, pattern: bool = True, sleeves: bool = True) -> str:
    """The upper garment, e.g. "a red long-sleeved T-shirt with white stripes"."""
    noun = dice.pick(NOUNS["upper"][a["upper"]])
    if sleeves and a["upper"] not in ("tank top", "sweater", "hoodie", "jacket", "coat"):
        noun = f"{SLEEVE_WORDS[a['sleeves']]} {noun}"
    base = colour(a["upper_color"], dice)
    kind = a["pattern"] if pattern else "plain"
    if kind == "plain":
        return a_or_an(f"plain {base} {noun}" if pattern and dice.chance(0.12) else f"{base} {noun}")
    accent = colour(a["accent"], dice)
    if kind == "logo":
        return f"{a_or_an(f'{base} {noun}')} with {a_or_an(f'{accent} {dice.pick(PATTERN_NOUNS[kind])}')}"
    worn = dice.pick(PATTERN_WORDS[kind])
    match dice.below(5):
        case 0:
            return a_or_an(f"{base} and {accent} {worn} {noun}")
        case 1:
            return a_or_an(f"{base} {worn} {noun}")
        case _:
            return f"{a_or_an(f'{base} {noun}')} with {accent} {dice.pick(PATTERN_NOUNS[kind])}"


def bottom(a: Mapping[str, str], dice: Dice) -> str:
    """The lower garment, e.g. "black trousers" or "a long red skirt"."""
    noun, shade = dice.pick(NOUNS["lower"][a["lower"]]), colour(a["lower_color"], dice)
    if "skirt" not in a["lower"]:
        return f"{shade} {noun}"
    length, _, skirt = noun.rpartition(" ")
    return a_or_an(f"{length} {shade} {skirt}" if length == "long" else f"{shade} {noun}")


def thing(slot: str, a: Mapping[str, str], dice: Dice, article: bool = True) -> str:
    """A hat, a bag, shoes or what is carried, with its colour where the schema has one."""
    noun = dice.pick(NOUNS[slot][a[slot]])
    if slot == "shoes":
        return f"{colour(a['shoes_color'], dice)} {noun}"
    if slot != "carried" or a[slot] in COLOURED_THINGS:
        noun = f"{colour(a[f'{slot}_color'], dice)} {noun}"
    return a_or_an(noun) if article and noun != "flowers" else noun


def hair(a: Mapping[str, str], dice: Dice) -> str:
    """What follows "with", e.g. "short black hair" or "a bald head"."""
    if a["hair"] == "bald":
        return dice.pick(("a bald head", "no hair"))
    shade = colour(a["hair_color"], dice)
    if a["hair"] == "tied back":
        ponytail = a_or_an(f"{shade} ponytail")
        return dice.pick((f"{shade} hair tied back", ponytail, f"{shade} hair in a ponytail"))
    return f"{dice.pick(HAIR_WORDS[a['hair']])} {shade} hair"


def listed(parts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
