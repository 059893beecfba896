"""Retriever: the README's lines, all-or-nothing changes, galleries, the report."""

import os
import re
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk import Retriever
from sdk.bundle import Bundle
from sdk.errors import (
    BundleError,
    EngineError,
    GalleryError,
    GalleryLockedError,
    IdError,
    ImageError,
    InputError,
    SpaceMismatchError,
    VectorError,
)
from sdk.gallery import open_gallery

README = Path(__file__).resolve().parents[2] / "README.md"
COLOURS = ("red", "green", "blue")


def test_the_lines_that_open_the_readme(
    tiny_bundle: Path, picture: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink(tiny_bundle, "person.bundle")
    picture("red").save("a.jpg")
    picture("blue").save("b.jpg")

    lines = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    assert lines is not None
    names: dict[str, Any] = {}
    exec(lines[1], names)
    r, hits, v = names["r"], names["hits"], names["v"]

    assert hits[0].ids.tolist() == ["a.jpg", None, None, None, None]
    assert hits[0].scores[0] > 0.3
    assert np.isneginf(hits[0].scores[1:]).all()
    assert hits[0].metadata == [{"camera": 1}, None, None, None, None]
    assert v.shape == (1, 16)
    assert v.dtype == np.float32
    assert np.linalg.norm(v) == pytest.approx(1, abs=1e-6)
    r.close()
    with Retriever("person.bundle", "people.gallery") as again:
        assert again.search(text="blue", k=1).ids.tolist() == [["b.jpg"]]


# What goes in


def test_one_bad_picture_and_nothing_is_added(r: Retriever, picture: Any) -> None:
    Path("bad.png").write_bytes(b"")
    picture("red", 9).save("new.png")
    with pytest.raises(ImageError, match=r"2 of 3.*\n.*images\[1\].*bad\.png.*\n.*images\[2\].*gone\.png"):
        r.add(["new.png", "bad.png", "gone.png"])
    assert len(r.gallery) == 6
    assert "new.png" not in r.gallery


def test_ids_and_paths(r: Retriever, picture: Any) -> None:
    picture("red", 9).save("new.png")
    assert r.add("new.png", ids="anna", metadata={"camera": 9}) == ["anna"]
    assert r.add(Path("new.png")) == ["new.png"]
    assert r.add([picture("blue", 5)], ids=["bert"]) == ["bert"]
    assert r.add(["new.png"], ids=["carl"], metadata=[{"path": "elsewhere"}]) == ["carl"]
    rows = r.gallery.get(["anna", "new.png", "bert", "carl"])
    assert [row.metadata for row in rows if row] == [
        {"path": "new.png", "camera": 9}, {}, {}, {"path": "elsewhere"},
    ]  # fmt: skip
    assert r.add([]) == []
    assert r.add([picture("blue", 6)], ids=np.array(["dora"])) == ["dora"]
    assert r.search(text="blue", k=9, exclude=np.array(["dora"]))[0].ids.tolist().count("dora") == 0


def test_numpy_numbers_are_ids(tiny_bundle: Path, picture: Any) -> None:
    with Retriever(tiny_bundle) as r:
        assert r.add([picture("red"), picture("blue")], ids=np.arange(2)) == [0, 1]
        assert r.add(picture("green"), ids=np.int64(7)) == [7]
        r.remove(np.int64(7))
        assert r.search(text="red", k=3, exclude=[np.int64(0)]).ids.tolist() == [[1, None, None]]


def test_vectors_go_in_as_they_are(r: Retriever) -> None:
    vectors = r.embed_images(["red0.png", "blue1.png"])
    assert r.add(vectors=vectors, ids=["x", "y"]) == ["x", "y"]
    assert r.add(vectors=vectors[0], ids="z", metadata={"camera": 4}) == ["z"]
    rows = r.gallery.get(["x", "y", "z"])
    assert np.array_equal([row.vector for row in rows if row], vectors[[0, 1, 0]])


BAD_ADDS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, InputError, "got neither"),
    ({"images": ["red0.png"], "vectors": np.zeros((1, 16))}, InputError, "got both"),
    ({"images": ["red0.png"]}, IdError, "'red0.png' is in the gallery already"),
    ({"images": ["green0.png", "blue0.png"], "ids": ["n", "n"]}, IdError, "'n' is given twice"),
    ({"images": [b"x"]}, IdError, "only a path names itself"),
    ({"images": ["red0.png"], "ids": ["a", "b"]}, InputError, "ids: got 2 for 1"),
    ({"images": ["red0.png"], "ids": ["a"], "metadata": [{}, {}]}, InputError, "metadata: got 2 for 1"),
    ({"images": ["red0.png"], "ids": ["a"], "metadata": [3]}, InputError, r"metadata\[0\]: got int"),
    ({"images": ["red0.png"], "ids": [1.5]}, IdError, "a string or a whole number"),
    ({"images": 5, "ids": ["a"]}, InputError, "images: got int"),
    ({"vectors": np.zeros((1, 16))}, IdError, "vectors have no name"),
    ({"vectors": np.zeros((1, 9)), "ids": ["a"]}, VectorError, r"\(n, 16\)"),
    ({"vectors": np.full((2, 16), [[0.0], [np.nan]]), "ids": ["a", "b"]}, VectorError, "row 1 holds NaN"),
    ({"vectors": np.zeros((1, 4, 16)), "ids": ["a"]}, VectorError, r"\(n, 16\)"),
]


