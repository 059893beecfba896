"""CUHK-PEDES, ICFG-PEDES and RSTPReid: small folders in the published layouts, whole, odd and damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdk.errors import DatasetError
from train.datasets import cuhk_pedes, icfg_pedes, load, rstpreid
from train.datasets._captions import Published

# name: file, field of the picture, [(part, id, picture, captions)] as the set numbers and names them
SETS: dict[str, tuple[str, str, list[tuple[str, int, str, int]]]] = {
    "cuhk_pedes": (
        "reid_raw.json",
        "file_path",
        [
            ("train", 1, "CUHK01/0363004.png", 2),
            ("train", 1, "cam_a/001_45.bmp", 2),
            ("train", 2, "train_query/p11600_s14885.jpg", 3),  # a few pictures have more than two
            ("val", 11004, "Market/0004_c1s1.jpg", 2),
            ("test", 12004, "test_query/p1_s1.jpg", 2),
            ("test", 12004, "cam_b/002_90.bmp", 2),
            ("test", 12005, "CUHK03/1_2.png", 2),
        ],
    ),
    "icfg_pedes": (
        "ICFG-PEDES.json",
        "file_path",
        [
            ("train", 0, "test/0000/0000_000_01_0303morning_0008_0.jpg", 1),  # MSMT17's folder, not the part
            ("train", 1, "train/0032/0032_000_01_0303morning_0008_0.jpg", 1),
            ("test", 2, "train/0033/0033_000_01_0303morning_0008_0.jpg", 1),
            ("test", 2, "test/0033/0033_001_01_0303morning_0008_0.jpg", 1),
            ("test", 3, "test/0034/0034_001_01_0303morning_0008_0.jpg", 1),
        ],
    ),
    "rstpreid": (
        "data_captions.json",
        "img_path",
        [
            ("train", 0, "0000_c14_0031.jpg", 2),
            ("train", 1, "0001_c1_0031.jpg", 2),
            ("val", 3701, "3701_c14_0031.jpg", 2),
            ("test", 3901, "3901_c14_0031.jpg", 2),
            ("test", 3901, "3901_c1_0007.jpg", 2),
            ("test", 3902, "3902_c2_0031.jpg", 2),
        ],
    ),
}


def write(name: str, root: Path) -> Path:
    """The dataset's folder with its pictures and its JSON list, which is returned."""
    file, picture, rows = SETS[name]
    entries = []
    for number, (part, person, place, captions) in enumerate(rows):
        path = root / "imgs" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8), (number * 20, 90, 90)).save(path)
        said = [f"The man number {number}.{'' if n else ' Again.'}" for n in range(captions)]
        entry = {"split": part, "captions": said, picture: place, "id": person}
        entries.append({**entry, "processed_tokens": [text.split() for text in said]})
    (root / file).write_text(json.dumps(entries), "utf-8")
    return root / file


@pytest.mark.parametrize("name", SETS)
def test_every_caption_asks_for_its_person_among_all_pictures_of_the_part(name: str, tmp_path: Path) -> None:
    write(name, tmp_path)
    for part in dict.fromkeys(row[0] for row in SETS[name][2]):
        split = load(name, tmp_path, part)
        rows = [row for row in SETS[name][2] if row[0] == part]
        assert split.name == f"{name}/{part}"
        assert [(s.person, s.image_id, len(s.captions)) for s in split.samples] == [row[1:] for row in rows]
        assert [s.image for s in split.samples] == [tmp_path / "imgs" / row[2] for row in rows]
        assert all(s.image.is_file() for s in split.samples)
        assert split.gallery == split.samples
        asked = [row[1] for row in rows for _ in range(row[3])]
        assert [q.person for q in split.queries] == asked
        same = [sum(row[1] == person for row in rows) for person in asked]
        assert split.relevant().sum(1).tolist() == same
        assert not split.ignored().any()  # nothing is taken out, the captioned picture neither


@pytest.mark.parametrize("name", SETS)
def test_counts_that_differ_from_the_published_ones_are_said(name: str, tmp_path: Path) -> None:
    write(name, tmp_path)
    notes = load(name, tmp_path, "test").notes
    expected = {
        "cuhk_pedes": ["3 here, 3,074", "2 here, 1,000", "6 here, 6,156"],
        "icfg_pedes": ["3 here, 19,848", "2 here, 1,000", "3 here, 19,848"],
        "rstpreid": ["3 here, 1,000", "2 here, 200", "6 here, 2,000"],
    }[name]
    what = ("test pictures", "test people", "test captions")
    assert notes == tuple(f"{w}: {e} published" for w, e in zip(what, expected, strict=True))


@pytest.mark.parametrize(
    ("module", "totals"),
    [
        (cuhk_pedes, (40_206, 13_003, 80_440)),
        (icfg_pedes, (54_522, 4_102, 54_522)),
        (rstpreid, (20_505, 4_101, 41_010)),
    ],
)
def test_the_published_parts_add_up_to_the_published_set(module: Any, totals: tuple[int, ...]) -> None:
    assert set(module.PUBLISHED) == set(module.PARTS)
    assert tuple(map(sum, zip(*(known[:3] for known in module.PUBLISHED.values()), strict=True))) == totals


