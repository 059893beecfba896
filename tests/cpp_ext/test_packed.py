"""A packed gallery is searched with the same result, to the bit, whatever it holds."""

from __future__ import annotations

import numpy as np
import pytest
from galleries import KINDS, queries, rotated, rows, turned_back
from hypothesis import given, settings
from hypothesis import strategies as st

import cpp_ext

# float16's values are few and its rows short: overflow to infinity and subnormals come by themselves.
SHAPES = [
    (5000, 1, 64, 1),
    (4099, 1, 33, 1),
    (290, 32, 48, 1),
    (290, 32, 48, 6),
    (90, 70, 20, 70),
    (1500, 3, 16, 2),
]


def bits(found):
    return found[0].tobytes() + found[1].tobytes()


def gallery_of(kind, m, t, d, random):
    x = rows(kind, m * t, d, random)
    return x if t == 1 else x.reshape(m, t, d)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("m", "t", "d", "top"), SHAPES)
def test_every_level_returns_the_bits_of_the_full_search(random, kind, m, t, d, top):
    gallery = gallery_of(kind, m, t, d, random)
    q = queries(kind, 7, gallery.reshape(-1, d), random)
    packed = cpp_ext.pack(gallery)
    for k in (1, 10, 100):
        expected = bits(cpp_ext.topk(q, gallery, k, top_tokens=top, threads=1, level="serial"))
        for level in cpp_ext.LEVELS:
            for threads in (1, 3):
                found = cpp_ext.topk(q, packed, k, top_tokens=top, threads=threads, level=level)
                assert bits(found) == expected, (level, threads, k)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", cpp_ext.LEVELS)
def test_no_score_exceeds_its_bound(random, kind, level):
    """Some 3 million pairs; `violations.py` beside this file checks as many as one has patience for."""
    from violations import count

    pairs, wrong = count(kind, n=64, m=800, d=77, level=level, random=random)
    assert pairs >= 20_000 or kind in ("huge", "tiny")
    assert wrong == 0


def test_the_bound_is_tight_enough_to_be_of_use(random):
    """An unlucky constant would leave the result right and the screen without effect."""
    from cpp_ext._levels import core
    from cpp_ext._parts import parts_of

    x, q = rows("unit", 2000, 512, random), rows("unit", 20, 512, random)
    uppers = np.empty((20, 2000), np.float32)
    core.upper_bounds(q, [parts_of(cpp_ext.pack(x), 512, 20)[0].given()], cpp_ext.LEVELS[-1], uppers)
    assert np.max(uppers - q @ x.T) < 0.04  # scores are spread by 0.044


@given(
    st.integers(1, 5), st.integers(1, 300), st.integers(1, 70), st.integers(1, 40), st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS), st.sampled_from(["float32", "float16", "int8"]), st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=150)
def test_packed_equals_plain_for_any_shape_filter_and_element(n, m, d, k, seed, kind, element, own, barred):
    random = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):
        gallery = rows(kind, m, d, random)
        if element == "int8":
            gallery = np.clip(np.nan_to_num(gallery * 50), -128, 127)
        gallery = gallery.astype(element)
    q = queries(kind, n, gallery.astype(np.float32), random)
    mask = random.random((n, m) if own else m) < 0.6
    exclude = [random.integers(0, m, 3).tolist() for _ in range(n)] if barred else None
    expected = cpp_ext.topk(q, gallery, k, mask=mask, exclude=exclude, level="serial", threads=1)
    packed = cpp_ext.pack(gallery)
    for level in cpp_ext.LEVELS:
        assert bits(cpp_ext.topk(q, packed, k, mask=mask, exclude=exclude, level=level)) == bits(expected)


@pytest.mark.parametrize("k", [1, 16, 17, 5000, 6000])
@pytest.mark.parametrize("min_score", [None, 0.1, 5.0])
def test_range_search_and_many_hits(random, k, min_score):
    gallery, q = rows("unit", 5000, 40, random), rows("unit", 3, 40, random)
    expected = cpp_ext.topk(q, gallery, k, min_score=min_score, level="serial")
    assert bits(cpp_ext.topk(q, cpp_ext.pack(gallery), k, min_score=min_score)) == bits(expected)
    if min_score == 5.0:
        assert (expected[0] == -1).all()


