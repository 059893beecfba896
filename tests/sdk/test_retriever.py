"""Retriever: the README's lines, every form of a search, all-or-nothing changes, clear refusals."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk import Retriever
from sdk.bundle import Bundle
from sdk.errors import (
    AttributeValueError,
    BundleError,
    EngineError,
    FilterError,
    GalleryError,
    GalleryLockedError,
    IdError,
    ImageError,
    InputError,
    MissingRoleError,
    SpaceMismatchError,
    TextError,
    VectorError,
)
from sdk.gallery import open_gallery

COLOURS = ("red", "green", "blue")


@pytest.fixture
def people(tmp_path: Path, picture: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two pictures of each colour in the working folder: red0.png, red1.png, green0.png, …"""
    monkeypatch.chdir(tmp_path)
    names = [f"{colour}{number}.png" for colour in COLOURS for number in (0, 1)]
    for name in names:
        picture(name[:-5], int(name[-5])).save(name)
    return names


@pytest.fixture
def r(tiny_bundle: Path, people: list[str]) -> Iterator[Retriever]:
    with Retriever(tiny_bundle, "people.gallery") as retriever:
        retriever.add(people, metadata=[{"camera": i % 2 + 1} for i in range(6)])
        yield retriever


@pytest.fixture
def late(three_graph_bundle: Path, people: list[str]) -> Iterator[Retriever]:
    with Retriever(three_graph_bundle) as retriever:
        retriever.add(people)
        yield retriever


