"""Training data of attribute prompts: each item's sentence, once clean and once with slots hidden.

Which slots are hidden is drawn per item and epoch, like a picture's augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from train.prompts import in_part as some_of
from train.prompts import prompt, rest_of
from train.split import Sample, Split

Hide: TypeAlias = Literal["mask", "leave out"]

HIDING = 1  # the purpose of TrainSet.chance
NONE = -1  # the code of no value


class PromptSet(TrainSet):
    """One item per picture and prompt, which is the sentence of all the picture's attributes.

    in_part: a picture brings a second prompt, of 3 to 6 of its attributes, always the same ones. hidden: the
    chance of a slot to be hidden, at least one is. hide: "mask" puts MASK in place of each token of the
    slot's phrase; "leave out" makes the sentence without the slot, which tells nothing of its value, not
    even whether it is spoken. Only a slot that is spoken can be masked; any that is given can be left out.
    Sentences left out keep the context's length, the others are cut by `shorten` after the longest of all.
    split: each sample with attributes, as by_category checks; what its ``person`` numbers are the labels.

    tokenizer: open_clip's CLIP BPE. Raises InputError for an impossible chance, and what ``prompt`` and
    TrainSet raise.
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
        shorten: Callable[[Tensor], Tensor] = torch.as_tensor,
    ) -> None:
        if not 0 < hidden <= 1:
            raise InputError(f"hidden: got {hidden}; the chance of a slot to be hidden is above 0, at most 1")
        schema = split.schema
        assert schema is not None  # by_category has seen to it
        self.schema, self.tokenizer, self.hidden, self.hide = schema, tokenizer, hidden, hide
        self._places = {slot: place for place, slot in enumerate(schema.slots)}
        given = [_given(sample, schema, in_part) for sample in split.samples]
        known: dict[frozenset[tuple[str, str]], int] = {}
        sets = [[known.setdefault(Schema.as_set(g), len(known)) for g in few] for few in given]
        self._set_of = np.array([number for few in sets for number in few])  # of each item, as TrainSet's
        self._given = [schema.check(dict(pairs)) for pairs in known]
        self._prompts = [prompt(schema, attributes, tokenizer) for attributes in self._given]
        self._codes = torch.tensor([codes(schema, attributes) for attributes in self._given])
        self._said = torch.tensor([spoken(schema, attributes) for attributes in self._given])
        samples = tuple(
            replace(sample, captions=tuple(self._prompts[number].text for number in few))
            for sample, few in zip(split.samples, sets, strict=True)
        )

        def tokens(texts: list[str]) -> Tensor:
            return shorten(torch.as_tensor(tokenizer(texts)))

        super().__init__(replace(split, samples=samples), image_spec, tokens, augment, seed, cache, erase)

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
        hide = self._masked if self.hide == "mask" else self._left_out
        pairs = [hide(int(i), int(number), row) for i, number, row in zip(at, sets, ids, strict=True)]
        hidden, answers = (torch.stack(part) for part in zip(*pairs, strict=True))
        return pixels, ids, labels, self._said[sets], self._codes[sets], hidden, answers

    def _masked(self, index: int, number: int, ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden, answers, spans = ids.clone(), torch.zeros_like(ids), self._prompts[number].spans
        for slot in self._chosen(index, list(spans)):
            span = slice(*spans[slot])
            answers[span] = ids[span]
            hidden[span] = MASK
        return hidden, answers

    def _left_out(self, index: int, number: int, ids: Tensor) -> tuple[Tensor, Tensor]:
        given = self._given[number]
        chosen = self._chosen(index, list(given))
        hidden = torch.as_tensor(self.tokenizer([rest_of(self.schema, given, chosen)]))[0].long()
        answers = torch.full((len(self._places),), NONE)
        places = [self._places[slot] for slot in chosen]
        answers[places] = self._codes[number, places]
        return hidden, answers

    def _chosen(self, index: int, slots: list[str]) -> list[str]:
        """Those of the slots that are hidden from the item in this epoch; none where there are none."""
        drawn = self.chance(index, HIDING).random(len(slots))
        chosen = [slot for slot, chance in zip(slots, drawn, strict=True) if chance < self.hidden]
        return chosen or [slots[place] for place in np.argsort(drawn)[:1]]


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


def _given(sample: Sample, schema: Schema, in_part: bool) -> list[Mapping[str, str]]:
    """What the picture's prompts say: all of its attributes, and with `in_part` some of them."""
    whole = sample.attributes or {}
    if not in_part:
        return [whole]
    some = some_of(whole, sample.image_id)
    return [whole, some] if any(schema.slots[slot][value] for slot, value in some.items()) else [whole]
