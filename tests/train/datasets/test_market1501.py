"""The Market-1501 loader on a small folder in the published format, with its traps."""

import csv
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from market_folder import NO_COLOUR, OLD_MAN, RED_DRESS, write_pictures, write_table
from PIL import Image
from scipy.io import savemat

from sdk.attributes import Schema
from sdk.errors import DatasetError
from train.datasets import _market1501_attributes as table
from train.datasets import load, market1501, parts
from train.prompts import IN_PART

TRAIN = {2: RED_DRESS, 7: NO_COLOUR, 10: OLD_MAN}
TEST = {1: OLD_MAN, 3: RED_DRESS, 4: OLD_MAN}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Market-1501-v15.09.15"
    files = {
        "bounding_box_train": [
            "0002_c1s1_000451_03", "0002_c2s1_000551_01", "0007_c1s1_000001_02", "0010_c6s4_000009_01",
        ],
        "bounding_box_test": [
            "-1_c1s1_000401_03",
            "0000_c1s1_000151_01",
            "0001_c1s1_001051_03",
            "0001_c2s1_001051_02",
            "0003_c3s2_000001_01",
            "0004_c5s1_000001_01.jpg",  # some published names end in .jpg.jpg
        ],
        "query": ["0001_c1s1_001051_00", "0003_c1s1_001051_00", "0004_c4s1_001051_00"],
    }  # fmt: skip
    write_pictures(folder, files, lambda name: Image.new("RGB", (6, 12), (90, 40, 30)))
    write_table(folder / table.FILE, TRAIN, TEST)
    return folder


def test_fields_are_read_by_name_in_either_order(root: Path) -> None:
    dress = {
        "age": "teenager", "gender": "female", "hair": "long", "hat": "no", "upper_color": "red",
        "sleeve": "short", "lower_color": "black", "lower_length": "short", "lower_type": "dress",
        "carrying": "handbag",
    }  # fmt: skip
    assert table.read_attributes(root, "train")[2] == dress
    assert table.read_attributes(root, "test")[3] == dress
    plain = table.read_attributes(root, "train")[7]
    assert (plain["upper_color"], plain["lower_color"], plain["carrying"]) == (
        "unknown",
        "unknown",
        "nothing",
    )


def test_sentences(root: Path) -> None:
    says = {person: table.SCHEMA.sentence(a) for person, a in table.read_attributes(root, "train").items()}
    assert says == {
        2: "A teenage woman with long hair, without a hat, wearing a red short-sleeved top and "
        "a short black dress, carrying a handbag.",
        7: "An adult man with short hair, wearing a hat, wearing a long-sleeved top and "
        "a long pair of pants, carrying nothing.",
        10: "An old man with short hair, without a hat, wearing a green long-sleeved top and "
        "a long brown pair of pants, carrying a backpack.",
    }


@given(st.data())
def test_any_subset_of_attributes_is_said_in_full(draw: st.DataObject) -> None:
    slots = draw.draw(st.lists(st.sampled_from(sorted(table.SCHEMA.slots)), unique=True, min_size=1))
    given_ = {slot: draw.draw(st.sampled_from(sorted(table.SCHEMA.slots[slot]))) for slot in slots}
    text, spans = table.SCHEMA.spans(given_)
    assert set(spans) == {slot for slot, value in given_.items() if table.SCHEMA.slots[slot][value]}
    for slot, (start, end) in spans.items():
        assert text[start:end] == table.SCHEMA.slots[slot][given_[slot]]


def test_training_part(root: Path) -> None:
    split = load("market1501", root, "train")
    assert [s.image_id for s in split.samples] == [
        f"bounding_box_train/{name}.jpg"
        for name in (
            "0002_c1s1_000451_03",
            "0002_c2s1_000551_01",
            "0007_c1s1_000001_02",
            "0010_c6s4_000009_01",
        )
    ]
    assert [(s.person, s.camera) for s in split.samples] == [(2, 1), (2, 2), (7, 1), (10, 6)]
    assert split.schema is table.SCHEMA


