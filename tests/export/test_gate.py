"""The comparisons by themselves: each passes on what it must, and fails on the smallest thing it must not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from export.gate import (
    Check,
    Report,
    independence,
    logarithms,
    parity,
    points,
    ranking,
    same,
    score_matrix,
)
from export.probes import AWKWARD, from_split, pictures, synthetic, texts
from sdk.errors import DatasetError
from train.split import Query, Sample, Split

Array = npt.NDArray[np.float32]


def unit(seed: int, *shape: int) -> Array:
    rows = np.random.default_rng(seed).normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def failed(checks: list[Check]) -> list[str]:
    return [check.name.split(": ")[1] for check in checks if not check.passed]


@dataclass
class Change:
    """What is done to the engine's batch of 3, and which checks must then fail."""

    apply: Callable[[Array], Array]
    fails: list[str]


def _one(rows: Array, value: float) -> Array:
    rows = rows.copy()
    rows[1, 0] = value
    return rows


CHANGES = {
    "equal": Change(lambda r: r, []),
    "within the limit": Change(lambda r: r + np.float32(9e-7), []),
    "one number off": Change(lambda r: _one(r, r[1, 0] + 2e-4), ["largest difference from torch"]),
    "two rows swapped": Change(
        lambda r: r[[1, 0, 2]], ["largest difference from torch", "smallest cosine with torch"]
    ),
    "longer than a unit": Change(
        lambda r: r * np.float32(1.00005), ["distance from unit length"]
    ),
    "not a number": Change(
        lambda r: _one(r, np.nan),
        ["largest difference from torch", "smallest cosine with torch", "distance from unit length"],
    ),
    "zeros": Change(
        lambda r: r * 0,
        ["largest difference from torch", "smallest cosine with torch", "distance from unit length"],
    ),
    "a row too few": Change(
        lambda r: r[:2], ["largest difference from torch", "smallest cosine with torch"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_parity(name: str) -> None:
    torch = {1: unit(0, 1, 16), 3: unit(1, 3, 16)}
    with np.errstate(invalid="ignore"):
        checks = parity("text", torch, {1: torch[1], 3: CHANGES[name].apply(torch[3])})
    assert failed(checks) == CHANGES[name].fails


def test_parity_of_tokens_looks_at_every_token() -> None:
    torch = {2: unit(0, 2, 4, 16)}
    engine = {2: torch[2].copy()}
    engine[2][1, 3] = -engine[2][1, 3]
    assert failed(parity("late", torch, torch)) == []
    assert failed(parity("late", torch, engine)) == [
        "largest difference from torch",
        "smallest cosine with torch",
    ]


def test_independence_compares_the_first_row_across_and_the_last_row_within() -> None:
    rows = unit(0, 5, 8)
    good = {1: rows[:1], 2: rows[[0, 0]], 4: rows[[0, 1, 2, 0]]}
    assert failed(independence("image", good)) == []
    across = {**good, 4: good[4] + np.array([[2e-5], [0], [0], [2e-5]], np.float32)}
    assert failed(independence("image", across)) == ["one input in batches of different sizes"]
    within = {**good, 4: good[4] + np.array([[0], [0], [0], [3e-6]], np.float32)}
    assert failed(independence("image", within)) == ["one input twice in a batch"]


def test_logarithms_see_what_is_hardly_ever_likely() -> None:
    torch = {1: np.array([[0.7, 0.3, 1e-9]]), 2: np.array([[0.5, 0.5, 1e-40], [1.0, 1e-20, 0.0]])}

    def check(b: int, row: int, column: int, factor: float) -> Check:
        engine = {size: rows.copy() for size, rows in torch.items()}
        engine[b][row, column] *= factor
        return logarithms("p", torch, engine)

    assert check(1, 0, 2, 1).value == 0
    assert check(1, 0, 2, 1 + 9e-4).passed
    assert check(2, 1, 1, 1.01).value == pytest.approx(np.log(1.01))
    assert not any(check(*place, 1.01).passed for place in ((1, 0, 0), (1, 0, 2), (2, 1, 1)))
    assert check(2, 0, 2, 1e9).passed  # both are below what fp32 can say
    assert not check(2, 0, 2, 1e11).passed
    assert not check(1, 0, 1, np.nan).passed
    assert not logarithms("p", torch, {1: torch[1], 2: torch[2][:1]}).passed


def test_same_is_to_the_bit() -> None:
    left = np.array([[1.0, 0.0], [2.0, 3.0]], np.float32)
    assert same("pixels", left, left.copy(), "pictures").passed
    off = same("pixels", left, np.nextafter(left, np.float32(9)), "pictures")
    assert (off.passed, off.value, off.detail) == (False, 2.0, "first at pictures 0")
    assert not same("pixels", left, np.array([[1.0, -0.0], [2.0, 3.0]], np.float32), "pictures").passed
    assert not same("pixels", left, left.astype(np.float64), "pictures").passed
    assert not same("pixels", left, left[:1], "pictures").passed


SCORES = np.array([[0.9, 0.5, 0.500001, 0.1]])


@pytest.mark.parametrize(
    ("found", "error", "passed"),
    [
        ([0, 2, 1], 0.0, True),
        ([0, 1, 2], 1e-6, True),  # they lie 1e-6 apart, less than twice the error
        ([0, 1, 2], 4e-7, False),
        ([0, 2, 3], 1e-6, False),
        ([2, 0, 1], 1e-6, False),
        ([0, 2, 3], 1.0, False),  # a gross error excuses no more than 1e-4
        ([0, 2], 1.0, False),
        ([0, 2, 2], 1.0, False),
    ],
)
def test_ranking_forgives_only_what_cannot_be_told_apart(
    found: list[int], error: float, passed: bool
) -> None:
    assert ranking(SCORES, [found], error, k=3).passed is passed


def test_ranking_of_equal_scores_may_take_any_order_and_nan_never_passes() -> None:
    assert ranking(np.array([[0.5, 0.5, 0.5]]), [[2, 0, 1]], 0.0, k=3).passed
    assert not ranking(np.array([[0.5, np.nan, 0.2]]), [[0, 2, 1]], 1e-6, k=3).passed


@given(st.integers(0, 2**32 - 1), st.floats(1e-9, 1e-4))
def test_ranking_by_scores_off_by_at_most_the_error_always_passes(seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(4, 12)).round(3)
    near = scores + rng.uniform(-error, error, scores.shape) * 0.999
    found = [list(np.argsort(-row, kind="stable")[:10]) for row in near]
    assert ranking(scores, found, error).passed


def test_points() -> None:
    assert points("mAP", 50.0, 50.09, 10).passed
    assert not points("mAP", 50.0, 50.11, 10).passed
    assert not points("mAP", 50.0, float("nan"), 10).passed


def test_scores_of_late_items_are_the_mean_of_the_largest() -> None:
    queries = np.array([[1, 0], [0, 1]], np.float32)
    items = np.array([[[1, 0], [3, 8], [2, 0]], [[0, 1], [0, 2], [0, 6]]], np.float32)
    assert score_matrix(queries, items, 2).tolist() == [[2.5, 0], [4, 4]]
    assert score_matrix(queries, items[:, 0], 1).tolist() == [[1, 0], [0, 1]]


def test_a_report_is_plain_json_and_shows_every_failure_with_value_and_limit() -> None:
    checks = (
        Check("good one", True, 0.5, "≤ 1"),
        Check("first bad", False, float("nan"), "≤ 1e-4", "batch 7: nan"),
        Check("second bad", False, "none at all", "some"),
    )
    report = Report(checks, {"on": "paper", "batches": [1, 2]})
    assert not report.passed
    assert [c.name for c in report.failures] == ["first bad", "second bad"]
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (plain["passed"], plain["on"], plain["checks"][1]["value"]) == (False, "paper", "nan")
    file = io.StringIO()
    report.print(Console(file=file, width=40))  # narrower than the lines, which stay whole
    text = file.getvalue()
    for line in (
        "✓ good one    0.5  (≤ 1)",
        "✗ first bad   nan  (≤ 1e-4)",
        "    batch 7: nan",
        "1 of 3 checks hold",
    ):
        assert line in text
    assert not Report(()).passed, "a gate that looked at nothing is shut"
    assert Report(checks[:1]).passed


def test_made_up_pictures_and_texts_are_many_and_always_the_same() -> None:
    images = pictures(12)
    assert all((a == b).all() for a, b in zip(images, pictures(12), strict=True))
    assert len({a.shape for a in images}) > 9
    assert all(a.dtype == np.uint8 and a.flags.c_contiguous for a in images)
    assert len(set(texts(2000))) == 2000
    assert set(AWKWARD) < set(texts(20))
    probe = synthetic(8)
    assert (len(probe.images), len(probe.texts), len(probe.queries)) == (8, 8, 8)
    assert probe.pick([0, 9])[1] == [probe.texts[0], probe.texts[1]]


def _split(people: int, per_person: int) -> Split:
    gallery = tuple(
        Sample(f"{p}-{i}", Path(f"{p}-{i}.jpg"), p, camera=i)
        for p in range(people)
        for i in range(per_person)
    )
    queries = tuple(Query(p, text=f"person {p}", image=Path(f"q{p}.jpg"), person=p) for p in range(people))
    return Split("toy/test", (), queries, gallery, "person", tuple(s.person for s in gallery))


@pytest.mark.parametrize("words", [True, False])
def test_a_dataset_is_thinned_by_people_whose_pictures_stay_together(words: bool) -> None:
    probe = from_split(_split(people=50, per_person=4), 40, words)
    asked = probe.texts if words else probe.queries
    assert (len(probe.images), len(asked)) == (40, 10)
    assert probe.relevant is not None
    assert (probe.relevant.sum(1) == 4).all()
    assert [str(path).split("-")[0] for path in probe.images[::4]] == [str(p) for p in range(0, 50, 5)]
    assert (probe.texts == ()) is (not words)


def test_a_dataset_smaller_than_asked_is_taken_whole() -> None:
    probe = from_split(_split(people=3, per_person=2), 100, True)
    assert (len(probe.images), len(probe.texts)) == (6, 3)


def test_a_dataset_without_answers_is_refused() -> None:
    blank = Split("toy/test", (), (Query(1, text="  ", person=1),), (), "person", ())
    with pytest.raises(DatasetError, match="toy/test: has no text query"):
        from_split(blank, 10, True)