@pytest.mark.parametrize("share", [0.0, 0.003, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("t", [1, 5, 33])
def test_masks_of_any_selectivity(random, share, t):
    m = 20_000 // t
    gallery, q = gallery_of("unit", m, t, 24, random), rows("unit", 9, 24, random)
    packed = cpp_ext.pack(gallery)
    for shape in ((m,), (9, m)):
        mask = random.random(shape) < share
        expected = cpp_ext.topk(q, gallery, 10, mask=mask, level="serial")
        assert bits(cpp_ext.topk(q, packed, 10, mask=mask)) == bits(expected)


def test_a_crowded_gallery_is_scored_in_full_and_right(random):
    """Of 40,000 rows that differ in the last digits all survive the screen."""
    gallery = rows("one cluster", 40_000, 16, random) * np.float32(1e-3) + np.float32(1)
    q = rows("unit", 5, 16, random)
    expected = cpp_ext.topk(q, gallery, 10, level="serial")
    assert bits(cpp_ext.topk(q, cpp_ext.pack(gallery, mean=np.zeros(16, np.float32)), 10)) == bits(expected)


def test_any_mean_is_right(random):
    gallery, q = rows("cone", 3000, 32, random), rows("cone", 4, 32, random)
    expected = bits(cpp_ext.topk(q, gallery, 10, level="serial"))
    for mean in (np.zeros(32), np.full(32, 1e6), gallery[7]):
        assert bits(cpp_ext.topk(q, cpp_ext.pack(gallery, mean=mean.astype(np.float32)), 10)) == expected


def test_more_queries_than_share_a_reading(random):
    gallery, q = rows("clustered", 700, 512, random), rows("clustered", 1100, 512, random)
    expected = cpp_ext.topk(q, gallery, 5, level="avx2" if "avx2" in cpp_ext.LEVELS else "serial")
    for threads in (1, 4):
        assert bits(cpp_ext.topk(q, cpp_ext.pack(gallery), 5, threads=threads)) == bits(expected)


def test_codes_depend_on_neither_level_nor_threads(random):
    gallery = rows("cone", 1000, 50, random)
    first = cpp_ext.pack(gallery, threads=1, level="serial")
    for level in cpp_ext.LEVELS:
        other = cpp_ext.pack(gallery, threads=4, level=level)
        for name in ("panels", "bounds", "mean"):
            assert getattr(first, name).tobytes() == getattr(other, name).tobytes()


def test_codes_stand_for_the_rows_within_their_stated_residual(random):
    gallery = rows("norms", 333, 45, random)
    packed = cpp_ext.pack(gallery)
    codes = packed.panels.astype(np.int64).transpose(0, 2, 1, 3).reshape(len(packed.panels) * 16, -1) - 128
    scale, norm, residual = (packed.bounds[:, i].reshape(-1, 1).astype(np.float64) for i in range(3))
    coded = scale * codes[:, :45]
    centred = gallery.astype(np.float64) - packed.mean.astype(np.float64)
    assert (codes[:, 45:] == 0).all()
    assert (codes[333:] == 0).all()
    assert (np.linalg.norm(coded, axis=1) <= norm[:, 0]).all()
    length = np.linalg.norm(centred, axis=1)
    left = np.linalg.norm(rotated(centred) - coded[:333], axis=1)
    assert (
        left <= residual[:333, 0] + 2.0**-21 * length
    ).all()  # what float32 loses on the way, the screen counts
    sound = np.isfinite(residual[:333, 0])  # the few longest rows are never screened out
    assert sound.mean() > 0.9
    assert (residual[:333, 0] <= left * (1 + 1e-5) + 2.0**-21 * length)[sound].all()


def test_a_rotation_keeps_lengths_and_can_be_undone(random):
    x = rows("unit", 5, 77, random)
    np.testing.assert_allclose(np.linalg.norm(rotated(x), axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(turned_back(rotated(x)), x, atol=1e-6)


def test_one_large_element_leaves_the_codes_of_the_others_as_fine(random):
    plain, spiked = rows("unit", 400, 512, random), rows("unit", 400, 512, random)
    spiked[:, 7] += random.standard_normal(400).astype(np.float32)
    lost = [
        cpp_ext.pack(x).bounds[:, 2].mean() / cpp_ext.pack(x).bounds[:, 1].mean() for x in (plain, spiked)
    ]
    assert lost[1] < 1.5 * lost[0]


def test_bytes_per_row_are_what_the_docstring_says(random):
    packed = cpp_ext.pack(rows("unit", 1600, 512, random))
    assert packed.nbytes == 1600 * (512 + 12) + 512 * 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"panels": np.zeros((3, 4, 16, 4), np.int8)}, TypeError, "panels must be .* uint8, got int8"),
        ({"panels": np.zeros((2, 4, 16, 4), np.uint8)}, ValueError, r"shape \(3, 4, 16, 4\)"),
        ({"bounds": np.zeros((3, 3, 16), np.float64)}, TypeError, "bounds must be .* float32, got float64"),
        ({"bounds": np.zeros((6, 3, 16), np.float32)[::2]}, ValueError, "bounds must be contiguous"),
        ({"mean": np.zeros(9, np.float32)}, ValueError, r"mean must have shape \(10,\)"),
        ({"vectors": np.zeros((40, 10))}, TypeError, "gallery must be float32"),
    ],
)  # fmt: skip
def test_packed_refuses(change, error, message):
    arrays = {
        "vectors": np.zeros((40, 10), np.float32), "panels": np.zeros((3, 4, 16, 4), np.uint8),
        "bounds": np.zeros((3, 3, 16), np.float32), "mean": np.zeros(10, np.float32),
    }  # fmt: skip
    cpp_ext.Packed(**arrays)
    with pytest.raises(error, match=message):
        cpp_ext.Packed(**arrays | change)


def test_pack_refuses_a_mean_that_is_not_finite(random):
    with pytest.raises(ValueError, match="mean holds NaN"):
        cpp_ext.pack(rows("unit", 4, 3, random), mean=np.array([0, np.nan, 0], np.float32))


def test_an_empty_gallery_packs_and_finds_nothing():
    packed = cpp_ext.pack(np.empty((0, 8), np.float32))
    indices, scores = cpp_ext.topk(np.ones((2, 8), np.float32), packed, 3)
    assert (indices == -1).all()
    assert np.isneginf(scores).all()
