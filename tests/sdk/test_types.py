"""Hits and rankings: padding, order, metadata on demand; what `import sdk` costs and shows."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sdk
from sdk.gallery import open_gallery
from sdk.types import Gallery, Hit, Hits, Id, Query, Space


def hits(fetched: list[list[Id]] | None = None) -> Hits:
    """Two queries, k = 3; the second found one item; ids of both kinds."""

    def fetch(ids: Sequence[Id]) -> list[dict[str, Any] | None]:
        if fetched is not None:
            fetched.append(list(ids))
        return [None if i == "gone" else {"of": i} for i in ids]

    ids = np.array([["a", 1, "gone"], ["a", None, None]], object)
    scores = np.array([[0.9, 0.5, 0.1], [0.7, -np.inf, -np.inf]], np.float32)
    return Hits(ids, scores, fetch, (Query("text", text="one"), Query("text", text="two")))


def test_a_batch_iterates_over_rankings_and_these_over_what_was_found() -> None:
    both = hits()
    assert len(both) == 2
    assert [len(ranking) for ranking in both] == [3, 1]
    assert [[hit.id for hit in ranking] for ranking in both] == [["a", 1, "gone"], ["a"]]
    assert both[1].ids.tolist() == ["a", None, None]
    assert np.isneginf(both[1].scores[1:]).all()
    assert both[0].query == Query("text", text="one")
    assert both[-1].query == both[1].query
    assert isinstance(both[0][0], Hit)
    assert both[0][0].score == pytest.approx(0.9)
    assert both[0][-1].id == "gone"
    assert [hit.id for hit in both[0][:2]] == ["a", 1]
    assert [len(ranking) for ranking in both[::-1]] == [1, 3]


def test_places_that_are_not_there() -> None:
    with pytest.raises(IndexError, match="query 2 of hits for 2"):
        hits()[2]
    with pytest.raises(IndexError, match="query -3"):
        hits()[-3]
    with pytest.raises(IndexError, match="place 1 of a ranking with 1 hits"):
        hits()[1][1]


def test_metadata_is_fetched_once_for_each_item_and_only_when_asked() -> None:
    fetched: list[list[Id]] = []
    both = hits(fetched)
    assert len(both[0]) == 3
    assert fetched == []
    assert both.metadata == [[{"of": "a"}, {"of": 1}, None], [{"of": "a"}, None, None]]
    assert fetched == [["a", 1, "gone"]]
    assert both[1].metadata == [{"of": "a"}, None, None]
    assert both[0][2].metadata == {}
    assert fetched == [["a", 1, "gone"]]


def test_hits_without_a_gallery_or_without_any_hit() -> None:
    alone = Hits(np.array([["a", None]], object), np.array([[1, -np.inf]], np.float32))
    assert alone.metadata == [[{}, None]]
    assert alone[0].query is None
    empty = Hits(np.full((0, 5), None, object), np.zeros((0, 5), np.float32))
    assert empty.metadata == []
    assert list(empty) == []
    assert repr(empty) == "Hits of no query"


def test_hits_print_themselves() -> None:
    lines = repr(hits()).splitlines()
    assert lines[0] == "Ranking of 3"
    assert "+0.9000  a  {'of': 'a'}" in lines[1]
    assert lines[4] == "Ranking of 1"


def test_queries_compare_by_what_was_asked_not_by_arrays() -> None:
    one = Query("image", image=np.zeros((2, 2)), vector=np.zeros(3, np.float32))
    assert one == replace(one, image=np.ones((2, 2)))
    assert one != replace(one, without="a hat")
    assert "vector" not in repr(one)


def test_the_local_gallery_keeps_the_protocol(tmp_path: Path) -> None:
    gallery = open_gallery(tmp_path / "g", Space("", 3))
    assert isinstance(gallery, Gallery)
    gallery.close()


def test_import_sdk_is_light_and_shows_every_name() -> None:
    code = """
import sys, sdk
light = [m for m in ("numpy", "PIL", "onnxruntime", "torch", "tokenizers", "rich") if m in sys.modules]
assert light == [], light
for name in sdk.__all__:
    assert getattr(sdk, name) is not None, name
heavy = [m for m in ("onnxruntime", "torch", "tokenizers", "ftfy", "onnx", "pandas") if m in sys.modules]
assert heavy == [], heavy
assert sorted(dir(sdk)) == sdk.__all__
"""
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root)


def test_a_name_that_sdk_lacks() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Retreiver'"):
        _ = sdk.Retreiver  # type: ignore[attr-defined]
