"""Mining finds what the specification finds, to the bit at every level, and refuses what it can't mine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpp_ext
from cpp_ext import _mining, reference_mining

ROOT = Path(__file__).resolve().parents[2]
EVERY = ("reference", *cpp_ext.LEVELS)
every_level = pytest.mark.parametrize("level", EVERY)
NONE = (-1, "nan")


def same(left, right) -> bool:
    """Equal dtypes and bits, in both directions."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def listed(side):
    """[(positive, score, negative, score), …] with NaN as a word, which equals itself."""
    return [
        tuple("nan" if value != value else value for value in row)
        for row in zip(*(part.tolist() for part in side), strict=True)
    ]


@st.composite
def problems(draw):
    """Integer-valued vectors of awkward sizes and every kind of id."""
    sizes = st.sampled_from([0, 1, 2, 7, 47, 48, 49, 63, 65, 100, 150])
    n, m = draw(sizes), draw(sizes)
    options = {"semi_hard": draw(st.booleans())}
    answering = draw(st.sampled_from(["neither", "paired", "exclude_self"]))
    if answering != "neither":
        m = n
        options |= {"positives": "paired"} if answering == "paired" else {"exclude_self": True}
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d, people = draw(st.sampled_from([1, 7, 15, 16, 17, 33, 65])), draw(st.sampled_from([1, 2, 5, 40, 10**6]))
    vectors = [random.integers(-2, 3, (rows, d)).astype(np.float32) for rows in (n, m)]
    first = random.integers(-people, people, n)
    return *vectors, first, first if n == m else random.integers(-people, people, m), options


