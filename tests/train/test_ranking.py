"""Ranks by searching and by sorting are the same to the last bit, whatever is ignored, tied or late."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.errors import VectorError
from train import ranking
from train.metrics import Metrics, rank_metrics
from train.ranking import all_scores, judge_scores, search_ranks
from train.split import Query, Sample, Split

FIELDS = ("query", "first", "ap", "inp", "ap_trapezoid")


def same(one: Metrics, other: Metrics) -> bool:
    return one.skipped == other.skipped and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS
    )


def unit(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=-1, keepdims=True), np.float32)


def both(*args, **more) -> Metrics:
    by_search, by_sort = judge_scores("topk", *args, **more), judge_scores("sort", *args, **more)
    assert same(by_search, by_sort)
    return by_search


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 60), st.sampled_from([1, 3, 16, 33]))
def test_both_ways_agree_to_the_bit_with_ties_and_ignored_items(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = unit(rng.standard_normal((m, d)) + 0.1)
    gallery = gallery[rng.integers(0, m, m)]  # equal rows: ties go to the earlier one
    queries = unit(rng.standard_normal((n, d)))
    relevant, ignored = rng.random((n, m)) < 0.2, rng.random((n, m)) < 0.3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "FIRST", 2)  # so that most need another search
        patch.setattr(ranking, "GROWTH", 3)
        found = both(queries, gallery, relevant, ignored)
    direct = rank_metrics(all_scores(queries, gallery), relevant, ignored)
    assert same(found, direct)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_late_items_too(seed: int, top_tokens: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = unit(rng.standard_normal((3, 8))), unit(rng.standard_normal((20, 4, 8)))
    relevant = rng.random((3, 20)) < 0.3
    found = both(queries, gallery, relevant, np.zeros_like(relevant), top_tokens=top_tokens)
    each = np.sort(np.einsum("nd,mtd->nmt", queries, gallery, dtype=np.float64), axis=2)
    expected = rank_metrics(each[:, :, -top_tokens:].mean(axis=2), relevant)
    assert np.array_equal(found.first, expected.first)
    assert found.ap == pytest.approx(expected.ap)


def test_scores_are_the_products() -> None:
    rng = np.random.default_rng(0)
    queries, gallery = unit(rng.standard_normal((5, 70))), unit(rng.standard_normal((9, 70)))
    assert all_scores(queries, gallery) == pytest.approx(queries @ gallery.T, abs=1e-6)


def test_by_hand_with_matches_at_ranks_one_and_four_of_five() -> None:
    gallery = unit(np.array([[np.cos(a), np.sin(a)] for a in (0.4, 0.1, 0.3, 0.2, 0.5)]))
    queries = np.array([[1, 0]], np.float32)  # the order is 1, 3, 2, 0, 4
    relevant = np.array([[True, True, False, False, False]])
    nothing = np.zeros_like(relevant)
    found = both(queries, gallery, relevant, nothing)
    assert (found.ap[0], found.inp[0]) == (0.75, 0.5)
    assert found.ap_trapezoid[0] == pytest.approx(17 / 24)  # 0.708
    assert search_ranks(queries, gallery, relevant, nothing)[0].tolist() == [1, 4]
    without = np.array([[False, False, True, False, True]])  # the item between them, and the last
    assert search_ranks(queries, gallery, relevant, without)[0].tolist() == [1, 3]
    assert search_ranks(queries, gallery, relevant, relevant)[0].tolist() == []


def test_only_what_is_still_missing_is_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = ranking.cpp_ext.topk

    def topk(queries, gallery, k, **more):
        asked.append((len(queries), k))
        return real(queries, gallery, k, **more)

    monkeypatch.setattr(ranking.cpp_ext, "topk", topk)
    monkeypatch.setattr(ranking, "FIRST", 2)
    gallery = unit(np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 1, 20)]))
    queries = np.tile(np.array([[1, 0]], np.float32), (4, 1))
    relevant = np.zeros((4, 20), bool)
    relevant[0, 1] = relevant[1, 15] = relevant[2, 18] = True  # ranks 2, 16 and 19; the fourth has none
    found = search_ranks(queries, gallery, relevant, np.zeros_like(relevant))
    assert [r.tolist() for r in found] == [[2], [16], [19], []]
    assert asked == [(3, 2), (2, 16), (1, 20)]


def market() -> Split:
    """A query of person 1 on camera 1 and one of person 2 on camera 3, in a gallery with all that occurs."""
    shown = [(-1, 1), (0, 1), (1, 1), (1, 2), (2, 3), (0, 2), (1, 5), (2, 1)]
    gallery = tuple(Sample(str(i), None, p, camera=c) for i, (p, c) in enumerate(shown))  # type: ignore[arg-type]
    queries = (Query(1, person=1, camera=1), Query(2, person=2, camera=3))
    return Split("toy", (), queries, gallery, "other_camera", tuple(p for p, _ in shown))


def test_market_by_hand_junk_and_own_camera_take_no_place_distractors_do() -> None:
    toy = market()
    # the first query's order: junk, its own camera's, a distractor, 1 on camera 2, 2, 0, 1 on camera 5, 2
    angles = [0.0, 0.2, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7]
    gallery = unit(np.array([[np.cos(a), np.sin(a)] for a in angles]))
    queries = unit(np.array([[1, 0], [np.cos(0.7), np.sin(0.7)]]))
    found = both(queries, gallery, toy.relevant(), toy.ignored())
    ranks = search_ranks(queries, gallery, toy.relevant(), toy.ignored())
    assert ranks[0].tolist() == [2, 5]  # after the distractor; then 2 and 0 come between
    assert ranks[1].tolist() == [1]
    assert found.first.tolist() == [2, 1]
    assert found.ap.tolist() == [(1 / 2 + 2 / 5) / 2, 1]
    assert found.inp.tolist() == [2 / 5, 1]
    assert found.means()["rank1"] == 50


def test_an_answer_without_a_finite_score_is_an_error_both_ways() -> None:
    gallery = np.ones((3, 4), np.float32)
    gallery[1, 0] = np.nan
    relevant = np.array([[False, True, False]])
    for by in ("topk", "sort"):
        with pytest.raises(VectorError, match=r"isn't finite|NaN"):
            judge_scores(by, np.ones((1, 4), np.float32), gallery, relevant, np.zeros_like(relevant))
