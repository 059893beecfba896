"""A whole small draw: the same pixels anywhere, layouts as published, refusals that lose nothing."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdk.attributes import Schema
from sdk.errors import DatasetError, InputError
from train.synthesis import draw as drawing
from train.synthesis.camera import CAMERAS, cameras_of, photograph
from train.synthesis.captions import without_colours
from train.synthesis.draw import draw
from train.synthesis.people import cast, changes
from train.synthesis.scenes import HEIGHT, WIDTH, backdrop
from train.synthesis.wardrobe import SCHEMA, VIEWS

PEOPLE, IMAGES, SEED = 24, 4, 7
# Of this draw, made on x86-64 with Pillow 13.0 (libjpeg-turbo 3.2); any other machine must agree. When the
# drawing itself is changed on purpose, take the new values and raise draw.RENDERER.
RENDERED = "063f7197be4783282f91e2d08fc6f684670f669322ac60c2f311c260103fffc6"
DECODED = "fdedc026a4aabf98b05228b2d45117282656895805f5aa1375c7725c5b8b3d95"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("draw") / "people"
    draw(out, people=PEOPLE, images_per_person=IMAGES, seed=SEED)
    return out


@pytest.fixture(scope="module")
def reid(root: Path) -> list[dict[str, Any]]:
    return json.loads((root / "reid_raw.json").read_text())


@pytest.fixture(scope="module")
def attributes(root: Path) -> dict[int, dict[str, str]]:
    with (root / "attributes.csv").open(newline="") as file:
        return {int(r["id"]): {s: r[s] for s in SCHEMA.slots} for r in csv.DictReader(file)}


def digest(pictures: list[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for picture in pictures:
        sha.update(repr(picture.shape).encode() + picture.tobytes())
    return sha.hexdigest()


def decoded(root: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(root.glob("imgs/*/*.jpg"))]


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_rendered_pixels_are_the_recorded_ones() -> None:
    people = cast(PEOPLE, SEED)
    pictures = [
        photograph(p, i, camera, view, people, SEED).pixels
        for p in people[:8]
        for i, (camera, view) in enumerate(cameras_of(p, IMAGES, SEED))
    ]
    assert digest(pictures) == RENDERED


def test_decoded_pixels_are_the_recorded_ones(root: Path) -> None:
    assert digest(decoded(root)) == DECODED


def test_more_processes_write_the_same_files(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_SERIAL", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    draw(tmp_path / "again", people=PEOPLE, images_per_person=IMAGES, seed=SEED)
    assert contents(tmp_path / "again") == contents(root)


def test_a_picture_depends_on_its_own_key_only() -> None:
    people = cast(PEOPLE, SEED)
    alone = photograph(people[4], 2, 1, "front", people, SEED).pixels
    photograph(people[5], 0, 3, "back", people, SEED)
    assert np.array_equal(photograph(people[4], 2, 1, "front", people, SEED).pixels, alone)
    for other in (
        photograph(people[4], 3, 1, "front", people, SEED),
        photograph(people[4], 2, 1, "front", people, SEED + 1),
    ):
        assert other.pixels.shape != alone.shape or not np.array_equal(other.pixels, alone)


def test_pictures_are_pedestrian_crops(root: Path) -> None:
    sizes = [(picture.shape[1], picture.shape[0]) for picture in decoded(root)]
    assert len(sizes) == PEOPLE * IMAGES
    assert all(126 <= height <= 192 and 0.37 <= width / height <= 0.51 for width, height in sizes)
    assert len(set(sizes)) > 40
    with Image.open(root / "sheet.png") as sheet:
        assert sheet.width > 400
        assert len(sheet.convert("RGB").getcolors(2**24) or []) > 1000


def test_people_keep_their_attributes_and_change_camera_and_view(reid: list[dict[str, Any]]) -> None:
    with_camera: dict[int, list[str]] = {}
    for row in reid:
        with_camera.setdefault(row["id"], []).append(row["file_path"].split("_c")[1][0])
    assert all(len(set(cameras)) == IMAGES for cameras in with_camera.values())
    for person in cast(60, 2):
        taken = cameras_of(person, 8, 2)
        assert Counter(camera for camera, _ in taken).most_common(1)[0][1] == 2  # six cameras, eight pictures
        assert len({view for _, view in taken}) > 1
        assert {camera for camera, _ in taken} == set(range(len(CAMERAS)))


def test_places_are_distinct() -> None:
    mean = [backdrop(camera.place).reshape(-1, 3).mean(0) for camera in CAMERAS]
    assert all(backdrop(camera.place).shape == (HEIGHT, WIDTH, 3) for camera in CAMERAS)
    gaps = [np.abs(a - b).max() for i, a in enumerate(mean) for b in mean[:i]]
    assert min(gaps) > 8


def test_reid_raw_has_cuhk_pedes_fields(root: Path, reid: list[dict[str, Any]]) -> None:
    assert len(reid) == PEOPLE * IMAGES
    for row in reid:
        assert set(row) == {"split", "captions", "file_path", "id", "processed_tokens"}
        assert (root / "imgs" / row["file_path"]).is_file()
        assert row["file_path"].startswith(f"{row['split']}/{row['id']:05d}_c")
        assert len(row["captions"]) == len(row["processed_tokens"]) == 2
        assert all(isinstance(t, str) for tokens in row["processed_tokens"] for t in tokens)
    ids = {part: sorted({r["id"] for r in reid if r["split"] == part}) for part in ("train", "val", "test")}
    assert ids["train"] == list(range(1, 21))  # from 1, without a gap, as CUHK-PEDES has them
    assert (ids["val"], ids["test"]) == ([21, 22], [23, 24])


def test_the_attribute_table_matches_schema_and_people(root: Path, reid: list[dict[str, Any]]) -> None:
    schema = Schema.from_json(json.loads((root / "schema.json").read_text()))
    with (root / "attributes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_path", "id", "camera", "view", "split", *schema.slots]
    assert [r["file_path"] for r in rows] == [r["file_path"] for r in reid]
    people = {p.pid: p for p in cast(PEOPLE, SEED)}
    for row in rows:
        person = people[int(row["id"])]
        assert schema.check({s: row[s] for s in schema.slots}) == person.attributes
        assert row["view"] in VIEWS
        assert row["split"] == person.part
        assert f"_c{row['camera']}_" in row["file_path"]


def test_composed_queries_ask_for_a_look_alike_in_the_gallery(
    root: Path, attributes: dict[int, dict[str, str]]
) -> None:
    queries = json.loads((root / "query.json").read_text())
    gallery = json.loads((root / "gallery.json").read_text())
    assert queries
    assert all(set(q) == {"file_path", "datasets", "person_id", "instance_id", "caption"} for q in queries)
    assert all(set(g) == {"file_path", "datasets", "person_id", "instance_id"} for g in gallery)
    paths = {g["file_path"] for g in gallery}
    assert len(paths) == len(gallery)
    for q in queries:
        assert (root / q["file_path"]).is_file()
        assert q["file_path"].startswith("imgs/test/")
        assert q["file_path"] not in paths
        right = [g for g in gallery if g["instance_id"] == q["instance_id"]]
        assert len(right) == IMAGES - 1
        assert q["instance_id"] != q["person_id"]
        assert 1 <= len(changes(attributes[q["person_id"]], attributes[right[0]["person_id"]])) <= 3
    assert all((root / g["file_path"]).is_file() for g in gallery)
    # Without a look-alike one is a distractor, and all of one's pictures are in the gallery.
    several = json.loads((root / "draw.json").read_text())["counts"]["pairs"]["test"]
    assert len(queries) == several


def test_triplets_have_syncpr_fields_and_both_directions(
    root: Path, attributes: dict[int, dict[str, str]]
) -> None:
    rows = json.loads((root / "triplets.json").read_text())
    by_direction: dict[tuple[int, int], set[int]] = {}
    for row in rows:
        assert set(row) == {
            *("reference_caption", "target_caption", "reference_image_path", "target_image_path"),
            *("edit_caption", "cpr_id"),
        }
        sides = [row["reference_image_path"], row["target_image_path"]]
        assert all((root / side).is_file() and side.startswith("imgs/train/") for side in sides)
        a, b = (int(Path(side).name[:5]) for side in sides)
        by_direction.setdefault((a, b), set()).add(row["cpr_id"])
        assert 1 <= len(changes(attributes[a], attributes[b])) <= 3
    assert all(len(ids) == 1 and (b, a) in by_direction for (a, b), ids in by_direction.items())
    assert len(set.union(*by_direction.values())) == len(by_direction)


def test_distractors_are_people_without_a_look_alike(tmp_path: Path) -> None:
    draw(tmp_path / "more", people=60, images_per_person=2, seed=2)
    gallery = json.loads((tmp_path / "more" / "gallery.json").read_text())
    asked = {q["instance_id"] for q in json.loads((tmp_path / "more" / "query.json").read_text())}
    counts = Counter(g["person_id"] for g in gallery)
    alone = {g["person_id"] for g in gallery if g["instance_id"] == -1}
    assert alone
    assert not alone & asked
    assert all(counts[pid] == (2 if pid in alone else 1) for pid in counts)
    assert all(g["instance_id"] in (-1, g["person_id"]) for g in gallery)


def test_the_record_says_what_was_drawn(root: Path, reid: list[dict[str, Any]]) -> None:
    record = json.loads((root / "draw.json").read_text())
    assert record["arguments"] == {
        "people": PEOPLE, "images_per_person": IMAGES, "seed": SEED, "colour_words": True,
    }  # fmt: skip
    assert record["counts"]["people"] == {"train": 20, "val": 2, "test": 2}
    assert record["counts"]["images"] == len(reid)
    assert record["counts"]["captions"] == 2 * len(reid)
    assert record["unseen_combinations"]["all_slots"] >= 0.5
    assert set(record["hardness"]) == {"pixels_16x8", "colour_histogram"}


def test_without_colour_words_the_pictures_stay_and_the_captions_lose_them(
    root: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "grey", people=PEOPLE, images_per_person=IMAGES, seed=SEED, colour_words=False)
    plain, grey = (json.loads((folder / "reid_raw.json").read_text()) for folder in (root, tmp_path / "grey"))
    assert [r["file_path"] for r in plain] == [r["file_path"] for r in grey]
    for one, other in zip(plain, grey, strict=True):
        assert other["captions"] == [without_colours(c) for c in one["captions"]]
    picture = Path("imgs") / plain[0]["file_path"]
    assert (root / picture).read_bytes() == (tmp_path / "grey" / picture).read_bytes()


def test_the_same_draw_again_is_left_alone(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    draw(root, people=PEOPLE, images_per_person=IMAGES, seed=SEED)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    assert "already holds this draw" in capfd.readouterr().err


@pytest.mark.parametrize("change", [{"seed": 8}, {"people": 25}, {"images_per_person": 3}])
def test_another_draw_in_the_folder_is_refused(root: Path, change: dict[str, int]) -> None:
    before = contents(root)
    arguments = {"people": PEOPLE, "images_per_person": IMAGES, "seed": SEED} | change
    with pytest.raises(DatasetError, match="holds another draw"):
        draw(root, **arguments)
    assert contents(root) == before


@pytest.mark.parametrize(
    "content", [{"notes.txt": "mine"}, {"draw.json": "{}"}, {"draw.json": "[1"}, {"draw.json": "[]"}]
)
def test_a_folder_with_other_things_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match="isn't empty and holds no draw"):
        draw(tmp_path, people=12, images_per_person=2)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == content


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DatasetError, match="is not a folder"):
        draw(tmp_path / "out", people=12, images_per_person=2)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"people": 11}, "people"),
        ({"people": 90_001}, "people"),
        ({"images_per_person": 1}, "images_per_person"),
        ({"images_per_person": 101}, "images_per_person"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, int], name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: got .*; it must be from \d+ to \d+"):
        draw(tmp_path / "out", **{"people": 12, "images_per_person": 2, **arguments})
    assert not list(tmp_path.iterdir())


def test_a_draw_that_breaks_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawing, "write_layouts", fail)
    with pytest.raises(OSError, match="No space left"):
        draw(tmp_path / "out", people=12, images_per_person=2)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    draw(tmp_path / "out", people=12, images_per_person=2)
    assert (tmp_path / "out" / "draw.json").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_command_draws_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "train.synthesis.draw", "--out", str(tmp_path / "out")]
    few = [*command, "--people", "12", "--images-per-person", "2", "--seed", "1"]
    done = subprocess.run(few, capture_output=True, text=True, check=True)
    assert "pixels_16x8" in done.stderr
    assert (tmp_path / "out" / "sheet.png").is_file()
    refused = subprocess.run([*command, "--people", "12", "--seed", "2"], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "holds another draw" in refused.stderr
    assert "Traceback" not in refused.stderr
