"""The mining as torch operators: plain torch finds what the kernels find, and torch accepts both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from cpp_ext import _mining, _mining_ops, _mining_torch  # noqa: E402
from cpp_ext.ops import batch_hard_triplet_loss  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "rules", [(False, False, False), (False, True, False), (True, True, False), (False, False, True)]
)
@pytest.mark.parametrize("n", [0, 1, 50, 130])
def test_plain_torch_finds_what_the_kernel_finds(random, rules, n):
    """What runs on other devices: integer-valued, so that every product is exact, with many ties."""
    m = n if any(rules[::2]) else n * 2 // 3
    vectors = [random.integers(-2, 3, (rows, 3)).astype(np.float32) for rows in (n, m)]
    ids = random.integers(0, 9, n)
    arguments = *vectors, ids, ids if n == m else random.integers(0, 9, m)
    names = ("paired", "semi_hard", "exclude_self")
    paired, semi_hard, exclude_self = rules
    expected = _mining.choices(
        *arguments, positives="paired" if paired else "hardest", semi_hard=semi_hard,
        exclude_self=exclude_self, threads=1, level=None,
    )  # fmt: skip
    tensors = [torch.from_numpy(array) for array in arguments]
    found = _mining_torch.hard_triplets(*tensors, **dict(zip(names, rules, strict=True)))
    for one, meant in zip(found, expected, strict=True):
        assert one.numpy().dtype == meant.dtype
        assert np.array_equal(one.numpy(), meant, equal_nan=True)
    slopes = [torch.from_numpy(random.integers(-3, 4, n + m).astype(np.float32)) for _ in range(2)]
    sums = _mining_torch.gradient(*tensors[:2], found[0], slopes[0], found[2], slopes[1])
    meant = _mining.gradient(
        *vectors, expected[0], slopes[0].numpy(), expected[2], slopes[1].numpy(), threads=1
    )
    assert all(np.array_equal(one.numpy(), other) for one, other in zip(sums, meant, strict=True))


def test_plain_torch_holds_no_more_than_the_vectors(monkeypatch):
    """Its tiles of scores have at most as many numbers as both sides."""
    seen = []
    product = torch.Tensor.__matmul__

    def watched(left, right):
        seen.append(product(left, right))
        return seen[-1]

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    anchors, others = torch.randn(300, 4), torch.randn(500, 4)
    _mining_torch.hard_triplets(
        anchors, others, torch.arange(300) // 2, torch.arange(500) // 2, False, False, False
    )
    assert sum(table.numel() for table in seen) == 2 * 300 * 500
    assert max(table.numel() for table in seen) <= 800 * 4


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own checker looks at one
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_operators_keep_torchs_contract(dtype):
    anchors, others = (torch.randn(rows, 9, dtype=dtype, requires_grad=True) for rows in (12, 10))
    ids = torch.arange(12) % 3, torch.arange(10) % 3
    torch.library.opcheck(_mining_ops.hard_triplets, (anchors, others, *ids, False, False, False))
    index = torch.randint(10, (22,))
    slopes = torch.randn(2, 22, dtype=dtype)
    detached = anchors.detach(), others.detach()
    torch.library.opcheck(_mining_ops.hard_triplets_gradient, (*detached, index, slopes[0], index, slopes[1]))


def test_compiles_as_one_graph():
    def loss(anchors, others, ids, other_ids):
        a, o = (F.normalize(side, dim=1) for side in (anchors, others))
        return batch_hard_triplet_loss(a, o, ids, other_ids, form="soft", temperature=0.1)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    sides = [torch.randn(rows, 33, requires_grad=True) for rows in (40, 31)]
    ids = torch.arange(40) // 3, torch.arange(31) // 3
    found, meant = (function(*sides, *ids) for function in (compiled, loss))
    assert found == meant
    for slope, expected in zip(
        torch.autograd.grad(found, sides), torch.autograd.grad(meant, sides), strict=True
    ):
        assert (slope == expected).all()


def test_importing_the_kernels_loads_no_torch():
    code = "import sys, cpp_ext; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
