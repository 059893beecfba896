"""Galleries with small segments, so that a few hundred rows fill several, and a plain twin to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk.gallery import BACKENDS, rows
from sdk.gallery.local import LocalGallery
from sdk.types import Space

SPACES = {"plain": Space("one", 3), "late": Space("two", 3, tokens=3, top_tokens=2)}
FOUR = Space("5pace", 4)


class Twin:
    """What a gallery means, in plain Python: a dictionary in insertion order and a sort."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.rows: dict[Any, tuple[np.ndarray, dict[str, Any]]] = {}  # updates keep a key's place

    def add(self, ids: Sequence[Any], vectors: np.ndarray, metadata: Sequence[Any]) -> None:
        self.rows.update({i: (v, m) for i, v, m in zip(ids, vectors, metadata, strict=True)})

    def score(self, query: np.ndarray, vector: np.ndarray) -> float:
        """Exact where vectors hold small integers and top_tokens is a power of two."""
        dots = np.sort(np.atleast_2d(vector).astype(np.float64) @ query)[::-1]
        return float(dots[: self.space.top_tokens].mean())

    def search(
        self,
        queries: np.ndarray,
        k: int,
        where: Callable[[dict[str, Any]], bool] = lambda _: True,
        exclude: Sequence[Sequence[Any]] | None = None,
        min_score: float = -np.inf,
    ) -> list[tuple[list[Any], list[float]]]:
        found = []
        for n, query in enumerate(queries):
            scored = [
                (i, self.score(query, v))
                for i, (v, m) in self.rows.items()
                if where(m) and not (exclude and i in exclude[n])
            ]
            best = sorted((s for s in scored if s[1] >= min_score), key=lambda s: -s[1])[:k]  # stable
            best += [(None, -np.inf)] * (k - len(best))
            found.append(([b[0] for b in best], [b[1] for b in best]))
        return found


def assert_same(gallery: Any, twin: Twin) -> None:
    """Ids, vectors and metadata are equal, and so is the order of insertion."""
    assert len(gallery) == len(twin.rows)
    ids = list(twin.rows)
    for row, i in zip(gallery.get(ids), ids, strict=True):
        assert row is not None
        assert row.id == i
        np.testing.assert_array_equal(row.vector, twin.rows[i][0])
        assert row.metadata == twin.rows[i][1]
    zero = np.zeros((1, twin.space.dim), np.float32)
    assert gallery.search(zero, len(ids) + 1).ids.tolist() == [[*ids, None]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """New galleries get segments of 32 rows in blocks of 8."""
    monkeypatch.setattr(rows, "SEGMENT_ROWS", 32)
    monkeypatch.setattr(rows, "BLOCK_ROWS", 8)


@pytest.fixture(params=sorted(BACKENDS))
def place(request: pytest.FixtureRequest, tmp_path: Path, small: None) -> str:
    """The URL of a gallery that isn't there yet."""
    return f"{request.param}://{tmp_path / 'gallery'}"


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest, place: str) -> Space:
    module, _, name = BACKENDS[place.partition("://")[0]].partition(":")
    if request.param == "late" and not getattr(__import__(module, fromlist=[name]), name).late:
        pytest.skip("this backend takes plain vectors only")
    return SPACES[request.param]


@pytest.fixture
def opened(small: None, tmp_path: Path) -> Iterator[LocalGallery]:
    """An empty gallery of FOUR at ``tmp_path / "g"``."""
    with LocalGallery(tmp_path / "g", FOUR) as gallery:
        yield gallery


@pytest.fixture
def twin() -> Twin:
    return Twin(FOUR)


@pytest.fixture
def make_twin() -> type[Twin]:
    return Twin


@pytest.fixture
def same() -> Callable[[Any, Twin], None]:
    return assert_same


@pytest.fixture
def items() -> Callable[..., tuple[list[str], np.ndarray, list[dict[str, Any]]]]:
    """items(first, n, **metadata) -> ids "first"… , random vectors, metadata with the number."""

    def make(first: int, n: int, **metadata: Any) -> tuple[list[str], np.ndarray, list[dict[str, Any]]]:
        vectors = np.random.default_rng(first).standard_normal((n, FOUR.dim), dtype=np.float32)
        return (
            [str(i) for i in range(first, first + n)],
            vectors,
            [{"n": i, **metadata} for i in range(first, first + n)],
        )

    return make


@pytest.fixture(scope="session")
def accepts() -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    return plainly


def plainly(where: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """The filter language once more, one row at a time and by its table alone."""
    return all(_clause(key, value, document) for key, value in where.items())


def _clause(key: str, value: Any, document: Mapping[str, Any]) -> bool:
    if key == "$and":
        return all(plainly(part, document) for part in value)
    if key == "$or":
        return any(plainly(part, document) for part in value)
    if key == "$not":
        return not plainly(value, document)
    if not isinstance(value, Mapping):
        return _equal(document.get(key), value)
    return all(_operator(o, v, key, document) for o, v in value.items())


def _operator(operator: str, value: Any, key: str, document: Mapping[str, Any]) -> bool:
    stored = document.get(key)
    if operator in ("$eq", "$ne"):
        return _equal(stored, value) == (operator == "$eq")
    if operator in ("$in", "$nin"):
        return any(_equal(stored, v) for v in value) == (operator == "$in")
    if operator == "$exists":
        return (key in document) == value
    if operator == "$not":
        return not all(_operator(o, v, key, document) for o, v in value.items())
    if _kind(stored) != _kind(value):
        return False
    return {"$gt": stored > value, "$gte": stored >= value, "$lt": stored < value, "$lte": stored <= value}[
        operator
    ]


def _equal(stored: Any, value: Any) -> bool:
    return _kind(stored) == _kind(value) and stored == value


def _kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__