def test_a_training_picture_brings_a_shorter_sentence_of_its_own_attributes(root: Path) -> None:
    first, again = (load("market1501", root, "train").samples for _ in range(2))
    assert [s.captions for s in first] == [s.captions for s in again]
    for sample in first:
        assert sample.attributes is not None
        whole, part = sample.captions
        assert whole == table.SCHEMA.sentence(sample.attributes)
        some = (
            dict(chosen)
            for size in range(IN_PART[0], IN_PART[1] + 1)
            for chosen in itertools.combinations(sample.attributes.items(), size)
        )
        assert part in {table.SCHEMA.sentence(chosen) for chosen in some}
    assert first[0].captions[1:] != first[1].captions[1:]  # two pictures of one person
    assert all(len(s.captions) == 1 for s in load("market1501", root, "test").samples if s.person > 0)


def test_text_asks_for_each_person_among_people_only(root: Path) -> None:
    split = load("market1501", root, "test", "text")
    assert {s.person for s in split.gallery} == {
        1,
        3,
        4,
    }  # neither junk nor distractor; query folder included
    assert len(split.gallery) == 7
    assert [q.person for q in split.queries] == [1, 3, 4]
    assert split.queries[0].text == split.queries[2].text  # equal attributes, yet different answers
    assert split.relevant().sum(1).tolist() == [3, 2, 2]
    assert not split.ignored().any()


def test_attributes_ask_once_for_everyone_who_has_them(root: Path) -> None:
    split = load("market1501", root, "test", "attributes")
    assert len(split.queries) == 2
    assert len(split.gallery) == 7
    assert split.relevant().sum(1).tolist() == [5, 2]
    assert not split.ignored().any()


def test_image_ranks_all_of_bounding_box_test(root: Path) -> None:
    split = load("market1501", root, "test", "image")
    assert [s.person for s in split.gallery] == [-1, 0, 1, 1, 3, 4]
    assert split.queries[0].image.name == "0001_c1s1_001051_00.jpg"
    assert split.ignored()[:, 0].all()  # junk
    assert not split.ignored()[:, 1].any()  # distractors compete
    assert split.relevant().tolist()[0] == [False, False, False, True, False, False]  # not camera 1 again
    assert split.ignored().tolist()[0] == [True, False, True, False, False, False]


def test_counts_that_differ_from_the_published_ones_are_said(root: Path) -> None:
    notes = load("market1501", root, "test").notes
    assert "bounding_box_test pictures: 6 here, 19,732 published" in notes
    assert "query people: 3 here, 750 published" in notes
    assert "junk pictures (-1): 1 here, 3,819 published" in notes
    assert "distractors (0000): 1 here, 2,798 published" in notes
    assert "test attribute categories: 2 here, 484 published" in notes
    assert "train attribute categories: 3 here, 508 published" in load("market1501", root, "train").notes


def test_the_table_may_lie_in_the_root_in_attribute_or_beside(root: Path) -> None:
    expected = load("market1501", root, "test")
    for place in (root / "attribute", root.parent):
        place.mkdir(exist_ok=True)
        found = next(root.parent.rglob(table.FILE))
        os.replace(found, place / table.FILE)
        assert load("market1501", root, "test") == expected
    (root.parent / table.FILE).unlink()
    with pytest.raises(DatasetError, match=r"no market_attribute\.mat as .*attribute"):
        load("market1501", root, "test")


def test_there_is_no_validation_part(root: Path) -> None:
    assert parts("market1501") == ("train", "test")
    with pytest.raises(DatasetError, match="no part 'val'; it has train, test"):
        load("market1501", root, "val")
    with pytest.raises(DatasetError, match="no validation people"):
        market1501.load(root, "val")
    with pytest.raises(DatasetError, match="no task 'composed'"):
        load("market1501", root, "test", "composed")


def test_a_wrong_folder_shows_the_layout(root: Path, tmp_path: Path) -> None:
    write_table(tmp_path / table.FILE, TRAIN, TEST)
    with pytest.raises(DatasetError, match="no folder bounding_box_train/; expected are"):
        load("market1501", tmp_path, "train")
    for path in (root / "bounding_box_train").glob("*.jpg"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"holds no \.jpg"):
        load("market1501", root, "train")


