"""PETA on small folders in the published format: the table by places, SAL's parts, categories as queries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from sdk.errors import DatasetError
from train.datasets import load, peta

COLOURS = "Black Blue Brown Green Grey Orange Pink Purple Red White Yellow".split()
# as the published file orders them: recognition's 35, 44 colours, 26 more
NAMES = (
    """personalLess30 personalLess45 personalLess60 personalLarger60 carryingBackpack carryingOther
    lowerBodyCasual upperBodyCasual lowerBodyFormal upperBodyFormal accessoryHat upperBodyJacket
    lowerBodyJeans footwearLeatherShoes upperBodyLogo hairLong personalMale carryingMessengerBag
    accessoryMuffler accessoryNothing carryingNothing upperBodyPlaid carryingPlasticBags footwearSandals
    footwearShoes lowerBodyShorts upperBodyShortSleeve lowerBodyShortSkirt footwearSneaker
    upperBodyThinStripes accessorySunglasses lowerBodyTrousers upperBodyTshirt upperBodyOther
    upperBodyVNeck""".split()
    + [f"{where}{c}" for where in ("upperBody", "lowerBody", "hair", "footwear") for c in COLOURS]
    + """accessoryHeadphone personalLess15 carryingBabyBuggy hairBald footwearBoots lowerBodyCapri
    carryingShoppingTro carryingUmbrella personalFemale carryingFolder accessoryHairBand lowerBodyHotPants
    accessoryKerchief lowerBodyLongSkirt upperBodyLongSleeve lowerBodyPlaid lowerBodyThinStripes
    carryingLuggageCase upperBodyNoSleeve hairShort footwearStocking upperBodySuit carryingSuitcase
    lowerBodySuits upperBodySweater upperBodyThickStripes""".split()
)
MAN = ["personalMale", "personalLess30", "hairShort"]
WOMAN = ["personalFemale", "personalLess45", "hairLong", "upperBodyRed"]
# a category is a row's attributes; pictures 1 to 14 are of these
ROWS = [
    MAN, MAN, WOMAN, ["personalMale"], [], [*MAN, "upperBodyBlue"], MAN, [], WOMAN,
    ["personalFemale", "accessoryHat"], ["personalFemale", "accessoryHat"], [*MAN, "upperBodyBlue"],
    ["personalMale", "upperBodyBlue"], [],
]  # fmt: skip
SEVERAL = [[1, 2, 7], [3, 9], [5, 8, 14], [6, 12], [10, 11]]  # categories of more than a picture, in order


def write(root: Path, rows: list[list[str]] = ROWS, folder: str = "images", mat: Path | None = None) -> Path:
    table = np.array([[7, 7, 7, 7, *(name in row for name in NAMES)] for row in rows], np.uint8)
    names = np.array(NAMES, object).reshape(-1, 1)
    parts = np.empty((5, 1), object)
    for place in range(5):
        parts[place, 0] = {k: np.arange(1, 4).reshape(-1, 1) for k in ("train", "val", "test")}
    path = mat or root / peta.FILE
    (root / folder).mkdir(parents=True, exist_ok=True)
    # the struct's fields have names of their own: loaders go by their places
    savemat(path, {"peta": {"first": table, "second": names, "third": "other", "fourth": parts}})
    for number in range(1, len(rows) + 1):
        Image.new("RGB", (4, 8), (number, 90, 90)).save(root / folder / f"{number:05d}.png")
    return path


@pytest.fixture(autouse=True)
def _few_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peta, "TEST_CATEGORIES", 2)


def numbers(split: Any) -> list[int]:
    return [int(s.image.stem) for s in split.samples]


def test_the_fixture_is_laid_out_as_public_loaders_read_the_file(tmp_path: Path) -> None:
    """By places only: peta[0][0][0] the table, [1] a column of cells, [3] cells of three columns of rows."""
    raw = loadmat(write(tmp_path))["peta"]
    assert len(NAMES) == len(set(NAMES)) == 105
    assert raw[0][0][0].shape == (14, 109)
    assert [cell[0][0] for cell in raw[0][0][1]] == NAMES
    assert raw[0][0][3][4][0][0][0][0][:, 0].tolist() == [1, 2, 3]


def test_parts_are_drawn_as_sal_draws_them(tmp_path: Path) -> None:
    write(tmp_path)
    train, test = (load("peta", tmp_path, part) for part in ("train", "test"))
    drawn = np.random.RandomState(1).permutation(len(SEVERAL))[: len(SEVERAL) - 2]
    expected = [
        sorted(n for place, numbers in enumerate(SEVERAL) if (place in drawn) == inside for n in numbers)
        for inside in (True, False)
    ]
    assert [numbers(train), numbers(test)] == expected
    assert 4 not in expected[0] + expected[1]  # alone in its category
    assert 13 not in expected[0] + expected[1]


def test_the_draw_is_the_published_one_for_ever() -> None:
    """RandomState's stream is frozen by NumPy; 1,700 categories of two pictures, 200 of them to test."""
    twice = np.tile(np.arange(1700), 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peta, "TEST_CATEGORIES", 200)
        test = peta._part(peta.SOURCE, Path("PETA.mat"), twice, "test")
        train = peta._part(peta.SOURCE, Path("PETA.mat"), twice, "train")
    assert sorted([*train, *test]) == list(range(1700))
    assert len(test) == 200
    assert test[:8].tolist() == [15, 20, 21, 25, 77, 96, 129, 130]


