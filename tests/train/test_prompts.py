"""Prompts: which tokens speak of which slot, what is hidden of them, and categories."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from sdk.attributes import Schema
from sdk.errors import DatasetError, InputError
from sdk.preprocess import ImageSpec
from train.datasets import _categories, pa100k
from train.datasets._market1501_attributes import SCHEMA as MARKET
from train.masking import MASK
from train.prompted import PromptSet, codes, spoken
from train.prompts import by_category, prompt, rest_of
from train.split import Sample, Split

TOKENIZER = open_clip.get_tokenizer("ViT-B-16")
PA100K = _categories.schema_of("pa100k", list(pa100k.SAID), pa100k.WHO, pa100k.SAID)
WALKER = {
    "age": "teenager", "gender": "female", "hair": "long", "hat": "no", "upper_color": "unknown",
    "sleeve": "short", "lower_color": "blue", "lower_length": "long", "lower_type": "pants",
    "carrying": "handbag",
}  # fmt: skip


def no(schema: Schema, **yes: str) -> dict[str, str]:
    return {slot: yes.get(slot, "no") for slot in schema.slots}


def said_by(schema: Schema, attributes: dict[str, str]) -> dict[str, str]:
    """slot → what its tokens spell."""
    made = prompt(schema, attributes, TOKENIZER)
    ids = TOKENIZER([made.text])[0].tolist()
    return {slot: TOKENIZER.decode(ids[a:b]).strip() for slot, (a, b) in made.spans.items()}


def test_the_span_of_each_slot_spells_its_phrase() -> None:
    assert said_by(MARKET, WALKER) == {
        "age": "a teenage",
        "gender": "woman",
        "hair": "long",
        "hat": "without a hat",
        "sleeve": "short - sleeved",
        "lower_color": "blue",
        "lower_length": "long",
        "lower_type": "pair of pants",
        "carrying": "a handbag",
    }  # the unknown colour is silent


def test_spans_hold_for_every_mixture_of_values() -> None:
    some = {slot: list(values)[:2] for slot, values in MARKET.slots.items()}
    for values in itertools.islice(itertools.product(*some.values()), 0, 1024, 41):
        attributes = dict(zip(some, values, strict=True))
        made = prompt(MARKET, attributes, TOKENIZER)
        ids = TOKENIZER([made.text])[0].tolist()
        assert set(made.spans) == set(MARKET.slots)
        for slot, (a, b) in made.spans.items():
            assert ids[a:b] == TOKENIZER.encode(MARKET.slots[slot][attributes[slot]])


def test_yes_no_slots_have_a_span_only_where_they_speak() -> None:
    attributes = no(PA100K, Female="yes", Hat="yes", Skirt_Dress="yes")
    assert said_by(PA100K, attributes) == {
        "Female": "a woman", "Hat": "hat", "Skirt_Dress": "skirt or dress"
    }  # fmt: skip
    assert said_by(PA100K, no(PA100K)) == {"Female": "a man"}


def test_what_the_end_of_the_context_cuts_has_no_span() -> None:
    everything = dict.fromkeys(PA100K.slots, "yes")
    made = prompt(PA100K, everything, TOKENIZER)
    ids = TOKENIZER([made.text])[0].tolist()
    assert ids[-1] == 49407  # the end of text
    assert 0 < len(made.spans) < len(everything)
    for slot, (a, b) in made.spans.items():
        assert b <= 76
        assert ids[a:b] == TOKENIZER.encode(PA100K.slots[slot]["yes"])


def test_a_phrase_inside_a_word_is_refused() -> None:
    schema = Schema("odd", {"colour": {"red": "red"}}, [["a {colour}dish coat"]])
    with pytest.raises(InputError, match=r"'odd': in 'a reddish coat\.' a slot's phrase runs into"):
        prompt(schema, {"colour": "red"}, TOKENIZER)


def test_a_slot_left_out_leaves_no_trace() -> None:
    assert rest_of(MARKET, WALKER, [s for s in WALKER if s != "hair"]) == "A person with long hair."
    assert rest_of(MARKET, WALKER, list(WALKER)) == ""
    with_hat, without = no(PA100K, Hat="yes"), no(PA100K)
    assert rest_of(PA100K, with_hat, ["Hat"]) == rest_of(PA100K, without, ["Hat"])


def test_only_what_has_a_phrase_counts_as_said() -> None:
    said = spoken(PA100K, no(PA100K, Hat="yes"))
    pairs = [(slot, value) for slot, values in PA100K.slots.items() for value in values]
    assert [pair for pair, is_said in zip(pairs, said, strict=True) if is_said] == [
        ("Female", "no"), ("Hat", "yes")
    ]  # fmt: skip
    assert sum(spoken(MARKET, WALKER)) == 9
    assert codes(MARKET, {"age": "young", "sleeve": "long"}) == [3, -1, -1, -1, -1, 0, -1, -1, -1, -1]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Three pictures of two categories and three people."""
    folder = tmp_path_factory.mktemp("pictures")
    old = {**WALKER, "age": "old", "upper_color": "red"}
    samples = []
    for number, attributes in enumerate((old, WALKER, old)):
        path = folder / f"{number}.png"
        Image.fromarray(np.full((8, 4, 3), 60 * number, np.uint8)).save(path)
        samples.append(Sample(path.name, path, number + 5, ("a caption",), attributes=attributes))
    return Split("walkers", tuple(samples), schema=MARKET)


