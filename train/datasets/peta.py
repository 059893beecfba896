"""PETA: 19,000 pedestrian crops of ten sets with 105 yes/no attributes each (Deng et al., ACM MM 2014).

    peta/
      PETA.mat                 (here or beside the folder)
      images/00001.png …       (or PETA/00001.png …, or directly here)

`PETA.mat` holds one struct, `peta`, whose fields are known by their places only: first the table, 19,000 rows
of four columns that aren't attributes and 105 that are; second the attributes' names. Row 1 is picture 00001.
The fourth, five partitions for attribute *recognition*, isn't used here.

Parts, as SAL made them for person search (github.com/ycao5602/SAL): of the categories, 7,769 different rows
of attributes, those with one picture are dropped; NumPy's old generator with seed 1 draws the training ones
and leaves 200 to test. Nobody is identified: a person may be seen in both parts, in different categories.

Task attributes: each category of the part asks for all pictures that have it. `peta35` is the same with the
35 attributes that recognition is judged on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sdk.attributes import Schema
from sdk.errors import DatasetError
from train.datasets import _categories as categories
from train.datasets._matlab import read_mat
from train.datasets._source import Source, differences
from train.split import Split

PARTS = ("train", "test")
TASKS = ("attributes",)
FILE = "PETA.mat"
SOURCE = Source(
    "peta",
    f"{FILE} and images/00001.png to 19000.png in one folder, or 00001.png … in PETA/ with {FILE} beside it",
    "the authors distribute PETA at mmlab.ie.cuhk.edu.hk/projects/PETA.html; this packing of it is linked in "
    "github.com/dangweili/pedestrian-attribute-recognition-pytorch",
)
WHAT = f"{FILE}: needed is the struct peta with the table first and the attributes' names second"
META, ATTRIBUTES, RECOGNITION = 4, 105, 35  # columns of the table; the first 35 attributes are recognition's
PICTURES, CATEGORIES = 19_000, 7_769  # published: by the owners, and in SAL's code
TEST_CATEGORIES, SEED = 200, 1  # SAL's
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

COLOURS = "Black Blue Brown Green Grey Orange Pink Purple Red White Yellow".split()
# in the order of the sentence: age, head, upper body, lower body, feet, carried; short, for 77 tokens are few
SAID = {
    "personalLess15": "under 15",
    "personalLess30": "under 30",
    "personalLess45": "under 45",
    "personalLess60": "under 60",
    "personalLarger60": "over 60",
    "hairBald": "bald",
    "hairShort": "short hair",
    "hairLong": "long hair",
    **{f"hair{colour}": f"{colour.lower()} hair" for colour in COLOURS},
    "accessoryHat": "hat",
    "accessoryHairBand": "hair band",
    "accessoryKerchief": "kerchief",
    "accessoryHeadphone": "headphones",
    "accessorySunglasses": "sunglasses",
    "accessoryMuffler": "scarf",
    "accessoryNothing": "no accessory",
    **{f"upperBody{colour}": f"{colour.lower()} top" for colour in COLOURS},
    "upperBodyCasual": "casual top",
    "upperBodyFormal": "formal top",
    "upperBodyJacket": "jacket",
    "upperBodySuit": "suit",
    "upperBodySweater": "sweater",
    "upperBodyTshirt": "T-shirt",
    "upperBodyOther": "other top",
    "upperBodyLogo": "logo",
    "upperBodyPlaid": "plaid top",
    "upperBodyThinStripes": "thin-striped top",
    "upperBodyThickStripes": "thick-striped top",
    "upperBodyVNeck": "V-neck",
    "upperBodyLongSleeve": "long sleeves",
    "upperBodyShortSleeve": "short sleeves",
    "upperBodyNoSleeve": "no sleeves",
    **{f"lowerBody{colour}": f"{colour.lower()} bottoms" for colour in COLOURS},
    "lowerBodyCasual": "casual bottoms",
    "lowerBodyFormal": "formal bottoms",
    "lowerBodyJeans": "jeans",
    "lowerBodyTrousers": "trousers",
    "lowerBodySuits": "suit trousers",
    "lowerBodyCapri": "capri pants",
    "lowerBodyShorts": "shorts",
    "lowerBodyHotPants": "hot pants",
    "lowerBodyShortSkirt": "short skirt",
    "lowerBodyLongSkirt": "long skirt",
    "lowerBodyPlaid": "plaid bottoms",
    "lowerBodyThinStripes": "thin-striped bottoms",
    **{f"footwear{colour}": f"{colour.lower()} footwear" for colour in COLOURS},
    "footwearLeatherShoes": "leather shoes",
    "footwearShoes": "shoes",
    "footwearSneaker": "sneakers",
    "footwearSandals": "sandals",
    "footwearBoots": "boots",
    "footwearStocking": "stockings",
    "carryingBackpack": "backpack",
    "carryingMessengerBag": "messenger bag",
    "carryingPlasticBags": "plastic bags",
    "carryingFolder": "folder",
    "carryingUmbrella": "umbrella",
    "carryingLuggageCase": "luggage case",
    "carryingSuitcase": "suitcase",
    "carryingShoppingTro": "shopping trolley",
    "carryingBabyBuggy": "baby buggy",
    "carryingOther": "carrying something",
    "carryingNothing": "carrying nothing",
}


def load(root: str | Path, part: str, task: str = "attributes") -> Split:
    """Parse ``part``; raises DatasetError that names the layout or what is wrong with the table."""
    return load_with("peta", Path(root), part, ATTRIBUTES)


def load_with(name: str, root: Path, part: str, count: int) -> Split:
    """``part`` of PETA where a category is a row of the first ``count`` attributes."""
    source = replace(SOURCE, name=name)
    path = next((p for p in (root / FILE, root.parent / FILE) if p.is_file()), None)
    if path is None:
        raise source.lacks(f"there is no {FILE} in {root} or beside it")
    table, columns = _fields(source, path)
    labels = categories.labels_of(source, path, table[:, META:], len(table), ATTRIBUTES)[:, :count]
    numbers = categories.number_categories(labels)
    counts = [("pictures", len(labels), PICTURES)]
    if count == ATTRIBUTES:
        counts.append(("attribute categories", int(numbers.max()) + 1, CATEGORIES))
    images = _pictures(source, root, len(table))
    rows = np.flatnonzero(np.isin(numbers, _part(source, path, numbers, part)))
    return categories.category_split(
        f"{name}/{part}",
        _schema(name, columns[:count]),
        [images[row] for row in rows],
        labels[rows],
        numbers[rows],
        differences(counts),
    )


def _fields(source: Source, path: Path) -> tuple[Any, list[str]]:
    """The table (n, 109) and the 105 names, by their places in the struct."""
    peta = read_mat(source, path, ("peta",), WHAT)["peta"]
    fields = list(peta.values()) if isinstance(peta, dict) else []
    first, second = fields[:2] if len(fields) > 1 else ((), ())
    table, names = np.asarray(first), [str(name) for name in np.atleast_1d(second)]
    if table.ndim != 2 or table.shape[1] != META + ATTRIBUTES or len(set(names)) != ATTRIBUTES:
        raise DatasetError(
            f"{source.name}: {path} isn't {WHAT}; got {table.shape} and {len(set(names))} names, "
            f"needed are (n, {META + ATTRIBUTES}) and {ATTRIBUTES}"
        )
    return table, names


def _part(source: Source, path: Path, numbers: Any, part: str) -> Any:
    """The part's categories by SAL's rule."""
    kept = np.flatnonzero(np.bincount(numbers) > 1)
    if len(kept) <= TEST_CATEGORIES:
        raise DatasetError(
            f"{source.name}: {path} has {len(kept):,} categories with more than one picture; "
            f"{TEST_CATEGORIES} are for the test part, and more are needed to train"
        )
    random = np.random.RandomState(SEED)  # not default_rng: the published parts come from this very stream
    train = random.choice(len(kept), len(kept) - TEST_CATEGORIES, replace=False)
    return kept[train] if part == "train" else np.delete(kept, train)


def _pictures(source: Source, root: Path, count: int) -> list[Path]:
    """The pictures of the table's rows, whatever their format."""
    for folder in (root / "images", root / "PETA", root):
        found = {p.stem: p for p in folder.glob("[0-9]*.*") if p.suffix.lower() in SUFFIXES}
        if found:
            images = [found.get(f"{row:05d}", folder / f"{row:05d}.png") for row in range(1, count + 1)]
            source.check_pictures(images)
            return images
    raise source.lacks(f"{root} holds no picture like images/00001.png")


def _schema(name: str, columns: list[str]) -> Schema:
    if "personalFemale" in columns:
        who = ["{personalMale}", "{personalFemale}", "A person"]
        gender: dict[str, str | tuple[str, str]] = {"personalMale": "A man", "personalFemale": "A woman"}
    else:
        who, gender = ["{personalMale}", "A person"], {"personalMale": ("A woman", "A man")}
    return categories.schema_of(name, columns, who, {**gender, **SAID})