def test_every_category_of_the_part_asks_once_for_all_who_have_it(tmp_path: Path) -> None:
    write(tmp_path)
    for part in ("train", "test"):
        split = load("peta", tmp_path, part)
        assert len(split.queries) == (3 if part == "train" else 2)
        assert split.gallery == split.samples
        assert split.match == "attributes"
        assert not split.ignored().any()
        assert split.relevant().sum(0).tolist() == [1] * len(split.gallery)
        for query, row in zip(split.queries, split.relevant(), strict=True):
            found = [split.gallery[j] for j in np.flatnonzero(row)]
            assert {s.attributes == query.attributes for s in found} == {True}
            assert {s.captions for s in found} == {(query.text,)}
            assert len({s.person for s in found}) == 1


def test_attributes_and_sentences(tmp_path: Path) -> None:
    write(tmp_path)
    samples = {
        n: s
        for part in ("train", "test")
        for n, s in zip(
            numbers(load("peta", tmp_path, part)), load("peta", tmp_path, part).samples, strict=True
        )
    }
    assert list(samples[1].attributes or ()) == NAMES
    assert {name for name, value in (samples[3].attributes or {}).items() if value == "yes"} == set(WOMAN)
    assert samples[1].captions == ("A man, under 30, short hair.",)
    assert samples[3].captions == ("A woman, under 45, long hair, red top.",)
    assert samples[5].captions == ("A person.",)
    assert samples[10].captions == ("A woman, hat.",)


def test_each_published_attribute_has_its_own_short_phrase() -> None:
    assert {*peta.SAID, "personalMale", "personalFemale"} == set(NAMES)
    assert len(set(peta.SAID.values())) == len(peta.SAID)


def test_a_crowded_sentence_fits_the_text_tower() -> None:
    from open_clip.tokenizer import SimpleTokenizer

    crowded = """personalFemale personalLess45 hairLong hairBrown accessorySunglasses accessoryMuffler
    upperBodyFormal upperBodyJacket upperBodyLongSleeve upperBodyBlack upperBodyWhite upperBodyThickStripes
    lowerBodyFormal lowerBodyTrousers lowerBodyGrey footwearLeatherShoes footwearBlack carryingMessengerBag
    carryingPlasticBags carryingOther""".split()
    text = peta._schema("peta", NAMES).sentence({name: "yes" for name in crowded})
    assert text.count(",") == len(crowded) - 1
    assert len(SimpleTokenizer().encode(text)) <= 77 - 2  # start and end


