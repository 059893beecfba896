"""Screened search on the GPU: hard data, graphs, streams. Skipped without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from galleries import KINDS, queries, rows
from on_gpu import Search, assert_same, buffer, moved, stream

import cpp_ext
from cpp_ext import cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no GPU, or cpp_ext was built without CUDA"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [32, 100])
def test_the_oracle_on_adversarial_data(kind, d, random):
    gallery = rows(kind, 70_000, d, random)
    asked = queries(kind, 9, gallery, random)
    assert_same(asked, gallery, 10, packed=(True,))
    assert_same(asked, gallery[:5000], 100)


@pytest.mark.parametrize("kind", ["unit", "norms", "damaged", "duplicates", "outlier"])
def test_items_of_tokens(kind, random):
    gallery = rows(kind, 24_000, 40, random).reshape(3000, 8, 40)
    assert_same(queries(kind, 9, gallery[:, 0], random), gallery, 10, packed=(True,), top_tokens=3)


def test_rows_sorted_by_score(real):
    """Each wave meets better rows than the one before: thresholds are never good enough, buffers overflow."""
    direction = real(1, 48)
    gallery = (np.linspace(-3, 3, 90_000)[:, None] * direction + 0.01 * real(90_000, 48)).astype(np.float32)
    assert_same(np.concatenate([direction, -direction, real(3, 48)]), gallery, 100, packed=(True,))


def test_any_mean_is_right(real):
    for mean in (real(33), 1e30 * real(33), np.full(33, np.nan, np.float32), np.zeros(33, np.float32)):
        assert_same(real(5, 33), real(6000, 33), 10, packed=(True,), mean=mean.astype(np.float32))


def test_queries_of_every_size(real):
    asked = real(12, 48)
    for row, scale in enumerate((0, 1e-44, 1e-38, 1e-30, 1e-18, 1e18, 1e25, 1e37)):
        asked[row] *= np.float32(scale)
    asked[8] = np.eye(48, dtype=np.float32)[7]
    assert_same(asked, real(9000, 48), 10)


def test_queries_that_are_not_finite_find_nothing(real):
    asked, gallery = real(6, 48), real(9000, 48)
    sound = [0, 1, 3, 5]
    expected = cpp_ext.topk(asked[sound], gallery, 10)
    asked[2, 5], asked[4, 1] = np.nan, np.inf
    for packed in (False, True):
        search = Search(asked, gallery, 10, packed)
        search.run()
        indices, scores = search.found()
        assert (indices[[2, 4]] == -1).all()
        assert np.isneginf(scores[[2, 4]]).all()
        assert indices[sound].tobytes() == expected[0].tobytes()
        assert scores[sound].tobytes() == expected[1].tobytes()


def test_more_queries_than_are_searched_at_a_time(real):
    assert_same(real(5000, 16), real(8000, 16), 3, packed=(True,))


def test_the_same_again_and_again(real):
    """Survivors come in another order each time; the result doesn't."""
    search = Search(real(70, 64), np.repeat(real(3000, 64), 30, axis=0), 50)
    search.run()
    first = search.found()
    for _ in range(5):
        search.workspace.random_(0, 255)
        search.run()
        assert all(a.tobytes() == b.tobytes() for a, b in zip(search.found(), first, strict=True))


def test_a_graph_is_captured_once_and_replayed_on_new_data(real, random):
    torch = pytest.importorskip("torch")
    gallery = real(80_000, 40)
    search = Search(real(5, 40), gallery, 10, mask=np.ones((5, 80_000), bool))
    search.run()  # loads the module outside of the capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        search.run()
    for _ in range(3):
        asked, mask = real(5, 40), random.random((5, 80_000)) < 0.3
        search.queries.copy_(moved(asked))
        search.options["mask"].copy_(moved(np.packbits(mask, axis=1, bitorder="little")))
        graph.replay()
        for found, meant in zip(search.found(), cpp_ext.topk(asked, gallery, 10, mask=mask), strict=True):
            assert found.tobytes() == meant.tobytes()


def test_packing_is_captured_too(real):
    torch = pytest.importorskip("torch")
    vectors, asked = moved(real(5000, 40)), real(5, 40)
    search = Search(asked, real(5000, 40), 10)
    codes = buffer(cuda.codes_bytes(5000, 40))
    cuda.pack(vectors, codes=codes, stream=stream())
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        search.gallery = cuda.pack(vectors, codes=codes, stream=stream())
        search.run()
    gallery = real(5000, 40)
    vectors.copy_(moved(gallery))
    graph.replay()
    for found, meant in zip(search.found(), cpp_ext.topk(asked, gallery, 10), strict=True):
        assert found.tobytes() == meant.tobytes()


def test_streams_work_side_by_side(real):
    torch = pytest.importorskip("torch")
    gallery, asked = real(90_000, 64), [real(7, 64) for _ in range(4)]
    searches = []
    for each in asked:
        own = torch.cuda.Stream()
        with torch.cuda.stream(own):
            searches.append(Search(each, gallery, 10))
            searches[-1].run()
    torch.cuda.synchronize()
    for each, search in zip(asked, searches, strict=True):
        for found, meant in zip(search.found(), cpp_ext.topk(each, gallery, 10), strict=True):
            assert found.tobytes() == meant.tobytes()


def test_more_than_two_to_the_31_elements(real):
    """Rows far apart: the last lie past 2**31 elements, which only 64-bit offsets reach."""
    torch = pytest.importorskip("torch")
    if torch.cuda.mem_get_info()[0] < 24 << 30:
        pytest.skip("needs 24 GB of GPU memory")
    gallery, asked = real(40_000, 64), real(5, 64)
    wide = torch.zeros((40_000, 1 << 16), device="cuda")[:, : 1 << 16]
    wide[:, 77:141] = moved(gallery)
    search = Search(asked, gallery, 10)
    expected = cpp_ext.topk(asked, gallery, 10)
    for packed in (False, True):
        vectors = wide[:, 77:141]
        search.gallery = (
            cuda.pack(vectors, codes=buffer(cuda.codes_bytes(40_000, 64)), stream=stream())
            if packed
            else vectors
        )
        search.run()
        for found, meant in zip(search.found(), expected, strict=True):
            assert found.tobytes() == meant.tobytes()
