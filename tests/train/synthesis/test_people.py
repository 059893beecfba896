"""Who is drawn: parts, families, attribute sets, the prompt schema."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk.attributes import Schema
from train.synthesis.dice import Dice
from train.synthesis.people import MAX_CHANGES, OUTFIT, Person, cast, changes, pairs, unseen_share
from train.synthesis.wardrobe import GROUPS, SCHEMA, legal, new_outfit, reroll


@pytest.fixture(scope="module")
def everyone() -> list[Person]:
    return cast(400, 3)


def test_the_same_seed_casts_the_same_people_and_another_seed_others() -> None:
    assert cast(30, 5) == cast(30, 5)
    assert [p.attributes for p in cast(30, 5)] != [p.attributes for p in cast(30, 6)]


@pytest.mark.parametrize(("people", "held"), [(12, 2), (25, 2), (400, 33), (1800, 150)])
def test_parts_have_their_sizes_and_pids_have_no_gap(people: int, held: int) -> None:
    drawn = cast(people, 0)
    assert [p.pid for p in drawn] == list(range(1, people + 1))
    assert [p.part for p in drawn] == ["train"] * (people - 2 * held) + ["val"] * held + ["test"] * held


def test_attribute_sets_are_distinct_legal_and_whole(everyone: list[Person]) -> None:
    assert len({tuple(p.attributes.items()) for p in everyone}) == len(everyone)
    for person in everyone:
        assert list(person.attributes) == list(SCHEMA.slots)
        assert SCHEMA.check(person.attributes) == person.attributes
        assert legal(person.attributes)


def test_a_family_is_one_body_in_one_part_and_follows_small_steps(everyone: list[Person]) -> None:
    members = 0
    for before, person in pairwise(everyone):
        if person.family == before.family:
            members += 1
            assert person.part == before.part
            assert person.attributes["gender"] == before.attributes["gender"]
            assert 1 <= len(changes(before.attributes, person.attributes)) <= MAX_CHANGES
    assert 0.2 < members / len(everyone) < 0.5


def test_pairs_run_both_ways_within_a_part_and_every_part_has_one(everyone: list[Person]) -> None:
    found = {(a.pid, b.pid) for a, b in pairs(everyone)}
    assert all((b, a) in found for a, b in found)
    for a, b in pairs(everyone):
        assert a.part == b.part
        assert 1 <= len(changes(a.attributes, b.attributes)) <= MAX_CHANGES
    assert {a.part for a, _ in pairs(cast(12, 0))} == {"train", "val", "test"}


def test_at_least_half_of_the_test_combinations_are_new(everyone: list[Person]) -> None:
    assert unseen_share(everyone) >= 0.5
    assert unseen_share(everyone, OUTFIT) >= 0.5


def test_the_unseen_share_counts_distinct_combinations() -> None:
    people = [
        Person(1, "train", 1, {"hat": "cap", "bag": "none"}),
        Person(2, "test", 2, {"hat": "cap", "bag": "none"}),
        Person(3, "test", 3, {"hat": "cap", "bag": "handbag"}),
        Person(4, "test", 4, {"hat": "cap", "bag": "handbag"}),
    ]
    assert unseen_share(people, ("hat", "bag")) == 0.5
    assert unseen_share(people, ("hat",)) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"hair": "bald", "hair_color": "brown"},
        {"hat": "none", "hat_color": "red"},
        {"upper": "dress", "lower": "skirt"},
        {"pattern": "stripes", "accent": "none"},
        {"lower": "jeans", "lower_color": "pink"},
        {"upper": "tank top", "sleeves": "long"},
    ],
)
def test_what_does_not_go_together_is_not_legal(wrong: dict[str, str]) -> None:
    sound = dict(
        cast(12, 0)[0].attributes,
        gender="female",
        upper="t-shirt",
        sleeves="short",
        pattern="plain",
        accent="none",
    )
    sound |= {"lower": "trousers", "lower_color": "black", "hat": "none", "hat_color": "none"}
    sound |= {"hair": "short", "hair_color": "brown"}
    assert legal(sound)
    assert not legal({**sound, **wrong})


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.sets(st.sampled_from(sorted(SCHEMA.slots)), min_size=1))
def test_the_prompt_of_any_part_of_an_outfit_is_a_sentence(seed: int, slots: set[str]) -> None:
    outfit = new_outfit("female" if seed % 2 else "male", Dice(seed))
    sentence = SCHEMA.sentence({slot: outfit[slot] for slot in slots})
    assert sentence.startswith(("A man", "A woman", "A person"))
    assert sentence.endswith(".")
    assert "{" not in sentence
    assert not re.search(r"  | ,|\ba [aeiou]|\ban [^aeiou]|\ba an?\b", sentence), sentence


def test_every_slot_that_says_something_is_heard_in_the_prompt() -> None:
    outfit = new_outfit("male", Dice(4))
    for slot, value in outfit.items():
        phrase = SCHEMA.slots[slot][value]
        assert phrase in SCHEMA.sentence({slot: value})


def test_the_schema_survives_json() -> None:
    assert Schema.from_json(SCHEMA.to_json()).to_json() == SCHEMA.to_json()


def test_every_group_of_slots_can_be_rerolled() -> None:
    touched = set()
    for seed in range(60):
        before = new_outfit("female", Dice(seed))
        for group in GROUPS:
            after = dict(before)
            reroll(group, after, Dice(seed, 1))
            touched |= set(changes(before, after))
    assert touched == set(SCHEMA.slots) - {"gender"}


@settings(max_examples=50, deadline=None)
@given(key=st.lists(st.integers(0, 2**63), min_size=1, max_size=4), n=st.integers(1, 10_000))
def test_dice_stay_within_their_bounds(key: list[int], n: int) -> None:
    dice = Dice(*key)
    assert 0 <= dice.below(n) < n
    assert -2.0 <= dice.real(-2.0, 5.0) < 5.0
    assert abs(dice.bell(2.0)) <= 6.0
    assert sorted(dice.shuffled(range(n % 50))) == list(range(n % 50))
    assert len(dice.bytes(n)) == n
    assert dice.weighted({"never": 0.0, "always": 1.0}) == "always"


def test_dice_throw_the_words_of_pcg64() -> None:
    # From NumPy's own documentation of seeding: the state is a pure function of the key, so these stay.
    import numpy as np

    words = np.random.PCG64(np.random.SeedSequence((1, 2))).random_raw(3).tolist()
    dice = Dice(1, 2)
    assert [dice.word() for _ in range(3)] == words
    assert [Dice(1, 2).below(1000), Dice(1, 2).below(1000)] == [words[0] * 1000 >> 64] * 2
