"""The meaning: every level finds what the specification finds, however the question is put."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpp_ext
from cpp_ext import reference

EVERY = ("reference", *cpp_ext.LEVELS)
every_level = pytest.mark.parametrize("level", EVERY)


def same(left, right) -> bool:
    """Equal shapes, dtypes and bits."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(left, right, strict=True)
    )


def packed(mask):
    return np.packbits(mask, axis=-1, bitorder="little")


@st.composite
def problems(draw):
    """An integer-valued problem of awkward sizes with every kind of filter."""
    n, m = draw(st.integers(0, 9)), draw(st.sampled_from([0, 1, 2, 63, 64, 65, 130, 300]))
    d, t = draw(st.sampled_from([1, 7, 15, 16, 17, 31, 33, 65])), draw(st.sampled_from([None, 1, 2, 5]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries = random.integers(-2, 3, (n, d)).astype(np.float32)
    gallery = random.integers(-2, 3, (m, d) if t is None else (m, t, d)).astype(np.float32)
    share = draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    form = draw(st.sampled_from(["none", "shared", "own"]))
    mask = None if form == "none" else random.random(m if form == "shared" else (n, m)) < share
    exclude = None
    if draw(st.booleans()):
        exclude = [random.integers(0, m, random.integers(0, 5)).tolist() if m else [] for _ in range(n)]
    options = {
        "mask": mask,
        "exclude": exclude,
        "min_score": draw(st.sampled_from([None, -1.0, 0.0, 0.5, 3.0])),
        "top_tokens": draw(st.integers(1, t or 1)),
    }
    return queries, gallery, draw(st.integers(1, 320)), options


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
@given(problem=problems(), threads=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_levels_find_what_the_specification_finds(level, problem, threads):
    queries, gallery, k, options = problem
    expected = reference.topk(queries, gallery, k, **options)
    assert same(cpp_ext.topk(queries, gallery, k, threads=threads, level=level, **options), expected)


@every_level
def test_worked_by_hand(level):
    gallery = np.array([[1, 0], [3, 0], [0, 9], [3, 5], [-1, 0]], np.float32)
    queries = np.array([[2, 0], [0, 1]], np.float32)
    indices, scores = cpp_ext.topk(queries, gallery, 3, level=level)
    assert indices.tolist() == [[1, 3, 0], [2, 3, 0]]  # a tie goes to the smaller row
    assert scores.tolist() == [[6, 6, 2], [9, 5, 0]]
    assert (indices.dtype, scores.dtype) == (np.int64, np.float32)


@every_level
def test_late_similarity_worked_by_hand(level):
    gallery = np.array([[[4], [1], [1]], [[3], [3], [-9]], [[2], [3], [2]]], np.float32)
    query = np.ones((1, 1), np.float32)
    best = cpp_ext.topk(query, gallery, 3, level=level)
    assert (best[0].tolist(), best[1].tolist()) == ([[0, 1, 2]], [[4, 3, 3]])
    two = cpp_ext.topk(query, gallery, 3, top_tokens=2, level=level)
    assert (two[0].tolist(), two[1].tolist()) == ([[1, 0, 2]], [[3, 2.5, 2.5]])


@every_level
def test_missing_places_are_padded(whole, level):
    indices, scores = cpp_ext.topk(whole(2, 5), whole(3, 5), 5, level=level)
    assert indices[:, 3:].tolist() == [[-1, -1]] * 2
    assert np.isneginf(scores[:, 3:]).all()
    assert np.isfinite(scores[:, :3]).all()


@every_level
@pytest.mark.parametrize(("n", "m"), [(0, 5), (2, 0), (0, 0)])
def test_nothing_to_search(whole, level, n, m):
    indices, scores = cpp_ext.topk(whole(n, 4), whole(m, 4), 3, level=level)
    assert indices.shape == scores.shape == (n, 3)
    assert (indices == -1).all()
    assert np.isneginf(scores).all()


@every_level
@pytest.mark.parametrize("m", [1, 8, 63, 64, 65, 200])
def test_all_forms_of_a_mask_say_the_same(random, whole, level, m):
    queries, gallery = whole(3, 9), whole(m, 9)
    shared, own = random.random(m) < 0.4, random.random((3, m)) < 0.4
    plain = cpp_ext.topk(queries, gallery, m, mask=shared, level=level)
    assert same(cpp_ext.topk(queries, gallery, m, mask=packed(shared), level=level), plain)
    repeated = np.tile(shared, (3, 1))
    assert same(cpp_ext.topk(queries, gallery, m, mask=repeated, level=level), plain)
    assert same(cpp_ext.topk(queries, gallery, m, mask=np.tile(packed(shared), (3, 1)), level=level), plain)
    for query in range(3):
        alone = cpp_ext.topk(queries[query : query + 1], gallery, m, mask=own[query], level=level)
        together = cpp_ext.topk(queries, gallery, m, mask=packed(own), level=level)
        assert same([part[query : query + 1] for part in together], alone)
        assert set(alone[0][alone[0] >= 0]) == set(np.flatnonzero(own[query]))


@every_level
def test_bits_after_the_last_row_mean_nothing(whole, level):
    queries, gallery = whole(2, 9), whole(13, 9)
    filled = np.full(2, 255, np.uint8)
    assert same(
        cpp_ext.topk(queries, gallery, 20, mask=filled, level=level),
        cpp_ext.topk(queries, gallery, 20, level=level),
    )


@every_level
def test_a_mask_of_nothing_finds_nothing(whole, level):
    for mask in (np.zeros(70, bool), np.zeros((2, 70), bool)):
        indices, _ = cpp_ext.topk(whole(2, 9), whole(70, 9), 4, mask=mask, level=level)
        assert (indices == -1).all()


@every_level
def test_masked_rows_are_not_read(level):
    """An ineligible row may be damaged: it changes nothing."""
    gallery = np.ones((200, 20), np.float32)
    gallery[5] = np.nan
    mask = np.ones(200, bool)
    mask[5] = False
    indices, scores = cpp_ext.topk(gallery[:1], gallery, 200, mask=mask, level=level)
    assert indices[0].tolist() == [*range(5), *range(6, 200), -1]
    assert (scores[0, :-1] == 20).all()


@every_level
def test_excluded_rows_are_passed_over(whole, level):
    queries, gallery = whole(3, 9), whole(90, 9)
    full, _ = cpp_ext.topk(queries, gallery, 90, level=level)
    exclude = [full[0, :4].tolist(), [], np.array([full[2, 0], full[2, 0], full[2, 89]])]
    found, _ = cpp_ext.topk(queries, gallery, 90, exclude=exclude, level=level)
    for query in range(3):
        kept = [row for row in full[query] if row not in set(exclude[query])]
        assert found[query].tolist() == kept + [-1] * (90 - len(kept))


@every_level
def test_min_score_is_inclusive_and_compared_before_rounding(level):
    gallery = np.array([[1.0], [np.nextafter(np.float32(1), np.float32(2))], [0.5]], np.float32)
    one = np.ones((1, 1), np.float32)

    def found(min_score):
        return [
            row for row in cpp_ext.topk(one, gallery, 3, min_score=min_score, level=level)[0][0] if row >= 0
        ]

    assert found(1.0) == [1, 0]
    assert found(1.0 + 1e-12) == [1]  # float32 would round the limit down to 1
    assert found(1e300) == []
    assert found(-1e300) == [1, 0, 2]
    assert found(float("inf")) == []
    assert found(float("-inf")) == [1, 0, 2]


@every_level
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_damaged_row_is_never_a_hit(whole, level, bad):
    gallery = whole(70, 20)
    gallery[33, 19] = bad
    queries = whole(4, 20)
    queries[0, 19] = 0  # 0 * infinity is NaN; the others give an infinity of either sign
    for items in (gallery, gallery.reshape(35, 2, 20)):
        row = 33 if items.ndim == 2 else 16
        indices, scores = cpp_ext.topk(queries, items, len(items), level=level)
        assert (indices != row).all()
        assert (indices[:, :-1] >= 0).all()
        assert np.isfinite(scores[:, :-1]).all()


@every_level
def test_a_score_beyond_float32_is_never_a_hit(level):
    gallery = np.array([[3e38, 3e38], [1, 1]], np.float32)
    for sign in (1, -1):
        indices, _ = cpp_ext.topk(np.full((1, 2), sign, np.float32) * 2, gallery, 2, level=level)
        assert indices.tolist() == [[1, -1]]


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
def test_strides_and_maps_are_read_in_place(tmp_path, real, level):
    wide = real(60, 50)
    queries = real(4, 21)
    path = tmp_path / "vectors"
    wide[:, :21].tofile(path)
    mapped = np.memmap(path, np.float32, "r", shape=(60, 21))
    expected = cpp_ext.topk(queries, np.ascontiguousarray(wide[:, :21]), 60, level=level)
    assert same(cpp_ext.topk(queries, wide[:, :21], 60, level=level), expected)
    assert same(cpp_ext.topk(queries, mapped, 60, level=level), expected)
    assert same(cpp_ext.topk(np.asfortranarray(queries), mapped, 60, level=level), expected)
    thirds = cpp_ext.topk(queries, np.ascontiguousarray(wide[::-3, :21]), 20, level=level)
    assert same(cpp_ext.topk(queries, wide[::-3, :21], 20, level=level), thirds)
    items = wide[:, :42].reshape(60, 2, 21)
    late = cpp_ext.topk(queries, np.ascontiguousarray(items), 60, top_tokens=2, level=level)
    assert same(cpp_ext.topk(queries, items, 60, top_tokens=2, level=level), late)


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
@pytest.mark.parametrize(
    ("n", "m", "k"), [(3, 9000, 10), (700, 400, 7), (600, 1200, 3), (2, 5000, 5000), (1, 20000, 100)]
)
def test_neither_threads_nor_batches_nor_segments_change_a_bit(real, level, n, m, k):
    queries, gallery = real(n, 65), real(m, 65)
    gallery[m // 2 :] = gallery[: m - m // 2]  # ties across every split
    expected = cpp_ext.topk(queries, gallery, k, threads=1, level=level)
    for threads in (0, 2, 5):
        assert same(cpp_ext.topk(queries, gallery, k, threads=threads, level=level), expected)
    cut = n // 3
    parts = [cpp_ext.topk(part, gallery, k, level=level) for part in (queries[:cut], queries[cut:])]
    assert same([np.concatenate(both) for both in zip(*parts, strict=True)], expected)
    where = m // 3
    first = cpp_ext.topk(queries, gallery[:where], k, level=level)
    second = cpp_ext.topk(queries, gallery[where:], k, level=level)
    indices = np.concatenate([first[0], np.where(second[0] < 0, m, second[0] + where)], axis=1)
    scores = np.concatenate([first[1], second[1]], axis=1)
    order = np.lexsort((indices, -scores), axis=1)[:, :k]
    merged = np.take_along_axis(indices, order, axis=1), np.take_along_axis(scores, order, axis=1)
    assert same(merged, expected)


def test_calls_from_many_threads_do_not_meet(real):
    queries, gallery = real(8, 64), real(9000, 64)
    expected = cpp_ext.topk(queries, gallery, 20)
    found: list[object] = []

    def search() -> None:
        found.extend(same(cpp_ext.topk(queries, gallery, 20, threads=2), expected) for _ in range(5))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


@every_level
def test_arguments_are_left_as_they_were(whole, level):
    queries, gallery, mask = whole(2, 9), whole(70, 3, 9), np.ones((2, 70), bool)
    before = [array.copy() for array in (queries, gallery, mask)]
    for array in (queries, gallery, mask):
        array.flags.writeable = False
    cpp_ext.topk(queries, gallery, 5, mask=mask, top_tokens=2, exclude=[[3], [1, 0]], level=level)
    assert same((queries, gallery, mask), before)