@pytest.mark.parametrize(("arguments", "error", "says"), BAD_ADDS)
def test_an_add_that_makes_no_sense_adds_nothing(arguments: Any, error: Any, says: str, r: Retriever) -> None:
    with pytest.raises(error, match=says):
        r.add(**arguments)
    assert len(r.gallery) == 6


def test_update_and_remove(r: Retriever) -> None:
    r.update("red0.png", metadata={"camera": 7})
    assert r.gallery.get(["red0.png"])[0].metadata == {"camera": 7}  # type: ignore[union-attr]
    r.update(["red0.png"], images=["blue0.png"])  # another picture under the old name
    row = r.gallery.get(["red0.png"])[0]
    assert row is not None
    assert row.metadata == {"camera": 7, "path": "blue0.png"}
    np.testing.assert_allclose(row.vector, r.embed_images("blue0.png")[0], atol=1e-6)
    r.update("red0.png", images="red0.png")  # and back: the metadata must not point to the other one
    assert r.gallery.get(["red0.png"])[0].metadata == {"camera": 7, "path": "red0.png"}  # type: ignore[union-attr]
    r.update(["red1.png"], images=[Path("red1.png").read_bytes()])
    assert r.gallery.get(["red1.png"])[0].metadata == {"camera": 2}  # type: ignore[union-attr]
    r.update("red0.png", vectors=r.embed_images("red0.png"), metadata={})
    row = r.gallery.get(["red0.png"])[0]
    assert row is not None
    assert row.metadata == {}
    with pytest.raises(InputError, match="nothing to change"):
        r.update("red0.png")
    with pytest.raises(IdError):
        r.update("nobody", images="red0.png")
    with pytest.raises(ImageError):
        r.update(["red0.png"], images=[b""])
    with pytest.raises(InputError, match="2 entries for 1 ids"):
        r.update("red0.png", metadata=[{}, {}])
    r.remove("red0.png")
    r.remove(["red1.png"])
    assert r.search(text="red", k=6).ids[0].tolist().count(None) == 2
    with pytest.raises(IdError):
        r.remove("red0.png")


# Galleries


