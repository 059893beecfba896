"""Pictures with yes/no attributes each: those with equal ones are a category, which is what is asked for.

Nobody is identified in these sets. So a picture's ``person`` is the number of its category, which is what the
losses tell apart and what a query asks for; two pictures with the same sentence are never a wrong pair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk.attributes import Schema
from sdk.errors import DatasetError
from train.datasets._source import Source
from train.split import Query, Sample, Split

Labels = npt.NDArray[np.uint8]


def labels_of(source: Source, path: Path, values: Any, rows: int, columns: int) -> Labels:
    """The table as (rows, columns) uint8 of 0 and 1; DatasetError for anything else."""
    table = np.asarray(values).reshape(rows, -1) if np.size(values) else np.zeros((rows, 0))
    if table.shape[1] != columns or not np.isin(table, (0, 1)).all():
        raise DatasetError(
            f"{source.name}: {path}: attributes of shape {np.shape(values)}; "
            f"needed are {rows:,} rows of {columns} values, each 0 or 1"
        )
    return table.astype(np.uint8)


def number_categories(labels: Labels) -> npt.NDArray[np.int64]:
    """(n, a) labels to (n,) category numbers: equal rows share one, counted from 0 in order of appearance."""
    _, first, category = np.unique(labels, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers: npt.NDArray[np.int64] = rank[category.reshape(-1)]
    return numbers


def schema_of(
    name: str, columns: Sequence[str], who: Sequence[str], said: Mapping[str, str | tuple[str, str]]
) -> Schema:
    """A slot with the values no and yes per column, and a sentence that lists what is there.

    who: the wordings of the first clause, with the columns they speak of in braces. said: the other columns
    in the order of the sentence (those it doesn't name come last), each with the phrase of yes, or of (no,
    yes); by default no says nothing and yes says the column's name in words. A slot is its column's name
    with _ for what isn't a letter or digit.
    """
    slots = {}
    for column in columns:
        phrase = said.get(column, in_words(column))
        no, yes = ("", phrase) if isinstance(phrase, str) else phrase
        slots[slot_of(column)] = {"no": no, "yes": yes}
    order = dict.fromkeys([slot_of(column) for column in said if column in columns] + [*slots])
    listed = [[f"{{{slot}}}"] for slot in order if not any(f"{{{slot}}}" in wording for wording in who)]
    return Schema(name, slots, [list(who), *listed])


def slot_of(column: str) -> str:
    """A column's name as the schema's clauses can quote it: Skirt&Dress is Skirt_Dress."""
    return re.sub(r"\W", "_", column)


def in_words(column: str) -> str:
    """upperBodyThinStripes → upper body thin stripes."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", column)).lower()


def category_split(
    name: str,
    schema: Schema,
    images: Sequence[Path],
    labels: Labels,
    numbers: npt.NDArray[np.int64],
    notes: Sequence[str],
) -> Split:
    """Every category among the pictures asks once, by its sentence, for all pictures that have it.

    images: m paths; labels (m, a), columns as the schema's slots; numbers (m,) the pictures' categories.
    """
    described: dict[int, dict[str, str]] = {}
    for number, row in zip(numbers.tolist(), labels, strict=True):
        if number not in described:
            described[number] = {s: "yes" if v else "no" for s, v in zip(schema.slots, row, strict=True)}
    sentence = {number: schema.sentence(attributes) for number, attributes in described.items()}
    key = {number: Schema.as_set(attributes) for number, attributes in described.items()}
    samples = tuple(
        Sample(path.name, path, number, (sentence[number],), attributes=described[number])
        for path, number in zip(images, numbers.tolist(), strict=True)
    )
    return Split(
        name=name,
        samples=samples,
        queries=tuple(Query(key[n], text=sentence[n], attributes=described[n]) for n in described),
        gallery=samples,
        match="attributes",
        gallery_keys=tuple(key[s.person] for s in samples),
        schema=schema,
        notes=tuple(notes),
    )
