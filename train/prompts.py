"""Attribute sets as prompt sentences, and which tokens of a sentence speak of which slot.

The wording is the schema's (sdk.attributes), so that a model is trained on the sentences that a search by
attributes will ask with.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdk.attributes import Schema
from sdk.errors import AttributeValueError, DatasetError, InputError
from train.split import Split

IN_PART = (3, 6)  # how many attributes a shorter training sentence names; with fewer, little is learnt


@dataclass(frozen=True)
class Prompt:
    """One sentence. ``spans``: slot → [start, end) of its phrase's ids among those the tokenizer makes of it.

    A slot without a phrase has none, nor has one that the end of the context cuts.
    """

    text: str
    spans: Mapping[str, tuple[int, int]]


def prompt(schema: Schema, attributes: Mapping[str, str], tokenizer: Any) -> Prompt:
    """The prompt of an attribute set; tokenizer: open_clip's CLIP BPE.

    Raises AttributeValueError as ``Schema.sentence``, and InputError for a wording in which a slot's phrase
    is part of a word, since then no token is the slot's own.
    """
    text, characters = schema.spans(attributes)
    ids: list[int] = []
    spans: dict[str, tuple[int, int]] = {}
    at = 0
    for slot, (start, end) in sorted(characters.items(), key=lambda item: item[1]):
        ids += tokenizer.encode(text[at:start])
        phrase = tokenizer.encode(text[start:end])
        spans[slot] = (1 + len(ids), 1 + len(ids) + len(phrase))  # 1 for the start of text
        ids += phrase
        at = end
    ids += tokenizer.encode(text[at:])
    if ids != tokenizer.encode(text):
        raise InputError(
            f"schema {schema.name!r}: in {text!r} a slot's phrase runs into the words beside it; put spaces "
            "or punctuation around the braces of its clauses"
        )
    last = int(tokenizer.context_length) - 1  # where the end of text stands when the sentence is cut
    return Prompt(text, {slot: span for slot, span in spans.items() if span[1] <= last})


def rest_of(schema: Schema, attributes: Mapping[str, str], left_out: Collection[str]) -> str:
    """The sentence without these slots; empty when then nothing is said."""
    kept = {slot: value for slot, value in attributes.items() if slot not in left_out}
    try:
        return schema.sentence(kept)
    except AttributeValueError:
        return ""


def in_part(attributes: Mapping[str, str], name: str) -> dict[str, str]:
    """3 to 6 of the attributes, in their order; for one name (a picture's) always the same ones."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    chosen = rng.permutation(list(attributes))[: rng.integers(IN_PART[0], IN_PART[1] + 1)]
    return {slot: value for slot, value in attributes.items() if slot in chosen}


def by_category(split: Split) -> Split:
    """The same samples where a ``person`` is a category: an attribute set, numbered as they first appear.

    Raises DatasetError for a split without a schema or with a sample that has no attributes.
    """
    bare = next((s.image for s in split.samples if not s.attributes), None)
    if split.schema is None or bare is not None:
        what = "it has no attribute schema" if split.schema is None else f"{bare} has no attributes"
        raise DatasetError(
            f"{split.name}: {what}; prompts are made of attributes: market1501, peta, pa100k, drawn have them"
        )
    numbers: dict[object, int] = {}
    samples = tuple(
        replace(s, person=numbers.setdefault(Schema.as_set(s.attributes or {}), len(numbers)))
        for s in split.samples
    )
    return replace(split, samples=samples)
