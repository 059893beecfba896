"""search: every form, batches, filters, and a clear refusal of what makes no sense."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk import Retriever
from sdk.errors import (
    AttributeValueError,
    FilterError,
    ImageError,
    InputError,
    MissingRoleError,
    TextError,
    VectorError,
)

COLOURS = ("red", "green", "blue")


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
    by_hand = late.encoder.composed(["green0.png"], ["in blue blue blue blue"])
    np.testing.assert_array_equal(composed.queries[0].vector, by_hand[0])
    assert late.search(vector=by_hand, k=2).ids.tolist() == composed.ids.tolist()
