"""The GPU returns the CPU's indices, order and bits. Skipped without a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cpp_ext
from cpp_ext import _arguments as arguments
from cpp_ext import cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no GPU, or cpp_ext was built without CUDA"),
]


def on_gpu(queries, gallery, k, mask=None, exclude=None, min_score=None, top_tokens=1):
    """cuda.topk with the arguments of cpp_ext.topk, on NumPy arrays."""
    torch = pytest.importorskip("torch")

    def move(array: np.ndarray) -> Any:
        return torch.from_numpy(np.array(array)).cuda()

    n, m = len(queries), len(gallery)
    filters = {}
    if mask is not None:
        filters["mask"] = move(arguments.mask_of(mask, n, m))
    if exclude is not None:
        rows, begin = arguments.exclude_of(exclude, n, m)
        filters |= {"excluded": move(np.append(rows, 0)), "excluded_begin": move(begin)}
    indices = torch.full((n, k), -7, dtype=torch.int64, device="cuda")
    scores = torch.full((n, k), 7.0, device="cuda")
    workspace = torch.full((cuda.workspace_bytes(n, m, k, top_tokens),), 85, dtype=torch.uint8, device="cuda")
    cuda.topk(
        move(queries), move(gallery), k, indices=indices, scores=scores, workspace=workspace,
        stream=torch.cuda.current_stream().cuda_stream, min_score=min_score, top_tokens=top_tokens, **filters,
    )  # fmt: skip
    return indices.cpu().numpy(), scores.cpu().numpy()


def assert_same(queries, gallery, k, **options):
    found, expected = on_gpu(queries, gallery, k, **options), cpp_ext.topk(queries, gallery, k, **options)
    assert found[0].tobytes() == expected[0].tobytes()
    assert found[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("d", [1, 7, 15, 16, 17, 31, 33, 64, 65, 97, 512])
@pytest.mark.parametrize("n", [1, 8, 13])
def test_bits(real, n, d):
    gallery = real(3000, d)
    gallery[1500:] = gallery[:1500]
    assert_same(real(n, d), gallery, 10)


@pytest.mark.parametrize("k", [1, 64, 129, 257, 2048, 2049, 5000])
def test_any_k(real, k):
    assert_same(real(3, 33), real(4500, 33), k)


@pytest.mark.parametrize("m", [0, 1, 63, 64, 65, 100_000])
def test_any_m(whole, m):
    assert_same(whole(3, 20), whole(m, 20), 20)


@pytest.mark.parametrize(("t", "top_tokens"), [(2, 1), (5, 5), (32, 6), (40, 17), (130, 128)])
def test_late_similarity(real, t, top_tokens):
    gallery = real(300, t, 33)
    gallery[7, 1, 3] = np.nan
    assert_same(real(9, 33), gallery, 10, top_tokens=top_tokens)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_filters(random, whole, share):
    queries, gallery = whole(9, 20), whole(5000, 20)
    exclude = [random.integers(0, 5000, 5).tolist() for _ in range(9)]
    for shape in (5000, (9, 5000)):
        mask = random.random(shape) < share
        assert_same(queries, gallery, 30, mask=mask, exclude=exclude, min_score=1.0)


def test_refusals(real):
    torch = pytest.importorskip("torch")
    queries, gallery = torch.ones(2, 4, device="cuda"), torch.ones(9, 4, device="cuda")
    results = {
        "indices": torch.empty((2, 3), dtype=torch.int64, device="cuda"),
        "scores": torch.empty((2, 3), device="cuda"),
        "workspace": torch.empty(1, dtype=torch.uint8, device="cuda"),
        "stream": 0,
    }
    with pytest.raises(ValueError, match="workspace must be"):
        cuda.topk(queries, gallery, 3, **results)
    with pytest.raises(TypeError, match="queries must be in device memory"):
        cuda.topk(np.ones((2, 4), np.float32), gallery, 3, **results)
    with pytest.raises(TypeError, match="element type <f4"):
        cuda.topk(queries.half(), gallery, 3, **results)
    with pytest.raises(ValueError, match="gallery must have shape"):
        cuda.topk(queries, gallery[:, :3], 3, **results)