def test_counts_that_agree_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("rstpreid", tmp_path)
    monkeypatch.setitem(rstpreid.PUBLISHED, "train", Published(2, 2, 4, first=0))
    assert load("rstpreid", tmp_path, "train").notes == ()
    monkeypatch.setitem(rstpreid.PUBLISHED, "train", Published(2, 2, 4, first=1))
    assert load("rstpreid", tmp_path, "train").notes == (
        "train people aren't numbered from 1 on without a gap, as published",
    )


@pytest.mark.parametrize("file", ["ICFG-PEDES.json", "ICFG_PEDES.json"])
def test_both_names_of_the_icfg_file_are_read(file: str, tmp_path: Path) -> None:
    write("icfg_pedes", tmp_path).rename(tmp_path / file)
    assert len(load("icfg_pedes", tmp_path, "test").samples) == 3
    (tmp_path / file).unlink()
    with pytest.raises(DatasetError, match=r"neither of ICFG-PEDES\.json and ICFG_PEDES\.json; expected are"):
        load("icfg_pedes", tmp_path, "test")


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    entries = json.loads(path.read_text("utf-8"))
    change(entries)
    path.write_text(json.dumps(entries), "utf-8")


def test_parts_are_read_in_any_case_and_ids_as_text_too(tmp_path: Path) -> None:
    path = write("icfg_pedes", tmp_path)
    expected = load("icfg_pedes", tmp_path, "train")
    rewrite(path, lambda entries: [e.update(split=e["split"].title(), id=str(e["id"])) for e in entries])
    assert load("icfg_pedes", tmp_path, "train") == expected


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    path = write("icfg_pedes", tmp_path)
    rewrite(path, lambda entries: entries[0].update(split="val"))
    rewrite(path, lambda entries: entries[3].update(captions=["", "A man.", " \n"]))
    rewrite(path, lambda entries: entries.append(entries[4]))
    split = load("icfg_pedes", tmp_path, "test")
    assert [s.captions for s in split.samples][1] == ("A man.",)
    assert "1 pictures of the part 'val' are not used" in split.notes
    assert "2 blank captions are left out" in split.notes
    assert "1 entries of test show a picture again" in split.notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"captions": "A man."}, "entry 4: captions must be a list of strings, file_path a string"),
        ({"captions": ["A man.", None]}, "entry 4: captions must be a list of strings"),
        ({"file_path": 7}, "entry 4: captions must be a list of strings, file_path a string"),
        ({"id": "the tall one"}, "entry 4: id must be an integer"),
        ({"id": None}, "entry 4: id must be an integer"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write("cuhk_pedes", tmp_path)
    rewrite(path, lambda entries: entries[4].update(change))
    with pytest.raises(DatasetError, match=rf"cuhk_pedes: .*reid_raw\.json, {words}"):
        load("cuhk_pedes", tmp_path, "test")
    assert load("cuhk_pedes", tmp_path, "train").samples  # another part is read


@pytest.mark.parametrize("name", SETS)
def test_missing_and_damaged_lists_are_named(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path)
    rewrite(path, lambda entries: entries[1].pop(SETS[name][1]))
    with pytest.raises(DatasetError, match=f"{path.name}, entry 1 lacks {SETS[name][1]}"):
        load(name, tmp_path, "test")
    path.write_text('{"a": 1}', "utf-8")
    with pytest.raises(DatasetError, match="holds dict; needed is a list of objects"):
        load(name, tmp_path, "test")
    path.write_text("[]", "utf-8")
    with pytest.raises(DatasetError, match="lists no picture of the part 'test'"):
        load(name, tmp_path, "test")
    path.write_bytes(b'[{"split": "train"')
    with pytest.raises(
        DatasetError, match=r"can't be read .*expected are .*Nothing is downloaded: the authors"
    ):
        load(name, tmp_path, "test")


@pytest.mark.parametrize("name", SETS)
def test_missing_pictures_are_one_error(name: str, tmp_path: Path) -> None:
    write(name, tmp_path)
    rows = [row for row in SETS[name][2] if row[0] == "test"]
    for row in rows[1:]:
        (tmp_path / "imgs" / row[2]).unlink()
    first = (tmp_path / "imgs" / rows[1][2]).as_posix()
    with pytest.raises(
        DatasetError, match=f"2 of 3 listed pictures are missing, first {first}; expected are"
    ):
        load(name, tmp_path, "test")
    assert load(name, tmp_path, "train").samples


def test_a_truncated_jpeg_is_listed_like_any_other(tmp_path: Path) -> None:
    write("rstpreid", tmp_path)
    path = tmp_path / "imgs" / "3901_c1_0007.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    assert path in [s.image for s in load("rstpreid", tmp_path, "test").samples]
