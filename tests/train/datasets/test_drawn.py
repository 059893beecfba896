"""The drawn loader: on what `draw` writes, and on a small folder in the public layouts, whole and damaged."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sdk.errors import DatasetError
from train.datasets import load

SCHEMA = {
    "name": "tiny",
    "slots": {"gender": {"male": "man", "female": "woman"}, "coat": {"red": "red", "blue": "blue"}},
    "clauses": [["A {gender}"], ["in a {coat} coat"]],
}
RED_MAN, BLUE_MAN, RED_WOMAN = ("male", "red"), ("male", "blue"), ("female", "red")
# part, person, camera, attributes; each person once per camera given
SHOTS = [
    ("train", 1, 1, RED_MAN),
    ("train", 1, 2, RED_MAN),
    ("val", 5, 1, BLUE_MAN),
    ("test", 7, 1, RED_MAN),
    ("test", 7, 2, RED_MAN),
    ("test", 7, 2, RED_MAN),
    ("test", 8, 3, BLUE_MAN),
    ("test", 9, 1, RED_WOMAN),
    ("test", 9, 2, RED_WOMAN),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    listed, rows = [], []
    for index, (part, person, camera, (gender, coat)) in enumerate(SHOTS):
        name = f"{part}/{person:05d}_c{camera}_{index}.jpg"
        path = tmp_path / "imgs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), coat).save(path)
        captions = [f"A {gender} person in {coat}, number {index}.", f"{coat} {gender} {index}"]
        listed.append(
            {"split": part, "captions": captions, "file_path": name, "id": person, "processed_tokens": []}
        )
        rows.append([name, person, camera, "back", part, gender, coat])
    (tmp_path / "reid_raw.json").write_text(json.dumps(listed), "utf-8")
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA), "utf-8")
    with (tmp_path / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_path", "id", "camera", "view", "split", "gender", "coat"], *rows])
    asked = {"file_path": f"imgs/{listed[3]['file_path']}", "datasets": "drawn", "person_id": 7}
    (tmp_path / "query.json").write_text(
        json.dumps([{**asked, "instance_id": 8, "caption": "in blue"}]), "utf-8"
    )
    offered = [
        {"file_path": f"imgs/{listed[i]['file_path']}", "datasets": "drawn", "person_id": listed[i]["id"],
         "instance_id": instance}
        for i, instance in ((4, 7), (6, 8), (7, -1))
    ]  # fmt: skip
    (tmp_path / "gallery.json").write_text(json.dumps(offered), "utf-8")
    return tmp_path


def test_parts_hold_their_own_people(root: Path) -> None:
    found = {part: {s.person for s in load("drawn", root, part).samples} for part in ("train", "val", "test")}
    assert found == {"train": {1}, "val": {5}, "test": {7, 8, 9}}
    sample = load("drawn", root, "train").samples[1]
    assert sample.image == root / "imgs" / "train" / "00001_c2_1.jpg"
    assert (sample.image_id, sample.camera, sample.view) == ("train/00001_c2_1.jpg", 2, "back")
    assert sample.captions == ("A male person in red, number 1.", "red male 1")
    assert sample.attributes == {"gender": "male", "coat": "red"}


def test_every_caption_asks_for_its_person(root: Path) -> None:
    split = load("drawn", root, "test", "text")
    assert len(split.queries) == 12
    assert len(split.gallery) == 6
    assert split.relevant().sum(1).tolist() == [3] * 6 + [1] * 2 + [2] * 4


def test_each_attribute_set_asks_once(root: Path) -> None:
    split = load("drawn", root, "test", "attributes")
    assert [q.text for q in split.queries] == [
        "A man, in a red coat.", "A man, in a blue coat.", "A woman, in a red coat."
    ]  # fmt: skip
    assert split.relevant().sum(1).tolist() == [3, 1, 2]
    assert split.schema is not None
    assert split.schema.name == "tiny"


def test_pictures_ask_for_other_cameras(root: Path) -> None:
    split = load("drawn", root, "test", "image")
    assert split.relevant().sum(1).tolist() == [2, 1, 1, 0, 1, 1]  # person 8 has one picture only
    assert split.ignored().sum(1).tolist() == [1, 2, 2, 1, 1, 1]  # itself, and its camera's


def test_composed_queries_ask_for_an_instance(root: Path) -> None:
    split = load("drawn", root, "test", "composed")
    assert [(q.text, q.person) for q in split.queries] == [("in blue", 7)]
    assert split.queries[0].image == root / "imgs" / "test" / "00007_c1_3.jpg"
    assert [s.person for s in split.gallery] == [7, 8, 9]
    assert split.gallery_keys == (7, 8, None)  # -1 is a distractor
    assert split.relevant().tolist() == [[False, True, False]]
    with pytest.raises(DatasetError, match="for the part 'test' only"):
        load("drawn", root, "train", "composed")


def rewrite(path: Path, change: Callable[[list], object]) -> None:
    entries = json.loads(path.read_text("utf-8"))
    change(entries)
    path.write_text(json.dumps(entries), "utf-8")


@pytest.mark.parametrize("name", ["reid_raw.json", "attributes.csv", "schema.json"])
def test_a_missing_or_unreadable_table_is_named_with_the_layout(root: Path, name: str) -> None:
    (root / name).write_bytes(b"\xff\xfe{")
    with pytest.raises(DatasetError, match=name):
        load("drawn", root, "test")
    (root / name).unlink()
    with pytest.raises(DatasetError, match=f"{name} can't be read .*expected are imgs/"):
        load("drawn", root, "test")


def test_what_an_entry_lacks_is_said(root: Path) -> None:
    rewrite(root / "reid_raw.json", lambda entries: entries[4].pop("captions"))
    with pytest.raises(DatasetError, match=r"reid_raw\.json, entry 4 lacks captions"):
        load("drawn", root, "test")
    (root / "reid_raw.json").write_text('{"a": 1}', "utf-8")
    with pytest.raises(DatasetError, match="holds dict; needed is a list"):
        load("drawn", root, "test")
    (root / "query.json").write_text("[3]", "utf-8")
    (root / "reid_raw.json").write_text("[]", "utf-8")
    with pytest.raises(DatasetError, match="lists no picture of the part 'test'"):
        load("drawn", root, "test", "composed")


def test_a_composed_list_that_is_damaged_is_named(root: Path) -> None:
    (root / "query.json").write_text("[3]", "utf-8")
    with pytest.raises(DatasetError, match=r"query\.json, entry 0 lacks file_path, person_id"):
        load("drawn", root, "test", "composed")


def test_tables_that_disagree_are_refused(root: Path) -> None:
    original = (root / "reid_raw.json").read_text("utf-8")
    rewrite(root / "reid_raw.json", lambda entries: entries[3].update(id=70))
    with pytest.raises(DatasetError, match=r"00007_c1_3\.jpg: attributes\.csv and reid_raw\.json differ"):
        load("drawn", root, "test")
    rewrite(root / "reid_raw.json", lambda entries: entries[3].update(id="seven"))
    with pytest.raises(DatasetError, match="id and camera must be integers"):
        load("drawn", root, "test")
    rewrite(root / "reid_raw.json", lambda entries: entries[3].update(file_path="test/other.jpg"))
    with pytest.raises(DatasetError, match=r"has no row for test/other\.jpg"):
        load("drawn", root, "test")
    (root / "reid_raw.json").write_text(original, "utf-8")
    table = root / "attributes.csv"
    table.write_text(table.read_text("utf-8").replace("male,blue", "male,plaid"), "utf-8")
    with pytest.raises(DatasetError, match="coat='plaid' is unknown; 'coat' takes 'red', 'blue'"):
        load("drawn", root, "test")
    table.write_text(table.read_text("utf-8").replace("camera,", "cam,"), "utf-8")
    with pytest.raises(DatasetError, match="lacks the columns camera"):
        load("drawn", root, "test")


def test_missing_pictures_are_counted_and_named(root: Path) -> None:
    for name in ("00007_c1_3.jpg", "00008_c3_6.jpg"):
        (root / "imgs" / "test" / name).unlink()
    with pytest.raises(DatasetError, match=r"2 of 6 listed pictures are missing, first .*00007_c1_3\.jpg"):
        load("drawn", root, "test")
    assert load("drawn", root, "train").samples  # the other parts are whole


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from train.synthesis.draw import draw

    out = tmp_path_factory.mktemp("drawn") / "people"
    draw(out, people=40, images_per_person=3, seed=1)
    return out


def test_what_draw_writes_is_what_load_reads(people: Path) -> None:
    splits = {part: load("drawn", people, part) for part in ("train", "val", "test")}
    assert sum(len(s.samples) for s in splits.values()) == 120
    owners = [{s.person for s in split.samples} for split in splits.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 40
    for part, split in splits.items():
        assert not split.notes
        assert {s.image.parent.name for s in split.samples} == {part}
        assert all(len(s.captions) == 2 for s in split.samples)
        assert split.relevant().sum(1).tolist() == [3] * len(split.queries)
    assert load("drawn", people, "test", "composed").relevant().any(1).all()
    on_others = load("drawn", people, "test", "image").relevant().sum(1)
    assert on_others.min() >= 1  # everyone is seen by another camera
    by_attributes = load("drawn", people, "test", "attributes")
    assert len(by_attributes.queries) == len(owners[2])  # test people have distinct attribute sets
