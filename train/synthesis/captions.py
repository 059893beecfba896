"""Two English captions for a picture: what its person wears and carries, as far as this picture shows it.

Salient facts are nearly always said, small ones often, missing things seldom; the order, the wording and the
sentence plan vary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .dice import Dice
from .wardrobe import SCHEMA
from .words import COLOUR_WORDS, NOUNS, a_or_an, bottom, hair, listed, thing, top

SAID = {
    "hair": 0.8,
    "hat": 0.92,
    "pattern": 0.92,
    "sleeves": 0.45,
    "shoes": 0.72,
    "bag": 0.93,
    "carried": 0.93,
}
SAID_MISSING = 0.06  # "without a hat"
SAID_VIEW = 0.12  # "seen from behind"
AS_PROMPT = 0.1  # captions in the form of an attribute query, so that such queries are understood
PROMPT_MISSING = 0.4  # a prompt says missing things more often: "wearing no hat"
_VIEW = {
    "front": ("facing the camera", "seen from the front"),
    "back": ("seen from behind", "walking away"),
    "side": ("seen from the side", "walking past"),
}


_ANY = "|".join(sorted((w for words in COLOUR_WORDS.values() for w in words), key=len, reverse=True))
_COLOURS = rf"\b(?:{_ANY})(?:(?:-and-|, | and | or |-)(?:{_ANY}))*\b"
_TRAILING = re.compile(rf",? \bin {_COLOURS}(?=[.,;!?]|$| and | with )", re.IGNORECASE)
_LEADING = re.compile(rf"{_COLOURS}[- ]?", re.IGNORECASE)
_ARTICLE = re.compile(r"\b([Aa])n? (?=(\w))")


@dataclass(frozen=True)
class _Facts:
    """Phrases about one person; empty where nothing is said. Verbs come as a participle and finite."""

    noun: str
    he: str
    hair: str
    clothes: list[str]
    shoes: str
    doing: list[tuple[str, str]]
    view: str


def captions(a: Mapping[str, str], view: str, dice: Dice) -> list[str]:
    """Two different captions of a picture of someone with these attributes, seen from `view`."""
    first = caption(a, view, dice)
    while True:
        second = caption(a, view, dice)
        if second != first:
            return [first, second]


def caption(a: Mapping[str, str], view: str, dice: Dice) -> str:
    """One caption."""
    if dice.chance(AS_PROMPT):
        return _prompt(a, view, dice)
    facts = _facts(a, view, dice)
    plan = dice.pick((_plain, _plain, _dressed, _wearing, _terse, _staged))
    text = re.sub(r"\s+", " ", plan(facts, dice)).replace(" ,", ",").replace(" .", ".").strip()
    return text[0].upper() + text[1:]


def without_colours(caption: str) -> str:
    """The caption with its colour words taken out: "an orange coat" becomes "a coat"."""
    text = _LEADING.sub("", _TRAILING.sub("", caption))
    text = _ARTICLE.sub(lambda m: f"{m[1]}n " if m[2].lower() in "aeiou" else f"{m[1]} ", text)
    text = re.sub(r"\s+([.,;])", r"\1", re.sub(r"\s{2,}", " ", text)).strip()
    return text[:1].upper() + text[1:] if caption[:1].isupper() else text


def tokens(text: str) -> list[str]:
    """Lower-case words, as in CUHK-PEDES's ``processed_tokens``."""
    return re.findall(r"[a-z0-9]+(?:[-'][a-z0-9]+)*", text.lower())


def _facts(a: Mapping[str, str], view: str, dice: Dice) -> _Facts:
    said = {what: dice.chance(share) for what, share in SAID.items()}
    his = "his" if a["gender"] == "male" else "her"
    seen_pattern = said["pattern"] and not (a["pattern"] == "logo" and view != "front")
    clothes = [top(a, dice, seen_pattern, said["sleeves"])]
    if a["lower"] != "none":
        clothes.append(bottom(a, dice))
    doing = []
    if a["hat"] == "none":
        if dice.chance(SAID_MISSING):
            doing.append(("without a hat", "wears no hat"))
    elif said["hat"]:
        hat = thing("hat", a, dice)
        doing.append(dice.pick(((f"wearing {hat}", f"wears {hat}"), (f"with {hat} on", f"has {hat} on"))))
    if a["bag"] == "none":
        if dice.chance(SAID_MISSING):
            doing.append(("without a bag", "has no bag"))
    elif said["bag"]:
        doing.append(_bag(a, his, dice))
    if a["carried"] == "none":
        if dice.chance(SAID_MISSING):
            doing.append(("with empty hands", "carries nothing"))
    elif said["carried"]:
        doing.append(_carried(a, his, dice))
    return _Facts(
        noun=dice.pick(NOUNS["gender"][a["gender"]]),
        he="he" if a["gender"] == "male" else "she",
        hair=hair(a, dice) if said["hair"] else "",
        clothes=clothes,
        shoes=thing("shoes", a, dice) if said["shoes"] else "",
        doing=dice.shuffled(doing),
        view=dice.pick(_VIEW[view]) if dice.chance(SAID_VIEW) else "",
    )


def _prompt(a: Mapping[str, str], view: str, dice: Dice) -> str:
    """The schema's sentence for some of the attributes."""
    given = {"gender", "upper", "upper_color", "lower", "lower_color"}
    for group, share in SAID.items():
        share = PROMPT_MISSING if a[group] in ("none", "plain") else share
        if dice.chance(share) and not (a[group] == "logo" and view != "front"):
            given |= {group, "accent" if group == "pattern" else f"{group}_color"}
    return SCHEMA.sentence({slot: value for slot, value in a.items() if slot in given})