def made(split: Split, **more: Any) -> PromptSet:
    spec = ImageSpec(8, 4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return PromptSet(by_category(split), spec, TOKENIZER, augment=False, **more)


def test_people_with_equal_attributes_are_a_category(split: Split) -> None:
    assert [s.person for s in by_category(split).samples] == [0, 1, 0]
    items = made(split)
    assert items.classes == 2
    assert items.labels.tolist() == [0, 1, 0]
    bare = Split("bare", (Sample("x", Path("x"), 1),), schema=MARKET)
    with pytest.raises(DatasetError, match="bare: x has no attributes"):
        by_category(bare)
    with pytest.raises(DatasetError, match="no attribute schema"):
        by_category(Split("bare", split.samples))


def test_masked_slots_are_whole_and_answered(split: Split) -> None:
    items = made(split, hidden=0.4)
    wanted = [prompt(MARKET, dict(s.attributes or {}), TOKENIZER) for s in split.samples]
    counts = []
    for epoch in range(12):
        items.set_epoch(epoch)
        _, ids, _, said, values, hidden, answers = items.batch([0, 1, 2])
        assert torch.equal(said.sum(dim=1), torch.tensor([10, 9, 10]))
        assert values.shape == (3, 10)
        for row, words in enumerate(wanted):
            masked = hidden[row] == MASK
            assert torch.equal(answers[row] > 0, masked)
            assert torch.equal(torch.where(masked, answers[row], hidden[row]), ids[row])
            inside = {slot: masked[a:b] for slot, (a, b) in words.spans.items()}
            assert all(tokens.all() or not tokens.any() for tokens in inside.values())
            assert masked.sum() == sum(len(tokens) for tokens in inside.values() if tokens.all())
            counts.append(sum(bool(tokens.all()) for tokens in inside.values()))
    assert min(counts) >= 1
    assert 2 < np.mean(counts) < 6  # 0.4 of nine or ten


def test_left_out_slots_are_answered_by_their_values(split: Split) -> None:
    items = made(split, hide="leave out", hidden=0.5)
    for epoch in range(6):
        items.set_epoch(epoch)
        *_, values, hidden, answers = items.batch([1])
        gone = [slot for slot, a in zip(MARKET.slots, answers[0].tolist(), strict=True) if a >= 0]
        assert gone
        assert torch.equal(answers[0][answers[0] >= 0], values[0][answers[0] >= 0])
        assert torch.equal(hidden[0], TOKENIZER([rest_of(MARKET, WALKER, gone)])[0])
        assert MASK not in hidden[0]
    everything = made(split, hide="leave out", hidden=1.0)
    *_, hidden, answers = everything.batch([0])
    assert hidden[0, :3].tolist() == [49406, 49407, 0]  # start and end of text, and nothing between
    assert (answers >= 0).all()


def test_at_least_one_slot_is_hidden_and_the_same_one_again(split: Split) -> None:
    items = made(split, hidden=1e-9)
    first = items.batch([0, 1, 2])
    assert ((first[5] == MASK).any(dim=1)).all()
    again = made(split, hidden=1e-9).batch([2, 0, 1])
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one[[2, 0, 1]], other)


def test_a_picture_may_bring_a_prompt_in_part(split: Split) -> None:
    items = made(split, in_part=True)
    assert len(items) == 6
    assert items.labels.tolist() == [0, 0, 1, 1, 0, 0]
    said = items.batch(range(6))[3].sum(dim=1)
    assert (said[1::2] < 7).all()
    assert (said[0::2] > 8).all()
    few = items.batch([1])
    assert torch.equal(few[1][0], TOKENIZER([items.texts[items.text_of[1]]])[0])


def test_a_chance_that_hides_nothing_is_refused(split: Split) -> None:
    with pytest.raises(InputError, match="hidden: got 0"):
        made(split, hidden=0)
