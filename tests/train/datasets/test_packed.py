"""An archive of crops: unpacked once and whole, anew when it changed; what isn't one is refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdk.errors import DatasetError, ImageError
from sdk.preprocess import ImageSpec
from train import datasets, pack
from train.split import Query, Sample, Split

GREY = (0.5, 0.5, 0.5)
SPEC = ImageSpec(16, 8, GREY, GREY)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    rng, samples = np.random.default_rng(3), []
    (tmp_path / "real").mkdir()
    for person in (4, 7):
        path = tmp_path / "real" / f"{person}.jpg"
        Image.fromarray(rng.integers(0, 256, (40, 21, 3), np.uint8)).save(path)
        samples.append(Sample(f"imgs/{person}", path, person, ("a man",), camera=2, view="back"))
    queries = (Query(4, text="a man", person=4), Query(7, image=samples[1].image, camera=2, person=7))
    return Split("hand/test", tuple(samples), queries, tuple(samples), gallery_keys=(4, 7), notes=("n",))


@pytest.fixture
def archive(split: Split, tmp_path: Path) -> Path:
    path = tmp_path / "crops.zip"
    assert pack.write(path, {"test": split}, "text", SPEC) == 2
    return path


def test_crops_are_the_resized_pictures_to_the_bit(split: Split, archive: Path) -> None:
    held = datasets.load("packed", archive, "test")
    for mine, theirs in zip(held.samples, split.samples, strict=True):
        with Image.open(mine.image) as crop, Image.open(theirs.image) as real:
            assert np.array_equal(np.asarray(SPEC.fit(crop.convert("RGB"))), np.asarray(SPEC.fit(real)))
    assert held.queries[1].image == held.samples[1].image


def test_it_is_unpacked_once_and_anew_when_the_archive_changed(split: Split, archive: Path) -> None:
    first = datasets.load("packed", archive, "test").samples[0].image
    before = first.stat().st_mtime_ns
    assert datasets.load("packed", archive, "test").samples[0].image.stat().st_mtime_ns == before
    pack.write(archive, {"test": split}, "text", ImageSpec(8, 8, GREY, GREY))
    with Image.open(datasets.load("packed", archive, "test").samples[0].image) as crop:
        assert crop.size == (8, 8)
    assert sorted(p.name for p in archive.parent.iterdir()) == ["crops.zip", "crops.zip.files", "real"]


def test_another_task_or_part_is_refused_with_what_it_holds(archive: Path) -> None:
    with pytest.raises(DatasetError, match="holds test for the task 'text', not 'test' for 'attributes'"):
        datasets.load("packed", archive, "test", "attributes")
    with pytest.raises(DatasetError, match="not 'train' for 'text'"):
        datasets.load("packed", archive, "train")


def damaged(archive: Path, how: str) -> Path:
    data = archive.read_bytes()
    if how == "cut":
        archive.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        at = data.index(b"WEBP") + 20
        archive.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    elif how == "missing":
        archive.unlink()
    else:
        with zipfile.ZipFile(archive) as old:
            listed = json.loads(old.read("splits.json"))
        if how == "newer":
            listed["format"] = 2
        else:
            del listed["parts"]["test"]["samples"][0]["person"]
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("splits.json", json.dumps(listed))
    return archive


@pytest.mark.parametrize("how", ["cut", "flipped", "missing", "newer", "fieldless"])
def test_what_is_no_whole_archive_is_refused(how: str, archive: Path) -> None:
    with pytest.raises(DatasetError, match="packed: "):
        datasets.load("packed", damaged(archive, how), "test")
    assert not [p for p in archive.parent.iterdir() if p.name.startswith(".")]


def test_pictures_that_cannot_be_read_are_named_and_nothing_is_written(split: Split, tmp_path: Path) -> None:
    split.samples[1].image.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"7\.jpg"):
        pack.write(tmp_path / "new.zip", {"test": split}, "text", SPEC)
    assert not list(tmp_path.glob("*new*"))