def test_a_temporary_gallery_is_made_late_and_is_gone_at_close(
    tiny_bundle: Path, people: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def folders() -> list[str]:
        return os.listdir(tmp_path / "tmp")

    with Retriever(tiny_bundle) as r:
        assert r.search(text="red", k=3).ids.tolist() == [[None] * 3]
        with pytest.raises(GalleryError, match="first add pictures"):
            _ = r.gallery
        assert folders() == []
        r.add(people)
        assert len(folders()) == 1
        assert r.search(text="red", k=1).ids[0, 0].startswith("red")
    assert folders() == []
    unclosed = Retriever(tiny_bundle)
    unclosed.add(people)
    del unclosed
    assert folders() == []


def test_a_misspelt_gallery_is_no_empty_gallery(tiny_bundle: Path, people: list[str]) -> None:
    with Retriever(tiny_bundle, "poeple.gallery") as r:
        with pytest.raises(GalleryError, match=r"no gallery at 'poeple\.gallery'; check the path"):
            r.search(text="red")
        assert not Path("poeple.gallery").exists()


def test_another_models_gallery_is_refused(r: Retriever, make_bundle: Any, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other.bundle", seed=1)
    with pytest.raises(SpaceMismatchError):
        Retriever(other, "people.gallery")
    with pytest.raises(SpaceMismatchError, match="index it again"):
        Retriever(other, r.gallery)
    reworded = make_bundle(tmp_path / "reworded.bundle", max_batch=2)  # same space, another bundle
    with Retriever(reworded, "people.gallery") as same:
        assert same.search(text="red", k=1).ids[0, 0].startswith("red")


def test_a_gallery_handed_in_stays_open(tiny_bundle: Path, people: list[str]) -> None:
    bundle = Bundle.open(tiny_bundle)
    gallery = open_gallery("own.gallery", bundle.space)
    with Retriever(bundle, gallery) as r:
        r.add(people)
    assert len(gallery) == 6
    assert r.report()["gallery"] == {"path": "LocalGallery", "items": 6}
    gallery.close()


def test_a_closed_retriever_says_so(tiny_bundle: Path, people: list[str]) -> None:
    r = Retriever(tiny_bundle)
    r.add(people)
    r.close()
    r.close()
    for call in (lambda: r.search(text="red"), lambda: r.add(people), lambda: r.remove("red0.png")):
        with pytest.raises(GalleryError, match="is closed"):
            call()


def test_one_writer_and_many_readers(r: Retriever, tiny_bundle: Path, picture: Any) -> None:
    with Retriever(tiny_bundle, "people.gallery") as reader:
        assert reader.search(text="red", k=1).ids[0, 0].startswith("red")
        with pytest.raises(GalleryLockedError):
            reader.add([picture("red", 3)], ids=["x"])
        r.add([picture("green", 3)], ids=["x"])
        assert "x" in reader.search(text="green", k=3).ids[0]


def test_searching_in_many_threads(r: Retriever) -> None:
    expected = {c: r.search(text=f"in {c}", k=6).ids.tolist() for c in COLOURS}
    wrong: list[str] = []

    def search(colour: str) -> None:
        for _ in range(5):
            if r.search(text=f"in {colour}", k=6).ids.tolist() != expected[colour]:
                wrong.append(colour)

    threads = [threading.Thread(target=search, args=(COLOURS[i % 3],)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_report_and_repr(r: Retriever, tiny_bundle: Path) -> None:
    report = r.report()
    bundle = Bundle.open(tiny_bundle)
    assert report["engine"]["device"] == "cpu"
    assert report["bundle"]["digest"] == bundle.digest
    assert report["bundle"]["space"] == bundle.space.hash
    assert report["gallery"] == {"path": "people.gallery", "items": 6}
    assert {"python", "numpy", "onnxruntime", "kernels", "labrador-retriever"} <= set(report["versions"])
    assert report["versions"]["kernels"] in report["versions"]["kernel_levels"]
    assert repr(r) == "Retriever(bundle 'tiny', gallery people.gallery, on cpu)"


def test_a_bundle_or_engine_that_is_not_there(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nope\.bundle"):
        Retriever(tmp_path / "nope.bundle")
    with pytest.raises(InputError, match="device"):
        Retriever(tiny_bundle, device="tpu")
    with pytest.raises(EngineError, match="drop strict"):
        Retriever(tiny_bundle, device="cuda", strict=True)
