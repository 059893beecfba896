"""PA-100K on small folders in the published format: three parts in one file, pictures by its names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from sdk.errors import DatasetError
from train.datasets import load, pa100k

NAMES = """Female AgeOver60 Age18-60 AgeLess18 Front Side Back Hat Glasses HandBag ShoulderBag Backpack
HoldObjectsInFront ShortSleeve LongSleeve UpperStride UpperLogo UpperPlaid UpperSplice LowerStripe
LowerPattern LongCoat Trousers Shorts Skirt&Dress boots""".split()
WOMAN = ["Female", "Age18-60", "Front", "LongSleeve", "Skirt&Dress", "boots"]
MAN = ["AgeOver60", "Back", "Hat", "ShortSleeve", "Trousers"]
ROWS = {
    "train": [WOMAN, MAN, WOMAN, ["Female"]],
    "val": [MAN, []],
    "test": [["Female"], MAN, ["Female"], WOMAN, [*WOMAN, "UpperPlaid"]],
}


def cells(values: list[str]) -> np.ndarray:
    column = np.empty((len(values), 1), object)
    column[:, 0] = values
    return column


def content(rows: dict[str, list[list[str]]] = ROWS) -> dict[str, Any]:
    out: dict[str, Any] = {"attributes": cells(NAMES)}
    first = 1
    for part, labels in rows.items():
        out[f"{part}_images_name"] = cells([f"{first + i:06d}.jpg" for i in range(len(labels))])
        out[f"{part}_label"] = np.array([[name in row for name in NAMES] for row in labels], np.uint8)
        first += len(labels)
    return out


def write(root: Path, folder: str = "release_data", rows: dict[str, list[list[str]]] = ROWS) -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(1, sum(map(len, rows.values())) + 1):
        Image.new("RGB", (4, 8), (number, 90, 90)).save(root / folder / f"{number:06d}.jpg")
    savemat(root / pa100k.FILE, content(rows))
    return root / pa100k.FILE


def test_the_fixture_is_laid_out_as_public_loaders_read_the_file(tmp_path: Path) -> None:
    raw = loadmat(write(tmp_path))
    assert [raw["attributes"][i][0][0] for i in range(26)] == NAMES
    assert raw["test_images_name"][0][0][0] == "000007.jpg"
    assert raw["train_label"].shape == (4, 26)


def test_parts_are_the_files_own(tmp_path: Path) -> None:
    write(tmp_path)
    places = {part: [s.image_id for s in load("pa100k", tmp_path, part).samples] for part in ROWS}
    assert places["train"] == ["000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg"]
    assert places["val"] == ["000005.jpg", "000006.jpg"]
    assert places["test"] == [f"{n:06d}.jpg" for n in range(7, 12)]
    yes = [
        {slot for slot, value in (s.attributes or {}).items() if value == "yes"}
        for s in load("pa100k", tmp_path, "test").samples
    ]
    assert yes[3] == {"Female", "Age18_60", "Front", "LongSleeve", "Skirt_Dress", "boots"}


def test_equal_attributes_are_one_category_in_every_part(tmp_path: Path) -> None:
    write(tmp_path)
    person = {part: [s.person for s in load("pa100k", tmp_path, part).samples] for part in ROWS}
    assert person == {"train": [0, 1, 0, 2], "val": [1, 3], "test": [2, 1, 2, 0, 4]}
    split = load("pa100k", tmp_path, "test")
    assert len(split.queries) == 4
    assert split.relevant().sum(1).tolist() == [2, 1, 1, 1]
    assert not split.ignored().any()
    assert split.gallery == split.samples


def test_sentences_say_everything_that_is_there(tmp_path: Path) -> None:
    write(tmp_path)
    said = [s.captions for s in load("pa100k", tmp_path, "train").samples]
    assert said[0] == ("A woman, 18 to 60, long sleeves, skirt or dress, boots, seen from the front.",)
    assert said[1] == ("A man, over 60, hat, short sleeves, trousers, seen from behind.",)
    assert said[3] == ("A woman.",)
    assert set(pa100k.SAID) == set(NAMES)
    assert len(set(pa100k.SAID.values())) == 26
    schema = load("pa100k", tmp_path, "val").schema
    assert schema is not None
    assert schema.sentence({"Skirt_Dress": "yes", "Hat": "no"}) == "A person, skirt or dress."


@pytest.mark.parametrize("folder", ["release_data", "data", "."])
def test_pictures_may_lie_in_release_data_in_data_or_beside_the_table(folder: str, tmp_path: Path) -> None:
    write(tmp_path, folder)
    assert load("pa100k", tmp_path, "test").samples[0].image == tmp_path / folder / "000007.jpg"


def test_a_part_of_one_picture_is_a_part(tmp_path: Path) -> None:
    """MATLAB's reader squeezes a single row."""
    write(tmp_path, rows={"train": [MAN], "val": [WOMAN], "test": [MAN]})
    assert [s.person for s in load("pa100k", tmp_path, "test").samples] == [0]
    assert [s.person for s in load("pa100k", tmp_path, "val").samples] == [1]


def test_counts_that_differ_from_the_published_ones_are_said(tmp_path: Path) -> None:
    write(tmp_path)
    assert load("pa100k", tmp_path, "val").notes == ("val pictures: 2 here, 10,000 published",)
    assert sum(pa100k.PUBLISHED.values()) == 100_000


def test_missing_files_are_one_error_with_the_layout(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "release_data" / "000009.jpg").unlink()
    with pytest.raises(
        DatasetError, match=r"1 of 5 listed pictures are missing, first .*000009\.jpg; expected"
    ):
        load("pa100k", tmp_path, "test")
    assert load("pa100k", tmp_path, "train").samples
    for picture in (tmp_path / "release_data").iterdir():
        picture.unlink()
    with pytest.raises(
        DatasetError, match=r"4 of 4 listed pictures are missing, first .*release_data/000001"
    ):
        load("pa100k", tmp_path, "train")
    path.unlink()
    with pytest.raises(DatasetError, match=r"no .*annotation\.mat; expected are .*xh-liu/HydraPlus-Net"):
        load("pa100k", tmp_path, "test")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_label": np.zeros((4, 26), np.uint8)}, "5 pictures with 4 rows"),
        ({"attributes": cells(NAMES[:20])}, "20 attributes"),
        ({"test_label": np.full((5, 26), 3, np.uint8)}, "each 0 or 1"),
        ({"val_label": np.zeros((2, 25), np.uint8)}, "needed are 2 rows of 26 values"),
    ],
)
def test_a_table_of_another_form_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    savemat(write(tmp_path), content() | change)
    with pytest.raises(DatasetError, match=words):
        load("pa100k", tmp_path, "test")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    savemat(path, {k: v for k, v in content().items() if k != "test_label"})
    with pytest.raises(DatasetError, match=r"isn't annotation\.mat: needed are attributes, .*test_label"):
        load("pa100k", tmp_path, "train")
    path.write_bytes(b"MATLAB?")
    with pytest.raises(DatasetError, match=r"pa100k: .*isn't annotation\.mat"):
        load("pa100k", tmp_path, "train")