def test_the_35_attributes_of_recognition_make_larger_categories(tmp_path: Path) -> None:
    write(tmp_path)
    splits = [load("peta35", tmp_path, part) for part in ("train", "test")]
    assert all(list(s.attributes or ()) == NAMES[:35] for split in splits for s in split.samples)
    together = {
        frozenset(n for n, s in zip(numbers(split), split.samples, strict=True) if s.person == person)
        for split in splits
        for person in {s.person for s in split.samples}
    }
    # colours, short hair and being a woman (but for "not a man") don't count; 10 and 11 keep their hat
    assert together == {frozenset(c) for c in ([1, 2, 6, 7, 12], [3, 9], [4, 13], [5, 8, 14], [10, 11])}
    said = {s.captions[0] for split in splits for s in split.samples}
    assert said == {
        "A man, under 30.", "A woman, under 45, long hair.", "A man.", "A woman.", "A woman, hat."
    }  # fmt: skip
    assert splits[0].name == "peta35/train"


@pytest.mark.parametrize("folder", ["images", "PETA", "."])
def test_pictures_may_lie_in_images_in_peta_or_beside_the_table(folder: str, tmp_path: Path) -> None:
    write(tmp_path, folder=folder)
    assert load("peta", tmp_path, "test").samples[0].image.parent == tmp_path / folder


def test_sals_layout_has_the_table_one_level_up(tmp_path: Path) -> None:
    root = tmp_path / "PETA"
    write(root, folder=".", mat=root / peta.FILE)
    (root / peta.FILE).rename(tmp_path / peta.FILE)
    assert len(load("peta", root, "train").samples) + len(load("peta", root, "test").samples) == 12
    assert load("peta", tmp_path, "test").samples == load("peta", root, "test").samples


def test_counts_that_differ_from_the_published_ones_are_said(tmp_path: Path) -> None:
    write(tmp_path)
    assert load("peta", tmp_path, "test").notes == (
        "pictures: 14 here, 19,000 published",
        "attribute categories: 7 here, 7,769 published",
    )
    assert load("peta35", tmp_path, "test").notes == ("pictures: 14 here, 19,000 published",)


def test_missing_files_are_one_error_with_the_layout(tmp_path: Path) -> None:
    path = write(tmp_path)
    for number in (3, 11):
        (tmp_path / "images" / f"{number:05d}.png").unlink()
    with pytest.raises(
        DatasetError, match=r"2 of 14 listed pictures are missing, first .*00003\.png; expected"
    ):
        load("peta", tmp_path, "test")
    for picture in (tmp_path / "images").iterdir():
        picture.unlink()
    with pytest.raises(DatasetError, match=r"holds no picture like images/00001\.png; expected are"):
        load("peta", tmp_path, "test")
    path.unlink()
    with pytest.raises(DatasetError, match=r"no PETA\.mat in .*mmlab\.ie\.cuhk\.edu\.hk/projects/PETA"):
        load("peta", tmp_path, "test")


def test_too_few_categories_for_the_rule_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [MAN, MAN, WOMAN, WOMAN, []])
    with pytest.raises(DatasetError, match="2 categories with more than one picture; 2 are for the test"):
        load("peta", tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"other": 1}, r"isn't PETA\.mat: needed is the struct peta.*KeyError"),
        ({"peta": 3}, r"got \(0,\) and 0 names"),
        ({"peta": {"a": np.zeros((5, 100)), "b": np.array(NAMES, object)}}, r"got \(5, 100\) and 105 names"),
        (
            {"peta": {"a": np.zeros((5, 109)), "b": np.array(NAMES[:9], object)}},
            r"got \(5, 109\) and 9 names",
        ),
        ({"peta": {"a": np.full((5, 109), 2), "b": np.array(NAMES, object)}}, "each 0 or 1"),
    ],
)
def test_a_table_of_another_form_is_refused(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    savemat(path, content)
    with pytest.raises(DatasetError, match=f"peta: .*{words}"):
        load("peta", tmp_path, "test")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"isn't PETA\.mat"):
        load("peta", tmp_path, "test")
