"""Hardest triplets of a batch on the GPU: the search alone, and the loss with its gradient, against torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cpp_ext
from cpp_ext.bench.gpu.ceilings import Ceilings
from cpp_ext.bench.gpu.timing import Way, paired, peak
from cpp_ext.bench.mining import MARGIN, PER_IDENTITY, TOLERANCE
from cpp_ext.bench.mining_peers import PEERS
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.timing import Runs
from cpp_ext.ops import batch_hard_triplet_loss

Batch = tuple[Tensor, Tensor, Tensor]  # two sides (b, d), and the ids (b,) of both

PEER_PAIRS = 1 << 28  # a peer that holds a b x b matrix some ten times is asked up to b = 16,384
PACKAGES = {"pytorch-metric-learning": "pytorch_metric_learning"}


def rows(b: int, d: int, ceilings: Ceilings) -> Iterator[Row]:
    """The search, the loss with its gradient, and the memory of the latter."""
    batches = made(b, d)
    case = {"b": f"{b:,}", "d": str(d)}
    floor = ceilings.product(float(b) * b * d)
    peers = {
        name: (loss, columns)
        for name, (loss, columns) in PEERS.items()
        if b * b <= PEER_PAIRS and importlib.util.find_spec(PACKAGES.get(name, "torch"))
    }
    searches: dict[str, Way] = {
        "kernel": lambda turn: search(_turn(batches, turn)),
        "eager": lambda turn: eager_search(_turn(batches, turn)),
        "eager bf16": lambda turn: eager_search(_turn(batches, turn), torch.bfloat16),
    }
    times, found = paired(searches)
    yield Row(
        "mining on the GPU: search",
        case,
        times["kernel"],
        floor=floor,
        others=tuple(Other(name, times[name], (name,)) for name in ("eager", "eager bf16")),
        facts={"MiB": peak(searches["kernel"])},
        checked="triplets by the CPU's kernels, to the bit",
        faults=tuple(_differ(batches[0], found["kernel"])),
    )
    ways: dict[str, Way] = {"kernel": lambda turn: step(_ours, *_turn(batches, turn))}
    for name, (loss, _) in peers.items():
        ways[name] = partial(_peer_step, loss, batches)
    times, results = paired(ways)
    yield Row(
        "mining on the GPU: loss and gradient",
        case,
        times["kernel"],
        floor=floor,
        others=tuple(Other(name, times[name], columns) for name, (_, columns) in peers.items()),
        checked="losses by each other",
        faults=tuple(_away(results)),
    )
    peaks = {name: Runs((peak(way, partial(_forget, batches)),)) for name, way in ways.items()}
    yield Row(
        "mining on the GPU: memory of loss and gradient",
        case,
        peaks["kernel"],
        unit="MiB",
        others=tuple(Other(name, peaks[name], columns) for name, (_, columns) in peers.items()),
    )


def made(b: int, d: int) -> list[Batch]:
    """As many batches as exceed twice the second-level cache; as before training, no rows are alike."""
    cache = torch.cuda.get_device_properties("cuda").L2_cache_size
    generator = torch.Generator("cuda").manual_seed(b)
    batches = []
    for _ in range(max(2, 2 * cache // (8 * b * d) + 1)):
        sides = torch.randn(2, b, d, device="cuda", generator=generator)
        sides /= sides.norm(dim=2, keepdim=True)
        order = torch.randperm(b, device="cuda", generator=generator)
        first, second = (side.clone().requires_grad_() for side in sides)
        batches.append((first, second, order // PER_IDENTITY))
    return batches


def _forget(batches: list[Batch]) -> None:
    """The gradients, which a step replaces, so that they count for each."""
    for first, second, _ in batches:
        first.grad = second.grad = None


def _turn(batches: list[Batch], turn: int) -> Batch:
    return batches[turn % len(batches)]


def search(batch: Batch) -> Any:
    first, second, ids = batch
    return torch.ops.labrador.hard_triplets(first.detach(), second.detach(), ids, ids, False, False, False)


def eager_search(batch: Batch, dtype: torch.dtype = torch.float32) -> Any:
    """As ``mining_peers.sparse`` finds them."""
    with torch.no_grad():
        first, second, ids = batch
        scores = first.to(dtype) @ second.to(dtype).T
        same = ids[:, None] == ids[None, :]
        positive = scores.masked_fill(~same, float("inf"))
        negative = scores.masked_fill_(same, float("-inf"))
        return [(positive.min(i), negative.max(i)) for i in (1, 0)]


def step(loss: Callable[..., Tensor], a: Tensor, o: Tensor, ids: Tensor) -> Tensor:
    """The loss; its gradients are in the sides. Nothing here waits for the GPU."""
    a.grad = o.grad = None
    value = loss(a, o, ids, MARGIN)
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def _peer_step(loss: Callable[..., Tensor], batches: list[Batch], turn: int) -> Tensor:
    return step(loss, *_turn(batches, turn))


def _ours(a: Tensor, o: Tensor, ids: Tensor, margin: float) -> Tensor:
    return batch_hard_triplet_loss(a, o, ids, ids, margin=margin)


def _away(losses: dict[str, Tensor]) -> Iterator[str]:
    meant = float(losses["kernel"])
    for name, loss in losses.items():
        if not abs(float(loss) - meant) <= TOLERANCE * abs(meant):
            yield f"{name}: the loss is {float(loss)!r}, the kernel's is {meant!r}"


def _differ(batch: Batch, found: Any) -> Iterator[str]:
    first, second, ids = (side.detach().cpu().numpy() for side in batch)
    n = len(first)
    of_positive, of_negative, positive, negative = (part.cpu().numpy() for part in found)
    meant: Any = cpp_ext.hard_triplets(first, second, ids, ids)
    for rows, its in zip((slice(0, n), slice(n, None)), meant, strict=True):
        ours = (positive[rows], of_positive[rows], negative[rows], of_negative[rows])
        for name, left, right in zip(its._fields, ours, its, strict=True):
            wrong = np.flatnonzero((left != right) & ~(np.isnan(left) & np.isnan(right)))
            if len(wrong):
                yield f"the kernel: {name} differs from the CPU's in {len(wrong)} rows, first in {wrong[0]}"
