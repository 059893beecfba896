"""Rank-k, AP and INP against hand-worked rankings, a brute-force twin, and the laws they obey."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdk.errors import VectorError
from train.metrics import NAMES, bootstrap, join, metrics_of, rank_metrics


def ranking(*relevant_ranks: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One query whose relevant items stand at the given ranks."""
    scores = np.arange(size, 0, -1, dtype=np.float32)[None]
    relevant = np.isin(np.arange(1, size + 1), relevant_ranks)[None]
    return scores, relevant


def by_sorting(scores, relevant, ignored):
    """The definitions, written as one reads them; None for a query without a match."""
    out = []
    for row, hit, skip in zip(scores, relevant, ignored, strict=True):
        order = [j for j in sorted(range(len(row)), key=lambda j: (-row[j], j)) if not skip[j]]
        ranks = [r for r, j in enumerate(order, 1) if hit[j]]
        if not ranks:
            out.append(None)
            continue
        precisions = [(n / r) for n, r in enumerate(ranks, 1)]
        before = [1.0 if r == 1 else (n - 1) / (r - 1) for n, r in enumerate(ranks, 1)]
        trapezoid = sum((a + b) / 2 for a, b in zip(precisions, before, strict=True)) / len(ranks)
        out.append((ranks[0], sum(precisions) / len(ranks), len(ranks) / ranks[-1], trapezoid))
    return out


def test_matches_at_ranks_one_and_four_of_five() -> None:
    found = rank_metrics(*ranking(1, 4, size=5))
    assert found.first.tolist() == [1]
    assert found.ap[0] == pytest.approx(0.75)  # (1/1 + 2/4) / 2
    assert found.inp[0] == pytest.approx(0.5)  # 2 / 4
    assert found.ap_trapezoid[0] == pytest.approx(((1 + 1) / 2 + (1 / 3 + 1 / 2) / 2) / 2)


def test_ranks_alone_give_the_same_figures() -> None:
    found = metrics_of([np.array([1, 4]), np.array([], np.int64), np.array([2])])
    assert found.query.tolist() == [0, 2]
    assert found.skipped == 1
    assert found.first.tolist() == [1, 2]
    assert found.ap.tolist() == [0.75, 0.5]
    assert found.inp.tolist() == [0.5, 0.5]
    assert found.ap_trapezoid == pytest.approx([17 / 24, 0.25])  # ½[(1+1)/2 + (1/3+1/2)/2]; ½(0 + ½)
    assert len(metrics_of([])) == metrics_of([]).skipped == 0


def test_one_match_scores_about_half_under_the_trapezoidal_rule() -> None:
    found = rank_metrics(*ranking(4, size=9))
    assert (found.ap[0], found.ap_trapezoid[0]) == (0.25, 0.125)
    assert [bool(found.rank(k)[0]) for k in (1, 3, 4, 5)] == [False, False, True, True]


def test_everything_right_is_a_hundred_percent() -> None:
    same = np.repeat(np.arange(4), 3)
    relevant = same[:, None] == same[None]
    means = rank_metrics(relevant.astype(np.float32), relevant).means()
    assert means == dict.fromkeys(NAMES, 100.0)


def test_ties_go_to_the_earlier_gallery_item() -> None:
    tied = np.zeros((1, 4), np.float32)
    for place in range(4):
        assert rank_metrics(tied, (np.arange(4) == place)[None]).first[0] == place + 1
    two = rank_metrics(np.array([[0.5, 0.9, 0.5, 0.5]]), np.array([[False, False, True, True]]))
    assert two.first[0] == 3
    assert two.ap[0] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_an_ignored_item_takes_no_place_and_is_never_a_hit() -> None:
    scores, relevant = ranking(1, 3, 5, size=5)
    ignored = np.array([[True, True, False, False, False]])  # the hit at 1 and the miss at 2 are gone
    found = rank_metrics(scores, relevant, ignored)
    assert found.first[0] == 1
    assert found.ap[0] == pytest.approx((1 + 2 / 3) / 2)
    assert found.inp[0] == pytest.approx(2 / 3)


def test_a_query_without_a_match_is_left_out_and_counted() -> None:
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1]], np.float32)
    relevant = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0]], bool)
    ignored = np.zeros_like(relevant)
    ignored[2, 1] = True  # its only match is ignored
    found = rank_metrics(scores, relevant, ignored)
    assert (len(found), found.skipped, found.query.tolist()) == (1, 2, [0])
    assert found.means()["rank1"] == 100
    none = rank_metrics(scores[:1], np.zeros((1, 3), bool))
    assert math.isnan(none.means()["map"])
    assert none.to_json(bootstrap(none))["map"] is None


def matrices(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    return st.tuples(st.integers(1, 6), st.integers(1, 12)).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float32, shape, elements=values),
            hnp.arrays(bool, shape),
            hnp.arrays(bool, shape, elements=st.sampled_from([False, False, False, True])),
        )
    )


