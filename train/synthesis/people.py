"""Who is drawn: identities, families of look-alikes, and the three parts.

A *family* is one body in several outfits; each differs from the one before it in one to three slots. It
lies in one part whole, and makes the pairs of composed retrieval. Everyone else is a family of one. No
two people of a draw have equal attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .dice import Dice
from .wardrobe import GROUPS, SCHEMA, legal, new_outfit, reroll

PARTS = ("train", "val", "test")
PART_OF = 12  # one in so many people is in val, and again in test
MIN_PEOPLE = 12  # leaves two in val and in test, so that each part has a pair to compose
# How many of the people wear another outfit of the person before them: in training they make the triplets,
# in the other parts they are also what a text query is most easily mistaken about.
FAMILY_SHARE = {"train": 0.35, "val": 0.2, "test": 0.2}
MAX_CHANGES = 3  # slots in which the two may differ
OUTFIT = (
    "gender",
    "upper",
    "upper_color",
    "lower",
    "lower_color",
)  # the coarse combination that is also counted

Outfit = tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """One identity: every slot of the schema in ``attributes``; ``family`` is the pid of its first outfit."""

    pid: int
    part: str
    family: int
    attributes: Mapping[str, str]


def changes(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Slot → (value in a, value in b), where they differ."""
    return {slot: (a[slot], b[slot]) for slot in SCHEMA.slots if a[slot] != b[slot]}


def _another_outfit(attributes: Mapping[str, str], dice: Dice) -> dict[str, str]:
    """The same body, one to MAX_CHANGES slots different."""
    while True:
        new = dict(attributes)
        for _ in range(1 + dice.below(MAX_CHANGES)):
            reroll(dice.pick(GROUPS), new, dice)
        if legal(new) and 1 <= len(changes(attributes, new)) <= MAX_CHANGES:
            return new


def part_sizes(people: int) -> dict[str, int]:
    """How many people each part gets; val and test at least two."""
    held = max(2, people // PART_OF)
    return {"train": people - 2 * held, "val": held, "test": held}


def cast(people: int, seed: int) -> list[Person]:
    """All identities: train has pids 1…, then val, then test, without a gap."""
    dice = Dice(seed, 0)
    taken: set[Outfit] = set()
    everyone: list[Person] = []
    for part, size in part_sizes(people).items():
        start = len(everyone)
        while len(everyone) < start + size:
            position = len(everyone) - start
            before = everyone[-1] if position else None
            # The second person of a part always belongs to the first, so that no part is without a pair.
            if before is not None and (position == 1 or dice.chance(FAMILY_SHARE[part])):
                attributes, family = _another_outfit(before.attributes, dice), before.family
            else:
                attributes, family = new_outfit(dice.pick(("male", "female")), dice), len(everyone) + 1
            key = tuple(attributes.values())
            if key not in taken:
                taken.add(key)
                everyone.append(Person(len(everyone) + 1, part, family, attributes))
    return everyone


def pairs(everyone: list[Person]) -> list[tuple[Person, Person]]:
    """Ordered pairs of one family that differ in one to MAX_CHANGES slots, in order of pid."""
    families: dict[int, list[Person]] = {}
    for person in everyone:
        families.setdefault(person.family, []).append(person)
    return [
        (a, b)
        for a in everyone
        for b in families[a.family]
        if a is not b and len(changes(a.attributes, b.attributes)) <= MAX_CHANGES
    ]


def unseen_share(everyone: list[Person], slots: tuple[str, ...] | None = None) -> float:
    """Share of test's distinct combinations of these slots (all of them) that nobody in train has."""

    def combinations(part: str) -> set[Outfit]:
        chosen = slots or tuple(SCHEMA.slots)
        return {tuple(p.attributes[s] for s in chosen) for p in everyone if p.part == part}

    test = combinations("test")
    return len(test - combinations("train")) / len(test)
