"""The bits: serial follows the written order, and every level equals serial."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import cpp_ext
from cpp_ext import reference

SIZES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 97, 128, 511, 512, 513)


def all_scores(queries, gallery, level, top_tokens=1):
    """(n, m) scores by row number, through topk with k = m."""
    indices, scores = cpp_ext.topk(
        queries, gallery, len(gallery), top_tokens=top_tokens, threads=1, level=level
    )
    table = np.empty_like(scores)
    np.put_along_axis(table, indices, scores, axis=1)
    return table


def nearest_float32(exact: Fraction) -> np.float32:
    """Round to nearest, ties to even, from an exact number: float() alone would round twice."""
    guess = np.float32(float(exact))
    near = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(near, key=lambda f: (abs(Fraction(float(f)) - exact), int(f.view(np.uint32)) & 1))


def written_order(a, b) -> np.float32:
    """The rule, in exact arithmetic: fused multiply-add into lane e mod 16, then the halving tree."""
    lanes = [np.float32(0)] * 16
    for e, (x, y) in enumerate(zip(a, b, strict=True)):
        lanes[e % 16] = nearest_float32(
            Fraction(float(x)) * Fraction(float(y)) + Fraction(float(lanes[e % 16]))
        )
    for half in (8, 4, 2, 1):
        lanes = [lanes[i] + lanes[i + half] for i in range(half)]
    return lanes[0]


@pytest.mark.parametrize("d", [1, 5, 16, 37, 64])
def test_serial_follows_the_written_order(real, d):
    queries, gallery = real(3, d), real(4, d)
    expected = np.array([[written_order(q, x) for x in gallery] for q in queries], np.float32)
    assert all_scores(queries, gallery, "serial").tobytes() == expected.tobytes()


def test_the_order_matters_to_the_data_of_these_tests(real):
    """Guards the test above: a plain left-to-right sum would give other bits."""
    queries, gallery = real(3, 64), real(4, 64)
    plain = np.zeros((3, 4), np.float32)
    for e in range(64):
        plain += queries[:, e, None] * gallery[None, :, e]
    assert (plain != all_scores(queries, gallery, "serial")).any()


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
@pytest.mark.parametrize("d", SIZES)
def test_levels_equal_serial_to_the_bit(real, level, d):
    for n, m in ((1, 67), (2, 9), (3, 64), (4, 13), (50, 11)):
        queries, gallery = real(n, d), real(m, d)
        assert (
            all_scores(queries, gallery, level).tobytes() == all_scores(queries, gallery, "serial").tobytes()
        )


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
@pytest.mark.parametrize("d", [1, 16, 45, 130])
def test_the_screen_of_a_level_loses_no_hit(real, level, d):
    gallery = real(4099, d)
    gallery[::50] = gallery[0] + 0.02 * real(82, d)  # closer to each other than codes can tell
    packed = cpp_ext.pack(gallery, level=level)
    for n in (1, 3, 7, 70):
        queries = gallery[0] + 0.3 * real(n, d)
        indices, scores = cpp_ext.topk(queries, packed, 5, level=level)
        expected, expected_scores = cpp_ext.topk(queries, gallery, 5, level="serial")
        assert indices.tolist() == expected.tolist()
        assert scores.tobytes() == expected_scores.tobytes()


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
def test_every_half_precision_number_is_widened_exactly(level):
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    gallery = halves[np.isfinite(halves)].reshape(-1, 31)
    assert (all_scores(np.eye(31, dtype=np.float32), gallery, level) == gallery.astype(np.float32).T).all()


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
@pytest.mark.parametrize(("t", "top_tokens"), [(1, 1), (2, 1), (3, 2), (32, 6), (70, 70)])
def test_late_similarity_equals_serial_to_the_bit(real, level, t, top_tokens):
    queries, gallery = real(5, 33), real(23, t, 33)
    found = all_scores(queries, gallery, level, top_tokens)
    assert found.tobytes() == all_scores(queries, gallery, "serial", top_tokens).tobytes()


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
def test_late_similarity_adds_in_descending_order_then_divides(real, level):
    queries, gallery = real(4, 40), real(30, 9, 40)
    token_dots = all_scores(queries, gallery.reshape(-1, 40), level).reshape(4, 30, 9)
    best = -np.sort(-token_dots, axis=2)
    total = best[:, :, 0]
    for token in range(1, 6):
        total = total + best[:, :, token]
    expected = total / np.float32(6)
    assert all_scores(queries, gallery, level, 6).tobytes() == expected.tobytes()
    assert (np.sum(best[:, :, :6][:, :, ::-1], axis=2, dtype=np.float32) != total).any()


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
def test_tiny_huge_and_cancelling_values(random, level):
    scale = np.float32(10.0) ** random.integers(-40, 18, (40, 50)).astype(np.float32)
    values = (random.standard_normal((40, 50)) * scale).astype(np.float32)
    queries, gallery = values[:7], np.concatenate([values, -values])
    assert all_scores(queries, gallery, level).tobytes() == all_scores(queries, gallery, "serial").tobytes()


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
def test_a_zero_score_is_plus_zero(level):
    tiny = np.full((1, 16), 1e-30, np.float32)  # each lane underflows to the zero of its product's sign
    gallery = np.concatenate([-tiny, tiny, 0 * tiny, -0.0 * tiny])
    for items in (gallery, np.stack([gallery, gallery], axis=1)):
        indices, scores = cpp_ext.topk(tiny, items, 4, top_tokens=items.ndim - 1, level=level)
        assert scores.tobytes() == bytes(16)
        assert indices.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
def test_a_mean_that_underflows_is_plus_zero(level):
    smallest = np.float32(1e-45)
    gallery = np.array([[[0], [-smallest]], [[0], [0]]], np.float32)  # halving the smallest number gives 0
    indices, scores = cpp_ext.topk(np.ones((1, 1), np.float32), gallery, 2, top_tokens=2, level=level)
    assert scores.tobytes() == bytes(8)
    assert indices.tolist() == [[0, 1]]


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
@pytest.mark.parametrize("d", [1, 16, 97, 512, 1000])
def test_scores_lie_within_the_stated_bound_of_float64(real, level, d):
    queries, gallery = real(8, d), real(200, d)
    exact = queries.astype(np.float64) @ gallery.astype(np.float64).T
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)[:, None] * np.linalg.norm(
        gallery.astype(np.float64), axis=1
    )
    bound = 2 * (d / 16 + 5) * 2.0**-24 * norms
    scores = (
        reference.scores(queries, gallery) if level == "reference" else all_scores(queries, gallery, level)
    )
    assert (np.abs(scores - exact) <= bound).all()


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
def test_score_pairs_are_the_scores_of_topk(real, level):
    queries, gallery = real(6, 45), real(40, 3, 45)
    query_index, gallery_index = [5, 0, 3, 3, 0], np.array([39, 0, 7, 7, 12], np.int32)
    table = (
        reference.scores(queries, gallery, 2)
        if level == "reference"
        else all_scores(queries, gallery, level, 2)
    )
    found = cpp_ext.score_pairs(queries, gallery, query_index, gallery_index, 2, level=level)
    assert found.dtype == np.float32
    assert found.tobytes() == table[query_index, gallery_index].tobytes()
    assert cpp_ext.score_pairs(queries, gallery, [], [], level=level).shape == (0,)


def test_score_pairs_of_a_damaged_item_is_nan(real):
    gallery = real(3, 2, 20)
    gallery[1, 1, 4] = np.nan
    scores = cpp_ext.score_pairs(real(1, 20), gallery, [0, 0, 0], [0, 1, 2])
    assert np.isnan(scores).tolist() == [False, True, False]