@pytest.mark.parametrize("level", cpp_ext.LEVELS)
@given(problem=problems(), threads=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_levels_find_what_the_specification_finds(level, problem, threads):
    *arguments, options = problem
    expected = cpp_ext.hard_triplets(*arguments, level="reference", **options)
    assert same(cpp_ext.hard_triplets(*arguments, threads=threads, level=level, **options), expected)


@every_level
def test_worked_by_hand(level):
    anchors = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    others = np.array([[3, 0], [1, 2], [2, 5], [1, 2]], np.float32)
    # scores: [3 1 2 1], [0 2 5 2], [3 3 7 3]
    found = cpp_ext.hard_triplets(anchors, others, [7, 7, 8], [7, 7, 8, 9], level=level)
    assert listed(found.anchor_to_other) == [(1, 1, 2, 2), (0, 0, 2, 5), (2, 7, 0, 3)]
    assert listed(found.other_to_anchor) == [(1, 0, 2, 3), (0, 1, 2, 3), (2, 7, 1, 5), (*NONE, 2, 3)]
    semi = cpp_ext.hard_triplets(anchors, others, [7, 7, 8], [7, 7, 8, 9], semi_hard=True, level=level)
    assert listed(semi.anchor_to_other) == [(1, 1, *NONE), (0, 0, *NONE), (2, 7, 0, 3)]
    assert listed(semi.other_to_anchor) == [(1, 0, *NONE), (0, 1, *NONE), (2, 7, 1, 5), (*NONE, 2, 3)]


@every_level
def test_paired_positives(level):
    vectors = np.array([[2, 0], [0, 1], [1, 1]], np.float32)
    captions = np.array([[1, 0], [3, 3], [0, 2]], np.float32)
    found = cpp_ext.hard_triplets(vectors, captions, [4, 4, 5], [4, 4, 5], positives="paired", level=level)
    assert listed(found.anchor_to_other) == [(0, 2, 2, 0), (1, 3, 2, 2), (2, 2, 1, 6)]
    assert listed(found.other_to_anchor) == [(0, 2, 2, 1), (1, 3, 2, 6), (2, 2, 1, 2)]


@every_level
def test_an_item_is_not_its_own_positive(level):
    vectors = np.array([[1, 0], [2, 0], [0, 1]], np.float32)
    ids = [1, 1, 2]
    with_self = cpp_ext.hard_triplets(vectors, vectors, ids, ids, level=level)
    assert listed(with_self.anchor_to_other) == [(0, 1, 2, 0), (0, 2, 2, 0), (2, 1, 0, 0)]
    found = cpp_ext.hard_triplets(vectors, vectors, ids, ids, exclude_self=True, level=level)
    assert listed(found.anchor_to_other) == [(1, 2, 2, 0), (0, 2, 2, 0), (*NONE, 0, 0)]
    assert same(found[:1], found[1:])  # one modality: both directions are one


@every_level
def test_of_equal_scores_the_lowest_row_wins(random, level):
    """Across tiles too, and although rows are mined in the order of their ids."""
    ids = random.permutation(np.repeat(np.arange(5), 40))
    vectors = np.ones((200, 9), np.float32)
    found = cpp_ext.hard_triplets(vectors, vectors, ids, ids, level=level).anchor_to_other
    for row, one in enumerate(ids):
        assert found.positive_index[row] == np.flatnonzero(ids == one)[0]
        assert found.negative_index[row] == np.flatnonzero(ids != one)[0]
    assert (found.positive_score == 9).all()
    assert (found.negative_score == 9).all()


@every_level
def test_rows_without_a_positive_or_a_negative_are_marked(whole, level):
    vectors = whole(70, 9)
    apart, alike = np.arange(70), np.zeros(70, int)
    for side in cpp_ext.hard_triplets(vectors, vectors, apart, apart + 70, level=level):
        assert (side.positive_index == -1).all()
        assert np.isnan(side.positive_score).all()
        assert (side.negative_index >= 0).all()
    for side in cpp_ext.hard_triplets(vectors, vectors, alike, alike, level=level):
        assert (side.negative_index == -1).all()
        assert np.isnan(side.negative_score).all()
        assert (side.positive_index >= 0).all()


@every_level
@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_mine(whole, level, n, m):
    found = cpp_ext.hard_triplets(whole(n, 4), whole(m, 4), np.arange(n), np.arange(m), level=level)
    for side, rows in zip(found, (n, m), strict=True):
        assert listed(side) == [(*NONE, *NONE)] * rows


@every_level
def test_a_score_beyond_float32_does_not_count(level):
    anchors = np.array([[3e38, 3e38], [1, 1]], np.float32)
    others = np.array([[2, 2], [-2, -2], [2, -2], [1, 0]], np.float32)  # +inf, -inf, NaN, 3e38 to the first
    alike = cpp_ext.hard_triplets(anchors, others, [1, 1], [1] * 4, level=level)
    assert alike.anchor_to_other.positive_index.tolist() == [3, 1]
    assert alike.other_to_anchor.positive_index.tolist() == [1, 1, 1, 1]
    for semi_hard in (False, True):
        apart = cpp_ext.hard_triplets(anchors, others, [1, 1], [2] * 4, semi_hard=semi_hard, level=level)
        assert apart.anchor_to_other.negative_index.tolist() == [3, 0]
        assert apart.other_to_anchor.negative_index.tolist() == [1, 1, 1, 0]
    pairs = cpp_ext.hard_triplets(anchors, others[[0, 3]], [1, 1], [1, 1], positives="paired", level=level)
    assert pairs.anchor_to_other.positive_index.tolist() == [-1, 1]


@pytest.mark.parametrize("people", [3, 40, 2000])
@pytest.mark.parametrize("semi_hard", [False, True])
def test_neither_level_nor_threads_nor_place_in_memory_change_a_bit(random, real, people, semi_hard):
    n, m, d = 700, 500, 65
    anchors, others = real(n, d), real(m, d)
    anchors[n // 2 :], others[m // 2 :] = (
        anchors[: n // 2],
        others[: m // 2],
    )  # ties between tiles and threads
    ids = random.integers(0, people, n), random.integers(0, people, m)
    expected = cpp_ext.hard_triplets(anchors, others, *ids, semi_hard=semi_hard, threads=1, level="serial")
    wide = np.zeros((n, 80), np.float32)
    wide[:, 3 : 3 + d] = anchors
    for level in cpp_ext.LEVELS:
        for threads in (1, 2, 5):
            for rows in (anchors, wide[:, 3 : 3 + d], np.asfortranarray(anchors)):
                found = cpp_ext.hard_triplets(
                    rows, others, *ids, semi_hard=semi_hard, threads=threads, level=level
                )
                assert same(found, expected)


def test_scores_are_those_of_the_search(random, real):
    anchors, others = real(90, 33), real(70, 33)
    ids = random.integers(0, 9, 90), random.integers(0, 9, 70)
    found = cpp_ext.hard_triplets(anchors, others, *ids).anchor_to_other
    for index, score in ((found.positive_index, found.positive_score), found[2:]):
        assert cpp_ext.score_pairs(anchors, others, np.arange(90), index).tobytes() == score.tobytes()
    different = ids[0][:, None] != ids[1]
    best, most = cpp_ext.topk(anchors, others, 1, mask=different)
    assert (found.negative_index == best[:, 0]).all()
    assert (found.negative_score == most[:, 0]).all()


@given(seed=st.integers(0, 2**32 - 1), semi_hard=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_and_the_names_of_ids_mean_nothing(seed, semi_hard):
    random = np.random.default_rng(seed)
    n, m = random.integers(1, 90, 2)
    anchors, others = (random.standard_normal((rows, 16)).astype(np.float32) for rows in (n, m))
    ids = random.integers(0, 12, n), random.integers(0, 12, m)
    there, back = cpp_ext.hard_triplets(anchors, others, *ids, semi_hard=semi_hard)
    turned = cpp_ext.hard_triplets(others, anchors, *ids[::-1], semi_hard=semi_hard)
    assert same(turned, (back, there))
    names, order = random.permutation(12) - 6, random.permutation(m)
    mixed = cpp_ext.hard_triplets(
        anchors, others[order], names[ids[0]], names[ids[1]][order], semi_hard=semi_hard
    ).anchor_to_other
    for moved, index in ((mixed.positive_index, there.positive_index), (mixed[2], there[2])):
        assert (np.where(moved < 0, -1, order[moved]) == index).all()
    assert mixed.positive_score.tobytes() == there.positive_score.tobytes()
    assert mixed.negative_score.tobytes() == there.negative_score.tobytes()


@pytest.mark.parametrize("d", [1, 3, 16, 65])
def test_the_gradient_is_that_of_the_scores(random, real, d):
    n, m = 150, 130
    anchors, others = real(n, d), real(m, d)
    index = [np.concatenate([random.integers(-1, m, n), random.integers(-1, n, m)]) for _ in range(2)]
    slopes = [real(n + m) * (random.random(n + m) < 0.7) for _ in range(2)]
    slopes = [slope.astype(np.float32) for slope in slopes]
    arguments = anchors, others, index[0], slopes[0], index[1], slopes[1]
    wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arguments]
    expected = reference_mining.gradient(*wide)
    once = _mining.gradient(*arguments, threads=1)
    for found, meant in zip(once, expected, strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - meant).max() < 1e-5
    again = _mining.gradient(*arguments, threads=4)
    assert [part.tobytes() for part in again] == [part.tobytes() for part in once]


def test_memory_does_not_grow_with_the_square():
    """8,192 rows have 256 MiB of scores; the kernel may use a tenth of that on top of the vectors."""
    if sys.platform != "linux":
        pytest.skip("ru_maxrss counts something else here")
    code = (
        "import resource, numpy as np, cpp_ext\n"
        "x = np.random.default_rng(0).standard_normal((8192, 4)).astype(np.float32)\n"
        "cpp_ext.hard_triplets(x[:64], x[:64], np.arange(64), np.arange(64), threads=2)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "cpp_ext.hard_triplets(x, x, np.arange(8192) // 4, np.arange(8192) // 4, threads=2)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 8192 * 8192 * 4 / 10


def test_arguments_are_left_as_they_were(whole):
    arguments = whole(40, 9), whole(30, 9), np.arange(40) // 2, np.arange(30) // 2
    before = [array.copy() for array in arguments]
    for array in arguments:
        array.flags.writeable = False
    cpp_ext.hard_triplets(*arguments, semi_hard=True)
    assert all((a == b).all() for a, b in zip(arguments, before, strict=True))


def test_ids_may_be_any_whole_numbers(whole):
    anchors, others = whole(4, 5), whole(3, 5)
    expected = cpp_ext.hard_triplets(anchors, others, [1, 2, 2, 3], [2, 3, 4])
    for dtype in (np.int8, np.uint16, np.int32, np.uint64):
        ids = np.array([1, 2, 2, 3], dtype), np.array([2, 3, 4], dtype)
        assert same(cpp_ext.hard_triplets(anchors, others, *ids), expected)
    far = np.array([1, 2, 2, 3]) + 2**62, np.array([2, 3, 4]) + 2**62  # equal when rounded to float
    assert same(cpp_ext.hard_triplets(anchors, others, *far), expected)


A = np.ones((3, 4), np.float32)
DAMAGED = np.array([[1, 2, 3, 4], [1, np.nan, 3, 4], [1, 2, np.inf, 4]], np.float32)

REFUSALS = [
    ({"anchors": A.tolist()}, TypeError, "anchors must be a NumPy array"),
    ({"others": A.astype(np.float64)}, TypeError, "others must be float32, got float64; convert"),
    ({"anchors": A[0]}, ValueError, r"anchors must have shape \(n, d\)"),
    ({"anchors": A[:, :0]}, ValueError, "d at least 1"),
    ({"anchors": DAMAGED}, ValueError, "anchors hold NaN or infinity in 2 rows, the first is row 1"),
    ({"others": DAMAGED}, ValueError, "others hold NaN or infinity"),
    ({"others": A[:, :3]}, ValueError, "anchors have d = 4, but others have d = 3"),
    ({"anchor_ids": [1, 2]}, ValueError, r"anchor_ids must hold one id per row: .* 3 rows.* \(2,\)"),
    ({"other_ids": [[1], [2], [3]]}, ValueError, r"other_ids must hold one id per row"),
    ({"other_ids": [1.0, 2.0, 3.0]}, TypeError, "other_ids must be whole numbers, got float64"),
    ({"other_ids": ["a", "b", "c"]}, TypeError, "whole numbers.*numpy.unique"),
    ({"anchor_ids": np.array([1, 2, 2**63], np.uint64)}, ValueError, "anchor_ids hold 9223372036854775808"),
    ({"positives": "easiest"}, ValueError, "positives is 'easiest'; allowed: 'hardest', 'paired'"),
    ({"positives": "paired", "exclude_self": True}, ValueError, "exclude_self forbids"),
    ({"positives": "paired", "other_ids": [1, 5, 2]}, ValueError, "row 1 has 1 among the anchors and 5"),
    ({"exclude_self": True, "other_ids": [1, 1, 3]}, ValueError, "exclude_self=True .* row 2 has 2"),
    (
        {"positives": "paired", "others": A[:2], "other_ids": [1, 1]},
        ValueError,
        "as many others as anchors, got 3 anchors and 2 others",
    ),
    ({"semi_hard": 1}, TypeError, "semi_hard must be True or False, got 1"),
    ({"threads": -1}, ValueError, "threads must be at least 0"),
    ({"level": "sse9"}, ValueError, "there is no such level"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSALS)
def test_refusals(change, error, message):
    arguments = {"anchors": A, "others": A, "anchor_ids": [1, 1, 2], "other_ids": [1, 1, 2]} | change
    with pytest.raises(error, match=message):
        cpp_ext.hard_triplets(**arguments)
