"""The text that turns one outfit into another: only what changes, in the words of the new one."""

from __future__ import annotations

from collections.abc import Mapping

from .dice import Dice
from .people import changes
from .words import COLOUR_WORDS, NOUNS, PATTERN_NOUNS, a_or_an, bottom, colour, hair, listed, thing, top


def edit_text(a: Mapping[str, str], b: Mapping[str, str], dice: Dice) -> str:
    """How to get from someone with attributes a to someone with b, e.g. "in a blue coat, without the hat"."""
    changed = set(changes(a, b))
    parts = [p for p in (make(a, b, changed, dice) for make in dice.shuffled(_MAKERS)) if p]
    text = listed(parts) if dice.chance(0.6) else ", ".join(parts)
    match dice.below(5):
        case 0:
            return f"{text} instead" if " instead" not in text and "without" not in text else text
        case 1:
            return f"the same person {text}"
        case 2:
            return f"now {text}"
        case _:
            return text


def _hair(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    if "hair" in changed and "hair_color" not in changed and b["hair"] != "tied back" and dice.chance(0.5):
        return f"with {b['hair']} hair"
    if changed & {"hair", "hair_color"}:
        return f"with {hair(b, dice)}"
    return ""


def _top(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    mine = changed & {"upper", "upper_color", "pattern", "accent", "sleeves"}
    noun = dice.pick(NOUNS["upper"][b["upper"]])
    if not mine:
        return ""
    if mine == {"upper_color"} and dice.chance(0.6):
        old, new = colour(a["upper_color"], dice), colour(b["upper_color"], dice)
        return dice.pick(
            (f"in {a_or_an(new)} {noun}", f"with {a_or_an(new)} {noun} instead of {a_or_an(old)} one")
        )
    if mine == {"sleeves"}:
        return {"long": "with long sleeves", "short": "with short sleeves", "sleeveless": "with no sleeves"}[
            b["sleeves"]
        ]
    if mine <= {"pattern", "accent"}:
        if b["pattern"] == "plain":
            return dice.pick(
                (f"in a plain {noun}", f"without the {PATTERN_NOUNS[a['pattern']][0]} on the {noun}")
            )
        accent, marks = colour(b["accent"], dice), dice.pick(PATTERN_NOUNS[b["pattern"]])
        if b["pattern"] == "logo":
            return f"with {a_or_an(accent)} {marks}"
        return f"with {accent} {marks} on the {noun}"
    if mine == {"upper"} and dice.chance(0.5):
        return f"in {a_or_an(noun)} instead of {a_or_an(NOUNS['upper'][a['upper']][0])}"
    spoken = top(b, dice, bool(mine & {"pattern", "accent"}) or b["pattern"] != "plain", "sleeves" in mine)
    if mine & {"accent", "pattern"} and b["accent"] != "none" and not _says(spoken, b["accent"]):
        spoken += f" with {colour(b['accent'], dice)} details"
    if "pattern" in mine and b["pattern"] == "plain" and "plain" not in spoken:
        spoken += " with no pattern"
    return f"{dice.pick(('in', 'wearing'))} {spoken}"


def _says(phrase: str, name: str) -> bool:
    return any(word in phrase for word in COLOUR_WORDS[name])


def _bottom(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    mine = changed & {"lower", "lower_color"}
    if not mine or b["lower"] == "none":
        return ""
    if mine == {"lower_color"} and dice.chance(0.4):
        return f"with {bottom(b, dice)} instead of {colour(a['lower_color'], dice)}"
    return f"{dice.pick(('in', 'wearing', 'with'))} {bottom(b, dice)}"


def _shoes(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    if not changed & {"shoes", "shoes_color"}:
        return ""
    return f"{dice.pick(('in', 'wearing', 'with'))} {thing('shoes', b, dice)}"


def _hat(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    if not changed & {"hat", "hat_color"}:
        return ""
    if b["hat"] == "none":
        return dice.pick((f"without the {NOUNS['hat'][a['hat']][0]}", "without a hat", "wearing no hat"))
    return f"{dice.pick(('wearing', 'with'))} {thing('hat', b, dice)}"


def _bag(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    if not changed & {"bag", "bag_color"}:
        return ""
    if b["bag"] == "none":
        return dice.pick((f"without the {NOUNS['bag'][a['bag']][0]}", "without a bag", "carrying no bag"))
    return f"{dice.pick(('carrying', 'with'))} {thing('bag', b, dice)}"


def _carried(a: Mapping[str, str], b: Mapping[str, str], changed: set[str], dice: Dice) -> str:
    if not changed & {"carried", "carried_color"}:
        return ""
    if b["carried"] == "none":
        return dice.pick((f"without the {NOUNS['carried'][a['carried']][0]}", "with nothing in the hands"))
    verbs = {"suitcase": ("pulling", "with"), "umbrella": ("holding", "under")}.get(
        b["carried"], ("carrying", "holding")
    )
    return f"{dice.pick(verbs)} {thing('carried', b, dice)}"


_MAKERS = (_hair, _top, _bottom, _shoes, _hat, _bag, _carried)