def test_the_lines_that_open_the_readme(
    tiny_bundle: Path, picture: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink(tiny_bundle, "person.bundle")
    picture("red").save("a.jpg")
    picture("blue").save("b.jpg")

    r = Retriever("person.bundle", "people.gallery")
    r.add(["a.jpg", "b.jpg"], metadata=[{"camera": 1}, {"camera": 2}])
    hits = r.search(text="a man in a red coat", k=5, where={"camera": 1})
    hits[0].ids, hits[0].scores, hits[0].metadata
    v = r.embed_images(["a.jpg"])

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


@pytest.mark.parametrize("colour", COLOURS)
def test_each_form_finds_its_colour(colour: str, r: Retriever, picture: Any) -> None:
    wanted = {f"{colour}0.png", f"{colour}1.png"}
    forms: list[dict[str, Any]] = [
        {"text": f"a man in a {colour} coat"},
        {"attributes": {"gender": "male", "coat": colour}},
        {"image": f"{colour}0.png"},
        {"image": picture(colour, 7)},
        {"image": np.asarray(picture(colour, 8))},
        {"image": Path(f"{colour}1.png").read_bytes()},
        {"vector": r.embed_texts(f"in {colour}")[0]},
        {"vector": r.embed_texts(f"in {colour}")[0].astype(np.float64).tolist()},
        {"image": f"{colour}1.png", "text": f"in {colour}", "compose": "sum"},
    ]
    for form in forms:
        hits = r.search(k=2, **form)
        assert set(hits[0].ids) == wanted, form
    assert [hits.queries[0].kind for hits in (r.search(k=1, **f) for f in forms[:3])] == [
        "text",
        "attributes",
        "image",
    ]


def test_a_list_is_a_batch_and_single_arguments_serve_all_of_it(r: Retriever) -> None:
    hits = r.search(text=["red", "green", "blue"], k=2)
    assert hits.ids.shape == hits.scores.shape == (3, 2)
    assert [ranking.ids[0][:-5] for ranking in hits] == ["red", "green", "blue"]
    for row, colour in enumerate(COLOURS):
        one = r.search(text=colour, k=2)
        assert one.ids.tolist() == hits.ids[row : row + 1].tolist()
        np.testing.assert_allclose(one.scores[0], hits.scores[row], atol=1e-5)
    both = r.search(image="red0.png", text=["green", "blue"], compose="sum", k=6)
    for row, colour in enumerate(("green", "blue")):
        alone = r.search(image="red0.png", text=colour, compose="sum", k=6)
        assert alone.ids[0].tolist() == both.ids[row].tolist()
    assert r.search(vector=np.eye(16, dtype=np.float32), k=3).ids.shape == (16, 3)
    assert r.search(text=[], k=4).ids.shape == (0, 4)


def test_sum_and_without_are_the_documented_arithmetic(r: Retriever) -> None:
    image, text, hat = (
        r.embed_images("red0.png"),
        r.embed_texts("a man in a blue coat"),
        r.embed_texts("a hat"),
    )
    unit = (image + text) / np.linalg.norm(image + text)
    by_hand = r.search(vector=unit[0], k=6)
    composed = r.search(image="red0.png", text="a man in a blue coat", compose="sum", k=6)
    assert composed.ids.tolist() == by_hand.ids.tolist()
    np.testing.assert_allclose(composed.scores, by_hand.scores, atol=1e-5)
    unit = (text - hat) / np.linalg.norm(text - hat)
    by_hand = r.search(vector=unit[0], k=6)
    steered = r.search(text="a man in a blue coat", without="a hat", k=6)
    assert steered.ids.tolist() == by_hand.ids.tolist()
    np.testing.assert_allclose(steered.scores, by_hand.scores, atol=1e-5)
    most = r.search(text="a man in a red coat", k=6)[0]
    least = r.search(text="a man in a coat", without="red", k=6)[0]
    assert most[0].id.startswith("red")
    assert least[-1].id.startswith("red")


def test_where_exclude_and_min_score(r: Retriever) -> None:
    assert set(r.search(text="red", k=6, where={"camera": 1})[0].ids[:3]) == {
        "red0.png",
        "green0.png",
        "blue0.png",
    }
    assert r.search(image="red0.png", k=1, exclude=["red0.png"]).ids[0, 0] == "red1.png"
    per_query = r.search(image=["red0.png", "blue0.png"], k=1, exclude=[["red0.png"], ["blue0.png"]])
    assert per_query.ids[:, 0].tolist() == ["red1.png", "blue1.png"]
    shared = r.search(image=["red0.png", "blue0.png"], k=1, exclude=["red0.png"])
    assert shared.ids[:, 0].tolist() == ["red1.png", "blue0.png"]
    found = r.search(text="red", k=6, min_score=0.1)[0]
    assert 0 < len(found) < 6
    assert all(hit.score >= 0.1 for hit in found)
    assert r.search(text="red", k=50).ids.shape == (1, 50)
    with pytest.raises(FilterError):
        r.search(text="red", where={"$near": 3})


BAD_SEARCHES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, InputError, "nothing to search with; give one of: text"),
    ({"text": "a", "attributes": {"hat": "yes"}}, InputError, "attributes and text; give one of"),
    ({"text": "a", "vector": [0.0] * 16}, InputError, "text and vector"),
    ({"image": "red0.png", "attributes": {"hat": "yes"}}, InputError, "attributes and image"),
    ({"without": "a hat"}, InputError, "nothing to search with"),
    ({"vector": [0.0] * 16, "without": "a hat"}, InputError, "a vector is searched as it is"),
    ({"text": "a", "k": 0}, InputError, "k: got 0"),
    ({"text": "a", "k": -3}, InputError, "k: got -3"),
    ({"text": "a", "k": 2.0}, InputError, r"k: got 2\.0"),
    ({"text": "a", "k": True}, InputError, "k: got True"),
    ({"text": "a", "k": "9"}, InputError, "k: got '9'"),
    ({"text": "a", "min_score": float("nan")}, InputError, "min_score"),
    ({"text": "a", "min_score": "high"}, InputError, "min_score"),
    ({"text": ""}, TextError, "empty"),
    ({"text": " \n"}, TextError, "empty"),
    ({"text": "x" * 10_000}, TextError, "10,000 characters"),
    ({"text": 7}, TextError, "got int"),
    ({"text": "a", "without": ""}, TextError, "empty"),
    ({"text": "red", "without": "red"}, InputError, "takes away the whole query"),
    ({"attributes": {"shoes": "red"}}, AttributeValueError, "'gender', 'coat', 'hat'"),
    ({"attributes": {"coat": "pink"}}, AttributeValueError, "'red', 'green', 'blue'"),
    ({"attributes": {}}, AttributeValueError, "at least one of"),
    ({"image": "nope.png"}, ImageError, "No such file"),
    ({"image": b""}, ImageError, "empty"),
    ({"image": np.zeros((4, 4, 3))}, ImageError, "float"),
    ({"vector": [0.0] * 15}, VectorError, r"shape \(1, 15\); this bundle's vectors are \(n, 16\)"),
    ({"vector": np.zeros((2, 2, 16))}, VectorError, "shape"),
    ({"vector": [float("nan")] * 16}, VectorError, "NaN or infinity"),
    ({"vector": np.full(16, 1e300)}, VectorError, "NaN or infinity"),
    ({"vector": ["a"] * 16}, VectorError, "give numbers"),
    ({"vector": [[0.0] * 16, [0.0]]}, VectorError, r"\(n, 16\)"),
    ({"text": ["a", "b"], "image": ["red0.png"] * 3, "compose": "sum"}, InputError, "image: 3"),
    ({"text": ["a", "b"], "without": ["c", "d", "e"]}, InputError, "differ in length"),
    ({"text": "a", "compose": "add"}, InputError, "'auto' and 'sum'"),
    ({"text": "a", "compose": "sum"}, InputError, "the query is text only"),
    ({"image": "red0.png", "text": "a"}, MissingRoleError, "compose='sum'"),
    ({"text": "a", "exclude": "red0.png"}, InputError, "exclude"),
    ({"text": ["a", "b"], "exclude": [["x"]]}, InputError, "1 lists for 2 queries"),
    ({"text": "a", "exclude": ["x", ["y"]]}, InputError, "exclude"),
]


