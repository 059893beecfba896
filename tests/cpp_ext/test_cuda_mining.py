"""Mining on the GPU: the CPU's indices and bits, and the loss that is made of them. Skipped without a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cpp_ext
from cpp_ext import _mining, cuda, cuda_mining

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no GPU, or cpp_ext was built without CUDA"),
]
NAMES = ("positive_index", "positive_score", "negative_index", "negative_score")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def empty(torch, count):
    """Places for the results, full of what no search writes."""
    kinds = (torch.int64, torch.float32) * 2
    return {
        name: torch.full((count,), 77, dtype=kind, device="cuda")
        for name, kind in zip(NAMES, kinds, strict=True)
    }


def found_on_gpu(torch, anchors, others, ids, other_ids, **rules):
    """The (n + m,) places; anchors and others are tensors on the GPU."""
    n, m = len(anchors), len(others)
    places = empty(torch, n + m)
    size = cuda_mining.hard_triplets_workspace_bytes(n, m, anchors.shape[1])
    cuda_mining.hard_triplets(
        anchors, others, torch.as_tensor(ids).cuda(), torch.as_tensor(other_ids).cuda(), **places,
        workspace=torch.full((size,), 85, dtype=torch.uint8, device="cuda"),
        stream=torch.cuda.current_stream().cuda_stream, **rules,
    )  # fmt: skip
    return [places[name].cpu().numpy() for name in NAMES]


def meant(anchors, others, ids, other_ids, **rules):
    both = cpp_ext.hard_triplets(anchors, others, ids, other_ids, **rules)
    return [np.concatenate(parts) for parts in zip(*both, strict=True)]


def assert_same(torch, anchors, others, ids, other_ids, **rules):
    found = found_on_gpu(
        torch, torch.from_numpy(anchors).cuda(), torch.from_numpy(others).cuda(), ids, other_ids, **rules
    )
    for name, ours, its in zip(NAMES, found, meant(anchors, others, ids, other_ids, **rules), strict=True):
        assert ours.tobytes() == its.tobytes(), name


@pytest.mark.parametrize("d", [1, 7, 16, 33, 64, 65, 512])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 300), (129, 128), (700, 500)])
def test_bits(torch, real, random, n, m, d):
    anchors, others = real(n, d), real(m, d)
    others[m // 2 :] = others[: m - m // 2]
    ids, other_ids = random.integers(0, max(2, n // 4), n), random.integers(0, max(2, n // 4), m)
    for semi_hard in (False, True):
        assert_same(torch, anchors, others, ids, other_ids, semi_hard=semi_hard)


@pytest.mark.parametrize("kind", ["random", "cone", "collapsed", "low rank"])
def test_a_large_batch(torch, real, random, kind):
    b, d = 2048, 256
    sides = {
        "random": lambda: real(b, d),
        "cone": lambda: 3 * real(1, d) + real(b, d),
        "collapsed": lambda: real(1, d) + real(b, d) / 100,
        "low rank": lambda: real(b, 8) @ real(8, d),
    }
    anchors, others = (sides[kind]() for _ in range(2))
    anchors, others = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (anchors, others))
    ids = random.permutation(np.arange(b) // 4)
    for semi_hard in (False, True):
        assert_same(torch, anchors, others, ids, ids, semi_hard=semi_hard)


def test_ties_copies_and_one_for_all(torch, whole, random):
    ids, other_ids = random.integers(0, 30, 200), random.integers(0, 30, 300)
    assert_same(torch, whole(200, 16), whole(300, 16), ids, other_ids)
    assert_same(torch, np.ones((200, 16), np.float32), np.ones((300, 16), np.float32), ids, other_ids)
    assert_same(torch, np.zeros((200, 16), np.float32), whole(300, 16), ids, other_ids, semi_hard=True)
    assert_same(torch, whole(200, 16), whole(300, 16), ids * 0, other_ids * 0)
    assert_same(torch, whole(200, 16), whole(300, 16), ids, other_ids + 100)


@pytest.mark.parametrize("semi_hard", [False, True])
def test_paired_and_one_modality(torch, real, random, semi_hard):
    rows, others, ids = real(300, 40), real(300, 40), random.integers(0, 90, 300)
    assert_same(torch, rows, others, ids, ids, positives="paired", semi_hard=semi_hard)
    assert_same(torch, rows, rows, ids, ids, exclude_self=True, semi_hard=semi_hard)


@pytest.mark.parametrize(("n", "m"), [(0, 9), (9, 0), (0, 0)])
def test_an_empty_side(torch, real, n, m):
    assert_same(torch, real(n, 8), real(m, 8), np.arange(n), np.arange(m))


def test_huge_and_tiny_vectors(torch, real, random):
    anchors, others = real(300, 24), real(200, 24)
    anchors[:40] *= np.float32(10) ** random.integers(-38, 37, (40, 1)).astype(np.float32)
    others[:40] *= np.float32(10) ** random.integers(-38, 19, (40, 1)).astype(np.float32)
    anchors[7] = others[9] = 0
    ids, other_ids = random.integers(0, 60, 300), random.integers(0, 60, 200)
    for semi_hard in (False, True):
        assert_same(torch, anchors, others, ids, other_ids, semi_hard=semi_hard)


def test_a_damaged_row_is_nobodys(torch, real, random):
    anchors, others = real(150, 24), real(140, 24)
    ids, other_ids = random.integers(0, 30, 150), random.integers(0, 30, 140)
    expected = meant(anchors[1:], others[:-1], ids[1:], other_ids[:-1])
    anchors[0, 3], others[-1, 5] = np.nan, -np.inf
    found = found_on_gpu(
        torch, torch.from_numpy(anchors).cuda(), torch.from_numpy(others).cuda(), ids, other_ids
    )
    for place, (ours, its) in enumerate(zip(found, expected, strict=True)):
        assert (ours[0], ours[-1]) == (-1, -1) if place % 2 == 0 else np.isnan(ours[[0, -1]]).all()
        if place % 2 == 0:
            its[149:] += its[149:] >= 0  # the others' rows of anchors moved by one
        assert ours[1:-1].tobytes() == its.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_and_narrow_ids(torch, real, random, dtype):
    wide = [torch.from_numpy(real(rows, 80)).cuda() for rows in (200, 300)]
    halves = [side.to(getattr(torch, dtype))[:, 3:73] for side in wide]  # rows apart, odd addresses
    ids, other_ids = (random.integers(0, 50, rows).astype(np.int32) for rows in (200, 300))
    found = found_on_gpu(torch, *halves, ids, other_ids)
    expected = meant(*(half.float().cpu().numpy() for half in halves), ids, other_ids)
    for ours, its in zip(found, expected, strict=True):
        assert ours.tobytes() == its.tobytes()


def test_a_graph_replays_with_other_vectors(torch, real, random):
    n, m, d = 260, 140, 48
    anchors, others = (torch.zeros(rows, d, device="cuda") for rows in (n, m))
    ids, other_ids = random.integers(0, 60, n), random.integers(0, 60, m)
    given = [torch.as_tensor(each).cuda() for each in (ids, other_ids)]
    places = empty(torch, n + m)
    size = cuda_mining.hard_triplets_workspace_bytes(n, m, d)
    space = torch.empty(size, dtype=torch.uint8, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        cuda_mining.hard_triplets(
            anchors, others, *given, **places, workspace=space,
            stream=torch.cuda.current_stream().cuda_stream,
        )  # fmt: skip
    for _ in range(2):
        fresh, other = real(n, d), real(m, d)
        anchors.copy_(torch.from_numpy(fresh))
        others.copy_(torch.from_numpy(other))
        graph.replay()
        torch.cuda.synchronize()
        for name, its in zip(NAMES, meant(fresh, other, ids, other_ids), strict=True):
            assert places[name].cpu().numpy().tobytes() == its.tobytes()


@pytest.mark.parametrize("hub", [False, True])
@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 130), (1, 1, 1), (0, 4, 3), (2000, 2000, 64)])
def test_gradient_bits(torch, real, random, n, m, d, hub):
    anchors, others = real(n, d), real(m, d)

    def chosen():
        if hub:
            return np.zeros(n + m, np.int64) - (n == 0)
        return np.concatenate([random.integers(-1, m, n), random.integers(-1, n, m) if n else np.full(m, -1)])

    index, other_index = chosen(), chosen()
    slope, other_slope = (real(n + m) * (random.random(n + m) < 0.8) for _ in range(2))
    slope[index < 0] = np.nan  # a gradient without a row is nobody's
    slope, other_slope = slope.astype(np.float32), other_slope.astype(np.float32)
    expected = _mining.gradient(anchors, others, index, slope, other_index, other_slope, threads=1)
    results = [torch.full((rows, d), 7.0, device="cuda") for rows in (n, m)]
    moved = [
        torch.from_numpy(each).cuda() for each in (anchors, others, index, slope, other_index, other_slope)
    ]
    size = cuda_mining.gradient_workspace_bytes(n, m)
    cuda_mining.hard_triplets_gradient(
        *moved[:2], positive_index=moved[2], d_positive_score=moved[3], negative_index=moved[4],
        d_negative_score=moved[5], d_anchors=results[0], d_others=results[1],
        workspace=torch.full((size,), 85, dtype=torch.uint8, device="cuda"),
        stream=torch.cuda.current_stream().cuda_stream,
    )  # fmt: skip
    for ours, its in zip(results, expected, strict=True):
        assert ours.cpu().numpy().tobytes() == its.tobytes()


@pytest.mark.parametrize("rules", [{}, {"semi_hard": True}, {"positives": "paired", "form": "soft"}])
def test_the_loss_and_its_gradient(torch, real, random, rules):
    from cpp_ext.ops import batch_hard_triplet_loss

    ids = torch.from_numpy(random.integers(0, 60, 240))
    sides = [torch.nn.functional.normalize(torch.from_numpy(real(240, 96)), dim=1) for _ in range(2)]
    losses, slopes = [], []
    for device in ("cpu", "cuda", "cuda"):
        moved = [side.to(device).requires_grad_() for side in sides]
        loss = batch_hard_triplet_loss(*moved, ids.to(device), ids.to(device), **rules)
        losses.append(loss.item())
        slopes.append([each.cpu() for each in torch.autograd.grad(loss, moved)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for on_cpu, on_gpu, again in zip(*slopes, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-5, atol=1e-8)
        assert torch.equal(on_gpu, again)


def test_memory_is_linear_in_the_batch(torch, real, random):
    from cpp_ext.ops import batch_hard_triplet_loss

    b, d = 8192, 64
    sides = [torch.from_numpy(real(b, d)).cuda().requires_grad_() for _ in range(2)]
    ids = torch.from_numpy(random.integers(0, b // 4, b)).cuda()
    batch_hard_triplet_loss(*sides, ids, ids).backward()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    batch_hard_triplet_loss(*sides, ids, ids).backward()
    assert torch.cuda.max_memory_allocated() - before < b * b * 4 / 4  # a quarter of one matrix of scores
