"""The attribute table of Market-1501 (`market_attribute.mat`) as ten categorical slots and a sentence.

The file holds one struct, `market_attribute`, with the fields `test` and `train`; each is a struct of 27
rows of small integers, one per person, and `image_index`, the people as four digits. The fields stand in
another order in `train` than in `test`, so they are only ever addressed by name.

Yes/no columns say no 1, yes 2. The eight upper and nine lower colours, and the three things carried, are
yes/no columns of which at most one is yes: one slot each here. No colour at all is the value "unknown",
which the sentence leaves out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sdk.attributes import Schema
from sdk.errors import DatasetError
from train.datasets._matlab import read_mat
from train.datasets._source import Source

FILE = "market_attribute.mat"
SOURCE = Source(
    "market1501",
    "bounding_box_train/, bounding_box_test/ and query/ with pictures like 0001_c1s1_001051_00.jpg (the "
    f"unpacked Market-1501-v15.09.15), and {FILE} among them, in attribute/ or beside the folder",
    "the authors distribute the pictures at zheng-lab.cecs.anu.edu.au/Project/project_reid.html and the "
    "attributes in github.com/vana77/Market-1501_Attribute",
)

# slot -> (column, value of code 1, value of code 2, …)
_CODED = {
    "age": ("age", "young", "teenager", "adult", "old"),
    "gender": ("gender", "male", "female"),
    "hair": ("hair", "short", "long"),
    "hat": ("hat", "no", "yes"),
    "sleeve": ("up", "long", "short"),
    "lower_length": ("down", "long", "short"),
    "lower_type": ("clothes", "dress", "pants"),
}
# slot -> (prefix of its yes/no columns, their endings, value when all are no)
_CHOSEN = {
    "upper_color": ("up", "black white red purple yellow gray blue green".split(), "unknown"),
    "lower_color": ("down", "black white pink purple yellow gray blue green brown".split(), "unknown"),
    "carrying": ("", "backpack bag handbag".split(), "nothing"),
}


def _wordings() -> list[str]:
    """Top and lower garment in every mixture of known slots, the fullest first: no given slot goes unsaid."""
    tops = ["a {upper_color} {sleeve} top", "a {upper_color} top", "a {sleeve} top", ""]
    lowers = [f"a {length}{color}{kind}" for length, color, kind in itertools.product(
        ("{lower_length} ", ""), ("{lower_color} ", ""), ("{lower_type}", "lower garment"))]  # fmt: skip
    lowers[-1] = ""  # "a lower garment" says nothing
    mixed = [" and ".join(filter(None, pair)) for pair in itertools.product(tops, lowers)]
    return sorted((f"wearing {m}" for m in mixed if m), key=lambda w: -w.count("{"))


SCHEMA = Schema(
    "market1501",
    {
        # the article belongs to the age: "an adult" and "a young" would tell it when the age is masked
        "age": {"young": "A young", "teenager": "A teenage", "adult": "An adult", "old": "An old"},
        "gender": {"male": "man", "female": "woman"},
        "hair": {"short": "short", "long": "long"},
        "hat": {"no": "without a hat", "yes": "wearing a hat"},
        "upper_color": {**{c: c for c in _CHOSEN["upper_color"][1]}, "unknown": ""},
        "sleeve": {"long": "long-sleeved", "short": "short-sleeved"},
        "lower_color": {**{c: c for c in _CHOSEN["lower_color"][1]}, "unknown": ""},
        "lower_length": {"long": "long", "short": "short"},
        "lower_type": {"dress": "dress", "pants": "pair of pants"},
        "carrying": {"backpack": "a backpack", "bag": "a bag", "handbag": "a handbag", "nothing": "nothing"},
    },
    [
        [
            f"{age} {who}{hair}"
            for hair in (" with {hair} hair", "")
            for age, who in itertools.product(("{age}", "A"), ("{gender}", "person"))
        ],
        ["{hat}"],
        _wordings(),
        ["carrying {carrying}"],
    ],
)


def read_attributes(root: Path, part: str) -> dict[int, dict[str, str]]:
    """Person -> the ten slots of SCHEMA, for ``part`` "train" or "test".

    Looks for the file in root, root/attribute and beside root; raises DatasetError when it isn't there,
    isn't this table, or says something the codes above don't.
    """
    places = [root / FILE, root / "attribute" / FILE, root.parent / FILE]
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise SOURCE.lacks(f"no {FILE} as {', '.join(map(str, places))}")
    columns = _columns(path, part)
    people = columns.pop("image_index")
    table = {}
    for row, person in enumerate(people):
        codes = {name: values[row] for name, values in columns.items()}
        table[int(person)] = _slots(codes, f"market1501: {path}, {part} person {person}")
    return table


def _columns(path: Path, part: str) -> dict[str, list[Any]]:
    """Column name -> one value per person: int codes, and four-digit strings for `image_index`."""
    what = (
        f"the attribute table: needed is the variable market_attribute with the field {part} of 27 "
        "attributes and image_index"
    )
    table = read_mat(SOURCE, path, ("market_attribute",), what)["market_attribute"]
    needed = {column for column, *_ in _CODED.values()} | {"image_index"}
    needed |= {prefix + end for prefix, ends, _ in _CHOSEN.values() for end in ends}
    try:
        columns = {name: list(np.atleast_1d(table[part][name])) for name in needed}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DatasetError(f"market1501: {path} isn't {what} ({error!r})") from error
    sizes = {len(values) for values in columns.values()}
    if len(sizes) != 1:
        raise DatasetError(f"market1501: {path}, {part}: columns of different lengths {sorted(sizes)}")
    return columns


def _slots(codes: Mapping[str, Any], where: str) -> dict[str, str]:
    found = {}
    for slot, (column, *values) in _CODED.items():
        code = int(codes[column])
        if not 1 <= code <= len(values):
            raise DatasetError(
                f"{where}: {column} is {code}; known are 1 to {len(values)} ({', '.join(values)})"
            )
        found[slot] = values[code - 1]
    for slot, (prefix, ends, none) in _CHOSEN.items():
        chosen = [end for end in ends if int(codes[prefix + end]) == 2]
        if len(chosen) > 1:
            raise DatasetError(f"{where}: {slot} is {' and '.join(chosen)} at once; at most one is known")
        found[slot] = chosen[0] if chosen else none
    return {slot: found[slot] for slot in SCHEMA.slots}