@pytest.mark.parametrize(("arguments", "error", "says"), BAD_SEARCHES)
def test_a_search_that_makes_no_sense(arguments: Any, error: Any, says: str, r: Retriever) -> None:
    with pytest.raises(error, match=says):
        r.search(**arguments)


def test_a_bundle_without_words_says_so(late: Retriever) -> None:
    with pytest.raises(MissingRoleError, match=r"query\.text.*it has gallery, query\.image, query\.composed"):
        late.search(text="red")
    with pytest.raises(MissingRoleError, match=r"query\.attributes"):
        late.search(attributes={"hat": "yes"})


def test_late_items_and_the_bundles_composer(late: Retriever) -> None:
    assert late.embed_images("red0.png").shape == (1, 4, 16)
    hits = late.search(image="green0.png", k=3)
    assert hits[0].ids[0].startswith("green")
    tokens = late.embed_images([h.id for h in hits[0]])
    query = hits.queries[0].vector
    expected = np.sort(tokens @ query, axis=1)[:, -2:].mean(axis=1)
    np.testing.assert_allclose(hits.scores[0], expected, atol=1e-6)
    composed = late.search(image="green0.png", text="in blue blue blue blue", k=2)
    assert composed.queries[0].compose == "bundle"
    assert composed[0].ids[0].startswith("blue")


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


def test_a_temporary_gallery_is_made_late_and_is_gone_at_close(tiny_bundle: Path, people: list[str]) -> None:
    def folders() -> set[str]:
        return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("labrador-")}

    before = folders()
    with Retriever(tiny_bundle) as r:
        assert r.search(text="red", k=3).ids.tolist() == [[None] * 3]
        with pytest.raises(GalleryError, match="first add pictures"):
            _ = r.gallery
        assert folders() == before
        r.add(people)
        assert len(folders() - before) == 1
        assert r.search(text="red", k=1).ids[0, 0].startswith("red")
    assert folders() == before
    unclosed = Retriever(tiny_bundle)
    unclosed.add(people)
    del unclosed
    assert folders() == before


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
    gallery.close()


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
    assert repr(r) == "Retriever(bundle 'tiny', gallery 'people.gallery', on cpu)"


def test_a_bundle_or_engine_that_is_not_there(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nope\.bundle"):
        Retriever(tmp_path / "nope.bundle")
    with pytest.raises(InputError, match="device"):
        Retriever(tiny_bundle, device="tpu")
    with pytest.raises(EngineError, match="drop strict"):
        Retriever(tiny_bundle, device="cuda", strict=True)
