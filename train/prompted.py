"""Training data of attribute prompts: each item's sentence, once clean and once with slots hidden.

Which slots are hidden is drawn per item and epoch, like a picture's augmentation.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sdk.attributes import Schema
from sdk.errors import InputError
from sdk.preprocess import ImageSpec
from train.data import Batch, Indices, TrainSet
from train.masking import MASK
from train.prompts import END, START, Prompt, prompt, rest_of
from train.split import Sample, Split

Hide: TypeAlias = Literal["mask", "leave out"]

IN_PART = (3, 6)  # how many attributes a prompt in part names
HIDING = 1  # the purpose of TrainSet.chance
NONE = -1  # the code of no value


class PromptSet(TrainSet):
    """One item per picture and prompt, which is the sentence of all the picture's attributes.

    in_part: a picture brings a second prompt, of 3 to 6 of its attributes, always the same ones. hidden: the
    chance of a slot to be hidden, at least one is. hide: "mask" puts MASK in place of each token of the
    slot's phrase; "leave out" makes the sentence without the slot, which tells nothing of its value, not
    even whether it is spoken. Only a slot that is spoken can be masked; any that is given can be left out.
    split: as by_category gives it, its ``person`` being what the labels number.

    Raises InputError for another tokenizer than CLIP's BPE, and what ``prompt`` and TrainSet raise.
    """

    def __init__(
        self,
        split: Split,
        image_spec: ImageSpec,
        tokenizer: Any,
        augment: bool = True,
        seed: int = 0,
        cache: bool = True,
        erase: float = 0.0,
        *,
        hidden: float = 0.3,
        hide: Hide = "mask",
        in_part: bool = False,
    ) -> None:
        if not 0 < hidden <= 1:
            raise InputError(f"hidden: got {hidden}; the chance of a slot to be hidden is above 0, at most 1")
        if type(tokenizer).__name__ != "SimpleTokenizer":
            raise InputError(
                f"tokenizer: {type(tokenizer).__name__} isn't CLIP's BPE, whose word {MASK} stands for what "
                "is hidden; choose an OpenAI-style CLIP model or one of labrador-tiny, labrador-tiny-conv"
            )
        assert split.schema is not None  # by_category has seen to it
        self.schema, self.tokenizer, self.hidden, self.hide = split.schema, tokenizer, hidden, hide
        given = [_given(s, split.schema, in_part) for s in split.samples]
        known: dict[frozenset[tuple[str, str]], int] = {}
        self._set_of = np.array(
            [known.setdefault(Schema.as_set(g), len(known)) for few in given for g in few]
        )
        distinct: dict[int, Mapping[str, str]] = {}
        for few in given:
            distinct.update({known[Schema.as_set(g)]: g for g in few})
        self._given = [split.schema.check(distinct[row]) for row in range(len(distinct))]
        self._prompts = [prompt(split.schema, g, tokenizer) for g in self._given]
        texts = {row: p.text for row, p in enumerate(self._prompts)}
        samples = tuple(
            replace(s, captions=tuple(texts[known[Schema.as_set(g)]] for g in few))
            for s, few in zip(split.samples, given, strict=True)
        )
        super().__init__(replace(split, samples=samples), image_spec, tokenizer, augment, seed, cache, erase)
        self._codes = torch.tensor([codes(split.schema, g) for g in self._given])
        self._said = torch.tensor([spoken(split.schema, g) for g in self._given])

    def batch(self, indices: Indices) -> Batch:
        """The items at once: pixels (b, 3, h, w), ids (b, t), labels (b,), and of the prompts

        said (b, v) bool, the (slot, value) pairs that are spoken; codes (b, s), the number of each slot's
        value, -1 where it isn't given; hidden ids (b, t), the same prompts with slots hidden; answers: of
        masked slots (b, t), the true ids where a MASK stands and 0 elsewhere; of slots left out (b, s),
        their codes and -1 elsewhere.
        """
        at = np.asarray(indices, np.int64)
        pixels, ids, labels = super().batch(at)
        sets = self._set_of[at]
        pairs = [self._hidden(int(index), int(row)) for index, row in zip(at, sets, strict=True)]
        hidden, answers = (torch.stack(part) for part in zip(*pairs, strict=True))
        return pixels, ids, labels, self._said[sets], self._codes[sets], hidden, answers

    def _hidden(self, index: int, row: int) -> tuple[Tensor, Tensor]:
        words, given, rng = self._prompts[row], self._given[row], self.chance(index, HIDING)
        candidates = list(words.spans if self.hide == "mask" else given)
        drawn = rng.random(len(candidates))
        chosen = [slot for slot, chance in zip(candidates, drawn, strict=True) if chance < self.hidden]
        if candidates and not chosen:
            chosen = [candidates[int(drawn.argmin())]]
        if self.hide == "mask":
            return _masked(words, chosen, self._ids.shape[1])
        text = rest_of(self.schema, given, chosen)
        ids = _padded((START, END), self._ids.shape[1])
        if text:
            ids = torch.as_tensor(self.tokenizer([text]))[0].long()
        answers = torch.full((len(self.schema.slots),), NONE)
        places = [list(self.schema.slots).index(slot) for slot in chosen]
        answers[places] = self._codes[row, places]
        return ids, answers


def codes(schema: Schema, attributes: Mapping[str, str]) -> list[int]:
    """Per slot of the schema the place of its value among the slot's, sorted; -1 where it isn't given."""
    return [
        sorted(values).index(attributes[slot]) if slot in attributes else NONE
        for slot, values in schema.slots.items()
    ]


def spoken(schema: Schema, attributes: Mapping[str, str]) -> list[bool]:
    """Per (slot, value) of the schema: the attributes have it, and it has a phrase.

    What has none is left out, so that two sets aren't alike for all the things that both don't have.
    """
    return [
        bool(phrase) and attributes.get(slot) == value
        for slot, values in schema.slots.items()
        for value, phrase in values.items()
    ]


def _masked(words: Prompt, chosen: list[str], length: int) -> tuple[Tensor, Tensor]:
    ids = _padded(words.ids, length)
    answers = torch.zeros(length, dtype=torch.int64)
    for slot in chosen:
        span = slice(*words.spans[slot])
        answers[span] = ids[span]
        ids[span] = MASK
    return ids, answers


def _padded(ids: tuple[int, ...], length: int) -> Tensor:
    return torch.tensor([*ids, *[0] * (length - len(ids))])


def _given(sample: Sample, schema: Schema, in_part: bool) -> list[Mapping[str, str]]:
    """What the picture's prompts say: all of its attributes, and with `in_part` some of them."""
    whole = sample.attributes or {}
    if not in_part:
        return [whole]
    rng = np.random.default_rng(zlib.crc32(sample.image_id.encode()))
    chosen = rng.permutation(list(whole))[: rng.integers(IN_PART[0], IN_PART[1] + 1)]
    some = {slot: value for slot, value in whole.items() if slot in chosen}
    said = any(schema.slots[slot][value] for slot, value in some.items())
    return [whole, some] if said and rest_of(schema, some, ()) else [whole]