def _bag(a: Mapping[str, str], his: str, dice: Dice) -> tuple[str, str]:
    bag = thing("bag", a, dice)
    where = {
        "backpack": f"on {his} back",
        "shoulder bag": f"over {his} shoulder",
        "handbag": f"on {his} arm",
    }[a["bag"]]
    return dice.pick(
        (
            (f"carrying {bag}", f"carries {bag}"),
            (f"with {bag}", f"has {bag}"),
            (f"with {bag} {where}", f"has {bag} {where}"),
        )
    )


def _carried(a: Mapping[str, str], his: str, dice: Dice) -> tuple[str, str]:
    held = thing("carried", a, dice)
    match a["carried"]:
        case "phone":
            return dice.pick(
                (
                    ("talking on the phone", "is talking on the phone"),
                    (f"holding {held} to {his} ear", f"holds {held} to {his} ear"),
                    (f"with {held} at {his} ear", f"has {held} at {his} ear"),
                )
            )
        case "umbrella":
            return dice.pick(((f"under {held}", f"walks under {held}"), (f"holding {held}", f"holds {held}")))
        case "suitcase":
            return dice.pick(((f"pulling {held}", f"pulls {held}"), (f"with {held}", f"has {held}")))
        case "box":
            return dice.pick(
                ((f"carrying {held}", f"carries {held}"), (f"holding {held}", f"is holding {held}"))
            )
        case _:
            return dice.pick(
                ((f"holding {held}", f"holds {held}"), (f"carrying {held}", f"is carrying {held}"))
            )


def _dressing(facts: _Facts, dice: Dice) -> str:
    clothes = dice.shuffled(facts.clothes) if dice.chance(0.25) else list(facts.clothes)
    if facts.shoes:
        clothes.append(facts.shoes)
    return listed(clothes)


def _sentences(facts: _Facts, rest: list[tuple[str, str]], dice: Dice) -> str:
    """The remaining actions as one or two sentences about him or her."""
    if not rest:
        return ""
    he = facts.he.capitalize()
    if len(rest) > 1 and dice.chance(0.4):
        return f" {he} {rest[0][1]}. {he} {listed([r[1] for r in rest[1:]])}."
    return f" {he} {listed([r[1] for r in rest])}."


def _plain(facts: _Facts, dice: Dice) -> str:
    """A man with short black hair is wearing …. He carries …."""
    with_hair = f" with {facts.hair}" if facts.hair else ""
    verb = dice.pick(("wears", "is wearing", "has on"))
    view = f", {facts.view}," if facts.view else ""
    article = dice.pick((a_or_an(facts.noun), f"the {facts.noun}", f"this {facts.noun}"))
    return (
        f"{article}{with_hair}{view} {verb} {_dressing(facts, dice)}.{_sentences(facts, facts.doing, dice)}"
    )


def _dressed(facts: _Facts, dice: Dice) -> str:
    """A woman in a red coat and black trousers, with long hair, carrying …. She wears …."""
    taken = facts.doing[:1] if dice.chance(0.6) else []
    parts = [f"{a_or_an(facts.noun)} in {listed(list(facts.clothes))}"]
    parts += [f"with {facts.hair}"] if facts.hair else []
    parts += [facts.view] if facts.view else []
    parts += [t[0] for t in taken]
    rest = facts.doing[len(taken) :]
    rest = [("", f"wears {facts.shoes}"), *rest] if facts.shoes else rest
    return f"{', '.join(parts)}.{_sentences(facts, rest, dice)}"


def _wearing(facts: _Facts, dice: Dice) -> str:
    """Wearing a blue shirt and jeans, the man with grey hair carries …."""
    with_hair = f" with {facts.hair}" if facts.hair else ""
    verbs = [d[1] for d in facts.doing] or [dice.pick(("walks along", "stands there", "is on foot"))]
    view = f", {facts.view}" if facts.view else ""
    who = f"{dice.pick(('the', 'this', 'a'))} {facts.noun}{with_hair}"
    return f"wearing {_dressing(facts, dice)}, {who} {listed(verbs)}{view}."


def _terse(facts: _Facts, dice: Dice) -> str:
    """Woman, long blonde hair, red coat, …."""
    bare = [re.sub(r"^an? ", "", c) for c in facts.clothes]
    parts = [facts.hair] if facts.hair else []
    parts += bare + ([facts.shoes] if facts.shoes else []) + [d[0] for d in facts.doing]
    parts += [facts.view] if facts.view else []
    return f"{facts.noun}, {', '.join(dice.shuffled(parts) if dice.chance(0.3) else parts)}."


def _staged(facts: _Facts, dice: Dice) -> str:
    """There is a man who wears …; his hair is …."""
    opening = dice.pick(("there is", "the picture shows", "we see", "look for"))
    verb = dice.pick(("wears", "is wearing"))
    who = f"{opening} {a_or_an(facts.noun)} who {verb} {_dressing(facts, dice)}"
    view = f", {facts.view}" if facts.view else ""
    doing = list(facts.doing)
    if facts.hair:
        doing.insert(dice.below(len(doing) + 1), ("", f"has {facts.hair}"))
    return f"{who}{view}.{_sentences(facts, doing, dice)}"
