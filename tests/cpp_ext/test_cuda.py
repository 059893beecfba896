"""The GPU returns the CPU's indices, order and bits: sizes, types, filters. Skipped without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from ml_dtypes import bfloat16
from on_gpu import Search, assert_same, moved, stream

import cpp_ext
from cpp_ext import cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no GPU, or cpp_ext was built without CUDA"),
]


@pytest.mark.parametrize("d", [1, 7, 15, 16, 17, 31, 33, 63, 64, 65, 97, 128, 129, 512, 1000])
@pytest.mark.parametrize("n", [1, 8, 13])
def test_bits(real, n, d):
    gallery = real(3000, d)
    gallery[1500:] = gallery[:1500]
    assert_same(real(n, d), gallery, 10)


@pytest.mark.parametrize("n", [9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300])
def test_any_number_of_queries(real, n):
    assert_same(real(n, 70), real(9000, 70), 10)


@pytest.mark.parametrize("k", [1, 63, 64, 65, 129, 257, 2047, 2048, 2049, 5000])
def test_any_k(real, k):
    assert_same(real(3, 33), real(4500, 33), k)


@pytest.mark.parametrize("m", [0, 1, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097, 100_000, 300_001])
def test_any_m(whole, real, m):
    assert_same(whole(3, 20), whole(m, 20), 20)
    assert_same(real(3, 20), real(m, 20), 20, packed=(True,))


@pytest.mark.parametrize("d", [2048, 4096, 8192])
def test_many_dimensions(real, d):
    assert_same(real(9, d), real(700, d), 10)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "int8"])
def test_elements(real, kind):
    def of(shape):
        values = real(*shape)
        if kind == "int8":
            return np.clip(values * 40, -128, 127).astype(np.int8)
        return values.astype(np.float16 if kind == "float16" else bfloat16)

    assert_same(real(9, 65), of((20_000, 65)), 12)
    assert_same(real(9, 24), of((700, 5, 24)), 12, top_tokens=3)


def test_every_half_precision_number_is_read_exactly():
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    gallery = numbers[np.isfinite(numbers)][:, None]
    for vectors in (gallery, gallery.view(np.uint16).view(bfloat16)):
        sound = np.ascontiguousarray(vectors[np.isfinite(vectors.astype(np.float32))[:, 0]])
        assert_same(np.array([[1], [-3]], np.float32), sound, len(sound), packed=(False,))


@pytest.mark.parametrize(
    ("t", "top_tokens"),
    [
        (2, 1),
        (2, 2),
        (5, 5),
        (32, 1),
        (32, 6),
        (40, 17),
        (65, 3),
        (128, 6),
        (129, 4),
        (130, 128),
        (300, 7),
        (1024, 1024),
    ],
)
def test_late_similarity(real, t, top_tokens):
    gallery = real(max(20, 40_000 // t), t, 33)
    gallery[7, 1, 3] = np.nan
    assert_same(real(9, 33), gallery, 10, top_tokens=top_tokens)
    assert_same(real(70, 33), gallery, 10, packed=(True,), top_tokens=top_tokens)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("m", [5000, 90_001])
def test_filters(random, whole, share, m):
    queries, gallery = whole(9, 20), whole(m, 20)
    exclude = [random.integers(0, m, 5).tolist() for _ in range(9)]
    for shape in (m, (9, m)):
        mask = random.random(shape) < share
        assert_same(queries, gallery, 30, mask=mask, exclude=exclude, min_score=1.0)


def test_filters_of_items_with_tokens(random, whole):
    gallery = whole(2000, 6, 20)
    for shape in (2000, (9, 2000)):
        assert_same(whole(9, 20), gallery, 30, mask=random.random(shape) < 0.3, top_tokens=2)


def test_the_best_may_be_excluded(real):
    queries, gallery = real(4, 30), real(9000, 30)
    best = cpp_ext.topk(queries, gallery, 5000)[0]
    assert_same(queries, gallery, 10, exclude=best.tolist())


def test_rows_with_gaps(real):
    wide = real(6000, 80)
    gallery = moved(wide)[:, 8:72]
    queries = real(5, 64)
    search = Search(queries, np.ascontiguousarray(wide[:, 8:72]), 10)
    search.gallery = cuda.pack(gallery, codes=search.gallery.codes, stream=stream())
    search.run()
    for found, meant in zip(search.found(), cpp_ext.topk(queries, wide[:, 8:72], 10), strict=True):
        assert found.tobytes() == meant.tobytes()
