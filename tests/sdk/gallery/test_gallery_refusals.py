"""Every backend refuses wrong input: the error says what is allowed, and nothing of the call is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sdk.errors import FilterError, GalleryError, IdError, InputError, SpaceMismatchError, VectorError
from sdk.gallery import BACKENDS, open_gallery
from sdk.types import Gallery, Space


def test_another_models_gallery_is_refused(place: str, space: Space) -> None:
    open_gallery(place, space).close()
    other = Space("another", space.dim, space.tokens, space.top_tokens)
    with pytest.raises(SpaceMismatchError, match=rf"{space.hash}.*another.*index your items again"):
        open_gallery(place, other)
    with pytest.raises(SpaceMismatchError, match=r"d 3.*d 4"):
        open_gallery(place, Space(space.hash, 4, space.tokens, space.top_tokens))
    with open_gallery(place) as gallery:
        assert gallery.space == space


def test_there_must_be_something_to_open(place: str, space: Space) -> None:
    with pytest.raises(GalleryError, match="no gallery at"):
        open_gallery(place)
    with pytest.raises(GalleryError, match="no gallery at"):
        open_gallery(place, space, write=False)
    with pytest.raises(GalleryError, match=r"'nosuch'; known are .*local"):
        open_gallery("nosuch://host/people", space)
    for wrong in (Space("", 0), Space("", 3, tokens=0), Space("", 3, tokens=2, top_tokens=3)):
        with pytest.raises(InputError, match=r"space.*at (least|most)"):
            open_gallery(place, wrong)


def test_a_closed_gallery_says_so(place: str, space: Space) -> None:
    gallery = open_gallery(place, space)
    one = np.zeros((1, 3) if space.tokens == 1 else (1, 3, 3), np.float32)
    gallery.add(["a"], one)
    hits = gallery.search(np.zeros((1, space.dim), np.float32), 1)
    gallery.close()
    gallery.close()
    for call in (
        lambda: gallery.search(np.zeros((1, space.dim), np.float32), 1),
        lambda: gallery.add(["b"], one),
        lambda: len(gallery),
        lambda: hits.metadata,
    ):
        with pytest.raises(GalleryError, match="closed; open it again"):
            call()


@pytest.fixture(scope="module", params=sorted(BACKENDS))
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Rows "a" and "b" of three dimensions; one gallery for many refusals, as none may change it."""
    gallery = open_gallery(f"{request.param}://{tmp_path_factory.mktemp('refusals') / 'g'}", Space("", 3))
    gallery.add(["a", "b"], np.ones((2, 3), np.float32), [{"x": 1}, {"x": 2}])
    yield gallery
    assert [row and row.metadata for row in gallery.get(["a", "b"])] == [{"x": 1}, {"x": 2}]
    assert len(gallery) == 2
    gallery.close()


BAD_IDS: list[tuple[Any, str]] = [
    ("ab", "pass a list of ids"),
    (5, "pass a list of ids"),
    (None, "pass a list of ids"),
    ([["a"]], "list; an id is"),
    (["a", ""], "0 bytes; allowed are 1 to 256"),
    (["a", "é" * 129], "258 bytes"),
    (["a", 1], "strings and integers together"),
    (["a", None], "NoneType; an id is a string or an integer"),
    ([True, False], "bool; an id is"),
    ([1.0, 2.0], "float; an id is"),
    (["a", "a"], "'a' is given twice"),
    (["a", "\ud800"], "lone surrogate"),
    ([1, 2**63], "doesn't fit 64 bits"),
]


@pytest.mark.parametrize(("ids", "says"), BAD_IDS)
def test_wrong_ids_are_refused_everywhere(shared: Gallery, ids: Any, says: str) -> None:
    two = np.zeros((2, 3), np.float32)
    for call in (
        lambda: shared.add(ids, two),
        lambda: shared.update(ids, two),
        lambda: shared.remove(ids),
        lambda: shared.erase(ids),
        lambda: shared.get(ids),
    ):
        with pytest.raises(IdError, match=says):
            call()


