"""PA-100K: 100,000 outdoor pedestrian crops with 26 yes/no attributes each (Liu et al., ICCV 2017).

    PA-100K/
      annotation.mat    per part {train, val, test}: <part>_images_name, <part>_label (0/1), and attributes
      release_data/     000001.jpg …, named as the file says (or data/, or directly here)

80,000 pictures train, 10,000 validate, 10,000 test. The attributes belong to the picture, the side that is
seen (front, side, back) among them. Pictures with equal attributes are a category.

Task attributes: each category of the part asks for all pictures of the part that have it. How many categories
there are is counted, not compared: we know of no count by the owners.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sdk.errors import DatasetError
from train.datasets import _categories as categories
from train.datasets._matlab import read_mat
from train.datasets._source import Source, differences
from train.split import Split

PARTS = ("train", "val", "test")
TASKS = ("attributes",)
FILE = "annotation.mat"
SOURCE = Source(
    "pa100k",
    f"{FILE} and release_data/ (or data/) with the pictures it names in one folder",
    "the authors link the set in github.com/xh-liu/HydraPlus-Net",
)
WHAT = f"{FILE}: needed are attributes, and <part>_images_name and <part>_label of train, val and test"
PUBLISHED = {"train": 80_000, "val": 10_000, "test": 10_000}
ATTRIBUTES = 26

WHO = ["{Female}", "A person"]
# in the order of the sentence: gender, age, head, upper body, lower body, feet, carried, side that is seen
SAID: dict[str, str | tuple[str, str]] = {
    "Female": ("A man", "A woman"),
    "AgeLess18": "under 18",
    "Age18-60": "18 to 60",
    "AgeOver60": "over 60",
    "Hat": "hat",
    "Glasses": "glasses",
    "ShortSleeve": "short sleeves",
    "LongSleeve": "long sleeves",
    "UpperStride": "striped top",
    "UpperLogo": "top with a logo",
    "UpperPlaid": "plaid top",
    "UpperSplice": "patchwork top",
    "LongCoat": "long coat",
    "Trousers": "trousers",
    "Shorts": "shorts",
    "Skirt&Dress": "skirt or dress",
    "LowerStripe": "striped bottoms",
    "LowerPattern": "patterned bottoms",
    "boots": "boots",
    "HandBag": "handbag",
    "ShoulderBag": "shoulder bag",
    "Backpack": "backpack",
    "HoldObjectsInFront": "holding something in front",
    "Front": "seen from the front",
    "Side": "seen from the side",
    "Back": "seen from behind",
}


def load(root: str | Path, part: str, task: str = "attributes") -> Split:
    """Parse ``part``; raises DatasetError that names the layout or what is wrong with the table."""
    root = Path(root)
    path = root / FILE
    if not path.is_file():
        raise SOURCE.lacks(f"there is no {path}")
    labelled = tuple(f"{name}_label" for name in PARTS)
    data = read_mat(SOURCE, path, ("attributes", f"{part}_images_name", *labelled), WHAT)
    columns, names = (_names(data[field]) for field in ("attributes", f"{part}_images_name"))
    tables = {name: len(np.atleast_2d(data[f"{name}_label"])) for name in PARTS}  # a single row is squeezed
    if len(set(columns)) != ATTRIBUTES or len(names) != tables[part]:
        raise DatasetError(
            f"{SOURCE.name}: {path} has {len(set(columns))} attributes, and for {part} {len(names):,} "
            f"pictures with {tables[part]:,} rows; needed are {ATTRIBUTES} attributes and a row a picture"
        )
    labels = np.concatenate(
        [
            categories.labels_of(SOURCE, path, data[f"{name}_label"], rows, ATTRIBUTES)
            for name, rows in tables.items()
        ]
    )
    numbers = categories.number_categories(labels)  # over all parts: a category has one number everywhere
    first = sum(tables[name] for name in PARTS[: PARTS.index(part)])
    rows = slice(first, first + len(names))
    return categories.category_split(
        f"pa100k/{part}",
        categories.schema_of("pa100k", columns, WHO, SAID),
        _pictures(root, names),
        labels[rows],
        numbers[rows],
        differences([(f"{part} pictures", len(names), PUBLISHED[part])]),
    )


def _names(cells: Any) -> list[str]:
    return [str(cell) for cell in np.atleast_1d(cells)]


def _pictures(root: Path, names: list[str]) -> list[Path]:
    folder = next(
        (
            f
            for f in (root / "release_data", root / "data", root)
            if any((f / name).is_file() for name in names[:9])
        ),
        root / "release_data",
    )
    images = [folder / name for name in names]
    SOURCE.check_pictures(images)
    return images