@given(matrices(st.sampled_from([-1.0, -0.0, 0.0, 0.25, 0.5, -math.inf, math.inf])))
def test_equals_the_brute_force_twin_with_many_ties(drawn) -> None:
    found = rank_metrics(*drawn)
    expected = by_sorting(*drawn)
    counted = [e for e in expected if e is not None]
    assert found.skipped == expected.count(None)
    assert found.query.tolist() == [i for i, e in enumerate(expected) if e is not None]
    for column, values in enumerate((found.first, found.ap, found.inp, found.ap_trapezoid)):
        assert values == pytest.approx([e[column] for e in counted])


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(2, 30))
def test_without_ties_the_order_of_gallery_and_queries_does_not_matter(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(m, dtype=np.float32), (n, 1)), axis=1)
    relevant = rng.random((n, m)) < 0.3
    relevant[:, 0] = True
    means = rank_metrics(scores, relevant).means()
    items, rows = rng.permutation(m), rng.permutation(n)
    moved = rank_metrics(scores[rows][:, items], relevant[rows][:, items]).means()
    assert moved == pytest.approx(means)
    grown = rank_metrics(np.exp2(scores), relevant).means()  # only the order of scores counts
    assert grown == means


@given(matrices(st.floats(-2, 2, width=32)))
def test_bounds_and_order_of_the_figures(drawn) -> None:
    found = rank_metrics(*drawn)
    values = found.per_query()
    for name in NAMES:
        assert ((values[name] >= 0) & (values[name] <= 1)).all()
    assert (found.rank1 <= found.rank5).all()
    assert (found.rank5 <= found.rank10).all()
    assert (found.ap_trapezoid <= found.ap + 1e-12).all()  # precision before a hit is never the higher one
    assert (found.inp[~found.rank1] < 1).all()  # a miss at the top costs INP too


def test_blocks_of_queries_join_to_the_whole() -> None:
    rng = np.random.default_rng(3)
    scores, relevant = rng.standard_normal((17, 40)), rng.random((17, 40)) < 0.03
    whole = rank_metrics(scores, relevant)
    parts = join((at, rank_metrics(scores[at : at + 5], relevant[at : at + 5])) for at in range(0, 17, 5))
    assert whole.skipped == parts.skipped > 0
    for name in ("query", "first", "ap", "inp", "ap_trapezoid"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


@pytest.mark.parametrize(
    ("scores", "relevant", "ignored", "words"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2), bool), None, "relevant: got bool of shape"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), None, "relevant: got int64"),
        (np.zeros((2, 3)), np.zeros((2, 3), bool), np.zeros((3, 2), bool), "ignored"),
        (np.zeros(3), np.zeros(3, bool), None, "scores"),
        (np.zeros((2, 3), int), np.zeros((2, 3), bool), None, "scores"),
        (np.array([[0.0, np.nan]]), np.zeros((1, 2), bool), None, "row 0 holds NaN"),
    ],
)
def test_refuses_other_shapes_dtypes_and_nan(scores, relevant, ignored, words: str) -> None:
    with pytest.raises(VectorError, match=words):
        rank_metrics(scores, relevant, ignored)


def coin(n: int, hits: int):
    """n queries of which `hits` have their one match first, the others second."""
    relevant = np.zeros((n, 2), bool)
    relevant[:hits, 0] = relevant[hits:, 1] = True
    return rank_metrics(np.tile(np.array([1.0, 0.0]), (n, 1)), relevant)


def test_bootstrap_is_seeded_and_close_to_the_binomial_spread() -> None:
    found = coin(400, 240)
    first = bootstrap(found, seed=1)
    assert first == bootstrap(found, seed=1)
    assert first != bootstrap(found, seed=2)
    low, high = first["rank1"]
    spread = 100 * 1.96 * math.sqrt(0.6 * 0.4 / 400)  # the normal interval of a proportion: ± 4.8 points
    assert low == pytest.approx(60 - spread, abs=1.0)
    assert high == pytest.approx(60 + spread, abs=1.0)
    assert first["rank5"] == (100, 100)  # nothing to vary


def test_bootstrap_interval_shrinks_with_more_queries() -> None:
    few, many = (bootstrap(coin(n, n // 2))["rank1"] for n in (50, 5000))
    assert few[1] - few[0] > 5 * (many[1] - many[0])


def test_json_and_table_carry_every_metric() -> None:
    found = coin(10, 4)
    intervals = bootstrap(found)
    out = json.loads(json.dumps(found.to_json(intervals)))
    assert (out["rank1"], out["map"], out["queries"], out["skipped"]) == (40.0, 70.0, 10, 0)
    assert set(out["interval95"]) == set(NAMES)
    rows = found.table(intervals)
    assert rows[0][:2] == ("Rank-1", "40.00")
    assert [row[0] for row in rows] == list(NAMES.values())
    assert found.table()[0][2] == ""