def test_ids_known_unknown_and_of_the_other_kind(place: str, make_twin: Any, same: Any) -> None:
    space, two = Space("", 3), np.ones((2, 3), np.float32)
    twin = make_twin(space)
    with open_gallery(place, space) as gallery:
        gallery.add(["a", "b" * 256], two)
        twin.add(["a", "b" * 256], two, [{}, {}])
        for call, says in [
            (lambda: gallery.add(["new", "a"], two), "'a' is already in"),
            (lambda: gallery.add([1, 2], two), "1 is int; this gallery's ids are str"),
            (lambda: gallery.update(["a", "c"], two), "'c' is not in"),
            (lambda: gallery.update([1], two[:1]), "this gallery's ids are str"),
            (lambda: gallery.remove(["a", "c", "d"]), "'c', 'd' are not in"),
            (lambda: gallery.erase(["a", "c"]), "'c' is not in"),
            (lambda: gallery.get([1]), "this gallery's ids are str"),
            (lambda: gallery.search(two, 1, exclude=[[1], []]), "exclude: 1 is int"),
        ]:
            with pytest.raises(IdError, match=says):
                call()
            same(gallery, twin)
        assert 1 not in gallery
        assert None not in gallery
        assert "" not in gallery
        assert [1] not in gallery


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((2, 4), np.float32), r"shape \(2, 4\); 2 ids need \(2, 3\)"),
        (np.zeros((1, 3), np.float32), r"2 ids need \(2, 3\)"),
        (np.zeros(3, np.float32), r"a leading axis"),
        (np.zeros((2, 3), np.int64), "dtype int64; pass float32"),
        (np.array([["a"] * 3] * 2), "dtype <U1"),
        (np.array([[0, 0, 0], [0, np.nan, 0]], np.float32), "NaN or infinity.* 1 rows, the first is 1"),
        (np.array([[np.inf, 0, 0], [0, 0, 0]], np.float32), "the first is 0"),
        (np.array([[1e300, 0, 0], [0, 0, 0]]), "infinity as float32"),
    ],
)
def test_wrong_vectors_are_refused(shared: Gallery, value: Any, says: str) -> None:
    with pytest.raises(VectorError, match=says):
        shared.add(["c", "d"], value)
    with pytest.raises(VectorError, match=says):
        shared.update(["a", "b"], value)
    if value.ndim == 2 and value.shape != (1, 3):
        with pytest.raises(VectorError, match="queries"):
            shared.search(value, 1)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([{}], "1 entries for 2 ids"),
        ({"a": 1}, "a dict for 2 ids"),
        ([{}, 5], r"metadata\[1\]: a int; pass a dictionary"),
        ([{1: 2}, {}], "keys are strings"),
        ([{}, {"a": {1: 2}}], "keys are strings"),
        ([{"$a": 2}, {}], r"starts with '\$'"),
        ([{"a": float("nan")}, {}], r"metadata\[0\]\['a'\]: nan; numbers are finite"),
        ([{"a": [1, {"b": float("inf")}]}, {}], r"\['a'\]\[1\]\['b'\]: inf"),
        ([{"a": np.float32("nan")}, {}], "numbers are finite"),
        ([{"a": object()}, {}], "a object; metadata holds what JSON can"),
        ([{"a": b"x"}, {}], "a bytes"),
        ([{"a": 2**63}, {}], "doesn't fit 64 bits"),
        ([{"a": "\ud800"}, {}], "lone surrogate"),
        ([{"\udfff": 1}, {}], "lone surrogate"),
    ],
)
def test_wrong_metadata_is_refused(shared: Gallery, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        shared.add(["c", "d"], np.zeros((2, 3), np.float32), value)
    with pytest.raises(InputError, match=says):
        shared.update(["a", "b"], metadata=value)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"k": 0}, InputError, "k: 0; pass an integer of at least 1"),
        ({"k": -3}, InputError, "k: -3"),
        ({"k": 2.0}, InputError, "k: 2.0"),
        ({"k": True}, InputError, "k: True"),
        ({"queries": np.zeros(3, np.float32)}, VectorError, "queries"),
        ({"queries": np.zeros((1, 4), np.float32)}, VectorError, r"this gallery takes \(1, 3\)"),
        ({"queries": np.full((1, 3), np.nan, np.float32)}, VectorError, "NaN"),
        ({"exclude": ["a"]}, InputError, "one list of ids per query, here 1"),
        ({"exclude": "a"}, InputError, "one list of ids per query"),
        ({"exclude": [["a"], ["b"]]}, InputError, "one list of ids per query"),
        ({"exclude": 5}, InputError, "one list of ids per query"),
        ({"exclude": np.array(["a"])}, InputError, "one list of ids per query"),
        ({"exclude": [None]}, IdError, "exclude: None"),
        ({"exclude": [[["a"]]]}, IdError, "list; an id is"),
        ({"exclude": [5]}, InputError, "one list of ids per query"),
        ({"exclude": [[None]]}, IdError, "exclude: None"),
        ({"min_score": float("nan")}, InputError, "min_score: NaN"),
        ({"min_score": "high"}, InputError, "min_score: 'high'; pass a number"),
        ({"where": {"a": {"$near": 1}}}, FilterError, r"\$near"),
    ],
)
def test_a_wrong_search_is_refused(
    shared: Gallery, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        shared.search(**({"queries": np.zeros((1, 3), np.float32), "k": 1} | arguments))


def test_update_needs_something_to_replace(shared: Gallery) -> None:
    with pytest.raises(InputError, match="vectors, metadata or both"):
        shared.update(["a"])