def test_odd_names_and_unknown_people_are_named(root: Path) -> None:
    odd = root / "query" / "holiday.jpg"
    odd.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holiday\.jpg isn't named like"):
        load("market1501", root, "test")
    os.replace(odd, root / "query" / "0099_c1s1_001051_00.jpg")
    with pytest.raises(DatasetError, match="shows person 0099, of whom"):
        load("market1501", root, "test")


@pytest.mark.parametrize(
    ("person", "words"),
    [
        ({**RED_DRESS, "age": 5}, "person 0002: age is 5; known are 1 to 4"),
        ({**RED_DRESS, "hat": 0}, "hat is 0"),
        ({**RED_DRESS, "upblue": 2}, "upper_color is red and blue at once"),
        ({**RED_DRESS, "bag": 2}, "carrying is bag and handbag at once"),
    ],
)
def test_codes_that_mean_nothing_are_refused(root: Path, person: dict[str, int], words: str) -> None:
    write_table(root / table.FILE, {**TRAIN, 2: person}, TEST)
    with pytest.raises(DatasetError, match=words):
        load("market1501", root, "train")


def test_a_file_that_is_no_attribute_table_is_refused(root: Path) -> None:
    path = root / table.FILE
    savemat(path, {"something": 1})
    with pytest.raises(DatasetError, match="isn't the attribute table"):
        load("market1501", root, "train")
    path.write_bytes(b"no MATLAB at all")
    with pytest.raises(DatasetError, match="isn't the attribute table"):
        load("market1501", root, "train")
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="isn't the attribute table"):
        load("market1501", root, "train")


def test_the_list_for_indexing_holds_both_test_folders(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "market.csv"
    assert market1501.write_list(root, out) == 9
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == ["id", "path", "person", "camera", "folder", *table.SCHEMA.slots]
    assert len({row["id"] for row in rows}) == 9
    assert all(os.path.isabs(row["path"]) and Path(row["path"]).is_file() for row in rows)
    junk, query = rows[0], rows[-3]
    assert (junk["person"], junk["camera"], junk["folder"], junk["hat"]) == (
        "-1",
        "1",
        "bounding_box_test",
        "",
    )
    assert (query["id"], query["person"], query["folder"]) == ("query/0001_c1s1_001051_00.jpg", "1", "query")
    assert (query["upper_color"], query["carrying"]) == ("green", "backpack")


@pytest.mark.data
@pytest.mark.skipif("LABRADOR_MARKET1501" not in os.environ, reason="LABRADOR_MARKET1501 names no folder")
def test_the_published_set_has_the_published_counts() -> None:
    real = Path(os.environ["LABRADOR_MARKET1501"])
    train, attributes, image = (
        load("market1501", real, part, task)
        for part, task in (("train", "text"), ("test", "attributes"), ("test", "image"))
    )
    assert train.notes + attributes.notes + image.notes == ()
    assert (len(attributes.queries), len(attributes.gallery)) == (484, 16_483)
    assert (len(image.queries), len(image.gallery)) == (3_368, 19_732)
    assert image.ignored().all(axis=0).sum() == 3_819
    assert attributes.relevant().any(axis=1).all()
    assert image.relevant().any(axis=1).all()
    seen, asked = (
        {Schema.as_set(s.attributes or {}) for s in split.samples} for split in (train, attributes)
    )
    assert (len(seen), len(asked), len(seen & asked), len(seen | asked)) == (508, 484, 169, 823)
    for part, people, no_upper, no_lower in (("train", 751, 78, 30), ("test", 750, 69, 44)):
        described = table.read_attributes(real, part).values()
        assert len(described) == people
        assert sum(a["upper_color"] == "unknown" for a in described) == no_upper
        assert sum(a["lower_color"] == "unknown" for a in described) == no_lower
        assert all(a["gender"] == "female" for a in described if a["lower_type"] == "dress")
